"""A sweep, beside a loop over papermill; and what the driver does a run, early and late. Full sizes: `benchmarks/sweeps.py`."""

import subprocess
import sys
import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import median

import pytest

from workbench import batch
from workbench.batch import driver, results
from workbench.files import Store
from workbench.kernel import provisioner
from workbench.notebook.run import find
from workbench.notebook.stored import run_of_bytes

RUNS = 24


@pytest.mark.benchmark(group="a run of ai_factory, in a sweep")
def test_a_run_of_a_sweep(benchmark, tmp_path):
    command = [Path(sys.executable).parent / "papermill", "--no-progress-bar", find("ai_factory"), tmp_path / "cold.ipynb"]
    alone, folders = [], (tmp_path / str(i) for i in count())

    def papermill():
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        alone.append(time.perf_counter() - start)

    def sweep():
        done = batch.sweep("ai_factory", {"pue": f"1.05:1.5:{RUNS}"}, out=next(folders))
        assert done.statuses == {"done": RUNS}

    sweep()  # starts the server
    benchmark.pedantic(sweep, setup=papermill, rounds=3)
    benchmark.extra_info["cases"] = RUNS
    ratio = median(alone) * RUNS / benchmark.stats.stats.median
    benchmark.extra_info["papermill on the command line"] = f"{median(alone):.2f} s a run, {ratio:.1f}x"
    provisioner.stop()


@pytest.fixture(scope="module")
def a_run(tmp_path_factory):
    """What a real run of ai_factory came to."""
    out = tmp_path_factory.mktemp("one") / "out"
    batch.sweep("ai_factory", {"pue": "1.2"}, out=out, jobs=1)
    path = next((out / "runs").iterdir())
    return run_of_bytes(path.read_bytes(), f"runs/{path.name}", path.stem)


@pytest.mark.benchmark(group="what the driver writes down, a run")
@pytest.mark.parametrize("before", [0, 5_000])
def test_the_table_of_a_sweep(benchmark, a_run, tmp_path, before):
    """A thousand runs that end at 100 a second, where so many are done; rows and frames as in a sweep."""
    numbered = (replace(a_run, name=f"{i:020x}") for i in count())
    table = driver._Table(Store.at(tmp_path), results.NOTHING.joined(next(numbered) for _ in range(before)))

    def add():
        for run in (next(numbered) for _ in range(1000)):
            table.add(run)

    benchmark.pedantic(add, rounds=5)
    benchmark.extra_info["cases"] = 1000
