"""One run of a notebook: parameters injected as papermill does it, executed by nbclient, kept whole or not at all."""

from __future__ import annotations

import asyncio
import atexit
import copy
import json
import os
import platform
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from subprocess import DEVNULL
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from workbench import __version__, tables
from workbench.batch.results import Run, of_notebook, was_run
from workbench.errors import InputError, said
from workbench.files import Store
from workbench.kernel import manager, private_socket, provisioner

if TYPE_CHECKING:
    import nbformat  # takes 0.8 s, which the driver need not spend

#: A kernel that says nothing for so long will not start [s].
STARTUP = 60.0
#: Kernels that may still be going down while the next ones run.
LINGERING = 2
#: Kernels that have not gone down by then are left to their own end [s].
SETTLE = 2.0
#: How often a kernel is looked at [s].
WATCH = 0.05


@dataclass(frozen=True)
class Limits:
    """What a run may take; None: no limit."""

    cell_timeout: float | None = None  #: [s]
    timeout: float | None = None  #: [s], of the whole run
    memory: int | None = None  #: private memory of the kernel and what it started [bytes]


@dataclass(frozen=True)
class Task:
    """All that a worker needs for a run."""

    out: str  #: path or address of the sweep
    sha256: str  #: of the notebook, so that a worker that has read it need not read it again
    key: str
    parameters: dict[str, Any]
    limits: Limits
    kernel: str | None = None  #: None: the warm kernel where there is one, or the notebook's
    cwd: str | None = None
    code_and_data: str = ""  #: of the sweep; whoever has other ones must not take part
    attempt: int = 1


#: Called with nothing, for every cell that has run.
OnCell = Callable[[], None]


class _Stopped(Exception):
    """The run was stopped, for a reason that is a status."""

    def __init__(self, status: str, reason: str):
        self.status = status
        super().__init__(reason)


def run_one(task: Task) -> Run:
    """Run the notebook of the sweep with the parameters of `task`, write ``runs/<key>.ipynb``, and return what it recorded.

    A notebook that raises, takes too long or too much memory, or whose kernel dies, is a run like another, with its status.

    Raises
    ------
    InputError
        For what no run of the sweep could survive: other code or tables here than where the sweep was planned, a place that this
        machine does not see or cannot write to, a kernel that is not installed.
    """
    return _awaited(_run(task))


def run_here(nb: nbformat.NotebookNode, task: Task, path: str, on_cell: OnCell) -> Run:
    """Run the notebook `nb` in place, and write nothing; its record calls it `path`. Raises `InputError` for what cannot be run."""
    return _awaited(_ran(nb, task, path, on_cell))


def stop() -> None:
    """End at once what other threads of this process run: they meet a `CancelledError`."""
    for future in list(_running):
        future.cancel()


_running: set[Future[Run]] = set()


def _awaited(work: Coroutine[Any, Any, Run]) -> Run:
    with _first:
        loop = _loop(os.getpid())
    future = asyncio.run_coroutine_threadsafe(work, loop)
    _running.add(future)
    try:
        return future.result()
    finally:
        future.cancel()  # after Ctrl-C
        _running.discard(future)


async def _run(task: Task) -> Run:
    store = Store.at(task.out)
    nb = copy.deepcopy(_notebook(task.out, task.sha256))
    # a warm kernel is of the code that its server began with, a cold one of the files as they are now
    warm = kernel_name(task.kernel, _own_kernel(nb)) == manager.WARM
    ours = _code_and_data(os.getpid(), task.code_and_data) if warm else tables.code_and_data()
    if ours != task.code_and_data:
        raise InputError(
            f"{platform.node()}: code or tables of the workbench are not those that the sweep began with ({ours}, not {task.code_and_data})"
        )
    path = f"runs/{task.key}.ipynb"
    run = await _ran(nb, task, path)
    try:
        store.write(path, json.dumps(nb, indent=1, ensure_ascii=False).encode("utf8", "replace"))
    except OSError as error:
        raise InputError(f"{store}/{path}: cannot be written ({error.strerror or error})") from None
    return run


