"""The closed loop: demand clears against what stands, the price moves orders, and what is ordered stands when its lead time is over."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import broadcast
from workbench.checks import NOT_NEGATIVE, Rule, takes
from workbench.demand.market.clearing import root_step
from workbench.demand.market.supply import BINDING, LIMITS, STAGES, delay_step, survival, tightest
from workbench.errors import InputError
from workbench.units import HOUR, YEAR

QUARTER = YEAR / 4
POWER = np.int8(BINDING.index("power"))
#: Futures in a block: what a quarter of so many needs stays in the second-level cache.
BLOCK = 4096

Array = NDArray[np.float64]

#: Axes of the inputs behind which stand the futures.
SHAPES = {
    "demand": ("class", "quarter"), "elasticity": ("class",), "contracted": ("class",), "long_run_cost": ("quarter",),
    "installed": ("vintage",), "shipping": ("due",), "limits": ("limit", "quarter"), "power_added": ("quarter",),
}  # fmt: skip
#: What they may be, where that is not any finite number of 0 or more.
SOME, MUCH = Rule(above=0, most=1e300), Rule(least=0, most=1e300)
RULES = {
    "demand": SOME, "elasticity": Rule(least=0, most=1e6), "contracted": Rule(least=0, most=1), "reference_price": SOME,
    "long_run_cost": SOME, "ceiling": Rule(above=0, infinite=True), "installed": MUCH, "shipping": MUCH,
    "limits": Rule(least=0, infinite=True), "draw": SOME, "draw_decline": Rule(least=0, most=1), "power": MUCH,
    "power_lead": Rule(least=STAGES, most=400), "chip_lead": Rule(least=1, most=40),
    "mean_life": SOME, "growth": Rule(least=-2, most=2), "extrapolation": Rule(least=0, most=2), "memory": Rule(least=1, most=400),
    "contract_quarters": Rule(least=1, most=1e300), "cancelled": Rule(least=0, most=1), "pue": Rule(least=1, most=10),
    "swap_ratio": Rule(least=1, infinite=True),
}  # fmt: skip


@dataclass(frozen=True)
class Futures:
    """What each future holds; futures on the last axis of every array, quarters before it; whatever broadcasts.

    A unit is what compute is counted in: an H100 equivalent. The price is that of a unit and hour. Fields are read-only.
    """

    demand: ArrayLike  #: units each class wants at the reference price, shape (classes, quarters, futures), above 0
    elasticity: ArrayLike  #: of each class, (classes, futures), 0 or more
    contracted: ArrayLike  #: share of each class under contract, (classes, futures), 0 to 1
    reference_price: ArrayLike  #: [USD/h]
    long_run_cost: ArrayLike  #: owning and running a new unit, (quarters, futures) [USD/h]
    installed: ArrayLike  #: units of each vintage that stood up to now, oldest first, a quarter apart, (vintages, futures)
    shipping: ArrayLike  #: units ordered already and due in each of the first quarters, (due, futures)
    limits: ArrayLike  #: units a quarter that each of `LIMITS` lets ship, (limits, quarters, futures)
    draw: ArrayLike  #: IT power of a unit of the newest vintage that stands [W]
    draw_decline: ArrayLike  #: of a new unit, a quarter, continuous
    power: ArrayLike  #: at the meter, for these units, energised up to now [W]
    power_coming: ArrayLike  #: asked for and on its way [W]
    power_lead: ArrayLike  #: mean delay from request to power [quarters], at least 3
    chip_lead: ArrayLike  #: from order to deployment [quarters], at least 1
    mean_life: ArrayLike  #: of a unit [quarters]
    growth: ArrayLike  #: of demand that planners see at the start, a quarter, continuous
    chip_response: ArrayLike  #: per cent more capacity ordered for one per cent of price above long-run cost
    power_response: ArrayLike  #: the same of power
    limit_response: ArrayLike  #: growth a quarter of what limits let ship for contracts at e times the long-run cost
    extrapolation: ArrayLike  #: share of the growth seen that planners expect to go on, 0 or more
    ceiling: ArrayLike = np.inf  #: above which nobody pays and compute is rationed [USD/h]
    memory: ArrayLike = 4.0  #: over which they average growth [quarters], at least 1
    contract_quarters: ArrayLike = 8.0  #: mean time after which contracts follow the price [quarters], at least 1
    cancelled: ArrayLike = 0.0  #: share of power asked for that never comes, 0 to 1
    power_added: ArrayLike = 0.0  #: brought by other means, (quarters, futures) [W]
    pue: ArrayLike = 1.15  #: power usage effectiveness, at least 1
    energy_price: ArrayLike = 0.08 / 3.6e6  #: [USD/J]
    space_cost: ArrayLike = 0.15 / 3.6e6  #: of a watt of IT power and second [USD/J]
    swap_ratio: ArrayLike = 1.5  #: power of an old unit over a new one from which new ones take its place where power is short, above 1

    def __post_init__(self) -> None:
        given = {f.name: RULES.get(f.name, NOT_NEGATIVE)(f.name, getattr(self, f.name)) for f in fields(self)}
        shape = given["demand"].shape
        if len(shape) != 3 or 0 in shape[:2]:
            raise InputError(f"demand: expected shape (classes, quarters, futures), found {shape}")
        sizes = {"class": shape[0], "quarter": shape[1], "limit": len(LIMITS)}
        for name, value in given.items():
            axes = SHAPES.get(name, ())
            before = zip(axes[::-1], value.shape[-2::-1], strict=False)
            if value.ndim > len(axes) + 1 or any(size not in (1, sizes.get(axis, size)) for axis, size in before):
                raise InputError(f"{name}: expected shape ({', '.join((*axes, 'future'))}) for {sizes}, found {value.shape}")
        (n,) = broadcast(**{name: np.broadcast_to(0.0, value.shape[-1:] or 1) for name, value in given.items()})
        for name, value in given.items():  # views that cannot be written
            object.__setattr__(self, name, np.broadcast_to(value, (*shape[:2], n) if name == "demand" else value.shape)[()])
        if not (_axes(given["installed"], 1).sum(axis=0) > 0).all():
            raise InputError("installed: expected units in every future")
        if not (_axes(given["elasticity"] * (1 - given["contracted"]), 1).max(axis=0) > 0).all():
            raise InputError(
                "elasticity: expected some demand that answers to price in every future; with none there is no price that clears"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(quarters, futures)"""
        _, quarters, n = np.shape(self.demand)
        return quarters, n

    def loop_gain(self) -> Array:
        """Response of orders over the spot elasticity at the start: above 1 a deviation comes back with the other sign, above 2 larger."""
        first = np.asarray(self.demand, dtype=float)[:, 0]
        spot = np.asarray(self.elasticity, dtype=float) * (1 - np.asarray(self.contracted, dtype=float))
        return np.asarray(self.chip_response / ((first * spot).sum(axis=0) / first.sum(axis=0)))


