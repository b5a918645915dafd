from functools import partial
from pathlib import Path

import nbformat
import pytest
from hypothesis import settings
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

settings.register_profile("no deadline", deadline=None)  # a first call imports scipy, and machines are shared
settings.load_profile("no deadline")

PARAMETERS = '''\
n: int = 4  # [1] how many, 1..100
label: str = "plain"  # [-] any words
'''  # fmt: skip


@pytest.fixture(scope="session")
def make_notebook():
    """A maker of small notebooks that keep to the house's form: parameters, check, headline, one cell of your own, record."""

    def make(folder: Path, code: str = "pass", name: str = "small") -> Path:
        cells = [
            new_markdown_cell("# How many?"),
            new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            new_code_cell("import workbench\nworkbench.check_parameters(globals())"),
            new_code_cell("print(f'The answer is {n} {label!r}')", metadata={"tags": ["headline"]}),
            new_code_cell(code),
            new_code_cell("results = workbench.record(n=n, label=label)"),
        ]
        path = folder / f"{name}.ipynb"
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
        return path

    return make


@pytest.fixture
def small_notebook(make_notebook, tmp_path: Path):
    """The same in the test's own folder."""
    return partial(make_notebook, tmp_path)
