"""Allocation: which work runs on which chips, where and when, what to buy and retire, and what one more of anything scarce is worth.

A linear programme (mixed-integer where sites or designs are taken whole), built as arrays without a loop over variables and solved by
HiGHS. The rows are in `programme`; here are the question and the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InputError
from workbench.fleet.columns import solve
from workbench.fleet.programme import Programme, build, explain_infeasible, explain_unbounded, figures
from workbench.units import YEAR

Array = NDArray[np.float64]

GAP = 1e-9  #: of mixed-integer plans to the best bound; the solver's own 1e-4 could make a partition look cheaper than the pool
PRICED = 1e-9  #: marginals, in scaled money, that count as a price


@dataclass(frozen=True)
class Fleet:
    """What there is to decide on: `W` kinds of work, `K` kinds of chips (a vintage is a kind), `R` regions, `T` periods.

    Figures broadcast to the shape in brackets. Limits are infinite unless given. A kind with no supply can't be bought.
    """

    work: tuple[str, ...]
    kinds: tuple[str, ...]
    regions: tuple[str, ...]
    throughput: ArrayLike  #: work a chip does a second (W, K); 0 where it can't
    demand: ArrayLike  #: work asked for a second (W, T)
    value: ArrayLike  #: of a second's unit of work left undone [USD/unit] (W, T); inf: it must be done
    installed: ArrayLike  #: chips there at the start (K, R)
    power: ArrayLike  #: IT power of a chip at work [W] (K,)
    idle_power: ArrayLike  #: IT power of a chip that stands idle [W] (K,)
    pue: ArrayLike  #: (R,)
    electricity_price: ArrayLike  #: [USD/J] (R, T)
    capital: ArrayLike = 0.0  #: of a new chip with its server, network and facility, a year it is owned [USD] (K,)
    operations: ArrayLike = 0.0  #: staff and repair of a standing chip a year [USD] (K,)
    resale: ArrayLike = 0.0  #: of a retired chip of a kind that is no longer bought [USD] (K,)
    supply: ArrayLike = 0.0  #: chips that can be bought a period (K, T)
    allowed: ArrayLike = True  #: whether work may run in a region: latency, residency (W, R)
    power_limit: ArrayLike = np.inf  #: at the meter [W] (R, T)
    carbon_intensity: ArrayLike = 0.0  #: location-based [kg/J] (R, T)
    carbon_price: ArrayLike = 0.0  #: [USD/kg] (T,); `energy.energy_bill` takes USD a tonne
    carbon_limit: ArrayLike = np.inf  #: [kg a period] (T,)
    water_intensity: ArrayLike = 0.0  #: [L/J at the meter] (R,)
    water_limit: ArrayLike = np.inf  #: [L a period] (R, T)
    budget: ArrayLike = np.inf  #: capital of chips bought [USD a year a period's purchases add] (T,)
    vendor: tuple[str, ...] = ()  #: who makes each kind (K,)
    vendor_share: float = 1.0  #: largest share of one vendor in the capital of what is bought a period
    groups: tuple[int, ...] = ()  #: partition of the work (W,): chips serve one group only; empty: one fungible fleet
    survival: ArrayLike = 1.0  #: share of chips that outlast a period (K,)
    availability: float = 1.0  #: share of standing chips that are not in repair
    rate: float = 0.0  #: discount rate a year, as `annuity` takes it
    period: float = YEAR  #: [s]
    site_cost: ArrayLike = 0.0  #: of opening a region [USD] (R,); with it, power_limit is there only if the site is opened
    design_cost: ArrayLike = 0.0  #: of making a kind exist [USD] (K,): its NRE

    def __post_init__(self) -> None:
        figures(self)


@dataclass(frozen=True)
class Plan:
    """What to do, what it costs, and what would change it."""

    fleet: Fleet
    cost: float  #: discounted, unmet work priced at its value [USD]
    chips: Array  #: chips at work (W, K, R, T)
    stock: Array  #: chips standing (K, R, T), all groups
    bought: Array  #: (K, R, T)
    retired: Array  #: (K, R, T)
    unmet: Array  #: work left undone a second (W, T)
    facility_power: Array  #: [W] (R, T)
    opened: Array  #: share of each site opened (R,): 0 or 1
    designed: Array  #: whether a kind's NRE is paid (K,)
    shadow: dict[str, Array] = field(repr=False)  #: by row: what one more unit of its limit saves, discounted to now [USD]

    @property
    def megawatt(self) -> Array:
        """What one more megawatt is worth in each region and period [USD/MW a period] (R, T)."""
        return self.shadow["power"] * 1e6

    @property
    def served(self) -> Array:
        """Share of each demand met (W, T)."""
        asked = np.broadcast_to(np.asarray(self.fleet.demand, dtype=float), self.unmet.shape)
        return np.where(asked > 0, 1 - self.unmet / np.where(asked > 0, asked, 1.0), 1.0)

    def frame(self) -> pl.DataFrame:
        """One row a kind, region and period with chips: kind, region, period, stock, bought, retired, and chips by work."""
        f = self.fleet
        k, r, t = (a.ravel() for a in np.indices(self.stock.shape))
        columns = {"kind": np.array(f.kinds)[k], "region": np.array(f.regions)[r], "period": t}
        columns |= {"stock": self.stock.ravel(), "bought": self.bought.ravel(), "retired": self.retired.ravel()}
        columns |= {name: self.chips[w].ravel() for w, name in enumerate(f.work)}
        return pl.DataFrame(columns).filter((pl.col("stock") > 1e-6) | (pl.col("bought") > 1e-6) | (pl.col("retired") > 1e-6))


def allocate(fleet: Fleet, *, settled: bool = False) -> Plan:
    """The cheapest plan, with shadow prices.

    min  sum over periods of disc [ energy + carbon + operations + value unmet + capital of what was bought - resale of what is retired ]
    s.t. demand: sum throughput x + unmet >= demand;  chips: sum_w x <= availability stock;
         stock follows purchases, retirement, survival, and what is bought stands;
         power, supply, vendors' shares, budget, carbon, water within their limits

    A standing chip draws its idle power, a working one its full power; between the two power is taken as linear in work, which is exact
    where a chip is either at work or idle, and understates chips that all run half full (`chips.power` is concave).

    Parameters
    ----------
    fleet : Fleet
    settled : bool
        Several plans may cost the same (two kinds of work change places), and which one a solver meets hangs on the last bit of its
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
    """
    programme = build(fleet)
    if programme.integer.any():
        programme = _fix_integers(programme)
    values, marginals, cost = _solve(programme, settled)
    return _plan(fleet, programme, values, marginals, cost)


def fungibility(fleet: Fleet, groups: tuple[int, ...]) -> float:
    """What one fungible fleet is worth over the same fleet partitioned by `groups` of work [USD]: the difference of the two optima."""
    return allocate(replace(fleet, groups=groups)).cost - allocate(replace(fleet, groups=())).cost


def _solve(p: Programme, settled: bool) -> tuple[Array, Array, float]:
    """Values, what one more unit of each limit saves, and the cost; rows and money are scaled to about 1 for the solver."""
    from scipy import sparse
    from scipy.optimize import linprog

    rows, money = _scales(p)
    matrix, limit = sparse.csr_array(sparse.diags_array(rows) @ p.matrix), p.limit * rows
    found = solve(p.cost * money, matrix, limit, p.lower, p.upper, p.promise())
    if found.status == 2:
        raise InputError(explain_infeasible(p))
    if found.status in (3, 4):
        raise InputError(explain_unbounded(p))
    if found.status != 0:
        raise InputError(f"the allocation was not solved: {found.message}")
    values = found.values
    if settled:
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
    return values, -found.marginals * rows / money, found.cost / money


def _scales(p: Programme) -> tuple[Array, float]:
    """Factors that bring the largest coefficient of each row, and the largest cost, to 1."""
    rows = 1 / np.maximum(np.abs(p.matrix).max(axis=1).toarray().ravel(), 1e-30)
    return rows, 1 / max(float(np.abs(p.cost).max(initial=0.0)), 1e-30)


def _fix_integers(p: Programme) -> Programme:
    """The programme with its integers fixed at their optimum: `milp` gives no shadow prices, the linear programme around it does."""
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
    fixed = np.round(result.x)
    return replace(
        p, lower=np.where(p.integer > 0, fixed, p.lower), upper=np.where(p.integer > 0, fixed, p.upper), integer=np.zeros_like(p.integer)
    )


def _plan(fleet: Fleet, p: Programme, values: Array, marginals: Array, cost: float) -> Plan:
    chips = p.take("x", values)
    opened, designed = p.take("open", values), p.take("design", values)
    shadow = {name: p.rows_of(name, marginals) for name in p.rows}
    # the limit of a site or a design that may be taken or left counts only where it is taken
    shadow["power"] = np.where((p.columns["open"] >= 0)[:, None], shadow["power"] * opened[:, None], shadow["power"])
    shadow["supply"] = np.where((p.columns["design"] >= 0)[:, None], shadow["supply"] * designed[:, None], shadow["supply"])
    stock, bought = (p.take(name, values).sum(axis=0) for name in ("stock", "bought"))
    before = np.concatenate([p.figures["installed"][..., None], stock[..., :-1] * p.figures["survival"][:, None, None]], axis=-1)
    retired = np.maximum(before + bought - stock, 0.0)  # by the books: what was there and came, and no longer stands
    return Plan(
        fleet=fleet,
        cost=cost,
        chips=chips,
        stock=stock,
        bought=bought,
        retired=retired,
        unmet=p.take("unmet", values),
        facility_power=p.facility_power(chips, stock),
        opened=opened,
        designed=designed,
        shadow=shadow,
    )