@dataclass(frozen=True)
class Outcome:
    """What comes of them, each (quarters, futures)."""

    price: Array  #: that clears [USD/h]
    long_run_cost: Array  #: [USD/h]
    supply: Array  #: units that stand and have power
    demand: Array  #: units that would be used at the long-run cost
    idle: Array  #: units that nobody wants at the marginal cost of running them
    waiting: Array  #: units that shipped and have no power
    power: Array  #: energised, at the meter [W]
    binding: NDArray[np.int8]  #: code in `BINDING` of what bound additions

    @property
    def unserved(self) -> Array:
        """Units wanted at the long-run cost beyond those that stand."""
        return np.maximum(self.demand - self.supply, 0.0)

    @property
    def gap(self) -> Array:
        """ln of price over long-run cost: above 0 compute is short."""
        return np.log(self.price / self.long_run_cost)

    def shortage_integral(self) -> Array:
        """Unserved over the whole time, by future [unit-years]."""
        return self.unserved.sum(axis=0) / 4

    def glut_integral(self) -> Array:
        """What capacity beyond the demand at its long-run cost costs over the whole time, by future [USD]."""
        return (np.maximum(self.supply - self.demand, 0.0) * self.long_run_cost).sum(axis=0) * QUARTER / HOUR

    @takes(band=Rule(least=0, one=True))
    def outside(self, band: float = 0.2) -> Array:
        """Share of the quarters in which the price is more than `band` off the long-run cost, by future."""
        return np.mean(np.abs(self.price / self.long_run_cost - 1) > band, axis=0)

    def swings(self) -> Array:
        """How often the price crosses its long-run cost, by future."""
        return np.count_nonzero(np.diff(np.signbit(self.gap), axis=0), axis=0).astype(float)

    def binds(self) -> pl.DataFrame:
        """Probability that each constraint binds, by quarter: quarter and the names of `BINDING`."""
        shares = {name: np.mean(self.binding == code, axis=1) for code, name in enumerate(BINDING)}
        return pl.DataFrame({"quarter": np.arange(len(self.price))} | shares)


