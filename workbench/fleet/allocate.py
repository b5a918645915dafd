"""Allocation: which work runs on which chips, where and when, what to buy and retire, and what one more of anything scarce is worth.

A linear programme, built as arrays without a loop over variables and solved by HiGHS. Question and answer are in `problem`, the rows in
`programme`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.checks import takes
from workbench.errors import InputError
from workbench.fleet.problem import Array, Fleet, Plan
from workbench.fleet.programme import Programme, build, explain_infeasible, take

UNBOUNDED = "check for a negative electricity price without a power_limit, and give supply a limit"
PRICED = 1e-9  #: marginals, in scaled money, that count as a price
MANY, FEW = 10, 5_000  #: columns over rows, and columns, from which it pays to leave most of them out at first
LARGE = 50_000  #: columns from which the interior point, with crossover to a vertex, is faster than the dual simplex
FIRST, MORE, KEPT = 6, 6, 10  #: columns over rows to start with, to add at most at a time, and from which idle ones leave again
TOLERANCE = 1e-9  #: reduced cost below which a column would lower the cost


@takes()
def allocate(fleet: Fleet, *, reproducible: bool = False) -> Plan:
    """The cheapest plan, with shadow prices.

    min  sum over periods of disc [ energy + carbon + operations + assets + value unmet + price of what is bought - resale of what goes ]
         - resale of what is there at the end
    s.t. demand: sum throughput x + unmet >= demand, in each typical hour, or over the period for work that may wait;
         chips: sum_w x <= availability stock in each hour;  assets: what the stock occupies <= what is there and built, which stays;
         stock follows purchases, retirement, survival, and what is bought stays;
         power, supply, vendors' shares, budget within their limits

    An idle chip draws its idle power, a working one its full power; between the two power is taken as linear in work, which is exact
    where a chip is either at work or idle, and understates chips that all run half full (`chips.power` is concave).

    Several plans may cost the same (two kinds of work change places), and which one a solver meets depends on the last bit of its input;
    `reproducible` solves again among them for the one that prefers what is listed first, so that every machine prints the same plan.

    Raises `InputError` for limits that no plan can keep (it names the rows that can't hold, and by how much), and for no bound.

    Examples
    --------
    >>> fleet = Fleet(("chat",), ("H100",), ("eastus",), throughput=1.0, demand=[[5.0, 9.0]], value=1e-3, installed=6.0, power=1e3,
    ...               idle_power=100.0, pue=1.2, electricity_usd_per_kwh=0.08)
    >>> plan = allocate(fleet)
    >>> plan.served.round(3).tolist(), round(plan.cost)
    ([[1.0, 0.667]], 104014)
    """
    programme = build(fleet)
    values, marginals, cost = solved(programme, reproducible)
    return plan_of(fleet, programme, values, marginals, cost)


def solved(p: Programme, reproducible: bool = False) -> tuple[Array, Array, float]:
    """Values, what one more unit of each limit saves, and the cost."""
    found = scaled(p.cost, p.matrix, p.limit, p.priority(), reproducible)
    if found.status == 2:
        raise InputError(explain_infeasible(p))
    if found.status in (3, 4):
        raise InputError(f"the plan has no bound: {UNBOUNDED}")
    if found.status != 0:
        raise InputError(f"the allocation was not solved: {found.message}")
    return found.plan, found.saves, found.fun


def scaled(cost: Array, matrix: Any, limit: Array, priority: Array, reproducible: bool = False) -> Any:
    """What `solve` finds with rows and money scaled to about 1, in the units that came; `saves`: what one more unit of each limit does."""
    from scipy import sparse
    from scipy.optimize import linprog

    largest = np.abs(matrix).max(axis=1).toarray().ravel()
    rows = 1 / np.where(largest > 0, largest, 1.0)
    money = 1 / max(float(np.abs(cost).max(initial=0.0)), 1e-30)
    matrix, limit = sparse.csr_array(sparse.diags_array(rows) @ matrix), limit * rows
    found = solve(cost * money, matrix, limit, priority)
    if found.status == 0 and reproducible:
        # the plans of the same cost: what has a price stays at its limit, what would cost more stays out
        tight, out = found.marginals < -PRICED, np.abs(found.reduced) > PRICED
        again = linprog(
            np.sqrt(1.0 + np.arange(cost.size)), A_ub=matrix[~tight], b_ub=limit[~tight], A_eq=matrix[tight], b_eq=limit[tight],
            bounds=np.where(out[:, None], found.plan[:, None], [[0.0, np.inf]]), method="highs",
        )  # fmt: skip
        found.plan = found.plan if again.x is None else again.x  # none: the face is too thin for the tolerance, and the first plan is kept
    if found.status == 0:
        found.saves, found.fun = -found.marginals * rows / money, found.fun / money
    return found


def plan_of(fleet: Fleet, p: Programme, values: Array, marginals: Array, cost: float) -> Plan:
    found = {name: take(block, values) for name, block in p.columns.items()}
    shadow = {name: take(block, marginals) for name, block in p.rows.items()}
    shadow["power"] = shadow["power"].sum(axis=1)  # the limit is one for all hours, and so is the demand that they share
    shadow["space"] = shadow["space"].sum(axis=-1)
    shadow |= {name: (shadow[name] * p.asked.values[..., None]).sum(axis=1) for name in ("demand", "least")}
    chips = np.einsum("wkrht,h->wkrt", found["x"], p.figures["hours"].values)
    standing, working = (part.values for part in p.draw)
    stock, bought = found["stock"].sum(axis=0), found["bought"].sum(axis=0)
    installed, survival = p.figures["installed"].values, p.figures["survival"].values
    before = np.concatenate([installed[..., None], stock[..., :-1] * survival[:, None, None]], axis=-1)
    return Plan(
        fleet=fleet, cost=cost, chips=chips, by_hour=found["x"], stock=stock, bought=bought, space=found["space"], shadow=shadow,
        retired=np.maximum(before + bought - stock, 0.0),  # by the books: what was there and came, and is gone
        unmet=np.einsum("wht,wh->wt", found["unmet"], p.due.values),
        facility_power=np.einsum("kr,krt->rt", standing, stock) + np.einsum("kr,wkrt->rt", working, chips),
    )  # fmt: skip


def solve(cost: Array, matrix: Any, limit: Array, priority: Array) -> Any:
    """Minimise cost x subject to matrix x <= limit, x >= 0; where columns outnumber rows, by delayed column generation.

    A plan at a vertex uses no more columns than there are rows. The programme is solved with the most promising ones (those of largest
    `priority`, the infinite among them), all others are priced at the marginals of that, those that would lower the cost come in,
    and so on until none would, which proves the optimum of all (sifting: Bixby et al., 1992, Operations Research 40(5)).
    """
    rows, n = matrix.shape
    if n < max(FEW, MANY * rows):
        return _direct(cost, matrix, limit, slice(None), "highs-ds" if n < LARGE else "highs-ipm")
    matrix = matrix.tocsc()
    fixed = np.isinf(priority)
    active, last = fixed.copy(), np.inf
    first = min(int(fixed.sum()) + FIRST * rows, n)
    active[np.argpartition(-priority, first - 1)[:first]] = True
    while True:
        found = _direct(cost, matrix, limit, np.flatnonzero(active), "highs-ds")
        if found.status != 0:  # too few columns for a plan, or no plan at all: all of them tell
            return _direct(cost, matrix, limit, slice(None), "highs-ds" if n < LARGE else "highs-ipm")
        cheaper = (found.reduced < -TOLERANCE) & ~active
        if not cheaper.any():
            return found
        if found.fun < last and active.sum() > KEPT * rows:  # never at a standstill, so that no set of columns comes back
            active &= fixed | (found.reduced < TOLERANCE)
        add = min(int(cheaper.sum()), MORE * rows)
        active[np.argpartition(np.where(cheaper, found.reduced, np.inf), add - 1)[:add]] = True
        last = found.fun


def _direct(cost: Array, matrix: Any, limit: Array, taken: Any, method: str) -> Any:
    """What `linprog` finds with the columns `taken`; where solved also `plan`, all columns, `marginals` of rows, and `reduced` costs."""
    from scipy.optimize import linprog

    found = linprog(cost[taken], A_ub=matrix[:, taken], b_ub=limit, method=method)
    if found.status == 0:
        found.plan, found.marginals = np.zeros(cost.size), found.ineqlin.marginals
        found.plan[taken], found.reduced = found.x, cost - matrix.T @ found.marginals
    return found
