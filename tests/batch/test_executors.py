"""Calls on worker processes: a killed worker loses its own call only, and workers never outlive who started them."""

import operator
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import deque
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor, wait

import psutil
import pytest

from workbench.batch import executors
from workbench.batch.executors import Processes, WorkerLost
from workbench.errors import InputError, UnknownName


@pytest.fixture
def pool():
    with Processes(2) as processes:
        yield processes


def test_calls_answer_and_raise(pool):
    assert [pool.submit(pow, 2, i).result() for i in range(5)] == [1, 2, 4, 8, 16]
    with pytest.raises(ZeroDivisionError):
        pool.submit(operator.truediv, 1, 0).result()
    with pytest.raises(RuntimeError, match="UnknownName: unknown chip 'x'"):  # does not pickle; says itself all the same
        pool.submit(exec, "raise E('chip', 'x', [])", {"E": UnknownName}).result()
    assert pool.submit(pow, 2, 9).result() == 512


def test_workers_stay_alive_between_calls(pool):
    pids = {pool.submit(os.getpid).result() for _ in range(8)}
    assert len(pids) <= 2
    assert os.getpid() not in pids


def test_output_of_a_call_does_not_reach_the_answers(pool):
    assert pool.submit(os.system, "echo noise; cat").result() == 0
    assert pool.submit(print, "noise").result() is None
    assert pool.submit(pow, 2, 3).result() == 8


def test_a_killed_worker_loses_its_call_only(pool):
    victim = pool.submit(os.getpid).result()
    calls = [pool.submit(time.sleep, 1.0) for _ in range(2)]
    later = [pool.submit(pow, 2, i) for i in range(4)]
    time.sleep(0.3)
    os.kill(victim, signal.SIGKILL)
    wait(calls)
    errors = [call.exception() for call in calls]
    assert [type(e) for e in errors if e] == [WorkerLost]
    assert "signal 9" in str(next(e for e in errors if e))
    assert [f.result() for f in later] == [1, 2, 4, 8]


def test_calls_not_begun_can_be_cancelled(pool):
    calls = [pool.submit(time.sleep, 0.5) for _ in range(6)]
    time.sleep(0.2)
    assert [call.cancel() for call in calls] == [False, False, True, True, True, True]


def test_a_worker_that_does_not_start_is_no_endless_loop(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Processes(1) as pool, pytest.raises(BrokenExecutor, match="a worker process does not start"):
        pool.submit(pow, 2, 3).result()


def test_kill_ends_workers_and_what_they_started():
    pool = Processes(1)
    worker = psutil.Process(pool.submit(os.getpid).result())
    call = pool.submit(subprocess.run, ["sleep", "60"])
    while not worker.children():
        time.sleep(0.01)
    family = [worker, *worker.children()]
    pool.kill()
    assert isinstance(call.exception(timeout=5), WorkerLost)
    assert psutil.wait_procs(family, timeout=5)[1] == []
    pool.shutdown()


def test_workers_end_with_a_driver_that_is_killed(tmp_path):
    script = tmp_path / "drive.py"
    script.write_text(
        textwrap.dedent("""\
        import os, subprocess, time
        from workbench.batch.executors import Processes
        pool = Processes(2)  # no `if __name__ == "__main__"` needed
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(subprocess.run, ["sleep", "60"])
        pool.submit(subprocess.run, ["sleep", "60"])
        time.sleep(60)
        """)
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as driver:
        worker = psutil.Process(int(driver.stdout.readline()))
        while not (busy := psutil.Process(driver.pid).children(recursive=True)) or len(busy) < 4:
            time.sleep(0.01)
        driver.kill()
        assert worker in busy
        assert psutil.wait_procs(busy, timeout=5)[1] == []


def test_few_calls_are_out_at_a_time():
    out = set()

    class Counting(ThreadPoolExecutor):
        def submit(self, function, item):
            out.add(item)
            return super().submit(function, item)

    with Counting(2) as executor:
        pool = executors.Workers(executor, lambda: 2, lambda: None)
        for i, (item, future) in enumerate(executors.completed(pool, abs, deque(range(200)))):
            assert future.result() == item
            assert len(out) <= i + 4
    assert len(out) == 200


def test_refusals():
    with pytest.raises(InputError, match="jobs = 0: expected at least 1"), executors.workers(jobs=0):
        pass
    with pytest.raises(InputError, match="either a scheduler or an executor"), executors.workers(1, "tcp://x:1", ThreadPoolExecutor(1)):
        pass
