"""Run notebooks with other parameters: checked first, executed as a sweep does, published beside them, nothing half-written left."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import files, tables
from workbench.errors import InputError, UnknownName
from workbench.files import Store
from workbench.notebook import parameters


@dataclass(frozen=True)
class Run:
    """An executed notebook."""

    name: str
    notebook: str | Path  #: path, or address where the folder was given as one
    html: str | Path
    seconds: float
    values: dict[str, Any]
    error: str | None  #: what the notebook raised, or why it was not run to its end, or None


def shipped() -> list[str]:
    """Names of the notebooks that come with the workbench."""
    return sorted(p.stem for p in tables.NOTEBOOKS.glob("*.ipynb"))


def find(name: str | Path) -> Path:
    """The notebook at that path, or the shipped one of that name. Raises `UnknownName` if there is neither."""
    if "://" in str(name):
        raise InputError(f"{name}: notebooks are read from a disk; copy it to a folder and name it there")
    path = Path(name)
    if path.suffix == ".ipynb" and path.is_file():
        return path
    shipped_path = tables.NOTEBOOKS / f"{path.stem if path.suffix == '.ipynb' else path.name}.ipynb"
    if path.parent == Path(".") and shipped_path.is_file():
        return shipped_path
    if path.suffix == ".ipynb" and path.parent != Path("."):
        raise InputError(f"{path}: no such notebook")
    if path.suffix == ".ipynb":
        raise InputError(f"{name}: no such file, nor a notebook that ships: {', '.join(shipped())}")
    raise UnknownName("notebook", str(name), shipped())


def execute(name: str | Path, out: str | Path, values: Mapping[str, str] | None = None, *, progress: bool = True) -> Run:
    """Execute a notebook and publish it as HTML.

    Parameters
    ----------
    name : str or path
        Path of a notebook, or name of a shipped one.
    out : path or address
        Folder for ``<name>.ipynb`` and ``<name>.html``, created if need be, or an address that fsspec knows (``s3://``).
    values : mapping of str to str
        Parameters as written on a command line; checked against the notebook's declarations before a kernel starts.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Run
        With `error` set if a cell raised or its kernel died; the notebook up to that cell is kept as ``<name>.failed.ipynb``, and an
        earlier finished ``<name>.ipynb`` is left as it was.

    Raises
    ------
    InputError
        For an unknown notebook, a parameter that is not declared, of the wrong type or out of range, and for a place that cannot be
        written to.
    """
    source, store = find(name), Store.at(out)
    typed = parameters.from_text(parameters.of_notebook(source), values or {})
    try:
        store.make()
    except OSError as error:
        raise InputError(f"{out}: cannot be the output folder ({error.strerror or error})") from None

    import nbformat
    from rich.console import Console
    from rich.progress import Progress

    from workbench.batch.run_one import Limits, Task, run_here
    from workbench.notebook import publish

    nb = publish.read(source, executed=False)
    task = Task(store.url, "", source.stem, typed, Limits(), code_and_data=tables.code_and_data())
    finished, failed = f"{source.stem}.ipynb", f"{source.stem}.failed.ipynb"
    with Progress(console=Console(stderr=True), disable=not progress) as bar:
        cells = bar.add_task(source.stem, total=sum(cell.cell_type == "code" for cell in nb.cells) + bool(typed))
        row = run_here(nb, task, finished, lambda: bar.advance(cells)).row
    stopped = None if row["status"] == "done" else row["error"]
    name = failed if stopped else finished
    result, html = files.place(out, name), files.place(out, f"{name.removesuffix('.ipynb')}.html")
    files.write(result, nbformat.writes(nb))
    publish.publish(result, html)
    if stopped is None:
        for left in (failed, f"{source.stem}.failed.html"):
            store.remove(left)
    return Run(name=source.stem, notebook=result, html=html, seconds=row["seconds"], values=typed, error=stopped)


def execute_all(names: Iterable[str | Path], out: str | Path) -> Iterator[Run]:
    """Execute notebooks with their own parameters, as many at once as there are cores, and yield the runs in their order."""
    from workbench.batch import run_one

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(lambda name: execute(name, out, progress=False), names)
    except BaseException as error:
        run_one.stop()
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()
