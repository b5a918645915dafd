"""Every chip of the catalogue goes through the public calls: numbers that can be, or a reason in words."""

import numpy as np
import pytest

from workbench import catalogue, fleet
from workbench.chips import Load, ServingPlan, TrainingPlan, serving, slo_frontier, training_step
from workbench.errors import InputError
from workbench.fabric import Cluster, collective_time
from workbench.formats import FORMATS

FRACTIONS = [f"{chip} {part}" for chip, part in catalogue.table("chip_fractions").select("chip", "fraction").iter_rows()]
QWEN = catalogue.llm("Qwen3-0.6B")


def held(name):
    """A format that the chip runs, the widest first."""
    return next(p for p in ("bf16", "int8", "fp8", "fp4") if catalogue.chip(name).runs(p))


@pytest.mark.parametrize("name", [*catalogue.names("chips"), *FRACTIONS])
def test_a_token_takes_at_least_its_bytes_and_a_prompt_its_arithmetic(name):
    chip, weights = catalogue.chip(name), held(name)
    found = serving(QWEN, Cluster(chip, 1), ServingPlan(1, weights), Load([1, 32], 1024, 256))
    if not np.all(found.feasible):  # not even this model: memory on the chip alone
        assert chip.hbm_bytes < 1.5e9
        assert all(str(why).startswith("weights and one request do not fit") for why in found.reason)
        return
    read = (QWEN.params - QWEN.vocab * QWEN.hidden) * FORMATS[weights].bytes
    assert found.tpot[0] > read / chip.hbm_bandwidth
    assert found.ttft[0] > 2 * (QWEN.params - QWEN.vocab * QWEN.hidden) * 1024 / chip.peak(weights)
    for times in (found.tpot, found.tpot_low, found.tpot_high, found.ttft):
        assert np.all(np.isfinite(times) & (times > 0))


@pytest.mark.parametrize("name", catalogue.names("chips"))
def test_a_collective_keeps_to_its_links_and_a_step_to_the_peak(name):
    chip = catalogue.chip(name)
    cluster = Cluster(chip, 8)
    ranks, rate = chip.near
    found = collective_time("all_reduce", [1e4, 1e9], cluster)
    assert np.all(np.isfinite(found.seconds) & (found.seconds > 0))
    assert ranks < 8 or found.busbw[1] < 1.2 * rate  # an all-reduce in a switch passes each byte once
    if not chip.runs("bf16"):
        with pytest.raises(InputError, match=r"has no bf16 peak; it has "):
            training_step(QWEN, cluster, TrainingPlan(), 64)
        return
    step = training_step(QWEN, cluster, TrainingPlan(), 64)
    assert 0 < step.mfu < 1 if step.feasible else str(step.reason) == "does not fit in memory"


@pytest.mark.parametrize("name", catalogue.names("chips"))
def test_a_frontier_and_a_bill_are_numbers_or_say_what_lacks(name):
    chip = catalogue.chip(name)
    asked = {"precisions": ("fp4", "fp8", "bf16", "int8", "int4"), "concurrency": (1, 16), "tp": (1, 8), "pp": 1, "attention_dp": 1}
    if chip.hbm_bytes > 1e9:
        points = slo_frontier("Llama-3.1-8B", Cluster(chip, 8), Load(1, 1024, 256), within="any", **asked)
        floats = [points[c] for c in points.columns if points[c].dtype.is_float()]
        assert not any(column.is_nan().any() for column in floats)
        assert points["tokens_per_s_user"].min() > 0
    else:
        with pytest.raises(InputError, match="weights and one request do not fit"):
            slo_frontier("Llama-3.1-8B", Cluster(chip, 8), Load(1, 1024, 256), within="any", **asked)
    if chip.price and chip.tdp:
        assert 0 < float(fleet.ownership_cost(name).per_chip_hour) < 10
    else:
        with pytest.raises(InputError, match=r"has no published (price|TDP)"):
            fleet.ownership_cost(name)
