"""Where the runs of a sweep are made: threads of this process, a Dask cluster, or any executor of `concurrent.futures`; and one run."""

from __future__ import annotations

import copy
import json
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from workbench import tables
from workbench.errors import InputError, refused
from workbench.files import Store
from workbench.notebook import kernels, stored
from workbench.notebook.run import Task, own_kernel, run_here
from workbench.notebook.stored import Run

if TYPE_CHECKING:
    import nbformat

CONNECT = 5.0  #: a scheduler that has not answered by then does not [s]

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Workers:
    """An executor, how many calls it can run at a time, and whether it knows which calls have begun."""

    executor: Executor
    slots: Callable[[], int]
    stop: Callable[[], None]  #: end all that runs, at once
    knows_running: bool = True


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def runs_at_once(jobs: int | None) -> int:
    """Runs of notebooks at a time on this machine: by default one more than cores, for a run waits for its kernel and its pictures."""
    return cores() + 1 if jobs is None else jobs


@contextmanager
def workers(jobs: int | None = None, scheduler: str | None = None, executor: Executor | None = None) -> Iterator[Workers]:
    """The executor asked for: the one given, a Dask cluster by its scheduler's address, or `jobs` threads of this process.

    What a run computes is computed by its kernel, a process of its own: a thread only hears it.
    """
    if scheduler is not None and executor is not None:
        raise InputError("give either a scheduler or an executor")
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs = {jobs}: expected at least 1")
    if executor is not None:
        yield Workers(executor, lambda: jobs or cores(), lambda: executor.shutdown(wait=False, cancel_futures=True))
    elif scheduler is not None:
        client = _connected(scheduler)
        # workers of a cluster come and go, but not at every call: they are counted every 5 s
        threads = lru_cache(maxsize=1)(lambda tick: max(1, sum(client.nthreads().values())))
        try:
            pool = client.get_executor(pure=False)
            yield Workers(pool, lambda: threads(time.monotonic() // 5), lambda: pool.shutdown(wait=False), knows_running=False)
        finally:
            client.close()
    else:
        at_once = runs_at_once(jobs)
        # loky 3.7 took 37 s for 200 short runs, not 14, and its shutdown cannot cancel what waits, as a killed worker and Ctrl-C need
        with kernels.threads(at_once) as local:
            yield Workers(local, lambda: at_once, lambda: kernels.stop(local))


def _connected(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("a Dask scheduler needs the extra `scale`: pip install 'ai-workbench[scale]'") from None
    answer: Future[Any] = Future()

    def connect() -> None:
        try:
            answer.set_result(Client(scheduler, timeout=CONNECT, set_as_default=False))
        except Exception as error:
            answer.set_exception(error)

    Thread(target=connect, daemon=True).start()  # the client waits for ever for one that accepts and says nothing
    try:
        client = answer.result(2 * CONNECT)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else f"nothing heard in {2 * CONNECT:g} s"
        raise InputError(f"{scheduler}: no Dask scheduler answers ({reason})") from None
    try:
        client.wait_for_workers(1, timeout=CONNECT)
    except TimeoutError:
        client.close()
        raise InputError(f"{scheduler}: the Dask scheduler has no workers; start some: dask worker {scheduler}") from None
    return client


def completed(
    pool: Workers, function: Callable[[A], B], waiting: deque[A],
    stopped: Callable[[], bool] = lambda: False, left: Callable[[], bool] = lambda: False, ahead: int = 2,
) -> Iterator[tuple[A, Future[B]]]:  # fmt: skip
    """Call `function` with each item; yield item and future as they are done, in any order.

    No more than `ahead` times as many calls are out as can run at a time, so that ten thousand items cost no more each than ten. The
    caller may append to `waiting` meanwhile (a call to make again). Once `stopped()`, no call begins any more but, where more are out than
    can run, such as a worker has just taken; those that run are waited for, but once `left()`.
    """
    out: dict[Future[B], A] = {}
    while waiting or out:
        if stopped():
            for future in list(out) if pool.knows_running else []:
                if future.cancel():
                    del out[future]
        while waiting and not stopped() and len(out) < ahead * pool.slots():
            item = waiting.popleft()
            out[pool.executor.submit(function, item)] = item
        if left() or (stopped() and not out):
            return
        for future in wait(out, 0.2, FIRST_COMPLETED).done:
            yield out.pop(future), future


def run_one(out: str, sha256: str, task: Task) -> Run:
    """Run the notebook of the sweep at `out` as the task says, keep it whole or not at all, and return what it recorded.

    Raises `InputError` for what no run of the sweep could survive. `sha256` is the notebook's, so that who has read it reads it once.
    """
    store = Store.at(out)
    nb = copy.deepcopy(_notebook(out, sha256))
    # a warm kernel is of the code that its server began with, a cold one of the files as they are now
    warm = kernels.kernel_name(task.kernel, own_kernel(nb)) == kernels.WARM
    ours = _code_and_data(os.getpid(), task.code_and_data) if warm else tables.code_and_data()
    if ours != (began := task.code_and_data):
        raise InputError(f"{platform.node()}: code or tables of the workbench are not those that the sweep began with: {ours}, not {began}")
    run = run_here(nb, task)
    with refused(f"{store}/{task.path}: cannot be written"):
        store.write(task.path, json.dumps(nb, ensure_ascii=False).encode("utf8", "replace"))
    return run


_code_and_data = lru_cache(maxsize=8)(lambda pid, asked: tables.code_and_data())  #: of a process that was asked for one


@lru_cache(maxsize=8)
def _notebook(out: str, sha256: str) -> nbformat.NotebookNode:
    try:
        data = Store.at(out).read("notebook.ipynb")
    except OSError as error:
        raise InputError(f"{platform.node()}: cannot read {out}/notebook.ipynb ({error.strerror or error}); can every worker?") from None
    return stored.parse(data, f"{out}/notebook.ipynb")
