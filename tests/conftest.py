import os
import random
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nbformat
import pytest
from hypothesis import settings
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench.errors import WorkbenchError

if "PYTEST_XDIST_WORKER" in os.environ:  # tests count what is left in the folder for temporary files: each worker has its own
    OWN = Path(tempfile.mkdtemp(prefix="wb-"))
    OWN.chmod(0o711)  # as that of all is
    os.environ["TMPDIR"] = tempfile.tempdir = str(OWN)

    def pytest_sessionfinish():
        shutil.rmtree(OWN, ignore_errors=True)


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


#: What stands in place of a word or a number.
ODD = rb"""0 -1 0.5 1.2.3 NaN Infinity -Infinity 1e308 1e400 1e-320 200000000 2222222222222222222222 null true [] {}
"x" "\ud800" "" x , " -12:00""".split()
ODD += [b"", b"9" * 400, b"\xff", "\u00e9".encode(), b"2023-13-45 00:00:00"]


def mutant(whole: bytes, rng: random.Random) -> bytes:
    """The bytes of a file with one to three places changed: a word or number replaced, a part lost or doubled, a bit flipped, UTF-16."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        how, i, j = rng.random(), *sorted(rng.randrange(len(whole) + 1) for _ in "ab")
        words = list(re.finditer(rb'"[^"]*"|[\w.+-]+', whole))
        if how < 0.7 and words:
            i, j = rng.choice(words).span()
            whole = whole[:i] + rng.choice(ODD) + whole[j:]
        elif how < 0.8:
            whole = whole[:i] + whole[min(j, i + 40) :]
        elif how < 0.85:
            whole = whole[:i] + whole[i:j] + whole[i:]
        elif how < 0.9:
            whole = whole[:i]
        elif how < 0.98:
            whole = whole[:i] + bytes([rng.randrange(256)]) + whole[i + 1 :]
        else:
            whole = whole.decode("utf8", "replace").encode("utf16")
    return whole


@pytest.fixture
def read_mutants(tmp_path: Path):
    """Has a reader read many damaged copies of a file: each is read, or refused as an error of ours that names the file."""

    def call(read: Callable[[Path], object], whole: bytes, name: str, n: int = 300, seed: int = 0) -> list[object]:
        rng, path, found = random.Random(seed), tmp_path / name, []
        for _ in range(n):
            damaged = mutant(whole, rng)
            path.write_bytes(damaged)
            try:
                found.append(read(path))
            except Exception as error:
                if not isinstance(error, WorkbenchError) or str(path) not in str(error):
                    raise AssertionError(f"{type(error).__name__} of {damaged!r}") from error
        return found

    return call