async def _ran(nb: nbformat.NotebookNode, task: Task, path: str, on_cell: OnCell = lambda: None) -> Run:
    """Run the notebook in place, and have it say what came of it."""
    _inject(nb, task, path)
    start, begun = time.perf_counter(), datetime.now(UTC)
    stopped = None
    try:
        await _executed(nb, task, on_cell)
    except _Stopped as reason:
        stopped = reason
    seconds = time.perf_counter() - start
    about: dict[str, Any] = {"run": task.key, "seconds": round(seconds, 4), "attempts": task.attempt, "workbench": __version__}
    about |= {"code_and_data": task.code_and_data, "finished": datetime.now(UTC).isoformat(), "python": platform.python_version()}
    if stopped:
        about |= {"status": stopped.status, "error": f"{stopped}{_where(nb)}"}
    nb.metadata["workbench"] = about
    nb.metadata["papermill"] |= {"start_time": begun.isoformat(), "end_time": about["finished"], "duration": about["seconds"]}
    run = of_notebook(nb, path, task.key)
    nb.metadata["workbench"] = about | {"status": run.row["status"]}
    nb.metadata["papermill"]["exception"] = run.row["status"] != "done"
    return run


def _where(nb: nbformat.NotebookNode) -> str:
    """The cell that a run was stopped in."""
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    number, cell = next(((n, c) for n, c in enumerate(code, 1) if not was_run(c)), (0, None))
    return f" in code cell {number}: {cell.source.strip().splitlines()[0][:80]}" if cell else ""


@lru_cache(maxsize=8)
def _code_and_data(pid: int, asked: str) -> str:
    return tables.code_and_data()


@lru_cache(maxsize=8)
def _notebook(out: str, sha256: str) -> nbformat.NotebookNode:
    import nbformat

    try:
        return nbformat.reads(Store.at(out).read("notebook.ipynb").decode("utf8"), as_version=4)
    except OSError as error:
        raise InputError(f"{platform.node()}: cannot read {out}/notebook.ipynb ({error.strerror or error}); can every worker?") from None
    except Exception as error:  # nbformat raises whatever its conversion stumbles over
        raise InputError(f"{out}/notebook.ipynb: not a notebook ({said(error)})") from None


