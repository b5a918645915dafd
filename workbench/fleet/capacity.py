"""Capacity: should the next site be built, where, and when: use cases and their value in, return and risk out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Arrays
from workbench.catalogue import Chip
from workbench.checks import FINITE, LIFE_YEARS, NOT_NEGATIVE, Rule, takes
from workbench.energy import server_power, site
from workbench.energy.grid import Site
from workbench.energy.server import all_in_ratio
from workbench.fleet.finance import RATE, irr, npv, payback
from workbench.fleet.ownership import ownership_cost, server_capital
from workbench.fleet.vintages import price_decline
from workbench.units import HOUR, KWH, YEAR


@dataclass(frozen=True, repr=False)
class SiteCase(Arrays):
    """Return and risk of one site: scenarios on the leading axes, years on the last of `cash_flows`."""

    cash_flows: NDArray[np.float64]  #: [USD], the year of decision first
    rate: NDArray[np.float64]  #: discount rate a year
    utilisation: NDArray[np.float64]  #: share of chip-hours sold, mean over the years

    @property
    def net_present_value(self) -> NDArray[np.float64]:
        """[USD]"""
        return npv(self.rate, self.cash_flows)

    @property
    def internal_rate(self) -> NDArray[np.float64]:
        """A year; nan where the flows never turn."""
        return irr(self.cash_flows)

    @property
    def payback_years(self) -> NDArray[np.float64]:
        """inf where it never pays back."""
        return payback(self.cash_flows)

    def loss_probability(self) -> float:
        """Share of the scenarios in which the site is worth less than nothing."""
        return float(np.mean(self.net_present_value < 0))

    def frame(self) -> pl.DataFrame:
        """One row: mean and 10, 50, 90 % points of value and return, probability of loss, utilisation, median payback.

        Returns are of the scenarios that have one; the payback is null where half of them never pay back.
        """
        value, rate, back = self.net_present_value, self.internal_rate, np.median(self.payback_years)
        known, at = rate[np.isfinite(rate)], (10, 50, 90)
        returns = np.percentile(known, at) if known.size else (None,) * 3
        row = {"npv_usd": value.mean()} | {f"npv_p{p}_usd": point for p, point in zip(at, np.percentile(value, at), strict=True)}
        row |= {f"irr_p{p}": point for p, point in zip(at, returns, strict=True)} | {"loss_probability": self.loss_probability()}
        row |= {"utilisation": np.mean(self.utilisation), "payback_years": float(back) if np.isfinite(back) else None}
        return pl.DataFrame([row])


#: What the arguments of `site_case` may be.
_MONEY = ("value_per_chip_hour", "n_chips", "chip_capital", "facility_capital", "running_idle", "running_busy")
_SITE = dict.fromkeys(_MONEY, NOT_NEGATIVE) | {
    "demand": Rule(least=0.0, last="years"), "rate": RATE, "build_years": Rule(least=0.0, whole=True, one=True, unit="years"),
    "refresh_years": Rule(least=1.0, whole=True, one=True, unit="years"), "chip_price_decline": FINITE, "value_decline": FINITE,
    "facility_life_years": LIFE_YEARS,
}  # fmt: skip


@takes(**_SITE)
def site_case(
    *,
    demand: ArrayLike,
    value_per_chip_hour: ArrayLike,
    n_chips: ArrayLike,
    chip_capital: ArrayLike,
    facility_capital: ArrayLike,
    running_idle: ArrayLike,
    running_busy: ArrayLike,
    rate: ArrayLike,
    build_years: int = 1,
    refresh_years: int = 5,
    chip_price_decline: ArrayLike = 0.0,
    value_decline: ArrayLike = 0.0,
    facility_life_years: ArrayLike = 14.0,
) -> SiteCase:
    """Cash flows of a site of `n_chips`: building, filling it by demand, refreshing its chips, to the end of the demand given.

    Income = min(demand, chips) hours value e^(-value_decline t); chips are bought at the start and every `refresh_years`, for
    what is left of the horizon when that is shorter; the facility is worth its unexpired life at the end.

    Demand, shape (..., years), is in chips that the use cases would keep busy in each year of operation; an hour of a busy chip earns
    `value_per_chip_hour` in the first; a chip costs `chip_capital` with server and network today and `running_idle` or `running_busy` a
    year [USD]; from decision to operation take `build_years`; declines a year are continuous, of what a refresh costs for the same work
    and of what an hour earns, negative where it rises.
    """
    asked, fund, interest, life = map(np.asarray, (demand, facility_capital, rate, facility_life_years))
    years = asked.shape[-1]
    t = np.arange(years)
    late = (value_per_chip_hour, n_chips, chip_capital, running_idle, running_busy, value_decline, chip_price_decline)
    hour, n, capital, idle, work, fall, decline = (np.asarray(value)[..., None] for value in late)
    busy = np.minimum(asked, n)
    income = busy * (YEAR / HOUR) * (hour * np.exp(-fall * t)) - busy * work - (n - busy) * idle
    left = np.minimum(refresh_years, years - t)
    bought = np.where(t % refresh_years == 0, left / refresh_years, 0.0)
    spent = n * capital * bought * np.exp(-decline * (t + build_years))
    shape = np.broadcast_shapes(income.shape[:-1], spent.shape[:-1], fund.shape, interest.shape, life.shape)
    flows = np.zeros((*shape, 1 + build_years + years))
    flows[..., 0] = -fund
    flows[..., build_years : build_years + years] -= np.broadcast_to(spent, (*shape, years))
    flows[..., build_years + 1 : build_years + 1 + years] += np.broadcast_to(income, (*shape, years))
    flows[..., -1] += fund * np.maximum(1 - years / life, 0.0)
    sold = np.divide(busy, n, out=np.zeros(np.broadcast_shapes(busy.shape, n.shape)), where=n > 0)
    return SiteCase(flows, np.broadcast_to(interest, shape), np.broadcast_to(sold.mean(axis=-1), shape))


@takes(**{name: _SITE[name] for name in ("demand", "value_per_chip_hour", "n_chips", "build_years", "value_decline")}, wacc=RATE)
def chip_site(
    chip: str | Chip,
    place: str | Site,
    *,
    demand: ArrayLike,
    value_per_chip_hour: ArrayLike,
    n_chips: ArrayLike,
    wacc: ArrayLike,
    build_years: int = 2,
    value_decline: ArrayLike = 0.0,
) -> SiteCase:
    """`site_case` of `n_chips` of one kind at a place: capital, power and upkeep as published, chips that get cheaper as Epoch AI counts.

    Parameters
    ----------
    chip : str or Chip
    place : str or Site
        Its PUE and its price of electricity, or the means of hourly ones.
    demand, value_per_chip_hour, n_chips, build_years, value_decline
        As `site_case`.
    wacc : array_like
        Discount rate a year.

    Examples
    --------
    >>> case = chip_site("GB300", "eastus", demand=[9e3] * 10, value_per_chip_hour=5.9, n_chips=10_000, wacc=0.07, value_decline=0.2)
    >>> case.internal_rate.round(3)
    np.float64(0.397)
    """
    chip, place = catalogue.chip(chip), site(place)
    busy, idle = server_power(chip, np.array([1.0, 0.0]), ratio=all_in_ratio(chip).value).average
    cost = ownership_cost(chip)
    watt = np.mean(np.multiply(place.pue, place.electricity_usd_per_kwh)) / KWH * YEAR  # of IT power, a year [USD]
    return site_case(
        demand=demand,
        value_per_chip_hour=value_per_chip_hour,
        value_decline=value_decline,
        n_chips=n_chips,
        chip_capital=server_capital(chip),
        facility_capital=np.multiply(n_chips, server_power(chip).rated) * catalogue.cost("facility_capex_usd_per_w").value,
        running_idle=idle * watt + cost.staff + cost.maintenance,
        running_busy=busy * watt + cost.staff + cost.maintenance,
        rate=wacc,
        chip_price_decline=price_decline(),
        build_years=build_years,
    )
