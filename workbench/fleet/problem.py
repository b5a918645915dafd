"""What an allocation is asked, and what it answers: figures with named axes, a fleet, and its plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Arrays
from workbench.checks import ELECTRICITY, NOT_NEGATIVE, PUE, SHARE, Rule, declared, to_shape
from workbench.energy.carbon import INTENSITY
from workbench.energy.grid import CARBON_PRICE
from workbench.errors import InputError
from workbench.fleet.finance import USED, YEARLY
from workbench.units import GRAM, KWH, MEGA, TONNE

Array = NDArray[Any]

#: Axes of a figure, a block of columns or of rows, in the order that they always have.
AXES = {
    "V": "vendor", "G": "group", "W": "work", "A": "asset", "K": "kind", "N": "step", "R": "region", "H": "hour", "T": "period", "E": "end",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Named:
    """An array whose axes have names, the letters of `AXES`: two of them meet by name, not by place."""

    axes: str
    values: Array

    def on(self, axes: str) -> Array:
        """The values laid out on `axes`, of length 1 where they do not vary."""
        return self.values[tuple(slice(None) if a in self.axes else None for a in axes)]

    def __mul__(self, other: Any) -> Named:
        return meet(np.multiply, self, other)

    def __add__(self, other: Named) -> Named:
        return meet(np.add, self, other)

    def __sub__(self, other: Any) -> Named:
        return meet(np.subtract, self, other)


def lay(*given: Any) -> tuple[str, list[Any]]:
    """The axes of all that is given, and each laid out on them; numbers have none and stay."""
    axes = "".join(a for a in AXES if any(a in g.axes for g in given if isinstance(g, Named)))
    return axes, [g.on(axes) if isinstance(g, Named) else g for g in given]


def meet(operation: Callable[..., Any], *given: Any) -> Named:
    """An operation of numpy on arrays with names and numbers."""
    axes, laid = lay(*given)
    return Named(axes, operation(*laid))


def whether(name: str, value: Any) -> Array:
    """Rule of what is so or not: truth values, or 1 and 0."""
    truth = not isinstance(value, np.ma.MaskedArray) and np.asarray(value).dtype == bool
    return np.asarray(SHARE(name, np.asarray(value, dtype=float) if truth else value))


LIMIT, PERIODS = Rule(least=0.0, infinite=True), Rule(least=0.0, whole=True, unit="periods")


@dataclass(frozen=True, repr=False)
class Fleet(Arrays):
    """What to decide on: `W` kinds of work, `K` of chips (a vintage is a kind), `R` regions, `T` years of `H` typical hours.

    Figures broadcast to the axes that they declare, as `AXES` names them. Limits are infinite unless given. A kind with no supply can't be
    bought, so that one of the future has none before its date. Chips are paid when they come, at the start of a period, and all else at its
    end; they occupy `A` assets (buildings, shells of power and cooling, racks), which stay when their chips are replaced. A supplier's
    price rises from step to step of what comes in a period: a convex, piecewise linear bill.
    """

    work: tuple[str, ...]  #: names of the classes of work (W,)
    kinds: tuple[str, ...]  #: names of the kinds of chips (K,)
    regions: tuple[str, ...]  #: names of the sites (R,)
    throughput: Annotated[ArrayLike, "WK", NOT_NEGATIVE]  #: work that a chip does per second; 0 where it can't
    demand: Annotated[ArrayLike, "WT", NOT_NEGATIVE]  #: work demanded per second
    value: Annotated[ArrayLike, "WT", LIMIT]  #: of a second's unit of work left undone [USD/unit]; inf: it must be done
    installed: Annotated[ArrayLike, "KR", NOT_NEGATIVE]  #: chips there at the start
    power: Annotated[ArrayLike, "K", NOT_NEGATIVE]  #: IT power of a chip at work [W]
    idle_power: Annotated[ArrayLike, "K", NOT_NEGATIVE]  #: IT power of an idle chip [W]
    pue: Annotated[ArrayLike, "R", PUE]  #: facility power over IT power
    electricity_usd_per_kwh: Annotated[ArrayLike, "RT", ELECTRICITY]  #: price of electricity
    price: Annotated[ArrayLike, "KT", NOT_NEGATIVE] = 0.0  #: of a new chip with its server and network [USD]
    operations: Annotated[ArrayLike, "K", NOT_NEGATIVE] = 0.0  #: staff and repair of an installed chip per year [USD]
    resale: Annotated[ArrayLike, "KE", NOT_NEGATIVE] = 0.0  #: of a used one at the start of each period, and at the end of the last [USD]
    supply: Annotated[ArrayLike, "KT", LIMIT] = 0.0  #: chips that can be bought per period
    allowed: Annotated[ArrayLike, "WR", whether] = True  #: whether work may run in a region: latency, residency
    power_limit: Annotated[ArrayLike, "RT", LIMIT] = np.inf  #: at the meter [W]
    carbon_g_per_kwh: Annotated[ArrayLike, "RT", INTENSITY] = 0.0  #: location-based
    carbon_usd_per_t: Annotated[ArrayLike, "T", CARBON_PRICE] = 0.0  #: price of carbon
    budget: Annotated[ArrayLike, "T", LIMIT] = np.inf  #: for chips [USD per period]
    delay: Annotated[ArrayLike, "K", PERIODS] = 0  #: whole periods from the order of a kind to the start of the period in which it comes
    steps: Annotated[ArrayLike, "KN", LIMIT] = np.inf  #: chips that come in a period, in all regions, beyond which the price rises
    rise: Annotated[ArrayLike, "KN", NOT_NEGATIVE] = 0.0  #: of the price beyond each step, over the list price
    least: Annotated[ArrayLike, "WT", SHARE] = 0.0  #: share of demand that must be met, whatever it is worth
    assets: tuple[str, ...] = ("shell",)  #: what chips occupy: its size is in watts of IT power, racks, square metres
    occupies: Annotated[ArrayLike, "AK", NOT_NEGATIVE] = 0.0  #: of each asset that a chip takes
    space: Annotated[ArrayLike, "AR", LIMIT] = np.inf  #: of each asset there at the start; more can be built where it is finite
    space_cost: Annotated[ArrayLike, "AR", NOT_NEGATIVE] = 0.0  #: of one more of it, a year it is there [USD]
    space_limit: Annotated[ArrayLike, "ART", LIMIT] = np.inf  #: most of it that is there by each period: a site in phases
    space_delay: Annotated[ArrayLike, "A", PERIODS] = 0  #: whole periods from the order to the start of the period in which it is there
    hours: Annotated[ArrayLike, "H", SHARE] = (1.0,)  #: share of a period that each typical hour represents
    shape: Annotated[ArrayLike, "WH", NOT_NEGATIVE] = 1.0  #: demand in a typical hour over its mean
    movable: Annotated[ArrayLike, "W", whether] = False  #: whether work may wait within the period, so that its shape does not matter
    vendor: tuple[str, ...] = ()  #: who makes each kind (K,)
    vendor_share: float = 1.0  #: largest share of one vendor in the capital of what is bought per period
    groups: tuple[int, ...] = ()  #: partition of the work (W,): chips serve one group only; empty: one fungible fleet
    survival: Annotated[ArrayLike, "K", USED] = 1.0  #: share of chips that outlast a period
    availability: float = 1.0  #: share of installed chips that are not in repair
    rate: float = 0.0  #: discount rate per year, as `annuity` takes it

    def __post_init__(self) -> None:
        figures(self)

    def names(self, axis: str) -> list[str]:
        """Names along an axis, a letter of `AXES`; groups have none."""
        counted = {"T": ("period", self.demand), "H": ("hour", self.hours), "N": ("step", self.steps)}
        if axis in counted:
            return [f"{counted[axis][0]} {i}" for i in range(np.atleast_1d(counted[axis][1]).shape[-1])]
        return list({"V": sorted(set(self.vendor)), "W": self.work, "A": self.assets, "K": self.kinds, "R": self.regions}[axis])


FIGURES = {name: said for name, said in declared(Fleet).items() if said}  #: axes of each figure of a fleet, and what it may be
#: What figures in the units that people use are in SI.
SI = {"electricity_usd_per_kwh": 1 / KWH, "carbon_g_per_kwh": GRAM / KWH, "carbon_usd_per_t": 1 / TONNE}


def figures(f: Fleet) -> dict[str, Named]:
    """The figures of a fleet in their full shapes and in SI. Raises `InputError` for those that do not fit, or can't be."""
    demand = Rule(least=0.0, last="periods")("demand", f.demand)
    sizes = {"W": len(f.work), "K": len(f.kinds), "R": len(f.regions), "A": len(f.assets), "N": (np.shape(f.steps) or (1,))[-1]}
    sizes |= {"T": demand.shape[-1], "E": demand.shape[-1] + 1}
    sizes["H"] = Rule(least=0.0, last="hours")("hours", f.hours).shape[-1]
    if min(sizes.values()) < 1:
        counts = "{W} kinds of work, {K} of chips, {R} regions, {A} assets, {T} periods".format(**sizes)
        raise InputError(f"{counts}: one or more of each is needed")
    a: dict[str, Named] = {}
    for name, (axes, rule) in FIGURES.items():
        full = to_shape(name, rule(name, getattr(f, name)), tuple(sizes[axis] for axis in axes))
        a[name] = Named(axes, full * SI[name] if name in SI else full)
    for name, rule in (("rate", YEARLY), ("availability", USED), ("vendor_share", USED)):
        replace(rule, one=True)(name, getattr(f, name))
    if abs(a["hours"].values.sum() - 1) > 1e-6:
        raise InputError(f"hours: shares of a period that add up to {a['hours'].values.sum():.6g}; expected 1")
    fixed, mean = a["movable"].values == 0, (a["shape"].values * a["hours"].values).sum(axis=1)
    if np.any(wrong := fixed & (np.abs(mean - 1) > 1e-6)):
        i = int(wrong.argmax())
        raise InputError(f"shape: the mean of {f.work[i]} over the hours is {mean[i]:.6g}; expected 1")
    cheapest = np.minimum.accumulate(np.where(a["supply"].values > 0, a["price"].values, np.inf), axis=1)
    if np.any(above := a["resale"].values[:, 1:] > cheapest):
        k, t = np.argwhere(above)[0]
        what = f"resale = {a['resale'].values[k, t + 1]:g} of {f.kinds[k]} at the end of period {t}"
        why = "so that buying to sell would make money of nothing"
        raise InputError(f"{what}: it was sold new at {cheapest[k, t]:g}, {why}; give at most that")
    there, most = a["space"].values[..., None], a["space_limit"].values
    if np.any(short := np.isfinite(there) & (most < there)):
        i, r, t = np.argwhere(short)[0]
        what = f"space_limit = {most[i, r, t]:g} of {f.assets[i]} in {f.regions[r]}, period {t}"
        raise InputError(f"{what}: {there[i, r, 0]:g} is there at the start; give at least that")
    if np.any(a["idle_power"].values > a["power"].values):
        raise InputError("idle_power exceeds power: a chip at work draws at least what it draws idle")
    if f.vendor and len(f.vendor) != sizes["K"]:
        raise InputError(f"vendor: {len(f.vendor)} names for {sizes['K']} kinds of chips")
    groups = Rule(least=0.0, whole=True)("groups", f.groups or (0,) * sizes["W"])
    if groups.shape != (sizes["W"],) or groups.max() >= sizes["W"]:
        raise InputError(f"groups = {f.groups}: expected one number below {sizes['W']} for each of {sizes['W']} kinds of work")
    return a


