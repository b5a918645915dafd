"""Decisions: own chips or rent what they do, at a site of one's own or not; how much work must move before designing a chip pays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Array, Arrays, broadcast
from workbench.catalogue import Chip
from workbench.checks import FINITE, NOT_NEGATIVE, RENT, SHARE, Rule, takes
from workbench.errors import InputError
from workbench.fleet.finance import YEARLY, annuity, irr, npv
from workbench.fleet.ownership import ownership_cost
from workbench.fleet.vintages import price_decline

TARIFFS = ("1 year", "3 years", "mixed", "on-demand")  #: of the rent that an owner compares with, the first that is known
LINKED = 0.7  #: correlation of the declines of rents and of resale prices: an assumption
Z95 = 1.6448536269514722  #: a normal's 95 % point


@dataclass(frozen=True, repr=False)
class Owning(Arrays):
    """Owning chips in the place of renting what they do: futures on the leading axes, years on the last."""

    cash_flows: Array  #: rent saved less all that is paid, after debt and tax [USD], the decision first (..., 1 + build_years + years)
    operating: Array  #: rent saved less running cost [USD] (..., years)
    service: Array  #: interest and repayment [USD] (..., years)
    owed: Array  #: debt at the end of each year [USD] (..., years)
    worth: Array  #: what chips and facility sell for then [USD] (..., years)
    earned: Array  #: present value of the rent saved, after tax [USD]
    rate: Array  #: discount rate per year
    used: Array  #: share of the hours that are used, mean of the years

    @property
    def net_present_value(self) -> Array:
        """What owning is worth over renting [USD]."""
        return npv(self.rate, self.cash_flows)

    @property
    def internal_rate(self) -> Array:
        """A year; nan where the flows never turn."""
        return irr(self.cash_flows)

    @property
    def break_even(self) -> Array:
        """Share of the hours from which owning is cheaper; above 1 where it never is."""
        worth = np.divide(self.net_present_value, self.earned, out=np.full(self.earned.shape, -np.inf), where=self.earned > 0)
        return self.used * (1 - worth)

    @property
    def cover(self) -> Array:
        """Debt service coverage ratio of each year (..., years); inf without debt."""
        return np.divide(self.operating, self.service, out=np.full(self.operating.shape, np.inf), where=self.service > 0)

    def breach(self, cover: float = 1.2, loan_to_value: float = 1.0) -> Array:
        """Share of the futures in which the coverage is below, or debt over the worth of what secures it above, a covenant (years,)."""
        broken = (self.cover < cover) | (self.owed > loan_to_value * self.worth)
        return broken.reshape(-1, broken.shape[-1]).mean(axis=0)

    def frame(self) -> pl.DataFrame:
        """One row: verdict, 10, 50, 90 % points of value, return and break-even, mean value, probability of a loss.

        The verdict is "either" where value changes its sign between the 10 and the 90 % point, else "own" or "rent"."""
        value, rate, at = self.net_present_value, self.internal_rate, (10, 50, 90)
        known = rate[np.isfinite(rate)]  # returns are of the futures that have one
        npvs, even = np.percentile(value, at), np.percentile(self.break_even, at)
        returns = np.percentile(known, at) if known.size else (None,) * 3
        row: dict[str, Any] = {"verdict": "own" if npvs[0] > 0 else "rent" if npvs[2] < 0 else "either", "npv_usd": value.mean()}
        for name, points in (("npv_p{}_usd", npvs), ("irr_p{}", returns), ("break_even_p{}", even)):
            row |= {name.format(p): point for p, point in zip(at, points, strict=True)}
        return pl.DataFrame([row | {"loss_probability": np.mean(value < 0)}])


@takes(
    **dict.fromkeys(("n_chips", "volatility", "extra"), NOT_NEGATIVE), **dict.fromkeys(("tax", "debt"), SHARE),
    **dict.fromkeys(("used", "energised"), Rule(least=0.0, most=1.0, apart=True)), **dict.fromkeys(("wacc", "interest"), YEARLY),
    decline=FINITE, depreciation=NOT_NEGATIVE, build_years=Rule(least=0.0, whole=True, one=True, unit="years"),
    years=Rule(least=1.0, most=30.0, whole=True, one=True, unit="years"), n=Rule(least=1.0, whole=True, one=True),
    seed=Rule(least=0.0, whole=True, one=True),
)  # fmt: skip
def rent_or_own(
    chip: str | Chip, *, rent: ArrayLike | None = None, decline: ArrayLike | None = None, volatility: ArrayLike | None = None,
    depreciation: ArrayLike | None = None, used: ArrayLike = 1.0, energised: ArrayLike = 1.0, n_chips: ArrayLike = 1.0, years: int = 5,
    build_years: int = 0, wacc: ArrayLike | None = None, extra: ArrayLike = 0.0, tax: ArrayLike = 0.0, debt: ArrayLike = 0.0,
    interest: ArrayLike = 0.08, n: int = 4096, seed: int = 0, **cost: Any,
) -> Owning:  # fmt: skip
    """Net present value of owning chips for some years instead of renting the hours that are used, along paths of rents and resale prices.

    Yearly flow = (1 - tax) (used hours rent (1 + extra) - energy - maintenance - staff) + tax (depreciation + interest) - debt service;
    chips with server and network are paid when they come, the facility at the decision. At the end chips sell for price e^(-depreciation
    years) and the facility for its unexpired annuity, less tax on what exceeds their book value. At a level rent equal to the ownership
    cost, no resale, tax nor debt the value is 0. The same flows judge a site: its chips earn the rent where others would use them.

    Parameters
    ----------
    chip : str or Chip
    rent : array_like, optional
        Per chip-hour [USD]: one number is today's, from which paths start; an array has the years of operation on its last axis and is
        the path. If not given, that of the catalogue, by the first of `TARIFFS` that is known.
    decline, depreciation : array_like, optional
        Of rents and of resale prices per year, continuous, one per future. If not given, normal and linked: from what providers' own lists
        did to the price of the same work (Epoch AI), and from what used H100s kept to the catalogue's resale at the end of a life.
    volatility : array_like, optional
        Of the random walk of the logarithm of rents, a square root of a year; if not given, that of providers' own lists.
    used : array_like
        Share of the hours in which chips with power are used, 0 to 1; an array has years on its last axis. The cost is the same either way.
    energised : array_like
        Share of the chips that has power in each year of operation, never falling; an array has years on its last axis. Chips are bought
        when they get it, and their loan ends with the others; a site that is late has none at first, `np.arange(years) >= late[:, None]`.
    n_chips, wacc, cost
        As `ownership_cost` takes them, and other names of it (pue, electricity_usd_per_kwh, chip_price, facility_capex_usd_per_w, ...).
    years, build_years, n, seed : int
        Of operation; of waiting for the building; futures drawn, and the seed of their numbers.
    extra : array_like
        Storage, egress and support on top of the rent, and rented hours that failures waste, over the rent.
    tax : array_like
        On profit, with straight-line depreciation over the years of operation and the life of the facility; losses are credited.
    debt, interest : array_like
        Share of what is bought that a loan pays, repaid in equal payments over the years of operation, and its interest per year.

    Examples
    --------
    >>> rent_or_own("H100", rent=2.65, used=0.8).frame()["verdict"][0]
    'either'
    >>> case = rent_or_own("GB300", rent=[3.96, 3.2, 2.6, 2.1, 1.7], depreciation=0.3, used=0.9, debt=0.7)
    >>> case.internal_rate.round(3), case.cover.round(2)
    (np.float64(0.25), array([1.95, 1.53, 1.19, 0.91, 0.69]))
    """
    if unknown := {"salvage", "server_life_years"} & cost.keys():
        raise InputError(f"{sorted(unknown)[0]}: give depreciation and years")
    chip = catalogue.chip(chip)
    drawn = _drawn(n, years + build_years, seed)
    path = _rents(chip, rent, decline, volatility, drawn, build_years)
    away = np.maximum(_between(*resale_history(), drawn[1]), 0.0) if depreciation is None else np.asarray(depreciation)
    r = np.asarray(catalogue.cost("wacc_hyperscaler").value if wacc is None else wacc)
    life = np.asarray(cost.setdefault("facility_life_years", catalogue.cost("facility_life_years").value))
    bill = ownership_cost(chip, n_chips=n_chips, wacc=r, server_life_years=years, **cost)
    servers, facility = ((bill.capital + bill.network) / annuity(1.0, r, years), bill.facility / annuity(1.0, r, life))
    running = bill.energy + bill.maintenance + bill.staff
    t = np.arange(1, years + 1)

    def late(value: ArrayLike) -> Array:
        """With years on a last axis."""
        return np.asarray(value, dtype=float)[..., None]

    sizes = path.shape[-1], *(np.shape(given)[-1] if np.ndim(given) else 1 for given in (used, energised))
    if sizes[0] != years or not {1, years}.issuperset(sizes):
        raise InputError(f"rent, used, energised: {sizes[0]}, {sizes[1]} and {sizes[2]} years; expected {years} on the last axis")
    on = np.broadcast_to(energised, (*np.shape(energised)[:-1], years))
    if np.any((phase := np.diff(on, axis=-1, prepend=0.0)) < 0):
        raise InputError(f"energised = {energised}: falls from year to year; expected shares that stay or grow")
    fits = {"rent without its years": path[..., 0], "used without them": np.asarray(used)[..., 0] if np.ndim(used) else used}
    fits["energised without them"] = on[..., 0]
    broadcast(**fits, depreciation=away, extra=extra, tax=tax, debt=debt, interest=interest, wacc=r, cost=bill.per_year)
    saved = path * (1 + late(extra)) * np.asarray(used, dtype=float) * late(bill.chip_hours) * on
    operating = saved - late(running) * on
    left = np.maximum(late(life) - t, 0.0)
    unexpired = np.where(left > 0, annuity(1.0, late(r), late(life)) / annuity(1.0, late(r), np.maximum(left, 1e-9)), 0.0)
    age = np.maximum(t - t[:, None] + 1, 0)  # of the chips of each year's phase, at the end of each
    kept = (phase[..., None] * np.where(age > 0, np.exp(-late(late(away)) * age), 0.0)).sum(axis=-2)  # of the price of all chips
    worth = late(servers) * kept + late(facility) * unexpired
    site, bought = late(debt) * late(facility * (1 + np.asarray(interest)) ** build_years), late(np.asarray(debt) * servers) * phase
    payment = annuity(site, late(interest), years) + np.cumsum(bought * annuity(1.0, late(interest), years + 1 - t), axis=-1)
    ahead = np.maximum(years - t, 0)
    owed = np.where(ahead > 0, payment / annuity(1.0, late(interest), np.maximum(ahead, 1)), 0.0)
    paid = late(interest) * (np.concatenate([np.broadcast_to(site, (*owed.shape[:-1], 1)), owed[..., :-1]], axis=-1) + bought)
    book = np.cumsum(late(servers) * phase / (years + 1 - t), axis=-1)  # depreciation of a year
    book = book + np.where(t <= late(life), late(facility) / late(life), 0.0)
    book_value = late(facility) * np.maximum(1 - years / late(life), 0.0)
    after = operating - late(tax) * (operating - book - paid) - payment
    sale = worth[..., -1:] - late(tax) * (worth[..., -1:] - book_value)
    shape = np.broadcast_shapes(after.shape, worth.shape, owed.shape)
    flows = np.zeros((*shape[:-1], 1 + build_years + years))
    flows[..., 0] -= facility * (1 - np.asarray(debt))
    flows[..., build_years:-1] -= late(servers * (1 - np.asarray(debt))) * phase
    flows[..., build_years + 1 :] += after
    flows[..., -1:] += sale
    spread = (np.broadcast_to(part, shape) for part in (operating, payment, owed, worth))
    earned = ((1 - late(tax)) * saved * (1 + late(r)) ** -(build_years + t)).sum(axis=-1)
    mean = np.broadcast_to(used, (*np.shape(used)[:-1], years)).mean(axis=-1)
    return Owning(flows, *spread, *(np.broadcast_to(part, shape[:-1]) for part in (earned, r, mean)))


@cache
def rent_history() -> tuple[float, float]:
    """Decline per year of rents and its random walk's spread, continuous: changes of one provider's rent of one chip by one tariff."""
    rows = catalogue.table("rent_history").filter(pl.col("date").str.len_chars() >= 7, tariff="on-demand", kind="price list")
    year = pl.col("date").str.slice(0, 4).cast(float) + pl.col("date").str.slice(5, 2).cast(float) / 12
    rows = rows.group_by("chip", "provider", at=year).agg(y=pl.col("usd_per_gpu_h").median().log()).sort("at")
    step = rows.select(pl.col("y", "at").diff().over("chip", "provider")).drop_nulls()
    change, apart = (step[name].to_numpy() for name in ("y", "at"))
    decline = -float(change.sum() / apart.sum())
    return decline, float(np.sqrt(((change + decline * apart) ** 2).sum() / apart.sum()))


@cache
def resale_history() -> tuple[float, float]:
    """Decline of resale prices per year, continuous: of used H100s by 2026, and down to the catalogue's resale at the end of a life."""
    prices = catalogue.table("hardware_prices").filter(chip="H100", unit="chip")
    year = pl.col("date").str.slice(0, 4).cast(float)
    new, used = (
        prices.filter(kind=kind).select(at=year.mean(), usd=pl.col("price_usd").median()).row(0, named=True) for kind in ("volume", "used")
    )
    life, end = catalogue.cost("server_life_years").value, catalogue.cost("resale_h100_usd").value
    return float(np.log(new["usd"] / used["usd"]) / (used["at"] - new["at"])), float(np.log(new["usd"] / end) / life)


