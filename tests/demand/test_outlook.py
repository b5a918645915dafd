"""The outlook: starts at what is known, says what is likely, binds and drives; shadow prices against differences through the loop."""

from dataclasses import replace

import numpy as np
import pytest

from workbench import catalogue, demand
from workbench.demand.market import outlook as module
from workbench.demand.market import scenario
from workbench.demand.market.clearing import BINDING, LIMITS
from workbench.demand.market.loop import simulate
from workbench.errors import InputError, UnknownName
from workbench.uncertainty import Lognormal
from workbench.units import HOUR, YEAR


@pytest.fixture(scope="module")
def outlook():
    return demand.outlook(quarters=12, n=2048, seed=1)


def test_it_starts_at_what_is_known(outlook):
    assert outlook.quarters[0] == "2026Q1"
    assert outlook.market.price[0] == pytest.approx(np.full(2048, 2.35), rel=1e-9)  # H100, one year, March 2026: SemiAnalysis
    assert scenario.shipped().sum() == pytest.approx(19.74e6, rel=1e-3)  # Epoch AI, end of 2025, four vendors
    stock = catalogue.table("chip_stock").filter(quarter="2025Q4", chip="all", vendor="Nvidia")
    low, high = np.quantile(outlook.given["stock_scale"], [0.05, 0.95])
    assert (low, high) == pytest.approx((stock["h100e_low"][0] / stock["h100e"][0], stock["h100e_high"][0] / stock["h100e"][0]), rel=0.01)
    assert scenario.growth_before("2026Q1") == pytest.approx(3.02, abs=0.01)  # the case C05
    assert scenario.growth_before("2025Q1") == pytest.approx(4.08, abs=0.01)  # C06
    assert np.median(outlook.market.supply[0]) == pytest.approx(24e6, rel=0.05)
    assert module.h100e_per_wafer() == pytest.approx(13.2e6 / 670_000, rel=0.01)


def test_power_and_memory_agree_with_what_is_published(outlook):
    """Not fitted: AI 2027 and Epoch's memory table for compute, McKinsey for power."""
    power = np.quantile(outlook.market.power / 1e9, [0.05, 0.95], axis=1)
    assert power[0, 0] < 31 < power[1, 0]  # McKinsey: 156 GW in 2030 less 125 GW added
    assert power[0, 7] < 60 < power[1, 7]  # AI 2027: 60 GW at the end of 2027
    supply = np.quantile(outlook.market.supply, [0.05, 0.95], axis=1)
    assert supply[0, 7] < 100e6 < supply[1, 7]  # AI 2027: 100 M H100e at the end of 2027


def test_probabilities_and_tables(outlook):
    for what in ("shortage", "glut"):
        p, error = outlook.probability(what)
        assert p.shape == error.shape == (12,)
        assert ((p >= 0) & (p <= 1)).all()
        assert (error < 0.02).all()
    relative = outlook.market.price / outlook.market.long_run_cost
    assert outlook.probability("shortage")[0] == pytest.approx((relative > 1.2).mean(axis=1))
    assert outlook.probability("glut")[0] == pytest.approx((relative < 0.8).mean(axis=1))
    frame = outlook.frame()
    assert set(frame["quantity"]) >= {"demand_h100e", "supply_h100e", "price_usd_per_h", "power_gw"}
    assert frame.filter(quarter="2028Q1")["beyond_data"].all()  # forecasts of the tables end with 2027
    assert not frame.filter(quarter="2027Q4")["beyond_data"].any()
    assert (frame["low"] <= frame["median"]).all()
    assert (frame["median"] <= frame["high"]).all()
    head = outlook.headline(9)
    assert head.height == 9
    assert set(head["binding"]) <= set(BINDING)
    assert outlook.binds().select(BINDING).sum_horizontal().to_list() == pytest.approx([1.0] * 12)


def test_scenarios_share_their_random_numbers_and_move_the_right_way(outlook):
    same = demand.outlook(quarters=12, n=2048, seed=1)
    assert np.array_equal(same.market.price, outlook.market.price)
    more = demand.outlook(quarters=12, n=2048, seed=1, agents_demand_growth=6.0)
    assert np.median(more.market.price[8]) > np.median(outlook.market.price[8])
    capital = demand.outlook(quarters=12, n=2048, seed=1, capital_headroom=Lognormal(0.3, 0.5), capital_growth=1.0)
    assert capital.binds()["capital"][2:].min() > 0.5
    assert np.median(capital.market.supply[8]) < np.median(outlook.market.supply[8])
    flat = demand.outlook(quarters=12, n=2048, seed=1, demand=np.array([0.4, 0.3, 0.3])[:, None, None])
    assert np.median(flat.market.price[8]) < 1.0  # demand that stands still meets chips that are ordered already
    assert flat.probability("glut")[0][4:].max() > 0.5


def test_efficiency_beyond_what_is_expected_adds_or_removes_by_the_elasticity():
    sign = {}
    for e in (0.6, 1.6):
        wanted = []
        for gain in (1.5, 6.0):
            x = scenario.draws(8, 64, seed=2, api_elasticity=e, serving_software_growth=gain, consumer_elasticity=e)
            wanted.append(np.asarray(scenario.futures(x).demand)[1, -1] / np.asarray(scenario.futures(x).demand)[1, 0])
        sign[e] = np.sign(wanted[1] - wanted[0])
    assert (sign[0.6] == -1).all()
    assert (sign[1.6] == 1).all()


def test_drivers_are_sobol_indices():
    table = demand.drivers(4, n=256, seed=3)
    assert table["log_ratio_total"].is_sorted(descending=True)
    assert 0.5 < table["log_ratio_first"].sum() < 1.3
    assert table["log_ratio_total"].min() > -0.05
    assert table["input"][0] in {"growth of demand, capital and capacity", "demand_shocks", "api_elasticity", "contracted_share"}


