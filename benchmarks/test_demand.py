"""The closed loop of 40 quarters and 16,384 futures beside one future at a time; one core."""

import time
import tracemalloc

import numpy as np
import pytest

from workbench import demand
from workbench.demand.market.loop import simulate
from workbench.demand.market.scenario import draws
from workbench.demand.market.scenario import futures as make

QUARTERS, N = 40, 16_384
LIMIT_SECONDS, LIMIT_BYTES = 0.15, 500e6
LOOP = "closed loop of 40 quarters: one future of"


@pytest.fixture(scope="module")
def futures():
    return make(draws(QUARTERS, N // 8, replicates=8))


# Time of the processor, as other work on the machine would otherwise count.
@pytest.mark.benchmark(group=LOOP, timer=time.process_time, min_rounds=15)
def test_all_futures_in_one_call(benchmark, futures):
    market = benchmark(simulate, futures)
    benchmark.extra_info |= {"cases": N, "whole_call": f"{benchmark.stats.stats.median:.3f} s", "limit": f"{LIMIT_SECONDS} s"}
    assert market.rent.shape == (QUARTERS, N)
    assert benchmark.stats.stats.min <= LIMIT_SECONDS


@pytest.mark.benchmark(group=LOOP, timer=time.process_time)
def test_one_future_at_a_time(benchmark):
    one = make(draws(QUARTERS, 1))
    benchmark(simulate, one)


@pytest.mark.benchmark(group="what the loop needs beforehand: one future of", timer=time.process_time)
def test_sampling_of_inputs(benchmark):
    benchmark(draws, QUARTERS, N // 8, replicates=8)
    benchmark.extra_info |= {"cases": N, "whole_call": f"{benchmark.stats.stats.median:.3f} s"}


@pytest.mark.benchmark(group="what the loop needs beforehand: one future of", timer=time.process_time)
def test_futures_from_samples(benchmark):
    benchmark(make, draws(QUARTERS, N // 8, replicates=8))
    benchmark.extra_info |= {"cases": N, "whole_call": f"{benchmark.stats.stats.median:.3f} s"}


def test_memory():
    """Sampling, futures and the loop together."""
    tracemalloc.start()
    simulate(make(draws(QUARTERS, N // 8, replicates=8)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"peak {peak / 1e6:.0f} MB of {LIMIT_BYTES / 1e6:.0f} MB")
    assert peak <= LIMIT_BYTES


RNG = np.random.default_rng(0)


@pytest.mark.benchmark(group="order plan of 40 quarters: one future of")
def test_order_plan_and_regret(benchmark):
    need = 100 * np.exp(np.cumsum(RNG.normal(0.08, 0.15, (QUARTERS, N)), axis=0))
    benchmark(lambda: demand.order_plan(need, own_usd_per_quarter=1.0, lease_usd_per_quarter=2.2, lead=4).regret())
    benchmark.extra_info |= {"cases": N, "whole_call": f"{benchmark.stats.stats.median:.3f} s"}
