import pytest

from workbench import batch


@pytest.fixture
def count_notebook(make_notebook, tmp_path):
    """A notebook that leaves a mark each time that it is run: to see what was run again."""

    def make(code="pass"):
        marks = tmp_path / "marks"
        marks.mkdir(exist_ok=True)
        return make_notebook(tmp_path, f"import os, uuid\nopen(f'{marks}/{{n}}-{{uuid.uuid4().hex}}', 'x').close()\n{code}")

    return make


@pytest.fixture
def marks(tmp_path):
    """Numbers of the runs that began, in no order."""
    return lambda: sorted(int(p.name.split("-")[0]) for p in (tmp_path / "marks").iterdir())


def check_sweep(folder, numbers):
    """Every parameter set exactly once, done, with a valid notebook."""
    import nbformat

    runs = batch.read_results(folder).runs
    assert sorted(runs["params.n"].to_list()) == sorted(numbers)
    assert runs["run"].n_unique() == runs.height
    assert set(runs["status"]) == {"done"}
    assert runs["results.n"].to_list() == runs["params.n"].to_list()
    assert sorted(p.name for p in (folder / "runs").iterdir()) == sorted(f"{run}.ipynb" for run in runs["run"])
    for run, path in runs.select("run", "notebook").iter_rows():
        nb = nbformat.read(folder / path, as_version=4)
        nbformat.validate(nb)
        assert path == f"runs/{run}.ipynb"
        assert nb.metadata.workbench.status == "done"
    return runs
