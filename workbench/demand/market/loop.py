"""The closed loop: demand at the going rent meets what is installed, the gap moves the rent, the rent moves orders, and orders arrive late.

In quarter t, for classes k, installed units S, rent p of a new one-year contract and long-run cost c of a sold hour:

    wanted  W = sum_k D_k(t) (p / p_0)^-eps_k;  shortfall = (1 - S / W)+, idle = (S - W)+
    rent    ln p <- ln p + a ln(W / S) / eps,  eps = sum_k eps_k W_k / W: contracts move by a part a towards the price that clears
    entry   K = S e^(x g L + b ln(p / c) + z), z <- z + e ln(p / c) where nothing binds: sellers enter until the rent is the cost
    book    B <- B + w (p - B): what contracts in force pay on average; w is what ends or starts in the quarter
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Array, Arrays, broadcast
from workbench.checks import NOT_NEGATIVE, Rule, declared
from workbench.demand.market.clearing import BINDING, LIMITS, STAGES, delay_step, survival
from workbench.errors import InputError
from workbench.units import KILO, YEAR

QUARTER = YEAR / 4
POWER = np.int8(BINDING.index("power"))
BLOCK = 4096  #: futures in a block: what a quarter of so many needs stays in the second-level cache
MOST_ORDERED = 2.0  #: logarithm of the capacity that is ordered at most for the end of a lead time, over what is installed

SOME, MUCH = Rule(above=0, most=1e300), Rule(least=0, most=1e300)


@dataclass(frozen=True, repr=False)
class Futures(Arrays):
    """What each future holds; futures on the last axis of every array, quarters before it; whatever broadcasts.

    Each field declares what it may be and its axes before that of the futures. A unit is what compute is counted in: an H100 equivalent.
    The price is that of a unit and hour. Fields are read-only.
    """

    demand: Annotated[ArrayLike, SOME, "class", "quarter"]  #: units each class wants at the reference price
    elasticity: Annotated[ArrayLike, Rule(above=0, most=1e6), "class"]  #: of each class
    reference_price: Annotated[ArrayLike, SOME]  #: rent of a new contract in the first quarter [USD/h]
    long_run_cost: Annotated[ArrayLike, SOME, "quarter"]  #: of a sold hour of a new unit [USD/h]
    installed: Annotated[ArrayLike, MUCH, "vintage"]  #: units of each vintage installed up to now, oldest first, a quarter apart
    shipping: Annotated[ArrayLike, MUCH, "due"]  #: units ordered already and due in each of the first quarters
    limits: Annotated[ArrayLike, Rule(least=0, infinite=True), "limit", "quarter"]  #: units per quarter that each of `LIMITS` lets ship
    draw: Annotated[ArrayLike, SOME]  #: IT power of a unit of the newest vintage that is installed [W]
    draw_decline: Annotated[ArrayLike, Rule(least=0, most=1)]  #: of a new unit, per quarter, continuous
    power: Annotated[ArrayLike, MUCH]  #: at the meter, for these units, energised up to now [W]
    power_coming: Annotated[ArrayLike, NOT_NEGATIVE]  #: requested and on its way [W]
    power_lead: Annotated[ArrayLike, Rule(least=STAGES, most=400)]  #: mean delay from request to power [quarters]
    chip_lead: Annotated[ArrayLike, Rule(least=1, most=40)]  #: from order to deployment [quarters]
    mean_life: Annotated[ArrayLike, SOME]  #: of a unit [quarters]
    growth: Annotated[ArrayLike, Rule(least=-2, most=2)]  #: of demand at the long-run cost, as planners see it at the start, per quarter
    chip_response: Annotated[ArrayLike, NOT_NEGATIVE]  #: per cent more capacity ordered for one per cent of rent above long-run cost
    power_response: Annotated[ArrayLike, NOT_NEGATIVE]  #: the same of power
    limit_response: Annotated[ArrayLike, NOT_NEGATIVE]  #: growth per quarter of what limits let ship for rents at e times the long-run cost
    extrapolation: Annotated[ArrayLike, Rule(least=0, most=2)]  #: share of the growth seen that planners expect to go on
    entry: Annotated[ArrayLike, Rule(least=0, most=1)] = 0.0  #: of sellers: log capacity per quarter for rents at e times the long-run cost
    adjustment: Annotated[ArrayLike, Rule(above=0, most=1)] = 1.0  #: of new contracts: share of the way to the clearing price, per quarter
    booked: Annotated[ArrayLike | None, SOME] = None  #: mean price of the contracts in force at the start [USD/h]; the rent if not given
    ceiling: Annotated[ArrayLike, Rule(above=0, infinite=True)] = np.inf  #: above which nobody pays [USD/h]
    memory: Annotated[ArrayLike, Rule(least=1, most=400)] = 4.0  #: over which planners average growth [quarters]
    contract_quarters: Annotated[ArrayLike, Rule(least=1, most=1e300)] = 8.0  #: mean term of a contract [quarters]
    cancelled: Annotated[ArrayLike, Rule(least=0, most=1)] = 0.0  #: share of power requested that never comes
    power_added: Annotated[ArrayLike, NOT_NEGATIVE, "quarter"] = 0.0  #: brought by other means [W]
    pue: Annotated[ArrayLike, Rule(least=1, most=10)] = 1.15  #: power usage effectiveness
    electricity_usd_per_kwh: Annotated[ArrayLike, NOT_NEGATIVE] = 0.08
    space_usd_per_kwh: Annotated[ArrayLike, NOT_NEGATIVE] = 0.15  #: of building, power and cooling that others could use, for IT power
    swap_ratio: Annotated[ArrayLike, Rule(least=1, infinite=True)] = 1.5  #: old over new power, from which new units replace old ones

    def __post_init__(self) -> None:
        if self.booked is None:
            object.__setattr__(self, "booked", self.reference_price)
        given = {name: rule(name, getattr(self, name)) for name, (rule, *_) in INPUTS.items()}
        shape = given["demand"].shape
        if len(shape) != 3 or 0 in shape[:2]:
            raise InputError(f"demand: expected shape (classes, quarters, futures), found {shape}")
        sizes = {"class": shape[0], "quarter": shape[1], "limit": len(LIMITS)}
        for name, value in given.items():
            axes = INPUTS[name][1:]
            before = zip(axes[::-1], value.shape[-2::-1], strict=False)
            if value.ndim > len(axes) + 1 or any(size not in (1, sizes.get(axis, size)) for axis, size in before):
                raise InputError(f"{name}: expected shape ({', '.join((*axes, 'future'))}) for {sizes}, found {value.shape}")
        (n,) = broadcast(**{name: np.broadcast_to(0.0, value.shape[-1:] or 1) for name, value in given.items()})
        for name, value in given.items():  # views that cannot be written
            object.__setattr__(self, name, np.broadcast_to(value, (*shape[:2], n) if name == "demand" else value.shape)[()])
        if not (_axes(given["installed"], 1).sum(axis=0) > 0).all():
            raise InputError("installed: expected units in every future")

    @property
    def shape(self) -> tuple[int, int]:
        """(quarters, futures)"""
        _, quarters, n = np.shape(self.demand)
        return quarters, n


INPUTS = declared(Futures)  #: what each may be, and its axes before that of the futures


@dataclass(frozen=True, repr=False)
class Market(Arrays):
    """What comes of them, each (quarters, futures)."""

    rent: Array  #: of a new one-year contract [USD/h]
    clearing: Array  #: price at which what is installed would just be used: that of spot capacity [USD/h]
    booked: Array  #: mean price of the contracts in force [USD/h]
    long_run_cost: Array  #: of a sold hour of a new unit [USD/h]
    supply: Array  #: installed, with power [H100e]
    wanted: Array  #: at the going rent [H100e]
    waiting: Array  #: shipped, without power [H100e]
    power: Array  #: energised, at the meter [W]
    drawn: Array  #: of it by what is installed, at full load [W]
    binding: NDArray[np.int8]  #: code in `BINDING` of what bound additions

    @property
    def shortfall(self) -> Array:
        """Share of what is wanted at the going contract price that is not served."""
        return np.maximum(1 - self.supply / self.wanted, 0.0)

    @property
    def scarcity_premium(self) -> Array:
        """Rent over the long-run cost of a sold hour; 1 in the long run."""
        return self.rent / self.long_run_cost

    @property
    def idle(self) -> Array:
        """Installed and not wanted at the going rent [H100e]."""
        return np.maximum(self.supply - self.wanted, 0.0)


def simulate(futures: Futures) -> Market:
    """Run all futures quarter by quarter, in blocks, by the equations of this module.

    What is due and waits in the backlog ships up to the limits and is deployed as far as power reaches. Ordered is capacity for the end of
    the lead time less what is installed and on its way, never negative; power likewise for its own delay. The oldest vintage goes (one per
    quarter) when its rent no longer pays power and space, or when units that need less wait for its power.
    """
    quarters, n = futures.shape
    cost = np.broadcast_to(np.asarray(futures.long_run_cost, dtype=float), (quarters, n))
    record = {f.name: np.empty((quarters, n), dtype=np.int8 if f.name == "binding" else float) for f in fields(Market)}
    record["long_run_cost"] = cost
    lead = np.asarray(futures.chip_lead, dtype=float)
    foreseen = max(round(float(lead.mean())), 1) if n else 1  # quarters for which planners foresee failures
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        given = {name: _cut(getattr(futures, name), start, stop, n, len(axes)) for name, (_, *axes) in INPUTS.items()}
        with np.errstate(divide="ignore"):  # the logarithm of running for nothing
            _Block(SimpleNamespace(**given), {name: a[:, start:stop] for name, a in record.items()}, foreseen).run()
    return Market(**record)


def _cut(value: ArrayLike, start: int, stop: int, n: int, axes: int) -> Array:
    """The block of an input, with `axes` axes before that of the futures."""
    v = _axes(np.asarray(value), axes)
    return v[..., start:stop] if v.shape[-1] == n and n > 1 else np.broadcast_to(v, (*v.shape[:-1], stop - start))


def _axes(value: Array, axes: int) -> Array:
    """With `axes` axes before that of the futures."""
    return value.reshape((1,) * (axes + 1 - value.ndim) + value.shape)


class _Block:
    """All quarters of one block of futures; logarithms of prices over the reference, power at the level of IT."""

    def __init__(self, futures: Any, out: dict[str, Array], foreseen: int) -> None:
        self.f, self.out, self.foreseen = f, out, _ = futures, out, foreseen
        self.quarters, m = out["rent"].shape
        self.log_cost = np.broadcast_to(np.log(f.long_run_cost / f.reference_price), (self.quarters, m))
        self.demand, limits = (np.broadcast_to(a, (len(a), self.quarters, m)) for a in (f.demand, f.limits))
        self.least, self.which = limits.min(axis=0), (limits.argmin(axis=0) + 1).astype(np.int8)
        # vintages, oldest first; of each age the share that has not failed, and its draw over that of the newest
        self.old = len(f.installed)
        self.units, ages = np.zeros((self.old + self.quarters, m)), np.arange(self.old + self.quarters + foreseen + 1)[:, None]
        self.alive = survival(ages, f.mean_life)
        self.draws = self.alive * np.exp(f.draw_decline * ages)
        self.draw, self.shrink = f.draw.copy(), np.exp(-f.draw_decline)
        self.units[: self.old] = f.installed
        self.oldest, self.oldest_draw = np.zeros(m, dtype=np.intp), self.draw * np.exp(f.draw_decline * (self.old - 1))
        # orders by the quarter in which they were placed; those due between two quarters are shared between them
        whole = np.floor(f.chip_lead).astype(np.intp)
        self.part, self.first = f.chip_lead - whole, int(whole.max())
        self.placed, self.due_before = np.zeros((self.first + self.quarters, m)), np.zeros(m)
        self.due_at = (self.first - whole) * m + np.arange(m)  # where those due now are, in a row
        self.shipping = np.broadcast_to(f.shipping, (len(f.shipping), m))
        self.ordered, self.backlog, self.waiting = self.shipping.sum(axis=0), np.zeros(m), np.zeros(m)
        self.added = np.broadcast_to(f.power_added, (self.quarters, m)) / f.pue if f.power_added.any() else None
        self.power, self.rate, self.asked = f.power / f.pue, STAGES / f.power_lead, np.zeros(m)
        self.coming = np.repeat((f.power_coming / f.pue / STAGES)[None], STAGES, axis=0)
        self.secured = self.power + self.coming.sum(axis=0)
        self.running = f.pue * f.electricity_usd_per_kwh / KILO  # [USD/h per watt of IT]
        self.keeping = self.running + f.space_usd_per_kwh / KILO
        self.highest = np.log(f.ceiling / f.reference_price)
        self.reach, self.reach_power = f.extrapolation * f.chip_lead, f.extrapolation * f.power_lead
        self.leaner, self.comes = f.draw_decline * f.power_lead, 1 - f.cancelled
        self.growth, self.log_rent, self.entered, self.room, self.booked = f.growth.copy(), *np.zeros((2, m)), np.ones(m), f.booked.copy()
        self.log_demand = np.log(self.demand)
        fair = np.log(np.exp(self.log_demand - f.elasticity[:, None] * self.log_cost).sum(axis=0))
        self.seen = np.diff(fair, axis=0)  # growth of what would be wanted at the long-run cost, from quarter to quarter

    def run(self) -> None:
        """Fill `out`."""
        for t in range(self.quarters):
            self.ship(t)
            self.clear(t)
            self.retire(t)
            self.order(t)
        for name in ("power", "drawn"):
            self.out[name] *= self.f.pue

    def ship(self, t: int) -> None:
        """What is due and waits in the backlog ships up to the limits, and is deployed as far as power reaches."""
        v, units, out = self.old + t, self.units, self.out
        self.draw *= self.shrink
        self.power += delay_step(self.coming, self.asked, self.rate)
        if self.added is not None:
            self.power += self.added[t]
            self.secured += self.added[t]
        self.kept = np.einsum("vi,vi->i", units[:v], self.alive[v:0:-1])
        self.load = np.einsum("vi,vi->i", units[:v], self.draws[v:0:-1]) * self.draw
        due = np.take(self.placed.reshape(-1), self.due_at, mode="clip")
        self.due_at += len(due)
        self.backlog += due + (self.due_before - due) * self.part
        self.due_before = due
        if t < len(self.shipping):
            self.backlog += self.shipping[t]
        limit = self.least[t] * self.room
        code = self.which[t] * (limit < self.backlog).view(np.int8)  # products of small integers are faster than masks
        shipped = np.minimum(self.backlog, limit)
        self.backlog -= shipped
        self.waiting += shipped
        fits = np.maximum(self.power - self.load, 0.0) / self.draw
        self.short = self.waiting > fits
        code += self.short.view(np.int8) * (POWER - code)
        deployed = np.minimum(self.waiting, fits, out=units[v])
        self.waiting -= deployed
        self.load += deployed * self.draw
        self.ordered -= deployed
        self.supply = np.add(self.kept, deployed, out=out["supply"][t])
        if not self.supply.all():
            raise InputError(f"installed, mean_life: nothing is left in quarter {t} of some future, so that no price clears")
        out["waiting"][t], out["power"][t], out["drawn"][t], out["binding"][t] = self.waiting, self.power, self.load, code

    def clear(self, t: int) -> None:
        """What is wanted at the going rent, the price that would clear, and what contracts in force pay."""
        f, out = self.f, self.out
        by_class = np.exp(self.log_demand[:, t] - f.elasticity * self.log_rent)
        wanted = np.add.reduce(by_class, axis=0, out=out["wanted"][t])
        by_class *= f.elasticity
        self.step = np.log(wanted / self.supply) * wanted / np.add.reduce(by_class, axis=0)
        self.rent = np.multiply(np.exp(self.log_rent), f.reference_price, out=out["rent"][t])
        np.multiply(self.rent, np.exp(np.minimum(self.step, 3.0)), out=out["clearing"][t])
        cheapest = self.load * self.running / self.supply  # nobody runs below the marginal cost, nobody pays above the ceiling
        np.clip(out["clearing"][t], cheapest, np.maximum(f.ceiling, cheapest), out=out["clearing"][t])
        starts = self.units[self.old + t] / self.supply
        self.booked += (self.rent - self.booked) * np.minimum(starts + 1 / f.contract_quarters, 1.0)
        out["booked"][t] = self.booked

    def retire(self, t: int) -> None:
        """The oldest vintage, which draws most, goes where the price that clears does not pay it, or leaner units wait for power."""
        goes = self.oldest_draw * self.keeping > self.out["clearing"][t]
        goes |= self.short & (self.oldest_draw > self.f.swap_ratio * self.draw)
        goes &= self.oldest < self.old + t
        if (which := np.flatnonzero(goes)).size:
            self.units[self.oldest[which], which] = 0.0
            self.oldest += goes
            self.oldest_draw *= np.where(goes, self.shrink, 1.0)

    def order(self, t: int) -> None:
        """Capacity and power for the ends of their lead times; the rent of the next quarter."""
        f, gap = self.f, self.log_rent - self.log_cost[t]
        if t:
            self.growth += (self.seen[t - 1] - self.growth) / f.memory
        v, later = self.old + t + 1, self.foreseen
        lost = self.supply - np.einsum("vi,vi->i", self.units[:v], self.alive[v + later - 1 : later - 1 : -1])
        lost *= f.chip_lead / later
        aim = f.chip_response * gap + self.entered
        order = self.supply * np.exp(np.minimum(self.reach * self.growth + aim, MOST_ORDERED))
        order += lost - self.supply - self.ordered
        np.maximum(order, 0.0, out=order)
        self.placed[self.first + t] = order
        self.ordered += order
        ahead = self.reach_power * self.growth - self.leaner + f.power_response * gap + self.entered
        load = (self.load + self.waiting * self.draw) * np.exp(np.minimum(ahead, MOST_ORDERED))
        self.asked = np.maximum(load - self.secured, 0.0) * self.comes
        self.secured += self.asked
        self.entered += f.entry * gap * (self.out["binding"][t] == 0)
        self.room *= np.exp(f.limit_response * gap)
        cheapest = np.log(self.load * self.running / (self.supply * f.reference_price))
        self.log_rent = np.clip(self.log_rent + f.adjustment * self.step, cheapest, np.maximum(self.highest, cheapest))
