"""Owning or renting, a site of one's own, and designing a chip of one's own."""

import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from workbench import catalogue, energy, fleet
from workbench.errors import InputError
from workbench.fleet import decisions
from workbench.fleet.decisions import rent_history, resale_history
from workbench.fleet.vintages import price_decline

RENTS = [3.64, 3.0, 2.6, 2.2, 1.9]
GONE = 60.0  # decline of resale a year, after which nothing is left


def parts(chip="H100", rate=0.0675, **cost):
    """Price of chips with server and network, price of the facility, and running cost a year, by hand from the bill."""
    bill = fleet.ownership_cost(chip, wacc=rate, server_life_years=5, **cost)
    life = cost.get("facility_life_years", 14.0)
    servers, facility = float(bill.capital + bill.network) * (1 - (1 + rate) ** -5), float(bill.facility) * (1 - (1 + rate) ** -life)
    return servers / rate, facility / rate, float(bill.energy + bill.maintenance + bill.staff)


@pytest.mark.parametrize("chip", ["H100", "GB300", "MI355X"])
def test_a_level_rent_at_the_cost_of_ownership_is_worth_nothing_more_nor_less(chip):
    hour = float(fleet.ownership_cost(chip).per_chip_hour)
    case = fleet.rent_or_own(chip, rent=[hour] * 5, depreciation=GONE)
    assert case.net_present_value == pytest.approx(0, abs=1e-6)
    assert case.break_even == pytest.approx(1, abs=1e-9)
    assert case.internal_rate == pytest.approx(0.0675, abs=1e-9)
    half = fleet.rent_or_own(chip, rent=[2 * hour] * 5, depreciation=GONE, used=0.5)
    assert half.net_present_value == pytest.approx(0, abs=1e-6)


def test_a_rent_that_falls_makes_owning_dear():
    # an H100 that costs 1.35 USD/h, rented at 2.35: level, owning pays from 57 % of the hours; falling 28 % a year, at none
    hour = float(fleet.ownership_cost("H100").per_chip_hour)
    level, falling = (fleet.rent_or_own("H100", rent=2.35 * 0.72 ** (t - t[0]), depreciation=GONE) for t in (np.zeros(5), np.arange(5.0)))
    assert level.break_even == pytest.approx(hour / 2.35, rel=1e-9)
    assert falling.break_even > 0.9


@pytest.mark.parametrize(("tax", "debt"), [(0.0, 0.0), (0.21, 0.0), (0.21, 0.6)])
def test_cash_flows_of_nrel(tax, debt):
    # PySAM's single owner: a plant that makes a chip's used hours as kWh, sells them at the rent of each year, and salvages the chip
    model = pytest.importorskip("PySAM.Singleowner").default("CustomGenerationProfileSingleOwner")
    servers, facility, running = parts(facility_life_years=5.0)
    price = servers + facility
    for name in model.Depreciation.export():
        if name.startswith(("depr_alloc", "depr_bonus")):
            model.value(name, 100.0 * (name == "depr_alloc_custom_percent"))
    nothing = (
        "ppa_escalation", "construction_financing_cost", "cost_debt_fee", "dscr_reserve_months", "inflation_rate", "insurance_rate",
        "months_working_reserve", "reserves_interest", "debt_option", "equip1_reserve_cost", "equip2_reserve_cost", "equip3_reserve_cost",
    )  # fmt: skip
    given = dict.fromkeys(nothing, 0.0) | {
        "system_capacity": 1.0, "gen": (8766 / 8760,) * 8760, "ppa_soln_mode": 1, "ppa_price_input": tuple(0.9 * np.array(RENTS)),
        "analysis_period": 5, "debt_percent": 100 * debt, "term_int_rate": 8.0, "term_tenor": 5, "federal_tax_rate": (100 * tax,),
        "state_tax_rate": (0.0,), "real_discount_rate": 6.75, "salvage_percentage": 100 * servers * np.exp(-1.5) / price,
        "om_capacity": (0.0,), "om_fixed": (running,), "om_fuel_cost": (0.0,), "total_installed_cost": price,
        "depr_custom_schedule": (20.0,) * 5,
    }  # fmt: skip
    for name, value in given.items():
        model.value(name, value)
    model.execute()
    case = fleet.rent_or_own("H100", rent=RENTS, depreciation=0.3, used=0.9, tax=tax, debt=debt, facility_life_years=5.0)
    assert case.cash_flows == pytest.approx(np.array(model.Outputs.cf_project_return_aftertax), rel=1e-6)
    assert case.net_present_value == pytest.approx(model.Outputs.project_return_aftertax_npv, rel=1e-6)
    if debt:  # in the last year theirs counts what the chip is sold for
        assert case.cover[:4] == pytest.approx(np.array(model.Outputs.cf_pretax_dscr)[1:5], rel=1e-6)


