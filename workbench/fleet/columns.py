"""Linear programmes with many more columns than rows: a column comes in when its price says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MANY, FEW = 10, 5_000  #: columns over rows, and columns, from which it pays to leave most of them out at first
LARGE = 50_000  #: columns from which the interior point, with crossover to a vertex, is faster than the dual simplex
FIRST, MORE, KEPT = 6, 6, 10  #: columns over rows to start with, to add at most at a time, and from which idle ones leave again
TOLERANCE = 1e-9  #: reduced cost below which a column would lower the cost


@dataclass(frozen=True)
class Solution:
    """Of min cost x subject to matrix x <= limit, lower <= x <= upper; `status` as `scipy.optimize.linprog` tells it, 0 where solved."""

    status: int
    message: str
    values: Array  #: of the columns
    marginals: Array  #: of the rows, 0 or less: change of the cost with the limit
    reduced: Array  #: cost of a unit of each column at the prices of the rows
    cost: float


def solve(cost: Array, matrix: Any, limit: Array, lower: Array, upper: Array, priority: Array) -> Solution:
    """Solve a linear programme; where columns outnumber rows, by delayed column generation.

    A plan at a vertex uses no more columns than there are rows. The programme is solved with the most promising ones (those of largest
    `priority`, the infinite among them), all others are priced at the marginals of that, those that would lower the cost come in,
    and so on until none would, which proves the optimum of all.

    References
    ----------
    .. [1] Bixby, Gregory, Lustig, Marsten, Shanno (1992), "Very large-scale linear programming: a case study in combining interior point
       and simplex methods", Operations Research 40(5): sifting.
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
        if found.cost < last and active.sum() > KEPT * rows:  # never at a standstill, so that no set of columns comes back
            active &= fixed | (found.reduced < TOLERANCE)
        add = min(int(cheaper.sum()), MORE * rows)
        active[np.argpartition(np.where(cheaper, found.reduced, np.inf), add - 1)[:add]] = True
        last = found.cost


def _direct(cost: Array, matrix: Any, limit: Array, lower: Array, upper: Array, taken: Any, method: str) -> Solution:
    """Solve with the columns `taken`; the others stay at 0."""
    from scipy.optimize import linprog

    result = linprog(cost[taken], A_ub=matrix[:, taken], b_ub=limit, bounds=np.stack([lower[taken], upper[taken]], axis=1), method=method)
    if result.status != 0:
        return Solution(result.status, result.message, *(np.empty(0),) * 3, np.nan)
    values = np.zeros(cost.size)
    values[taken] = result.x
    marginals = result.ineqlin.marginals
    return Solution(0, result.message, values, marginals, cost - matrix.T @ marginals, float(result.fun))
