"""Allocation: which work runs on which chips, where and when, what to buy and retire, and what one more of anything scarce is worth.

A linear programme (mixed-integer where sites or designs are taken whole), built as arrays without a loop over variables and solved by
HiGHS. Question and answer are in `problem`, the rows in `programme`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from workbench.errors import InputError
from workbench.fleet.problem import Array, Fleet, Plan
from workbench.fleet.programme import Programme, build, explain_infeasible, explain_unbounded, take

GAP = 1e-9  #: of mixed-integer plans to the best bound; the solver's own 1e-4 could make a partition look cheaper than the pool
PRICED = 1e-9  #: marginals, in scaled money, that count as a price
MANY, FEW = 10, 5_000  #: columns over rows, and columns, from which it pays to leave most of them out at first
LARGE = 50_000  #: columns from which the interior point, with crossover to a vertex, is faster than the dual simplex
FIRST, MORE, KEPT = 6, 6, 10  #: columns over rows to start with, to add at most at a time, and from which idle ones leave again
TOLERANCE = 1e-9  #: reduced cost below which a column would lower the cost


def allocate(fleet: Fleet, *, reproducible: bool = False) -> Plan:
    """The cheapest plan, with shadow prices.

    min  sum over periods of disc [ energy + carbon + operations + value unmet + capital of what was bought - resale of what is retired ]
    s.t. demand: sum throughput x + unmet >= demand;  chips: sum_w x <= availability stock;
         stock follows purchases, retirement, survival, and what is bought stays;
         power, supply, vendors' shares, budget, carbon, water within their limits

    An idle chip draws its idle power, a working one its full power; between the two power is taken as linear in work, which is exact
    where a chip is either at work or idle, and understates chips that all run half full (`chips.power` is concave).

    Parameters
    ----------
    fleet : Fleet
    reproducible : bool
        Several plans may cost the same (two kinds of work change places), and which one a solver meets depends on the last bit of its
        input. Solve again among them for the one that prefers what is listed first, so that every machine prints the same plan.

    Returns
    -------
    Plan
        Shadow prices of mixed-integer plans hold the integers where they are.

    Raises
    ------
    InputError
        For limits that no plan can keep (it names the rows that can't hold, and by how much), and objectives without a bound (it names
        what grows).

    References
    ----------
    .. [1] Huangfu, Hall (2018), "Parallelizing the dual revised simplex method", Mathematical Programming Computation 10 (HiGHS).

    Examples
    --------
    >>> fleet = Fleet(("chat",), ("H100",), ("eastus",), throughput=1.0, demand=[[5.0, 9.0]], value=1e-3, installed=6.0, power=1e3,
    ...               idle_power=100.0, pue=1.2, electricity_usd_per_kwh=0.08)
    >>> plan = allocate(fleet)
    >>> plan.served.round(3).tolist(), round(plan.cost)
    ([[1.0, 0.667]], 104014)
    """
    programme = build(fleet)
    if programme.integer.any():
        _fix_integers(programme)
    values, marginals, cost = _solve(programme, reproducible)
    return _plan(fleet, programme, values, marginals, cost)


def fungibility(fleet: Fleet, groups: tuple[int, ...]) -> float:
    """What one fungible fleet is worth over the same fleet partitioned by `groups` of work [USD]: the difference of the two optima.

    Examples
    --------
    >>> fleet = Fleet(("chat", "train"), ("H100",), ("eastus",), throughput=1.0, demand=[[5.0, 2.0], [2.0, 5.0]], value=1e-3, installed=7.0,
    ...               power=1e3, idle_power=100.0, pue=1.2, electricity_usd_per_kwh=0.08)
    >>> round(fungibility(fleet, (0, 1)))
    92148
    """
    return allocate(replace(fleet, groups=groups)).cost - allocate(replace(fleet, groups=())).cost


def _solve(p: Programme, reproducible: bool) -> tuple[Array, Array, float]:
    """Values, what one more unit of each limit saves, and the cost; rows and money are scaled to about 1 for the solver."""
    from scipy import sparse
    from scipy.optimize import linprog

    rows, money = _scales(p)
    matrix, limit = sparse.csr_array(sparse.diags_array(rows) @ p.matrix), p.limit * rows
    found = solve(p.cost * money, matrix, limit, p.lower, p.upper, p.priority())
    if found.status == 2:
        raise InputError(explain_infeasible(p))
    if found.status in (3, 4):
        raise InputError(explain_unbounded(p))
    if found.status != 0:
        raise InputError(f"the allocation was not solved: {found.message}")
    values = found.plan
    if reproducible:
        # the plans of the same cost: what has a price stays at its limit, what would cost more stays out
        tight, out = found.marginals < -PRICED, np.abs(found.reduced) > PRICED
        again = linprog(
            np.sqrt(1.0 + np.arange(p.cost.size)) * (p.lower < p.upper),
            A_ub=matrix[~tight],
            b_ub=limit[~tight],
            A_eq=matrix[tight],
            b_eq=limit[tight],
            bounds=np.where(out[:, None], values[:, None], np.stack([p.lower, p.upper], axis=1)),
            method="highs",
        )
        values = values if again.x is None else again.x  # none: the face is too thin for the solver's tolerance, and the first plan stands
    return values, -found.marginals * rows / money, found.fun / money


def _scales(p: Programme) -> tuple[Array, float]:
    """Factors that bring the largest coefficient of each row, and the largest cost, to 1."""
    rows = 1 / np.maximum(np.abs(p.matrix).max(axis=1).toarray().ravel(), 1e-30)
    return rows, 1 / max(float(np.abs(p.cost).max(initial=0.0)), 1e-30)


def _fix_integers(p: Programme) -> None:
    """Fix the integers at their optimum: `milp` gives no shadow prices, the linear programme around it does."""
    from scipy import sparse
    from scipy.optimize import Bounds, LinearConstraint, milp

    rows, money = _scales(p)
    result = milp(
        p.cost * money,
        integrality=p.integer,
        bounds=Bounds(p.lower, p.upper),
        constraints=LinearConstraint(sparse.diags_array(rows) @ p.matrix, ub=p.limit * rows),
        options={"mip_rel_gap": GAP},
    )
    if result.status == 2:
        raise InputError(explain_infeasible(p))
    if result.x is None:
        raise InputError(explain_unbounded(p))
    whole = p.integer > 0
    p.lower[whole] = p.upper[whole] = np.round(result.x[whole])


def _plan(fleet: Fleet, p: Programme, values: Array, marginals: Array, cost: float) -> Plan:
    found = {name: take(block, values) for name, block in p.columns.items()}
    shadow = {name: take(block, marginals) for name, block in p.rows.items()}
    # the limit of a site or a design that may be taken or left counts only where it is taken
    for row, block in (("power", "open"), ("supply", "design")):
        shadow[row] = np.where((p.columns[block].values >= 0)[:, None], shadow[row] * found[block][:, None], shadow[row])
    stock, bought = found["stock"].sum(axis=0), found["bought"].sum(axis=0)
    installed, survival = p.figures["installed"].values, p.figures["survival"].values
    before = np.concatenate([installed[..., None], stock[..., :-1] * survival[:, None, None]], axis=-1)
    return Plan(
        fleet=fleet,
        cost=cost,
        chips=found["x"],
        stock=stock,
        bought=bought,
        retired=np.maximum(before + bought - stock, 0.0),  # by the books: what was there and came, and no longer stands
        unmet=found["unmet"],
        facility_power=p.facility_power(found["x"], stock),
        opened=found["open"],
        designed=found["design"],
        shadow=shadow,
    )


def solve(cost: Array, matrix: Any, limit: Array, lower: Array, upper: Array, priority: Array) -> Any:
    """Minimise cost x subject to matrix x <= limit, lower <= x <= upper; where columns outnumber rows, by delayed column generation.

    A plan at a vertex uses no more columns than there are rows. The programme is solved with the most promising ones (those of largest
    `priority`, the infinite among them), all others are priced at the marginals of that, those that would lower the cost come in,
    and so on until none would, which proves the optimum of all (sifting: Bixby et al., 1992, Operations Research 40(5)).
    """
    rows, n = matrix.shape
    if n < max(FEW, MANY * rows):
        return _direct(cost, matrix, limit, lower, upper, slice(None), "highs-ds" if n < LARGE else "highs-ipm")
    matrix = matrix.tocsc()
    fixed = np.isinf(priority)
    active, last = fixed.copy(), np.inf
    first = min(int(fixed.sum()) + FIRST * rows, n)
    active[np.argpartition(-priority, first - 1)[:first]] = True
    while True:
        found = _direct(cost, matrix, limit, lower, upper, np.flatnonzero(active), "highs-ds")
        if found.status != 0:  # too few columns for a plan, or no plan at all: all of them tell
            return _direct(cost, matrix, limit, lower, upper, slice(None), "highs-ds" if n < LARGE else "highs-ipm")
        cheaper = (found.reduced < -TOLERANCE) & ~active
        if not cheaper.any():
            return found
        if found.fun < last and active.sum() > KEPT * rows:  # never at a standstill, so that no set of columns comes back
            active &= fixed | (found.reduced < TOLERANCE)
        add = min(int(cheaper.sum()), MORE * rows)
        active[np.argpartition(np.where(cheaper, found.reduced, np.inf), add - 1)[:add]] = True
        last = found.fun


def _direct(cost: Array, matrix: Any, limit: Array, lower: Array, upper: Array, taken: Any, method: str) -> Any:
    """What `linprog` finds with the columns `taken`; where solved also `plan`, all columns, `marginals` of rows, and `reduced` costs."""
    from scipy.optimize import linprog

    found = linprog(cost[taken], A_ub=matrix[:, taken], b_ub=limit, bounds=np.stack([lower[taken], upper[taken]], axis=1), method=method)
    if found.status == 0:
        found.plan, found.marginals = np.zeros(cost.size), found.ineqlin.marginals
        found.plan[taken], found.reduced = found.x, cost - matrix.T @ found.marginals
    return found
