"""The rows and columns of `allocate`, as arrays: every block of variables and of rows is one slice with a shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, PUE, SHARE, Rule, numeric
from workbench.errors import InputError
from workbench.fleet.finance import USED, YEARLY
from workbench.units import YEAR

if TYPE_CHECKING:
    from workbench.fleet.allocate import Fleet

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Programme:
    """min cost x  subject to  matrix x <= limit,  lower <= x <= upper."""

    fleet: Fleet
    cost: Array
    matrix: Any  #: scipy.sparse.csr_array
    limit: Array
    lower: Array
    upper: Array
    integer: NDArray[np.int64]  #: 1 where a variable is whole
    columns: dict[str, NDArray[np.int64]]  #: block -> index of each variable, -1 where there is none
    rows: dict[str, NDArray[np.int64]]  #: block -> index of each row, -1 where there is none
    draw: tuple[Array, Array]  #: power at the meter of a standing chip, and on top of a working one [W] (K, R)
    figures: dict[str, Array]  #: those of the fleet in their full shapes

    def take(self, block: str, values: Array) -> Array:
        """Values of a block of variables in its shape, 0 where there is no variable."""
        index = self.columns[block]
        return np.where(index >= 0, values[np.maximum(index, 0)] if values.size else 0.0, 0.0)

    def rows_of(self, block: str, values: Array) -> Array:
        """Values of a block of rows in its shape, 0 where there is no row."""
        index = self.rows[block]
        return np.where(index >= 0, values[np.maximum(index, 0)] if values.size else 0.0, 0.0)

    def promise(self) -> Array:
        """How soon a solver should look at each column: work on chips that have a comparative advantage in it first, all else at once."""
        advantage = np.maximum(self.figures["throughput"], 1e-300)
        advantage = advantage / advantage.mean(axis=1, keepdims=True)
        advantage = advantage / advantage.mean(axis=0)
        advantage = np.log(advantage / advantage.max(axis=1, keepdims=True))
        index, order = self.columns["x"], np.full(self.cost.size, np.inf)
        spread = np.random.default_rng(0).gumbel(scale=0.1, size=index.shape)  # over regions and periods
        order[index[index >= 0]] = (advantage[:, :, None, None] + spread)[index >= 0]
        return order

    def facility_power(self, chips: Array, stock: Array) -> Array:
        """Power at the meter [W] (R, T)."""
        standing, working = self.draw
        return np.einsum("kr,krt->rt", standing, stock) + np.einsum("kr,wkrt->rt", working, chips)


class _Rows:
    """Collects coefficients block by block; each `add` takes arrays of rows, columns and values that broadcast."""

    def __init__(self) -> None:
        self.row: list[NDArray[np.int64]] = []
        self.column: list[NDArray[np.int64]] = []
        self.value: list[Array] = []
        self.limit: list[Array] = []
        self.blocks: dict[str, NDArray[np.int64]] = {}
        self.n = 0

    def block(self, name: str, limit: Array) -> NDArray[np.int64]:
        """Rows of a block; none where the limit is infinite."""
        finite = np.isfinite(limit)
        index = np.full(limit.shape, -1, dtype=np.int64)
        index[finite] = self.n + np.arange(int(finite.sum()))
        self.n += int(finite.sum())
        self.limit.append(limit[finite])
        self.blocks[name] = index
        return index

    def add(self, row: Any, column: Any, value: Any) -> None:
        r, c, v = np.broadcast_arrays(np.asarray(row), np.asarray(column), np.asarray(value, dtype=float))
        keep = (r >= 0) & (c >= 0) & (v != 0)
        self.row.append(r[keep].astype(np.int32))
        self.column.append(c[keep].astype(np.int32))
        self.value.append(v[keep])


def figures(f: Fleet) -> dict[str, Array]:
    """The figures of a fleet in their full shapes. Raises `InputError` for those that do not fit, or can't be."""
    demand = Rule(least=0.0, last="periods")("demand", f.demand)
    sizes = {"W": len(f.work), "K": len(f.kinds), "R": len(f.regions), "T": demand.shape[-1]}
    if min(sizes.values()) < 1:
        raise InputError("{W} kinds of work, {K} kinds of chips, {R} regions, {T} periods: one or more of each is needed".format(**sizes))
    a = {name: shaped(name, getattr(f, name), tuple(sizes[axis] for axis in axes), rule) for name, (axes, rule) in _FIGURES.items()}
    for name, rule in (("rate", YEARLY), ("period", POSITIVE), ("availability", USED), ("vendor_share", USED)):
        replace(rule, one=True)(name, getattr(f, name))
    if np.any((a["resale"] > 0) & (a["supply"].max(axis=1) > 0)):
        raise InputError(
            "resale: a kind that can be bought is charged by the year, so that selling it on would make money of nothing; give 0"
        )
    if np.any(a["idle_power"] > a["power"]):
        raise InputError("idle_power exceeds power: a chip at work draws at least what it draws idle")
    if f.vendor and len(f.vendor) != sizes["K"]:
        raise InputError(f"vendor: {len(f.vendor)} names for {sizes['K']} kinds of chips")
    a["groups"] = Rule(least=0.0, whole=True)("groups", f.groups or (0,) * sizes["W"])
    if a["groups"].shape != (sizes["W"],) or a["groups"].max() >= sizes["W"]:
        raise InputError(f"groups = {f.groups}: expected one number below {sizes['W']} for each of {sizes['W']} kinds of work")
    return a


