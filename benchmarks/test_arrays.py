"""A sweep as one call against the same sweep one case at a time: the ratio is what arrays are worth."""

import numpy as np
import pytest

from workbench import catalogue, chips, fleet
from workbench.fabric import Cluster

N = 4096
CHIP = catalogue.chip("GB300")
WORK = fleet.Work(
    trained=catalogue.llm("Llama-3.1-405B"),
    tokens=15.6e12,
    precision="bf16",
    served=catalogue.llm("DeepSeek-R1"),
    plan=chips.ServingPlan(8, "fp4", "fp8"),
    load=chips.Load(256, 1024, 1024),
)
INPUTS = {name: cost.value for name, cost in fleet.factory_inputs(CHIP).items()} | {"utilisation": 0.8, "mfu": 0.4}


@pytest.mark.benchmark(group="the whole chain")
def test_one_call_of_4096_cases(benchmark):
    cluster = Cluster(CHIP, 4608)
    prices = np.linspace(0.03, 0.2, N)
    benchmark.extra_info["cases"] = N
    answer = benchmark(lambda: fleet.ai_factory(cluster, WORK, **INPUTS | {"electricity_usd_per_kwh": prices}))
    assert answer.usd_per_chip_hour.shape == (N,)


@pytest.mark.benchmark(group="the whole chain")
@pytest.mark.parametrize("cases", [64])
def test_one_case_at_a_time(benchmark, cases):
    cluster = Cluster(CHIP, 4608)
    prices = np.linspace(0.03, 0.2, N)[:cases]
    benchmark.extra_info["cases"] = cases
    benchmark(lambda: [fleet.ai_factory(cluster, WORK, **INPUTS | {"electricity_usd_per_kwh": p}).usd_per_chip_hour for p in prices])
