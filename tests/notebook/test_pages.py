"""The pages of the notebooks as they are stored, seen in a browser without network."""

import json
import shutil
import subprocess
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import browser
from workbench.charts import theme
from workbench.notebook import execute, publish, stored, surface
from workbench.tables import NOTEBOOKS

NAMES = ["00_start_here", "scaling_laws"]
SIZES = {"desk": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}
TOP = "document.querySelector(%r).getBoundingClientRect().top"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    for name in (*NAMES, "energy_cost"):
        publish.publish(NOTEBOOKS / f"{name}.ipynb", folder / f"{name}.html", "index.html")
    return folder


@pytest.fixture(scope="module")
def tab():
    with browser.browser() as opened:
        yield opened


@pytest.mark.browser
@browser.needed
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_answer_and_picture_are_on_the_first_screen_and_nothing_is_asked_or_said(site, tab, name, scheme, size):
    tab.open(site / f"{name}.html", scheme=scheme, **SIZES[size])
    assert not tab.said()
    assert tab.js("document.querySelectorAll('figure.chart svg.marks path, figure.chart svg.marks rect').length") > 20
    assert tab.js(TOP % ".headline .lead") < 300
    top, height = tab.js(TOP % ".top figure.chart svg.marks"), SIZES[size]["height"]
    assert top + 100 < height  # a good part of it
    assert tab.js("document.documentElement.scrollWidth") <= SIZES[size]["width"]


@pytest.mark.browser
@browser.needed
def test_maps_are_drawn(site, tab):
    tab.open(site / "energy_cost.html")  # waits until every chart is


@pytest.mark.browser
@browser.needed
@pytest.mark.parametrize("name", NAMES)
def test_tables_print_whole(site, tab, name):
    tab.open(site / f"{name}.html", width=690, height=990, media="print")  # A4 less its margins
    wide = "[...document.querySelectorAll('table, pre')].filter((e) => e.offsetParent && e.getBoundingClientRect().right > innerWidth + 1)"
    assert tab.js(f"{wide}.map((e) => e.textContent.slice(0, 60))") == []


@pytest.mark.browser
@browser.needed
def test_lines_tell_their_values_under_the_pointer_and_charts_can_be_saved(site, tab):
    tab.open(site / "scaling_laws.html")
    box = "(() => { const r = document.querySelector('svg.marks').getBoundingClientRect(); return [r.x, r.y, r.width, r.height] })()"
    left, top, width, height = tab.js(box)
    x, y = left + width / 2, top + height / 2
    tab("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    tab("Input.dispatchMouseEvent", type="mouseMoved", x=x + 2, y=y)
    assert "FLOP" in tab.js("new Promise((r) => setTimeout(() => r(document.querySelector('.vg-tooltip')?.textContent ?? ''), 300))")
    saved = tab.js(
        "fetch ? [...document.querySelectorAll('.top .tools a')].map((a) => [a.download.split('.').at(-1), a.href.slice(0, 5)]) : 0"
    )
    assert saved == [["csv", "blob:"], ["png", "data:"]]


@pytest.mark.browser
@browser.needed
def test_text_has_contrast_by_day_and_by_night(site, tab):
    """WCAG 2.2, 1.4.3: 4.5 between letters and what is behind them, in words and in charts."""
    code = """(() => {
      const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
      const weighed = (v, i) => [0.2126, 0.7152, 0.0722][i] * ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      const light = (c) => rgb(c).slice(0, 3).map(weighed).reduce((a, b) => a + b);
      const paper = getComputedStyle(document.body).backgroundColor;
      const low = [];
      for (const text of document.querySelectorAll("svg.marks text, main p, figcaption p, th, summary, .bar a")) {
        const color = text.tagName === "text" ? getComputedStyle(text).fill : getComputedStyle(text).color;
        if (!text.textContent.trim() || !color.startsWith("rgb") || text.closest(".error, .headline")) continue;
        const [a, b] = [light(color), light(paper)].sort((p, q) => q - p);
        if ((a + 0.05) / (b + 0.05) < 4.5) low.push([text.textContent.slice(0, 30), color]);
      }
      return low;
    })()"""
    for scheme in ("light", "dark"):
        tab.open(site / "scaling_laws.html", scheme=scheme)
        assert tab.js(code) == []


def test_a_title_follows_the_parameters(small_notebook, tmp_path):
    path = small_notebook()
    nb = nbformat.read(path, 4)
    nb.cells[0].source += "\n<!-- title: How many are {n:,} {label}, {nothing}? -->\n\nWords."
    nbformat.write(nb, path)
    run = execute(path, tmp_path / "out", {"n": "7", "label": "<b>"}, progress=False)
    html = run.page.read_text(encoding="utf8")
    assert "<h1>How many are 7 &lt;b&gt;, [nothing]?</h1>" in html
    assert "changed: <b>n = 7</b>, <b>label = &lt;b&gt;</b>" in html
    assert html.index("The answer is 7") < html.index("Words.")
    publish.index([run], tmp_path / "out" / "index.html")
    assert "How many are 7 &lt;b&gt;" in (tmp_path / "out" / "index.html").read_text(encoding="utf8")


def test_tables_are_readable_and_widgets_left_out(tmp_path):
    cells = "".join(f"<td>{cell}</td>" for cell in ("2580.000", "&quot;a&quot;", "null", "2.97e7", "1.2.3"))
    table = f'<table class="dataframe"><th>usd_per_hour</th>{cells}</table>'
    outputs = [
        new_output("display_data", {"text/html": table}),
        new_output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "HBox()"}),
    ]
    cells = [new_markdown_cell("# T"), new_code_cell("1", execution_count=1, outputs=outputs)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "x.ipynb")
    publish.publish(tmp_path / "x.ipynb", tmp_path / "x.html")
    html = (tmp_path / "x.html").read_text(encoding="utf8")
    assert "usd per hour" in html
    assert [cell for cell in ("2,580", "29,700,000") if f'<td class="number">{cell}</td>' in html] == ["2,580", "29,700,000"]
    assert "<td>1.2.3</td>" in html
    assert "null" not in html.split("dataframe")[1].split("</table>")[0]
    assert "HBox" not in html