def shaped(name: str, value: Any, shape: tuple[int, ...], rule: Callable[[str, Any], Any] = numeric) -> Array:
    """A figure as its rule returns it, broadcast to a shape."""
    given = np.asarray(rule(name, value))
    try:
        return np.array(np.broadcast_to(given, shape))
    except ValueError:
        raise InputError(f"{name} has shape {given.shape}: expected one that broadcasts to {shape}") from None


def whether(name: str, value: Any) -> Array:
    """Rule of what is so or not: truth values, or 1 and 0."""
    truth = not isinstance(value, np.ma.MaskedArray) and np.asarray(value).dtype == bool
    return np.asarray(SHARE(name, np.asarray(value, dtype=float) if truth else value))


LIMIT = Rule(least=0.0, infinite=True)
#: Axes of each figure of a fleet, and what it may be.
_FIGURES: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "throughput": ("WK", NOT_NEGATIVE), "demand": ("WT", NOT_NEGATIVE), "value": ("WT", LIMIT), "installed": ("KR", NOT_NEGATIVE),
    "power": ("K", NOT_NEGATIVE), "idle_power": ("K", NOT_NEGATIVE), "pue": ("R", PUE), "electricity_price": ("RT", FINITE),
    "capital": ("K", NOT_NEGATIVE), "operations": ("K", NOT_NEGATIVE), "resale": ("K", NOT_NEGATIVE), "supply": ("KT", LIMIT),
    "allowed": ("WR", whether), "power_limit": ("RT", LIMIT), "carbon_intensity": ("RT", NOT_NEGATIVE), "carbon_price": ("T", NOT_NEGATIVE),
    "carbon_limit": ("T", LIMIT), "water_intensity": ("R", NOT_NEGATIVE), "water_limit": ("RT", LIMIT), "budget": ("T", LIMIT),
    "survival": ("K", USED), "site_cost": ("R", NOT_NEGATIVE), "design_cost": ("K", NOT_NEGATIVE),
}  # fmt: skip