def test_values_and_returns_of_pyxirr():
    pyxirr = pytest.importorskip("pyxirr")
    case = fleet.rent_or_own("GB300", n=64)
    assert case.net_present_value == pytest.approx([pyxirr.npv(0.0675, flows) for flows in case.cash_flows], rel=1e-9)
    assert case.internal_rate == pytest.approx([pyxirr.irr(flows) for flows in case.cash_flows], abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(["H100", "GB300", "B200"]), st.floats(0.3, 1.0), st.floats(0.5, 2.0))
def test_the_answer_flips_nowhere_that_its_interval_does_not_cover(chip, used, factor):
    rent = factor * float(fleet.ownership_cost(chip).per_chip_hour)
    low, high = (fleet.rent_or_own(chip, rent=rent * by, used=used, n=256).frame().row(0, named=True) for by in (0.98, 1.02))
    for row in (low, high):
        assert row["verdict"] == ("own" if row["npv_p10_usd"] > 0 else "rent" if row["npv_p90_usd"] < 0 else "either")
    if np.sign(low["npv_p50_usd"]) != np.sign(high["npv_p50_usd"]):
        assert {low["verdict"], high["verdict"]} == {"either"}
    assert low["npv_p50_usd"] < high["npv_p50_usd"]


def test_declines_come_from_what_rents_and_resale_did():
    decline, volatility = rent_history()
    assert -0.1 < decline < 0.2  # lists of one provider hardly fell; technology falls by .32 a year
    assert 0.1 < volatility < 0.4
    kept, gone = resale_history()
    assert 0.05 < kept < 0.2 < gone < 0.5  # used H100s of 2026 still bring two thirds of what new ones did
    case = fleet.rent_or_own("H100", n=4096)
    assert case.cash_flows.shape == (4096, 6)
    one = fleet.rent_or_own("H100", decline=np.array([0.1, 0.3]), volatility=0.0, depreciation=0.3, n=2)
    assert one.operating[0, 1] > one.operating[1, 1]


def test_rents_of_a_chip_left_out_fall_where_the_interval_says(monkeypatch):
    # every pair of months, 5 or more apart, of one provider's list of one chip, by declines and volatility of all other chips
    whole, at = (
        catalogue.table("rent_history"),
        pl.col("date").str.slice(0, 4).cast(float) + pl.col("date").str.slice(5, 2).cast(float) / 12,
    )
    lists = whole.filter(pl.col("date").str.len_chars() >= 7, tariff="on-demand", kind="price list")
    lists = lists.group_by("chip", "provider", at=at).agg(y=pl.col("usd_per_gpu_h").median().log())
    pairs = lists.join(lists, on=["chip", "provider"], suffix="_then").filter(pl.col("at_then") - pl.col("at") > 0.4)
    inside = []
    for chip in pairs["chip"].unique().sort():
        monkeypatch.setattr(decisions.catalogue, "table", lambda name, out=chip: whole.filter(pl.col("chip") != out))
        past, volatility = rent_history.__wrapped__()
        monkeypatch.undo()
        mine = pairs.filter(chip=chip)
        years, moved = (mine["at_then"] - mine["at"]).to_numpy(), (mine["y_then"] - mine["y"]).to_numpy()
        spread = np.hypot((price_decline() - past) / 2 / 1.645 * years, volatility * np.sqrt(years))
        inside.extend(np.abs(moved + (past + price_decline()) / 2 * years) < 1.2816 * spread)
    assert len(inside) > 50
    assert 0.7 < np.mean(inside) < 0.95  # an interval of 80 %


def test_probability_of_breach_is_that_of_the_closed_form():
    given = {"rent": 2.0, "decline": 0.2, "volatility": 0.3, "depreciation": 0.3, "debt": 0.6, "used": 0.9, "n": 1 << 16}
    case = fleet.rent_or_own("H100", **given)
    running = parts()[2]
    least = np.log((1.2 * case.service[0] + running) / (0.9 * 8766 * 2.0))  # of the logarithm of rent over today's
    middle = np.arange(5) + 0.5
    expected = norm.cdf((least + 0.2 * middle) / (0.3 * np.sqrt(middle)))
    assert case.breach(cover=1.2, loan_to_value=np.inf) == pytest.approx(expected, abs=0.004)
    assert 0.02 < expected[0] < expected[-1] < 0.98
    sure = fleet.rent_or_own("H100", **given | {"depreciation": 0.9})
    assert (sure.breach(cover=-np.inf, loan_to_value=0.8) == (sure.owed > 0.8 * sure.worth)[0]).all()
    assert case.owed[0, -1] == 0


