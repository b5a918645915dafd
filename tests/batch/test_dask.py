"""Sweeps on a Dask cluster: a scheduler and workers in processes of their own, as on several hosts."""

import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests.batch.conftest import check_sweep
from workbench import batch
from workbench.batch import executors
from workbench.errors import InputError

pytest.importorskip("distributed", reason="needs the extra `scale`")


def dask(*args):
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_" + args[0], *args[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def ended(process):
    with suppress(psutil.NoSuchProcess):  # it may end while one looks
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
    process.wait()


@contextmanager
def cluster(n_workers):
    """Address of a scheduler; its process and those of its workers, of one thread each."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{s.getsockname()[1]}"
    processes = [dask("scheduler", "--host", "127.0.0.1", "--port", address.rsplit(":", 1)[1], "--no-dashboard")]
    worker = ["worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
    try:
        processes += [dask(*worker) for _ in range(n_workers)]
        until = time.monotonic() + 60
        while n_workers and time.monotonic() < until:
            try:
                client = executors._connected(address)
            except InputError:
                continue
            client.wait_for_workers(n_workers, timeout=60)
            client.close()
            break
        yield address, processes
    finally:
        for process in reversed(processes):
            ended(process)


@pytest.fixture(scope="module")
def two_workers():
    with cluster(2) as (address, _):
        yield address


def test_a_sweep_on_a_cluster(small_notebook, two_workers, tmp_path):
    done = batch.sweep(small_notebook(), {"n": "1:8:8"}, out=tmp_path / "out", scheduler=two_workers)
    assert done.statuses == {"done": 8}
    check_sweep(tmp_path / "out", range(1, 9))
    again = batch.sweep(small_notebook(), {"n": "1:9:9"}, out=tmp_path / "out", scheduler=two_workers, resume=True)
    assert again.kept == 8
    check_sweep(tmp_path / "out", range(1, 10))


def test_workers_that_do_not_share_the_place_say_so(small_notebook, two_workers, tmp_path):
    with pytest.raises(InputError, match=r"cannot read memory://.*; can every worker\?"):
        batch.sweep(small_notebook(), out=f"memory://{tmp_path.name}/unseen", scheduler=two_workers)


def test_a_worker_killed_in_mid_sweep_loses_nothing(count_notebook, tmp_path):
    killed = []
    with cluster(2) as (address, (_, worker, _)):

        def kill_a_worker(finished, failed, total):
            if finished == 6 and not killed:
                killed.append(finished)
                worker.send_signal(signal.SIGKILL)

        done = batch.sweep(
            count_notebook("import time; time.sleep(0.2)"),
            {"n": "1:24:24"},
            out=tmp_path / "out",
            scheduler=address,
            progress=kill_a_worker,
        )
        assert worker.wait(10) == -signal.SIGKILL
    assert killed == [6]
    assert done.statuses == {"done": 24}
    check_sweep(tmp_path / "out", range(1, 25))


def test_a_scheduler_that_dies_stops_the_sweep_and_keeps_what_is_done(count_notebook, tmp_path):
    with cluster(1) as (address, (scheduler, _)):

        def kill_it(finished, failed, total):
            if finished == 3:
                scheduler.kill()

        with pytest.raises(InputError, match=r"runs are finished and kept; resume with --resume"):
            batch.sweep(count_notebook(), {"n": "1:50:50"}, out=tmp_path / "out", scheduler=address, progress=kill_it)
    kept = batch.read_results(tmp_path / "out").runs
    assert 3 <= kept.height < 50
    done = batch.sweep(count_notebook(), {"n": "1:10:10"}, out=tmp_path / "out", jobs=2, resume=True)
    assert done.kept >= 3
    check_sweep(tmp_path / "out", range(1, 11))


def test_a_scheduler_that_does_not_answer_is_an_error_before_work_starts(count_notebook, marks, tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "CONNECT", 1.0)
    start = time.monotonic()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for address in (f"tcp://127.0.0.1:{silent.getsockname()[1]}", "tcp://127.0.0.1:9", "nowhere://x"):
            with pytest.raises(InputError, match=f"{address}: no Dask scheduler answers"):
                batch.sweep(count_notebook(), {"n": "1,2"}, out=tmp_path / "out", scheduler=address)
    assert time.monotonic() - start < 30
    with cluster(0) as (address, _):
        time.sleep(3)
        with pytest.raises(
            InputError, match=f"{address}: (the Dask scheduler has no workers; start some: dask worker|no Dask scheduler answers)"
        ):
            batch.sweep(count_notebook(), {"n": "1,2"}, out=tmp_path / "out", scheduler=address)
    assert marks() == []
    assert not (tmp_path / "out").exists()
