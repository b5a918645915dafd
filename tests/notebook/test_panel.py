"""The panel gives what a run with those parameters gives, and shows itself to users alone."""

import json
import subprocess
import sys

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench.charts.render import BLANK
from workbench.errors import InputError
from workbench.notebook import execute, panel, surface
from workbench.notebook.parameters import declared

CELLS = [
    """\
n: int = 4  # [1] how many, 1..100
price: float = 2.5  # [USD/h] of one, 0.01..1000
chip: str = "H100"  # [name] accelerator, in chips
label: str = "plain"  # [-] words
limit: float | None = None  # [USD] at most (None: no limit), 1..1e6""",
    "import polars as pl\nimport workbench\nfrom workbench import charts\nworkbench.check_parameters(globals())\n"
    "workbench.panel(globals(), 'price')",
    """\
cost = n * price
if limit is not None and cost > limit:
    raise workbench.errors.InputError(f"cost = {cost:g}: expected at most the limit of {limit:g} [USD]")
print(f"{n} {chip} cost {cost:g} USD per hour")""",
    "slow = [label]\nslow.append(1)\nprint('label', label)",
    """\
parts = pl.DataFrame({"part": ["chips", "rest"], "usd": [cost, 1.0]})
charts.waterfall(parts, label="part", value="usd", title=f"{chip} cost {cost:g}", subtitle="A test.", unit="USD")""",
    "results = workbench.record(cost=cost)",
]
DRIVE = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from workbench.charts.render import MIME
shell = InteractiveShell.instance()
cells, moves = json.load(sys.stdin)
for cell in cells:
    with capture_output():
        shell.run_cell(cell, store_history=True).raise_error()
from workbench.notebook.panel import Panel
panel = Panel(shell.user_ns, ("price",))
seen = []
for name, value in moves:
    panel.update(name, value)
    titles = ["".join(o["data"][MIME]["title"]["text"]) for place in panel.pictures.children for o in place.outputs]
    painted = {o["data"].get("image/png") for place in panel.pictures.children for o in place.outputs}
    seen.append(["".join(o["text"] for o in panel.answer.outputs), titles, list(painted), panel.command()])
print(json.dumps([seen, shell.user_ns["cost"]]))
"""


def drive(*moves):
    done = subprocess.run([sys.executable, "-c", DRIVE], input=json.dumps([CELLS, moves]), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    cells = [new_markdown_cell("# How much?"), *(new_code_cell(source) for source in CELLS)]
    cells[1].metadata["tags"], cells[3].metadata["tags"] = ["parameters"], ["headline"]
    path = tmp_path_factory.mktemp("panel") / "much.ipynb"
    nbformat.write(
        new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}), path
    )
    return path


def test_a_control_gives_what_a_run_with_that_parameter_gives(notebook, tmp_path):
    seen, own = drive(("price", "3.5"), ("chip", "B200"), ("n", "7"), ("limit", "5"), ("limit", "None"), ("n", "1000"), ("", ""))
    run = execute(notebook, tmp_path / "out", {"price": "3.5", "chip": "B200", "n": "7"}, progress=False)
    answers = [answer.strip() for answer, *_ in seen]
    assert answers[0] == "4 H100 cost 14 USD per hour"
    assert answers[2] == run.headline == "7 B200 cost 24.5 USD per hour"
    assert seen[2][1] == ["B200 cost 24.5"]
    assert seen[2][2] == [BLANK]  # no picture is painted, neither here nor by JupyterLab
    assert seen[2][3] == "workbench run NOTEBOOK -p n=7 -p price=3.5 -p chip=B200"
    assert answers[3] == "cost = 24.5: expected at most the limit of 5 [USD]"  # as the notebook says it
    assert seen[3][1] == []
    assert answers[4] == answers[2]
    with pytest.raises(InputError) as refused:
        execute(notebook, tmp_path / "out", {"n": "1000"}, progress=False)
    assert answers[5] == str(refused.value)
    assert answers[6] == ""
    assert own == 10.0  # the notebook's own names are left alone


def test_what_changed_while_something_was_refused_counts_afterwards():
    seen, _ = drive(("n", "1000"), ("price", "3"), ("n", "10"), ("n", "4"), ("price", "2.5"))
    assert "n = 1000" in seen[1][0]
    assert seen[2][0] == "10 H100 cost 30 USD per hour\n"
    assert seen[4][0] == "4 H100 cost 10 USD per hour\n"  # back where it began


def test_what_is_only_told_is_shown_where_nothing_else_follows():
    seen, _ = drive(("label", "other"), ("price", "3"))
    assert seen[0][:2] == ["label other\n", []]
    assert seen[1][0] == "4 H100 cost 12 USD per hour\nlabel other\n"


def test_only_what_depends_on_a_change_runs_again():
    sources = ["a = n + 1", "b = m * 2", "c = {}\nc['x'] = a", "def f():\n    return c", "print(f())", "import os"]
    cells = [surface._cell(source) for source in sources]
    assert [cell.source for cell in surface.touched(cells, {"n"})] == [cells[i].source for i in (0, 2, 3, 4)]
    assert surface.touched(cells, {"m"}) == [cells[1]]
    assert surface.needed(cells, [cells[2]]) == [cells[0], cells[2]]
    assert surface._cell("%matplotlib inline") is None


def test_names_that_a_cell_binds_before_it_reads_them_are_its_own():
    """A cell with a loop over ``row`` does not depend on another's ``row``; what may not have been bound counts as read."""
    read = {
        "for row in table:\n    one = row\n    use(one)": {"table", "use"},
        "one = n\none + 1": {"n"},
        "if n:\n    one = 1\nuse(one)": {"n", "one", "use"},
        "if n:\n    one = 1\nelse:\n    one = 2\nuse(one)": {"n", "use"},
        "with open(n) as file:\n    one = file\none": {"open", "n"},
        "def f(row):\n    rows = row + n\n    return rows": {"n"},
        "[row for row in table if row > n]": {"table", "n"},
        "total += n": {"total", "n"},
        "for k in table:\n    pass\nuse(k)": {"table", "k", "use"},
        "while n:\n    one = 1\none": {"n", "one"},
        "import os\nos.sep": set(),
        "one: int = n\nd[one] = 1": {"n", "int", "d"},
    }
    assert {source: set(surface._cell(source).reads) for source in read} == read


