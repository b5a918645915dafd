"""The outlook: starts at what is known, says what is likely, binds and drives; shadow prices against differences through the loop."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from workbench import catalogue, demand
from workbench.demand.market import outlook as module
from workbench.demand.market import scenario
from workbench.demand.market.clearing import BINDING
from workbench.demand.market.loop import simulate
from workbench.errors import InputError, UnknownName
from workbench.uncertainty import Lognormal, sample
from workbench.units import HOUR, YEAR


@pytest.fixture(scope="module")
def outlook():
    return demand.outlook(quarters=12, n=2048, seed=1)


def test_it_starts_at_what_is_known(outlook):
    assert outlook.quarters[0] == scenario.newest() == "2026Q2"
    assert outlook.market.rent[0] == pytest.approx(np.full(2048, 2.65), rel=1e-9)  # H100, one year, June 2026: SemiAnalysis
    assert scenario.shipped("2026Q1").sum() == pytest.approx(19.74e6, rel=1e-3)  # Epoch AI, end of 2025, four vendors
    # after the last count, as NVIDIA's data-centre revenue: 75.2 and 89.0 over 51.2 bn USD of 2025Q3
    found = scenario.shipments()
    assert [found[q] / found["2025Q3"] for q in ("2026Q1", "2026Q2")] == pytest.approx([75.2 / 51.2, 89.0 / 51.2])
    low, high = np.quantile(outlook.given["stock_scale"], [0.05, 0.95])
    stock = catalogue.table("chip_stock").filter(quarter="2025Q4", chip="all", vendor="Nvidia")
    assert (low, high) == pytest.approx((stock["h100e_low"][0] / stock["h100e"][0], stock["h100e_high"][0] / stock["h100e"][0]), rel=0.01)
    assert scenario.rents()["2025Q4"] == 1.7  # the one-year index of October
    assert scenario.rents()["2023Q2"] == pytest.approx(9.165 / (1 + scenario.median("on_demand_premium")))  # by the hour, in its middle
    assert scenario.known_rent("2026Q2") == (2.65, pytest.approx(np.log(2.65 / 2.35)))


def test_orders_are_never_in_the_past(outlook):
    assert outlook.quarters[outlook.order_from()] == "2026Q4"  # the newest rents are of October 2026
    assert outlook.quarters[outlook.order_from("2027-02-01")] == "2027Q1"
    for today in ("2025-11-30", "2026-02-01", "2040"):
        with pytest.raises(InputError, match=f"today = {today}: expected a date from 2026Q2, the newest disclosed quarter, to 2029Q1"):
            outlook.order_from(today)


def test_power_and_memory_agree_with_what_is_published(outlook):
    """Not fitted: AI 2027 and Epoch's memory table for compute."""
    power = np.quantile(outlook.market.drawn / 1e9, [0.05, 0.95], axis=1)
    assert power[0, 6] < 60 < power[1, 6]  # AI 2027: 60 GW at the end of 2027
    supply = np.quantile(outlook.market.supply, [0.05, 0.95], axis=1)
    assert supply[0, 6] < 100e6 < supply[1, 6]  # AI 2027: 100 M H100e at the end of 2027


def test_shortfall_and_scarcity_are_distributions(outlook):
    o = outlook.market
    assert o.scarcity_premium == pytest.approx(o.rent / o.long_run_cost)
    assert ((o.shortfall >= 0) & (o.shortfall < 1)).all()
    frame = outlook.frame()
    assert set(frame["quantity"]) >= {"demand_h100e", "supply_h100e", "rent_usd_per_h", "shortfall", "scarcity_premium", "drawn_gw"}
    assert frame.filter(quarter="2028Q1")["beyond_data"].all()  # forecasts of the tables end with 2027
    assert not frame.filter(quarter="2027Q4")["beyond_data"].any()
    assert (frame["low"] <= frame["median"]).all()
    assert (frame["median"] <= frame["high"]).all()
    head = outlook.headline(9)
    assert head.height == 9
    assert set(head["binding"]) <= set(BINDING)
    assert outlook.binds().select(BINDING).sum_horizontal().to_list() == pytest.approx([1.0] * 12)


def test_revenue_by_tranche_adds_up_to_what_sellers_disclose():
    """2025 and the first half of 2026, within a quarter, nothing fitted: the share sold is between labs' use and sellers' fleets."""
    before = demand.past(n=1024)
    names, told = before.quarters, before.disclosed()
    assert set(told) == {"Microsoft", "AWS", "Oracle", "CoreWeave", "Nebius"}
    earned, disclosed = sum(before.revenue().values()), sum(told.values())
    for period, quarters in (("2025", ("2025Q1", "2025Q2", "2025Q3", "2025Q4")), ("2026H1", ("2026Q1", "2026Q2"))):
        which = [names.index(q) for q in quarters]
        ratio = np.median(earned[which].sum(axis=0)) / disclosed[which].sum()
        assert 0.75 < ratio < 1.25, period
    # CoreWeave's quarters are points of their own: 2025 is the sum of four
    coreweave = told["CoreWeave"][[names.index(f"2025Q{k}") for k in (1, 2, 3, 4)]].sum() / 4
    assert coreweave == pytest.approx(5.13e9, rel=0.01)


