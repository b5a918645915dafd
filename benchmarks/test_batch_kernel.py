"""A run of `ai_factory` in a warm kernel, beside papermill's command line and the forked floor: its cells run by a bare shell in a fork."""

import subprocess
import sys
import time
from pathlib import Path

import papermill
import pytest

from workbench import execute
from workbench.batch import manager, provisioner

NOTEBOOK = execute.find("ai_factory")
GROUP = "a run of ai_factory"
PAIRS = 5

FLOOR = """
import os, sys, time
from pathlib import Path
from workbench.batch import warm_kernel, warm_server
server = warm_server.Server(Path(sys.argv[1]))
cells = [cell.source for cell in __import__("nbformat").read(sys.argv[2], 4).cells if cell.cell_type == "code"]
print("imported", flush=True)
for asked in sys.stdin:
    child = os.fork()
    if not child:
        if asked.strip() == "painted":
            warm_kernel._own_state(server.pictures)
        sys.stdout = open(os.devnull, "w")
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        done = [shell.run_cell(cell, store_history=True).success for cell in cells]
        os._exit(not all(done))
    print(os.waitpid(child, 0)[1], flush=True)
server.close()
"""


class Floor:
    """Forks of an interpreter that has imported the libraries run the cells."""

    def __init__(self, folder: Path):
        command = [sys.executable, "-P", "-c", FLOOR, str(folder), str(NOTEBOOK)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "imported\n"

    def __call__(self, how: str) -> None:
        self.process.stdin.write(how + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "0\n"


def seconds(call, *args):
    start = time.perf_counter()
    call(*args)
    return time.perf_counter() - start


@pytest.fixture(scope="module")
def times(tmp_path_factory):
    """Seconds of each kind of run, taken in turn so that all meet the same machine."""
    folder = tmp_path_factory.mktemp("batch")
    command = [str(Path(sys.executable).parent / "papermill"), "--no-progress-bar", str(NOTEBOOK), str(folder / "cold.ipynb")]
    floor = Floor(tmp_path_factory.mktemp("floor"))

    def warm() -> None:
        papermill.execute_notebook(NOTEBOOK, folder / "warm.ipynb", kernel_name="workbench", **manager.PROMPT)

    kinds = {
        "papermill": lambda: subprocess.run(command, check=True, capture_output=True),
        "warm": warm,
        "floor": lambda: floor("plain"),
        "floor with a painter": lambda: floor("painted"),
    }
    warm()  # starts the server
    taken = {kind: [seconds(run) for _ in range(PAIRS)] for kind, run in {}.items()} or {kind: [] for kind in kinds}
    for _ in range(PAIRS):
        for kind, run in kinds.items():
            taken[kind].append(seconds(run))
    floor.process.stdin.close()
    yield {kind: sorted(several)[PAIRS // 2] for kind, several in taken.items()}
    provisioner.stop()