@dataclass(frozen=True, repr=False)
class Plan(Arrays):
    """What to do, what it costs, and what would change it."""

    fleet: Fleet = field(repr=False)  #: what was asked
    cost: float  #: discounted, unmet work priced at its value [USD]
    chips: Array  #: chips at work, mean of the hours (W, K, R, T)
    by_hour: Array  #: chips at work in each typical hour (W, K, R, H, T)
    stock: Array  #: chips installed (K, R, T), all groups
    bought: Array  #: chips (K, R, T)
    retired: Array  #: chips (K, R, T)
    unmet: Array  #: work left undone per second (W, T)
    facility_power: Array  #: mean of the hours [W] (R, T)
    space: Array  #: of each asset built by then (A, R, T)
    shadow: dict[str, Array] = field(repr=False)  #: by row: what one more unit of its limit saves, discounted to now [USD]

    @property
    def megawatt(self) -> Array:
        """What one more megawatt at the meter is worth in each region and period [USD/MW per period] (R, T)."""
        return self.shadow["power"] * MEGA

    @property
    def deadline(self) -> Array:
        """What it saves to do a second's unit of work a period later, discounted to now: the price of a deadline [USD] (W, T - 1)."""
        return -np.diff(self.shadow["demand"], axis=-1)

    @property
    def served(self) -> Array:
        """Share of each demand met (W, T)."""
        asked = np.broadcast_to(np.asarray(self.fleet.demand, dtype=float), self.unmet.shape)
        return np.where(asked > 0, 1 - self.unmet / np.where(asked > 0, asked, 1.0), 1.0)

    def frame(self) -> pl.DataFrame:
        """One row a kind, region and period with chips: kind, region, period, stock, bought, retired, and chips by work."""
        k, r, t = (a.ravel() for a in np.indices(self.stock.shape))
        columns: dict[str, Any] = {AXES[axis]: np.array(self.fleet.names(axis))[at] for axis, at in (("K", k), ("R", r))}
        columns |= {AXES["T"]: t, "stock": self.stock.ravel(), "bought": self.bought.ravel(), "retired": self.retired.ravel()}
        columns |= {name: self.chips[w].ravel() for w, name in enumerate(self.fleet.names("W"))}
        return pl.DataFrame(columns).filter((pl.col("stock") > 1e-6) | (pl.col("bought") > 1e-6) | (pl.col("retired") > 1e-6))
