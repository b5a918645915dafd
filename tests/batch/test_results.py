"""Executed notebooks become tables: of a sweep, of plain papermill, of anything that ran."""

import json
import subprocess
import sys

import nbformat
import papermill
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook, new_output

from workbench import batch
from workbench.batch import results
from workbench.batch.results import COLUMNS, NOTHING
from workbench.errors import InputError
from workbench.files import Store
from workbench.notebook.runtime import RESULTS_MIME
from workbench.notebook.stored import Run, run_of

FRAME = "import polars as pl\nworkbench.record(table=pl.DataFrame({'run': [1, 2], 'usd': [n / 2, None]}))"


def executed(**stored):
    """A notebook that recorded these scalars, and raised nothing."""
    data = {RESULTS_MIME: {"scalars": stored, "frames": {}}}
    cells = [
        new_code_cell("n: int = 4  # [1] how many", metadata={"tags": ["parameters"]}, execution_count=1),
        new_code_cell("...", execution_count=2, outputs=[new_output("display_data", data)]),
    ]
    return new_notebook(cells=cells)


@pytest.fixture(scope="module")
def by_papermill(make_notebook, tmp_path_factory):
    """A folder of notebooks executed by plain papermill: one done, one that raised, one whose kernel died."""
    folder = tmp_path_factory.mktemp("papermill")
    source = make_notebook(folder, f"if n == 14: import os; os._exit(1)\n{FRAME}\nif n == 13: raise RuntimeError('unlucky')", name="source")
    (out := folder / "out").mkdir()
    for n in (12, 13, 14):
        try:
            papermill.execute_notebook(source, out / f"n{n}.ipynb", parameters={"n": n}, progress_bar=False)
        except Exception as error:
            assert n > 12, error  # noqa: PT017
    return out


def test_notebooks_of_plain_papermill_are_gathered(by_papermill):
    gathered = batch.gather(by_papermill)
    runs = gathered.runs
    assert runs["run"].to_list() == ["n12", "n13", "n14"]
    assert runs["status"].to_list() == ["done", "failed", "died"]
    assert runs["params.n"].to_list() == [12, 13, 14]
    assert runs["params.label"].to_list() == ["plain"] * 3
    assert runs["results.n"].to_list() == [12, None, None]
    assert runs["error"][1] == "RuntimeError: unlucky"
    assert "raise RuntimeError('unlucky')" in runs["traceback"][1]
    assert "\x1b" not in runs["traceback"][1]
    assert (runs["seconds"] > 0).all()
    assert runs["finished"].dtype == pl.Datetime("us", "UTC")
    assert runs["python"][0] == sys.version.split()[0]
    assert gathered.frames["table"].rows() == [("n12", 1, 6.0), ("n12", 2, None), ("n13", 1, 6.5), ("n13", 2, None)]
    assert gathered.frames["table"].columns == ["run", "run_recorded", "usd"]


def test_reading_runs_no_code(by_papermill, tmp_path):
    script = "import sys; from workbench import batch; batch.gather(sys.argv[1]); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script, by_papermill], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & {"jupyter_client", "nbclient", "papermill", "IPython"}


def test_one_notebook_or_several(by_papermill):
    assert batch.gather(by_papermill / "n12.ipynb").runs.height == 1
    twice = batch.gather([by_papermill / "n12.ipynb", by_papermill])
    assert twice.runs["run"].to_list()[0].endswith("out/n12")  # names that clash are paths


def test_columns_take_the_type_that_holds_all():
    notebooks = [executed(x=1, y=1, z=None), executed(x=2.5, y="a", z=True), executed(w=10**30, y=None)]
    runs = NOTHING.joined(run_of(nb, "x.ipynb", str(i)) for i, nb in enumerate(notebooks)).runs
    assert runs.columns == [*COLUMNS, "params.n", "results.x", "results.y", "results.z", "results.w"]
    assert runs["results.x"].to_list() == [1.0, 2.5, None]
    assert runs["results.y"].to_list() == ["1", "a", None]
    assert runs["results.z"].to_list() == [None, True, None]
    assert runs["results.w"].to_list() == [None, None, 1e30]


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(st.characters(codec="utf8"))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), SCALARS), max_size=6), st.integers(0, 6))
def test_tables_joined_in_parts_are_the_table_of_all(tmp_path_factory, stored, cut):
    runs = [Run(str(i), results=s) for i, s in enumerate(stored)]
    parts = NOTHING.joined(runs[:cut]).joined(runs[cut:])
    assert parts.runs["run"].to_list() == [str(i) for i in range(len(runs))]
    store = Store.at(tmp_path_factory.getbasetemp() / "joined")
    parts.write(store)
    assert results.read_tables(store).runs.equals(parts.runs)


def test_a_folder_without_sweep_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no sweep"):
        batch.read_results(tmp_path)
    with pytest.raises(InputError, match="nowhere: no such notebook or folder"):
        batch.gather("nowhere")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "x.ipynb: not a notebook"),
        ("{}", "x.ipynb: not a notebook"),
        (json.dumps(nbformat.v4.new_notebook(cells=[new_code_cell("1")])), "x.ipynb: not executed: none of its 1 code cells has run"),
    ],
)
def test_what_is_no_executed_notebook_is_refused(tmp_path, text, reason):
    (tmp_path / "x.ipynb").write_text(text)
    with pytest.raises(InputError, match=reason):
        batch.gather(tmp_path / "x.ipynb")


def test_an_error_that_a_cell_may_raise_is_no_failure():
    nb = executed(x=1)
    nb.cells.append(new_code_cell("1/0", metadata={"tags": ["raises-exception"]}, execution_count=3))
    nb.cells[-1].outputs = [new_output("error", ename="ZeroDivisionError", evalue="division by zero", traceback=[])]
    assert run_of(nb, "x", "x").status == "done"


def test_names_of_frames_are_no_paths(tmp_path):
    run = Run("a", frames={"../up": {"columns": ["x"], "rows": [[1]]}})
    NOTHING.joined([run]).write(Store.at(tmp_path / "sweep"))
    assert results.read_tables(Store.at(tmp_path / "sweep")).frames["../up"].rows() == [("a", 1)]
    assert [p.name for p in tmp_path.iterdir()] == ["sweep"]
