import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import catalogue, chips
from workbench.chips.training import memory
from workbench.chips.training.plan import Layout
from workbench.fabric import Cluster

LLM = catalogue.llm("Llama-3-8B")
H100 = Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR")
#: The constants that the papers state, before anything was fitted.
BARE = dict(zip(memory.POOL.names, (4.0, 12.0, 18.0, 0.0, 2.0, 1.0, 1.0, 5.0, 8.0, 0.0, 1.0, 0.0, 0.0), strict=True))


def of(plan, n=64, batch=256, sequence=8192, constants=None, llm=LLM):
    return memory.memory(llm, Layout.of(plan, n, batch), sequence, constants or BARE)


def test_states_are_those_of_the_zero_paper():
    # Rajbhandari et al. (2020), figure 1, with gradients in 32 bits: 18 bytes a parameter, of which ZeRO-1 shards 12, ZeRO-2 16, ZeRO-3 all
    found = of(chips.TrainingPlan(zero=[0, 1, 2, 3]))
    states = (found.weights + found.gradients + found.optimizer) / LLM.params
    assert states == pytest.approx([18, 6 + 12 / 64, 2 + 16 / 64, 18 / 64], rel=2e-3)


def test_activations_of_a_layer_are_those_of_korthikanti():
    # Korthikanti et al. (2022), table 2: a GPT layer keeps s b h (34 + 5 a s / h) bytes, split by t with sequence parallelism
    gpt = catalogue.llm("GPT-3-175B")
    tokens = 2048
    plan = chips.TrainingPlan(flash=False, tp=[1, 8])
    found = of(plan, n=8, batch=8, sequence=tokens, llm=gpt).activations / gpt.layers
    paper = tokens * gpt.hidden * (34 + 5 * gpt.heads * tokens / gpt.hidden) / np.array([1, 8])
    assert found == pytest.approx(paper, rel=0.25)  # ours counts the parts of a layer one by one, and no dropout masks


def test_interleaving_keeps_more_in_flight():
    # Korthikanti et al. (2022), section 4.2.3: 1 + (p - 1) / (p v) times the memory of 1F1B on the first stage
    found = of(chips.TrainingPlan(pp=4, vp=[1, 2, 4], micro_batch=1), batch=1024).activations
    assert found / found[0] == pytest.approx([1, 1 + 3 / 8, 1 + 3 / 16])


def test_stages_are_cut_as_engines_do():
    def layers(n, **plan):
        layout = Layout.of(chips.TrainingPlan(uneven=True, **plan), 1024, 1024)
        return tuple(float(x) for x in layout.stage_layers(n))

    assert layers(126, pp=16) == (8, 7)  # Llama Team (2024), section 3.3.2: one layer less on the first and on the last
    assert layers(32, pp=4) == (8, 8)
    # Nanotron: 16 layers and a head that costs four, cut where the sum exceeds 10 of 20
    assert layers(16, pp=2, head_layers=4.0) == (11, 5)
    assert layers(16, pp=1, head_layers=4.0) == (16, 16)


def test_memory_is_that_of_the_heavier_of_the_first_and_the_last_stage():
    one = of(chips.TrainingPlan(pp=[1, 2], micro_batch=1), batch=1024)
    assert one.logged["rank 0 device"]["total"] == pytest.approx(one.total)  # p micro-batches in flight outweigh the logits
    wide = of(chips.TrainingPlan(pp=2, micro_batch=8), batch=512, llm=dataclasses.replace(LLM, vocab=4 * LLM.vocab))
    assert wide.logits > 0
    assert wide.logged["rank 0 device"]["total"] < wide.total
    assert wide.logged["rank 0 device"]["high"] / wide.logged["rank 0 device"]["total"] == pytest.approx(wide.high / wide.total)