def test_the_gallery_is_light(tmp_path):
    runs = [stored.run_of(stored.read(path), str(path), path.stem) for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    publish.index(runs, tmp_path / "index.html")
    assert (tmp_path / "index.html").stat().st_size <= 300_000


def test_a_chip_has_one_colour_and_labels_have_contrast():
    def contrast(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        light = sum(
            w * (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4) for w, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
        )
        return 1.05 / (light + 0.05)

    assert theme.colours(["GB300", "x", "H100 fp8"], "lines") == [theme.OWN["GB300"], theme.ORANGE, theme.OWN["H100"]]
    assert theme.colours(["H100", "H100 fp8"], "lines")[0] == theme.OWN["H100"]  # two of them still differ
    for names in (list(theme.OWN)[:8], list("abcdefgh"), ["H100", "H100 a", "H100 b"]):
        assert len(set(theme.colours(names, "lines"))) == len(names)
        assert all(contrast(ink) >= 4.5 for ink in theme.inks(names, "lines"))


SMOOTH = """\
workbench.panel(globals(), "x", "k")
y = x ** 0.7 * (1 + k / 10)
z = (x - 3) * k
print("y", y)
results = workbench.record(y=y, z=z, x=x)
"""
PARAMETERS = "x: float = 2.0  # [m] length, 0..1000\nk: int = 5  # [1] how many, 1..100\nw: float = 1.0  # [1] other, 0..1"


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moved")
    cells = [
        new_markdown_cell("# How long?"),
        new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        new_code_cell("import workbench\nworkbench.check_parameters(globals())"),
        new_code_cell(SMOOTH, metadata={"tags": ["headline"]}),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), folder / "long.ipynb")
    run = execute(folder / "long.ipynb", folder / "out", progress=False)
    assert run.status == "done", run.traceback
    baked = [
        o["data"][surface.MIME]
        for c in nbformat.read(run.notebook, 4).cells
        for o in c.get("outputs", ())
        if surface.MIME in o.get("data", {})
    ]
    return run, baked[0]


TRUTH = {"y": lambda x, k: x**0.7 * (1 + k / 10), "z": lambda x, k: (x - 3) * k}


def points(axes, n=200):
    rng = np.random.default_rng(7)
    for _ in range(n):
        yield [float(round(v) if a["whole"] else v) for a in axes for v in [rng.uniform(a["nodes"][0], a["nodes"][-1])]]


def test_a_page_moves_as_python_does(moved):
    """Every point between the nodes is within the error that the page states; the run's own values are met."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH")
    axes = moved[1]["axes"]
    assert [a["name"] for a in axes] == ["x", "k"]
    asked = [[2.0, 5], *points(axes)]
    code = (Path(surface.__file__).parent / "templates" / "sliders.js").read_text()
    code += f"\nconst [b, asked] = [{json.dumps(moved[1])}, {json.dumps(asked)}];"
    code += "const shown = surfaces(b);"
    code += "console.log(JSON.stringify([shown, asked.map((point) => shown.map((result) => interpolate(b.axes, result, point)))]))"
    results, answers = json.loads(subprocess.run([node, "-e", code], capture_output=True, text=True, check=True).stdout)
    answers = np.array(answers)
    assert [r["name"] for r in results] == ["y", "z"]
    for k, result in enumerate(results):
        truth = np.array([TRUTH[result["name"]](*p) for p in asked])
        whole = 1.0 if result["log"] else max(v for v in result["values"]) - min(v for v in result["values"])
        off = np.abs(answers[:, k] / truth - 1) if result["log"] else np.abs(answers[:, k] - truth) / whole
        assert off[0] < 1e-5
        assert off.max() <= result["error"]
        assert result["error"] < 0.05


@pytest.mark.browser
@browser.needed
def test_the_sliders_of_a_page_work_without_network(moved, tab):
    tab.open(moved[0].page)
    cells = "[...document.querySelectorAll('#sliders tbody tr')].map((r) => r.children[2].textContent)"
    before = tab.js(cells)
    assert float(before[0]) == pytest.approx(2**0.7 * 1.5, rel=5e-3)
    tab.js("(() => { const i = document.querySelector('.sliders input'); i.value = 1; i.dispatchEvent(new Event('input')) })()")
    assert float(tab.js(cells)[0]) == pytest.approx(8**0.7 * 1.5, rel=5e-3)
    tab.js("document.querySelector('.sliders button').click()")
    assert tab.js(cells) == before
    assert not tab.said()
