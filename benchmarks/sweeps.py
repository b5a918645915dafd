"""Sweeps at full size, some of them minutes long: ``python benchmarks/sweeps.py throughput | overhead | faults | dask``.

throughput  200 runs of ai_factory on two cores, beside papermill on the command line before and after
overhead    10, 100, 1,000 and 5,000 runs of a notebook that does nothing: what each costs, and what of that is the driver's
faults      5,000 runs while one kernel in fifty is killed at random, and the driver is killed twice and resumed
dask        80 runs of ai_factory and 40 of chip_training on one Dask worker and on two, taken in turn
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_notebook

from workbench import batch
from workbench.notebook import run

BIN = Path(sys.executable).parent
JOBS = 2


def trivial(folder: Path, code: str = "pass") -> Path:
    """A notebook that takes a number and records it."""
    cells = [
        new_code_cell("n: int = 1  # [1] any, 1..1000000", metadata={"tags": ["parameters"]}),
        new_code_cell(f"import workbench\n{code}"),
        new_code_cell("results = workbench.record(n=n)"),
    ]
    path = folder / "trivial.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}), path)
    return path


def throughput(folder: Path, runs: int = 200, pairs: int = 3) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])

    def papermill() -> float:
        start = time.perf_counter()
        command = [BIN / "papermill", "--no-progress-bar", run.find("ai_factory"), folder / "one.ipynb"]
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start

    singles = [papermill() for _ in range(pairs)]
    start = time.perf_counter()
    command = [BIN / "workbench", "sweep", "ai_factory", "-p", f"pue=1.05:1.5:{runs}", "--out", folder / "out"]
    subprocess.run(command, check=True, capture_output=True)
    swept = time.perf_counter() - start
    singles += [papermill() for _ in range(pairs)]
    assert set(batch.read_results(folder / "out").runs["status"]) == {"done"}
    one = median(singles)
    print(f"papermill, one after the other: {one:.2f} s a run ({min(singles):.2f}..{max(singles):.2f})")
    print(f"workbench sweep: {runs} runs in {swept:.1f} s with start and end, {swept / runs:.3f} s a run")
    print(f"ratio {one * runs / swept:.1f}")


def overhead(folder: Path, sizes: tuple[int, ...] = (10, 100, 1_000, 5_000)) -> None:
    path = trivial(folder)
    batch.sweep(path, {"n": "1:4:4"}, out=folder / "warm-up", jobs=JOBS)
    for size in sizes:
        times, cpu = [], []

        def note(finished: int, failed: int, total: int, times: list[float] = times, cpu: list[float] = cpu) -> None:
            times.append(time.perf_counter())
            cpu.append(time.process_time())

        done = batch.sweep(path, {"n": f"1:{size}:{size}"}, out=folder / str(size), jobs=JOBS, progress=note)
        assert done.statuses == {"done": size}
        mine = 1e3 * (cpu[-1] - cpu[1]) / max(size - 1, 1)
        last = times[-min(size, 500)]
        print(
            f"{size:6,} runs: {1e3 * (times[-1] - times[1]) / (size - 1):6.1f} ms between ends of runs, in the last 500 "
            f"{1e3 * (times[-1] - last) / (min(size, 500) - 1):6.1f} ms; driver {mine:.2f} ms CPU a run",
            flush=True,
        )


def faults(folder: Path, runs: int = 5_000) -> None:
    log, out = folder / "kills", folder / "out"
    dies = f"with open({str(log)!r}, 'a') as log:\n        log.write('x')\n    os.kill(os.getpid(), 9)"
    code = f"import os, random\nif random.SystemRandom().random() < 1 / 50:\n    {dies}"
    path = trivial(folder, code)
    command = [
        BIN / "workbench",
        "sweep",
        path,
        "-p",
        f"n=1:{runs}:{runs}",
        "--out",
        out,
        "--jobs",
        str(JOBS),
        "--retries",
        "5",
        "--resume",
    ]
    start = time.perf_counter()
    for share in (1 / 3, 2 / 3):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while not (out / "runs").is_dir() or sum(1 for e in os.scandir(out / "runs") if e.name[0] != ".") < share * runs:
            assert process.poll() is None, "the sweep ended by itself"
            time.sleep(1)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = psutil.wait_procs(family, timeout=10)[1]
        print(f"driver killed with {len(batch.read_results(out).runs):,} rows written; {len(left)} processes outlived it", flush=True)
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    table = batch.read_results(out).runs
    valid = 0
    for notebook in table["notebook"]:
        nbformat.validate(nbformat.read(out / notebook, as_version=4))
        valid += 1
    assert sorted(table["params.n"]) == list(range(1, runs + 1)), "not every set exactly once"
    assert table["results.n"].equals(table["params.n"].alias("results.n"))
    files = sum(1 for _ in os.scandir(out / "runs"))
    print(f"{runs:,} sets, {table.height:,} rows, {table['run'].n_unique():,} keys, status {dict(Counter(table['status']))}")
    print(f"{valid:,} valid notebooks of {files:,} files; {log.stat().st_size} kernels killed; {seconds:.0f} s")


def dask(folder: Path, rounds: int = 2) -> None:
    for notebook, swept in (("ai_factory", {"pue": "1.05:1.5:80"}), ("chip_training", {"usd_per_chip_hour": "2:4:40"})):
        taken: dict[int, list[float]] = {1: [], 2: []}
        for i in range(rounds):
            for count in taken:
                taken[count].append(_on_workers(count, notebook, swept, folder / f"{notebook}{i}{count}"))
                print(f"{notebook}, {count} workers: {1e3 * taken[count][-1]:.1f} ms a run", flush=True)
        print(f"{notebook}, two workers against one: {median(taken[1]) / median(taken[2]):.2f}", flush=True)


def _on_workers(count: int, notebook: str, swept: dict[str, str], out: Path, skipped: int = 10) -> float:
    """Seconds a run on a Dask cluster of `count` processes, after those `skipped` while their servers start."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    address, cli = f"tcp://127.0.0.1:{port}", [sys.executable, "-m"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen([*cli, "distributed.cli.dask_scheduler", "--port", str(port), "--no-dashboard"], **quiet)
    worker = [*cli, "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
    workers = [subprocess.Popen(worker, **quiet) for _ in range(count)]
    times: list[float] = []
    try:
        time.sleep(8)
        batch.sweep(notebook, swept, out=out, scheduler=address, progress=lambda *_: times.append(time.perf_counter()))
    finally:
        for process in (*workers, scheduler):
            process.terminate()
            process.wait()
    return (times[-1] - times[skipped]) / (len(times) - 1 - skipped)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="sweeps-") as place:
        {"throughput": throughput, "overhead": overhead, "faults": faults, "dask": dask}[sys.argv[1]](Path(place))
