"""A load against its hours: what carbon-free energy meets of it, and where work that is flexible in place goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Array, Arrays, broadcast
from workbench.checks import NOT_NEGATIVE, SHARE, STEP, Rule, takes, to_shape
from workbench.energy.carbon import Carbon
from workbench.energy.grid import CARBON_PRICE, Site, site
from workbench.errors import InputError
from workbench.units import GRAM, HOUR, KWH, TONNE

MOST = 10  #: groups of regions that reach the same ones, where room is limited: each doubles the work
LIMIT = Rule(least=0.0, infinite=True, apart=True)


@dataclass(frozen=True, repr=False)
class CarbonFree(Arrays):
    """What carbon-free energy meets of a load; arrays without the axis of time."""

    annual: Array  #: share of the load, what is bought counted in any hour
    hourly: Array  #: share of the load, what is bought counted in its own hour only, and the grid's for the rest
    surplus: Array  #: share of what is bought that no hour of the load takes
    full_hours: Array  #: share of the hours in which what is bought meets all of the load


@takes(load=replace(NOT_NEGATIVE, last="time"), bought=replace(NOT_NEGATIVE, apart=True), grid_share=replace(SHARE, apart=True))
def carbon_free(load: ArrayLike, bought: ArrayLike, grid_share: ArrayLike = 0.0) -> CarbonFree:
    """Carbon-free share of a load under a purchase commitment, matched over the year and matched hourly.

    hourly = sum(m + (load - m) g) / sum(load), m = min(load, bought); annual = b + (1 - b) g, b = min(sum(bought) / sum(load), 1)
    Where there is no load, or nothing is bought, shares are 1 and the surplus is 0.
    Source: Google (2021), "24/7 Carbon-Free Energy: Methodologies and Metrics", section 2 (CFE score).

    Parameters
    ----------
    load : array_like, shape (..., time)
        Power drawn at the meter [W].
    bought, grid_share : array_like
        Power of the carbon-free plants contracted for it [W], and carbon-free share of grid electricity in each step, 0 to 1; broadcast
        against `load`.

    Examples
    --------
    >>> night, day = 0.0, 2.0
    >>> solar = carbon_free([1.0, 1.0], [night, day], grid_share=0.3)  # as much as the load takes in all, at the wrong time
    >>> float(solar.annual), float(solar.hourly), float(solar.surplus)
    (1.0, 0.65, 0.5)
    """
    shape = broadcast(load=load, bought=bought, grid_share=grid_share)
    used, have, share = (np.broadcast_to(np.asarray(x, dtype=float), shape) for x in (load, bought, grid_share))
    met, whole, got = np.minimum(used, have), used.sum(axis=-1), have.sum(axis=-1)
    over = np.where(whole > 0, whole, 1.0)
    by_year = np.minimum(got / over, 1.0)
    annual = by_year + (1 - by_year) * (used * share).sum(axis=-1) / over
    hourly = (met + (used - met) * share).sum(axis=-1) / over
    surplus = 1 - met.sum(axis=-1) / np.where(got > 0, got, 1.0)
    annual, hourly = (np.where(whole > 0, x, 1.0) for x in (annual, hourly))
    return CarbonFree(annual, hourly, np.where(got > 0, surplus, 0.0), (have >= used).mean(axis=-1))


@dataclass(frozen=True, repr=False)
class Moved(Arrays):
    """Work after it has moved; arrays without regions and hours, but for `load`."""

    load: Array  #: IT power in each region and hour [W]
    moved: Array  #: share of the work that leaves its region
    money: Array  #: electricity, and carbon at its price [USD]
    saved: Array  #: of what it cost before [USD]
    carbon: Carbon  #: location-based
    carbon_saved: Carbon  #: negative where cheaper power is dirtier


@takes(
    load=replace(NOT_NEGATIVE, last="hours", apart=True), share=replace(SHARE, apart=True), capacity=LIMIT, round_trip=LIMIT,
    limit=replace(LIMIT, one=True), carbon_usd_per_t=replace(CARBON_PRICE, apart=True), step=STEP,
)  # fmt: skip
def move_load(
    places: Sequence[str | Site], load: ArrayLike, *, share: ArrayLike = 1.0, capacity: ArrayLike = np.inf,
    round_trip: ArrayLike = 0.0, limit: float = np.inf, carbon_usd_per_t: ArrayLike = 0.0, step: float = HOUR,
) -> Moved:  # fmt: skip
    """The cheapest places for work in each hour, where a share of it may go to any region within `limit` of its own.

    Regions are filled in the order of their cost. What k of them take together is a least cut: over sets of regions, what is outside
    the set and the room that the set reaches in the k; this is a polymatroid, on which filling in order is optimal.
    Source: Edmonds (1970), "Submodular functions, matroids, and certain polyhedra".

    Parameters
    ----------
    places, load : sequence of str or Site; array_like, shape (..., regions, hours)
        Regions, whose hourly prices, carbon and PUE have the hours of `load`; IT power of each before [W].
    share, carbon_usd_per_t : array_like, shape (...)
        Of the work of each region that may move; what counts with the price of electricity.
    capacity : array_like, shape (regions, 1) or (regions, hours)
        Most IT power of each region, at least its load [W].
    round_trip, limit, step : array_like, shape (regions, regions); float; float
        Round trip from where work is to where it may go, the longest acceptable one, and the length of a step of time [s].

    Examples
    --------
    >>> moved = move_load(["eastus", "swedencentral"], [[1e6] * 24, [0.0] * 24], share=[0.0, 0.5, 1.0], carbon_usd_per_t=50)
    >>> moved.saved.round(), moved.carbon_saved.kg.round()
    (array([   0.,  658., 1317.]), array([    0.,  5426., 10852.]))
    """
    load, n = np.asarray(load), len(places)
    if load.ndim < 2 or load.shape[-2] != n:
        raise InputError(f"load of shape {load.shape}: expected (..., {n}, hours) for {n} places")
    pue, price, carbon = (
        np.stack([to_shape(f"{s.name}: {name}", getattr(s, name), load.shape[-1:]) for s in map(site, places)])
        for name in ("pue", "electricity_usd_per_kwh", "carbon_g_per_kwh")
    )
    outer = broadcast(**{"load without regions and hours": load[..., 0, 0], "share": share, "carbon_usd_per_t": carbon_usd_per_t})
    cost = pue * (price + carbon * (GRAM / TONNE) * np.asarray(carbon_usd_per_t)[..., None, None])  # of a kWh of IT [USD]
    cost, load = (np.broadcast_to(x, (*outer, *load.shape[-2:])) for x in (cost, load))
    free = load * np.broadcast_to(share, outer)[..., None, None]
    room = to_shape("capacity", capacity, load.shape) - (load - free)
    if (room < free * (1 - 1e-9)).any():
        raise InputError("capacity: expected at least the load of each region in each hour")
    near = (to_shape("round_trip", round_trip, (n, n)) <= limit) | np.eye(n, dtype=bool)
    after = load - free + (_filled(free, cost, np.maximum(room, free), near) if np.isfinite(room).any() else _cheapest(free, cost, near))
    gone, whole = np.maximum(load - after, 0.0).sum(axis=(-2, -1)), load.sum(axis=(-2, -1))
    money, saved, kg, kept = (
        (of * x).sum(axis=(-2, -1)) * (step / KWH) for x in (cost, pue * carbon * GRAM) for of in (after, load - after)
    )
    return Moved(after, gone / np.where(whole > 0, whole, 1.0), money, saved, Carbon("location", kg), Carbon("location", kept))


def _cheapest(free: Array, cost: Array, near: NDArray[np.bool_]) -> Array:
    """All that is free of a region in the cheapest that it reaches."""
    after, at = np.zeros_like(free), np.arange(len(near))[:, None]
    for home, reached in enumerate(near):
        best = np.where(reached[:, None], cost, np.inf).argmin(axis=-2)[..., None, :]
        after += np.where(at == best, free[..., [home], :], 0.0)
    return after


def _filled(free: Array, cost: Array, room: Array, near: NDArray[np.bool_]) -> Array:
    """Regions filled in the order of their cost, each with what it adds to what all before it can take."""
    groups, of = np.unique(near, axis=0, return_inverse=True)
    if (g := len(groups)) > MOST:
        raise InputError(f"round_trip and limit: {g} groups of regions reach the same ones; expected at most {MOST} with capacity")
    sets = (np.arange(1 << g)[:, None] >> np.arange(g)) & 1 > 0
    total = np.stack([free[..., of.ravel() == i, :].sum(axis=-2) for i in range(g)])
    cut = np.tensordot(~sets, total, axes=1).astype(float)  # what is outside the set
    reached, order = (sets @ groups).astype(bool), np.argsort(cost, axis=-2, kind="stable")
    after, taken, room = np.zeros_like(free), 0.0, np.minimum(room, total.sum(axis=0)[..., None, :])
    for k in range(len(near)):
        at = order[..., [k], :]
        cut += reached[:, at[..., 0, :]] * np.take_along_axis(room, at, axis=-2)[..., 0, :]
        before, taken = taken, cut.min(axis=0)
        np.put_along_axis(after, at, (taken - before)[..., None, :], axis=-2)
    return after
