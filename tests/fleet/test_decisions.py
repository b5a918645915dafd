"""Building the next site, and designing a chip of one's own."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import energy, fleet
from workbench.errors import InputError
from workbench.fleet.decisions import site_case


def case(**changed):
    given = {
        "demand": np.full(10, 900.0),
        "value_per_chip_hour": 2.35,
        "n_chips": 1000.0,
        "chip_capital": 45_000.0,
        "facility_capital": 20e6,
        "running_idle": 500.0,
        "running_busy": 1800.0,
        "rate": 0.0675,
    }
    return site_case(**given | changed)


def test_cash_flows_by_hand():
    c = case(demand=np.full(2, 500.0), refresh_years=2, facility_life_years=4.0)
    income = 500 * 8766 * 2.35 - 500 * 1800 - 500 * 500
    assert c.cash_flows == pytest.approx([-20e6, -45e6, income, income + 10e6])
    assert c.utilisation == pytest.approx(0.5)


def test_a_full_site_pays_and_an_empty_one_does_not():
    assert case().net_present_value > 0
    assert case(demand=np.zeros(10)).net_present_value < 0
    assert case().internal_rate > 0.0675
    assert case(demand=np.zeros(10)).payback_years == np.inf


@given(st.floats(0, 2000), st.floats(0.5, 4))
def test_more_demand_and_more_value_never_hurt(busy, value):
    def worth(more=0.0, dearer=0.0):
        demand = np.full(8, busy + more)
        return case(demand=demand, value_per_chip_hour=value + dearer, running_busy=500.0).net_present_value

    assert worth(more=10) >= worth() - 1e-3
    assert worth(dearer=0.1) >= worth() - 1e-3


def test_scenarios_are_one_call():
    demand = np.random.default_rng(0).lognormal(np.log(800), 0.5, (1000, 1)) * np.ones((1, 10))
    c = case(demand=demand)
    assert c.cash_flows.shape == (1000, 12)
    assert 0 < c.loss_probability() < 1
    assert case(demand=np.zeros(10)).frame()["payback_years"].to_list() == [None]
    row = c.frame().row(0, named=True)
    assert row["npv_p10_usd"] < row["npv_p50_usd"] < row["npv_p90_usd"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"demand": 3.0}, "demand: expected an array"),
        ({"n_chips": -1.0}, "n_chips"),
        ({"refresh_years": 0}, "refresh_years = 0"),
        ({"build_years": 0.5}, "build_years = 0.5: expected a whole number 0 or more .years."),
        ({"demand": []}, "demand: expected an array"),
        ({"rate": -1.5}, "rate = -1.5"),
        ({"value_decline": np.nan}, "value_decline = nan"),
    ],
)
def test_bad_sites_are_named(changed, message):
    with pytest.raises(InputError, match=message):
        case(**changed)


def chip(**changed):
    given = {
        "nre": 581e6,
        "unit_cost": 12_000.0,
        "merchant_price": 37_500.0,
        "relative_performance": 0.8,
        "volume": 300_000.0,
        "movable_share": 0.6,
        "lead_years": 2.0,
        "price_decline": 0.32,
        "rate": 0.0675,
    }
    return fleet.in_house_chip(**given | changed)


def test_break_even_by_hand():
    c = chip()
    saving = 37_500 * 0.8 * np.exp(-0.64) - 12_000
    assert c.saving_per_chip == pytest.approx(saving)
    assert c.break_even_chips == pytest.approx(581e6 * 1.0675**2 / saving)
    assert c.net_present_value == pytest.approx(180_000 * saving * 1.0675**-2 - 581e6)
    assert c.pays == (c.net_present_value > 0)


def test_value_is_nothing_at_break_even():
    c = chip()
    at = chip(volume=c.break_even_chips / 0.6)
    assert at.net_present_value == pytest.approx(0, abs=1)


def test_a_late_chip_never_breaks_even():
    assert chip(lead_years=4.0).break_even_chips == np.inf
    assert not chip(lead_years=4.0).pays
    assert chip(movable_share=0.0).break_even_chips == np.inf


def test_the_vendors_answer_alone_may_pay():
    c = chip(movable_share=0.0, merchant_fleet=20e9, price_response=0.05)
    assert c.concession > 581e6
    assert c.pays
    assert c.break_even_chips == 0


def test_ten_thousand_programmes_are_one_call():
    rng = np.random.default_rng(0)
    c = chip(nre=rng.uniform(0.5e9, 1e9, 10_000), lead_years=rng.uniform(1.5, 3, 10_000))
    assert c.break_even_chips.shape == (10_000,)
    assert not np.isnan(c.net_present_value).any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"nre": -1.0}, "nre = -1"), ({"running_saving": np.nan}, "running_saving = nan"), ({"movable_share": 2.0}, "movable_share = 2")],
)
def test_bad_chips_are_named(changed, message):
    with pytest.raises(InputError, match=message):
        chip(**changed)


def test_an_empty_site_has_no_utilisation_and_rates_may_be_scenarios():
    c = case(n_chips=np.array([0.0, 1000.0]), rate=np.array([[0.05], [0.1], [0.2]]))
    assert c.utilisation.shape == c.net_present_value.shape == (3, 2)
    assert c.utilisation[0, 0] == 0


def test_a_site_may_be_every_region_at_once():
    every = energy.sites()
    figures = {name: every[name].to_numpy()[:, None, None] for name in ("electricity_usd_per_kwh", "carbon_g_per_kwh", "pue")}
    demand = np.linspace(5e3, 2e4, 60).reshape(6, 10)
    given = {"demand": demand, "value_per_chip_hour": 5.0, "n_chips": 1e4, "wacc": 0.07}
    start = time.process_time()
    world = fleet.chip_site("GB300", energy.site("eastus", **figures), **given).net_present_value
    assert time.process_time() - start < 1.0
    assert world.shape == (every.height, 6)
    for i in (0, 57, every.height - 1):
        assert world[i] == pytest.approx(fleet.chip_site("GB300", every["region"][i], **given).net_present_value)
    hours = energy.site("eastus", electricity_usd_per_kwh=[0.05, 0.15], pue=[1.1, 1.3])
    flat = energy.site("eastus", electricity_usd_per_kwh=(0.05 * 1.1 + 0.15 * 1.3) / 2, pue=1.0)
    one, other = (fleet.chip_site("GB300", place, **given).net_present_value for place in (hours, flat))
    assert one == pytest.approx(other)
