"""One run of a sweep: of the sweep's notebook, code and data, and kept whole or not at all."""

from __future__ import annotations

import copy
import json
import os
import platform
from functools import lru_cache
from typing import TYPE_CHECKING

from workbench import tables
from workbench.errors import InputError
from workbench.files import Store
from workbench.notebook import stored
from workbench.notebook.kernels import WARM, kernel_name
from workbench.notebook.run import Task, own_kernel, run_here
from workbench.notebook.stored import Run

if TYPE_CHECKING:
    import nbformat


def run_one(out: str, sha256: str, task: Task) -> Run:
    """Run the notebook of the sweep at `out` with the parameters of `task`, write it to the task's path, and return what it recorded.

    `sha256` is the notebook's, so that a worker that has read it need not read it again.

    Raises
    ------
    InputError
        For what no run of the sweep could survive: other code or tables here than where the sweep was planned, a place that this
        machine does not see or cannot write to, a kernel that is not installed.
    """
    store = Store.at(out)
    nb = copy.deepcopy(_notebook(out, sha256))
    # a warm kernel is of the code that its server began with, a cold one of the files as they are now
    warm = kernel_name(task.kernel, own_kernel(nb)) == WARM
    ours = _code_and_data(os.getpid(), task.code_and_data) if warm else tables.code_and_data()
    if ours != task.code_and_data:
        raise InputError(
            f"{platform.node()}: code or tables of the workbench are not those that the sweep began with ({ours}, not {task.code_and_data})"
        )
    run = run_here(nb, task)
    try:
        store.write(task.path, json.dumps(nb, indent=1, ensure_ascii=False).encode("utf8", "replace"))
    except OSError as error:
        raise InputError(f"{store}/{task.path}: cannot be written ({error.strerror or error})") from None
    return run


@lru_cache(maxsize=8)
def _code_and_data(pid: int, asked: str) -> str:
    return tables.code_and_data()


@lru_cache(maxsize=8)
def _notebook(out: str, sha256: str) -> nbformat.NotebookNode:
    try:
        data = Store.at(out).read("notebook.ipynb")
    except OSError as error:
        raise InputError(f"{platform.node()}: cannot read {out}/notebook.ipynb ({error.strerror or error}); can every worker?") from None
    return stored.parse(data, f"{out}/notebook.ipynb")
