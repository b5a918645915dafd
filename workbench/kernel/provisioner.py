"""How every Jupyter client starts kernel ``workbench``: forked from a warm server, or cold where that cannot be."""

import asyncio
import atexit
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from functools import cache, partialmethod
from pathlib import Path
from typing import Any, BinaryIO, cast

from jupyter_client.connect import LocalPortCache, port_names
from jupyter_client.provisioning import LocalProvisioner

from workbench import files, interrupts
from workbench.kernel import private_socket
from workbench.notebook.kernels import PromptKernelManager

VARIABLE = "WORKBENCH_WARM"  #: names the socket of a server that somebody else keeps running (`workbench warm`)
#: A file of the folder must not replace a library while they are imported; ``-P`` would keep the folder from the kernels too.
SERVER = "import sys; sys.path[:] = filter(None, sys.path); from workbench.kernel.warm_server import main; main()"
LAUNCHER = ["-m", "ipykernel_launcher"]
PATIENCE = 60.0  #: longest that a server may take to import the libraries and to fork [s]


class ColdStart(Exception):
    """Why a kernel cannot be forked."""


class EndedAtOnce(ColdStart):
    """It was forked, but ended before it listened."""


class WarmProvisioner(LocalProvisioner):
    """Starts a kernel by forking a warm server; where that cannot be, as any other kernel is started."""

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Where the sockets' place is ours to choose, put them beside the server's, who removes them whatever else is killed."""
        km = self.parent
        if isinstance(km, PromptKernelManager) and km.transport == "ipc":
            with contextlib.suppress(ColdStart):
                folder = Path(os.environ.get(VARIABLE) or start()).parent
                if folder.is_dir():
                    km.ip = str(folder / uuid.uuid4().hex[:20])
        return await super().pre_launch(**kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Fork a kernel for the command, or run the command."""
        try:
            try:
                kernel = await asyncio.to_thread(_forked, cmd, kwargs)
            except EndedAtOnce:  # as it does where another process has taken one of its ports since they were chosen
                self._choose_other_ports()
                kernel = await asyncio.to_thread(_forked, cmd, kwargs)
        except ColdStart as reason:
            _say_once(str(reason))
            return await super().launch_kernel(cmd, **kwargs)
        self.process = cast(Any, kernel)
        self.pid, self.pgid = kernel.pid, None  # the server signals the group
        self.cwd = kwargs.get("cwd") or os.getcwd()
        return self.connection_info

    def _choose_other_ports(self) -> None:
        km = self.parent
        if km and self.ports_cached and km.transport == "tcp":
            km.cleanup_connection_file()
            for name in port_names:
                setattr(km, name, LocalPortCache.instance().find_available_port(km.ip))
            km.write_connection_file()
            self.connection_info = km.get_connection_info()

    async def wait(self) -> int | None:
        """Wait for the end of the kernel, and notice it at once."""
        await self._ended(float("inf"))
        return await super().wait()

    async def shutdown_requested(self, restart: bool = False) -> None:
        """Wait a moment for a kernel that was asked to end: the manager looks only ten times a second."""
        await self._ended(0.5)

    async def kill(self, restart: bool = False) -> None:
        """Kill the kernel, and wait a moment for its end."""
        await super().kill(restart)
        await self._ended(0.5)

    async def _ended(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while await self.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.002)