def test_runners_see_nothing_of_it(notebook, tmp_path):
    run = execute(notebook, tmp_path / "out", progress=False)
    nb = nbformat.read(run.notebook, 4)
    assert [cell.outputs for cell in nb.cells if "panel(" in cell.source] == [[]]


def test_a_front_end_with_a_user_gets_it_and_a_refusal_is_one_line():
    manager, client = start_new_kernel(kernel_name="python3")

    def outputs(source, user):
        found = []
        client.execute_interactive(source, allow_stdin=user, output_hook=found.append, timeout=60, stdin_hook=lambda _: None)
        return [m["content"] for m in found if m["header"]["msg_type"] in ("display_data", "error")]

    try:
        outputs(CELLS[0], True)
        (shown,) = outputs(CELLS[1], True)
        assert "application/vnd.jupyter.widget-view+json" in shown["data"]
        assert outputs(CELLS[1], False) == []
        outputs(CELLS[0].replace("price: float = 2.5", 'price: float = "lots"'), True)
        (error,) = outputs(CELLS[1], True)
        said = "line 2 of the parameters cell sets price = 'lots': expected a number from 0.01 to 1,000 [USD/h] (of one)"
        assert error["evalue"] == said
        assert error["traceback"] == [f"\x1b[31mParameterError\x1b[0m: {said}"]
        outputs(CELLS[0], True)
        outputs("limit = 1", True)
        (error,) = outputs(CELLS[2], True)
        assert len(error["traceback"]) == 2
        assert error["traceback"][1].startswith("----> 3 raise ")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.parametrize(
    ("line", "value", "ends"),
    [
        ("x: float = 8.0  # [1] x, 0..1000", 8.0, (2.0, 32.0, True)),
        ("x: float = 0.8  # [1] x, 0.01..1", 0.8, (0.2, 1.0, True)),
        ("x: float = 1.2  # [1] x, 1..3", 1.2, (1.0, 3.0, False)),
        ("x: float = 0.0  # [1] x, 0..1", 0.0, (0.0, 1.0, False)),
        ("x: int = 1  # [1] x, 1..1", 1, (1.0, 1.0, False)),
    ],
)
def test_a_slider_spans_what_is_near_and_allowed(line, value, ends):
    assert surface.span(declared(line)["x"], value) == ends


def test_sliders_that_are_no_numbers_are_refused():
    space = {"In": ["", CELLS[0], "panel(globals())"], "n": 4, "price": 2.5, "chip": "H100", "label": "", "limit": None}
    for name in ("chip", "limit", "prices"):
        with pytest.raises(InputError, match=rf"slider '{name}': expected one of the numbers among the parameters: n, price"):
            panel.panel(space, name)
    with pytest.raises(InputError, match="5 sliders: expected at most 4"):
        panel.panel(space, *["n"] * 5)
