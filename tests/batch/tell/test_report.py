"""A sweep's page says what was found in words with numbers, shows every run, survives any text, and asks the network for nothing."""

import html
import json
import math
import re
import shutil
import subprocess
import sys
from urllib.parse import unquote

import nbformat
import numpy as np
import polars as pl
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench import batch, charts, validation
from workbench.batch.results import COLUMNS, Results
from workbench.batch.tell import findings, outcome
from workbench.batch.tell.report import report
from workbench.batch.tell.words import between, label, say
from workbench.errors import DataError, InputError, UnknownName
from workbench.files import Store

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PARAMETERS = '''\
price_usd: float = 10.0  # [USD] price of a chip, 1..100
n_chips: int = 4  # [chips] how many, 1..1000
label: str = "plain"  # [-] any words
'''  # fmt: skip
MODEL = """\
import workbench
if n_chips == 3:
    raise RuntimeError(f"no {label!r} <script>alert(1)</script> fits {n_chips} chips")
cost = price_usd * n_chips
"""
RECORD = "workbench.record(cost_usd=cost, days=12.5, words=label, run=n_chips, per_chip_hour_usd=price_usd / 1000)"
TITLE = 'What do <b>chips</b> & "quotes" cost? Ça 中'
NASTY = ["<script>document.title='no'</script>", "</script><b>x", 'it\'s "quoted" é中']


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    cells = [
        new_markdown_cell(f"# {TITLE}"),
        new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        new_code_cell(MODEL),
        new_code_cell(RECORD),
    ]
    path = tmp_path_factory.mktemp("notebook") / "cost.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


@pytest.fixture(scope="module")
def swept(notebook, tmp_path_factory):
    """Folders of sweeps by shape, each really run."""
    folder = tmp_path_factory.mktemp("sweeps")
    quoted = ",".join('"' + text.replace('"', '""') + '"' for text in NASTY)
    batch.sweep(notebook, {"n_chips": "2,3,4", "label": quoted}, out=folder / "grid")
    batch.sweep(notebook, {"n_chips": "1,2,4,8"}, out=folder / "line")
    batch.sweep(notebook, {"price_usd": "1:100", "n_chips": "4:8", "label": "a,b"}, samples=8, out=folder / "sample")
    batch.sweep(notebook, {"n_chips": "3", "label": "a,b"}, out=folder / "failed")
    return folder


@pytest.fixture(scope="module")
def pages(swept):
    return {path.name: report(path).read_text(encoding="utf8") for path in sorted(swept.iterdir())}