def _inject(nb: nbformat.NotebookNode, task: Task, path: str) -> None:
    """Without earlier outputs, and with the cell that papermill would inject; every value is a literal, so that text never runs."""
    import nbformat

    for cell in (cell for cell in nb.cells if cell.cell_type == "code"):
        cell.outputs, cell.execution_count = [], None
        cell.metadata.pop("execution", None)
    nb.metadata["papermill"] = {"parameters": task.parameters, "input_path": "notebook.ipynb", "output_path": path}
    cells = [cell for cell in nb.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    if task.parameters:
        lines = [f"{name} = {value!r}\n" for name, value in task.parameters.items()]
        cell = nbformat.v4.new_code_cell("".join(["# Parameters\n", *lines]), metadata={"tags": ["injected-parameters"]})
        if nb.nbformat_minor < 5:  # cells had no names then
            del cell["id"]
        after = next(i for i, c in enumerate(cells) if "parameters" in c.metadata.get("tags", []) and c.cell_type == "code")
        cells.insert(after + 1, cell)
    nb.cells = cells


async def _executed(nb: nbformat.NotebookNode, task: Task, on_cell: OnCell) -> None:
    """Execute the notebook in place. Raises `_Stopped` for all that is not a notebook run to its end or to the first cell that raised."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    limits = task.limits
    try:
        async with asyncio.timeout(limits.timeout), _kernel(nb, task) as client:
            client.on_cell_executed = lambda **_: on_cell()
            work = asyncio.ensure_future(client.async_execute())
            watch = asyncio.ensure_future(_watched(client.km, limits.memory))
            try:
                await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
                await (work if work.done() else watch)
            finally:
                for job in (work, watch):
                    job.cancel()
                await asyncio.wait({work, watch})
                for job in (work, watch):
                    if not job.cancelled():
                        job.exception()  # seen
    except CellExecutionError:
        pass  # the outputs say so
    except CellTimeoutError:
        raise _Stopped("timeout", f"a cell took more than {limits.cell_timeout:g} s") from None
    except TimeoutError:
        raise _Stopped("timeout", f"took more than {limits.timeout:g} s") from None
    except DeadKernelError:
        raise _Stopped("died", "the kernel died") from None
    except (InputError, _Stopped):
        raise
    except Exception as error:  # of the messages to and from the kernel: this run's trouble, and perhaps not that of its next attempt
        raise _Stopped("died", f"{type(error).__name__}: {error}") from None


@asynccontextmanager
async def _kernel(nb: nbformat.NotebookNode, task: Task) -> AsyncIterator[Any]:
    """A client with a kernel of its own. The kernel goes down behind the next run, so that nothing waits for it."""
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError

    others = _going_down(os.getpid())
    while len(others) > LINGERING:
        await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    name = kernel_name(task.kernel, _own_kernel(nb))
    km = manager.PromptKernelManager(kernel_name=name, **_transport(name))
    timeout = task.limits.cell_timeout
    client = NotebookClient(nb, km=km, timeout_func=lambda cell: timeout, iopub_timeout=STARTUP, raise_on_iopub_timeout=True)
    client.extra_arguments = ["--log-level=50"]  # errors of cells come back in the notebook
    at_once = False
    try:
        try:
            cwd = task.cwd if task.cwd and Path(task.cwd).is_dir() else None
            await client.async_start_new_kernel(cwd=cwd, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
            client.kc = km.client()
            client.kc.start_channels(hb=False)
            client.kc.allow_stdin = False
            await client.kc.wait_for_ready(timeout=STARTUP)
        except NoSuchKernel as error:
            raise InputError(f"{platform.node()}: no kernel named {error.name!r} is installed") from None
        except (OSError, RuntimeError) as error:
            raise _Stopped("died", f"the kernel did not start: {error}") from None
        yield client
    except (_Stopped, CellTimeoutError, asyncio.CancelledError):
        at_once = True
        raise
    finally:
        going = asyncio.ensure_future(_down(km, client.kc, at_once))
        others.add(going)
        going.add_done_callback(others.discard)


async def _down(km: Any, kc: Any, at_once: bool) -> None:
    with suppress(Exception):
        if kc is not None:
            kc.stop_channels()
        if km.has_kernel:
            await km.shutdown_kernel(now=at_once)
        else:
            await km.cleanup_resources()


async def _watched(km: Any, memory: int | None) -> None:
    """Raise `_Stopped` as soon as the kernel is dead (nbclient looks once a second), or has taken more memory than it may."""
    import psutil

    pid = getattr(km.provisioner, "pid", None)
    while True:
        if not await km.is_alive():
            raise _Stopped("died", "the kernel died")
        with suppress(psutil.Error):
            if memory is not None and pid is not None:
                kernel = psutil.Process(pid)
                family = [kernel, *kernel.children(recursive=True)]
                if sum(p.memory_info().rss for p in family) > memory:  # quick, but counts what a warm kernel shares
                    private = sum(p.memory_full_info().uss for p in family)
                    if private > memory:
                        raise _Stopped("memory", f"took {private / 1e9:.3g} GB of the {memory / 1e9:.3g} GB allowed")
        await asyncio.sleep(WATCH)


def _own_kernel(nb: nbformat.NotebookNode) -> str:
    name: str = nb.metadata.get("kernelspec", {}).get("name", "python3")
    return name


@lru_cache(maxsize=8)
def kernel_name(asked: str | None, own: str) -> str:
    """The kernel to use: the one asked for, or the notebook's, or in the place of that the warm one."""
    return asked or manager.warm(own)


def _transport(kernel: str) -> dict[str, str]:
    """Sockets of its own for each kernel, in a folder: a free port may be taken before the kernel listens there."""
    return {} if os.name == "nt" else {"transport": "ipc", "ip": str(_sockets(kernel) / uuid.uuid4().hex[:20])}


def _sockets(kernel: str) -> Path:
    """The folder of the warm server, who removes it whatever else is killed, or one of this process."""
    with suppress(provisioner.ColdStart):
        if kernel == manager.WARM:
            folder = Path(os.environ.get(provisioner.VARIABLE) or provisioner.start()).parent
            if folder.is_dir():
                return folder
    return _own_folder(os.getpid())


@lru_cache(maxsize=1)
def _own_folder(pid: int) -> Path:
    folder = private_socket.folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@lru_cache(maxsize=1)
def _going_down(pid: int) -> set[asyncio.Future[None]]:
    """Kernels of this process on their way down."""
    return set()


_first = Lock()  # of several threads makes the loop


@lru_cache(maxsize=1)
def _loop(pid: int) -> asyncio.AbstractEventLoop:
    """The event loop of this process, in a thread of its own: kernels go down in it while no run waits."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, daemon=True, name="workbench-runs").start()
    atexit.register(_settle, pid, loop)
    return loop


def _settle(pid: int, loop: asyncio.AbstractEventLoop) -> None:
    """At the end of this process, wait for its kernels."""
    if os.getpid() == pid:
        stop()
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(_quiet(), loop).result(SETTLE)


async def _quiet() -> None:
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
