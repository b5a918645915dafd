"""The rows and columns of `allocate`, as arrays with named axes: one function for the columns, one for the cost, one a family of rows.

linopy says the same on xarray, but a plan of 10,350 variables then takes 0.6 s instead of 0.04 s, and one of a million is not solved in
120 s by HiGHS as it gets it, instead of in 5 s by `solve`, which needs the arrays (linopy with highspy 1.16, one core).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.errors import InputError
from workbench.fleet.problem import Array, Fleet, Named, figures, lay, meet
from workbench.units import YEAR


@dataclass
class Programme:
    """min cost x  subject to  matrix x <= limit,  x >= 0, which grows block by block."""

    fleet: Fleet
    columns: dict[str, Named] = field(default_factory=dict)  #: block -> index of each variable, -1 where there is none
    rows: dict[str, Named] = field(default_factory=dict)  #: block -> index of each row, -1 where there is none
    entries: list[tuple[Array, Array, Array]] = field(default_factory=list)  #: row, column and value of coefficients
    limits: list[Array] = field(default_factory=list)
    cost: Array = field(default_factory=lambda: np.zeros(0))
    limit: Array = field(default_factory=lambda: np.zeros(0))
    matrix: Any = None

    def __post_init__(self) -> None:
        self.figures = figures(self.fleet)  # in their full shapes and in SI
        pairs = [pair for figure in self.figures.values() for pair in zip(figure.axes, figure.values.shape, strict=True)]
        self.sizes = dict(pairs) | {"G": int(max(self.fleet.groups, default=0)) + 1, "V": len(self.fleet.names("V"))}
        power, idle, pue = (self.figures[name] for name in ("power", "idle_power", "pue"))
        self.draw = idle * pue, (power - idle) * pue  # power at the meter of an installed chip, and what a busy one draws on top [W]
        worth = (1 + self.fleet.rate) ** -np.arange(self.sizes["E"])  # of a dollar of each start and end now
        self.start, self.discount, self.last = Named("T", worth[:-1]), Named("T", worth[1:]), worth[-1]
        movable = self.figures["movable"].values[:, None] > 0
        first = np.arange(self.sizes["H"]) == 0  # work that may wait has one row and one shortfall per period
        self.due = Named("WH", np.where(movable, first, self.figures["hours"].values))  # of a period's work that an hour's row asks for
        self.asked = self.due * meet(lambda shape: np.where(movable, 1.0, shape), self.figures["shape"])
        self.n = self.n_rows = 0

    def priority(self) -> Array:
        """How soon a solver should look at each column: work on chips that have a comparative advantage in it first, all else at once."""
        advantage = np.maximum(self.figures["throughput"].values, 1e-300)
        advantage = advantage / advantage.mean(axis=1, keepdims=True)
        advantage = advantage / advantage.mean(axis=0)
        advantage = np.log(advantage / advantage.max(axis=1, keepdims=True))
        index, order = self.columns["x"].values, np.full(self.cost.size, np.inf)
        spread = np.random.default_rng(0).gumbel(scale=0.1, size=index.shape)  # over regions, hours and periods
        order[index[index >= 0]] = (advantage[:, :, None, None, None] + spread)[index >= 0]
        return order

    def ordered(self, delay: str) -> Named:
        """The period in which is ordered what comes in each, below 0 before the plan; that itself where there is no figure of a delay."""
        return Named("T", np.arange(self.sizes["T"])) - self.figures.get(delay, Named("", np.zeros(())))

    def add_columns(self, name: str, axes: str, there: Named) -> None:
        """A block of variables on `axes`, where `there` is true."""
        mask = np.broadcast_to(there.on(axes), tuple(self.sizes[a] for a in axes))
        self.columns[name] = Named(axes, _numbered(mask, self.n))
        self.n += int(mask.sum())

    def add_rows(self, name: str, limit: Named) -> Named:
        """A block of rows on the axes of its limit; none where that is infinite."""
        finite = np.isfinite(limit.values)
        self.rows[name] = Named(limit.axes, _numbered(finite, self.n_rows))
        self.n_rows += int(finite.sum())
        self.limits.append(limit.values[finite])
        return self.rows[name]

    def add(self, row: Named, column: Named, value: Named | float) -> None:
        """Coefficients of columns in rows, which meet on the axes that they share."""
        if (row.values < 0).all():
            return
        r, c, v = np.broadcast_arrays(*lay(row, column, value)[1])
        keep = (r >= 0) & (c >= 0) & (v != 0)
        self.entries.append((r[keep].astype(np.int32), c[keep].astype(np.int32), v[keep].astype(float)))

    def price(self, name: str, value: Named) -> None:
        """The cost of a unit of each column of a block."""
        block = self.columns[name]
        there = block.values >= 0
        self.cost[block.values[there]] = np.broadcast_to(value.on(block.axes), there.shape)[there]

    def where(self, name: str) -> Named:
        """A limit of 0 where a block has a column, none elsewhere."""
        return meet(lambda index: np.where(index >= 0, 0.0, np.inf), self.columns[name])


def take(block: Named, values: Array) -> Array:
    """Values of a block of columns or rows in its shape, 0 where it has none."""
    index = block.values
    return np.where(index >= 0, values[np.maximum(index, 0)] if values.size else 0.0, 0.0)


def build(f: Fleet) -> Programme:
    """The programme of a fleet."""
    from scipy import sparse

    p = Programme(f)
    for family in (_columns, _cost, _demand, _chips, _stock, _power, _space, _supply, _vendors):
        family(p)
    row, column, value = map(np.concatenate, zip(*p.entries, strict=True))
    p.matrix, p.limit = sparse.csr_array((value, (row, column)), shape=(p.n_rows, p.n)), np.concatenate(p.limits)
    return p


def _numbered(there: Array, start: int) -> Array:
    index = np.full(there.shape, -1, dtype=np.int64)
    index[there] = start + np.arange(int(there.sum()))
    return index


def _columns(b: Programme) -> None:
    """Chips at work, installed, bought, retired, and those beyond a step of the price; work left undone; assets built."""
    some = {name: meet(np.greater, b.figures[name], 0.0) for name in ("throughput", "allowed", "installed", "supply", "hours")}
    there = meet(np.logical_or, Named("K", np.asarray(some["supply"].values.any(axis=1))), some["installed"])
    b.add_columns("x", "WKRHT", meet(np.logical_and, meet(np.logical_and, some["throughput"], some["allowed"]), there))
    b.add_columns("stock", "GKRT", there)
    b.add_columns("bought", "GKRT", meet(np.logical_and, some["supply"], meet(np.greater_equal, b.ordered("delay"), 0)))
    b.add_columns("retired", "GKRT", there)
    b.add_columns("unmet", "WHT", meet(lambda usd, due: np.isfinite(usd) & (due > 0), b.figures["value"], b.due))
    ahead = meet(np.greater_equal, b.ordered("space_delay"), 0)
    b.add_columns("space", "ART", meet(np.logical_and, meet(np.isfinite, b.figures["space"]), ahead))
    b.add_columns("beyond", "KNT", meet(np.logical_and, meet(np.isfinite, b.figures["steps"]), some["supply"]))


def _cost(b: Programme) -> None:
    """Energy, carbon, operations, assets and chips, less resale, and the value of what is left undone, all discounted."""
    a, (standing, working) = b.figures, b.draw
    b.cost = np.zeros(b.n)
    watt = (a["electricity_usd_per_kwh"] + a["carbon_g_per_kwh"] * a["carbon_usd_per_t"]) * YEAR * b.discount  # [USD per year]
    resale = a["resale"].values
    left = np.zeros((b.sizes["K"], b.sizes["T"]))  # what is left at the end is worth what it sells for
    left[:, -1] = resale[:, -1] * a["survival"].values * b.last
    b.price("x", working * watt * a["hours"])
    b.price("stock", standing * watt + a["operations"] * b.discount - Named("KT", left))
    b.price("bought", a["price"] * b.start)
    b.price("retired", Named("KT", -resale[:, :-1]) * b.start)
    b.price("beyond", a["price"] * a["rise"] * b.start)
    b.price("space", a["space_cost"] * b.discount)
    with np.errstate(invalid="ignore"):
        b.price("unmet", a["value"] * YEAR * b.discount * b.due)


def _demand(b: Programme) -> None:
    """What is done and what is left undone is at least what is asked: in each hour, or over the period where work may wait."""
    row = b.add_rows("demand", meet(lambda n, due: np.where(due > 0, -n, np.inf), b.figures["demand"] * b.asked, b.due))
    of = np.where(b.figures["movable"].values[:, None, None] > 0, row.values[:, :1], row.values)
    b.add(Named("WHT", of), b.columns["x"], b.figures["throughput"] * b.figures["hours"] * -1.0)
    b.add(row, b.columns["unmet"], b.due * -1.0)
    may = meet(lambda share, n: np.where((share > 0) & (n > 0), (1 - share) * n, np.inf), b.figures["least"], b.figures["demand"] * b.asked)
    b.add(b.add_rows("least", may), b.columns["unmet"], b.due)


def _chips(b: Programme) -> None:
    """Chips at work for a group are no more than those installed for it and not in repair."""
    row = b.add_rows("chips", b.where("stock") + b.figures["hours"] * 0.0)  # the same in every hour
    group = np.array(b.fleet.groups or (0,) * b.sizes["W"], dtype=int)
    b.add(Named("WKRHT", row.values[group]), b.columns["x"], 1.0)
    b.add(row, b.columns["stock"], -b.fleet.availability)


def _stock(b: Programme) -> None:
    """Stock is never more than what was there and came, less what is retired; at the start the groups share what is installed."""
    stock, bought, retired = (b.columns[name] for name in ("stock", "bought", "retired"))
    there = Named("KR", stock.values[0, :, :, 0] >= 0)
    first = b.add_rows("installed", meet(lambda n, stands: np.where(stands, n, np.inf), b.figures["installed"], there))
    kept = b.add_rows("kept", Named("GKRT", b.where("stock").values[..., 1:]))
    b.add(kept, Named("GKRT", stock.values[..., :-1]), b.figures["survival"] * -1.0)
    for block, sign in ((stock, 1.0), (bought, -1.0), (retired, 1.0)):
        b.add(first, Named("GKR", block.values[..., 0]), sign)
        b.add(kept, Named("GKRT", block.values[..., 1:]), sign)
    # what is delivered stays at least for its first period: else chips would be bought and thrown away for the sake of a vendor's share
    arrived = b.add_rows("arrived", b.where("bought"))
    b.add(arrived, bought, 1.0)
    b.add(arrived, stock, -1.0)


def _power(b: Programme) -> None:
    """Power at the meter of each site in each hour."""
    row = b.add_rows("power", b.figures["power_limit"] + b.figures["hours"] * 0.0)
    b.add(row, b.columns["x"], b.draw[1])
    b.add(row, b.columns["stock"], b.draw[0])


def _space(b: Programme) -> None:
    """Installed chips fit the assets there and built, of which there are no more than the site's phases allow, and what is built stays."""
    there, built = b.figures["space"], b.columns["space"]
    row = b.add_rows("space", there + b.discount * 0.0)
    b.add(row, b.columns["stock"], b.figures["occupies"])
    b.add(row, built, -1.0)
    with np.errstate(invalid="ignore"):
        b.add(b.add_rows("space_limit", b.figures["space_limit"] - there), built, 1.0)  # none where there is no end of it
    stays = b.add_rows("stays", Named("ART", b.where("space").values[..., 1:]))
    b.add(stays, Named("ART", built.values[..., :-1]), 1.0)
    b.add(stays, Named("ART", built.values[..., 1:]), -1.0)


