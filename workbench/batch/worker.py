"""A worker process: takes pickled calls from its standard input, runs them one after the other, answers on its standard output.

It ends when its input ends: at once, with all that it started, if a call is still running, because then whoever wanted the answer is gone.
"""

from __future__ import annotations

import atexit
import os
import pickle
import sys
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any


def main() -> None:
    calls = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # what is called must neither read calls nor write among the answers
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.path[:] = pickle.load(calls)
    _say(answers, "ready")

    waiting: SimpleQueue[bytes | None] = SimpleQueue()
    busy = [False]
    Thread(target=_take, args=(calls, waiting, busy), daemon=True).start()
    while (call := waiting.get()) is not None:
        try:
            function, arguments = pickle.loads(call)
            answer = (True, function(*arguments))
        except BaseException as error:
            answer = (False, error)
        busy[0] = False
        try:
            _say(answers, answer)
        except OSError:  # nobody listens
            break


def _take(calls: Any, waiting: Any, busy: list[bool]) -> None:
    try:
        while True:
            call = pickle.load(calls)  # bytes: what they hold is unpickled where an error of it is an answer
            busy[0] = True
            waiting.put(call)
    except EOFError:
        if busy[0]:
            kill_children(os.getpid())
            atexit._run_exitfuncs()  # they remove the folders of this process
            os._exit(1)
        waiting.put(None)


def _say(answers: Any, answer: Any) -> None:
    try:
        data = pickle.dumps(answer)
        pickle.loads(data)  # some errors can be written but not read
    except Exception:
        data = pickle.dumps((False, RuntimeError(f"{type(answer[1]).__name__}: {answer[1]}")))
    answers.write(data)
    answers.flush()


def kill_children(pid: int) -> None:
    """Kill what a process started, and what that started."""
    import psutil

    try:
        family = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return
    for process in family:
        with suppress(psutil.Error):
            process.kill()


if __name__ == "__main__":
    main()
