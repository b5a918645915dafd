"""Where each watt goes, what cooling and weather do to it, and carbon that keeps its account."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import catalogue, chips, energy
from workbench.energy.carbon import Carbon
from workbench.energy.chain import cooling
from workbench.energy.grid import Site
from workbench.errors import InputError, UnknownName
from workbench.units import DAY, HOUR, TONNE, YEAR

H100 = catalogue.chip("H100")


def chain(**changed):
    given = {"n_chips": 8, "drawn": chips.power(H100, 1.0, 1.0), "cooled_by": "air", "wet_bulb": 10.0}
    return energy.power_chain(H100, **given | changed)


def test_a_server_at_full_use_draws_what_was_measured():
    # Latif et al. (2025), IEEE Access 13:61740: at most 8.4 kW of a server rated for 10.2 kW
    assert chain().servers == pytest.approx(8400, rel=0.02)


def test_the_parts_add_up_to_the_meter():
    c = chain(drawn=np.linspace(60, 700, 5), wet_bulb=np.array([[5.0], [30.0]]))
    assert c.chips + c.hosts + c.fans + c.supplies + c.network + c.facility == pytest.approx(c.total)
    assert c.pue == pytest.approx(c.total / c.it)
    assert c.frame().height == 10
    assert c.tue.min() > 1


def test_liquid_moves_fans_and_shows_in_tue_more_than_in_pue():
    air, liquid, boiling = (chain(cooled_by=how, wet_bulb=28.0) for how in ("air", "liquid", "two-phase"))
    assert air.total > liquid.total > boiling.total
    assert liquid.fans < 0.4 * air.fans
    assert boiling.fans == 0
    assert air.tue - liquid.tue > air.pue - liquid.pue


@given(wet_bulb=st.floats(-20, 35), load=st.floats(0.05, 1), how=st.sampled_from(["air", "liquid", "two-phase"]))
def test_pue_rises_with_heat_and_falls_with_load(wet_bulb, load, how):
    pue = energy.COOLINGS[how].pue(wet_bulb, load)
    assert pue > 1
    assert energy.COOLINGS[how].pue(wet_bulb + 3, load) >= pue
    assert energy.COOLINGS[how].pue(wet_bulb, min(1.0, load * 1.5)) <= pue


def test_scaling_power_and_price_against_each_other_leaves_the_bill():
    place = Site("x", electricity_usd_per_kwh=0.08, carbon_g_per_kwh=400, pue=1.2)
    cheap = Site("x", electricity_usd_per_kwh=0.04, carbon_g_per_kwh=200, pue=1.2)
    one = energy.energy_bill(place, np.full(24, 1e6), carbon_usd_per_t=80)
    two = energy.energy_bill(cheap, np.full(24, 2e6), carbon_usd_per_t=80)
    assert two.money == pytest.approx(one.money)


def test_a_day_of_a_megawatt():
    place = Site("x", 0.10, 500, 1.2, wue_l_per_kwh=0.3, grid_water_l_per_kwh=3, marginal_carbon_g_per_kwh=800, carbon_free_share=0.6)
    bill = energy.energy_bill(place, np.full(24, 1e6), carbon_usd_per_t=50.0)
    assert bill.electricity == pytest.approx(24e3 * 1.2 * 0.10)
    assert bill.carbon["location"].kg / TONNE == pytest.approx(24 * 1.2 * 0.5)
    assert bill.carbon["marginal"].kg / TONNE == pytest.approx(24 * 1.2 * 0.8)
    assert bill.carbon["market"].kg == pytest.approx(0.4 * bill.carbon["location"].kg)
    assert bill.carbon_cost == pytest.approx(50 * 14.4)
    assert bill.water_on_site == pytest.approx(24e3 * 0.3)
    assert bill.water_of_grid == pytest.approx(24e3 * 1.2 * 3)


def test_a_demand_charge_is_on_the_highest_power():
    place = Site("x", 0.0, 0.0, 1.0, demand_usd_per_kw=15)
    load = np.full(8766, 0.5e6)
    load[100] = 1e6
    assert energy.energy_bill(place, load).demand == pytest.approx(15e-3 * (11 * 0.5e6 + 1e6), rel=1e-3)  # month by month
    assert energy.energy_bill(place, [1e6, 2e6], step=YEAR).demand == pytest.approx(15e-3 * 12 * 3e6)  # steps longer than a month
    assert energy.energy_bill(place, load, step=HOUR).demand == pytest.approx(
        energy.energy_bill(place, np.repeat(load, 4), step=HOUR / 4).demand, rel=1e-3
    )
    assert energy.energy_bill(place, np.full(24, 1e6)).demand == pytest.approx(15e-3 * 1e6 * 24 * 12 / 8766)  # a day's part of a month


def test_accounts_of_carbon_never_mix():
    location, market = Carbon("location", 3.0), Carbon("market", 1.0)
    assert (location + Carbon("location", 2.0)).kg == 5
    assert sum([location, location]).kg == 6
    with pytest.raises(InputError, match="location carbon = nan"):
        Carbon("location", np.nan)
    with pytest.raises(InputError, match="location-based and market carbon do not add up"):
        location + market
    with pytest.raises(TypeError):
        location + 1.0
    with pytest.raises(InputError, match="expected one of location, marginal, market, embodied"):
        Carbon("offset", 1.0)


def test_embodied_carbon_of_bloom():
    # Luccioni et al. (2022), arXiv:2211.02001, section 3.2: 1.08 M GPU hours, 2,500 kg a server of eight and 150 kg a GPU, six years at
    # 85 %: 7.57 t of servers and 3.64 t of GPUs, 11.2 t in all
    hours = 1_082_990 * HOUR
    server = energy.embodied_carbon(2500 / 8, hours, life_years=6 * 365 * DAY / YEAR, share_used=0.85)
    gpu = energy.embodied_carbon(150, hours, life_years=6 * 365 * DAY / YEAR, share_used=0.85)
    assert (server + gpu).kg / TONNE == pytest.approx(11.2, rel=0.01)
    with pytest.raises(InputError, match="share_used = 0"):
        energy.embodied_carbon(1, 1, life_years=1, share_used=0)


def test_curtailing_the_dearest_hours():
    price = np.array([1.0, 2.0, 3.0, 10.0])
    c = energy.curtailment(price, [0, 0.25, 0.5, 1], work_usd_per_kwh=2.5)
    assert c.saved == pytest.approx([0, 2.5, 3.25, 4])
    assert c.lost == pytest.approx([0, 0.625, 1.25, 2.5])
    assert c.value.argmax() == 2
    assert energy.curtailment(price, 0.125).saved == pytest.approx([1.25])  # half of the dearest hour
    assert energy.curtailment(price, 0.25, idle_power=0.5).saved == pytest.approx([1.25])
    with pytest.raises(InputError, match=r"share = 1\.5: expected 0 or more and at most 1"):
        energy.curtailment(price, 1.5)


def test_figures_of_ones_own_take_the_place_of_published_ones():
    assert energy.site("eastus").electricity_usd_per_kwh == pytest.approx(0.0899)  # EIA, industrial, Virginia 2024
    with pytest.raises(InputError, match=r"'eastus' has no carbon_g_per_kwh, .*: give carbon_g_per_kwh=, or"):
        energy.site("eastus", carbon_g_per_kwh=None)
    own = energy.site("swedencentral", electricity_usd_per_kwh=0.05)
    assert (own.electricity_usd_per_kwh, own.pue) == (0.05, pytest.approx(1.16))
    with pytest.raises(UnknownName):
        energy.site("atlantis")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cooling("ice"), "unknown cooling 'ice'"),
        (lambda: chain(n_chips=-1), "n_chips = -1"),
        (lambda: chain(drawn=900.0), "drawn = 900: a chip draws at most its TDP, 700 W of H100; expected 0 or more and at most 700"),
        (lambda: energy.COOLINGS["air"].pue(10, 0), "load = 0"),
        (lambda: energy.energy_bill(Site("x", 0, 0, 1), 1e6), "it_power: expected an array whose last axis is time"),
        (lambda: energy.energy_bill(Site("x", 0, 0, 0.9), [1e6]), "pue = 0.9"),
        (lambda: energy.energy_bill(Site("x", 0, 0, 1, carbon_free_share=2), [1e6]), "carbon_free_share = 2"),
        (lambda: energy.energy_bill(Site("x", np.nan, 0, 1), [1e6]), "x: electricity_usd_per_kwh = nan"),
        (lambda: energy.energy_bill(Site("x", 0, 0, 1), []), "it_power: expected an array whose last axis is time"),
        (lambda: energy.energy_bill(Site("x", 0, 0, 1), [1e6, -1]), r"it_power\[1\] = -1"),
        (lambda: energy.curtailment([1.0, np.nan], 0.5), r"electricity_usd_per_kwh\[1\] = nan"),
        (lambda: energy.curtailment([1.0, 2.0], 0.5, work_usd_per_kwh=-1), "work_usd_per_kwh = -1"),
        (lambda: energy.COOLINGS["air"].pue(np.nan), "wet_bulb = nan"),
        (lambda: energy.embodied_carbon(1, 1, life_years=0), "life_years = 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_bill_of_several_sites_loads_and_hours_is_one_call():
    price = np.linspace(0.02, 0.2, 24)
    place = Site("x", price, 400, np.array([[1.1], [1.3]]), wue_l_per_kwh=0.3, grid_water_l_per_kwh=1, marginal_carbon_g_per_kwh=360)
    bill = energy.energy_bill(place, np.array([[1e6], [2e6]]) * np.ones(24))
    assert bill.electricity.shape == bill.energy.shape == bill.demand.shape == bill.water_on_site.shape == (2,)
    assert bill.electricity == pytest.approx([24e3 * 1.1 * price.mean(), 48e3 * 1.3 * price.mean()])
    with pytest.raises(InputError, match="x: electricity_usd_per_kwh has 24 steps of time, it_power 12"):
        energy.energy_bill(place, np.ones(12))


def test_work_that_is_deferred_buys_its_energy_later():
    price = np.array([1.0, 1.0, 1.0, 9.0])
    lost, later = (energy.curtailment(price, 0.25, deferred=put_off) for put_off in (False, True))
    assert lost.saved == pytest.approx(9 / 4)
    assert later.saved == pytest.approx((9 - 1) / 4)
    assert energy.curtailment(np.ones(8), 0.25, deferred=True).saved == pytest.approx(0)  # no dear hour, nothing to gain
    # what idles while it stands still pays for that, and for the whole of the work later
    assert energy.curtailment(price, 0.25, deferred=True, idle_power=0.5).saved == pytest.approx((9 * 0.5 - 1) / 4)
    assert energy.curtailment(np.ones(8), 0.25, deferred=True, idle_power=0.2).saved == pytest.approx(-0.05)
    with pytest.raises(InputError, match="deferred"):
        energy.curtailment(price, 1.0, deferred=True)


def test_negative_making_is_refused():
    with pytest.raises(InputError, match="kg = -1"):
        energy.embodied_carbon(-1, 1, life_years=10)
