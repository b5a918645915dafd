"""Ctrl-C ends a command within seconds, whatever it is at, and leaves nothing behind."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

ORDER, END = 2.0, 0.9  #: seconds for what must be put back in order, and then for what processes must do at their end
STATUS = 130  #: exit status of a command that was interrupted, as shells have it
heard: list[bool] = []  #: not empty once Ctrl-C was
said: list[str] = []  #: the last word, once it was said: this process ends, and must begin nothing


def armed() -> None:
    """From now on Ctrl-C ends this process, also where the `KeyboardInterrupt` is swallowed or comes late.

    It comes late in a wait of the main thread: polars has the system begin these anew after a signal, and Python looks for signals only
    between two steps. So a thread hears of it too, and sends signals that no wait survives.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # whoever started this ignores it
    signal.signal(signal.SIGINT, _hear)
    sys.unraisablehook = _unraisable
    hears, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    if hasattr(signal, "pthread_kill"):
        signal.signal(signal.SIGALRM, lambda *_: None)
    threading.Thread(target=_watch, args=(hears,), daemon=True, name="workbench-interrupts").start()


def _hear(*_: Any) -> NoReturn:
    heard.append(True)
    raise KeyboardInterrupt


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """Of an interrupt in a callback, as imports have them, Python says that it is dropped: the thread that heard it ends the process."""
    if not issubclass(what.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(what)


def _watch(hears: int) -> None:
    while signal.SIGINT not in os.read(hears, 1):
        pass
    for _ in range(20):  # one that comes while the first signal is being heard would be lost
        time.sleep(ORDER / 20)
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
    end()


def end(last: str = "interrupted") -> NoReturn:
    """End this process and what it started. Threads that still work are not waited for."""
    timer = threading.Timer(END, os._exit, (STATUS,))
    timer.daemon = True
    timer.start()
    with suppress(BaseException):
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if said:
            time.sleep(END)  # the other thread is at it
        said.append(last)
        sys.stdout.flush()
        print(last, file=sys.stderr, flush=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what threads say of the end of all that they use is of no use
        atexit._run_exitfuncs()
    os._exit(STATUS)