class ForkedKernel:
    """A process that somebody else forked, as `subprocess.Popen` shows its own."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket, pid: int):
        self.pid, self.returncode = pid, cast("int | None", None)
        self._connection, self._heard = connection, b""
        connection.setblocking(False)

    def poll(self) -> int | None:
        """Exit code, negative for the signal that killed it; None while it runs."""
        if self.returncode is None:
            with contextlib.suppress(BlockingIOError):
                try:
                    heard = self._connection.recv(4096)
                except ConnectionError:
                    heard = b""
                self._heard += heard
                if not heard:  # no word: its server is gone, and its kernels with it
                    self.returncode = -signal.SIGKILL
                elif self._heard.endswith(b"\n"):
                    self.returncode = json.loads(self._heard)["exit"]
            if self.returncode is not None:
                self._connection.close()
        return self.returncode

    def wait(self) -> int:
        """Exit code, when it has ended."""
        while (code := self.poll()) is None:
            time.sleep(0.002)
        return code

    def send_signal(self, number: int) -> None:
        """Have its server send a signal to its process group; nothing if it has ended."""
        if self.poll() is None:
            with contextlib.suppress(OSError):
                self._connection.sendall(json.dumps({"signal": int(number)}).encode() + b"\n")

    terminate, kill = partialmethod(send_signal, signal.SIGTERM), partialmethod(send_signal, signal.SIGKILL)


def _forked(cmd: list[str], kwargs: dict[str, Any]) -> ForkedKernel:
    if not hasattr(os, "fork"):
        raise ColdStart("this system cannot fork")
    if cmd[1:3] != LAUNCHER:
        raise ColdStart(f"only `python {' '.join(LAUNCHER)}` can be forked, not {' '.join(cmd[:3])}")
    env, cwd = dict(kwargs["env"]), os.path.abspath(kwargs.get("cwd") or os.getcwd())
    if not os.path.isdir(cwd):
        raise ColdStart(f"{cwd} is not a folder")
    with open(os.devnull, "r+b") as nothing:
        streams = [_descriptor(kwargs.get(name), own, nothing) for name, own in (("stdin", None), ("stdout", 1), ("stderr", 2))]
        asked = json.dumps({"python": cmd[0], "argv": cmd[2:], "cwd": cwd, "env": env}).encode() + b"\n"
        try:
            connection = private_socket.connect(os.environ.get(VARIABLE) or start(cmd[0], env), PATIENCE)
        except OSError as error:
            raise ColdStart(f"no warm server answers ({error})") from None
        try:
            sent = socket.send_fds(connection, [asked], streams)
            connection.sendall(asked[sent:])
            with connection.makefile("rb", buffering=0) as lines:  # no byte more than the line: what follows is for the kernel's object
                answer = json.loads(lines.readline() or b'{"cold": "its server ended"}')
        except OSError as error:
            answer = {"cold": f"its server does not answer ({error})"}
    if "pid" not in answer:
        connection.close()
        raise EndedAtOnce(f"its fork ended with code {answer['exit']}") if "exit" in answer else ColdStart(answer["cold"])
    _Own.worked = True
    return ForkedKernel(connection, answer["pid"])


def _descriptor(given: Any, own: int | None, nothing: BinaryIO) -> int:
    """The file number that a stream of `subprocess.Popen` means, where it is one that can be handed over."""
    if given is None and own is not None:
        with contextlib.suppress(OSError):
            return own if os.fstat(own) else nothing.fileno()
    if given is None or given == subprocess.DEVNULL:
        return nothing.fileno()
    if hasattr(given, "fileno"):
        given = given.fileno()
    if not isinstance(given, int) or given < 0:
        raise ColdStart("its output goes into a pipe")
    return given


class _Own:
    """The server of this process, started when the first kernel is."""

    lock = threading.RLock()
    process: subprocess.Popen[bytes] | None = None
    owner = 0  #: a fork of this process must not share its server
    path = ""
    worked = False  #: whether a kernel has come of it


def start(python: str = sys.executable, env: Mapping[str, str] | None = None, *, steady: bool = False) -> str:
    """Start the server of this process, if it has none, and return the path of its socket.

    Who connects while it imports the libraries waits until it has. A program whose workers are processes sets `VARIABLE` to that path in
    their environment, so that they share it. Once files of the workbench change, a server refuses, but for one that is `steady`. Raises
    `ColdStart` if the system cannot fork, or a server that was started before ended before any kernel came of it.
    """
    with _Own.lock:  # a signal may have the thread that holds it call `stop`
        if interrupts.said:  # this process ends
            raise asyncio.CancelledError
        own = _Own.process if _Own.owner == os.getpid() else None
        if own is not None and own.poll() is None:
            return _Own.path
        if own is not None and (own.returncode > 0 or not _Own.worked):
            raise ColdStart(f"its server ended with code {own.returncode}")
        if not hasattr(os, "fork"):
            raise ColdStart("this system cannot fork")
        stop()  # what a killed one has left
        env = {k: v for k, v in (os.environ if env is None else env).items() if k != VARIABLE}
        folder = None
        try:
            folder = files.private_folder()
            with private_socket.listen(folder / "kernels.sock") as listener:
                number = listener.fileno()
                command = [python, "-Xfrozen_modules=off", "-c", SERVER, str(folder), str(number)]  # frozen modules cannot be debugged
                command += ["steady"] if steady else []
                _Own.owner, _Own.path, _Own.worked = os.getpid(), str(folder / "kernels.sock"), False
                # a session of its own: Ctrl-C is not for it
                _Own.process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[number], env=env, start_new_session=True)
        except OSError as error:
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
            raise ColdStart(f"its server does not start ({error})") from None
        atexit.register(stop)
        return _Own.path


def stop() -> None:
    """End the server of this process, and with it its kernels; the next kernel starts another."""
    with _Own.lock:
        process, _Own.process = _Own.process, None
        if process is None or _Own.owner != os.getpid():
            return
        assert process.stdin is not None
        process.stdin.close()
        for more in (process.terminate, process.kill):  # while it still imports it looks at nothing
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
                break
            more()
        process.wait()
        shutil.rmtree(Path(_Own.path).parent, ignore_errors=True)


def serve() -> None:
    """Keep a server for other processes and print where it listens, until interrupted or terminated."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.signal(signal.SIGINT, lambda *_: sys.exit())
    try:
        print(start(), flush=True)
        assert _Own.process is not None
        sys.exit(_Own.process.wait())
    finally:
        stop()


#: Once for each reason.
_say_once = cache(lambda reason: logging.getLogger("workbench").warning("kernel workbench starts cold: %s", reason))
