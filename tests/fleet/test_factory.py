import inspect

import numpy as np
import pytest

from workbench import catalogue, chips, fleet
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster

DAY = 86_400


def work(served="DeepSeek-R1", replica=8, trained="Llama-3.1-405B", **more):
    plan = chips.ServingPlan(replica, "fp4", "fp8") if replica else None
    load = chips.Load(256 if replica else 1, 1024, 1024)
    return fleet.Work(catalogue.llm(trained), 15.6e12, "bf16", catalogue.llm(served), plan, load, serving_precision="fp4", **more)


def factory(chip="GB300", n_chips=4608, given=None, of=None, fabric="InfiniBand XDR", **changed):
    values = {name: cost.value for name, cost in fleet.factory_inputs(chip, **(given or {})).items()} | {"utilisation": 0.8}
    return fleet.ai_factory(Cluster(chip, n_chips, fabric), of or work(), **values | {"mfu": 0.41} | changed)


def test_the_announced_cluster():
    # Microsoft, October 2025: 64 NVL72 racks; 132 kW of power shelves a rack
    answer = factory()
    assert 4608 * answer.power.rated == pytest.approx(64 * 132e3, rel=0.005)
    assert answer.cost.per_year == pytest.approx(float(answer.usd_per_chip_hour) * 4608 * 8766)
    assert answer.training_seconds / DAY == pytest.approx(6 * 405.85e9 * 15.6e12 / (4608 * 2.5e15 * 0.41) / DAY, rel=0.001)


def test_the_parts_agree_with_each_other():
    answer = factory(training_share=0.3, goodput=0.9)
    hour = answer.usd_per_useful_chip_hour
    per_chip = answer.tokens_per_second / 4608
    assert answer.usd_per_million_tokens == pytest.approx(float(hour / (per_chip * 3600) * 1e6))
    assert answer.tokens_per_watt_per_dollar == pytest.approx(float(1 / answer.joules_per_token / hour))
    assert answer.usd_per_run == pytest.approx(float(answer.training.chip_hours * hour))
    # a year of both takes the hours at work, and costs what the year costs
    hours = answer.runs_per_year * answer.training_seconds + answer.tokens_per_year / answer.tokens_per_second
    assert hours == pytest.approx(0.8 * 8766 * 3600)
    spent = answer.runs_per_year * answer.usd_per_run + answer.tokens_per_year / 1e6 * answer.usd_per_million_tokens
    assert spent == pytest.approx(float(answer.cost.per_year))


def test_arrays_of_any_input_broadcast():
    prices, used = np.array([0.03, 0.1, 0.2]), np.array([[0.4], [0.8]])
    grid = factory(electricity_usd_per_kwh=prices, utilisation=used)
    assert grid.usd_per_million_tokens.shape == (2, 3)
    assert grid.usd_per_million_tokens[1, 2] == pytest.approx(
        float(factory(electricity_usd_per_kwh=0.2, utilisation=0.8).usd_per_million_tokens)
    )


def test_size_costs_failures_and_messages_and_not_what_a_token_costs():
    small, large = (factory(n_chips=n, mfu=None) for n in (4608, 46_080))
    assert small.training.utilisation > large.training.utilisation
    assert small.training.mfu > large.training.mfu
    assert large.training_seconds > 1.5 * small.training_seconds / 10
    assert factory(n_chips=46_080).usd_per_million_tokens == pytest.approx(float(factory().usd_per_million_tokens))


def test_the_fabric_changes_the_answer():
    fast, slow = (factory(n_chips=16_384, mfu=None, fabric=fabric).training_seconds for fabric in ("InfiniBand XDR", "InfiniBand EDR"))
    assert slow > 1.01 * fast
    with pytest.raises(InputError, match="of kind optic"):
        factory(fabric="Optic 800G twin-port DR8")


def test_a_layout_and_a_replica_are_found_once_and_stand_for_themselves():
    found = factory(mfu=None, of=work(replica=None, slo=chips.SLO(50, 10)))
    assert found.training.plan is not None
    assert 1 / found.serving.tpot >= 50
    again = factory(mfu=found.training.mfu, goodput=found.training.utilisation, of=found.work, serving_speed=np.array([0.8, 1.25]))
    assert again.training_seconds == pytest.approx(float(found.training_seconds))
    assert again.tokens_per_second == pytest.approx(float(found.tokens_per_second) * np.array([0.8, 1.25]))


def test_what_is_drawn_comes_from_the_intervals_of_the_models():
    found = factory(mfu=None)
    (soon, late), (slow, fast) = found.errors["training_time"], found.errors["serving_speed"]
    run, point = found.training, found.serving
    assert (soon * run.seconds, late * run.seconds) == pytest.approx((float(run.low), float(run.high)))
    assert slow * point.tokens_per_second_per_chip == pytest.approx(float(point.rate_low))
    assert soon < 1 < late
    assert slow < 1 < fast
    assert factory(training_time=2).training_joules == pytest.approx(2 * float(factory().training_joules))


@pytest.mark.parametrize("n_chips", [8, 16, 64])
def test_a_replica_that_is_found_has_its_place_in_the_cluster(n_chips):
    found = factory(n_chips=n_chips, of=work(replica=None, slo=chips.SLO(20)))
    assert found.serving.feasible
    assert found.work.plan.chips + (found.work.prefill.chips if found.work.prefill else 0) <= n_chips


def test_a_promise_that_nothing_keeps_names_the_nearest():
    with pytest.raises(InputError, match=r"no replica of DeepSeek-R1 on GB300 keeps it; the nearest: \d+ tokens/s per user"):
        factory(of=work(replica=None, slo=chips.SLO(10_000)))


def test_a_model_that_does_not_fit_is_a_result():
    answer = factory(n_chips=72, of=work("Kimi-K2", replica=1))
    assert not answer.serving.feasible
    assert answer.serving.missing_bytes > 0
    assert np.isinf(answer.usd_per_million_tokens)
    assert answer.tokens_per_second == 0


def test_inputs_carry_their_band_and_source_and_ones_own_value_stretches_the_band():
    inputs = fleet.factory_inputs("GB300", wacc=0.2, chip_price=None, network_usd=7510.0)
    assert inputs["wacc"].value == 0.2
    assert inputs["wacc"].ends[1] == 0.2
    assert inputs["network_usd"].ends[0] < 7510 < inputs["network_usd"].ends[1]
    for name, cost in inputs.items():
        assert cost.ends[0] <= cost.value <= cost.ends[1], name
        assert cost.source
    asked = inspect.signature(fleet.ai_factory).parameters.values()
    assert set(inputs) | {"utilisation"} == {p.name for p in asked if p.default is p.empty} - {"cluster", "work"}


def test_a_chip_without_a_price_needs_one():
    with pytest.raises(InputError, match=r"TPU 8t has no published price: give chip_price. Chips with one: .*GB300"):
        fleet.factory_inputs("TPU 8t")
    assert fleet.factory_inputs("TPU 8t", chip_price=15_000)["chip_price"].value == 15_000


def test_an_input_that_does_not_exist_is_named():
    with pytest.raises(UnknownName, match="unknown input 'vacc'; nearest: wacc"):
        fleet.factory_inputs("GB300", vacc=0.1)