def test_rents_over_cost_are_those_of_2023_2025_and_2026():
    """On demand 3 to 5 times the cost in 2023; one-year contracts about it in October 2025, 1.4 to 1.6 times in mid-2026."""
    before = demand.past(n=1024)
    names, market, x = before.quarters, before.market, before.given
    premium = dict(zip(names, np.median(market.scarcity_premium, axis=1), strict=True))
    hourly = np.median(market.scarcity_premium[0] * (1 + x["on_demand_premium"]))
    assert 3 < hourly < 5
    assert premium["2025Q4"] == pytest.approx(1.0, abs=0.1)
    assert 1.35 < premium["2026Q2"] < 1.65
    assert premium["2023Q2"] > premium["2026Q2"] > premium["2025Q4"]
    assert market.shortfall[names.index("2026Q2")].min() > market.shortfall[names.index("2025Q4")].max()


def test_history_is_what_the_priors_expect():
    """Growth that does not fade before the reference explains history as the priors are: none moves far, and what ships is told better."""
    believed = scenario.inputs(8)
    x = sample(believed, 2048, 0, correlation=scenario.correlation(believed))
    told, never = scenario.learned(x, "2026Q2"), scenario.learned(x, "2024Q2")
    assert all((never[name] == x[name]).all() for name in x)  # no forecast of a year can have come true by then
    assert (told[scenario.SHOCKS] == x[scenario.SHOCKS]).all()
    for name in ("agents_demand_growth", "research_demand_growth", "demand_growth_tau", "capital_growth", "shipment_growth"):
        assert abs(np.median(told[name]) - np.median(x[name])) < 0.2 * x[name].std()
    assert told["limit_response"].std() < 0.95 * x["limit_response"].std()


def test_demand_by_class_at_a_stated_rent_and_tranches(outlook):
    futures, market = outlook.futures, outlook.market
    assert sum(outlook.demand_at(market.rent).values()) == pytest.approx(market.wanted, rel=1e-9)
    dear, cheap = (outlook.demand_at(usd)["agents"] for usd in (4.0, 2.0))
    assert cheap / dear == pytest.approx(np.broadcast_to(2.0 ** futures.elasticity[1], cheap.shape))
    with pytest.raises(InputError, match="usd_per_h = 0: expected more than 0"):
        outlook.demand_at(0.0)
    with pytest.raises(InputError, match="no demand by class"):
        demand.past(n=64).demand_at(2.0)
    sold, price = outlook.tranches()["spot"]
    assert outlook.revenue()["spot"] == pytest.approx(sold * price)
    assert price == pytest.approx(market.clearing * (1 - outlook.given["spot_discount"]))
    assert sum(hours for hours, _ in outlook.tranches().values()).max() <= (market.supply * 8766).max()


def test_scenarios_share_their_random_numbers_and_move_the_right_way(outlook):
    same = demand.outlook(quarters=12, n=2048, seed=1)
    assert np.array_equal(same.market.rent, outlook.market.rent)
    more = demand.outlook(quarters=12, n=2048, seed=1, agents_demand_growth=6.0)
    assert np.median(more.market.rent[8]) > np.median(outlook.market.rent[8])
    capital = demand.outlook(quarters=12, n=2048, seed=1, capital_headroom=Lognormal(0.3, 0.5), capital_growth=1.0)
    assert capital.binds()["capital"][2:].min() > 0.5
    assert np.median(capital.market.supply[8]) < np.median(outlook.market.supply[8])


def test_with_limits_lifted_the_rent_returns_to_the_cost_and_without_growth_it_falls():
    n = 1024
    x = scenario.draws(40, n, seed=1)
    calm = x | {scenario.SHOCKS: 0 * x[scenario.SHOCKS]}
    free, still = (simulate(replace(scenario.futures(g), limits=np.inf, power=1e30)).scarcity_premium for g in (x, calm))
    assert np.median(still[-8:]) == pytest.approx(1.0, abs=0.1)
    assert free[-4:].mean() == pytest.approx(1.0, abs=0.1)  # with shocks in the mean, which is what an entrant earns
    flat = demand.outlook(quarters=16, n=n, seed=1, demand=np.array([0.4, 0.3, 0.3])[:, None, None])
    premium = np.median(flat.market.scarcity_premium, axis=1)
    assert premium[0] > 1.3
    assert premium[6:].max() < 1.1


def test_efficiency_beyond_what_is_expected_adds_or_removes_by_the_elasticity():
    sign = {}
    for e in (0.6, 1.6):
        wanted = []
        for gain in (1.5, 6.0):
            x = scenario.draws(8, 64, seed=2, until="2024Q1", api_elasticity=e, serving_software_growth=gain, consumer_elasticity=e)
            wanted.append(np.asarray(scenario.futures(x).demand)[1, -1] / np.asarray(scenario.futures(x).demand)[1, 0])
        sign[e] = np.sign(wanted[1] - wanted[0])
    assert (sign[0.6] == -1).all()
    assert (sign[1.6] == 1).all()


