"""Where the runs of a sweep are made: threads of this process, a Dask cluster, or any executor of `concurrent.futures`."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from workbench.errors import InputError
from workbench.notebook import kernels

#: A scheduler that has not answered by then does not [s].
CONNECT = 5.0

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

    Raises
    ------
    InputError
        For a scheduler that does not answer or has no workers, or a number of jobs below 1.
    """
    if sum(choice is not None for choice in (scheduler, executor)) > 1:
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
        local = ThreadPoolExecutor(at_once)

        def stop() -> None:
            local.shutdown(wait=False, cancel_futures=True)
            kernels.stop()

        try:
            yield Workers(local, lambda: at_once, stop)
        finally:
            local.shutdown(wait=False, cancel_futures=True)


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
    pool: Workers,
    function: Callable[[A], B],
    waiting: deque[A],
    stopped: Callable[[], bool] = lambda: False,
    left: Callable[[], bool] = lambda: False,
    ahead: int = 2,
) -> Iterator[tuple[A, Future[B]]]:
    """Call `function` with each item; yield item and future as they are done, in any order.

    No more than `ahead` times as many calls are out as can run at a time, so that ten thousand items cost no more each than ten. The
    caller may append to `waiting` meanwhile (a call to make again). Once `stopped()`, no call begins any more but, where more are out than
    can run, such as a worker has just taken; those that run are waited for, but once `left()`.
    """
    done: SimpleQueue[Future[B]] = SimpleQueue()
    out: dict[Future[B], A] = {}
    while waiting or out:
        if stopped():
            for future in list(out) if pool.knows_running else []:
                if future.cancel():
                    del out[future]
        while waiting and not stopped() and len(out) < ahead * pool.slots():
            item = waiting.popleft()
            future = pool.executor.submit(function, item)
            out[future] = item
            future.add_done_callback(done.put)
        if left() or (stopped() and not out):
            return
        with suppress(Empty):
            future = done.get(timeout=0.2)
            if future in out:
                yield out.pop(future), future
