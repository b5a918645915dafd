"""A run of `ai_factory` in a warm kernel, beside papermill's command line and the forked floor: its cells run by a bare shell in a fork."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import nbformat
import papermill
import psutil
import pytest
from nbclient import NotebookClient

from workbench.kernel import provisioner
from workbench.notebook.kernels import PromptKernelManager
from workbench.notebook.run import find

NOTEBOOK = find("ai_factory")
ROUNDS = 5
#: Nothing is saved before the end, and the kernel says little.
PROMPT = {
    "kernel_manager_class": PromptKernelManager,
    "request_save_on_cell_execute": False,
    "extra_arguments": ["--log-level=50"],
}

#: An interpreter that has imported the libraries forks; the fork runs the cells, with pictures and all, and says nothing to anybody.
FORKS = """
import os, sys
from pathlib import Path
import nbformat
from workbench import files
from workbench.kernel import private_socket, warm_kernel, warm_server
folder = files.private_folder()
server = warm_server.Server(folder, private_socket.listen(folder / "kernels.sock"), 0)
cells = [cell.source for cell in nbformat.read(sys.argv[1], 4).cells if cell.cell_type == "code"]
print("imported", flush=True)
for asked in sys.stdin:
    child = os.fork()
    if not child:
        if asked.strip() == "painted":
            warm_kernel.own_state(server.pictures)
        sys.stdout = open(os.devnull, "w")
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        done = [shell.run_cell(cell, store_history=True).success for cell in cells]
        os._exit(not all(done))
    print(os.waitpid(child, 0)[1], flush=True)
server.close()
"""


@pytest.mark.benchmark(group="a run of ai_factory")
def test_a_run_in_a_warm_kernel(benchmark, tmp_path):
    """Before each round the others have their turn, so that all meet the same machine."""
    command = [Path(sys.executable).parent / "papermill", "--no-progress-bar", NOTEBOOK, tmp_path / "cold.ipynb"]
    forks = subprocess.Popen([sys.executable, "-P", "-c", FORKS, NOTEBOOK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert forks.stdout.readline() == "imported\n"

    def warm():
        papermill.execute_notebook(NOTEBOOK, tmp_path / "warm.ipynb", kernel_name="workbench", progress_bar=False, **PROMPT)

    def forked(how):
        print(how, file=forks.stdin, flush=True)
        assert forks.stdout.readline() == "0\n"

    others = {
        "papermill on the command line": lambda: subprocess.run(command, check=True, capture_output=True),
        "forked floor": lambda: forked("plain"),
        "forked floor, painted elsewhere": lambda: forked("painted"),
    }
    taken = {kind: [] for kind in others}

    def turn_of_the_others():
        for kind, run in others.items():
            start = time.perf_counter()
            run()
            taken[kind].append(time.perf_counter() - start)

    for _ in range(5):  # the first starts the server; V8 compiles what it sees often
        warm()
        forked("painted")
    benchmark.pedantic(warm, setup=turn_of_the_others, rounds=ROUNDS)
    for kind, seconds in taken.items():
        benchmark.extra_info[kind] = f"{median(seconds):.2f} s, {median(seconds) / benchmark.stats.stats.median:.2f}x"
    forks.stdin.close()
    forks.wait(20)
    provisioner.stop()


@pytest.mark.benchmark(group="memory of a warm kernel that has run ai_factory")
def test_private_memory(benchmark):
    async def run():
        notebook = nbformat.read(NOTEBOOK, 4)
        client = NotebookClient(notebook, kernel_name="workbench", kernel_manager_class=PromptKernelManager)
        async with client.async_setup_kernel():
            for index, cell in enumerate(notebook.cells):
                await client.async_execute_cell(cell, index)
            return psutil.Process(client.km.provisioner.pid).memory_full_info()

    memory = benchmark.pedantic(lambda: asyncio.run(run()), rounds=1)
    benchmark.extra_info["private_mb"] = f"{memory.uss / 1e6:.0f}"
    benchmark.extra_info["resident_mb"] = f"{memory.rss / 1e6:.0f}"
    provisioner.stop()
    assert memory.uss <= 150e6
