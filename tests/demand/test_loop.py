"""The closed loop: identities, limits, cobweb cycles, retirement, power, and what it says when input is wrong."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from workbench.demand.market import clearing as supply
from workbench.demand.market import loop
from workbench.demand.market.loop import Futures, simulate
from workbench.errors import InputError

UNBOUND = np.inf


def cleared(wanted, stands, spot, reference, ceiling):
    """Price at which classes of demand use what stands, at most the ceiling."""
    root = brentq(lambda x: np.log((wanted * np.exp(-spot * x)).sum() / stands), -60, 60, xtol=1e-14, rtol=1e-14)
    return min(reference * np.exp(root), ceiling)


def made(n=4, quarters=24, **changed):
    """A market at rest: one class of elasticity 1 that wants at its cost of 2 USD what stands, no failures, nothing short."""
    given = {
        "demand": np.full((1, quarters, n), 1e6),
        "elasticity": 1.0,
        "contracted": 0.0,
        "reference_price": 2.0,
        "long_run_cost": 2.0,
        "installed": np.full((1, n), 1e6),
        "shipping": np.zeros((1, n)),
        "limits": UNBOUND,
        "draw": 1000.0,
        "draw_decline": 0.0,
        "power": 1e15,
        "power_coming": 0.0,
        "power_lead": 12.0,
        "chip_lead": 4.0,
        "mean_life": 1e9,
        "growth": 0.0,
        "chip_response": 1.0,
        "power_response": 1.0,
        "limit_response": 0.0,
        "extrapolation": 1.0,
    }
    return Futures(**given | changed)


def many(seed, n=64, quarters=20):
    """Futures in which everything happens: growth, shocks, gluts, limits, failures, power short, contracts."""
    r = np.random.default_rng(seed)

    def u(low, high, *shape):
        return r.uniform(low, high, (*shape, n))

    t = np.arange(quarters)[:, None]
    old, draw, decline = 1e5 * u(0.5, 2, 6), u(700, 900), u(0.02, 0.1)
    load = 1.15 * (old * draw * np.exp(decline * np.arange(5, -1, -1)[:, None])).sum(axis=0)
    walk = np.cumsum(r.normal(0, 0.15, (3, quarters, n)), axis=1)
    return made(
        n,
        quarters,
        demand=1e6 * u(0.1, 0.6, 3, 1) * np.exp(u(-0.1, 0.3, 3, 1) * t + walk),
        elasticity=u(0.2, 1.8, 3),
        contracted=u(0, 0.7, 3),
        long_run_cost=u(1, 3) * np.exp(-0.07 * t),
        installed=old,
        shipping=1e5 * u(0, 2, 5),
        limits=1e5 * u(0.5, 3, 4, 1) * np.exp(0.1 * t),
        draw=draw,
        draw_decline=decline,
        power=load * u(1.0, 1.5),
        power_coming=u(0, 5e8),
        power_lead=u(6, 16),
        chip_lead=u(2, 6),
        mean_life=u(10, 24),
        chip_response=u(0, 2),
        power_response=u(0, 2),
        limit_response=u(0, 0.1),
        extrapolation=u(0, 1),
        growth=u(0, 0.2),
        cancelled=u(0, 0.5),
        contract_quarters=u(1, 12),
        ceiling=u(10, 50),
    )


def plain(f, i):
    """The loop of future `i`, quarter by quarter as it is written down: price, supply, code of what binds, idle."""
    q, n = f.shape
    x = {}
    for name, value in vars(f).items():
        axes = len(loop.SHAPES.get(name, ()))
        v = np.reshape(value, (1,) * (axes + 1 - np.ndim(value)) + np.shape(value))
        x[name] = np.broadcast_to(v, (*v.shape[:-1], n))[..., i] if axes else float(np.broadcast_to(v, n)[i])
    demand_, limits, cost = (np.broadcast_to(x[k], (*x[k].shape[:-1], q)) for k in ("demand", "limits", "long_run_cost"))
    made = {t - len(x["installed"]) + 1: units for t, units in enumerate(x["installed"])}  # units by the quarter in which they came
    shipping = dict(enumerate(np.atleast_1d(x["shipping"])))
    lead, ref, life, pue = x["chip_lead"], x["reference_price"], x["mean_life"], x["pue"]
    running, keeping = pue * x["electricity_usd_per_kwh"] / 1e3, (pue * x["electricity_usd_per_kwh"] + x["space_usd_per_kwh"]) / 1e3
    power, asked, backlog, waiting, room, contract, growth = x["power"] / pue, 0.0, 0.0, 0.0, 1.0, 0.0, x["growth"]
    coming = np.full(3, x["power_coming"] / pue / 3)
    ordered, secured, oldest, placed, seen = sum(shipping.values()), power + coming.sum(), min(made), [], None
    before = sum(units * supply.survival(-t, life) for t, units in made.items())
    for t in range(q):
        here = {age: units * supply.survival(t + 1 - age, life) for age, units in made.items()}
        draw = {age: x["draw"] * np.exp(-x["draw_decline"] * age) for age in (*made, t + 1)}
        # power: three stages, each passing on its share; then what is due ships under the limits and is deployed under power
        passed = coming * 3 / x["power_lead"]
        power, coming = power + passed[2], coming - passed + [asked, *passed[:2]]
        share = lead % 1
        due = [placed[t - int(lead) - late] if t - int(lead) - late >= 0 else 0.0 for late in (0, 1)]
        backlog += due[0] * (1 - share) + due[1] * share + shipping.get(t, 0.0)
        allowed = limits[:, t] * room
        binds = 1 + int(np.argmin(allowed)) if allowed.min() < backlog else 0
        shipped = min(backlog, allowed.min())
        backlog, waiting = backlog - shipped, waiting + shipped
        fits = max(power - sum(here[age] * draw[age] for age in here), 0.0) / draw[t + 1]
        short, made[t + 1] = waiting > fits, min(waiting, fits)
        waiting, ordered, stands = waiting - made[t + 1], ordered - made[t + 1], sum(here.values()) + made[t + 1]
        load = sum(here[age] * draw[age] for age in here) + made[t + 1] * draw[t + 1]
        # the price that clears, or the cost of running what stands
        wanted = demand_[:, t] * np.exp(-x["elasticity"] * x["contracted"] * contract)
        spot = x["elasticity"] * (1 - x["contracted"])
        price = cleared(wanted, stands, spot, ref, x["ceiling"])
        price, free = max(price, load * running / stands), price * stands >= load * running
        idle = 0.0 if free else stands - (wanted * (price / ref) ** -spot).sum()
        yield price, stands, loop.POWER if short else binds, idle
        # the oldest vintage goes
        drawn = x["draw"] * np.exp(-x["draw_decline"] * oldest)
        if oldest <= t and (drawn * keeping > price or (short and drawn > x["swap_ratio"] * draw[t + 1])):
            made[oldest], oldest = 0.0, oldest + 1
        # orders and power for the ends of their lead times
        fair, gap = np.log((wanted * (cost[t] / ref) ** -spot).sum()), np.log(price / cost[t])
        growth += 0.0 if seen is None else (fair - seen - growth) / x["memory"]
        lost = (before - sum(here.values())) * lead
        order = max(stands * np.exp(x["extrapolation"] * lead * growth + x["chip_response"] * gap) - stands - ordered + lost, 0.0)
        ahead = (x["extrapolation"] * growth - x["draw_decline"]) * x["power_lead"] + x["power_response"] * gap
        asked = max((load + waiting * draw[t + 1]) * np.exp(ahead) - secured, 0.0) * (1 - x["cancelled"])
        placed, ordered, secured, seen, before = [*placed, order], ordered + order, secured + asked, fair, stands
        room *= np.exp(x["limit_response"] * (contract - np.log(cost[t] / ref)))
        contract += (np.log(price / ref) - contract) / x["contract_quarters"]


@pytest.mark.parametrize(("seed", "asked"), [(3, 1.0), (11, 1.0), (5, 0.05)])
def test_the_loop_is_what_is_written_down(seed, asked):
    f = many(seed, n=8)
    f = replace(f, demand=np.asarray(f.demand) * asked, swap_ratio=1.2)
    o = simulate(f)
    for i in range(8):
        price, stands, binds, idle = np.array(list(plain(f, i))).T
        assert o.price[:, i] == pytest.approx(price, rel=1e-8)
        assert o.supply[:, i] == pytest.approx(stands, rel=1e-8)
        assert o.idle[:, i] == pytest.approx(idle, rel=1e-6, abs=1e-3)
        assert o.binding[:, i].tolist() == binds.tolist()
    assert set(o.binding.ravel()) >= ({0, loop.POWER} if asked == 1 else {0})
    assert (o.idle > 0).any() == (asked < 1)


def unserved(o):
    """Units wanted at the long-run cost beyond those that stand."""
    return np.maximum(o.demand - o.supply, 0.0)


def off(o):
    """Share of the quarters in which the price is more than a fifth off the long-run cost, by future."""
    return np.mean(np.abs(o.price / o.long_run_cost - 1) > 0.2, axis=0)


def test_a_market_at_rest_stays_there():
    o = simulate(made())
    assert o.price == pytest.approx(np.full((24, 4), 2.0), rel=1e-12)
    assert o.supply == pytest.approx(np.full((24, 4), 1e6), rel=1e-9)
    assert not o.binding.any()
    assert unserved(o).sum(axis=0) == pytest.approx(np.zeros(4), abs=1e-3)
    assert off(o).tolist() == [0, 0, 0, 0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_nothing_is_negative_and_books_balance(seed):
    f = many(seed)
    o = simulate(f)
    for field in fields(o):
        value = getattr(o, field.name)
        assert np.isfinite(value).all(), field.name
        assert (value >= 0).all(), field.name
    assert (o.idle <= o.supply).all()
    assert (o.price <= np.asarray(f.ceiling) * (1 + 1e-12)).all()
    assert np.all((o.idle == 0) | (o.price < o.long_run_cost))  # idle at the marginal cost of operation
    # power never runs more than is energised: the newest draw is the least that anything takes
    newest = np.asarray(f.draw) * np.exp(-np.asarray(f.draw_decline) * np.arange(1, 21)[:, None])
    assert (o.supply * newest * 1.15 <= o.power * (1 + 1e-9)).all()


@pytest.mark.parametrize("quarter", [0, 7])
def test_prices_are_those_that_clear(quarter):
    """One quarter of the loop is `clear`: at the start, and later with contracts that have followed."""
    f = many(3)
    o = simulate(f)
    if quarter == 0:
        wanted = f.demand[:, 0]
    else:
        followed = np.zeros(64)
        for t in range(quarter):
            followed += (np.log(o.price[t] / 2.0) - followed) / f.contract_quarters
        wanted = f.demand[:, quarter] * np.exp(-f.elasticity * f.contracted * followed)
    spot, ceiling = np.broadcast_to(f.elasticity * (1 - f.contracted), wanted.shape), np.broadcast_to(f.ceiling, 64)
    busy = np.flatnonzero(o.idle[quarter] == 0)
    prices = [cleared(wanted[:, i], o.supply[quarter][i], spot[:, i], 2.0, ceiling[i]) for i in busy]
    assert o.price[quarter][busy] == pytest.approx(np.array(prices), rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.floats(1.01, 3))
def test_more_supply_never_raises_the_price(seed, more):
    """Of the quarter, and of every later one where nobody orders on the price."""
    f = replace(many(seed), chip_response=0.0, power_response=0.0, limit_response=0.0, chip_lead=40.0, draw_decline=0.05)
    f = replace(f, contracted=0.0, power=1e15, space_usd_per_kwh=0.0, electricity_usd_per_kwh=0.0)
    more_of_it = replace(f, installed=np.asarray(f.installed) * more, shipping=np.asarray(f.shipping) * more, limits=np.inf)
    before, after = simulate(replace(f, limits=np.inf)), simulate(more_of_it)
    assert (after.price <= before.price * (1 + 1e-9)).all()
    assert (after.supply >= before.supply * (1 - 1e-9)).all()


def test_without_constraint_the_price_falls_to_the_floor():
    o = simulate(made(installed=np.full((1, 4), 1e9), elasticity=0.5, space_usd_per_kwh=0.0))
    floor = 1.15 * 0.08  # power of a unit for an hour
    assert o.price == pytest.approx(np.full((24, 4), floor), rel=1e-12)
    used = 1e6 * (floor / 2) ** -0.5
    assert o.idle[0] == pytest.approx(np.full(4, 1e9 - used), rel=1e-9)


def test_at_rest_a_shortage_is_built_away():
    """Where the response is the elasticity, what is ordered clears at the long-run cost one lead time later."""
    o = simulate(made(demand=np.full((1, 24, 4), 1.5e6)))
    assert o.price[:4] == pytest.approx(np.full((4, 4), 3.0), rel=1e-9)
    assert o.price[4:] == pytest.approx(np.full((20, 4), 2.0), rel=1e-9)
    assert unserved(o)[0] == pytest.approx(np.full(4, 5e5), rel=1e-9)
    assert unserved(o).sum(axis=0) == pytest.approx(np.full(4, 4 * 5e5), rel=1e-9)  # four quarters of half a million
    assert off(o) == pytest.approx(np.full(4, 4 / 24))
    slower = simulate(made(demand=np.full((1, 24, 4), 1.5e6), chip_lead=4.5))
    assert slower.supply[4] == pytest.approx(np.full(4, 1.25e6), rel=1e-9)  # half of it a quarter later


@pytest.mark.parametrize(("response", "cycles"), [(0.5, False), (0.9, False), (1.3, True), (1.8, True)])
def test_cobweb_cycles_where_the_response_exceeds_the_elasticity(response, cycles):
    """On a growing path orders stay positive, and a deviation k returns after a lead time as (1 - response / elasticity) k."""
    lead, growth, quarters = 4, 0.2, 24
    t = np.arange(quarters)[:, None]
    stands = 1e6 * np.exp(growth * np.arange(lead))
    off = 1.02
    f = made(
        1, quarters, demand=1e6 * np.exp(growth * t)[None], growth=growth, chip_response=response,
        installed=np.array([[off * stands[0]]]), shipping=np.concatenate([[0.0], off * np.diff(stands)])[:, None],
    )  # fmt: skip
    o = simulate(f)
    deviation = np.log(o.supply[:, 0] / 1e6) - growth * t[:, 0]
    # memory of growth is exogenous here, so that the map is exact to first order
    measured = deviation[lead : 2 * lead] / deviation[:lead]
    assert measured == pytest.approx(np.full(lead, 1 - response), abs=0.05)
    turns = np.sign(deviation[lead : 2 * lead]) != np.sign(deviation[:lead])
    assert turns.all() == cycles
    assert bool(np.diff(np.signbit(np.log(o.price / o.long_run_cost)), axis=0).any()) == cycles


def test_power_holds_back_what_has_shipped():
    f = made(demand=np.full((1, 24, 4), 3e6), power=1.15e9, power_lead=8.0)
    o = simulate(f)
    assert o.supply[:2] == pytest.approx(np.full((2, 4), 1e6), rel=1e-9)
    assert (o.binding[4:9] == loop.POWER).all()
    assert (o.waiting[5] > 5e5).all()
    assert (o.supply[-1] > 2e6).all()  # it comes in the end
    cancelled = simulate(replace(f, cancelled=0.5))
    assert (cancelled.power[12] < o.power[12]).all()
    added = simulate(replace(f, power_added=np.eye(24)[4][:, None] * 1.15e9))
    assert added.supply[4] - o.supply[4] == pytest.approx(np.full(4, 1e6), rel=1e-6)


def test_each_limit_binds_under_its_name():
    for code, name in enumerate(supply.LIMITS, start=1):
        limits = np.full((4, 1, 1), np.inf)
        limits[code - 1] = 1e4
        o = simulate(made(demand=np.full((1, 24, 4), 3e6), limits=limits))
        assert (o.binding[4:] == code).all()
        assert np.diff(o.supply[4:], axis=0) == pytest.approx(np.full((19, 4), 1e4), rel=1e-6)
        assert supply.BINDING[code] == name


def test_survival_is_that_of_supply():
    f = made(
        2, 12, chip_response=0.0, extrapolation=0.0, chip_lead=40.0, mean_life=np.array([8.0, 20.0]), electricity_usd_per_kwh=0.0,
        space_usd_per_kwh=0.0, installed=np.array([[1e5], [2e5], [3e5]]),
    )  # fmt: skip
    o = simulate(f)
    ages = np.arange(3, 0, -1)[:, None] + np.arange(12)
    for i, life in enumerate((8.0, 20.0)):
        expected = (np.array([1e5, 2e5, 3e5])[:, None] * supply.survival(ages, life)).sum(axis=0)
        assert o.supply[:, i] == pytest.approx(expected, rel=1e-12)


def test_a_vintage_goes_when_its_rent_pays_neither_power_nor_space():
    # draw doubles with each of four steps into the past: keeping the oldest costs .97 x 16 times its power
    f = made(
        1, 8, chip_lead=40.0, chip_response=0.0, extrapolation=0.0, draw_decline=np.log(2), installed=np.full((5, 1), 2e5),
        space_usd_per_kwh=0.15, swap_ratio=np.inf, demand=np.full((1, 8, 1), 1e6),
    )  # fmt: skip
    o = simulate(f)
    cost = (1.15 * 0.08 + 0.15) * 2.0 ** np.arange(4, -1, -1)  # of the five vintages, at 1 kW for the newest [USD/h]
    assert cost[0] > 2.0 > cost[1]
    assert o.supply[0] == pytest.approx(1e6)
    assert o.supply[1:] == pytest.approx(np.full((7, 1), 8e5))  # the oldest alone; the price rises to 2.5
    assert o.price[-1] == pytest.approx(2.5)


def test_short_power_makes_new_units_take_the_place_of_old_ones():
    f = made(1, 16, demand=np.full((1, 16, 1), 4e6), draw_decline=0.1, installed=np.full((8, 1), 1.25e5), power=1.6e9, power_response=0.0)
    f = replace(f, power_lead=400.0, cancelled=1.0, swap_ratio=1.5)
    swapped, kept = simulate(f), simulate(replace(f, swap_ratio=np.inf))
    assert (swapped.binding[6:] == loop.POWER).all()
    assert (swapped.supply[-1] > kept.supply[-1] * 1.05).all()  # the same power does more
    assert swapped.power == pytest.approx(kept.power)


def test_blocks_change_nothing(monkeypatch):
    f = many(5, n=40)
    whole = simulate(f)
    monkeypatch.setattr(loop, "BLOCK", 16)
    parts = simulate(f)
    for field in fields(whole):
        assert getattr(parts, field.name) == pytest.approx(getattr(whole, field.name), rel=1e-9), field.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chip_lead": -1.0}, "chip_lead = -1: expected 1 or more and at most 40"),
        ({"power_lead": 2.0}, "power_lead = 2: expected 3 or more and at most 400"),
        ({"elasticity": -0.5}, "elasticity = -0.5: expected 0 or more"),
        ({"contracted": 1.5}, "contracted = 1.5: expected 0 or more and at most 1"),
        ({"cancelled": 2.0}, "cancelled = 2: expected 0 or more and at most 1"),
        ({"pue": 0.9}, "pue = 0.9: expected 1 or more and at most 10"),
        ({"demand": np.ones((1, 24, 4)) * -1}, r"demand\[0, 0, 0\] = -1: expected more than 0"),
        ({"demand": np.full((1, 24, 4), np.nan)}, r"demand\[0, 0, 0\] = nan: expected"),
        ({"demand": np.ones((24, 4))}, "demand: expected shape"),
        ({"installed": np.zeros((1, 4))}, "installed: expected units in every future"),
        ({"installed": np.array([1e6, 1e6, 0, 1e6])}, "installed: expected units in every future"),
        ({"chip_response": np.inf}, "chip_response = inf: expected 0 or more"),
        ({"memory": "4"}, "memory = '4': expected a number"),
        ({"limits": np.ones((3, 24, 4))}, r"limits: expected shape \(limit, quarter, future\)"),
        ({"draw": np.ones(3)}, r"demand of shape \(4,\) and draw of shape \(3,\) do not broadcast"),
        ({"long_run_cost": 0.0}, "long_run_cost"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(InputError, match=message):
        made(**change)


def test_futures_cannot_be_changed_and_take_whatever_broadcasts():
    given = np.full((1, 24, 1), 1e6)
    f = made(1, demand=given, reference_price=[2.0, 3.0], long_run_cost=[2.0, 3.0])
    assert f.shape == (24, 2)
    with pytest.raises(ValueError, match="read-only"):
        f.demand[0] *= 2
    given *= 1  # the caller's own array is left as it was
    together = simulate(f)
    for i, price in enumerate((2.0, 3.0)):
        alone = simulate(made(1, reference_price=price, long_run_cost=price))
        assert together.price[:, [i]] == pytest.approx(alone.price, rel=1e-12)


def test_a_market_in_which_nothing_is_left_is_refused():
    with pytest.raises(InputError, match="mean_life: nothing stands in quarter 5"):
        simulate(made(mean_life=1.0, limits=0.0))


def test_demand_that_answers_to_no_price_is_refused():
    with pytest.raises(InputError, match="elasticity: expected some demand that answers to price"):
        made(elasticity=0.0)
