"""Sites of the world: what is published of a region, what is estimated where nothing is, and how wrong either may be."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.arrays import Array
from workbench.catalogue import Grid, Region
from workbench.units import KILO, great_circle

TEMPERATE = 40.0  #: latitude from which polewards the weather asks for no more overhead [degrees]
#: What the columns of `sites` show of a region, beside its figures.
SHOWN = ("provider", "place", "country", "grid", "latitude", "longitude", "climate", "carbon_free_matching")


class Figure(NamedTuple):
    """A figure of a site with its band; `low` and `high` are None where no second account says how far it may be off."""

    value: float
    low: float | None
    high: float | None
    basis: str  #: read: region, read: zone or read: grid; design; estimate


def by_latitude(constant: str, provider: str, latitude: float) -> Figure:
    """PUE less 1 (``"pue"``) or WUE [L/kWh] (``"wue"``) of a provider at a latitude: level exp(warmth (40 - |latitude|)+ / 10)."""
    known = _constants()
    level, error = known.get((constant, provider), known[constant, "other"])
    warmth = known[f"{constant}_warmth", ""][0] * max(TEMPERATE - abs(latitude), 0.0) / 10
    return _band(level * math.exp(warmth), error, "estimate")


def price_of(grid: Grid | None, latitude: float | None, longitude: float | None) -> Figure | None:
    """Electricity price of large users [USD/kWh]: read, else wholesale times what large users pay over it, else that of neighbours."""
    known = _constants()
    if grid and grid.electricity_usd_per_kwh is not None:
        read = _band(grid.electricity_usd_per_kwh, known["read", "electricity_usd_per_kwh"][1], "read: grid")
        return read._replace(low=grid.price_low_usd_per_kwh or read.low, high=grid.price_high_usd_per_kwh or read.high)
    if grid and grid.wholesale_usd_per_kwh is not None:
        over, error = known["price_over_wholesale", ""]
        return _band(grid.wholesale_usd_per_kwh * over, error, "estimate")
    if latitude is None or longitude is None:
        return None
    prices, *centres = catalogue.made_of("grids", _priced)
    reach, error = known["price_reach_km", ""]
    return _band(neighbours(latitude, longitude, prices, *centres, reach=reach), error, "estimate")


def neighbours(latitude: float, longitude: float, prices: Array, *centres: Array, reach: float) -> float:
    """Geometric mean of the prices at `centres` (latitudes, longitudes), each weighed by exp(-distance / reach [km])."""
    apart = great_circle(latitude, longitude, *centres) / KILO
    return float(np.exp(np.average(np.log(prices), weights=np.exp(-apart / reach))))


def figures(row: Region) -> dict[str, Figure | None]:
    """Figures of a `Site` by the names of its fields: read as near to the region as they are published, else estimated."""
    grid, zones = catalogue.grid(row.grid) if row.grid else None, catalogue.made_of("zones", _zones)
    carbon, marginal, water = (grid.carbon_g_per_kwh, grid.carbon_marginal_g_per_kwh, grid.water_l_per_kwh) if grid else (None,) * 3
    places = {
        "carbon_g_per_kwh": {"region": row.carbon_location_g_per_kwh, "zone": zones.get(row.zone or ""), "grid": carbon},
        "pue": {"region": row.pue and row.pue - 1}, "wue_l_per_kwh": {"region": row.wue_l_per_kwh},
        "grid_water_l_per_kwh": {"grid": water}, "marginal_carbon_g_per_kwh": {"zone": row.carbon_marginal_g_per_kwh, "grid": marginal},
        "carbon_free_share": {"region": row.carbon_free_share},
    }  # fmt: skip
    price = price_of(grid, row.latitude, row.longitude)
    found = {"electricity_usd_per_kwh": price} | {name: _read(name, at) for name, at in places.items()}
    for name, constant in (("pue", "pue"), ("wue_l_per_kwh", "wue")):
        if found[name] is None and row.latitude is not None:
            found[name] = by_latitude(constant, row.provider, row.latitude)
    if pue := found["pue"]:
        if row.pue_basis == "design":
            pue = _band(pue.value, _constants()["pue", "other"][1], "design")
        found["pue"] = Figure(1 + pue.value, 1 + (pue.low or 0.0), 1 + (pue.high or 0.0), pue.basis)
    return found


def sites(*names: str) -> pl.DataFrame:
    """Every region of the world, or those that `names` mean, one row each: where it is, and its figures with band and basis.

    Raises `UnknownName` for a name that no region has, with the nearest.

    `names` are regions, cities, countries or ISO codes as ``catalogue.region`` knows them; a city or a country means all its regions.
    Of each figure of a `Site` there are four columns: its name, with ``_low`` and ``_high`` (an 80 % band; blank
    where its error is not known) and with ``_basis``: read for the region, zone or grid, a design, or an estimate.

    Examples
    --------
    >>> sites("Warsaw", "eu-west-1").select("region", "electricity_usd_per_kwh_basis", "pue", "pue_basis").rows()[::4]
    [('polandcentral', 'read: grid', 1.12, 'design'), ('eu-west-1', 'read: grid', 1.1, 'read: region')]
    """
    every = catalogue.names("regions")
    chosen = dict.fromkeys(region for name in names for region in _known_as(name)) if names else every
    rows = []
    for region in map(catalogue.region, chosen):
        row = {"region": region.name, **{name: getattr(region, name) for name in SHOWN}}
        row["water_stress"] = catalogue.grid(region.grid).water_stress if region.grid else None
        for name, figure in figures(region).items():
            row |= dict(zip((name, f"{name}_low", f"{name}_high", f"{name}_basis"), figure or (None,) * 4, strict=True))
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def _known_as(name: str) -> list[str]:
    """Regions that a name means."""
    first, fold = catalogue.key_of("regions", name), name.strip().casefold()
    if first.casefold() == fold:
        return [first]
    table = catalogue.table("regions")
    return [key for key, other in zip(table["region"], table["aliases"], strict=True) if fold in (other or "").casefold().split(";")]


def _read(name: str, places: dict[str, float | None]) -> Figure | None:
    """The figure of the first place that has it."""
    error = _constants().get(("read", name), (1.0, None))[1]
    return next((_band(value, error, f"read: {place}") for place, value in places.items() if value is not None), None)


def _band(value: float, error: float | None, basis: str) -> Figure:
    low, high = (None, None) if error is None else (value * math.exp(-error), value * math.exp(error))
    return Figure(value, low, high, basis)


def _constants() -> dict[tuple[str, str], tuple[float, float | None]]:
    return catalogue.made_of("calibration/sites", _by_key)


def _by_key(frame: pl.DataFrame) -> dict[tuple[str, str], tuple[float, float | None]]:
    return {(r["constant"], r["key"] or ""): (r["value"], r["error"]) for r in frame.iter_rows(named=True)}


def _zones(frame: pl.DataFrame) -> dict[str, float]:
    return dict(frame.select("zone", "carbon_g_per_kwh").iter_rows())


def _priced(frame: pl.DataFrame) -> tuple[Array, ...]:
    """Price, latitude and longitude of the grids that have them."""
    known = [g for g in map(catalogue.grid, frame["grid"]) if g.electricity_usd_per_kwh is not None and g.latitude is not None]
    columns = ([g.electricity_usd_per_kwh for g in known], [g.latitude for g in known], [g.longitude for g in known])
    return tuple(map(np.array, columns))
