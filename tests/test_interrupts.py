"""Ctrl-C at any moment: the command ends within three seconds, says so in one line, and leaves no process and no folder."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from workbench import batch
from workbench.notebook import run

if os.name == "nt":
    pytest.skip("signals of another system", allow_module_level=True)


@pytest.fixture
def interrupted(tmp_path):
    """A command, interrupted as a terminal does it, after some seconds or once a file is there."""

    def call(*args, when):
        command = [sys.executable, "-m", "workbench", *map(str, args)]
        own = {"start_new_session": True, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=tmp_path, **pipes, **own) as process:
            if isinstance(when, Path):
                while not when.exists():
                    assert process.poll() is None, process.communicate()
                    time.sleep(0.02)
            else:
                while psutil.Process(process.pid).num_threads() < 2:  # before that it is the interpreter's start, and none of ours
                    time.sleep(0.005)
                time.sleep(when)
            family = psutil.Process(process.pid).children(recursive=True)
            start = time.monotonic()
            os.killpg(process.pid, signal.SIGINT)
            said = process.communicate(timeout=60)
        assert time.monotonic() - start < 3
        assert process.returncode == 130
        assert psutil.wait_procs(family, timeout=3)[1] == []
        assert not [*Path(tempfile.gettempdir()).glob(f"workbench-{process.pid}-*")]
        for worker in family:
            assert not [*Path(tempfile.gettempdir()).glob(f"workbench-{worker.pid}-*")]
        return said

    return call


@pytest.fixture
def slow_notebook(small_notebook, tmp_path):
    """A notebook that leaves a file when it begins to sleep, but for n = 1."""
    begun = tmp_path / "begun"
    return small_notebook(f"import time\nif n > 1:\n    open({str(begun)!r}, 'w').close()\n    time.sleep(60)"), begun


@pytest.mark.parametrize(
    ("args", "when"),
    [
        (["run", "ai_factory"], 0.0),
        (["tour"], 0.3),
        (["tour"], 1.0),
        (["tour"], 3.0),
        (["sweep", "ai_factory", "-p", "n_chips=8:800:20"], 1.0),
        (["report", run.find("ai_factory"), "--out", "page.html"], 1.0),
    ],
)
def test_at_any_moment(interrupted, args, when):
    said, how = interrupted(*args, when=when)
    assert said == ""
    assert re.fullmatch(r"interrupted(; (.* )?--resume goes on.*)?\n", how)


def test_in_a_cell_of_a_run(interrupted, slow_notebook, tmp_path):
    notebook, begun = slow_notebook
    assert interrupted("run", notebook, when=begun) == ("", "interrupted\n")
    assert list((tmp_path / "out").iterdir()) == []


def test_in_cells_of_a_sweep_what_is_finished_is_kept(interrupted, slow_notebook, tmp_path):
    notebook, begun = slow_notebook
    args = ("sweep", notebook, "-p", "n=1:9:9", "--out", "out", "-j", "1")
    how = "interrupted; 1 of 9 runs are finished and kept in out: --resume goes on\n"
    assert interrupted(*args, when=begun) == ("", how)
    runs = batch.read_results(tmp_path / "out").runs
    assert runs["params.n"].to_list() == [1]
    assert [path.stem for path in (tmp_path / "out" / "runs").iterdir()] == runs["run"].to_list()


@pytest.mark.parametrize("kernel", ["workbench", "python3"])
def test_killed_it_leaves_no_process_and_no_folder(slow_notebook, tmp_path, kernel):
    notebook, begun = slow_notebook
    command = [sys.executable, "-m", "workbench", "sweep", notebook, "-p", "n=2,3", "--kernel", kernel, "--out", "out"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        while not begun.exists():
            assert process.poll() is None
            time.sleep(0.02)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        made = [path for p in family for path in Path(tempfile.gettempdir()).glob(f"workbench-{p.pid}-*")]
        # asked before: who ends with the driver cannot be asked any more
        workers = [p for p in family[1:] if p.status() != psutil.STATUS_ZOMBIE and "workbench.batch.worker" in p.cmdline()]
        process.kill()
        if kernel == "workbench":  # then its server cleans up, whoever else is killed
            for worker in workers:
                with suppress(psutil.NoSuchProcess):
                    worker.kill()
    assert made
    assert psutil.wait_procs(family[1:], timeout=10)[1] == []
    assert not [path for path in made if path.exists()]


def test_where_it_is_swallowed(tmp_path):
    """Of a command that goes on all the same, as a library that catches everything makes it."""
    code = """
from workbench import interrupts
import polars, threading
interrupts.armed()
while True:
    try:
        print("waits", flush=True)
        threading.Event().wait()
    except BaseException:
        pass
"""
    default = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **default)
    assert process.stdout.readline() == "waits\n"
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)
    assert (process.returncode, said[1]) == (130, "interrupted\n")
    assert said[0] == "waits\n"  # it did wake, once
    assert time.monotonic() - start < 3.5
