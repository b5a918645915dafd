"""Plans for several futures: what is ordered before it is known which of them comes, and what knowing, weighing and waiting are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from workbench.arrays import Arrays
from workbench.checks import Rule, takes
from workbench.errors import InputError
from workbench.fleet.allocate import plan_of, scaled, solved
from workbench.fleet.problem import AXES, FIGURES, SI, Array, Fleet, Plan, meet
from workbench.fleet.programme import Programme, build

ROUNDING = 1e-9  #: share of what is ordered by which it may break a limit, as a solver's plan does
#: What is decided before the scenario is known, and the figure that says how long before it is there.
ORDERS = {"bought": "delay", "retired": "", "stock": "", "space": "space_delay"}
ALIKE = ("work", "kinds", "regions", "assets", "vendor", "vendor_share", "groups", "rate", "availability")  #: in all scenarios


@dataclass(frozen=True, repr=False)
class TwoStage(Arrays):
    """One set of first orders for all scenarios, and what it costs beside other ways to decide; all costs expected [USD]."""

    probability: Array  #: of each scenario (S,)
    plans: tuple[Plan, ...] = field(repr=False)  #: of each scenario: first orders are the same, all later ones are its own
    cost: float  #: of first orders that weigh all scenarios, and of the best that can then be done
    wait_and_see: float  #: if the scenario were known before the first order
    expected_value: float  #: of the first orders of a plan for the mean of the scenarios; inf where a scenario can't live with them
    committed: float  #: if all orders of all periods were signed now; inf where no such plan exists

    @property
    def perfect_information(self) -> float:
        """Expected value of perfect information: what knowing the scenario now is worth at most [USD]."""
        return self.cost - self.wait_and_see

    @property
    def stochastic_solution(self) -> float:
        """Value of the stochastic solution: what weighing the scenarios saves over planning for their mean [USD]."""
        return self.expected_value - self.cost

    @property
    def waiting(self) -> float:
        """What it is worth to leave later orders until the scenario is known, over signing all of them now [USD]."""
        return self.committed - self.cost


@takes(probability=Rule(above=0.0, most=1.0))
def two_stage(scenarios: Sequence[Fleet], probability: ArrayLike, *, reproducible: bool = False) -> TwoStage:
    """The cheapest first orders where only later ones may wait for the scenario to be known.

    min  sum over scenarios s of p_s cost_s(first, later_s)  subject to the limits of every scenario

    What is ordered in the first period (chips, retirements, assets; with a `delay` they come in later ones) is one set of variables for
    all scenarios, all else is each scenario's own: the extensive form, without rows for non-anticipativity. In costs
    `wait_and_see` <= `cost` <= `expected_value`, and `cost` <= `committed`.

    Parameters
    ----------
    scenarios : sequence of Fleet
        The same names, rates and groups; any figure may differ that leaves the same things to order.
    probability : array_like, shape (S,)
        Of each, above 0; they add up to 1.
    reproducible : bool
        As `allocate` takes it.

    Raises `InputError` for scenarios that do not match, one that has no plan, and where no first orders suit all of them.

    References
    ----------
    .. [1] Birge, Louveaux (2011), "Introduction to Stochastic Programming", chapters 2 and 4.

    Examples
    --------
    >>> low, high = (Fleet(("chat",), ("H100",), ("eastus",), throughput=1.0, demand=[[d]], value=1e-3, installed=0.0, power=1e3,
    ...              idle_power=0.0, pue=1.0, electricity_usd_per_kwh=0.1, price=2e4, supply=99.0) for d in (5.0, 9.0))
    >>> both = two_stage([low, high], [0.4, 0.6])
    >>> both.plans[0].bought.sum(), round(both.cost), round(both.perfect_information)
    (np.float64(5.0), 180121, 25634)
    """
    p = np.asarray(probability)
    if p.shape != (len(scenarios),) or abs(p.sum() - 1) > 1e-6:
        raise InputError(f"probability = {probability}: expected one of each of {len(scenarios)} scenarios; they add up to 1")
    built, alone = [build(fleet) for fleet in scenarios], []
    for i, b in enumerate(built):
        if odd := [name for name in ALIKE if getattr(b.fleet, name) != getattr(scenarios[0], name)]:
            raise InputError(f"scenarios[{i}].{odd[0]} = {getattr(b.fleet, odd[0])}: expected that of all, {getattr(scenarios[0], odd[0])}")
        if odd := [AXES[axis] for axis in AXES if b.sizes[axis] != built[0].sizes[axis]]:
            raise InputError(f"scenarios[{i}]: another number of {odd[0]}s than in the first; expected the same")
        if odd := [name for name in ORDERS if ((b.columns[name].values < 0) != (built[0].columns[name].values < 0)).any()]:
            raise InputError(f"scenarios[{i}]: other things can be {odd[0]} than in the first; expected the same supply, delays and space")
        try:
            alone.append(solved(b))
        except InputError as error:
            raise InputError(f"scenarios[{i}]: {error}") from None
    first, whole = ([_decided(b, periods) for b in built] for periods in (1, built[0].sizes["T"]))
    cost, found = _extensive(built, p, first, [x for x, *_ in alone], reproducible)
    if np.isinf(cost):
        raise InputError("each scenario has a plan, but no first orders suit all of them: give some work a value below infinity")
    means = {name: sum(share * b.figures[name].values for share, b in zip(p, built, strict=True)) / SI.get(name, 1.0) for name in FIGURES}
    means |= {name: getattr(scenarios[0], name) for name in ("hours", "delay", "space_delay", "allowed", "movable")}
    mean = build(replace(scenarios[0], **means))
    orders = solved(mean, reproducible)[0][_decided(mean, 1)]
    fixed = [_given(b, at, orders) for b, at in zip(built, first, strict=True)]
    committed, _ = _extensive(built, p, whole, [x + known for (x, _), (known, *_) in zip(found, alone, strict=True)])
    plans = (plan_of(b.fleet, b, x, saves / share, b.cost @ x) for b, share, (x, saves) in zip(built, p, found, strict=True))
    return TwoStage(p, tuple(plans), cost, float(p @ [c for *_, c in alone]), float(p @ fixed), committed)


def _decided(b: Programme, periods: int) -> Array:
    """Indices of the columns that are ordered before a period, block by block."""
    timed = ((b.columns[name], b.ordered(delay)) for name, delay in ORDERS.items())
    every = np.concatenate([meet(lambda index, at: np.where(at < periods, index, -1), *pair).values.ravel() for pair in timed])
    return np.asarray(every[every >= 0])


def _extensive(
    built: list[Programme], p: Array, shared: list[Array], near: list[Array], reproducible: bool = False
) -> tuple[float, list[Any]]:
    """Expected cost, and values and what limits save in each scenario; inf and none where no plan suits all.

    The columns `shared` of all are one: each matrix is kept, times one that places its columns. Those of plans `near` come first.
    """
    from scipy import sparse

    n, places = shared[0].size, []
    ends = n + np.cumsum([b.n - n for b in built])
    for b, same, end in zip(built, shared, ends, strict=True):
        own = np.delete(np.arange(b.n), same)
        places.append(np.empty(b.n, dtype=int))
        places[-1][same], places[-1][own] = np.arange(n), np.arange(end - own.size, end)
    put = [sparse.csr_array((np.ones(b.n), at, np.arange(b.n + 1)), shape=(b.n, ends[-1])) for b, at in zip(built, places, strict=True)]
    matrix = sparse.vstack([b.matrix @ at for b, at in zip(built, put, strict=True)], format="csr")
    priority = np.full(ends[-1], np.inf)
    for b, at, x in zip(built, places, near, strict=True):
        priority[at] = np.where(x > 0, np.inf, b.priority())
    cost = sum(share * (b.cost @ at) for share, b, at in zip(p, built, put, strict=True))
    found = scaled(cost, matrix, np.concatenate([b.limit for b in built]), priority, reproducible)
    if found.status != 0:
        return np.inf, []
    rows = np.split(found.saves, np.cumsum([b.n_rows for b in built])[:-1])
    return float(found.fun), [(found.plan[at], saves) for at, saves in zip(places, rows, strict=True)]


def _given(b: Programme, at: Array, orders: Array) -> float:
    """Cost of a scenario with the columns `at` given; inf where there is no plan."""
    free, ordered = np.delete(np.arange(b.n), at), b.matrix[:, at]
    left = b.limit - ordered @ orders + ROUNDING * (abs(ordered) @ orders)  # limits that the orders use up keep the last digits of them
    found = scaled(b.cost[free], b.matrix[:, free], left, b.priority()[free])
    return float(found.fun + b.cost[at] @ orders) if found.status == 0 else np.inf
