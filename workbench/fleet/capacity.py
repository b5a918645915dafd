"""Capacity: should the next site be built, where, and when: use cases and their value in, return and risk out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.checks import number, share
from workbench.errors import InputError
from workbench.fleet.finance import irr, npv, payback
from workbench.units import HOUR, YEAR


@dataclass(frozen=True)
class SiteCase:
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
        value, rate = self.net_present_value.ravel(), self.internal_rate.ravel()
        low, middle, high = np.quantile(value, [0.1, 0.5, 0.9])
        known = rate[np.isfinite(rate)]
        points = np.quantile(known, [0.1, 0.5, 0.9]) if known.size else [None] * 3
        return pl.DataFrame(
            {
                "npv_usd": [float(value.mean())],
                "npv_p10_usd": [float(low)],
                "npv_p50_usd": [float(middle)],
                "npv_p90_usd": [float(high)],
                "irr_p10": [points[0]],
                "irr_p50": [points[1]],
                "irr_p90": [points[2]],
                "loss_probability": [self.loss_probability()],
                "utilisation": [float(np.mean(self.utilisation))],
                "payback_years": [float(back) if np.isfinite(back := np.median(self.payback_years)) else None],
            }
        )


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
    availability: ArrayLike = 1.0,
    facility_life: float = 14.0,
) -> SiteCase:
    """Cash flows of a site of `n_chips`: building, filling it by demand, refreshing its chips, to the end of the demand given.

    Income = min(demand, available chips) hours value e^(-value_decline t); chips are bought at the start and every `refresh_years`, for
    what is left of the horizon when that is shorter; the facility is worth its unexpired life at the end.

    Parameters
    ----------
    demand : array_like, shape (..., years)
        Chips that the site's use cases would keep busy in each year of operation.
    value_per_chip_hour : array_like
        What an hour of a busy chip earns in the first year [USD].
    n_chips : array_like
        Chips installed.
    chip_capital : array_like
        Of one chip with server and network today [USD].
    facility_capital : array_like
        Of the site [USD].
    running_idle, running_busy : array_like
        Energy, staff and repair a year of an idle and of a busy chip [USD].
    rate : array_like
        Discount rate a year.
    build_years, refresh_years : int
        From decision to operation; life of chips; whole years.
    chip_price_decline, value_decline : array_like
        Decline a year, continuous, of what a refresh costs for the same work and of what an hour earns.
    availability : array_like
        Share of chips not in repair.
    facility_life : float
        [years]

    Returns
    -------
    SiteCase

    Raises
    ------
    InputError
        For negative demand, money or counts, or lives below a year.
    """
    asked = np.asarray(demand, dtype=float)
    if asked.ndim == 0 or asked.shape[-1] == 0:
        raise InputError("demand: expected an array whose last axis is the years of operation")
    for name, years_whole, least in (("build_years", build_years, 0), ("refresh_years", refresh_years, 1)):
        if number(name, years_whole, least=least) % 1:
            raise InputError(f"{name} = {years_whole}: expected whole years")
    build_years, refresh_years = int(build_years), int(refresh_years)
    number("facility_life", facility_life, above=0)
    up = share("availability", availability, above=0)
    given = {
        "demand": asked, "value_per_chip_hour": value_per_chip_hour, "n_chips": n_chips, "chip_capital": chip_capital,
        "facility_capital": facility_capital, "running_idle": running_idle, "running_busy": running_busy,
    }  # fmt: skip
    v = {name: number(name, value, least=0) for name, value in given.items()}
    fall, decline = number("value_decline", value_decline), number("chip_price_decline", chip_price_decline)
    years = asked.shape[-1]
    t = np.arange(years)
    late = {name: value[..., None] for name, value in v.items() if name != "demand"}
    chips = late["n_chips"] * up[..., None]
    busy = np.minimum(asked, chips)
    price = late["value_per_chip_hour"] * np.exp(-fall[..., None] * t)
    income = busy * (YEAR / HOUR) * price - busy * late["running_busy"] - (late["n_chips"] - busy) * late["running_idle"]
    left = np.minimum(refresh_years, years - t)
    bought = np.where(t % refresh_years == 0, left / refresh_years, 0.0)
    spent = late["n_chips"] * late["chip_capital"] * bought * np.exp(-decline[..., None] * (t + build_years))
    interest = number("rate", rate, above=-1, why="at -100 % a year nothing is left of money")
    shape = np.broadcast_shapes(income.shape[:-1], spent.shape[:-1], v["facility_capital"].shape, interest.shape)
    flows = np.zeros((*shape, 1 + build_years + years))
    flows[..., 0] = -v["facility_capital"]
    flows[..., build_years : build_years + years] -= np.broadcast_to(spent, (*shape, years))
    flows[..., build_years + 1 : build_years + 1 + years] += np.broadcast_to(income, (*shape, years))
    flows[..., -1] += v["facility_capital"] * max(1 - years / facility_life, 0.0)
    sold = np.divide(busy, late["n_chips"], out=np.zeros(np.broadcast_shapes(busy.shape, late["n_chips"].shape)), where=late["n_chips"] > 0)
    return SiteCase(flows, np.broadcast_to(interest, shape), np.broadcast_to(sold.mean(axis=-1), shape))


def when_to_build(
    demand: ArrayLike,
    *,
    delays: ArrayLike,
    rate: ArrayLike,
    chip_capital: ArrayLike,
    value_per_chip_hour: ArrayLike,
    chip_price_decline: ArrayLike = 0.0,
    value_decline: ArrayLike = 0.0,
    **case: Any,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Value of deciding now against later: net present value at each delay, from the same demand path.

    Parameters
    ----------
    demand : array_like, shape (..., years)
        From the year in which a decision now would open the site.
    delays : array_like, shape (k,)
        Whole years to wait; each must leave at least a year of demand.
    rate, chip_capital, value_per_chip_hour, chip_price_decline, value_decline : array_like
        As `site_case`, of a decision now; waiting makes chips cheaper and what an hour earns less.
    **case
        The other arguments of `site_case`.

    Returns
    -------
    (value, best) : ndarrays
        Value now of each delay, shape (..., k) [USD], and the best delay [years].
    """
    asked = np.asarray(demand, dtype=float)
    wanted = np.atleast_1d(number("delays", delays, least=0, most=asked.shape[-1] - 1, why="each must leave at least a year of demand"))
    waits = wanted.astype(int)
    if np.any(waits != wanted):
        raise InputError(f"delays = {delays}: expected whole years")
    decline, capital, interest, fall, hour = (
        np.asarray(x, dtype=float) for x in (chip_price_decline, chip_capital, rate, value_decline, value_per_chip_hour)
    )
    value = []
    for wait in waits:  # a handful of years, each with its own length of array
        later = site_case(
            demand=asked[..., wait:],
            rate=rate,
            chip_capital=capital * np.exp(-decline * wait),
            chip_price_decline=decline,
            value_per_chip_hour=hour * np.exp(-fall * wait),
            value_decline=fall,
            **case,
        )
        value.append(later.net_present_value / (1 + interest) ** wait)
    worth = np.stack(np.broadcast_arrays(*value), axis=-1)
    return worth, waits[worth.argmax(axis=-1)].astype(float)
