"""`workbench sweep` as users call it."""

import os
import subprocess
import sys

import pytest

from workbench import batch
from workbench.batch.tell import show


@pytest.fixture
def workbench(tmp_path):
    def call(*args):
        command = [sys.executable, "-m", "workbench", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"COLUMNS": "200"})

    return call


def test_dry_run_prints_plan_count_and_time_and_writes_nothing(workbench, tmp_path):
    shown = workbench("sweep", "ai_factory", "-p", "pue=1.1:1.5:9", "-p", "chip=GB300,H100", "--dry-run", "-j", "2").stdout
    assert "ai_factory: 18 runs" in shown
    assert "pue = 1.1, 1.15, ..., 1.5 (9 values)" in shown
    assert "chip = 'GB300', 'H100'" in shown
    assert "estimated time: " in shown
    assert "2 at a time" in shown
    elsewhere = workbench("sweep", "ai_factory", "-p", "pue=1.1:1.5:9", "--dry-run", "--scheduler", "tcp://host:8786").stdout
    assert "shared by the workers of tcp://host:8786" in elsewhere
    assert "as long as its cells took when it was last saved" in shown
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_its_failures_and_its_resumption(workbench, small_notebook, tmp_path):
    path = small_notebook("if n == 2 and label == 'b': raise RuntimeError('unlucky')")
    asked = ("sweep", path, "-p", "n=1:3:3", "-p", 'label=b,"c,d"', "--out", "out", "-j", "2")
    done = workbench(*asked)
    assert done.returncode == 1
    assert "6 of 6 runs finished: 5 done, 1 failed" in done.stdout
    assert "failed: n=2, label='b': RuntimeError: unlucky (runs/" in done.stdout
    assert "raise RuntimeError('unlucky')" in done.stdout  # the traceback
    assert "Traceback" not in done.stderr
    assert set(batch.read_results(tmp_path / "out").runs["results.label"]) == {"b", "c,d", None}

    refused = workbench(*asked)
    assert refused.returncode == 2
    assert "error: " in refused.stderr
    assert "--resume goes on with it" in refused.stderr
    planned = workbench(*asked, "--resume", "--dry-run").stdout
    assert "5 are done in out, 1 are left" in planned
    assert "mean of 5 runs in out" in planned
    again = workbench(*asked, "--resume")
    assert again.returncode == 1
    assert "6 of 6 runs finished (5 of them before): 5 done, 1 failed" in again.stdout


def test_grid_zip_and_samples(workbench, small_notebook, tmp_path):
    (tmp_path / "grid.yaml").write_text("label: [a, b, c]")
    asked = ("sweep", small_notebook(), "--dry-run")
    assert "small: 3 runs" in workbench(*asked, "-p", "n=1:3:3", "--grid", "grid.yaml", "--zip", "n,label").stdout
    assert "small: 16 runs" in workbench(*asked, "-p", "n=1:100", "--samples", "16").stdout
    assert "small: 1 run\n" in workbench(*asked).stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-p", "m=1"], "error: m: the notebook declares no such parameter; declared: n, label"),
        (["-p", "n=0,x"], "n = 'x': expected a whole number from 1 to 100"),
        (["-p", "n"], "error: -p n: a name and a value are expected"),
        (["-p", "n=1", "-p", "n=2"], "error: -p n is given twice"),
        (["-p", "n=1:100:100", "--max-runs", "9"], "error: 100 runs (100 of n) are more than the 9 that --max-runs allows"),
        (["-p", "n=1", "--memory", "lots"], "error: memory = 'lots'"),
        (["-p", "n=1", "--jobs", "0"], "error: jobs = 0"),
        (["--grid", "nowhere.yaml"], "error: nowhere.yaml: cannot be read (No such file or directory)"),
    ],
)
def test_refusals_are_one_clear_message(workbench, make_notebook, tmp_path_factory, tmp_path, args, message):
    result = workbench("sweep", make_notebook(tmp_path_factory.mktemp("notebook")), *args)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_durations_as_people_say_them():
    assert [show.duration(s) for s in (0.5, 48.2, 192, 18_360)] == ["0.5 s", "48.2 s", "3.2 min", "5.1 h"]
