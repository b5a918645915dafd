"""The outlook: demand, supply, rent and power by quarter with bands, what sellers earn, what binds and what drives it; and its own past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Array, Arrays
from workbench.checks import LENGTH, POSITIVE, WHOLE, Rule, takes
from workbench.demand.forecast.history import seller_revenue, year
from workbench.demand.market import scenario
from workbench.demand.market.clearing import BINDING, ElasticDemand
from workbench.demand.market.loop import QUARTER, Futures, Market, simulate
from workbench.errors import InputError
from workbench.uncertainty.distributions import Distribution
from workbench.uncertainty.scores import crps
from workbench.uncertainty.summaries import bands
from workbench.units import GIGA, HOUR, YEAR

REPLICATES = 8  #: randomisations of the Sobol points, for standard errors
LEVELS = (0.5, 0.8, 0.9)


@dataclass(frozen=True, repr=False)
class Outlook(Arrays):
    """What may come, or came, quarter by quarter; futures on the last axis."""

    start: str  #: first quarter
    futures: Futures | None  #: None: of the past
    market: Market
    given: Mapping[str, Array]  #: sampled inputs

    @property
    def quarters(self) -> list[str]:
        """Names, as 2026Q1."""
        return scenario.quarter_names(self.start, len(self.market.rent))

    @property
    def beyond_data(self) -> NDArray[np.bool_]:
        """Quarters after the last that any forecast of supply in the tables reaches: priors alone speak there."""
        last = max(map(year, catalogue.table("supply_drivers").filter(forecast="yes")["period"]))
        return np.array([year(q) > last for q in self.quarters])

    def order_from(self, today: str = "") -> int:
        """Place of the first quarter in which one can still order: that of the newest rent in the tables, or of the date `today` if given.

        Raises `InputError` for a date before the outlook's facts, or beyond its end.
        """
        today = today or str(catalogue.table("rent_history")["date"].max())
        place = int(np.ceil(round(4 * (year(today) - year(self.start)), 3)))
        if not 0 <= place < len(self.quarters):
            raise InputError(f"today = {today}: expected a date from {self.start}, the newest disclosed quarter, to {self.quarters[-1]}")
        return place

    def frame(self) -> pl.DataFrame:
        """quantity, quarter, level, low, median, high, beyond_data; demand is what is wanted at the going rent."""
        o = self.market
        quantities = {
            "demand_h100e": o.wanted, "supply_h100e": o.supply, "rent_usd_per_h": o.rent, "booked_usd_per_h": o.booked,
            "long_run_cost_usd_per_h": o.long_run_cost, "scarcity_premium": o.scarcity_premium, "shortfall": o.shortfall,
            "power_gw": o.power / GIGA, "drawn_gw": o.drawn / GIGA, "waiting_h100e": o.waiting, "idle_h100e": o.idle,
        }  # fmt: skip
        found = bands(np.stack(list(quantities.values())), LEVELS).frame(quantity=list(quantities), quarter=self.quarters)
        flags = pl.DataFrame({"quarter": self.quarters, "beyond_data": self.beyond_data})
        return found.join(flags, on="quarter", how="left", maintain_order="left")

    def demand_at(self, usd_per_h: ArrayLike) -> dict[str, Array]:
        """What each class wants at a stated rent of a one-year contract [USD/h], which broadcasts, (quarters, futures) [H100e]."""
        if self.futures is None:
            raise InputError("an outlook of the past tells no demand by class")
        f, price = self.futures, POSITIVE("usd_per_h", usd_per_h)
        wanted = ElasticDemand(np.asarray(f.elasticity)[:, None]).at(price, f.demand, reference_price=f.reference_price)
        return dict(zip(scenario.BUYERS, wanted, strict=True))

    def tranches(self) -> dict[str, tuple[Array, Array]]:
        """Hours sold per year and the price of each [USD/h] by tranche, (quarters, futures): contracts, on demand, spot.

        Sold is a share of what is installed. Contracts of several years pay the mean of the rents at which they were signed, less the
        discount for their term; by the hour and at spot only what is wanted is sold.
        """
        x, o = self.given, self.market
        hours = YEAR / HOUR * o.supply * x["seller_share"] * x["hours_sold"]
        loose = hours * (1 - x["contract_share"]) * np.minimum(o.wanted / o.supply, 1.0)
        return {
            "contracts": (hours * x["contract_share"], o.booked * x["term_discount"]),
            "on demand": (loose * (1 - x["spot_share"]), o.rent * (1 + x["on_demand_premium"])),
            "spot": (loose * x["spot_share"], o.clearing * (1 - x["spot_discount"])),
        }

    def revenue(self) -> dict[str, Array]:
        """What sellers earn per year by tranche, (quarters, futures) [USD/yr]."""
        return {name: sold * price for name, (sold, price) in self.tranches().items()}

    def disclosed(self) -> dict[str, Array]:
        """What each seller discloses to earn with AI in these quarters, or would at its last growth, (quarters,) [USD/yr]."""
        return seller_revenue(np.array([year(q) for q in self.quarters]) - 0.125)

    @takes(quarters=WHOLE)
    def headline(self, quarters: int = 9) -> pl.DataFrame:
        """A row per quarter: medians and 80 % bands of demand, supply, rent, shortfall and scarcity premium, and what most likely binds."""
        o = self.market
        columns: dict[str, ArrayLike] = {"quarter": self.quarters}
        of = {
            "demand_m_h100e": o.wanted / 1e6, "supply_m_h100e": o.supply / 1e6, "rent_usd_per_h": o.rent,
            "shortfall": o.shortfall, "scarcity_premium": o.scarcity_premium,
        }  # fmt: skip
        for name, values in of.items():
            found = bands(values, (0.8,))
            columns |= {name: found.median, f"{name}_p10": found.low[0], f"{name}_p90": found.high[0]}
        shares = self.binds().drop("quarter").to_numpy()
        columns |= {"binding": np.array(BINDING)[shares.argmax(axis=1)], "p_binding": shares.max(axis=1), "beyond_data": self.beyond_data}
        return pl.DataFrame(columns).head(quarters)

    @takes(quarter=Rule(least=1, whole=True, one=True, unit="quarters after the start"), bins=LENGTH)
    def drivers(self, quarter: int = 8, bins: int = 32) -> pl.DataFrame:
        """Share of the variance of the logarithms of demand over supply and of the scarcity premium that each input explains alone.

        First-order indices from the futures as they are, correlated or not: Var(E[y | x]) / Var(y), the mean of y within equal parts of x
        (Borgonovo, Hazen, Plischke, 2016, Risk Analysis 36(10)), less what parts of so few futures show by chance.
        """
        if quarter >= len(self.quarters):
            raise InputError(f"quarter = {quarter}: expected 1 to {len(self.quarters) - 1} of this outlook")
        o = self.market
        y = np.stack([np.log(o.wanted[quarter] / o.supply[quarter]), np.log(o.scarcity_premium[quarter])])
        inputs = {name: v if v.ndim == 1 else v[quarter] for name, v in self.given.items()}
        rows = {name: _explained(v, y, bins) for name, v in inputs.items() if v.size == y.shape[1] and np.ptp(v) > 0}
        table = pl.DataFrame({"input": list(rows), "gap": [r[0] for r in rows.values()], "scarcity": [r[1] for r in rows.values()]})
        return table.sort("scarcity", descending=True)

    def binds(self) -> pl.DataFrame:
        """Probability that each constraint binds, by quarter."""
        binding = self.market.binding
        return pl.DataFrame({"quarter": self.quarters} | {name: np.mean(binding == i, axis=1) for i, name in enumerate(BINDING)})

    def worth_of_power(self) -> pl.DataFrame:
        """quarter, usd_per_gw: mean worth in a quarter of what a gigawatt more would run, 0 where power does not bind [USD]."""
        gw = power_shadow_price(self.futures, self.market).mean(axis=1) * GIGA if self.futures else np.zeros(len(self.quarters))
        return pl.DataFrame({"quarter": self.quarters, "usd_per_gw": gw})


@takes(quarters=Rule(least=2, whole=True, one=True), n=LENGTH, seed=WHOLE)
def outlook(
    quarters: int = 40, n: int = 16_384, seed: int = 0, *, demand: ArrayLike | None = None, **given: Distribution | float
) -> Outlook:
    """Demand against supply from the priors of the table, weighed by history, or others given by name.

    Parameters
    ----------
    quarters : int
        From the newest disclosed quarter on; beyond the forecasts of the tables they are flagged.
    n : int
        Futures: eight randomisations of n / 8 Sobol points, which is a power of two.
    seed : int
    demand : array_like, shape (classes, quarters, futures), optional
        As `scenario.futures`.
    **given : Distribution or number
        Instead of rows of the table, by their names (`scenario.INPUTS`).

    Raises
    ------
    InputError, UnknownName
        For a number of futures that is not eight times a power of two, or inputs that are out of range or unknown.

    Examples
    --------
    >>> ahead = outlook(quarters=5, n=256, agents_demand_growth=6.0)
    >>> ahead.quarters[0], ahead.quarters[-1], float(np.median(ahead.market.rent[0]))
    ('2026Q2', '2027Q2', 2.65)
    >>> ahead.headline(1)["binding"][0]
    'demand'
    """
    if n % REPLICATES or n & (n - 1):
        raise InputError(f"n = {n}: expected {REPLICATES} times a power of two")
    x = scenario.draws(quarters, n // REPLICATES, seed, replicates=REPLICATES, until=scenario.REFERENCE, **given)
    futures = scenario.futures(x, demand=demand)
    return Outlook(scenario.newest(), futures, simulate(futures), x)


@takes(n=LENGTH, seed=WHOLE)
def past(n: int = 2048, seed: int = 0) -> Outlook:
    """The quarters since the first known rent, with the stock and the rents as they were: what the outlook's quantities were then.

    Demand is that at which the rent moved as it did; waiting, power and what binds are not told.

    Examples
    --------
    >>> before = past(n=64)
    >>> before.quarters[0], bool((before.market.scarcity_premium[0] > before.market.scarcity_premium[-3]).all())
    ('2023Q2', True)
    """
    x = scenario.draws(2, n, seed, replicates=1)
    known = np.array(sorted((year(q), rent) for q, rent in scenario.rents().items() if q <= scenario.newest()))
    ends = np.arange(known[0, 0], known[-1, 0] + 0.01, 0.25)
    names = scenario.quarter_names(min(scenario.rents()), len(ends))
    logs = np.interp(ends, known[:, 0], np.log(known[:, 1]))[:, None]
    step = np.diff(logs, axis=0, prepend=logs[:1]) / x["contract_adjustment"]
    rent, nothing = np.exp(logs) * np.ones(n), np.zeros((len(ends), n))
    stock = np.array([[scenario.shipped(q).sum()] for q in scenario.quarter_names(names[1], len(ends))]) * x["stock_scale"]
    gap = (scenario.shares(x) * scenario.elasticity(x)).sum(axis=0) * step
    wanted = stock * np.exp(np.clip(gap, -scenario.TIGHTEST, scenario.TIGHTEST))
    cost = scenario.sold_hour({k: v for k, v in x.items() if v.ndim == 1}, ends[:, None])
    booked = np.stack([scenario.booked(q, r) + nothing[0] for q, r in zip(names, rent, strict=True)])
    code = nothing.astype(np.int8)
    return Outlook(names[0], None, Market(rent, rent * np.exp(step), booked, cost, stock, wanted, nothing, nothing, nothing, code), x)


def _explained(x: Array, y: Array, bins: int) -> list[float]:
    """First-order index of an input, (futures,), for each of several outputs, (outputs, futures); 0 or more."""
    parts = np.array_split(np.argsort(x, kind="stable"), min(bins, x.size // 2))
    means, sizes = np.stack([y[:, p].mean(axis=1) for p in parts], axis=1), np.array([p.size for p in parts])
    between = (sizes * (means - y.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) / x.size
    chance = (len(parts) - 1) / x.size
    return np.maximum((between / y.var(axis=1) - chance) / (1 - chance), 0.0).tolist()


def power_shadow_price(futures: Futures, market: Market) -> Array:
    """Worth in a quarter, at the price that clears, of what one more watt at the meter would run, (quarters, futures) [USD/W]."""
    quarters = np.arange(1, len(market.rent) + 1)[:, None]
    draw = np.asarray(futures.draw) * np.exp(-np.asarray(futures.draw_decline) * quarters)
    worth = np.where(market.binding == BINDING.index("power"), market.clearing * (QUARTER / HOUR), 0.0)
    return worth / (draw * np.asarray(futures.pue))


@takes(n=LENGTH, seed=WHOLE, horizon=Rule(least=1, most=16, whole=True, one=True))
def hindcast(n: int = 2048, seed: int = 0, *, horizon: int = 4, **given: Distribution | float) -> pl.DataFrame:
    """The loop from every past quarter that has a rent, beside what happened: stock, rent, and rent over the cost of a sold hour.

    Priors are weighted by what had been disclosed at the origin, nothing later. Before any rent was known the start is a rent at cost.

    Parameters
    ----------
    n, seed : int
        Futures, a power of two; random numbers.
    horizon : int
        Quarters ahead.
    **given : Distribution or number
        As `outlook`.

    Returns
    -------
    polars.DataFrame
        what, origin, quarter, observed, low, median, high (10, 50, 90 %), log_error (of the median), inside, crps (of the logarithm).

    Examples
    --------
    >>> hindcast(n=64).filter(pl.col("what") == "H100 rent [USD/h]").select("origin", "quarter", "observed").row(-1)
    ('2025Q2', '2026Q2', 2.65)
    """
    counted, seen = scenario.shipments(), []
    for origin in scenario.quarter_names("2022Q4", 80):
        target = scenario.quarter_names(origin, horizon + 1)[-1]
        if target > scenario.newest():
            break
        x = scenario.draws(horizon + 1, n, seed, replicates=1, until=origin, **given)
        cost = scenario.sold_hour({k: v for k, v in x.items() if v.ndim == 1}, np.array([[year(origin)], [year(target)]]))
        first = cost[0] if origin < "2023Q2" else None  # no rent is known before
        o = simulate(scenario.futures(x, start=origin, usd_per_h100e_hour=first))
        stock = sum(units for q, units in counted.items() if q <= target)
        seen.append(("stock of AI chips [H100e]", origin, target, stock, (o.supply + o.waiting)[-1] / x["stock_scale"]))
        if (rent := scenario.rents().get(target)) is not None:
            seen += [("H100 rent [USD/h]", origin, target, rent, o.rent[-1])] * (first is None)
            seen.append(("rent over cost of a sold hour", origin, target, float(rent / np.median(cost[1])), o.scarcity_premium[-1]))
    what, origins, targets, observed, found = zip(*seen, strict=True)
    low, median, high = np.quantile(np.stack(found), [0.1, 0.5, 0.9], axis=1)
    columns = {"what": what, "origin": origins, "quarter": targets, "observed": observed, "low": low, "median": median, "high": high}
    columns |= {"log_error": np.log(median / observed), "inside": (low <= observed) & (observed <= high)}
    return pl.DataFrame(columns | {"crps": crps(np.log(np.stack(found)), np.log(np.array(observed)))})
