"""Decisions: should the next site be built, where, and when; how much of one's own work must move before designing a chip pays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Array, Arrays
from workbench.catalogue import Chip
from workbench.checks import FINITE, LIFE_YEARS, NOT_NEGATIVE, SHARE, Rule, takes
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

    cash_flows: Array  #: [USD], the year of decision first
    rate: Array  #: discount rate a year
    utilisation: Array  #: share of chip-hours sold, mean over the years

    @property
    def net_present_value(self) -> Array:
        """[USD]"""
        return npv(self.rate, self.cash_flows)

    @property
    def internal_rate(self) -> Array:
        """A year; nan where the flows never turn."""
        return irr(self.cash_flows)

    @property
    def payback_years(self) -> Array:
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

    Income = min(demand, chips) hours value e^(-value_decline t), demand (..., years) in chips that would be busy in each year of operation;
    chips, with server and network, are bought at the start and every `refresh_years`, for what is left of the horizon when that is shorter;
    the facility is worth its unexpired life at the end. Running costs are a chip's a year [USD], declines a year continuous.
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
        Its PUE and its price of electricity, or the means of hourly ones over time, the last axis; other axes are of many places.
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
    paid = np.multiply(place.pue, place.electricity_usd_per_kwh)
    watt = (paid.mean(axis=-1) if paid.ndim else paid) / KWH * YEAR  # of IT power, a year [USD]
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


@dataclass(frozen=True, repr=False)
class InHouse(Arrays):
    """Whether a chip of one's own pays; arrays broadcast over the arguments of `in_house_chip`."""

    saving_per_chip: Array  #: present value at launch of one chip against the merchant work it replaces [USD]
    break_even_chips: Array  #: chips at which it pays; inf where each one loses
    break_even_spend: Array  #: merchant spend on the same work at that volume [USD]
    net_present_value: Array  #: of the programme at the planned volume, at the time of the decision [USD]
    concession: Array  #: of that, what the vendor's answer in price on the rest of the fleet brings [USD]

    @property
    def pays(self) -> NDArray[np.bool_]:
        """Whether the programme is worth more than nothing."""
        return self.net_present_value > 0


@takes(
    **dict.fromkeys(("nre", "unit_cost", "merchant_price", "relative_performance", "volume", "lead_years", "price_decline"), NOT_NEGATIVE),
    **dict.fromkeys(("respin_share", "respin_years", "port_cost", "merchant_fleet"), NOT_NEGATIVE),
    **dict.fromkeys(("movable_share", "respin_probability", "price_response"), SHARE),
    rate=Rule(least=0.0, most=10.0),
    running_saving=FINITE,
    life_years=Rule(least=0.0, most=100.0, unit="years"),
)
def in_house_chip(
    *,
    nre: ArrayLike,
    unit_cost: ArrayLike,
    merchant_price: ArrayLike,
    relative_performance: ArrayLike,
    volume: ArrayLike,
    movable_share: ArrayLike,
    lead_years: ArrayLike,
    price_decline: ArrayLike,
    rate: ArrayLike,
    respin_probability: ArrayLike = 0.0,
    respin_share: ArrayLike = 0.3,
    respin_years: ArrayLike = 0.5,
    port_cost: ArrayLike = 0.0,
    running_saving: ArrayLike = 0.0,
    life_years: ArrayLike = 5.0,
    merchant_fleet: ArrayLike = 0.0,
    price_response: ArrayLike = 0.0,
) -> InHouse:
    """Break-even volume and value of designing a chip, against buying merchant chips for the same work.

    A chip of one's own that comes `lead_years` late (and later after a respin) meets merchant chips whose price for the same work has
    fallen by then: saving = merchant_price relative_performance e^(-price_decline lead) - unit_cost + running savings over its life;
    break-even volume = NRE with interest / saving; only `movable_share` of the volume wanted can be moved. The vendor may answer with a
    lower price on the rest of the fleet.

    Parameters
    ----------
    nre : array_like
        Design up to production, without respins [USD].
    unit_cost : array_like
        Cost of one chip of one's own, packaged and tested [USD].
    merchant_price : array_like
        Price today of the merchant chip that does the work of one [USD].
    relative_performance : array_like
        Work of one's own chip over that of the merchant chip that is sold today, on the work that moves.
    volume : array_like
        Chips wanted over the life of the design.
    movable_share : array_like
        Share of that work which software can move, 0 to 1.
    lead_years : array_like
        From decision to volume.
    price_decline : array_like
        Decline a year of the merchant price of the same work, continuous (.32 for 27 % a year, 1 for 63 %), 0 or more.
    rate : array_like
        Discount rate a year, as `annuity` takes it, 0 to 10.
    respin_probability, respin_share, respin_years : array_like
        Of one more spin of the mask, its cost over the NRE, and the delay it brings.
    port_cost : array_like
        Moving software to it, once [USD].
    running_saving : array_like
        Power and networking saved a chip and year [USD]; negative where it draws more.
    life_years : array_like
        Of the chip.
    merchant_fleet : array_like
        Spend a year on merchant chips that stay [USD].
    price_response : array_like
        Share by which the vendor lowers the price of that, for as long as the chip lives.

    References
    ----------
    .. [1] Dixit, Pindyck (1994), "Investment under Uncertainty", chapter 6, for the value of the threat alone.

    Examples
    --------
    >>> own = in_house_chip(nre=6e8, unit_cost=12e3, merchant_price=37.5e3, relative_performance=0.8, volume=[1e5, 3e5], movable_share=0.6,
    ...                     lead_years=2, price_decline=0.2, rate=0.07)
    >>> own.break_even_chips.round(), own.pays
    (array([84707., 84707.]), array([False,  True]))
    """
    r, years, decline, late = map(np.asarray, (np.log1p(rate), life_years, price_decline, lead_years))
    design, port, unit, yearly = map(np.asarray, (nre, port_cost, unit_cost, running_saving))
    lead = late + np.multiply(respin_probability, respin_years)
    life = np.where(r > 0, -np.expm1(-r * years) / np.where(r > 0, r, 1.0), years)
    replaced = np.multiply(merchant_price, relative_performance) * np.exp(-decline * lead)
    saving = replaced - unit + yearly * life
    once = design * (1 + np.multiply(respin_probability, respin_share)) + port
    at_launch = once * np.exp(r * lead)  # money spent at the decision, with interest
    concession = np.multiply(merchant_fleet, price_response) * life * np.exp(-r * lead)
    moved = np.multiply(volume, movable_share)
    owed = np.maximum(at_launch - concession * np.exp(r * lead), 0.0)
    pays = (saving > 0) & np.greater(movable_share, 0)
    chips = np.where(owed == 0, 0.0, np.where(pays, owed / np.where(pays, saving, 1.0), np.inf))
    value = moved * saving * np.exp(-r * lead) - once + concession
    spend = np.where(np.isinf(chips), np.inf, np.where(np.isinf(chips), 0.0, chips) * replaced)  # inf, though replaced were 0
    return InHouse(*np.broadcast_arrays(saving, chips, spend, value, concession))
