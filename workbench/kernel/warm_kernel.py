"""What a fork of the warm server does: it becomes an IPython kernel like any other."""

import atexit
import contextlib
import ctypes
import gc
import importlib
import os
import pkgutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import workbench

#: What kernels and notebooks import sooner or later; some of it is imported inside functions, so that who does not need it starts fast.
LIBRARIES = [
    *("altair", "anywidget", "debugpy.server", "matplotlib_inline.backend_inline", "nbformat", "numpy", "polars", "psutil", "pydantic"),
    *("scipy.optimize", "scipy.sparse", "scipy.special", "scipy.stats", "tornado.platform.asyncio", "vl_convert"),
    *("ipykernel.debugger", "ipykernel.ipkernel", "ipykernel.kernelapp", "ipykernel.zmqshell"),
    *("IPython.core.completerlib", "IPython.core.debugger", "IPython.core.oinspect", "IPython.core.pylabtools"),
    "IPython.extensions.storemagic",
]
#: Not for notebooks.
ELSEWHERE = (
    *("workbench.__main__", "workbench.batch", "workbench.cli", "workbench.interrupts", "workbench.kernel"),
    *("workbench.notebook.kernels", "workbench.notebook.publish", "workbench.notebook.run", "workbench.notebook.stored"),
    "workbench.tools",  # asks for packages of an extra
)

PR_SET_PDEATHSIG = 1


def preload() -> None:
    """Import everything that a kernel needs, with the tables that the package and scipy ship, and do no work.

    `tables` reads cell by cell, which starts no thread; with those of polars' own reader in it, a process could not be forked.
    """
    from scipy.stats import qmc

    from workbench import tables

    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for module in pkgutil.walk_packages(workbench.__path__, "workbench."):
        if not module.name.startswith(ELSEWHERE):
            importlib.import_module(module.name)
    for table in tables.table_names():
        tables.shipped(table)
    qmc.Sobol(1, scramble=False)  # reads the direction numbers


def die_with_parent(parent: int) -> None:
    """Where the system can, have it kill this process with `parent`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def become(
    argv: list[str], cwd: str, env: dict[str, str], streams: list[int], pictures: Path, server: int, ready: Callable[[], None]
) -> NoReturn:
    """Run the kernel that ``python -m ipykernel_launcher`` would be with these arguments, folder, environment and streams.

    `ready` is called when it listens: a client that connects too early tries again only after 0.1 s.
    """
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as an idle kernel does; it can be interrupted while a cell runs
        die_with_parent(server)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        time.tzset()
        tempfile.tempdir = None
        own_state(pictures)
        from ipykernel.kernelapp import IPKernelApp

        sys.argv = argv
        app = IPKernelApp.instance(parent_handle=server)
        app.initialize(argv[1:])
        ready()
        app.start()
        app.control_thread.join(1.0)  # it may still be flushing the answer to a shutdown through what atexit closes
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        # what an interpreter does at its end, but for the taking apart of hundreds of shared modules
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            print(end="", flush=True, file=sys.__stdout__)
            print(end="", flush=True, file=sys.__stderr__)
        os._exit(code)


def own_state(pictures: Path) -> None:
    """Forget what would be the same in every kernel; Python's own random numbers do so by themselves."""
    import numpy as np

    from workbench.charts import render
    from workbench.kernel import painter

    np.random.seed()  # noqa: NPY002
    render.painter = painter.asked(pictures)
    gc.enable()