def _supply(b: Programme) -> None:
    """Chips that can be bought, those of them beyond each step of the price, and what may be paid for them."""
    budget = b.add_rows("budget", b.figures["budget"])
    b.add(budget, b.columns["bought"], b.figures["price"])
    b.add(budget, b.columns["beyond"], b.figures["price"] * b.figures["rise"])
    step = b.add_rows("step", meet(lambda most, index: np.where(index >= 0, most, np.inf), b.figures["steps"], b.columns["beyond"]))
    b.add(step, b.columns["bought"], 1.0)
    b.add(step, b.columns["beyond"], -1.0)
    b.add(b.add_rows("supply", meet(lambda most: np.where(most > 0, most, np.inf), b.figures["supply"])), b.columns["bought"], 1.0)


def _vendors(b: Programme) -> None:
    """Each vendor's share of what is bought, by price, so that nobody buys trinkets from one to be allowed more of another."""
    f, vendors = b.fleet, b.fleet.names("V")
    row = b.add_rows("vendor", Named("VT", np.full((len(vendors), b.sizes["T"]), 0.0 if f.vendor_share < 1 else np.inf)))
    if f.vendor_share < 1:
        sells = b.figures["supply"].values.max(axis=1) > 0
        selling = {name for name, some in zip(f.vendor, sells, strict=False) if some}
        if selling and len(selling) * f.vendor_share < 1 - 1e-9:
            raise InputError(
                f"vendor_share = {f.vendor_share}: {len(selling)} vendors with supply can't add up to a purchase at that share"
            )
        mine = Named("VK", np.array(vendors)[:, None] == np.array(f.vendor))
        b.add(row, b.columns["bought"], meet(lambda own, usd: (own - f.vendor_share) * np.maximum(usd, 1e-9), mine, b.figures["price"]))


