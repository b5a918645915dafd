"""What moved between two vintages, and why."""

import json
from dataclasses import replace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from workbench import tables
from workbench.batch import diff
from workbench.cli import app
from workbench.errors import InputError
from workbench.notebook import publish, stored
from workbench.notebook.run import execute
from workbench.notebook.runtime import RESULTS_MIME


def kept(path, hashes=None, code="a", n=4, price=2.0, run="...", **results):
    """An executed notebook, as a run leaves it."""
    data = {RESULTS_MIME: {"scalars": results, "frames": {}}}
    source = f"n: int = {n}  # [1] how many, 0..99\nprice: float = {price}  # [USD/h] rent, 0..9"
    cells = [
        new_code_cell(source, metadata={"tags": ["parameters"]}, execution_count=1),
        new_code_cell(run, execution_count=2, outputs=[new_output("display_data", data)]),
    ]
    about = {"status": "done", "code_and_data": code} | ({"tables": hashes} if hashes else {})
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata={"workbench": about}), path)
    return str(path)


def test_a_result_moves_because_of_an_input(tmp_path):
    old = kept(tmp_path / "old.ipynb", {"rents": "1"}, cost_usd=8.0, days=3.0, still=1.0)
    new = kept(tmp_path / "new.ipynb", {"rents": "1"}, price=2.5, cost_usd=10.0, days=2.97, still=1.0)
    assert list(diff.lines(old, new)) == [
        "1 of 1 and 1 runs compared; 2 results moved",
        "  cost_usd: $8 -> $10 (+25.00%)",
        "  days: 3 -> 2.97 (-1.00%)",
        "because of price 2.0 -> 2.5",
    ]


def test_a_table_or_the_code_is_named(tmp_path):
    old = kept(tmp_path / "old.ipynb", {"rents": "1", "chips": "1", "gone": "1"}, cost_usd=8.0)
    tables = kept(tmp_path / "tables.ipynb", {"rents": "2", "chips": "1"}, code="b", cost_usd=8.1)
    code = kept(tmp_path / "code.ipynb", {"rents": "1", "chips": "1", "gone": "1"}, code="b", cost_usd=8.0)
    unknown = kept(tmp_path / "unknown.ipynb", code="b", cost_usd=8.1)
    assert [*diff.lines(old, tables)][-1] == "because of table gone; table rents"
    assert [*diff.lines(old, code)] == ["1 of 1 and 1 runs compared; 0 results moved", "because of code"]
    assert [*diff.lines(unknown, old)][-1] == "because of table chips; table gone; table rents"
    assert [*diff.lines(unknown, kept(tmp_path / "c.ipynb", code="c"))][-1] == "because of code or tables, of which no record was kept"
    assert [*diff.lines(old, old)][-1] == "nothing that these runs record differs"


def test_runs_of_two_folders_are_paired_by_what_varies(tmp_path):
    for n in (1, 2, 3):
        kept(tmp_path / "old" / f"n{n}.ipynb", n=n, cost_usd=8.0 * n)
        kept(tmp_path / "new" / f"other{n}.ipynb", n=n + 1, price=3.0, cost_usd=8.0 * (n + 1) * (1.5 if n == 1 else 1.1))
    told = [*diff.lines(str(tmp_path / "old"), str(tmp_path / "new"))]
    assert told[0] == "2 of 3 and 3 runs compared; 1 results moved"
    assert told[1] == "  cost_usd: $16 -> $24 (+50.00%; in the median +30.00%)"
    assert told[2] == "because of price 2.0 -> 3.0"


def test_why_runs_again_with_an_input_set_back(tmp_path):
    old = kept(tmp_path / "old.ipynb", cost_usd=7.0)
    source = kept(tmp_path / "new.ipynb", run="import workbench\nworkbench.record(cost_usd=float(n * price))")
    new = execute(source, tmp_path / "out", {"n": "8"}, progress=False).notebook
    told = [*diff.lines(old, str(new), why=True)]
    assert told[1] == "  cost_usd: $7 -> $16 (+128.57%)"
    assert told[2].startswith("because of n 4 -> 8; table acceptance; ")
    assert told[3] == "  n alone: cost_usd +114.29%"  # the rest, 7 to 8, is due to tables and code
    assert json.loads(new.read_text(encoding="utf8"))["metadata"]["workbench"]["tables"] == tables.hashes(tables.code_and_data())


def test_what_cannot_be_compared_is_said(tmp_path):
    for n in (1, 2):
        kept(tmp_path / "old" / f"n{n}.ipynb", n=n, cost_usd=1.0)
        kept(tmp_path / "new" / f"n{n}.ipynb", n=n + 5, cost_usd=1.0)
    with pytest.raises(InputError, match="no two runs share the values of n"):
        list(diff.lines(str(tmp_path / "old"), str(tmp_path / "new")))
    with pytest.raises(InputError, match="two single runs are expected"):
        list(diff.lines(str(tmp_path / "old"), str(tmp_path / "old"), why=True))
    with pytest.raises(InputError, match=r"nowhere.*: no such"):
        list(diff.lines(str(tmp_path / "nowhere"), str(tmp_path / "new")))


def test_tables_of_ones_own_have_hashes_of_their_own(tmp_path, monkeypatch):
    ours = tables.hashes("ours")
    (tmp_path / "links.csv").write_text((tables.DATA / "links.csv").read_text(encoding="utf8"), encoding="utf8")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    theirs = tables.hashes("theirs")
    assert {name for name in ours if ours[name] != theirs[name]} == {"links"}


def test_the_command_prints_it(tmp_path):
    from typer.testing import CliRunner

    old, new = kept(tmp_path / "old.ipynb", cost_usd=8.0), kept(tmp_path / "new.ipynb", n=5, cost_usd=10.0)
    done = CliRunner().invoke(app, ["diff", old, new])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "because of n 4 -> 5"


def test_runs_of_two_notebooks_are_not_compared(tmp_path):
    old, new = kept(tmp_path / "old.ipynb", cost_usd=8.0), kept(tmp_path / "new.ipynb", cost_usd=8.0)
    nb = nbformat.read(new, 4)
    nb.cells[
        0
    ].source = "chips: int = 8  # [1] how many, 1..9\nprice: float = 2.0  # [USD/h] rent, 0..9\npue: float = 1.2  # [1] of the site, 1..2"
    nbformat.write(nb, new)
    with pytest.raises(InputError, match="of different notebooks, whose parameters are not the same"):
        list(diff.lines(old, new))


def test_what_moved_since_a_run_was_written_again(make_notebook, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    kept(out / "small.ipynb", {"rents": "1"}, cost_usd=8.0)
    since = diff.since(out, ["small", "other"])
    kept(out / "small.ipynb", {"rents": "2"}, cost_usd=10.0)
    run = stored.run_of(stored.read(out / "small.ipynb"), out / "small.ipynb", "small")
    told = since(run)
    assert told == "  cost_usd: $8 -> $10 (+25.00%)\nbecause of table rents"
    assert since(replace(run, name="other")) == ""  # it was not there
    assert diff.since(out, ["small"])(run) == ""  # the same again
    publish.index([run], out / "index.html", {"small": told})
    assert "cost_usd: $8 -&gt; $10" in (out / "index.html").read_text(encoding="utf8")
