"""A site and its grid: money, carbon and water of the power it draws, hour by hour."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import broadcast
from workbench.checks import FINITE, NOT_NEGATIVE, PUE, SHARE, Rule, check_fields, takes
from workbench.energy.carbon import Carbon, grid_carbon
from workbench.energy.facility import electricity_cost, facility_power, water
from workbench.errors import InputError, UnknownName
from workbench.units import HOUR, TONNE, YEAR


@dataclass(frozen=True)
class Site:
    """Where a fleet stands: what its grid and its building are. Any figure may be an array; time is the last axis of hourly ones."""

    name: str
    electricity_price: ArrayLike  #: [USD/J]
    carbon_location: ArrayLike  #: average of the grid [kg/J]
    pue: ArrayLike
    wue: ArrayLike | None = None  #: on site, a joule of IT energy [L/J]
    grid_water: ArrayLike | None = None  #: of generation [L/J]
    carbon_marginal: ArrayLike | None = None  #: of the plant that answers one more watt [kg/J]
    carbon_free_share: ArrayLike | None = None  #: contracted, which the market-based account may subtract
    demand_charge: ArrayLike = 0.0  #: of the highest power of a month [USD/W]; average industrial prices hold it already; not hourly

    def __post_init__(self) -> None:
        rules = dict.fromkeys(_HOURLY, NOT_NEGATIVE) | {"electricity_price": FINITE, "pue": PUE, "carbon_free_share": SHARE}
        check_fields(self, f"{self.name}: ", **rules, demand_charge=Rule(least=0.0, apart=True))


def site(region: str, **given: ArrayLike) -> Site:
    """The cloud region `region` as a `Site`: price, carbon, PUE and water as published for it or its grid.

    Parameters
    ----------
    region : str
        As ``catalogue.region`` knows it.
    **given : array_like
        Figures of one's own, by the names of `Site`: they take the place of published ones.

    Raises
    ------
    InputError
        Where the price, the carbon or the PUE of the region is not published and not given; it names regions that lack nothing, of the
        same country first, then those whose grid emits most alike. For a name that `Site` does not have.
    """
    if unknown := set(given) - {f.name for f in fields(Site)}:
        raise UnknownName("figure of a site", sorted(unknown)[0], [f.name for f in fields(Site)])
    row = catalogue.region(region)
    grid = catalogue.grid(row.grid) if row.grid else None
    known: dict[str, ArrayLike | None] = {
        "electricity_price": grid.electricity_price if grid else None,
        "carbon_location": row.carbon_location if row.carbon_location is not None else (grid.carbon_intensity if grid else None),
        "pue": row.pue,
        "wue": row.wue,
        "grid_water": grid.water_intensity if grid else None,
        "carbon_marginal": row.carbon_marginal,
        "carbon_free_share": row.carbon_free_share,
    } | given
    missing = [name for name in ("electricity_price", "carbon_location", "pue") if known[name] is None]
    if missing:
        wanted, like = (", ".join(x) for x in ([f"{name}=" for name in missing], _nearest(row)))
        raise InputError(
            f"region {row.name!r} ({row.country or 'no country'}) has no published {', '.join(missing)}: give {wanted} or take a region "
            f"that has all it takes, nearest first by country and then by carbon: {like}"
        )
    return Site(name=row.name, **known)  # type: ignore[arg-type]


@dataclass(frozen=True)
class EnergyBill:
    """What a time of operation takes from the grid; sums over the last axis (time) of the power given."""

    it_energy: NDArray[np.float64]  #: [J]
    energy: NDArray[np.float64]  #: at the meter [J]
    electricity: NDArray[np.float64]  #: [USD]
    demand: NDArray[np.float64]  #: demand charge [USD]
    carbon_cost: NDArray[np.float64]  #: carbon price on location-based carbon [USD]
    carbon: dict[str, Carbon]  #: by account; those the site states
    water_on_site: NDArray[np.float64] | None  #: [L]
    water_of_grid: NDArray[np.float64] | None  #: [L]

    @property
    def money(self) -> NDArray[np.float64]:
        """All that is paid [USD]."""
        return self.electricity + self.demand + self.carbon_cost


@takes(it_power=Rule(least=0.0, last="time"), step=Rule(above=0.0, one=True), carbon_price=NOT_NEGATIVE)
def energy_bill(place: Site, it_power: ArrayLike, *, step: float = HOUR, carbon_price: ArrayLike = 0.0) -> EnergyBill:
    """Money, carbon and water of an IT load at a site.

    Parameters
    ----------
    place : Site
        Hourly figures (price, carbon, PUE) broadcast against the time axis.
    it_power : array_like, shape (..., time)
        [W]
    step : float
        Length of a step of time [s].
    carbon_price : array_like
        [USD a tonne of CO2 equivalent], on location-based carbon; broadcast against the result. (`fleet.Fleet` takes USD a kilogram.)

    Returns
    -------
    EnergyBill
        Arrays of the shape of `it_power` and the site without the last axis.

    Raises
    ------
    InputError
        For a power without a time axis, negative amounts, a PUE below 1.
    """
    it = np.asarray(it_power)
    hourly = {name: np.asarray(getattr(place, name), dtype=float) for name in _HOURLY if getattr(place, name) is not None}
    for name, value in hourly.items():
        if value.ndim and value.shape[-1] not in (1, it.shape[-1]):
            raise InputError(f"{place.name}: {name} has {value.shape[-1]} steps of time, it_power {it.shape[-1]}")
    shape = broadcast(it_power=it, **{f"{place.name}: {name}": value for name, value in hourly.items()})
    it, hourly = np.broadcast_to(it, shape), {name: np.broadcast_to(value, shape) for name, value in hourly.items()}
    charge = np.asarray(place.demand_charge, dtype=float)
    broadcast(**{"it_power without its time": it[..., 0], f"{place.name}: demand_charge": charge, "carbon_price": carbon_price})
    meter = facility_power(it, hourly["pue"])
    joules, it_energy = meter * step, it * step
    location = grid_carbon(joules, hourly["carbon_location"], "location")
    carbon = {"location": Carbon("location", location.kg.sum(axis=-1))}
    if "carbon_marginal" in hourly:
        carbon["marginal"] = Carbon("marginal", grid_carbon(joules, hourly["carbon_marginal"], "marginal").kg.sum(axis=-1))
    if "carbon_free_share" in hourly:
        bought = hourly["carbon_free_share"]
        carbon["market"] = Carbon("market", (location.kg * (1 - bought)).sum(axis=-1))
    on_site = water(it_energy, 0.0, wue=hourly["wue"], grid_water=0.0).sum(axis=-1) if "wue" in hourly else None
    of_grid = water(0.0, joules, wue=0.0, grid_water=hourly["grid_water"]).sum(axis=-1) if "grid_water" in hourly else None
    return EnergyBill(
        it_energy=it_energy.sum(axis=-1),
        energy=joules.sum(axis=-1),
        electricity=electricity_cost(joules, hourly["electricity_price"]).sum(axis=-1),
        demand=_monthly_peaks(meter, step) * charge,
        carbon_cost=location.kg.sum(axis=-1) / TONNE * carbon_price,
        carbon=carbon,
        water_on_site=on_site,
        water_of_grid=of_grid,
    )


#: Figures of a site that may change from hour to hour.
_HOURLY = ("electricity_price", "carbon_location", "pue", "wue", "grid_water", "carbon_marginal", "carbon_free_share")


def _monthly_peaks(power: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Sum of the highest power of each month [W]; a part of a month counts for its part."""
    month = YEAR / 12
    number_of = np.floor(np.arange(power.shape[-1]) * step / month + 1e-9)  # the month in which each step begins
    starts = np.flatnonzero(np.diff(number_of, prepend=-1.0) > 0)
    lengths = np.diff(np.append(starts, power.shape[-1])) * step / month
    return (np.maximum.reduceat(power, starts, axis=-1) * lengths).sum(axis=-1)


def _nearest(row: catalogue.Region) -> list[str]:
    """Regions that lack nothing: of the same country first, then those whose grid emits most alike."""
    own = row.carbon_location if row.carbon_location is not None or not row.grid else catalogue.grid(row.grid).carbon_intensity
    ranked = []
    for name in catalogue.names("regions"):
        other = catalogue.region(name)
        grid = catalogue.grid(other.grid) if other.grid else None
        price = grid.electricity_price if grid else None
        carbon = other.carbon_location if other.carbon_location is not None else (grid.carbon_intensity if grid else None)
        if price is not None and carbon is not None and other.pue is not None:
            ranked.append((other.country != row.country, abs(carbon - own) if own is not None else 0.0, name))
    return [name for _, _, name in sorted(ranked)[:3]]
