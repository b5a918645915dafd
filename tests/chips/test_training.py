import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import catalogue
from workbench.chips import Choices, Load, ServingPlan, TrainingPlan, serving, training_run, training_step
from workbench.errors import InputError
from workbench.fabric import Cluster


@pytest.fixture(scope="module")
def llama():
    return catalogue.llm("Llama-3.1-405B")


def cluster(n, chip="H100"):
    return Cluster(catalogue.chip(chip), n, "InfiniBand NDR")


def test_llama_3_405b_took_the_gpu_hours_its_card_prints(llama):
    # Llama 3.1 model card: 30.84 M H100 hours. The Llama 3 paper: 15.6 T tokens (section 1), 38-43 % bf16 MFU (table 4),
    # "higher than 90 % effective training time" (section 3.3.4).
    run = training_run(llama, cluster(16_384), 15.6e12, mfu=0.40, utilisation=0.9)
    assert run.chip_hours == pytest.approx(30.84e6, rel=0.05)
    assert run.flop == pytest.approx(3.8e25, rel=0.01)  # the paper's section 3.2.1: "3.8 x 10^25 FLOPs"


def test_gpt3_compute(llama):
    gpt3 = catalogue.llm("GPT-3-175B")
    assert training_run(gpt3, cluster(1024), 300e9, mfu=0.5).flop == pytest.approx(3.14e23, rel=0.01)  # Brown et al. 2020, table D.1


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(1, 10**6), st.floats(1e9, 1e14))
def test_time_is_inverse_to_what_it_gets(llama, mfu, utilisation, n, tokens):
    one = training_run(llama, cluster(n), tokens, mfu=mfu, utilisation=utilisation)
    assert training_run(llama, cluster(2 * n), tokens, mfu=mfu, utilisation=utilisation).seconds == pytest.approx(one.seconds / 2)
    assert training_run(llama, cluster(n), 2 * tokens, mfu=mfu, utilisation=utilisation).seconds == pytest.approx(one.seconds * 2)
    assert one.seconds * one.useful_flop_per_s == pytest.approx(one.flop)


def test_broadcasting_equals_single_calls(llama):
    n, mfu = np.array([[8], [64]]), np.array([0.3, 0.4, 0.5])
    grid = training_run(llama, cluster(n), 1e12, mfu=mfu).seconds
    assert grid.shape == (2, 3)
    assert grid[1, 2] == pytest.approx(float(training_run(llama, cluster(64), 1e12, mfu=0.5).seconds))


def test_a_run_finds_its_layout_and_what_it_costs(llama):
    run = training_run(llama, cluster([8192, 16_384]), 15.6e12, global_batch=2048, usd_per_chip_hour=2.0)
    assert (run.low < run.seconds).all()
    assert run.low[1] < 30.84e6 * 3600 / 16_384 < run.high[1]  # the model's card
    assert run.chip_hours[0] < run.chip_hours[1]  # more chips lose more
    assert run.usd == pytest.approx(2 * run.chip_hours)
    assert run.mfu * run.utilisation * 989.4e12 * np.array([8192, 16_384]) == pytest.approx(run.useful_flop_per_s, rel=1e-3)
    watts = run.joules / (run.chip_hours * 3600)
    assert ((watts > 300) & (watts <= 700)).all()


def test_a_plan_stays_and_evaluation_takes_a_forward_pass(llama):
    plan = TrainingPlan(tp=8, pp=16, vp=8)
    one, more = (training_run(llama, cluster(16_384), 1e12, plan=plan, global_batch=2048, evaluation=e) for e in (0, 1))
    step = training_step(llama, cluster(16_384), plan, 2048)
    steps = 1e12 / (2048 * 8192)
    assert one.seconds * one.utilisation == pytest.approx(steps * step.seconds)
    assert more.seconds == pytest.approx(4 / 3 * one.seconds)
    with pytest.raises(InputError, match="a plan on 16384 H100 at batch 2048: tp \\* pp \\* cp does not divide"):
        training_run(llama, cluster(16_384), 1e12, plan=TrainingPlan(tp=8, pp=15), global_batch=2048)


def test_adapters_take_less_time_and_memory():
    small = catalogue.llm("Llama-3.1-8B")
    full, lora, qlora = (
        training_run(small, cluster(8), 1e8, choices=Choices(method=m, micro_batch=(1,)), global_batch=64, sequence=2048)
        for m in ("full", "lora", "qlora")
    )
    assert 0.6 < lora.seconds / full.seconds < 0.9  # no gradients of the frozen weights: 2/3 of the products
    assert qlora.memory < lora.memory


def test_generation_and_training_share_or_split_the_chips():
    small, rollouts = catalogue.llm("Llama-3.1-8B"), (ServingPlan(1, "bf16"), Load(64, 512, 2048))
    alone = training_run(small, cluster(16), 1e9, evaluation=2)
    shared, half = (training_run(small, cluster(16), 1e9, evaluation=2, rollouts=rollouts, split=s) for s in (None, 0.5))
    rate = serving(small, cluster(1), *rollouts).tokens_per_second_per_chip
    assert shared.generation == pytest.approx(1e9 * 2048 / 2560 / (16 * rate))
    assert shared.seconds == pytest.approx(shared.generation + alone.seconds)
    assert half.seconds == pytest.approx(2 * max(half.generation, alone.seconds))
    with pytest.raises(InputError, match="split = 1: expected more than 0 and less than 1"):
        training_run(small, cluster(16), 1e9, rollouts=rollouts, split=1)
    with pytest.raises(InputError, match="a replica that generates"):
        training_run(small, cluster(16), 1e9, rollouts=(ServingPlan(1, "bf16"), Load(1, 200_000, 2048)))


@pytest.mark.parametrize(("name", "value"), [("mfu", 0), ("mfu", 1.2), ("mfu", float("nan")), ("utilisation", -0.1)])
def test_bad_share(llama, name, value):
    with pytest.raises(InputError, match=f"{name} = .*expected more than 0 and at most 1"):
        training_run(llama, cluster(8), 1e12, **({"mfu": 0.4} | {name: value}))


def test_precision_the_chip_lacks(llama):
    with pytest.raises(InputError, match=r"A100 has no fp8 peak; it has .*bf16"):
        training_run(llama, cluster(8, "A100"), 1e12, mfu=0.4, precision="fp8")
