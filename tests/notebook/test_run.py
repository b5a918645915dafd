"""Notebooks run with other parameters; what is finished is whole, what failed says so."""

import nbformat
import papermill
import pytest

from workbench import __version__, batch, tables
from workbench.errors import InputError, UnknownName
from workbench.files import Store
from workbench.notebook import execute, publish, run
from workbench.notebook.parameters import ParameterError
from workbench.notebook.runtime import RESULTS_MIME


def stored_results(path):
    outputs = [o for c in nbformat.read(path, 4).cells if c.cell_type == "code" for o in c.outputs]
    return [o["data"][RESULTS_MIME] for o in outputs if RESULTS_MIME in o.get("data", {})]


def test_a_run_leaves_the_executed_notebook_and_its_page(small_notebook, tmp_path):
    label = "quotes ' \" {x} $(date) \u00e9\u4e2d\n"
    done = execute(small_notebook(), tmp_path / "out", {"n": "7", "label": label}, progress=False)
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
    monkeypatch.setattr(run, "run_here", lambda *a, **k: pytest.fail("a kernel was started"))
    with pytest.raises(ParameterError, match=reason):
        execute(small_notebook(), tmp_path / "out", values)
    assert not (tmp_path / "out").exists()


def test_plain_papermill_meets_the_same_refusal(small_notebook, tmp_path):
    for values, reason in (({"n": 0}, "n = 0: expected a whole number"), ({"m": 1}, "declares no such parameter")):
        with pytest.raises(papermill.PapermillExecutionError, match=reason):
            papermill.execute_notebook(small_notebook(), tmp_path / "o.ipynb", parameters=values, progress_bar=False)


def test_a_failed_run_is_kept_apart_and_the_earlier_result_stays(small_notebook, tmp_path):
    out = tmp_path / "out"
    code = "if n == 13: raise RuntimeError('unlucky')"
    good = execute(small_notebook(code), out, {"n": "12"}, progress=False)
    before = good.notebook.read_bytes()
    bad = execute(small_notebook(code), out, {"n": "13"}, progress=False)
    assert bad.error == "RuntimeError: unlucky"
    assert bad.notebook.name == "small.failed.ipynb"
    assert good.notebook.read_bytes() == before
    execute(small_notebook(code), out, {"n": "14"}, progress=False)
    assert sorted(p.name for p in out.iterdir()) == ["small.html", "small.ipynb"]


@pytest.mark.parametrize("code", ["import os; os._exit(1)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_kernel_that_dies_leaves_what_ran(small_notebook, tmp_path, code):
    done = execute(small_notebook(code), tmp_path / "out", progress=False)
    assert done.error == f"the kernel died in code cell 4: {code}"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["small.failed.html", "small.failed.ipynb"]
    page = done.page.read_text(encoding="utf8")
    assert "The answer is 4" in page
    assert "This run stopped: " in page
    assert "the kernel died in code cell 4" in page
    assert batch.gather(done.notebook).runs["status"].to_list() == ["died"]
    assert next(run.execute_all([small_notebook(code)], tmp_path / "tour")).error == done.error


def test_outputs_of_an_earlier_run_are_not_those_of_this_one(small_notebook, tmp_path):
    first = execute(small_notebook(), tmp_path / "out", progress=False)
    notebook = nbformat.read(first.notebook, 4)
    notebook.cells[4].source = "import os; os._exit(1)"
    nbformat.write(notebook, tmp_path / "again.ipynb")
    again = execute(tmp_path / "again.ipynb", tmp_path / "out", progress=False)
    assert stored_results(again.notebook) == []


def test_a_run_and_its_page_say_what_made_them(small_notebook, tmp_path):
    done = execute(small_notebook(), tmp_path / "out", progress=False)
    made = tables.code_and_data()
    assert nbformat.read(done.notebook, 4).metadata.workbench.code_and_data == made
    page = done.page.read_text(encoding="utf8")
    assert f"<dd>workbench {__version__}</dd>" in page
    assert f"<dd>{made}</dd>" in page
    for name, said in tables.made_from().items():
        assert not said or f"<dt>{name}</dt><dd>{said}</dd>" in page
    assert batch.gather(done.notebook).runs["code_and_data"].to_list() == [made]


def test_results_go_to_an_address(small_notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = f"memory://{tmp_path.name}/out"
    bad = execute(small_notebook("1 / 0"), out, progress=False)
    assert bad.page == f"{out}/small.failed.html"
    runs = list(run.execute_all([small_notebook()], out))
    assert Store.at(out).names() == ["small.html", "small.ipynb"]  # what failed before is gone
    assert b"The answer is 4" in Store.at(out).read("small.html")
    publish.index(runs, f"{out}/index.html")
    assert b'href="small.html"' in Store.at(out).read("index.html")
    assert [p.name for p in tmp_path.iterdir()] == ["small.ipynb"]


def test_addresses_that_are_refused(small_notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out, reason in (("nowhere://b/x", "nowhere://b/x: cannot be reached"), ("memory://", "an address goes on behind memory://")):
        with pytest.raises(InputError, match=reason):
            execute(small_notebook(), out)
    with pytest.raises(InputError, match=r"gs://b/x.ipynb: notebooks are read from a disk; copy it to a folder"):
        run.find("gs://b/x.ipynb")
    with pytest.raises(InputError, match=r"s3://b/x: reports are made of folders"):
        batch.report("s3://b/x")
    with pytest.raises(InputError, match=r"s3://b/x.html: the page of a sweep links to its runs"):
        batch.report(tmp_path, "s3://b/x.html")
    assert [p.name for p in tmp_path.iterdir()] == ["small.ipynb"]


def test_unknown_notebooks(tmp_path):
    assert "ai_factory" in run.shipped()
    with pytest.raises(UnknownName, match=r"unknown notebook 'ai_fabric'; nearest: ai_factory"):
        run.find("ai_fabric")
    with pytest.raises(InputError, match=r"nowhere.ipynb: no such file, nor a notebook that ships: 00_start_here, ai_factory"):
        run.find("./nowhere.ipynb")
    with pytest.raises(InputError, match="no such notebook"):
        run.find(tmp_path / "nowhere.ipynb")


def test_a_notebook_that_does_not_say_its_language(small_notebook, tmp_path):
    path = small_notebook()
    notebook = nbformat.read(path, 4)
    notebook.metadata = {}
    nbformat.write(notebook, path)
    assert execute(path, tmp_path / "out", progress=False).error is None


def test_output_folder_that_cannot_be_one(small_notebook, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file: cannot be the output folder"):
        execute(small_notebook(), tmp_path / "file")
