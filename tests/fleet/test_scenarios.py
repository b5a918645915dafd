"""First orders for several futures: by hand, in the limits, and in the order that costs must have."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linprog

from fleet.test_allocate import one, problem
from workbench import fleet
from workbench.errors import InputError
from workbench.fleet import programme
from workbench.units import YEAR


def three(f, demand=(0.6, 1.0, 1.6), price=(1.2, 1.0, 0.8)):
    """A fleet with low, middle and high demand from the second period on, and prices that fall where demand is high."""
    later = np.arange(np.shape(f.demand)[-1])
    return [
        dataclasses.replace(f, demand=f.demand * d**later, price=f.price * np.where(later > 0, p, 1.0))
        for d, p in zip(demand, price, strict=True)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_one_scenario_is_the_plain_plan(seed):
    f = problem(seed, vendor=("a", "a", "b", "c"), vendor_share=0.6, resale=9e3, budget=4e5)
    plan, both = fleet.allocate(f), fleet.two_stage([f], [1.0])
    for cost in (both.cost, both.wait_and_see, both.expected_value, both.committed, both.plans[0].cost):
        assert cost == pytest.approx(plan.cost, rel=1e-8)
    for name, shadow in both.plans[0].shadow.items():
        assert shadow == pytest.approx(plan.shadow[name], rel=1e-6, abs=1e-6), name


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.floats(0.05, 0.9))
def test_costs_stand_in_their_order(seed, likely):
    scenarios = three(problem(seed, resale=9e3, vendor=("a", "a", "b", "c"), vendor_share=0.6))
    p = np.array([likely, (1 - likely) / 2, (1 - likely) / 2])
    both = fleet.two_stage(scenarios, p)
    slack = 1e-7 * both.cost
    assert both.wait_and_see <= both.cost + slack
    assert both.cost <= both.expected_value + slack
    assert both.cost <= both.committed + slack
    assert both.wait_and_see == pytest.approx(p @ [fleet.allocate(f).cost for f in scenarios], rel=1e-9)
    assert both.cost == pytest.approx(p @ [plan.cost for plan in both.plans], rel=1e-9)
    for plan in both.plans:
        assert plan.bought[..., 0] == pytest.approx(both.plans[0].bought[..., 0], abs=1e-9)
        assert plan.retired[..., 0] == pytest.approx(both.plans[0].retired[..., 0], abs=1e-6)


@pytest.mark.parametrize("likely", [0.3, 0.5, 0.8])
def test_a_newsvendor_of_two_scenarios_by_hand(likely):
    # one period, 5 or 9 wanted, a chip for 20,000 USD, a unit left undone costs `short`: order 9 where P(9) > 20,000 / short
    short, price = 1e-3 * YEAR, 2e4
    scenarios = [one(demand=[[d]], value=1e-3, installed=0.0, power=0.0, idle_power=0.0, price=price, supply=99.0) for d in (5.0, 9.0)]
    both = fleet.two_stage(scenarios, [1 - likely, likely])
    order = 9.0 if likely * short > price else 5.0
    assert both.plans[0].bought.sum() == both.plans[1].bought.sum() == pytest.approx(order)
    assert both.cost == pytest.approx(order * price + likely * (9 - order) * short)
    assert both.wait_and_see == pytest.approx((5 * (1 - likely) + 9 * likely) * price)
    mean = 5 * (1 - likely) + 9 * likely  # what one would order who knows the mean only
    assert both.expected_value == pytest.approx(mean * price + likely * (9 - mean) * short, rel=1e-8)
    assert both.perfect_information == pytest.approx(both.cost - both.wait_and_see)
    assert both.stochastic_solution == pytest.approx(both.expected_value - both.cost)


def test_waiting_is_worth_what_later_orders_can_follow():
    # 10 wanted now; then 10 or 20: whoever waits orders 10 more only where they are wanted, whoever signs now has them in both
    given = {"value": np.inf, "installed": 0.0, "power": 0.0, "idle_power": 0.0, "price": 2e4, "supply": 99.0}
    scenarios = [one(demand=[[10.0, d]], **given) for d in (10.0, 20.0)]
    both = fleet.two_stage(scenarios, [0.75, 0.25])
    assert both.waiting == pytest.approx(0.75 * 10 * 2e4)
    assert both.perfect_information == pytest.approx(0, abs=1e-6)
    # with a delay of a period the second period's chips are ordered before it is known
    late = fleet.two_stage([dataclasses.replace(f, delay=1, installed=10.0) for f in scenarios], [0.75, 0.25])
    assert late.cost == pytest.approx(10 * 2e4)
    assert late.waiting == pytest.approx(0, abs=1e-6)
    assert late.perfect_information == pytest.approx(0.75 * 10 * 2e4)


@pytest.mark.parametrize(
    ("scenarios", "probability", "message"),
    [
        ([one(value=1.0)], [0.5], "probability = .*they add up to 1"),
        ([one(value=1.0)], [0.5, 0.5], "expected one of each of 1 scenarios"),
        ([one(value=1.0)], [0.0], "probability.* = 0"),
        ([one(value=1.0), one()], [0.5, 0.5], r"scenarios\[1\]: no plan keeps every limit.*demand \(chat, period 1\) by 3 of 9"),
        ([one(value=1.0), one(value=1.0, rate=0.1)], [0.5, 0.5], r"scenarios\[1\].rate = 0.1: expected that of all, 0.0"),
        ([one(value=1.0), one(value=1.0, demand=[[5.0]])], [0.5, 0.5], r"scenarios\[1\]: another number of periods than in the first"),
        ([one(value=1.0), one(value=1.0, supply=1.0)], [0.5, 0.5], r"scenarios\[1\]: other things can be bought"),
        (
            [one(value=1.0, supply=9.0, vendor_share=0.5, vendor=("a",), budget=b, demand=[[d, d]]) for b, d in ((1, 1), (2, 2))],
            [0.5, 0.5],
            "vendor_share = 0.5: 1 vendors",
        ),
    ],
)
def test_scenarios_that_do_not_match_are_named(scenarios, probability, message):
    with pytest.raises(InputError, match=message):
        fleet.two_stage(scenarios, probability)


def test_orders_that_suit_no_scenario_in_common_are_named():
    # all must be sold in the first scenario, whose site has no power for what stands; in the second the work must be done
    scenarios = [one(demand=[[d, d]], power_limit=w, supply=[[9.0, 0.0]], price=1.0) for d, w in ((1e-9, 0.01), (9.0, np.inf))]
    with pytest.raises(InputError, match="each scenario has a plan, but no first orders suit all"):
        fleet.two_stage(scenarios, [0.5, 0.5])


def test_shared_orders_are_what_rows_of_equality_would_give():
    """The textbook's form: every scenario has orders of its own, and rows that make those of the first period equal."""
    scenarios, p = three(problem(7, vendor=("a", "a", "b", "c"), vendor_share=0.6, resale=9e3)), np.array([0.2, 0.5, 0.3])
    built = [programme.build(f) for f in scenarios]
    first = np.concatenate([b[b >= 0] for b in (built[0].columns[name].values[..., 0] for name in ("bought", "retired", "stock"))])
    pick = sparse.csr_array((np.ones(first.size), (np.arange(first.size), first)), shape=(first.size, built[0].n))
    equal = sparse.block_array([[pick, -pick, None], [pick, None, -pick]])
    matrix, cost = sparse.block_diag([b.matrix for b in built]), np.concatenate([share * b.cost for share, b in zip(p, built, strict=True)])
    found = linprog(cost, A_ub=matrix, b_ub=np.concatenate([b.limit for b in built]), A_eq=equal, b_eq=np.zeros(2 * first.size))
    assert fleet.two_stage(scenarios, p).cost == pytest.approx(found.fun, rel=1e-9)


@pytest.mark.parametrize("what", ["power_limit", "demand"])
def test_prices_of_a_scenario_are_finite_differences(what):
    scenarios, p = three(problem(2)), [0.2, 0.5, 0.3]
    shadow = fleet.two_stage(scenarios, p).plans[2].shadow[what.removesuffix("_limit")]
    at = tuple(int(i) for i in np.unravel_index(np.abs(shadow).argmax(), shadow.shape))
    base = np.array(np.broadcast_to(np.asarray(getattr(scenarios[2], what), dtype=float), shadow.shape))
    costs = []
    for way in (-1, 1):
        moved = base.copy()
        moved[at] *= 1 + way * 1e-4
        costs.append(fleet.two_stage([*scenarios[:2], dataclasses.replace(scenarios[2], **{what: moved})], p).cost)
    slope = np.diff(costs)[0] / (2e-4 * base[at])
    assert slope == pytest.approx(0.3 * shadow[at] * (1 if what == "demand" else -1), rel=1e-5)
