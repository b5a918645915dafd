"""A site and its grid: money, carbon and water of the power it draws, hour by hour; what curtailment in expensive ones is worth."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from workbench import catalogue
from workbench.arrays import Array, Arrays, broadcast
from workbench.checks import ELECTRICITY, NOT_NEGATIVE, PUE, SHARE, STEP, Rule, check_fields, number, takes
from workbench.energy.carbon import INTENSITY, Carbon
from workbench.energy.sites import figures
from workbench.errors import InputError, UnknownName
from workbench.readers import hourly
from workbench.units import GRAM, HOUR, KILO, KWH, TONNE, YEAR

CARBON_PRICE = Rule(least=0.0, most=1e4, unit="USD/t")  #: price of carbon; the social cost of it is put at 50 to 2,000 USD a tonne
WATER = Rule(least=0.0, most=100.0, unit="L/kWh")
NEEDED = ("electricity_usd_per_kwh", "carbon_g_per_kwh", "pue")  #: figures that no site can do without
#: Figures of a site that may change from hour to hour.
_HOURLY = {
    "electricity_usd_per_kwh": ELECTRICITY, "carbon_g_per_kwh": INTENSITY, "pue": PUE, "wue_l_per_kwh": WATER,
    "grid_water_l_per_kwh": WATER, "marginal_carbon_g_per_kwh": INTENSITY, "carbon_free_share": SHARE,
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Site(Arrays):
    """The place of a fleet: what its grid and its building are. Any figure may be an array; time is the last axis of hourly ones."""

    name: str  #: of the region
    electricity_usd_per_kwh: ArrayLike  #: price of electricity [USD/kWh]
    carbon_g_per_kwh: ArrayLike  #: location-based: average of the grid
    pue: ArrayLike  #: facility energy over IT energy
    wue_l_per_kwh: ArrayLike | None = None  #: water on site, of IT energy
    grid_water_l_per_kwh: ArrayLike | None = None  #: of generation
    marginal_carbon_g_per_kwh: ArrayLike | None = None  #: of the plant that answers one more watt
    carbon_free_share: ArrayLike | None = None  #: contracted, which the market-based account may subtract
    demand_usd_per_kw: ArrayLike = 0.0  #: of the highest power of a month; average industrial prices hold it already; not hourly

    def __post_init__(self) -> None:
        check_fields(self, f"{self.name}: ", **_HOURLY, demand_usd_per_kw=Rule(least=0.0, apart=True))


@takes()
def site(region: str | Site, **given: Any) -> Site:
    """The cloud region `region` as a `Site`: price, carbon, PUE and water as published for it, its zone or its grid, else estimated.

    `sites` tells which is which, and how wrong each may be. A `Site` is itself.
    Raises `InputError` where the price, the carbon or the PUE of a region of one's own is not given and cannot be estimated,
    naming all that is missing; `UnknownName` for a figure that `Site` does not have.

    Parameters
    ----------
    region, **given : str or Site; array_like or path
        A name that ``catalogue.region`` knows; a city or a country means the first of its regions. Your own figures, by the names
        of `Site`, replace published ones; for an hourly file of a grid its path is enough.

    Examples
    --------
    >>> place = site("swedencentral", electricity_usd_per_kwh=0.06)
    >>> place.pue, place.carbon_g_per_kwh
    (1.16, 21.0)
    """
    given = {name: hourly(value, name) if isinstance(value, str | Path) else value for name, value in given.items()}
    if isinstance(region, Site):
        return replace(region, **given)
    if unknown := set(given) - {f.name for f in fields(Site)}:
        raise UnknownName("figure of a site", sorted(unknown)[0], [f.name for f in fields(Site)])
    row = catalogue.region(region)
    known: dict[str, Any] = {name: found and found.value for name, found in figures(row).items()} | given
    if missing := [name for name in NEEDED if known[name] is None]:
        lacks = f"region {row.name!r} has no {', '.join(missing)}, and neither grid nor coordinates to estimate them by"
        wanted = ", ".join(f"{name}=" for name in missing)
        raise InputError(f"{lacks}: give {wanted}, or grid, latitude and longitude in its row of regions.csv")
    return Site(name=row.name, **known)


@dataclass(frozen=True, repr=False)
class EnergyBill(Arrays):
    """What a time of operation takes from the grid; sums over the last axis (time) of the power given."""

    it_energy: Array  #: [J]
    energy: Array  #: at the meter [J]
    electricity: Array  #: [USD]
    demand: Array  #: demand charge [USD]
    carbon_cost: Array  #: carbon price on location-based carbon [USD]
    carbon: dict[str, Carbon]  #: by account; those the site states
    water_on_site: Array | None  #: [L]
    water_of_grid: Array | None  #: [L]

    @property
    def money(self) -> Array:
        """All that is paid [USD]."""
        return self.electricity + self.demand + self.carbon_cost


@takes(it_power=Rule(least=0.0, most=1e13, last="time", unit="W"), step=STEP, carbon_usd_per_t=CARBON_PRICE)
def energy_bill(place: str | Site, it_power: ArrayLike, *, step: float = HOUR, carbon_usd_per_t: ArrayLike = 0.0) -> EnergyBill:
    """Money, carbon and water of an IT load at a site: arrays of the shape of `it_power` and the site without the last axis.

    Source: Li et al. (2023), "Making AI Less Thirsty", section 2, arXiv:2304.03271: water on site of IT energy, of the grid of all energy.

    Parameters
    ----------
    place, it_power : str or Site; array_like, shape (..., time)
        Hourly figures (price, carbon, PUE) broadcast against the time axis of the power [W].
    step, carbon_usd_per_t : float; array_like
        Length of a step of time [s]; price of a tonne of CO2 equivalent, on location-based carbon, broadcast against the result.

    Examples
    --------
    >>> bill = energy_bill("eastus", [1e6] * 24, carbon_usd_per_t=50)
    >>> bill.electricity.round(), bill.carbon_cost.round(), bill.carbon["location"]
    (np.float64(2460.0), np.float64(572.0), Carbon(account='location', kg=11436.5))
    """
    place = site(place)
    it = np.asarray(it_power)
    hourly = {name: np.asarray(getattr(place, name), dtype=float) for name in _HOURLY if getattr(place, name) is not None}
    for name, value in hourly.items():
        if value.ndim and value.shape[-1] not in (1, it.shape[-1]):
            raise InputError(f"{place.name}: {name} has {value.shape[-1]} steps of time, it_power {it.shape[-1]}")
    shape = broadcast(it_power=it, **{f"{place.name}: {name}": value for name, value in hourly.items()})
    it, hourly = np.broadcast_to(it, shape), {name: np.broadcast_to(value, shape) for name, value in hourly.items()}
    charge = np.asarray(place.demand_usd_per_kw, dtype=float) / KILO
    broadcast(**{"it_power without its time": it[..., 0], f"{place.name}: demand_usd_per_kw": charge, "carbon_usd_per_t": carbon_usd_per_t})
    meter = it * hourly["pue"]
    joules, it_energy = meter * step, it * step
    emitted = joules * (hourly["carbon_g_per_kwh"] * (GRAM / KWH))  # kg
    carbon = {"location": Carbon("location", emitted.sum(axis=-1))}
    if "marginal_carbon_g_per_kwh" in hourly:
        carbon["marginal"] = Carbon("marginal", (joules * (hourly["marginal_carbon_g_per_kwh"] * (GRAM / KWH))).sum(axis=-1))
    if "carbon_free_share" in hourly:
        carbon["market"] = Carbon("market", (emitted * (1 - hourly["carbon_free_share"])).sum(axis=-1))
    on_site, of_grid = (
        (energy * hourly[name] / KWH).sum(axis=-1) if name in hourly else None
        for energy, name in ((it_energy, "wue_l_per_kwh"), (joules, "grid_water_l_per_kwh"))
    )
    return EnergyBill(
        it_energy=it_energy.sum(axis=-1), energy=joules.sum(axis=-1),
        electricity=(joules * (hourly["electricity_usd_per_kwh"] / KWH)).sum(axis=-1), demand=_monthly_peaks(meter, step) * charge,
        carbon_cost=emitted.sum(axis=-1) / TONNE * carbon_usd_per_t, carbon=carbon, water_on_site=on_site, water_of_grid=of_grid,
    )  # fmt: skip


@dataclass(frozen=True, repr=False)
class Curtailment(Arrays):
    """Standing still for a share of the hours, over the energy that the load would take in all hours; the share is the last axis."""

    share: Array  #: of the hours in which the load is curtailed
    saved: Array  #: energy money saved [USD/kWh]
    lost: Array  #: value of the work not done [USD/kWh]
    threshold: Array  #: price above which the load is curtailed [USD/kWh]

    @property
    def value(self) -> Array:
        """Saved less lost [USD/kWh]; negative where curtailment does not pay."""
        return self.saved - self.lost


@takes(
    electricity_usd_per_kwh=replace(ELECTRICITY, last="hours"), share=replace(SHARE, apart=True), work_usd_per_kwh=NOT_NEGATIVE,
    idle_power=SHARE,
)  # fmt: skip
def curtailment(
    electricity_usd_per_kwh: ArrayLike, share: ArrayLike, *, work_usd_per_kwh: ArrayLike = 0.0, idle_power: ArrayLike = 0.0,
    deferred: bool = False,
) -> Curtailment:  # fmt: skip
    """Value of curtailing a load in the most expensive `share` of the hours: arrays of shape (..., k).

    Parameters
    ----------
    electricity_usd_per_kwh, share : array_like, shape (..., hours); array_like, shape (k,)
        What a kilowatt-hour costs in each hour, carbon price included; shares of the hours, 0 to 1.
    work_usd_per_kwh : array_like
        What the work of one kilowatt-hour at the meter is worth while it runs: rent of the machines over the power they draw, where the
        work is lost, or the cost of its delay, where it is only postponed.
    idle_power : array_like
        Power while idle over power at work, 0 to 1; work that is deferred takes its full power all the same.
    deferred : bool
        Whether the work is done later, so that its energy is bought after all, at the mean price of the hours in which the load runs.

    Examples
    --------
    >>> curtailment([0.03, 0.04, 0.05, 0.40], [0.25, 0.5], work_usd_per_kwh=0.2).value.round(4)
    array([0.05  , 0.0125])
    """
    hours, k = np.asarray(electricity_usd_per_kwh), np.atleast_1d(share)
    idle, value = np.expand_dims(idle_power, -1), np.expand_dims(work_usd_per_kwh, -1)
    if k.ndim > 1:
        raise InputError(f"share has shape {k.shape}: expected one axis")
    n = hours.shape[-1]
    highest = -np.sort(-hours, axis=-1)
    total = np.concatenate([np.zeros((*highest.shape[:-1], 1)), np.cumsum(highest, axis=-1)], axis=-1)
    position = k * n
    whole = np.minimum(position.astype(int), n - 1)
    paid = (total[..., whole] + (position - whole) * highest[..., whole]) / n  # part of the marginal hour
    saved = paid * (1 - idle)
    if deferred:
        number("share", share, below=1, why="work that is deferred needs hours in which the load runs")
        saved = saved - k * (total[..., -1:] / n - paid) / (1 - k)
    return Curtailment(share=k, saved=saved, lost=k * value, threshold=highest[..., whole])


def _monthly_peaks(power: Array, step: float) -> Array:
    """Sum of the highest power of each month [W]; a part of a month counts for its part."""
    month = YEAR / 12
    number_of = np.floor(np.arange(power.shape[-1]) * step / month + 1e-9)  # the month in which each step begins
    starts = np.flatnonzero(np.diff(number_of, prepend=-1.0) > 0)
    lengths = np.diff(np.append(starts, power.shape[-1])) * step / month
    return (np.maximum.reduceat(power, starts, axis=-1) * lengths).sum(axis=-1)