def build(f: Fleet) -> Programme:
    """The programme of a fleet."""
    from scipy import sparse

    a = figures(f)
    (W, K), R, T = a["throughput"].shape, len(f.regions), a["demand"].shape[-1]
    group = a["groups"].astype(int)
    G = int(group.max()) + 1
    years = f.period / YEAR
    discount = (1 + f.rate) ** -(np.arange(T) * years)

    buyable = a["supply"].max(axis=1) > 0
    runs = (a["throughput"] > 0)[:, :, None] & (a["allowed"] > 0)[:, None, :]
    there = buyable[:, None] | (a["installed"] > 0)
    runs = np.broadcast_to((runs & there[None])[..., None], (W, K, R, T))
    counter = 0

    def block(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        nonlocal counter
        index = np.full(mask.shape, -1, dtype=np.int64)
        size = int(mask.sum())
        index[mask] = counter + np.arange(size)
        counter += size
        return index

    every = np.broadcast_to(there[None, :, :, None], (G, K, R, T))
    sites, designs = a["site_cost"] > 0, a["design_cost"] > 0
    columns = {
        "x": block(runs),
        "stock": block(every),
        "bought": block(np.broadcast_to((a["supply"] > 0)[None, :, None, :], (G, K, R, T))),
        "retired": block(every),
        "unmet": block(np.isfinite(a["value"])),
        "open": block(sites),
        "design": block(designs),
    }
    x, stock, bought, retired, unmet = (columns[name] for name in ("x", "stock", "bought", "retired", "unmet"))

    standing = a["idle_power"][:, None] * a["pue"][None, :]
    working = (a["power"] - a["idle_power"])[:, None] * a["pue"][None, :]
    dearness = (a["electricity_price"] + a["carbon_intensity"] * a["carbon_price"]) * f.period * discount  # USD a watt and period (R, T)

    cost = np.zeros(counter)
    lower, upper = np.zeros(counter), np.full(counter, np.inf)
    integer = np.zeros(counter, dtype=np.int64)

    def price(index: NDArray[np.int64], value: Any) -> None:
        cost[index[index >= 0]] = np.broadcast_to(value, index.shape)[index >= 0]

    price(x, (working[..., None] * dearness)[None])
    price(stock, (standing[..., None] * dearness + a["operations"][:, None, None] * years * discount)[None])
    owned = np.cumsum(discount[::-1])[::-1] * years  # what a year's capital costs from a period to the end
    price(bought, a["capital"][None, :, None, None] * owned)
    price(retired, -a["resale"][None, :, None, None] * discount)
    with np.errstate(invalid="ignore"):
        price(unmet, a["value"] * f.period * discount)
    price(columns["open"], a["site_cost"])
    price(columns["design"], a["design_cost"])
    for name in ("open", "design"):
        index = columns[name][columns[name] >= 0]
        upper[index], integer[index] = 1.0, 1

    rows = _Rows()
    asked = rows.block("demand", -a["demand"])
    rows.add(asked[:, None, None, :], x, -a["throughput"][:, :, None, None])
    rows.add(asked, unmet, -1.0)

    held = rows.block("chips", np.where(every, 0.0, np.inf))
    rows.add(held[group], x, 1.0)
    rows.add(held, stock, -f.availability)

    # Stock as two inequalities: never more than what was there and came, and retirement is what went. At the start the groups share it.
    first = np.where(there, a["installed"], np.inf)
    shared = rows.block("installed", first)
    rows.add(shared[None], stock[..., 0], 1.0)
    rows.add(shared[None], bought[..., 0], -1.0)
    rows.add(shared[None], retired[..., 0], 1.0)
    kept = rows.block("kept", np.where(every[..., 1:], 0.0, np.inf))
    rows.add(kept, stock[..., 1:], 1.0)
    rows.add(kept, stock[..., :-1], -a["survival"][None, :, None, None])
    rows.add(kept, bought[..., 1:], -1.0)
    rows.add(kept, retired[..., 1:], 1.0)

    # What comes stands at least in its first period: else chips would be bought and thrown away for the sake of a vendor's share.
    arrived = rows.block("arrived", np.where(columns["bought"] >= 0, 0.0, np.inf))
    rows.add(arrived, bought, 1.0)
    rows.add(arrived, stock, -1.0)

    limited = a["power_limit"]
    power = rows.block("power", np.where(sites[:, None], 0.0, limited) if sites.any() else limited)
    rows.add(power[None, None], x, working[None, :, :, None])
    rows.add(power[None, None], stock, standing[None, :, :, None])
    if sites.any():
        if not np.all(np.isfinite(limited[sites])):
            raise InputError("site_cost: a site that can be opened needs a finite power_limit")
        rows.add(power, columns["open"][:, None], -np.where(np.isfinite(limited), limited, 0.0))

    supply = rows.block("supply", np.where((a["supply"] > 0) & ~designs[:, None], a["supply"], np.where((a["supply"] > 0), 0.0, np.inf)))
    rows.add(supply[None, :, None, :], bought, 1.0)
    if designs.any():
        if not np.all(np.isfinite(a["supply"][designs])):
            raise InputError("design_cost: a kind that must be designed needs a finite supply")
        rows.add(supply, columns["design"][:, None], -a["supply"])

    vendors = sorted(set(f.vendor))
    if f.vendor_share < 1:
        selling = {name for name, sells in zip(f.vendor, buyable, strict=False) if sells}
        if len(selling) * f.vendor_share < 1 - 1e-9:
            raise InputError(
                f"vendor_share = {f.vendor_share}: {len(selling)} vendors with supply at that share each can't add up to a purchase"
            )
    # by capital, so that nobody buys trinkets from one vendor to be allowed more of another
    concentration = rows.block("vendor", np.where(np.full((len(vendors), T), f.vendor_share) < 1, 0.0, np.inf))
    for v, vendor in enumerate(vendors):  # a handful of suppliers
        mine = np.array([name == vendor for name in f.vendor])
        rows.add(concentration[v], bought, ((mine - f.vendor_share) * np.maximum(a["capital"], 1e-9))[None, :, None, None])

    budget = rows.block("budget", a["budget"])
    rows.add(budget, bought, a["capital"][None, :, None, None])
    carbon = rows.block("carbon", a["carbon_limit"])
    emitted = a["carbon_intensity"] * f.period
    rows.add(carbon, x, working[None, :, :, None] * emitted)
    rows.add(carbon, stock, standing[None, :, :, None] * emitted)
    water = rows.block("water", a["water_limit"])
    drunk = a["water_intensity"][:, None] * f.period
    rows.add(water, x, working[None, :, :, None] * drunk)
    rows.add(water, stock, standing[None, :, :, None] * drunk)

    matrix = sparse.csr_array(
        (np.concatenate(rows.value), (np.concatenate(rows.row), np.concatenate(rows.column))), shape=(rows.n, counter)
    )
    return Programme(f, cost, matrix, np.concatenate(rows.limit), lower, upper, integer, columns, rows.blocks, (standing, working), a)


def explain_infeasible(p: Programme) -> str:
    """Which rows can't hold together, and by how much: the plan that breaks them least, each row's breach over its own size."""
    from scipy import sparse
    from scipy.optimize import linprog

    n, m = p.matrix.shape[1], p.matrix.shape[0]
    size = np.maximum(np.abs(p.limit), 1.0)
    elastic = sparse.hstack([p.matrix, -sparse.diags_array(size)], format="csr")
    result = linprog(
        np.concatenate([np.zeros(n), np.ones(m)]),
        A_ub=elastic,
        b_ub=p.limit,
        bounds=np.stack([np.concatenate([p.lower, np.zeros(m)]), np.concatenate([p.upper, np.full(m, np.inf)])], axis=1),
        method="highs",
    )
    if result.status != 0:
        return f"no plan keeps every limit, and the least breach was not found: {result.message}"
    breach, over = result.x[n:] * size, result.x[n:]
    many = int((over > 1e-9).sum())
    broken = np.argsort(-over)[: min(5, many)]
    pressed = -result.ineqlin.marginals * size * (over <= 1e-9)  # what would help most, of the limits that were kept
    for name in ("chips", "kept", "installed", "arrived", "demand"):  # books and what is asked for, not limits
        index = p.rows[name]
        pressed[index[index >= 0]] = 0.0
    holds = [_row_name(p, int(i)) for i in np.argsort(-pressed)[:3] if pressed[i] > 1e-9]
    message = "no plan keeps every limit; the least that must give: " + "; ".join(_row_name(p, int(i), breach[int(i)]) for i in broken)
    message += f"; and {many - 5} more" if many > 5 else ""
    nowhere = [p.fleet.work[w] for w in np.flatnonzero((p.columns["x"] < 0).all(axis=(1, 2, 3)) & (p.figures["demand"] > 0).any(axis=1))]
    message += f"; nothing that can do {', '.join(nowhere)} stands or can be bought where it may run" if nowhere else ""
    return message + (f"; held back by {', '.join(holds)}" if holds else "")


def explain_unbounded(p: Programme) -> str:
    """What would grow without a limit: what reaches a bound that is put around everything."""
    from scipy.optimize import linprog

    box = 1e3 * max(float(np.abs(p.limit).max(initial=0.0)), 1.0)
    result = linprog(p.cost, A_ub=p.matrix, b_ub=p.limit, bounds=np.stack([p.lower, np.minimum(p.upper, box)], axis=1), method="highs")
    if result.x is None:
        return f"the allocation was not solved: {result.message}"
    grown = []
    for name, index in p.columns.items():
        far = np.argwhere((index >= 0) & (result.x[np.maximum(index, 0)] >= 0.99 * box))
        if far.size:
            grown.append(f"{name} ({', '.join(_named(p.fleet, _COLUMNS[name], far[0]))})")
    return (
        f"the plan has no bound: {'; '.join(grown) or 'some combination'} earns money without a limit; "
        "check for a negative electricity price without a power_limit, and give supply a limit"
    )


#: What each axis of a block counts.
_COLUMNS = {
    "x": ("work", "kinds", "regions", ""), "stock": ("group", "kinds", "regions", ""), "bought": ("group", "kinds", "regions", ""),
    "retired": ("group", "kinds", "regions", ""), "unmet": ("work", ""), "open": ("regions",), "design": ("kinds",),
}  # fmt: skip
_ROWS = {
    "demand": ("work", ""), "chips": ("group", "kinds", "regions", ""), "installed": ("kinds", "regions"),
    "kept": ("group", "kinds", "regions", ""), "arrived": ("group", "kinds", "regions", ""),
    "power": ("regions", ""), "supply": ("kinds", ""), "vendor": ("vendor", ""),
    "budget": ("",), "carbon": ("",), "water": ("regions", ""),
}  # fmt: skip


def _named(f: Fleet, axes: tuple[str, ...], at: Any) -> list[str]:
    """Names of a place in a block; the group of a fungible fleet says nothing."""
    names = []
    for axis, i in zip(axes, at, strict=True):
        if axis == "group":
            continue
        listed = sorted(set(f.vendor)) if axis == "vendor" else getattr(f, axis) if axis else ()
        names.append(listed[i] if axis else f"period {i}")
    return names


def _row_name(p: Programme, row: int, breach: float | None = None) -> str:
    for name, index in p.rows.items():
        found = np.argwhere(index == row)
        if found.size:
            where = f"{name} ({', '.join(_named(p.fleet, _ROWS[name], found[0]))})"
            return where if breach is None else f"{where} by {breach:.4g} of {abs(p.limit[row]):.4g}"
    raise AssertionError(f"row {row} belongs to no block")