def simulate(futures: Futures) -> Outcome:
    """Run all futures quarter by quarter, in blocks.

    In each quarter: what is due and waits in the backlog ships up to the limits; it is deployed as far as power reaches; the price clears
    demand against what stands, or is the marginal cost of running it with the rest idle. Capacity ordered for the end of the lead time is
    K e^(extrapolation growth L) (p / p*)^response, less what stands and is on its way, never negative; power likewise for its own
    delay. The oldest vintage goes (one a quarter) when its rent no longer pays power and space, or when units that need less wait for its
    power.

    Parameters
    ----------
    futures : Futures

    Returns
    -------
    Outcome
    """
    quarters, n = futures.shape
    cost = np.broadcast_to(np.asarray(futures.long_run_cost, dtype=float), (quarters, n))
    record = {f.name: np.empty((quarters, n), dtype=np.int8 if f.name == "binding" else float) for f in fields(Outcome)}
    record |= {"long_run_cost": cost, "idle": np.zeros((quarters, n))}
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        given = {f.name: _cut(getattr(futures, f.name), start, stop, n, len(SHAPES.get(f.name, ()))) for f in fields(Futures)}
        _run(given, {name: a[:, start:stop] for name, a in record.items()})
    return Outcome(**record)


def _cut(value: ArrayLike, start: int, stop: int, n: int, axes: int) -> Array:
    """The block of an input, with `axes` axes before that of the futures."""
    v = _axes(np.asarray(value), axes)
    return v[..., start:stop] if v.shape[-1] == n and n > 1 else np.broadcast_to(v, (*v.shape[:-1], stop - start))


def _axes(value: Array, axes: int) -> Array:
    """With `axes` axes before that of the futures."""
    return value.reshape((1,) * (axes + 1 - value.ndim) + value.shape)


