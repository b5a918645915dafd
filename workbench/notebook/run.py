"""Run one notebook with other parameters: checked first, executed by nbclient, nothing half-written left. Sweeps run each of theirs so."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import __version__, files, tables
from workbench.errors import InputError, UnknownName, refused
from workbench.files import Store
from workbench.notebook import parameters
from workbench.notebook.stored import Run, code_cells, read, run_of, tags, was_run

if TYPE_CHECKING:
    import nbformat

    from workbench.notebook.kernels import Stopped


#: Cell that a run for a page ends with where its notebook names sliders.
BAKE = "from workbench.notebook import surface\n\nsurface.bake(globals())"


@dataclass(frozen=True)
class Task:
    """A run to make, and what it may take; None: no limit."""

    name: str  #: of the run
    path: str  #: where its notebook will be
    parameters: dict[str, Any]
    kernel: str | None = None  #: None: the workbench's where there is one, or the notebook's
    cwd: str | None = None
    code_and_data: str = ""  #: as `tables.code_and_data` hashes them
    attempt: int = 1
    cell_timeout: float | None = None  #: [s]
    timeout: float | None = None  #: [s], of the whole run
    memory: int | None = None  #: private memory of the kernel and what it started [bytes]


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
    if path.suffix == ".ipynb":
        ships = f"file, nor a notebook that ships: {', '.join(shipped())}"
        raise InputError(f"{path}: no such {ships if path.parent == Path('.') else 'notebook'}")
    raise UnknownName("notebook", str(name), shipped())


def execute(name: str | Path, out: str | Path, values: Mapping[str, str] | None = None, *, progress: bool = True, gallery: str = "") -> Run:
    """Execute a notebook and publish it as a page.

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
    gallery : str
        Address of the page that lists this one.

    Returns
    -------
    Run
        With `error` set if a cell raised or its kernel died: then ``<name>.failed.ipynb`` is what ran, an earlier ``<name>.ipynb`` stays.

    Raises
    ------
    InputError
        For an unknown notebook, a parameter that is not declared, of the wrong type or out of range, and a place that cannot be written.

    Examples
    --------
    >>> execute("ai_factory", "out", {"n_chips": "2000"})  # doctest: +SKIP
    Run(ai_factory(n_chips=2000, ...) done; 31 results, 4 frames)
    >>> execute("ai_factory", "out", {"chips": "2000"})
    Traceback (most recent call last):
    workbench.notebook.parameters.ParameterError: chips: the notebook declares no such parameter; nearest: chip, n_chips, replica_chips
    """
    source, store = find(name), Store.at(out)
    typed = parameters.from_text(parameters.of_notebook(source), values or {})
    with refused(f"{out}: cannot be the output folder"):
        store.make()

    import nbformat
    from rich.console import Console
    from rich.progress import Progress

    from workbench.notebook import publish, surface

    nb = read(source, executed=False)
    finished, failed = f"{source.stem}.ipynb", f"{source.stem}.failed.ipynb"
    task = Task(source.stem, finished, typed, code_and_data=tables.code_and_data())
    if not any("surface" in tags(cell) for cell in code_cells(nb)) and any(surface.sliders(cell.source) for cell in code_cells(nb)):
        nb.cells.append(nbformat.v4.new_code_cell(BAKE, metadata={"tags": ["surface", "raises-exception"]}))
    with Progress(console=Console(stderr=True), disable=not progress) as bar:
        cells = bar.add_task(source.stem, total=len(code_cells(nb)) + bool(typed))
        run = run_here(nb, task, lambda: bar.advance(cells))
    run = replace(run, notebook=files.place(out, finished if run.status == "done" else failed))
    nb.metadata["workbench"]["made_from"] = tables.made_from()
    files.write(run.notebook, nbformat.writes(nb))
    publish.publish(run.notebook, run.page, gallery)
    if run.status == "done":
        for left in (failed, f"{source.stem}.failed.html"):
            store.remove(left)
    return run


def execute_all(names: Iterable[str | Path], out: str | Path, gallery: str = "") -> Iterator[Run]:
    """Execute notebooks with their own parameters, as many at once as there are cores, and yield the runs in their order."""
    from workbench.notebook import kernels

    with kernels.threads(os.cpu_count()) as pool:
        yield from pool.map(lambda name: execute(name, out, progress=False, gallery=gallery), names)


def run_here(nb: nbformat.NotebookNode, task: Task, on_cell: Callable[[], None] = lambda: None) -> Run:
    """Run the notebook `nb` in place and have it say what came of it; write nothing. `on_cell` is called after every cell.

    A notebook that raises, takes too long or too much memory, or whose kernel dies, is a run like another, with its status.
    """
    from workbench.notebook import kernels

    _inject(nb, task)
    start, begun = time.perf_counter(), datetime.now(UTC)
    stopped = kernels.awaited(_executed(nb, task, on_cell))
    about: dict[str, Any] = {"run": task.name, "seconds": round(time.perf_counter() - start, 4), "attempts": task.attempt}
    about |= {"workbench": __version__, "code_and_data": task.code_and_data, "python": platform.python_version()}
    about |= {"finished": datetime.now(UTC).isoformat(), "tables": tables.hashes(task.code_and_data)}
    if stopped:
        number, cell = next(((n, c) for n, c in enumerate(code_cells(nb), 1) if not was_run(c)), (0, None))
        where = f" in code cell {number}: {cell.source.strip().splitlines()[0][:80]}" if cell else ""
        about |= {"status": stopped.status, "error": f"{stopped}{where}"}
    nb.metadata["workbench"] = about
    nb.metadata["papermill"] |= {"start_time": begun.isoformat(), "end_time": about["finished"], "duration": about["seconds"]}
    run = run_of(nb, task.path, task.name)
    nb.metadata["workbench"] = about | {"status": run.status}
    nb.metadata["papermill"]["exception"] = run.status != "done"
    return run


def own_kernel(nb: Mapping[str, Any]) -> str:
    """Name of the kernel that the notebook says it was written for."""
    spec = nb.get("metadata", {}).get("kernelspec")
    return str(spec.get("name", "python3")) if isinstance(spec, dict) else "python3"


def _inject(nb: nbformat.NotebookNode, task: Task) -> None:
    """Without earlier outputs, and with the cell that papermill would inject; every value is a literal, so that text never runs.

    Papermill's own takes 0.2 s to import, in each process of a sweep, and writes letters beyond ASCII as escapes.
    """
    import nbformat

    for cell in code_cells(nb):
        cell.outputs, cell.execution_count = [], None
        cell.metadata.pop("execution", None)
    nb.metadata["papermill"] = {"parameters": task.parameters, "input_path": "notebook.ipynb", "output_path": task.path}
    cells = [cell for cell in nb.cells if "injected-parameters" not in tags(cell)]
    if task.parameters:
        lines = [f"{name} = {value!r}\n" for name, value in task.parameters.items()]
        cell = nbformat.v4.new_code_cell("".join(["# Parameters\n", *lines]), metadata={"tags": ["injected-parameters"]})
        if nb.nbformat_minor < 5:  # cells had no names then
            del cell["id"]
        after = next(i for i, c in enumerate(cells) if c.cell_type == "code" and "parameters" in tags(c))
        cells.insert(after + 1, cell)
    nb.cells = cells


async def _executed(nb: nbformat.NotebookNode, task: Task, on_cell: Callable[[], None]) -> Stopped | None:
    """Execute the notebook in place. Returned is what stopped it, unless that was its end or the first cell that raised."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    from workbench.notebook.kernels import Stopped, client, kernel_name, watched

    name = kernel_name(task.kernel, own_kernel(nb))
    try:
        async with asyncio.timeout(task.timeout), client(nb, name, task.cwd, task.cell_timeout) as kernel:
            kernel.on_cell_executed = lambda **_: on_cell()
            work = asyncio.ensure_future(kernel.async_execute())
            watch = asyncio.ensure_future(watched(kernel.km, task.memory))
            try:
                await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
                await (work if work.done() else watch)
            finally:
                for job in (work, watch):
                    job.cancel()
                await asyncio.gather(work, watch, return_exceptions=True)
    except CellExecutionError:
        pass  # the outputs say so
    except CellTimeoutError:
        return Stopped("timeout", f"a cell took more than {task.cell_timeout:g} s")
    except TimeoutError:
        return Stopped("timeout", f"took more than {task.timeout:g} s")
    except DeadKernelError:
        return Stopped("died", "the kernel died")
    except InputError:
        raise
    except Stopped as reason:
        return reason
    except Exception as error:  # of the messages to and from the kernel: this run's trouble, and perhaps not that of its next attempt
        return Stopped("died", f"{type(error).__name__}: {error}")
    return None
