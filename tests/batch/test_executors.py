"""Where calls are made: few are out at a time, and what cannot be is refused."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest

from workbench.batch import executors
from workbench.errors import InputError


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
