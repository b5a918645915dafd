"""Orders: the newsvendor in closed form, plans that cannot be taken back, regret, and what waiting is worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.special import ndtri

from workbench import demand, fleet
from workbench.errors import InputError


def test_a_quarter_on_its_own_is_the_quantile_of_net_need():
    n = 1 << 16
    mean, deviation = 3192.0, 1181.0  # the same suit's demand: 4,095 at the ratio of .7778 by the printed table of normals
    need = np.maximum(mean + deviation * ndtri((np.arange(n) + 0.5) / n), 0)[None]
    plan = demand.order_plan(need, own_usd_per_quarter=20.0, lease_usd_per_quarter=90.0, lead=0)
    assert plan.owned[0] == pytest.approx(4095, rel=2e-3)
    assert plan.owned[0] == pytest.approx(mean + deviation * ndtri(70 / 90), rel=1e-4)
    pooled = fleet.newsvendor([mean], [deviation], 0.0, critical_ratio=70 / 90)  # the fleet's, of normals
    assert plan.owned[0] == pytest.approx(pooled.partitioned, rel=1e-4)
    assert plan.frame()["p_enough"][0] == pytest.approx(70 / 90, abs=1e-4)
    held = demand.order_plan(need, own_usd_per_quarter=20.0, lease_usd_per_quarter=90.0, lead=0, held=1000.0)
    assert held.owned[0] == pytest.approx(plan.owned[0] - 1000)
    assert demand.order_plan(need, own_usd_per_quarter=20.0, lease_usd_per_quarter=15.0, lead=0).owned[0] == 0  # leasing is cheaper
    served = demand.order_plan(need, own_usd_per_quarter=20.0, lease_usd_per_quarter=90.0, lead=0, margin_usd_per_quarter=30.0)
    assert served.owned[0] == pytest.approx(mean + deviation * ndtri(1 / 3), rel=1e-4)  # not worth a lease: 30 lost


def test_a_lease_that_is_dear_when_need_is_high_asks_for_more():
    r = np.random.default_rng(0)
    need = r.lognormal(0, 0.5, (1, 20_000))
    lease = 3 * need**1.0
    apart = demand.order_plan(need, own_usd_per_quarter=1.0, lease_usd_per_quarter=r.permutation(lease[0])[None], lead=0)
    together = demand.order_plan(need, own_usd_per_quarter=1.0, lease_usd_per_quarter=lease, lead=0)
    assert together.owned[0] > apart.owned[0] * 1.1
    best = min(np.linspace(0.5, 5, 2000), key=lambda q: together.cost_of([q]).mean())
    assert together.owned[0] == pytest.approx(best, abs=5e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_plan_that_cannot_fall_is_optimal(seed):
    """Against a linear programme over plans that never fall."""
    r = np.random.default_rng(seed)
    quarters, n, lead = 5, 7, 1
    need = r.lognormal(0, 0.8, (quarters, n)) * r.uniform(0.3, 2, (quarters, 1))
    own, lease = r.uniform(0.5, 1.5, quarters), r.uniform(0.6, 4, (quarters, n))
    plan = demand.order_plan(need, own_usd_per_quarter=own, lease_usd_per_quarter=lease, lead=lead)
    later = quarters - lead
    kept = own * np.arange(quarters, 0, -1)  # of a unit ordered for each quarter, which pays its own annuity to the end
    held = kept - np.append(kept[1:], 0.0)  # by units owned in a quarter: less those that come a quarter later
    cost = np.concatenate([held[lead:], (lease[lead:] / n).ravel()])  # units by quarter, then what is short by quarter and future
    short = np.hstack([-np.repeat(np.eye(later), n, axis=0), -np.eye(later * n)])
    falls = np.hstack([np.eye(later)[:-1] - np.eye(later)[1:], np.zeros((later - 1, later * n))])
    found = linprog(cost, np.vstack([short, falls]), np.concatenate([-need[lead:].ravel(), np.zeros(later - 1)]))
    before = (lease[:lead] * need[:lead]).sum(axis=0).mean()
    assert plan.cost.mean() == pytest.approx(found.fun + before, rel=1e-9)
    assert (np.diff(plan.owned) >= 0).all()
    assert plan.owned[:lead] == pytest.approx(0)
    assert plan.orders.sum() == pytest.approx(plan.owned[-1])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_foresight_is_the_best_plan_of_each_future(seed):
    r = np.random.default_rng(seed)
    need, own, lease = r.lognormal(0, 0.8, (6, 5)), r.uniform(0.5, 1.5, 6), r.uniform(0.6, 4, (6, 5))
    plan = demand.order_plan(need, own_usd_per_quarter=own, lease_usd_per_quarter=lease, lead=2)
    best = plan.foresight()
    for i in range(5):  # alone, the plan of a future is that of one who knows it
        alone = demand.order_plan(need[:, i : i + 1], own_usd_per_quarter=own, lease_usd_per_quarter=lease[:, i : i + 1], lead=2)
        assert best[i] == pytest.approx(alone.cost[0], rel=1e-9)
    assert (plan.cost >= best * (1 - 1e-12)).all()


def test_regret_is_least_for_this_plan():
    r = np.random.default_rng(1)
    need = 100 * np.exp(np.cumsum(r.normal(0.08, 0.15, (16, 4096)), axis=0))
    plan = demand.order_plan(need, own_usd_per_quarter=1.0, lease_usd_per_quarter=2.2, lead=4)
    table = plan.regret()
    assert table["plan"][0] == "this plan"
    assert set(table["plan"]) == {"this plan", "order nothing", "mean need", "95 % of needs"}
    assert table["mean_regret_usd"].min() > 0
    frame = plan.frame()
    assert frame.height == 16
    assert frame["order"][12:].to_list() == [0.0] * 4  # too late to stand within the horizon
    later = demand.order_plan(need, own_usd_per_quarter=1.0, lease_usd_per_quarter=2.2, lead=12)
    assert later.cost.mean() > plan.cost.mean()  # a longer lead time costs
    assert later.foresight().mean() > plan.foresight().mean()


def test_every_vintage_pays_its_own_cost():
    """Ten units for three quarters at 1.0, .8, .6: what comes early pays its own dear annuity to the end, not the later one."""
    own, need = np.array([1.0, 0.8, 0.6]), np.full((3, 1), 10.0)
    plan = demand.order_plan(need, own_usd_per_quarter=own, lease_usd_per_quarter=5.0, lead=0)
    assert plan.orders.tolist() == [10, 0, 0]
    assert plan.cost[0] == pytest.approx(10 * 1.0 * 3)
    assert plan.cost_of([0.0, 10.0, 10.0])[0] == pytest.approx(50 + 10 * 0.8 * 2)
    assert plan.user_cost == pytest.approx([3 - 1.6, 1.6 - 0.6, 0.6])
    # obsolescence makes waiting pay: where a lease is dearer than the unit but cheaper than the unit with its fall, one waits
    waits = demand.order_plan(need, own_usd_per_quarter=own, lease_usd_per_quarter=1.2, lead=0)
    assert waits.orders.tolist() == [0, 10, 0]
    rising = demand.order_plan(need, own_usd_per_quarter=own[::-1], lease_usd_per_quarter=0.7, lead=0)
    assert rising.orders[0] == 10  # dearer later: all at once


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"need": [1.0]}, r"need of shape \(1,\): expected \(quarters, futures\)"),
        ({"need": np.ones((2, 0))}, r"need of shape \(2, 0\): expected \(quarters, futures\), one or more"),
        ({"need": [[-1.0], [1.0]]}, r"need\[0, 0\] = -1: expected 0 or more"),
        ({"lead": -1}, "lead = -1: expected a whole number 0 or more"),
        ({"lead": 2}, "lead = 2"),
        ({"lead": 0.5}, "lead = 0.5"),
        ({"own_usd_per_quarter": 0.0}, "own_usd_per_quarter"),
        ({"own_usd_per_quarter": [1.0] * 3}, r"own_usd_per_quarter of shape \(3,\): expected one that broadcasts to \(2,\)"),
        ({"lease_usd_per_quarter": np.inf}, "lease_usd_per_quarter, margin_usd_per_quarter: expected one of them finite"),
        ({"held": -1.0}, "held = -1: expected 0 or more"),
    ],
)
def test_bad_orders_are_named(change, message):
    arguments = {"need": [[1.0], [2.0]], "own_usd_per_quarter": 1.0, "lease_usd_per_quarter": 2.0, "lead": 0} | change
    with pytest.raises(InputError, match=message):
        demand.order_plan(arguments.pop("need"), **arguments)
