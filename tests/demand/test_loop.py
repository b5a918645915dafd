"""The closed loop: identities, limits, cobweb cycles, retirement, power, and what it says when input is wrong."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.demand.market import clearing as supply
from workbench.demand.market import loop
from workbench.demand.market.loop import Futures, simulate
from workbench.errors import InputError

UNBOUND = np.inf


def made(n=4, quarters=24, **changed):
    """A market at rest: one class of elasticity 1 that wants at its cost of 2 USD what stands, no failures, nothing short."""
    given = {
        "demand": np.full((1, quarters, n), 1e6),
        "elasticity": 1.0,
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
        adjustment=u(0.2, 1),
        entry=u(0, 0.05),
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
    """The loop of future `i`, quarter by quarter as it is written down: rent, supply, code of what binds, wanted, booked."""
    q, n = f.shape
    x = {}
    for name, value in vars(f).items():
        axes = len(loop.INPUTS[name]) - 1
        v = np.reshape(value, (1,) * (axes + 1 - np.ndim(value)) + np.shape(value))
        x[name] = np.broadcast_to(v, (*v.shape[:-1], n))[..., i] if axes else float(np.broadcast_to(v, n)[i])
    demand_, limits, cost = (np.broadcast_to(x[k], (*x[k].shape[:-1], q)) for k in ("demand", "limits", "long_run_cost"))
    made = {t - len(x["installed"]) + 1: units for t, units in enumerate(x["installed"])}  # units by the quarter in which they came
    shipping = dict(enumerate(np.atleast_1d(x["shipping"])))
    lead, ref, life, pue = x["chip_lead"], x["reference_price"], x["mean_life"], x["pue"]
    later = max(round(float(np.mean(f.chip_lead))), 1)
    running, keeping = pue * x["electricity_usd_per_kwh"] / 1e3, (pue * x["electricity_usd_per_kwh"] + x["space_usd_per_kwh"]) / 1e3
    power, asked, backlog, waiting, room, growth = x["power"] / pue, 0.0, 0.0, 0.0, 1.0, x["growth"]
    rent, booked, entered = ref, x["booked"], 0.0
    coming = np.full(3, x["power_coming"] / pue / 3)
    ordered, secured, oldest, placed, seen = sum(shipping.values()), power + coming.sum(), min(made), [], None
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
        # what is wanted at the going rent, and the step to the price that would clear
        by_class = demand_[:, t] * (rent / ref) ** -x["elasticity"]
        wanted = by_class.sum()
        step = np.log(wanted / stands) * wanted / (x["elasticity"] * by_class).sum()
        cheapest = load * running / stands
        clearing = np.clip(rent * np.exp(min(step, 3.0)), cheapest, max(x["ceiling"], cheapest))
        booked += (rent - booked) * min(made[t + 1] / stands + 1 / x["contract_quarters"], 1.0)
        code = loop.POWER if short else binds
        yield rent, stands, code, wanted, booked, clearing
        # the oldest vintage goes
        drawn = x["draw"] * np.exp(-x["draw_decline"] * oldest)
        if oldest <= t and (drawn * keeping > clearing or (short and drawn > x["swap_ratio"] * draw[t + 1])):
            made[oldest], oldest = 0.0, oldest + 1
        # orders and power for the ends of their lead times
        fair, gap = np.log((demand_[:, t] * (cost[t] / ref) ** -x["elasticity"]).sum()), np.log(rent / cost[t])
        growth += 0.0 if seen is None else (fair - seen - growth) / x["memory"]
        left = sum(units * supply.survival(t + 1 - age + later, life) for age, units in made.items())
        lost = (stands - left) * lead / later
        aim = min(x["extrapolation"] * lead * growth + x["chip_response"] * gap + entered, loop.MOST_ORDERED)
        order = max(stands * np.exp(aim) - stands - ordered + lost, 0.0)
        ahead = (x["extrapolation"] * growth - x["draw_decline"]) * x["power_lead"] + x["power_response"] * gap + entered
        asked = max((load + waiting * draw[t + 1]) * np.exp(min(ahead, loop.MOST_ORDERED)) - secured, 0.0) * (1 - x["cancelled"])
        placed, ordered, secured, seen = [*placed, order], ordered + order, secured + asked, fair
        entered += x["entry"] * gap * (code == 0)
        room *= np.exp(x["limit_response"] * gap)
        rent = np.clip(rent * np.exp(x["adjustment"] * step), cheapest, max(x["ceiling"], cheapest))


@pytest.mark.parametrize(("seed", "asked"), [(3, 1.0), (11, 1.0), (5, 0.05)])
def test_the_loop_is_what_is_written_down(seed, asked):
    f = many(seed, n=8)
    f = replace(f, demand=np.asarray(f.demand) * asked, swap_ratio=1.2)
    o = simulate(f)
    for i in range(8):
        rent, stands, binds, wanted, booked, clearing = np.array(list(plain(f, i))).T
        assert o.rent[:, i] == pytest.approx(rent, rel=1e-8)
        assert o.supply[:, i] == pytest.approx(stands, rel=1e-8)
        assert o.wanted[:, i] == pytest.approx(wanted, rel=1e-8)
        assert o.booked[:, i] == pytest.approx(booked, rel=1e-8)
        assert o.clearing[:, i] == pytest.approx(clearing, rel=1e-8)
        assert o.binding[:, i].tolist() == binds.tolist()
    assert set(o.binding.ravel()) >= ({0, loop.POWER} if asked == 1 else {0})
    assert (o.idle > 0).any()


def test_a_market_at_rest_stays_there():
    o = simulate(made())
    assert o.rent == pytest.approx(np.full((24, 4), 2.0), rel=1e-12)
    assert o.supply == pytest.approx(np.full((24, 4), 1e6), rel=1e-9)
    assert o.scarcity_premium == pytest.approx(np.ones((24, 4)), rel=1e-9)
    assert o.shortfall.max() == pytest.approx(0, abs=1e-9)
    assert not o.binding.any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_nothing_is_negative_and_books_balance(seed):
    f = many(seed)
    o = simulate(f)
    for field in fields(o):
        value = getattr(o, field.name)
        assert np.isfinite(value).all(), field.name
        assert (value >= 0).all(), field.name
    assert o.supply - o.idle == pytest.approx(o.wanted * (1 - o.shortfall), rel=1e-9)  # what is used, said in two ways
    assert np.all((o.idle == 0) | (o.shortfall == 0))
    low, high = np.minimum.accumulate(np.minimum(o.rent, f.booked)), np.maximum.accumulate(np.maximum(o.rent, f.booked))
    assert np.all((o.booked >= low * (1 - 1e-12)) & (o.booked <= high * (1 + 1e-12)))  # a mean of rents that were
    # power never runs more than is energised: the newest draw is the least that anything takes
    newest = np.asarray(f.draw) * np.exp(-np.asarray(f.draw_decline) * np.arange(1, 21)[:, None])
    assert (o.supply * newest * 1.15 <= o.power * (1 + 1e-9)).all()
    assert (o.drawn <= o.power * (1 + 1e-9)).all()


def test_rents_move_to_the_price_that_clears():
    """With nobody building, at once where contracts follow at once, and by the part that they move else."""
    still = {"demand": np.full((1, 24, 4), 1.5e6), "chip_lead": 40.0, "chip_response": 0.0, "extrapolation": 0.0}
    at_once, slowly = simulate(made(**still)), simulate(made(**still, adjustment=0.25))
    assert at_once.clearing == pytest.approx(np.full((24, 4), 3.0), rel=1e-9)
    assert at_once.rent[1:] == pytest.approx(np.full((23, 4), 3.0), rel=1e-9)
    assert at_once.shortfall[0] == pytest.approx(np.full(4, 1 / 3))
    assert np.log(3 / slowly.rent[:9, 0]) == pytest.approx(np.log(1.5) * 0.75 ** np.arange(9), rel=1e-9)
    assert slowly.clearing == pytest.approx(np.full((24, 4), 3.0), rel=1e-9)  # spot shows at once what contracts show late


def test_contracts_in_force_follow_the_rent():
    o = simulate(made(demand=np.full((1, 24, 4), 1.5e6), chip_lead=40.0, chip_response=0.0, extrapolation=0.0, contract_quarters=8.0))
    assert 3 - o.booked[1:, 0] == pytest.approx(0.875 ** np.arange(1, 24), rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.floats(1.01, 3))
def test_more_supply_never_raises_the_price_that_clears(seed, more):
    """Where nobody orders on the price and contracts follow it at once."""
    f = replace(many(seed), chip_response=0.0, power_response=0.0, limit_response=0.0, chip_lead=40.0, draw_decline=0.05, adjustment=1.0)
    f = replace(f, entry=0.0, power=1e15, space_usd_per_kwh=0.0, electricity_usd_per_kwh=0.0, elasticity=[[0.8], [0.8], [0.8]])
    more_of_it = replace(f, installed=np.asarray(f.installed) * more, shipping=np.asarray(f.shipping) * more, limits=np.inf)
    before, after = simulate(replace(f, limits=np.inf)), simulate(more_of_it)
    assert (after.rent <= before.rent * (1 + 1e-9)).all()
    assert (after.supply >= before.supply * (1 - 1e-9)).all()


def test_without_constraint_the_price_falls_to_the_floor():
    o = simulate(made(installed=np.full((1, 4), 1e9), elasticity=0.5, space_usd_per_kwh=0.0))
    floor = 1.15 * 0.08  # power of a unit for an hour
    assert o.clearing == pytest.approx(np.full((24, 4), floor), rel=1e-12)
    assert o.rent[1:] == pytest.approx(np.full((23, 4), floor), rel=1e-12)
    used = 1e6 * (floor / 2) ** -0.5
    assert o.idle[1] == pytest.approx(np.full(4, 1e9 - used), rel=1e-9)


@pytest.mark.parametrize("growth", [0.0, 0.1])
def test_entry_brings_the_rent_back_to_the_cost(growth):
    """Limits lifted: from a shortage of a half, on a path that grows or not, planners who believe too little of growth."""
    quarters = 60
    demand = 1.5e6 * np.exp(growth * np.arange(quarters))[None, :, None] * np.ones((1, 1, 4))
    f = made(4, quarters, demand=demand, extrapolation=0.8, adjustment=0.5, entry=0.02, growth=growth, chip_response=0.8, mean_life=20.0)
    o = simulate(f)
    assert o.scarcity_premium[4].min() > 1.1
    assert o.scarcity_premium[-12:].mean(axis=0) == pytest.approx(np.ones(4), abs=0.1)
    without = simulate(replace(f, entry=0.0))
    if growth:  # what is believed too little of growth stays in the rent
        assert without.scarcity_premium[-12:].mean() > o.scarcity_premium[-12:].mean()


def test_limits_keep_the_rent_above_the_cost_and_answer_to_it():
    f = made(4, 40, demand=np.full((1, 40, 4), 3e6), limits=np.full((4, 1, 1), 2e4), adjustment=0.5)
    held, answered = simulate(f), simulate(replace(f, limit_response=0.1))
    assert held.scarcity_premium[20].min() > 1.5
    assert (answered.scarcity_premium[20] < held.scarcity_premium[20]).all()


def test_power_holds_back_what_has_shipped():
    f = made(demand=np.full((1, 24, 4), 3e6), power=1.15e9, power_lead=8.0)
    o = simulate(f)
    assert o.supply[:2] == pytest.approx(np.full((2, 4), 1e6), rel=1e-9)
    assert (o.binding[5:10] == loop.POWER).all()
    assert (o.waiting[6] > 5e5).all()
    assert (o.supply[-1] > 2e6).all()  # it comes in the end
    cancelled = simulate(replace(f, cancelled=0.5))
    assert (cancelled.power[12] < o.power[12]).all()
    added = simulate(replace(f, power_added=np.eye(24)[5][:, None] * 1.15e9))
    assert added.supply[5] - o.supply[5] == pytest.approx(np.full(4, 1e6), rel=1e-6)


def test_each_limit_binds_under_its_name():
    for code, name in enumerate(supply.LIMITS, start=1):
        limits = np.full((4, 1, 1), np.inf)
        limits[code - 1] = 1e4
        o = simulate(made(demand=np.full((1, 24, 4), 3e6), limits=limits))
        assert (o.binding[5:] == code).all()
        assert np.diff(o.supply[5:], axis=0) == pytest.approx(np.full((18, 4), 1e4), rel=1e-6)
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
    assert o.rent[-1] == pytest.approx(2.5)


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
        ({"elasticity": 0.0}, "elasticity = 0: expected more than 0"),
        ({"adjustment": 1.5}, "adjustment = 1.5: expected more than 0 and at most 1"),
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
        assert together.rent[:, [i]] == pytest.approx(alone.rent, rel=1e-12)


def test_a_market_in_which_nothing_is_left_is_refused():
    with pytest.raises(InputError, match="mean_life: nothing is left in quarter 5"):
        simulate(made(mean_life=1.0, limits=0.0))
