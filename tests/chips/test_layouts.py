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
        zero=rng.choice([1, 3], 500),
    )
    others = chips.training_step(LLM, H100, plan, 64, framework="NeMo", confidence=0.8)
    assert others.seconds.min() >= found.frame["seconds"][0] * (1 - 1e-12)


def test_every_row_fits(found):
    assert (found.frame["memory_gb"] <= 85.53).all()  # 81559 MiB
    assert (found.frame["fits"] >= 0.8).all()
    assert (found.frame["tp"] * found.frame["pp"] * found.frame["cp"]).is_in([1, 2, 4, 8, 16]).all()


def test_layouts_like_those_that_were_run():
    rack = Cluster("GB300", 288)
    own = chips.search_layouts("Llama-3.1-405B", rack, 288, top=200)
    every = chips.search_layouts("Llama-3.1-405B", rack, 288, choices=chips.Choices(envelope="any", offload=("none",)), top=200)
    assert own.frame["measured"].all()
    assert not every.frame["measured"].all()
    assert every.frame["seconds"][0] <= own.frame["seconds"][0]
    assert own.frame["tp"].max() <= 16
    assert 0.5 < own.reached.low < own.reached.value < own.reached.high


def test_the_published_layout_of_llama_3_is_the_best():
    # Llama Team (2024), table 4: 16,384 H100, TP 8, PP 16, no recomputation; 126 layers in 128 chunks, embedding and head the others
    found = chips.search_layouts("Llama-3.1-405B", Cluster("H100", 16_384, "InfiniBand NDR"), 2048, top=1)
    assert (found.plan.tp, found.plan.pp, found.plan.recompute) == (8, 16, "none")


def test_confidence_is_in_memory_that_fits():
    few = {"top": 3000, "framework": "NeMo"}
    fits = [chips.search_layouts(LLM, H100, 64, confidence=p, **few).frame["fits"].min() for p in (0.1, 0.5, 0.9)]
    assert fits == sorted(fits)
    assert all(least >= p - 1e-9 for least, p in zip(fits, (0.1, 0.5, 0.9), strict=True))


def test_experts_are_searched():
    frame = chips.search_layouts(catalogue.llm("DeepSeek-V3"), Cluster(catalogue.chip("GB300"), 256), 512, sequence=4096, top=20).frame
    assert (frame["ep"] > 1).any()


def test_bad_input():
    with pytest.raises(InputError, match="envelope = 'beauty': expected one of measured, any"):
        chips.Choices(envelope="beauty")
    with pytest.raises(InputError, match="confidence = 1: expected more than 0 and less than 1"):
        chips.search_layouts(LLM, H100, 64, confidence=1)
    with pytest.raises(InputError, match="top = -1: expected a whole number 1 or more"):
        chips.search_layouts(LLM, H100, 64, top=-1)
    with pytest.raises(InputError, match="n_chips: expected one number"):
        chips.search_layouts(LLM, Cluster(H100.chip, [8, 16]), 64)
    with pytest.raises(InputError, match=r"vp\[1\] = 0"):
        chips.Choices(vp=(1, 0))
    with pytest.raises(
        InputError, match=r"no layout of Llama-3.1-405B fits 8 H100 at batch 8: the smallest takes \d+ GB per chip; \d+ fit with 80 %"
    ):
        chips.search_layouts(catalogue.llm("Llama-3.1-405B"), Cluster(catalogue.chip("H100"), 8), 8)
