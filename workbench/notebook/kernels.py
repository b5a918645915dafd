"""Kernels that notebooks are run in, and the thread in which they are: each run has its own, and nothing waits for one to end."""

import asyncio
import atexit
import os
import platform
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from queue import Empty
from subprocess import DEVNULL, PIPE, Popen
from threading import Lock, Thread
from typing import Any, TypeVar

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager, KernelManager
from traitlets import default

from workbench import files
from workbench.errors import InputError

WARM = "workbench"  #: name of the kernel that the workbench installs, for the Python that it is installed in
STARTUP = 60.0  #: a kernel that says nothing for so long will not start [s]
LINGERING = 2  #: kernels that may still be going down while the next ones run
SETTLE = 2.0  #: kernels that have not gone down by then are left to their own end [s]
WATCH = 0.05  #: how often a kernel is looked at [s]

T = TypeVar("T")


class Stopped(Exception):
    """A run was stopped, for a reason that is a status."""

    def __init__(self, status: str, reason: str):
        self.status = status
        super().__init__(reason)


class PromptClient(AsyncKernelClient):
    """A client that is ready when its kernel is. The usual one then listens for 0.2 s for what may be left of earlier clients."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers and its output arrives. Raises `RuntimeError` if it dies, or takes longer than `timeout` [s]."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            self.kernel_info()
            try:
                answer = await self.get_shell_msg(timeout=1)
                await self.get_iopub_msg(timeout=0.2)  # the output channel is open
                self._handle_kernel_info_reply(answer)
                return
            except Empty:
                pass
            if not await self.is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Kernel didn't respond in {timeout:g} seconds")


class PromptKernelManager(AsyncKernelManager):
    """Starts and ends kernels as its parent does, with `PromptClient`, and waits for nothing that has happened."""

    # The usual ones sleep for 10 ms after their work, so that tests can see a state that no longer holds.
    start_kernel = KernelManager._async_start_kernel.__wrapped__  # type: ignore[attr-defined]
    shutdown_kernel = KernelManager._async_shutdown_kernel.__wrapped__  # type: ignore[attr-defined]

    @default("client_factory")
    def _prompt_client(self) -> type[AsyncKernelClient]:
        return PromptClient

    def _ip_default(self) -> str:
        """The place of its sockets, unless whoever provides the kernel names another; a free port may be taken before it listens there."""
        return str(_own_folder(os.getpid()) / uuid.uuid4().hex[:20]) if self.transport == "ipc" else super()._ip_default()


@lru_cache(maxsize=8)
def kernel_name(asked: str | None, own: str) -> str:
    """The kernel to use: the one asked for; of a notebook for Python the workbench's, or a cold one where that is not installed."""
    if asked or own not in (NATIVE_KERNEL_NAME, WARM):
        return asked or own
    return WARM if WARM in KernelSpecManager().find_kernel_specs() else NATIVE_KERNEL_NAME


class _Runs:
    """The event loop of this process, in a thread of its own, with what runs in it and the kernels on their way down."""

    def __init__(self) -> None:
        self.pid, self.loop = os.getpid(), asyncio.new_event_loop()
        self.running: set[Future[Any]] = set()
        self.going_down: set[asyncio.Future[None]] = set()
        Thread(target=self.loop.run_forever, daemon=True, name="workbench-runs").start()
        atexit.register(self._settle)

    def stop(self) -> None:
        for future in list(self.running):
            future.cancel()

    def _settle(self) -> None:
        """At the end of this process, wait for its kernels."""
        if os.getpid() == self.pid:
            self.stop()
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(_quiet(), self.loop).result(SETTLE)


@lru_cache(maxsize=1)
def _runs(pid: int) -> _Runs:
    return _Runs()


_first = Lock()  # of several threads makes the loop


def awaited(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, which is run in the thread of all runs."""
    with _first:
        runs = _runs(os.getpid())
    future = asyncio.run_coroutine_threadsafe(work, runs.loop)
    runs.running.add(future)
    try:
        return future.result()
    finally:
        future.cancel()  # after Ctrl-C
        runs.running.discard(future)


@contextmanager
def threads(n: int | None) -> Iterator[ThreadPoolExecutor]:
    """Threads that make `n` runs at a time; an error ends them all."""
    pool = ThreadPoolExecutor(n)
    try:
        yield pool
    except BaseException:
        stop(pool)
        raise
    finally:
        pool.shutdown(wait=False)


def stop(pool: ThreadPoolExecutor) -> None:
    """End at once what threads of this process run: they meet a `CancelledError`."""
    pool.shutdown(wait=False, cancel_futures=True)
    _runs(os.getpid()).stop()


async def _quiet() -> None:
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


@asynccontextmanager
async def client(nb: Any, name: str, cwd: str | None, cell_timeout: float | None) -> AsyncIterator[Any]:
    """A client of nbclient for the notebook, with a kernel of its own, which goes down behind the next run. Raises `Stopped`."""
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError

    others = _runs(os.getpid()).going_down
    while len(others) > LINGERING:
        await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    km = PromptKernelManager(kernel_name=name, transport="tcp" if os.name == "nt" else "ipc")
    made = NotebookClient(nb, km=km, timeout_func=lambda cell: cell_timeout, iopub_timeout=STARTUP, raise_on_iopub_timeout=True)
    made.extra_arguments = ["--log-level=50"]  # errors of cells come back in the notebook
    at_once = False
    try:
        try:
            cwd = cwd if cwd and Path(cwd).is_dir() else None
            await made.async_start_new_kernel(cwd=cwd, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
            made.kc = km.client()
            made.kc.start_channels(hb=False)
            made.kc.allow_stdin = False
            await made.kc.wait_for_ready(timeout=STARTUP)
        except NoSuchKernel as error:
            raise InputError(f"{platform.node()}: no kernel named {error.name!r} is installed") from None
        except (OSError, RuntimeError) as error:
            raise Stopped("died", f"the kernel did not start: {error}") from None
        yield made
    except (Stopped, CellTimeoutError, asyncio.CancelledError):
        at_once = True
        raise
    finally:
        going = asyncio.ensure_future(_down(km, made.kc, at_once))
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


async def watched(km: Any, memory: int | None) -> None:
    """Raise `Stopped` as soon as the kernel is dead (nbclient looks once a second), or has taken more memory [bytes] than it may."""
    import psutil

    pid = getattr(km.provisioner, "pid", None)
    while True:
        if not await km.is_alive():
            raise Stopped("died", "the kernel died")
        with suppress(psutil.Error):
            if memory is not None and pid is not None:
                kernel = psutil.Process(pid)
                family = [kernel, *kernel.children(recursive=True)]
                if sum(p.memory_info().rss for p in family) > memory:  # quick, but counts what a warm kernel shares
                    private = sum(p.memory_full_info().uss for p in family)
                    if private > memory:
                        raise Stopped("memory", f"took {private / 1e9:.3g} GB of the {memory / 1e9:.3g} GB allowed")
        await asyncio.sleep(WATCH)


@lru_cache(maxsize=1)
def _own_folder(pid: int) -> Path:
    folder = files.private_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if os.name != "nt":  # it goes with this process, also where that is killed
        remover = Popen(["sh", "-c", 'read -r _; rm -rf "$0"', str(folder)], stdin=PIPE, stderr=DEVNULL, start_new_session=True)
        atexit.register(remover.communicate)  # keeps the pipe open until then
    return folder