@pytest.fixture
def made_up(tmp_path):
    """A maker of folders in the layout of a sweep, of rows whose truth is known: no kernel could run so many in a test."""

    def make(params, results, count=None, **columns):
        n = len(next(iter(params.values())))
        moment = pl.datetime(2026, 1, 2, 3, 4, time_unit="us", time_zone="UTC")
        frame = pl.DataFrame({"run": [f"{i:020x}" for i in range(n)]}).with_columns(
            status=pl.lit("done"),
            seconds=pl.lit(0.5),
            attempts=pl.lit(1, pl.Int64),
            finished=moment,
            workbench=pl.lit("0.1.0"),
            code_and_data=pl.lit("36dce80b2ff5"),
            python=pl.lit("3.11.7"),
        )
        frame = frame.with_columns(
            error=pl.lit(None, pl.String), traceback=pl.lit(None, pl.String), notebook="runs/" + pl.col("run") + ".ipynb"
        )
        frame = frame.select(*COLUMNS).with_columns(**columns)
        frame = frame.with_columns(
            *(pl.Series(f"params.{k}", v) for k, v in params.items()), *(pl.Series(f"results.{k}", v) for k, v in results.items())
        )
        folder = tmp_path / "made"
        Results(frame, {}).write(Store.at(folder))
        cells = [new_markdown_cell("# Which?"), new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
        nbformat.write(new_notebook(cells=cells), folder / "notebook.ipynb")
        about = {"notebook": "made", "sha256": "5" * 64, "swept": list(params), "count": count or n, "created": "2026-01-02T03:00:00+00:00"}
        (folder / "sweep.json").write_text(json.dumps(about))
        return folder

    return make


def specs(page):
    """The charts of a page, with their data put back."""
    columns = json.loads(re.search(r'id="columns">(.*?)</script>', page, re.DOTALL)[1])
    for match in re.finditer(r'<script type="application/json">(.*?)</script>', page, re.DOTALL):
        spec = json.loads(match[1])
        spec["datasets"] = {
            name: [
                dict(zip(fields, row, strict=True))
                for row in zip(*([v for i in blocks for v in columns[i]] for blocks in fields.values()), strict=True)
            ]
            for name, fields in spec["datasets"].items()
        }
        yield spec


def words(page):
    """What a reader sees before the table, without markup."""
    import html

    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", "", page[page.index("<main>") : page.index('<section class="runs">')])))


def test_the_findings_come_first_in_words_with_numbers_and_units(pages):
    line = words(pages["line"])
    assert "cost_usd runs from $10 to $80, a factor of 8, over 4 runs." in line
    assert "As n_chips goes from 1 to 8 chips, it rises all the way from $10 to $80." in line
    grid = words(pages["grid"])
    assert "cost_usd runs from $20 to $40" in grid
    assert (
        "n_chips moves it most: on average $20 where it is 2 chips, and $40 where it is 4 chips. It explains 100 % of the variance" in grid
    )
    assert "6 done" in grid
    assert "3 failed" in grid


@pytest.mark.parametrize(
    ("shape", "kinds"),
    [("line", ["Lines of"]), ("grid", ["Heat map of"]), ("sample", ["Small multiples of"]), ("failed", [])],
)
def test_the_shape_of_the_sweep_chooses_the_pictures(pages, shape, kinds):
    shown = list(specs(pages[shape]))[: len(kinds)]
    assert [k for spec in shown for k in kinds if k in spec["description"]] == kinds
    assert pages[shape].count('<img src="data:image/png;base64') == len(kinds)
    assert all(f'alt="{s["description"][:20]}' in pages[shape] for s in shown)


def test_every_number_can_be_picked_and_constants_come_last(pages):
    options = re.findall(r'<option value="([^"]*)"[^>]*>([^<]*)<', pages["line"])
    assert [value for value, _ in options] == ["cost_usd", "results.run", "days", "per_chip_hour_usd"]
    assert options[2][1] == "days (the same in all runs)"
    assert "is 12.5 in all 4 runs: nothing that was swept moves it." in words(pages["line"])


def test_failures_have_a_section_with_traceback_and_what_they_share(pages):
    text = words(pages["grid"])
    assert "Runs that did not end well" in text
    assert "Every run with n_chips = 3 chips ended so, and no other." in text
    assert "----> 3 raise RuntimeError" in text
    failed = words(pages["failed"])
    assert "None of the 2 runs ended well." in failed
    assert "2 failed" in failed


def test_texts_never_become_markup(pages):
    for page in pages.values():
        bare = re.sub(r'<script type="module">.*?</script>', "", page, flags=re.DOTALL)
        assert re.findall(r"<script[^>]*>", bare).count("<script>") == 0
        assert "<b>" not in bare
        assert bare.count("</script") == len(re.findall(r"<script type=", bare))
    assert "&lt;script&gt;document.title=&#39;no&#39;&lt;/script&gt;" in pages["grid"]
    data = json.loads(re.search(r'id="runs">(.*?)</script>', pages["grid"], re.DOTALL)[1])
    assert set(NASTY) == set(next(c for c in data["columns"] if c["name"] == "label")["values"])


def test_links_are_relative_and_lead_to_the_runs(swept, pages, tmp_path):
    moved = tmp_path / "else where"
    shutil.copytree(swept / "grid", moved)
    page = (moved / "report.html").read_text(encoding="utf8")
    links = json.loads(re.search(r'id="runs">(.*?)</script>', page, re.DOTALL)[1])["links"]
    assert len(links) == 9
    assert all((moved / unquote(link)).is_file() for link in links)
    assert all(re.fullmatch(r"runs/\w+\.(html|ipynb)", link) for link in links)
    failed = re.search(r'<section class="failures">.*?href="([^"]*)"', page, re.DOTALL)[1]
    assert failed.endswith(".html")
    assert "RuntimeError" in (moved / failed).read_text(encoding="utf8")
    other = report(moved, tmp_path / "pages" / "p.html").read_text(encoding="utf8")
    links = json.loads(re.search(r'id="runs">(.*?)</script>', other, re.DOTALL)[1])["links"]
    assert all((tmp_path / "pages" / unquote(link)).is_file() for link in links)


def test_the_page_says_where_it_comes_from(swept, pages):
    about = json.loads((swept / "grid" / "sweep.json").read_text())
    text = pages["grid"]
    assert about["sha256"] in text
    assert "9 planned, 9 ended, 6 of them well" in text
    assert "price of a chip" in text  # of the parameters that all runs share


def test_a_page_asks_nothing_of_the_network(pages):
    for page in pages.values():
        assert not re.findall(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["']?(?:https?:)?//""", page)
        assert "default-src 'none'" in page


def test_charts_compile_with_the_vega_lite_of_the_pages(pages):
    import vl_convert

    for shape in ("line", "grid", "sample"):
        for spec in specs(pages[shape]):
            assert spec["$schema"] == charts.render.SCHEMA
            vega = vl_convert.vegalite_to_vega(spec, vl_version="5.21")
            assert vega["marks"]
            assert not re.search(r"param_[0-9a-f]{4}", json.dumps(spec))  # names of selections are ours


def test_an_unfinished_sweep_says_so(made_up):
    folder = made_up({"price_usd": [1.0, 2.0, 3.0]}, {"cost_usd": [2.0, 4.0, 8.0]}, count=10)
    page = words(report(folder).read_text(encoding="utf8"))
    assert "Not finished: 3 of 10 runs have ended. The last one ended 2026-01-02 03:04 UTC." in page
    assert "As price_usd goes from 1 to 3 USD, it rises all the way from $2 to $8." in page


def test_effects_are_those_of_the_truth(made_up):
    rng = np.random.default_rng(7)
    a, b, c = rng.uniform(0, 1, (3, 400))
    folder = made_up({"price_usd": a, "n_chips": b, "idle": c}, {"cost_usd": 3 * a + b})
    found = findings.effects(outcome.read(folder), "cost_usd")
    assert [e.name for e in found] == ["price_usd", "n_chips", "idle"]
    # variances of 3 a and b are 9 and 1 twelfths; ten groups of a keep 1/100 of its variance within
    assert found[0].share == pytest.approx(0.9 * 0.99, abs=0.03)
    assert found[1].share == pytest.approx(0.1, abs=0.06)
    assert found[0].low[1] == pytest.approx(3 * 0.05 + 0.5, abs=0.15)
    said = " ".join(findings.sentences(outcome.read(folder), "cost_usd"))
    assert "idle" not in said  # what chance explains is not said


def test_a_full_grid_has_exact_shares(made_up):
    grid = [(i, k) for i in range(4) for k in range(3)]
    folder = made_up(
        {"price_usd": [float(i) for i, _ in grid], "n_chips": [k for _, k in grid]}, {"cost_usd": [2.0 * i + k for i, k in grid]}
    )
    shares = {e.name: e.share for e in findings.effects(outcome.read(folder), "cost_usd")}
    assert shares["price_usd"] == pytest.approx(4 * 1.25 / (4 * 1.25 + 2 / 3))
    assert sum(shares.values()) == pytest.approx(1)  # an additive model has no interplay


def test_five_thousand_runs_make_a_small_page_that_says_what_it_draws(made_up):
    rng = np.random.default_rng(1)
    params = {f"p{i}": rng.uniform(0, 1, 5_000) for i in range(6)}
    results = {f"r{i}_usd": params["p0"] * (i + 1) + rng.normal(0, 0.2, 5_000) for i in range(4)}
    folder = made_up(params, results)
    page = report(folder).read_text(encoding="utf8")
    assert len(page.encode()) < 3e6
    multiples = next(specs(page))
    assert "500 of 5,000 runs are drawn; medians and bands are those of all." in page
    drawn = {row["row"]: row["value"] for data in multiples["datasets"].values() for row in data if "row" in row}
    assert len(drawn) == 500
    assert min(drawn.values()) == pytest.approx(results["r0_usd"].min(), rel=1e-5)
    assert len(json.loads(re.search(r'id="runs">(.*?)</script>', page, re.DOTALL)[1])["links"]) == 5_000


@pytest.mark.parametrize(
    ("params", "results", "kinds"),
    [
        ({"price_usd": [None, 1.0, 2.0], "n_chips": [1, 1, 1]}, {"cost_usd": [1.0, 2.0, 3.0]}, ["Heat"]),
        ({"price_usd": [0.1, 0.7, 0.4, 0.2, 0.9], "n_chips": [1, 2, 3, 4, 5]}, {"cost_usd": np.arange(5.0)}, ["Small"]),
        ({"label": ["a", "b", "c"]}, {"cost_usd": [1.0, 2.0, math.nan]}, ["Small"]),
        ({"label": [f"text {i}" for i in range(40)]}, {"cost_usd": np.arange(40.0)}, []),
        ({"price_usd": 10.0 ** np.arange(6)}, {"cost_usd": [-1.0, 5.0, 3.0, 2.0, 1e9, 0.0]}, ["Lines"]),
        ({"price_usd": np.linspace(0, 1, 2_000)}, {"cost_usd": np.linspace(1, 2, 2_000) ** 2}, ["Lines"]),
        ({"on": [True, False, True, False]}, {"cost_usd": [1, 2, 1, 3]}, ["Small"]),
    ],
)
def test_any_values_make_a_page(made_up, params, results, kinds):
    page = report(made_up(params, results)).read_text(encoding="utf8")
    shown = [spec["description"] for spec in specs(page)]
    assert [kind for kind, said in zip(kinds, shown, strict=True) if f"{kind} " in said] == kinds


def test_notebooks_that_plain_papermill_executed_make_a_page(notebook, tmp_path):
    import papermill

    for n in (1, 2):
        papermill.execute_notebook(str(notebook), str(tmp_path / f"n{n}.ipynb"), {"n_chips": n}, progress_bar=False)
    page = words(report(tmp_path).read_text(encoding="utf8"))
    assert "As n_chips goes from 1 to 2 chips, it rises all the way from $10 to $20." in page
    assert not list(tmp_path.glob("n*.html"))  # the folder is not ours
    one = report(tmp_path / "n1.ipynb")
    assert one == tmp_path / "n1.html"
    assert re.search(r"<dd>on \d{4}-\d\d-\d\d \d\d:\d\d UTC in .* s</dd>\s*<dt>With</dt><dd>papermill", one.read_text(encoding="utf8"))


def test_what_cannot_be_reported_on_is_refused(notebook, swept, made_up, tmp_path):
    def said(path, *args):
        with pytest.raises(InputError) as error:
            report(path, tmp_path / "x.html", *args)
        assert not (tmp_path / "x.html").exists()
        return str(error.value)

    assert "no such folder" in said(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "neither a sweep (no sweep.json) nor a folder of executed notebooks" in said(tmp_path / "empty")
    assert "not executed" in said(notebook)
    assert "is one run; its page shows every result" in said(notebook, "cost_usd")
    assert "unknown result 'cost_us'; nearest: cost_usd" in said(swept / "line", "cost_us")
    assert "unknown result 'words'" in said(swept / "line", "words")  # a text
    folder = made_up({"price_usd": [1.0]}, {"cost_usd": [1.0]}, count=7)
    (folder / "results.parquet").write_bytes(b"PAR1 cut off")
    assert "results.parquet: cannot be read" in said(folder)
    (folder / "results.parquet").unlink()
    assert "no run has finished yet, of 7" in said(folder)
    (folder / "sweep.json").write_text("{")
    assert "sweep.json: cannot be read" in said(folder)
    with pytest.raises(UnknownName):
        report(swept / "line", tmp_path / "x.html", "nothing like it")


def test_runs_of_several_notebooks_are_refused(swept, tmp_path):
    shutil.copy(next((swept / "line" / "runs").glob("*.ipynb")), tmp_path / "a.ipynb")
    nb = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    nb.cells[1].source = "other: int = 1  # [1] how many, 1..2\n"
    nbformat.write(nb, tmp_path / "b.ipynb")
    with pytest.raises(InputError, match="holds runs of several notebooks, as a\\.ipynb and b\\.ipynb"):
        report(tmp_path)


def test_the_command_prints_where_the_page_is(swept, tmp_path):
    command = [sys.executable, "-m", "workbench", "report", swept / "sample", "--result", "days", "--out", tmp_path / "page.html"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "page.html")
    assert re.search(r'<option value="days" selected', (tmp_path / "page.html").read_text(encoding="utf8"))
    wrong = subprocess.run([*command[:5], "--result", "cost"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "error: unknown result 'cost'; nearest: cost_usd" in wrong.stderr


@pytest.mark.parametrize(
    ("name", "text", "unit", "value", "said"),
    [
        ("usd_per_chip_hour", "USD per chip-hour", "USD per chip-hour", 2.3265, "$2.33 per chip-hour"),
        ("usd_per_chip_hour_p10", "USD per chip-hour p10", "USD per chip-hour", 2.0, "$2 per chip-hour"),
        ("training_days", "training", "days", 119.27, "119 days"),
        ("peak_flop_per_s", "peak", "FLOP/s", 1.152e19, "11.5 EFLOP/s"),
        ("it_mw", "it", "MW", 8.451, "8.45 MW"),
        ("tokens_per_second", "tokens per second", "tokens per second", 5226475.65, "5.23 M tokens per second"),
        ("usd_cheapest", "cheapest", "USD", 2830523.0, "$2.83 M"),
        ("loss", "loss", "", 2.0345, "2.03"),
        ("tiny", "tiny", "", 3.2e-7, "3.2e-07"),
    ],
)
def test_a_results_name_gives_its_unit(name, text, unit, value, said):
    assert (label(name).text, label(name).unit) == (text, unit)
    assert say(value, unit) == said


def test_a_shared_unit_is_said_once():
    assert between(65.4e6, 181e6, "USD per year") == ("$65.4 M", "$181 M per year")
    assert between(1, 2, "days") == ("1", "2 days")
    assert between(1e18, 2e18, "FLOP/s") == ("1 EFLOP/s", "2 EFLOP/s")


def test_columns_of_charts_are_kept_once():
    store = findings.Columns()
    first = store.keep([{"a": i, "b": -i} for i in range(100)])
    assert store.keep([{"c": i, "d": 5 * (i == 99)} for i in range(100)]) == {"c": first["a"], "d": [4, 5]}
    assert [len(block) for block in store.blocks] == [64, 36, 64, 36, 64, 36]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_a_browser_without_network_draws_sorts_filters_and_picks(swept, pages, tmp_path):
    def dom(shape, script=""):
        page = tmp_path / f"{shape}.html"
        page.write_text(pages[shape] + f'<script type="module">{script}</script>', encoding="utf8")
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
        command += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}"]
        command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=8000", "--dump-dom", page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    def column(html, name):
        heads = re.findall(r"<th [^>]*><button[^>]*><span>([^<]*)</span>", html)
        rows = re.findall(r"<tr>(<td.*?)</tr>", html[html.index("<tbody>", html.index('class="runs"')) :], re.DOTALL)
        cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
        return [re.sub("<[^>]*>", "", row[heads.index(name)]) for row in cells if len(row) == len(heads)]

    for shape, n in {"line": 1, "grid": 1, "sample": 1}.items():
        drawn = dom(shape)
        assert len(re.findall(r'<svg[^>]*class="marks"', drawn)) == n, shape
        assert "<title>no</title>" not in drawn
    press = "const find = (name) => [...document.querySelectorAll('.runs th button')].find((b) => b.textContent.startsWith(name));"
    up = dom("line", press + "find('cost_usd').click();")
    assert column(up, "cost_usd") == ["10", "20", "40", "80"]
    assert re.search(r'aria-sort="ascending"[^>]*><button[^>]*><span>cost_usd', up)
    down = dom("line", press + "find('cost_usd').click(); find('cost_usd').click();")
    assert column(down, "cost_usd") == ["80", "40", "20", "10"]
    kept = dom(
        "line",
        "const f = document.querySelector('.filter input'); f.value = 'cost_usd>=40 n_chips!=8'; f.dispatchEvent(new Event('input'));",
    )
    assert column(kept, "n_chips") == ["4"]
    assert "1 of 4 runs" in kept
    picked = dom(
        "line", "const s = document.querySelector('.picker select'); s.value = 'results.run'; s.dispatchEvent(new Event('change'));"
    )
    assert len(re.findall(r'<svg[^>]*class="marks"', picked)) == 2  # that of the first result stays, hidden
    assert re.search(r'data-result="cost_usd" hidden=""', picked)


RESULT = {
    **{"hw": "h200", "tp": 8, "conc": 16, "model": "meta-llama/Llama-3.3-70B-Instruct", "framework": "vllm", "precision": "fp8"},
    **{"isl": 1024, "osl": 512, "output_tput_per_gpu": 150.0, "median_ttft": 0.08, "median_tpot": 0.0123},
}


def test_a_result_of_another_tool_is_shown_beside_what_is_predicted(tmp_path):
    file = tmp_path / "<b>run.jsonl"
    file.write_text("\n".join(json.dumps(one) for one in (RESULT, RESULT | {"conc": 64}, RESULT | {"chip": "Z9", "hw": "Z9"}, {"a": 1})))
    page = report(file)
    assert page == file.with_suffix(".html")
    text = page.read_text(encoding="utf8")
    assert "<b>run" not in text
    assert "&lt;b&gt;run.jsonl: measured against predicted" in text
    said = html.unescape(text)
    scored = validation.validate("serving", file)
    compared = scored.rows.filter(pl.col("predicted").is_not_null(), pl.col("measured").is_not_null())
    inside = compared.filter(pl.col("measured").is_between("low", "high")).height
    assert f"{inside} of {compared.height} measured figures lie within their 80 % interval" in said
    assert "not predicted: unknown chip 'Z9'" in said
    assert "measured rows agree; the nearest group: Llama-3.1-70B" in said
    assert "left out: 1 (line 4): does not tell chip, tp, precision, model" in said
    assert "chips.serving(llm='Llama-3.3-70B'" in html.unescape(text)
    assert text.count('class="band"') == scored.rows["predicted"].count()


def test_a_file_that_no_model_answers_is_refused_by_its_kind(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text("time_s,input_tokens,output_tokens\n0,10,10\n1,10,10\n")
    with pytest.raises(DataError, match="a trace of requests: workbench read shows it"):
        report(file)
    file.write_text("nothing\n")
    with pytest.raises(DataError, match="of no known kind: it begins with 'nothing'"):
        report(file)
