"""Notebooks run with other parameters; what is finished is whole, what failed says so."""

import nbformat
import papermill
import pytest

from workbench import execute
from workbench.errors import InputError, UnknownName
from workbench.notebook import RESULTS_MIME
from workbench.parameters import ParameterError


def stored_results(path):
    outputs = [o for c in nbformat.read(path, 4).cells if c.cell_type == "code" for o in c.outputs]
    return [o["data"][RESULTS_MIME] for o in outputs if RESULTS_MIME in o.get("data", {})]


def test_a_run_leaves_the_executed_notebook_and_its_page(small_notebook, tmp_path):
    label = "quotes ' \" {x} $(date) \u00e9\u4e2d\n"
    done = execute.execute(small_notebook(), tmp_path / "out", {"n": "7", "label": label}, progress=False)
    assert done.error is None
    assert stored_results(done.notebook) == [{"scalars": {"n": 7, "label": label}, "frames": {}}]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["small.html", "small.ipynb"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"m": "7"}, "m: the notebook declares no such parameter; declared: n, label"),
        ({"n": "0"}, "n = 0: expected a whole number from 1 to 100"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_written(small_notebook, tmp_path, monkeypatch, values, reason):
    monkeypatch.setattr(papermill, "execute_notebook", lambda *a, **k: pytest.fail("a kernel was started"))
    with pytest.raises(ParameterError, match=reason):
        execute.execute(small_notebook(), tmp_path / "out", values)
    assert not (tmp_path / "out").exists()


def test_plain_papermill_meets_the_same_refusal(small_notebook, tmp_path):
    for values, reason in (({"n": 0}, "n = 0: expected a whole number"), ({"m": 1}, "declares no such parameter")):
        with pytest.raises(papermill.PapermillExecutionError, match=reason):
            papermill.execute_notebook(small_notebook(), tmp_path / "o.ipynb", parameters=values, progress_bar=False)


def test_a_failed_run_is_kept_apart_and_the_earlier_result_stays(small_notebook, tmp_path):
    out = tmp_path / "out"
    code = "if n == 13: raise RuntimeError('unlucky')"
    good = execute.execute(small_notebook(code), out, {"n": "12"}, progress=False)
    before = good.notebook.read_bytes()
    bad = execute.execute(small_notebook(code), out, {"n": "13"}, progress=False)
    assert bad.error == "RuntimeError: unlucky"
    assert bad.notebook.name == "small.failed.ipynb"
    assert good.notebook.read_bytes() == before
    execute.execute(small_notebook(code), out, {"n": "14"}, progress=False)
    assert sorted(p.name for p in out.iterdir()) == ["small.html", "small.ipynb"]


def test_a_kernel_that_dies_leaves_nothing_half_written(small_notebook, tmp_path):
    with pytest.raises(Exception, match=r"[Kk]ernel died"):
        execute.execute(small_notebook("import os; os._exit(1)"), tmp_path / "out", progress=False)
    assert list((tmp_path / "out").iterdir()) == []


def test_unknown_notebooks(tmp_path):
    assert "ai_factory" in execute.shipped()
    with pytest.raises(UnknownName, match=r"unknown notebook 'ai_fabric'; nearest: ai_factory"):
        execute.find("ai_fabric")
    with pytest.raises(InputError, match=r"nowhere.ipynb: no such file, nor a notebook that ships: ai_factory"):
        execute.find("./nowhere.ipynb")
    with pytest.raises(InputError, match="no such notebook"):
        execute.find(tmp_path / "nowhere.ipynb")


def test_a_notebook_that_does_not_say_its_language(small_notebook, tmp_path):
    path = small_notebook()
    notebook = nbformat.read(path, 4)
    notebook.metadata = {}
    nbformat.write(notebook, path)
    assert execute.execute(path, tmp_path / "out", progress=False).error is None


def test_output_folder_that_cannot_be_one(small_notebook, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file: cannot be the output folder"):
        execute.execute(small_notebook(), tmp_path / "file")