def explain_infeasible(p: Programme) -> str:
    """Which rows can't hold together, by how much, and which limits would do: plans that break the rows, and the limits alone, least."""
    from scipy import sparse
    from scipy.optimize import linprog

    n, size, limits = p.matrix.shape[1], np.maximum(np.abs(p.limit), 1.0), np.ones(p.n_rows, dtype=bool)
    for name in ("chips", "kept", "installed", "arrived", "stays", "step", "demand", "least"):  # books and what is demanded
        limits[p.rows[name].values[p.rows[name].values >= 0]] = False

    def least(may: Array) -> Any:
        """The plan that breaks the rows that `may` give way least, each breach over the size of its row."""
        elastic = sparse.hstack([p.matrix, -sparse.diags_array(size).tocsc()[:, may]], format="csr")
        found = linprog(np.concatenate([np.zeros(n), np.ones(may.sum())]), A_ub=elastic, b_ub=p.limit, method="highs")
        found.over = np.zeros(p.n_rows)
        found.over[may] = found.x[n:] if found.status == 0 else 0.0
        return found

    def said(over: Array, how: str) -> str:
        many = int((over > 1e-9).sum())
        worst = np.argsort(-over)[: min(5, many)]
        given = "; ".join(f"{_row_name(p, int(i))} by {over[i] * size[i]:.4g} {how} {abs(p.limit[i]):.4g}" for i in worst)
        return given + (f"; and {many - 5} more" if many > 5 else "")

    result = least(np.ones(p.n_rows, dtype=bool))
    if result.status != 0:
        return f"no plan keeps every limit, and the least breach was not found: {result.message}"
    pressed = -result.ineqlin.marginals * size * ((result.over <= 1e-9) & limits)  # what would help most, of the limits that were kept
    holds = [_row_name(p, int(i)) for i in np.argsort(-pressed)[:3] if pressed[i] > 1e-9]
    message = f"no plan keeps every limit; the least that must give: {said(result.over, 'of')}"
    idle = (p.columns["x"].values < 0).all(axis=(1, 2, 3, 4)) & (p.figures["demand"].values > 0).any(axis=1)
    nowhere = ", ".join(np.array(p.fleet.work)[idle])
    message += f"; nothing that can do {nowhere} is installed or can be bought where it may run" if nowhere else ""
    message += f"; held back by {', '.join(holds)}" if holds else ""
    enough = least(limits)
    if enough.status == 0:
        return f"{message}; it would do to raise {said(enough.over, 'over')}"
    return f"{message}; no limit that is raised would do: less must be done, or chips for it come sooner"


def _place(f: Fleet, block: Named, at: Any) -> str:
    """Names of a place in a block, but for the group of a fungible fleet, and the hour where there is one: they say nothing."""
    there = zip(block.axes, at, strict=True)
    return ", ".join(f.names(axis)[i] for axis, i in there if axis != "G" and (axis != "H" or np.size(f.hours) > 1))


def _row_name(p: Programme, row: int) -> str:
    for name, block in p.rows.items():
        found = np.argwhere(block.values == row)
        if found.size:
            at = found[0] + [int(axis == "T" and name in ("kept", "stays")) for axis in block.axes]  # from the second period on
            return f"{name} ({_place(p.fleet, block, at)})"
    raise AssertionError(f"row {row} belongs to no block")