def test_a_site_waits_for_its_building_and_is_filled_by_demand():
    demand = np.array([[0.2, 0.5, 0.8, 0.9, 1.0]])
    case = fleet.rent_or_own("GB300", rent=[4.0, 3.5, 3.0, 2.5, 2.0], depreciation=0.3, used=demand, n_chips=1000, build_years=2)
    servers, facility, running = parts("GB300")
    assert case.cash_flows.shape == (1, 8)
    assert case.cash_flows[0, :3] == pytest.approx([-1e3 * facility, 0, -1e3 * servers])
    assert case.cash_flows[0, 3] == pytest.approx(1e3 * (4.0 * 0.2 * 8766 - running))
    assert case.used == pytest.approx(demand.mean())
    late = fleet.rent_or_own("GB300", rent=4.0, build_years=2, n=512)
    assert np.median(late.net_present_value) < np.median(fleet.rent_or_own("GB300", rent=4.0, n=512).net_present_value)


def test_a_site_may_be_every_region_at_once():
    every = energy.sites()
    figures = {name: every[name].to_numpy()[:, None] for name in ("electricity_usd_per_kwh", "pue")}
    start = time.process_time()
    world = fleet.rent_or_own("GB300", rent=5.0, n=64, **figures).net_present_value
    assert time.process_time() - start < 1.0
    assert world.shape == (every.height, 64)
    one = fleet.rent_or_own("GB300", rent=5.0, n=64, **{name: values[57, 0] for name, values in figures.items()})
    assert world[57] == pytest.approx(one.net_present_value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rent": [2.0, 1.0]}, "2, 1 and 1 years; expected 5"),
        ({"used": [0.5, 0.6]}, "expected 5 on the last axis"),
        ({"energised": [0.5, 1.0, 0.9, 1.0, 1.0]}, "energised = .*falls from year to year"),
        ({"rent": -1.0}, "rent = -1"),
        ({"used": 1.5}, "used = 1.5"),
        ({"years": 0}, "years = 0"),
        ({"build_years": 0.5}, "build_years = 0.5: expected a whole number 0 or more .years."),
        ({"wacc": -1.5}, "wacc = -1.5"),
        ({"salvage": 0.1}, "salvage: give depreciation"),
        ({"decline": np.nan}, "decline = nan"),
    ],
)
def test_bad_cases_are_named(changed, message):
    with pytest.raises(InputError, match=message):
        fleet.rent_or_own("H100", **changed)


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


def test_nothing_breaks_even_where_no_rent_is_saved():
    assert np.isinf(fleet.rent_or_own("H100", rent=0.0, n=64).break_even).all()


PHASES = {"rent": [3.0, 3.0, 3.0], "depreciation": 0.3, "years": 3, "n": 1, "n_chips": 100, "wacc": 0.08, "debt": 0.6}


def test_a_site_in_phases_by_hand():
    whole, half = (fleet.rent_or_own("H100", energised=on, **PHASES) for on in (1.0, [0.5, 0.5, 1.0]))
    chips = (half.cash_flows - whole.cash_flows)[0] / 0.4 / 0.5  # the equity in half of them is not paid at first
    facility = -whole.cash_flows[0] / 0.4 - chips
    assert half.operating == pytest.approx(whole.operating * [0.5, 0.5, 1.0])
    assert (half.worth - whole.worth)[0] == pytest.approx(-0.5 * chips * np.exp(-0.3))
    assert (half.worth - whole.worth)[2] == pytest.approx(0.5 * chips * (np.exp(-0.3) - np.exp(-0.9)))
    loans = [0.5 * chips * 0.6 * float(fleet.annuity(1.0, 0.08, n)) for n in (3, 1)]
    assert half.service == pytest.approx(facility * 0.6 * fleet.annuity(1.0, 0.08, 3) + np.array([loans[0], loans[0], sum(loans)]))
    assert half.owed[-1] == pytest.approx(0)


def test_a_site_that_is_late_breaks_its_covenants():
    late = np.array([0, 1, 2])
    on = np.arange(3) >= late[:, None]
    case = fleet.rent_or_own("H100", energised=on.astype(float), **PHASES)
    assert (np.diff(case.net_present_value) < 0).all()
    assert case.breach(loan_to_value=np.inf)[0] == pytest.approx(2 / 3)  # nothing is earned, and the building's loan is served
    assert (case.cover[~on] == 0).all()
    early = fleet.rent_or_own("H100", **PHASES)
    assert case.cash_flows[0] == pytest.approx(early.cash_flows)