def _drawn(n: int, years: int, seed: int) -> tuple[Array, Array, Array]:
    """Standard normals: of the decline of rents, of that of resale, and of the walk of each year (n, years)."""
    half = np.random.default_rng(seed).standard_normal((-(-n // 2), years + 2))
    z = np.concatenate([half, -half])[:n]  # each future with its opposite: the mean is exact
    return z[:, 0], LINKED * z[:, 0] + np.sqrt(1 - LINKED**2) * z[:, 1], z[:, 2:]


def _between(low: float, high: float, z: Array) -> Array:
    return (low + high) / 2 + (high - low) / 2 / Z95 * z


def _rents(
    chip: Chip, rent: ArrayLike | None, decline: ArrayLike | None, volatility: ArrayLike | None, drawn: tuple[Array, ...], built: int
) -> Array:
    """Rents of the years of operation, in the middle of each [USD/h] (..., years)."""
    if rent is not None and np.ndim(rent):
        return np.asarray(RENT("rent", rent))
    if rent is None:
        known = catalogue.table("rent_history").filter(chip=chip.name)["tariff"].unique()
        rent = catalogue.rent(chip, next((tariff for tariff in TARIFFS if tariff in known), TARIFFS[0])).value
    past, spread = rent_history()
    fall = _between(past, price_decline(), drawn[0]) if decline is None else np.asarray(decline)
    middle = np.arange(drawn[2].shape[1]) + 0.5
    walk = np.cumsum(drawn[2] * np.sqrt(np.diff(middle, prepend=0.0)), axis=-1)
    walk = np.multiply(spread if volatility is None else np.asarray(volatility)[..., None], walk)
    return np.asarray(RENT("rent", rent) * np.exp(walk - fall[..., None] * middle))[..., built:]


@dataclass(frozen=True, repr=False)
class InHouse(Arrays):
    """Whether a chip of one's own pays; arrays broadcast over the arguments of `in_house_chip`."""

    saving_per_chip: Array  #: present value at launch of one chip against the merchant work it replaces [USD]
    break_even_chips: Array  #: chips at which it pays; inf where each one loses
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
    rate=replace(YEARLY, least=0.0), running_saving=FINITE, life_years=Rule(least=0.0, most=100.0, unit="years"),
)  # fmt: skip
def in_house_chip(
    *, nre: ArrayLike, unit_cost: ArrayLike, merchant_price: ArrayLike, relative_performance: ArrayLike, volume: ArrayLike,
    movable_share: ArrayLike, lead_years: ArrayLike, price_decline: ArrayLike, rate: ArrayLike, respin_probability: ArrayLike = 0.0,
    respin_share: ArrayLike = 0.3, respin_years: ArrayLike = 0.5, port_cost: ArrayLike = 0.0, running_saving: ArrayLike = 0.0,
    life_years: ArrayLike = 5.0, merchant_fleet: ArrayLike = 0.0, price_response: ArrayLike = 0.0,
) -> InHouse:  # fmt: skip
    """Break-even volume and value of designing an in-house chip, against buying merchant chips for the same work.

    An in-house chip that comes `lead_years` late (and later after a respin) meets merchant chips whose price for the same work has
    fallen by then: saving = merchant_price relative_performance e^(-price_decline lead) - unit_cost + running savings over its life;
    break-even volume = NRE with interest / saving; only `movable_share` of the volume wanted can be moved. The vendor may answer with a
    lower price on the rest of the fleet.

    Parameters
    ----------
    nre, port_cost, unit_cost, merchant_price : array_like
        Design up to production, without respins; moving software, once; one in-house chip, packaged and tested; the merchant chip
        that does the work of one, today [USD].
    relative_performance, volume, movable_share : array_like
        Work of the in-house chip over that of today's merchant chip; chips wanted over the life of the design; share that can move.
    lead_years, life_years, rate : array_like
        From decision to volume; of the chip; discount rate per year, 0 to 1.
    price_decline : array_like
        Decline per year of the merchant price of the same work, continuous (.32 for 27 % a year, 1 for 63 %), 0 or more.
    respin_probability, respin_share, respin_years : array_like
        Of one more spin of the mask, its cost over the NRE, and the delay it brings.
    running_saving : array_like
        Power and networking saved per chip and year [USD]; negative where it draws more.
    merchant_fleet, price_response : array_like
        Spend per year on merchant chips that stay [USD], and the share by which the vendor lowers its price, for as long as the chip lives.

    The value of the threat alone is that of Dixit, Pindyck (1994), "Investment under Uncertainty", chapter 6.

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
    return InHouse(*np.broadcast_arrays(saving, chips, value, concession))
