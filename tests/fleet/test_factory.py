import inspect

import numpy as np
import pytest

from workbench import catalogue, chips, fleet
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster


def work(served="DeepSeek-R1", precision="fp4", replica=8):
    return fleet.Work(
        trained=catalogue.llm("Llama-3.1-405B"),
        tokens=15.6e12,
        precision="bf16",
        served=catalogue.llm(served),
        plan=chips.ServingPlan(replica, precision, "fp8"),
        load=chips.Load(256, 1024, 1024),
    )


def factory(chip="GB300", n_chips=4608, given=None, **changed):
    inputs = fleet.factory_inputs(catalogue.chip(chip), "fp4", **(given or {}))
    values = {name: cost.value for name, cost in inputs.items()} | {"utilisation": 0.8}
    return fleet.ai_factory(Cluster(catalogue.chip(chip), n_chips), work(), **values | changed)


def test_the_announced_cluster():
    # Microsoft, October 2025: 64 NVL72 racks; 132 kW of power shelves a rack; 2.5 PFLOP/s bf16 a chip
    answer = factory()
    assert answer.it_power == pytest.approx(64 * 132e3, rel=0.005)
    assert answer.peak == pytest.approx(4608 * 2.5e15)
    assert answer.usd_per_year == pytest.approx(float(answer.usd_per_chip_hour) * 4608 * 8766)
    assert answer.training_days == pytest.approx(6 * 405.85e9 * 15.6e12 / (4608 * 2.5e15 * 0.41 * 0.8) / 86400, rel=0.001)


def test_the_parts_agree_with_each_other():
    answer = factory()
    hour = answer.usd_per_useful_chip_hour
    per_chip = answer.tokens_per_second / 4608
    assert answer.usd_per_million_tokens == pytest.approx(float(hour / (per_chip * 3600) * 1e6))
    assert answer.tokens_per_watt_per_dollar == pytest.approx(float(1 / answer.joules_per_token / hour))


def test_arrays_of_any_input_broadcast():
    prices, used = np.array([0.03, 0.1, 0.2]), np.array([[0.4], [0.8]])
    grid = factory(electricity_usd_per_kwh=prices, utilisation=used)
    assert grid.usd_per_million_tokens.shape == (2, 3)
    assert grid.usd_per_million_tokens[1, 2] == pytest.approx(
        float(factory(electricity_usd_per_kwh=0.2, utilisation=0.8).usd_per_million_tokens)
    )


def test_size_changes_totals_and_not_what_a_token_costs():
    small, large = factory(n_chips=4608), factory(n_chips=46_080)
    assert large.usd_per_million_tokens == pytest.approx(float(small.usd_per_million_tokens))
    assert large.training_days == pytest.approx(float(small.training_days) / 10)


def test_a_model_that_does_not_fit_is_a_result():
    inputs = {n: c.value for n, c in fleet.factory_inputs(catalogue.chip("GB300"), "fp4").items()} | {"utilisation": 0.8}
    answer = fleet.ai_factory(Cluster(catalogue.chip("GB300"), 72), work("Kimi-K2", "fp4", replica=1), **inputs)
    assert not answer.serving.feasible
    assert answer.serving.missing_bytes > 0
    assert np.isinf(answer.usd_per_million_tokens)
    assert answer.tokens_per_second == 0


def test_inputs_carry_their_band_and_source_and_ones_own_value_stretches_the_band():
    inputs = fleet.factory_inputs(catalogue.chip("GB300"), "fp4", wacc=0.2, chip_price=None)
    assert inputs["wacc"].value == 0.2
    assert inputs["wacc"].ends[1] == 0.2
    for name, cost in inputs.items():
        assert cost.ends[0] <= cost.value <= cost.ends[1], name
        assert cost.source
    assert set(inputs) | {"utilisation"} == set(inspect.signature(fleet.ai_factory).parameters) - {"cluster", "work"}


def test_a_chip_without_a_price_needs_one():
    with pytest.raises(InputError, match=r"TPU 8t has no published price: give chip_price. Chips with one: .*GB300"):
        fleet.factory_inputs(catalogue.chip("TPU 8t"))
    assert fleet.factory_inputs(catalogue.chip("TPU 8t"), chip_price=15_000)["chip_price"].value == 15_000


def test_an_input_that_does_not_exist_is_named():
    with pytest.raises(UnknownName, match="unknown input 'vacc'; nearest: wacc"):
        fleet.factory_inputs(catalogue.chip("GB300"), vacc=0.1)
