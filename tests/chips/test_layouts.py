import numpy as np
import pytest

from workbench import catalogue, chips
from workbench.errors import InputError
from workbench.fabric import Cluster

LLM = catalogue.llm("Llama-3-8B")
H100 = Cluster(catalogue.chip("H100"), 16, "InfiniBand NDR")


@pytest.fixture(scope="module")
def found():
    return chips.search_layouts(LLM, H100, 64, framework="NeMo")


def test_the_best_is_first_and_is_what_it_says(found):
    assert found.frame["seconds"].is_sorted()
    assert found.feasible < found.evaluated
    alone = chips.training_step(LLM, H100, found.plan, 64, framework="NeMo")
    assert float(alone.seconds) == pytest.approx(found.frame["seconds"][0])
    assert float(alone.memory.total) / 1e9 == pytest.approx(found.frame["memory_gb"][0])


def test_every_row_is_a_plan(found):
    rows = [3, found.frame.height - 1]
    plans = [chips.TrainingPlan.of_row(found.frame.row(i, named=True), "bf16") for i in rows]
    times = [float(chips.training_step(LLM, H100, plan, 64, framework="NeMo").seconds) for plan in plans]
    assert times == pytest.approx(found.frame["seconds"].gather(rows).to_list())


def test_no_layout_beats_the_best(found):
    rng = np.random.default_rng(3)
    plan = chips.TrainingPlan(
        tp=2 ** rng.integers(0, 4, 500),
        pp=2 ** rng.integers(0, 4, 500),
        micro_batch=2 ** rng.integers(0, 3, 500),
        zero=rng.integers(0, 4, 500),
    )
    others = chips.training_step(LLM, H100, plan, 64, framework="NeMo")
    assert others.seconds.min() >= found.frame["seconds"][0] * (1 - 1e-12)


def test_every_row_fits(found):
    assert (found.frame["memory_gb"] <= 0.95 * 85.53).all()  # 81559 MiB
    assert (found.frame["tp"] * found.frame["pp"] * found.frame["cp"]).is_in([1, 2, 4, 8, 16]).all()


def test_objectives():
    dollars = chips.search_layouts(LLM, H100, 64, objective="dollars", usd_per_chip_hour=2.0, top=5).frame
    assert dollars["dollars"].to_numpy() == pytest.approx(dollars["seconds"].to_numpy() * 16 * 2 / 3600)
    joules = chips.search_layouts(LLM, H100, 64, objective="joules", top=5).frame
    assert joules["joules"].is_sorted()
    bounds = joules["seconds"].to_numpy() * 16 * 700
    assert (joules["joules"] <= bounds).all()
    assert (joules["joules"] >= 0.113 * bounds).all()


def test_experts_are_searched():
    frame = chips.search_layouts(catalogue.llm("DeepSeek-V3"), Cluster(catalogue.chip("GB300"), 256), 512, sequence=4096, top=20).frame
    assert (frame["ep"] > 1).any()


def test_bad_input():
    with pytest.raises(InputError, match="objective = 'beauty': expected one of seconds, dollars, joules"):
        chips.search_layouts(LLM, H100, 64, objective="beauty")
    with pytest.raises(InputError, match="top = -1: expected a whole number 1 or more"):
        chips.search_layouts(LLM, H100, 64, top=-1)
    with pytest.raises(InputError, match="usd_per_chip_hour = -3: expected 0 or more"):
        chips.search_layouts(LLM, H100, 64, objective="dollars", usd_per_chip_hour=-3)
    with pytest.raises(InputError, match="n_chips: expected one number"):
        chips.search_layouts(LLM, Cluster(H100.chip, [8, 16]), 64)
    with pytest.raises(InputError, match=r"vp\[1\] = 0"):
        chips.Choices(vp=(1, 0))
    with pytest.raises(
        InputError, match=r"no layout of Llama-3.1-405B fits 8 H100 at batch 8: the smallest takes \d+ GB a chip, of which 81 are to be had"
    ):
        chips.search_layouts(catalogue.llm("Llama-3.1-405B"), Cluster(catalogue.chip("H100"), 8), 8)
