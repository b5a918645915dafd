"""Run notebooks with other parameters: checked first, executed by papermill, published beside them, nothing half-written left."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import parameters
from workbench.errors import InputError, UnknownName
from workbench.tables import NOTEBOOKS


@dataclass(frozen=True)
class Run:
    """An executed notebook."""

    name: str
    notebook: Path
    html: Path
    seconds: float
    values: dict[str, Any]
    error: str | None  #: what the notebook raised, or None


def shipped() -> list[str]:
    """Names of the notebooks that come with the workbench."""
    return sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb"))


def find(name: str | Path) -> Path:
    """The notebook at that path, or the shipped one of that name. Raises `UnknownName` if there is neither."""
    path = Path(name)
    if path.suffix == ".ipynb" and path.is_file():
        return path
    shipped_path = NOTEBOOKS / f"{path.stem if path.suffix == '.ipynb' else path.name}.ipynb"
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
    out : path
        Folder for ``<name>.ipynb`` and ``<name>.html``; created if need be.
    values : mapping of str to str
        Parameters as written on a command line; checked against the notebook's declarations before a kernel starts.
    progress : bool
        Show papermill's progress bar.

    Returns
    -------
    Run
        With `error` set if a cell raised; the notebook up to that cell is kept as ``<name>.failed.ipynb``, and an earlier finished
        ``<name>.ipynb`` is left as it was.

    Raises
    ------
    InputError
        For an unknown notebook, or a parameter that is not declared, of the wrong type or out of range.
    """
    source = find(name)
    typed = parameters.from_text(parameters.of_notebook(source), values or {})
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be the output folder ({error.strerror})") from None

    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from workbench.batch.manager import PROMPT, warm
    from workbench.publish import publish

    # papermill does not read types like `float | None` and calls such parameters unknown; ours were checked above
    logging.getLogger("papermill").setLevel(logging.ERROR)
    unfinished = folder / f".{source.stem}.{os.getpid()}.ipynb"
    finished, failed = folder / f"{source.stem}.ipynb", folder / f"{source.stem}.failed.ipynb"
    start, stopped = time.perf_counter(), None
    try:
        kernel = warm(nbformat.read(source, 4).metadata.get("kernelspec", {}).get("name", "python3"))
        papermill.execute_notebook(
            str(source), str(unfinished), typed, kernel_name=kernel, language="python", progress_bar=progress, **PROMPT
        )
        result = finished
    except PapermillExecutionError as raised:
        stopped, result = f"{raised.ename}: {raised.evalue}", failed
    except BaseException:  # an interrupt, or a kernel that died: nothing finished, nothing left
        unfinished.unlink(missing_ok=True)
        raise
    seconds = time.perf_counter() - start
    os.replace(unfinished, result)
    html = result.with_suffix(".html")
    publish(result, html)
    if stopped is None:
        failed.unlink(missing_ok=True)
        failed.with_suffix(".html").unlink(missing_ok=True)
    return Run(name=source.stem, notebook=result, html=html, seconds=seconds, values=typed, error=stopped)


def execute_all(names: Iterable[str | Path], out: str | Path) -> Iterator[Run]:
    """Execute notebooks with their own parameters, as many at once as there are cores, and yield the runs in their order."""
    from workbench.batch import provisioner

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(lambda name: execute(name, out, progress=False), names)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        provisioner.stop()  # without their kernels the others end at once
        raise
    finally:
        pool.shutdown()