def test_shadow_price_of_power_is_the_derivative_of_the_loop(outlook):
    """Exact where the quarter is the last; the difference goes through the whole loop with common random numbers."""
    watts = 1e5
    for quarter in (3, 7):
        base = shortened(outlook.futures, quarter + 1)
        more = replace(base, power_added=np.eye(quarter + 1)[quarter][:, None] * watts)
        measured = worth(base, more) / watts
        exact = module.power_shadow_price(base, simulate(base))[-1]
        assert (exact > 0).any()
        assert measured == pytest.approx(exact, rel=1e-3, abs=exact.max() * 1e-4)


def test_shadow_price_of_wafers_is_the_derivative_of_the_loop(outlook):
    units = 10.0
    for quarter in (0, 4):
        base = replace(shortened(outlook.futures, quarter + 1), limit_response=0.0)  # which would scale what is added as well
        limits = np.array(base.limits)
        limits[LIMITS.index("packaging"), -1] += units
        measured = worth(base, replace(base, limits=limits)) / units
        exact = module.rent_where(simulate(base), "packaging")[-1]
        assert (exact > 0).any()
        assert measured == pytest.approx(exact, rel=1e-3, abs=1e-3 * exact.max())


def test_more_power_is_worth_something_through_the_whole_loop(outlook):
    more = replace(outlook.futures, power_added=np.eye(12)[2][:, None] * 1e9)
    assert worth(outlook.futures, more).mean() > 0
    table = outlook.shadow_prices()
    assert (table["usd_per_gw"] > 0).all()
    # never more than a gigawatt of new units would rent for at the mean price of those futures
    assert table["usd_per_gw"][8] < np.mean(outlook.market.price[8]) * 3e6 * YEAR / 4 / HOUR


def test_hindcast_holds_what_happened():
    """2.85 in February 2024 to 2.35 in March 2026, with the shipments that came: inside the bands, within a factor of two of the median."""
    table = demand.hindcast("2024Q1", n=1024)
    rents = table.filter(table["what"].str.starts_with("H100 rent"))
    assert rents["quarter"].to_list() == ["2024Q4", "2025Q4", "2026Q1", "2025Q3"]
    assert rents["inside"].all()
    assert rents["log_error"].abs().max() < np.log(2)
    recent = demand.hindcast("2025Q4", n=1024)
    assert recent.filter(recent["contract"] == "1 year")["inside"].all()


def test_bad_input_is_named():
    for call, kind, message in (
        (lambda: demand.outlook(n=100), InputError, "power of two"),
        (lambda: demand.outlook(n=4), InputError, "n = 4"),
        (lambda: demand.outlook(quarters=1), InputError, "quarters = 1"),
        (lambda: demand.outlook(quarters=4, n=64, chip_lead=3.0), UnknownName, "chip_lead"),
        (
            lambda: demand.outlook(quarters=4, n=64, contracted_share=1.4),
            InputError,
            "contracted_share = 1.4: expected 0 or more and at most 1",
        ),
        (lambda: demand.outlook(quarters=4, n=64, api_elasticity=-1.0), InputError, "elasticity"),
        (lambda: demand.outlook(quarters=4, n=64, power_lead_quarters=-1.0), InputError, "power"),
        (lambda: demand.drivers(0), InputError, "quarter = 0"),
        (lambda: demand.outlook(n=96), InputError, "n = 96: expected 8 times a power of two"),
        (lambda: demand.outlook(quarters=4, n=64, stock_scale=np.nan), InputError, "stock_scale = nan"),
        (lambda: scenario.futures({}), InputError, "given: lacks agents_demand_growth"),
        (lambda: scenario.futures(scenario.draws(3, 2), demand=np.ones((2, 3, 2))), InputError, r"demand of shape \(2, 3, 2\)"),
        (lambda: scenario.futures(scenario.draws(3, 2), start="2024-05"), InputError, "start = 2024-05: expected a quarter"),
        (lambda: demand.hindcast("2026Q1"), InputError, "start = 2026Q1"),
        (lambda: scenario.prior("nothing"), UnknownName, "nothing"),
        (lambda: scenario.known_rent("2022Q1"), InputError, "no rent of H100"),
        (lambda: scenario.shipped("2020Q1"), InputError, "no counts"),
    ):
        with pytest.raises(kind, match=message):
            call()
    o = demand.outlook(quarters=2, n=64)
    with pytest.raises(InputError, match="expected 'shortage' or 'glut'"):
        o.probability("both")


def test_futures_are_built_once_and_start_at_the_known_rent():
    """Demand was scaled in place after the checks; it is that of a market that clears at the known rent in the first quarter."""
    draws = scenario.draws(4, 16)
    before = {name: values.copy() for name, values in draws.items()}
    f = scenario.futures(draws)
    assert not f.demand.flags.writeable
    assert simulate(f).price[0] == pytest.approx(np.full(16, scenario.known_rent()), rel=1e-9)
    assert all((draws[name] == values).all() for name, values in before.items())


def worth(base, more):
    """What `more` would be used beyond `base` through the whole loop, with common random numbers [USD]: the area under demand."""
    one, other = simulate(base), simulate(more)
    gained = (other.supply - other.idle) - (one.supply - one.idle)
    return ((one.price + other.price) / 2 * gained).sum(axis=0) * YEAR / 4 / HOUR


def shortened(futures, quarters):
    """The same futures, to a horizon."""
    cut = {"demand": np.asarray(futures.demand)[:, :quarters], "limits": np.asarray(futures.limits)[:, :quarters]}
    return replace(futures, **cut, long_run_cost=np.asarray(futures.long_run_cost)[:quarters])