def _run(x: dict[str, Array], out: dict[str, Array]) -> None:
    """All quarters of one block; names as in `Futures`; logarithms of prices over the reference, power at the level of IT."""
    quarters, m = out["price"].shape
    reference = x["reference_price"]
    spot = x["elasticity"] * (1 - x["contracted"]) * np.ones((len(x["demand"]), m))
    bound = x["elasticity"] * x["contracted"]
    log_cost = np.broadcast_to(np.log(x["long_run_cost"] / reference), (quarters, m))
    demand, limits = (np.broadcast_to(x[k], (len(x[k]), quarters, m)) for k in ("demand", "limits"))
    added = np.broadcast_to(x["power_added"], (quarters, m)) / x["pue"] if x["power_added"].any() else None
    least, which = tightest(limits[0], limits[1:])
    which += 1
    # vintages, oldest first; of each age the share that stands, and its draw over that of the newest
    old = len(x["installed"])
    units, ages = np.zeros((old + quarters, m)), np.arange(old + quarters)[:, None]
    stands = survival(ages, x["mean_life"])
    draws = stands * np.exp(x["draw_decline"] * ages)
    draw, shrink = x["draw"].copy(), np.exp(-x["draw_decline"])
    units[:old] = x["installed"]
    oldest, own = np.zeros(m, dtype=np.intp), draw * np.exp(x["draw_decline"] * (old - 1))
    flat = units.reshape(-1)  # a view
    # orders by the quarter in which they were placed; those due between two quarters are shared between them
    lead = x["chip_lead"]
    whole = np.floor(lead).astype(np.intp)
    later = lead - whole
    first = int(whole.max())
    placed = np.zeros((first + quarters, m))
    at, all_placed, gone = (first - whole) * m + np.arange(m), placed.reshape(-1), np.zeros(m)  # where those due now are
    shipping = np.broadcast_to(x["shipping"], (len(x["shipping"]), m))
    ordered, backlog, waiting = shipping.sum(axis=0), np.zeros(m), np.zeros(m)
    power, rate, asked = x["power"] / x["pue"], STAGES / x["power_lead"], np.zeros(m)
    coming = np.repeat((x["power_coming"] / x["pue"] / STAGES)[None], STAGES, axis=0)
    secured = power + coming.sum(axis=0)
    highest = np.log(x["ceiling"] / reference)
    running = x["pue"] * x["energy_price"] * HOUR
    keeping = running + x["space_cost"] * HOUR
    reach, reach_power = x["extrapolation"] * lead, x["extrapolation"] * x["power_lead"]
    leaner, comes = x["draw_decline"] * x["power_lead"], 1 - x["cancelled"]
    growth, contract, log_price = x["growth"].copy(), np.zeros(m), np.zeros(m)
    log_fair_before = np.zeros(m)
    room = np.ones(m)
    before = np.einsum("vi,vi->i", units[:old], stands[old - 1 :: -1] if old > 1 else stands[:1])
    for t in range(quarters):
        v = old + t
        draw *= shrink
        # what ships, and has power
        power += delay_step(coming, asked, rate)
        if added is not None:
            power += added[t]
            secured += added[t]
        kept = np.einsum("vi,vi->i", units[:v], stands[v:0:-1])
        load = np.einsum("vi,vi->i", units[:v], draws[v:0:-1])
        now = np.take(all_placed, at, mode="clip")
        at += m
        backlog += now
        gone -= now
        gone *= later
        backlog += gone
        gone = now
        if t < len(shipping):
            backlog += shipping[t]
        limit = least[t] * room
        code = which[t] * (limit < backlog).view(np.int8)
        shipped = np.minimum(backlog, limit, out=limit)
        backlog -= shipped
        waiting += shipped
        load *= draw
        fits = np.maximum(power - load, 0.0)
        fits /= draw
        short = waiting > fits
        code += short.view(np.int8) * (POWER - code)
        deployed = np.minimum(waiting, fits, out=units[v])
        waiting -= deployed
        load += deployed * draw
        ordered -= deployed
        supply = np.add(kept, deployed, out=out["supply"][t])
        if not supply.all():
            raise InputError(f"installed, mean_life: nothing stands in quarter {t} of some future, so that no price clears")
        # what clears
        log_supply = np.log(supply)
        wanted = np.log(demand[:, t])
        wanted -= bound * contract
        fair = np.exp(wanted - spot * log_cost[t]).sum(axis=0, out=out["demand"][t])
        log_fair = np.log(fair)
        log_price = _cleared(log_price, wanted, spot, log_supply, highest, t)
        price = np.exp(log_price, out=out["price"][t])
        price *= reference
        cheapest = load * running
        at_floor = price * supply < cheapest
        if at_floor.any():
            np.copyto(price, cheapest / supply, where=at_floor)
            log_price = np.log(price / reference)
            np.copyto(out["idle"][t], supply - np.exp(wanted - spot * log_price).sum(axis=0), where=at_floor)
        gap = log_price - log_cost[t]
        out["waiting"][t], out["power"][t], out["binding"][t] = waiting, power, code
        # which vintage goes: draw falls from one to the next, so that it is the oldest
        goes = own * keeping > price
        short &= own > x["swap_ratio"] * draw
        goes |= short
        goes &= oldest < v
        index = np.flatnonzero(goes)
        if index.size:
            flat[oldest[index] * m + index] = 0.0
            oldest += goes
            own *= np.where(goes, shrink, 1.0)
        # what is ordered
        if t:
            growth += (log_fair - log_fair_before - growth) / x["memory"]
        log_fair_before = log_fair
        order = supply * np.exp(reach * growth + x["chip_response"] * gap)
        order -= supply
        order -= ordered
        before -= kept  # what failed or went since the quarter before
        before *= lead
        order += before
        np.maximum(order, 0.0, out=order)
        before[:] = supply
        ordered += order
        placed[first + t] = order
        asked = (load + waiting * draw) * np.exp(reach_power * growth - leaner + x["power_response"] * gap)
        asked -= secured
        np.maximum(asked, 0.0, out=asked)
        asked *= comes
        secured += asked
        room *= np.exp(x["limit_response"] * (contract - log_cost[t]))
        contract += (log_price - contract) / x["contract_quarters"]
    out["power"] *= x["pue"]


def _cleared(start: Array, wanted: Array, spot: Array, log_supply: Array, highest: Array, quarter: int) -> Array:
    """ln of the price over the reference that clears, or its highest, from a guess."""
    for _ in range(2):
        start = root_step(start, wanted, spot, log_supply)
    np.minimum(start, highest, out=start)
    for _ in range(64):
        moved = root_step(start, wanted, spot, log_supply)
        np.minimum(moved, highest, out=moved)  # no step passes the root: beyond the highest, the root is as well
        far = np.abs(moved - start).max()
        start = moved
        if far < 3e-5:  # what is left is about its square
            return start
    raise InputError(f"demand, elasticity: no price found in quarter {quarter} that clears; their range over the classes is too wide")