def test_drivers_explain_variance_alone(outlook):
    table = outlook.drivers(8)
    assert table["scarcity"].is_sorted(descending=True)
    assert 0.3 < table["scarcity"].sum() < 1.2
    assert (table.select("gap", "scarcity").to_numpy() >= 0).all()
    assert table["input"][0] in {"research_demand_growth", "agents_demand_growth", "demand_shocks", "demand_growth_tau"}
    # of y = x1 + 2 x2 the shares are 1/5 and 4/5
    r = np.random.default_rng(0)
    a, b = r.normal(size=(2, 1 << 14))
    assert [module._explained(v, (a + 2 * b)[None], 32)[0] for v in (a, b)] == pytest.approx([0.2, 0.8], abs=0.02)


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


def test_hindcasts_hold_what_happened():
    """Made with what had been disclosed at the origin: the stock of each origin of 2024 and 2025, rents of all but the fall of 2025."""
    table = demand.hindcast(n=512).filter(pl.col("origin") >= "2024Q1")
    stock = table.filter(pl.col("what").str.starts_with("stock"))
    assert stock.height == 6
    assert stock["inside"].mean() >= 0.7
    assert stock["crps"].mean() < 0.074  # that of the local trend on the same quantity, which itself beats all simple models
    rents = table.filter(pl.col("what") == "H100 rent [USD/h]")
    assert rents["quarter"].to_list() == ["2025Q4", "2026Q1", "2026Q2"]
    assert rents["inside"].to_list() == [True, True, True]  # with the fall to 1.70 of late 2025
    assert rents["log_error"].abs().max() < np.log(2)


def test_bad_input_is_named():
    for call, kind, message in (
        (lambda: demand.outlook(n=100), InputError, "power of two"),
        (lambda: demand.outlook(n=4), InputError, "n = 4"),
        (lambda: demand.outlook(quarters=1), InputError, "quarters = 1"),
        (lambda: demand.outlook(quarters=4, n=64, chip_lead=3.0), UnknownName, "chip_lead"),
        (lambda: demand.outlook(quarters=4, n=64, seller_share=1.4), InputError, "seller_share = 1.4: expected 0 or more and at most 1"),
        (lambda: demand.outlook(quarters=4, n=64, api_elasticity=-1.0), InputError, "elasticity"),
        (lambda: demand.outlook(quarters=4, n=64, power_lead_quarters=-1.0), InputError, "power"),
        (lambda: demand.outlook(quarters=3, n=64).drivers(0), InputError, "quarter = 0"),
        (lambda: demand.outlook(quarters=3, n=64).drivers(3), InputError, "quarter = 3: expected 1 to 2"),
        (lambda: demand.outlook(n=96), InputError, "n = 96: expected 8 times a power of two"),
        (lambda: demand.outlook(quarters=4, n=64, stock_scale=np.nan), InputError, "stock_scale = nan"),
        (lambda: scenario.futures({}), InputError, "given: lacks agents_demand_growth"),
        (lambda: scenario.futures(scenario.draws(3, 2), demand=np.ones((2, 3, 2))), InputError, r"demand of shape \(2, 3, 2\)"),
        (lambda: scenario.futures(scenario.draws(3, 2), start="2024-05"), InputError, "start = 2024-05: expected a quarter"),
        (lambda: scenario.futures(scenario.draws(3, 2), start="2022Q1"), InputError, "no rent of H100 in the year before"),
        (lambda: scenario.futures(scenario.draws(3, 2), demand=-np.ones((3, 3, 2))), InputError, "demand"),
        (lambda: scenario.prior("nothing"), UnknownName, "nothing"),
        (lambda: scenario.known_rent("2022Q1"), InputError, "known: 2023Q2.*else give usd_per_h100e_hour"),
        (lambda: scenario.shipped("2020Q1"), InputError, "no counts"),
    ):
        with pytest.raises(kind, match=message):
            call()


def test_futures_are_built_once_and_start_at_the_known_rent():
    """Demand was scaled in place after the checks; it is what the last move of the rent tells, at the known rent in the first quarter."""
    draws = scenario.draws(4, 16)
    before = {name: values.copy() for name, values in draws.items()}
    f = scenario.futures(draws)
    assert not f.demand.flags.writeable
    assert simulate(f).rent[0] == pytest.approx(np.full(16, scenario.known_rent("2026Q2")[0]), rel=1e-9)
    assert all((draws[name] == values).all() for name, values in before.items())


def worth(base, more):
    """What `more` would be used beyond `base` through the whole loop, with common random numbers [USD]: the area under demand."""
    one, other = simulate(base), simulate(more)
    return ((one.clearing + other.clearing) / 2 * (other.supply - one.supply)).sum(axis=0) * YEAR / 4 / HOUR


def shortened(futures, quarters):
    """The same futures, to a horizon."""
    cut = {"demand": np.asarray(futures.demand)[:, :quarters], "limits": np.asarray(futures.limits)[:, :quarters]}
    return replace(futures, **cut, long_run_cost=np.asarray(futures.long_run_cost)[:quarters])
