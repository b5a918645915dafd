"""Where the calls of a sweep are made: worker processes of this machine, a Dask cluster, or any executor of `concurrent.futures`."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

from workbench import files
from workbench.batch.worker import kill_children
from workbench.errors import InputError

#: A scheduler that has not answered by then does not [s].
CONNECT = 5.0

A = TypeVar("A")
B = TypeVar("B")


class WorkerLost(RuntimeError):
    """The process that ran a call is gone; the call may be made elsewhere."""


@dataclass(frozen=True)
class Workers:
    """An executor, how many calls it can run at a time, and whether it knows which calls have begun."""

    executor: Executor
    slots: Callable[[], int]
    stop: Callable[[], None]  #: end all that runs, at once
    knows_running: bool = True


class Processes(Executor):
    """Worker processes that live as long as the executor does, so that what they keep warm stays warm.

    Differs from `concurrent.futures.ProcessPoolExecutor` in that a worker that is killed loses its own call only (`WorkerLost`) and is
    replaced, that workers end when the process that started them is killed, and that a script needs no ``if __name__ == "__main__"``.
    """

    # loky 3.7 beside this, three workers on two busy cores: the first calls take 1.9 s (here .4 s), a call 110 to 310 us (30 to 70); a
    # worker that is killed takes all calls that are out and the executor with it (here its own call, and the rest goes on); workers and
    # what they started outlive a driver that is killed for as long as their calls last (here they are gone within seconds); Ctrl-C in a
    # terminal stops its workers too (here the driver alone hears it, and nearly finished runs are kept). It bounds neither the memory
    # nor the time of a call, and cannot fork a kernel from a process that has imported the libraries.
    def __init__(self, jobs: int, environment: Callable[[], Mapping[str, str]] = dict):
        self._environment = cache(environment)
        self._calls: SimpleQueue[tuple[Future[Any], bytes] | None] = SimpleQueue()
        self._closed, self._killed, self._lock = False, False, Lock()
        self._alive: set[subprocess.Popen[bytes]] = set()
        self._threads = [Thread(target=self._serve, daemon=True) for _ in range(jobs)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., B], /, *args: Any, **kwargs: Any) -> Future[B]:
        if self._closed:
            raise RuntimeError("cannot submit: the executor was shut down")
        if kwargs:
            raise TypeError("keyword arguments are not passed on")
        future: Future[B] = Future()
        self._calls.put((future, pickle.dumps(pickle.dumps((function, args)))))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._closed = True
        if cancel_futures:
            with suppress(Empty):
                while call := self._calls.get_nowait():
                    call[0].cancel()
        for _ in self._threads:
            self._calls.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def kill(self) -> None:
        """End the workers and all that they started, at once."""
        self._closed = self._killed = True
        with self._lock:
            for process in self._alive:
                kill_children(process.pid)
                process.kill()

    def _serve(self) -> None:
        """Feed one worker, and its successors."""
        process = None
        while (call := self._calls.get()) is not None:
            future, data = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                process = process or self._started()
                process.stdin.write(data)  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                good, answer = pickle.load(process.stdout)  # type: ignore[arg-type]
            except BrokenExecutor as error:
                future.set_exception(error)
            except (OSError, EOFError, pickle.UnpicklingError):
                future.set_exception(WorkerLost(f"a worker ended while it ran ({self._ended(process)})"))
                process = None
            else:
                future.set_result(answer) if good else future.set_exception(answer)
        if process:
            process.stdin.close()  # type: ignore[union-attr]
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                kill_children(process.pid)
                process.kill()
            self._ended(process)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._killed:
            raise BrokenExecutor("the workers were ended")
        with self._lock:  # asked once, by the first
            environment = os.environ | self._environment()
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "workbench.batch.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the one who drives
            )
            with self._lock:
                self._alive.add(process)
            try:
                process.stdin.write(pickle.dumps(sys.path))  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                pickle.load(process.stdout)  # type: ignore[arg-type]
            except (OSError, EOFError, pickle.UnpicklingError):
                status = self._ended(process)
                log.seek(0)
                said = log.read().decode(errors="replace").strip().splitlines()[-1:]
                raise BrokenExecutor(f"a worker process does not start ({status}): {' '.join(said)}") from None
        return process

    def _ended(self, process: subprocess.Popen[bytes] | None) -> str:
        if process is None:
            return "it did not start"
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        process.kill()
        status = process.wait()
        files.remove_private_folders(process.pid)
        with self._lock:
            self._alive.discard(process)
        return f"signal {-status}" if status < 0 else f"exit status {status}"


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def runs_at_once(jobs: int | None) -> int:
    """Runs of notebooks at a time on this machine: by default one more than cores, for a run waits for its kernel and its pictures."""
    return cores() + 1 if jobs is None else jobs


@contextmanager
def workers(
    jobs: int | None = None,
    scheduler: str | None = None,
    executor: Executor | None = None,
    environment: Callable[[], Mapping[str, str]] = dict,
) -> Iterator[Workers]:
    """The executor asked for: the one given, a Dask cluster by its scheduler's address, or `jobs` processes of this machine.

    `environment` is asked for what these processes shall find in theirs, once the first has something to do.

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
        processes = Processes(jobs or cores(), environment)
        try:
            yield Workers(processes, lambda: jobs or cores(), processes.kill)
        except BaseException:
            processes.kill()
            raise
        finally:
            processes.shutdown(cancel_futures=True)


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


def lost(error: BaseException | None) -> bool:
    """Whether a call failed because its worker is gone, so that it may be made elsewhere."""
    return isinstance(error, WorkerLost) or type(error).__name__ == "KilledWorker"


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