def test_logs_print_what_a_device_holds_or_its_framework_reserves_or_uses():
    logged = of(chips.TrainingPlan(), constants=BARE | {"extra": 1.25, "context": 3.0}).logged
    held, reserved, used = (logged[name]["total"] for name in memory.FIGURES)
    assert held - reserved == pytest.approx(3e9)
    assert reserved / used == pytest.approx(1.25)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8]), st.sampled_from([0, 1]), st.sampled_from(["none", "selective", "full"])
)
def test_more_parallel_is_never_more_memory(tp, pp, zero, recompute):
    def total(**given):
        return float(of(chips.TrainingPlan(zero=zero, recompute=recompute, **given), batch=1024).total)

    assert total(tp=tp, pp=pp) >= total(tp=min(2 * tp, 8), pp=pp) * (1 - 1e-9)
    assert total(tp=tp, pp=pp) > total(tp=tp, pp=pp, offload="optimizer")
    assert total(tp=tp, pp=pp, micro_batch=2) > total(tp=tp, pp=pp)


def test_parts_add_up_and_recomputing_saves():
    found = chips.training_step(LLM, H100, chips.TrainingPlan(tp=2, recompute=["none", "full"]), 256).memory
    parts = found.weights + found.gradients + found.optimizer + found.activations + found.logits + found.other
    assert found.total == pytest.approx(parts)
    assert found.activations[1] < 0.4 * found.activations[0]


def test_probability_to_fit_falls_with_memory_and_is_even_where_it_just_fits():
    found = chips.training_step(LLM, H100, chips.TrainingPlan(tp=2, micro_batch=[1, 2, 4, 8, 16]), 1024).memory
    assert (np.diff(found.fits) < 0).all()
    assert ((found.fits > 0.1) == (found.low < found.room)).all()  # the ends of an 80 % interval
    assert ((found.fits > 0.9) == (found.high < found.room)).all()
    assert memory.most(100.0, 0.3, 0.5) == pytest.approx(100)
    assert memory.most(100.0, 0.3, 0.9) == pytest.approx(100 * np.exp(-0.3))


def test_what_is_named_is_computed_again():
    v3 = catalogue.llm("DeepSeek-V3")
    kinds = ["none", "norms", "mla", "mlp", "experts", "norms+mla+experts", "full"]
    plan = chips.TrainingPlan(ep=64, pp=4, uneven=True, recompute=kinds)
    kept = of(plan, n=256, batch=256, sequence=4096, llm=v3).activations
    assert (kept[1:] < kept[0]).all()
    assert kept[5] < kept[1:5].min()
    assert kept[0] - kept[5] == pytest.approx(sum(kept[0] - kept[i] for i in (1, 2, 4)))  # parts apart
    tokens, hidden, layers = 4096, 7168, 16
    assert kept[0] - kept[1] == pytest.approx(4 * tokens * hidden * layers * 4)  # two outputs of norms in 16 bits, four in flight


def test_adapters_keep_no_states_of_what_is_frozen():
    # Dettmers et al. (2023), QLoRA: 16 bits a parameter of a base model against about 4, and next to no optimiser
    plan = chips.TrainingPlan(zero=0, trained=[1, 0.01, 0.01], frozen=["bf16", "bf16", "nf4"])
    found = of(plan)
    assert found.weights / LLM.params == pytest.approx([2, 2, 0.52], rel=1e-3)
    assert found.optimizer[1] == pytest.approx(0.01 * found.optimizer[0])
    states = of(chips.TrainingPlan(zero=0, optimizer=["adam", "bf16 moments", "8-bit", "in backward"]))
    assert states.optimizer / LLM.params == pytest.approx([12, 8, 6, 0], rel=1e-3)
    assert states.gradients[3] == 0


def test_stages_cut_by_cost_are_those_of_nanotron():
    # its llama.py counts 4 h^2 + 3 h f for a layer and V h for the head: 32 layers of an 8B with 131,072 words over 32 stages
    layout = Layout.of(chips.TrainingPlan(pp=[1, 2, 8, 32], head_layers=131072 / (4 * 4096 + 3 * 14336)), 64, 256)
    assert layout.stage_layers(32)[0].tolist() == [32, 18, 5, 2]


def test_frameworks_have_their_own_constants_and_intervals():
    def step(framework):
        return chips.training_step(LLM, H100, chips.TrainingPlan(tp=2), 256, framework=framework).memory

    nanotron, others = step("Nanotron"), step("DeepSpeed")
    assert nanotron.total != others.total
    assert others.high / others.low > nanotron.high / nanotron.low > 1
    assert others.low < others.total < others.high
