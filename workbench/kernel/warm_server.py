"""The process that warm kernels are forked from: it has imported the libraries and done no work.

One JSON line and the kernel's three standard streams ask for a kernel. The kernel itself answers, when it listens, with a line that
says its process id; a line of the server's follows when it has ended, with its exit code. The connection is the kernel's life: when
its client goes, the kernel goes. A pool of threads that has worked must not be forked, so that before each fork the server looks
whether any has started since its imports, and refuses if so.
"""

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import threading
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import psutil

from workbench import tables
from workbench.kernel import painter, private_socket, warm_kernel

CORES_A_PAINTER = 4  #: pictures take a quarter of a run, so that one painter serves four cores
LONGEST = 1 << 24  #: bytes of a line that asks for a kernel, most of them its environment
#: Libraries read these once, when they are imported: a kernel that wants others must start cold.
READ_AT_IMPORT = ("PYTHON", "LD_", "DYLD_", "LC_", "LANG")
READ_AT_IMPORT_END = "_NUM_THREADS"


@dataclass
class Kernel:
    """A connection, and the kernel that was forked for it."""

    connection: socket.socket
    received: bytearray = field(default_factory=bytearray)
    streams: list[int] = field(default_factory=list)
    pid: int | None = None


class Server:
    """Forks kernels for the clients that connect to `listener`, until the file `lifeline` ends; `folder` is its own.

    Kernels must not be of older code than a cold one would be: unless `steady`, it refuses once a file of the workbench has changed.
    """

    def __init__(self, folder: Path, listener: socket.socket, lifeline: int, steady: bool = False):
        self.files = None if steady else files()
        self.folder, self.listener, self.lifeline, self.parent = folder, listener, lifeline, os.getppid()
        self.pictures = folder / "pictures.sock"
        self.kernels: dict[int, Kernel] = {}  # by file number of the connection
        self.environment = read_at_import(os.environ)
        with private_socket.listen(self.pictures) as shared:  # nobody else holds it open: with the last painter connections are refused
            self.painters = {self._start_painter(shared) for _ in range(-(-(os.cpu_count() or 1) // CORES_A_PAINTER))}
        warm_kernel.preload()
        self.threads = os_threads()
        self.listener.setblocking(False)
        gc.collect()
        gc.freeze()  # what was imported stays out of the kernels' collections, and so in shared memory
        self.wake, wake = socket.socketpair()
        for end in (self.wake, wake):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._wake = wake

    def refusal(self, asked: dict[str, Any]) -> str | None:
        """Why this server must not fork what is asked, or None."""
        if (running := threading.active_count()) > 1:
            return f"{running - 1} Python threads run in its server"
        if grown := [name for name in os_threads() if name not in self.threads]:
            return f"threads have worked in its server ({', '.join(sorted(set(grown)))})"
        mine, python = sys.executable, asked["python"]  # python and python3 of a folder are one
        if (os.path.dirname(python), os.path.realpath(python)) != (os.path.dirname(mine), os.path.realpath(mine)):
            return f"its server runs {mine}, not {python}"
        if self.files is not None and (now := files()) != self.files:
            changed = min(path for path, _ in now ^ self.files)
            return f"{changed} has changed since its server started"
        theirs = read_at_import(asked["env"])
        if differ := sorted(k for k in {*theirs, *self.environment} if theirs.get(k) != self.environment.get(k)):
            return f"its server was started with other values of {', '.join(differ)}"
        return None

    def serve(self) -> None:
        """Serve until the lifeline ends or the parent is gone."""
        try:
            while os.getppid() == self.parent:  # a fork of the parent may hold the lifeline open
                watched: list[Any] = [self.lifeline, self.listener, self.wake, *self.kernels]
                ready = select.select(watched, [], [], 1.0)[0]
                if self.lifeline in ready and not os.read(self.lifeline, 4096):
                    return
                self._reap()
                for at in ready:
                    if at is self.listener:
                        self._accept()
                    elif at in self.kernels:
                        self._hear(self.kernels[at])
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever sends it now knows no better
            self.close()

    def close(self) -> None:
        """End all kernels and painters, and remove the sockets."""
        signal.set_wakeup_fd(-1)
        for kernel in list(self.kernels.values()):
            self._drop(kernel)
        for pid in self.painters:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start_painter(self, listener: socket.socket) -> int:
        server = os.getpid()
        if pid := fork():
            return pid
        with contextlib.suppress(BaseException):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            warm_kernel.die_with_parent(server)
            self.listener.close()
            painter.serve(listener, server)
        os._exit(0)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self.listener.accept()
            if not private_socket.of_this_user(connection):
                connection.close()
                return
            connection.setblocking(False)
            self.kernels[connection.fileno()] = Kernel(connection)

    def _hear(self, kernel: Kernel) -> None:
        try:
            data, streams, *_ = socket.recv_fds(kernel.connection, 1 << 16, 3)
        except BlockingIOError:
            return
        except OSError:
            data, streams = b"", []
        kernel.received += data
        kernel.streams += streams
        if not data:
            self._drop(kernel)
        while b"\n" in kernel.received:
            line, _, kernel.received = kernel.received.partition(b"\n")
            asked = _asked(bytes(line))
            if asked is None or ("signal" not in asked and (kernel.pid is not None or len(kernel.streams) != 3)):
                say(kernel.connection, cold="its server does not understand what is asked")
                self._drop(kernel)
                return
            if "signal" in asked:
                self._signal(kernel, asked["signal"])
            else:
                self._fork(kernel, asked)
        if len(kernel.received) > LONGEST:
            self._drop(kernel)

    def _fork(self, kernel: Kernel, asked: dict[str, Any]) -> None:
        if reason := self.refusal(asked):
            say(kernel.connection, cold=reason)
            return
        server = os.getpid()
        kernel.pid = fork()
        if kernel.pid == 0:
            self._become(kernel, asked, server)
        for stream in kernel.streams:
            os.close(stream)
        kernel.streams = []

    def _become(self, kernel: Kernel, asked: dict[str, Any], server: int) -> NoReturn:
        """In the fork: let go of everything of the server's, and be a kernel."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        for mine in (self.listener, self.wake, self._wake, *(k.connection for k in self.kernels.values() if k is not kernel)):
            mine.close()

        def ready() -> None:
            say(kernel.connection, pid=os.getpid())
            kernel.connection.close()  # from now on only the server's end keeps it open

        warm_kernel.become(asked["argv"], asked["cwd"], asked["env"], kernel.streams, self.pictures, server, ready)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.wake.recv(4096)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                self.painters.discard(pid)
                for kernel in [k for k in self.kernels.values() if k.pid == pid]:
                    kernel.pid = None
                    say(kernel.connection, exit=os.waitstatus_to_exitcode(status))
                    self._drop(kernel)

    def _signal(self, kernel: Kernel, number: int) -> None:
        """Send a signal to the kernel's process group: only a child not yet waited for has that number for sure."""
        if kernel.pid is not None:
            try:
                os.killpg(kernel.pid, number)
            except ProcessLookupError:  # it has not made its group yet
                os.kill(kernel.pid, number)

    def _drop(self, kernel: Kernel) -> None:
        self._signal(kernel, signal.SIGKILL)
        self.kernels.pop(kernel.connection.fileno(), None)
        kernel.connection.close()
        for stream in kernel.streams:
            os.close(stream)
        kernel.streams = []


def _asked(line: bytes) -> dict[str, Any] | None:
    """What a line asks: a signal, or a kernel; None where it is no such thing."""
    try:
        asked = json.loads(line)
        if asked.keys() == {"signal"}:
            return asked if asked["signal"] in tuple(signal.Signals) else None
        texts = [asked["python"], asked["cwd"], *asked["argv"], *asked["env"], *asked["env"].values()]
        return asked if all(isinstance(text, str) and "\0" not in text for text in texts) else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def files() -> set[tuple[str, tuple[int, int]]]:
    """The package's modules and tables, each with its date and size."""
    found = set()
    for _, entry in tables.files():
        with contextlib.suppress(OSError):  # gone meanwhile, or a link to nothing as some editors make
            status = entry.stat()
            found.add((entry.path, (status.st_mtime_ns, status.st_size)))
    return found


def say(connection: socket.socket, **words: Any) -> None:
    """One line, to a client that may be gone."""
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(words).encode() + b"\n")


def fork() -> int:
    """Fork with nothing left in the buffers. Python warns of the threads that libraries start on import; they hold no lock."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def os_threads() -> list[str]:
    """Names of the threads of this process, whatever language started them."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return [str(i) for i in range(psutil.Process().num_threads())]
    names = sorted((task / "comm").read_text().strip() for task in tasks.iterdir())
    return [f"{name}/{names[:i].count(name)}" for i, name in enumerate(names) if not name.startswith("jemalloc")]


def read_at_import(environment: Any) -> dict[str, str]:
    """The variables that libraries read when they are imported."""
    return {k: v for k, v in environment.items() if k.startswith(READ_AT_IMPORT) or k.endswith(READ_AT_IMPORT_END)}


def main() -> None:
    """Serve until standard input ends, the lifeline of who started this and gave it a folder and a socket that listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    folder, listener, *steady = sys.argv[1:]
    Server(Path(folder), socket.socket(fileno=int(listener)), sys.stdin.fileno(), bool(steady)).serve()
