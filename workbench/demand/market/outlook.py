"""The outlook: demand, supply and price by quarter with bands, how likely shortage and glut are, what binds, and what drives the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Array, Arrays
from workbench.checks import LENGTH, WHOLE, Rule, takes
from workbench.demand.forecast.history import year
from workbench.demand.market import scenario
from workbench.demand.market.clearing import BINDING, STAGES
from workbench.demand.market.loop import QUARTER, Futures, Market, simulate
from workbench.errors import InputError
from workbench.uncertainty import sobol_indices
from workbench.uncertainty.distributions import Distribution
from workbench.uncertainty.summaries import bands, exceedance
from workbench.units import GIGA, HOUR

#: A price this far above or below the long-run cost, over it, is a shortage or a glut.
BAND = 0.2
REPLICATES = 8  #: randomisations of the Sobol points, for standard errors
LEVELS = (0.5, 0.8, 0.9)


@dataclass(frozen=True, repr=False)
class Outlook(Arrays):
    """What may come, quarter by quarter; futures on the last axis."""

    start: str  #: first quarter
    futures: Futures
    market: Market
    given: Mapping[str, Array]  #: sampled inputs

    @property
    def quarters(self) -> list[str]:
        """Names, as 2026Q1."""
        return scenario.quarter_names(self.start, self.futures.shape[0])

    @property
    def beyond_data(self) -> NDArray[np.bool_]:
        """Quarters after the last that any forecast of supply in the tables reaches: priors alone speak there."""
        rows = catalogue.table("supply_drivers").filter(pl.col("forecast") == "yes")
        last = max(year(period) for period in rows["period"])
        return np.array([year(q) > last for q in self.quarters])

    def probability(self, what: str) -> tuple[Array, Array]:
        """Probability by quarter, and its standard error, of a ``"shortage"`` or ``"glut"``: price `BAND` above or below long-run cost."""
        if what not in ("shortage", "glut"):
            raise InputError(f"what = {what!r}: expected 'shortage' or 'glut'")
        relative = self.market.price / self.market.long_run_cost
        signed, threshold = (relative, 1 + BAND) if what == "shortage" else (-relative, BAND - 1)
        found = exceedance(signed, np.full(len(relative), threshold), replicates=REPLICATES)
        return found.value, found.standard_error

    def frame(self) -> pl.DataFrame:
        """quantity, quarter, level, low, median, high, beyond_data; demand is that at long-run cost."""
        o = self.market
        quantities = {
            "demand_h100e": o.demand,
            "supply_h100e": o.supply,
            "price_usd_per_h": o.price,
            "long_run_cost_usd_per_h": o.long_run_cost,
            "power_gw": o.power / GIGA,
            "waiting_h100e": o.waiting,
            "idle_h100e": o.idle,
        }
        found = bands(np.stack(list(quantities.values())), LEVELS).frame(quantity=list(quantities), quarter=self.quarters)
        flags = pl.DataFrame({"quarter": self.quarters, "beyond_data": self.beyond_data})
        return found.join(flags, on="quarter", how="left", maintain_order="left")

    @takes(quarters=WHOLE)
    def headline(self, quarters: int = 9) -> pl.DataFrame:
        """A row a quarter: medians and 90 % bands, probabilities of shortage and glut, what most likely binds."""
        o = self.market
        columns: dict[str, ArrayLike] = {"quarter": self.quarters}
        for name, values in (("demand_m_h100e", o.demand / 1e6), ("supply_m_h100e", o.supply / 1e6), ("price_usd_per_h", o.price)):
            found = bands(values, (0.9,))
            columns |= {name: found.median, f"{name}_p5": found.low[0], f"{name}_p95": found.high[0]}
        for what in ("shortage", "glut"):
            columns[f"p_{what}"], columns[f"p_{what}_error"] = self.probability(what)
        shares = self.binds().drop("quarter").to_numpy()
        columns |= {"binding": np.array(BINDING)[shares.argmax(axis=1)], "p_binding": shares.max(axis=1), "beyond_data": self.beyond_data}
        return pl.DataFrame(columns).head(quarters)

    def binds(self) -> pl.DataFrame:
        """Probability that each constraint binds, by quarter."""
        binding = self.market.binding
        return pl.DataFrame({"quarter": self.quarters} | {name: np.mean(binding == i, axis=1) for i, name in enumerate(BINDING)})

    def shadow_prices(self) -> pl.DataFrame:
        """Mean rent of a quarter of what a gigawatt or a thousand wafers more would bring, by quarter [USD]; 0 where they do not bind."""
        gw = power_shadow_price(self.futures, self.market).mean(axis=1) * GIGA
        since = np.array([year(q) for q in self.quarters])[:, None] - year("2025Q2")  # wafers are those of 2025
        wafers = rent_where(self.market, "packaging") * h100e_per_wafer() * self.given["compute_per_input_growth"] ** since * 1e3
        return pl.DataFrame({"quarter": self.quarters, "usd_per_gw": gw, "usd_per_thousand_wafers": wafers.mean(axis=1)})


@takes(quarters=Rule(least=2, whole=True, one=True), n=LENGTH, seed=WHOLE)
def outlook(
    quarters: int = 40, n: int = 16_384, seed: int = 0, *, demand: ArrayLike | None = None, **given: Distribution | float
) -> Outlook:
    """Demand against supply from the priors of the table, or others given by name.

    Parameters
    ----------
    quarters : int
        From 2026Q1 on; beyond the forecasts of the tables they are flagged.
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
    >>> ahead.quarters[-1], round(float(np.median(ahead.market.price[0])), 2)
    ('2027Q1', 2.35)
    >>> ahead.headline(2).select("quarter", "binding").rows()
    [('2026Q1', 'packaging'), ('2026Q2', 'packaging')]
    """
    if n % REPLICATES or n & (n - 1):
        raise InputError(f"n = {n}: expected {REPLICATES} times a power of two")
    x = scenario.draws(quarters, n // REPLICATES, seed, replicates=REPLICATES, **given)
    futures = scenario.futures(x, demand=demand)
    return Outlook(scenario.START, futures, simulate(futures), x)


@takes(quarter=Rule(least=1, whole=True, one=True, unit="quarters after the start"), n=LENGTH, seed=WHOLE)
def drivers(quarter: int = 8, n: int = 1024, seed: int = 0, **given: Distribution | float) -> pl.DataFrame:
    """Sobol indices of ln(demand / supply) and of a shortage at a quarter: which inputs they hang on.

    Parameters
    ----------
    quarter : int
        After the start, 1 or more.
    n : int
        Sobol points, a power of two.
    **given : Distribution or number
        As `outlook`.

    Returns
    -------
    polars.DataFrame
        input (a group where inputs are correlated), and the first- and total-order index of each: log_ratio_first, log_ratio_total,
        shortage_first, shortage_total; the largest total of the logarithm first.

    Examples
    --------
    >>> drivers(quarter=1, n=8).height
    40
    """

    def model(**x: Array) -> Array:
        o = simulate(scenario.futures(x))
        return np.stack([np.log(o.demand[-1] / o.supply[-1]), o.price[-1] > (1 + BAND) * o.long_run_cost[-1]])

    believed = scenario.inputs(quarter + 1, **given)
    found = sobol_indices(model, believed, n, seed, groups=scenario.GROUPS, correlation=scenario.correlation(believed))
    table: dict[str, ArrayLike] = {"input": list(found.groups)}
    for i, name in enumerate(("log_ratio", "shortage")):
        table |= {f"{name}_first": found.first[:, i], f"{name}_total": found.total[:, i]}
    return pl.DataFrame(table).sort("log_ratio_total", descending=True)


def rent_where(market: Market, constraint: str) -> Array:
    """Rent of a quarter of one more unit where `constraint` binds, else 0 [USD]: exact derivative of the value of its compute."""
    return np.where(market.binding == BINDING.index(constraint), market.price * (QUARTER / HOUR), 0.0)


def power_shadow_price(futures: Futures, market: Market) -> Array:
    """Rent of a quarter of what one more watt at the meter would run, (quarters, futures) [USD/W]: 0 where power does not bind."""
    quarters = np.arange(1, len(market.price) + 1)[:, None]
    draw = np.asarray(futures.draw) * np.exp(-np.asarray(futures.draw_decline) * quarters)
    return rent_where(market, "power") / (draw * np.asarray(futures.pue))


def h100e_per_wafer() -> float:
    """H100-equivalents shipped in 2025 over CoWoS wafers asked for in it, from the tables."""
    wafers = catalogue.table("supply_drivers").filter(quantity="CoWoS wafer demand", period="2025")["value"][0]
    return float(scenario.shipped("2026Q1")[-4:].sum() / wafers)


@takes(n=LENGTH, seed=WHOLE, usd_per_h100e_hour=Rule(above=0, one=True))
def hindcast(
    start: str = "2024Q1", n: int = 4096, seed: int = 0, *, usd_per_h100e_hour: float | None = None, **given: Distribution | float
) -> pl.DataFrame:
    """The loop from a past quarter, beside what came: rents with the shipments that happened, and the stock with the loop's own orders.

    Priors are today's, so that this shows whether the loop can produce what happened, not how well it would have forecast.

    Parameters
    ----------
    start : str
        First quarter, at the start of which the stock is known.
    usd_per_h100e_hour : float, optional
        Rent that was known then; the table's, of any contract, by default.
    **given : Distribution or number
        As `outlook`.

    Returns
    -------
    polars.DataFrame
        what, quarter, contract, observed, low, median, high (5, 50, 95 %), log_error (of the median), inside.

    Examples
    --------
    >>> hindcast("2025Q4", n=64).select("quarter", "contract", "observed").row(0)
    ('2026Q1', '1 year', 2.35)
    """
    quarters = round((year(scenario.START) - year(start)) * 4) + 1
    if quarters < 2:
        raise InputError(f"start = {start}: expected a quarter before {scenario.START}")
    x = scenario.draws(quarters, n, seed, replicates=1, **given)
    price = scenario.known_rent(start, contract=None) if usd_per_h100e_hour is None else usd_per_h100e_hour
    free = scenario.futures(x, start=start, usd_per_h100e_hour=price)
    past = scenario.shipped()[-(quarters - 1) :, None] * x["stock_scale"]
    happened = np.concatenate([past, past[-1:] * x["shipment_growth"] ** 0.25])
    held = replace(free, shipping=happened, limits=np.inf, power=1e30, chip_lead=40.0, power_lead=float(STAGES))
    first = np.asarray(held.demand)[:, 0].sum(axis=0)
    known = simulate(replace(held, demand=np.asarray(held.demand) * simulate(held).supply[0] / first))
    own = simulate(free)
    names = scenario.quarter_names(start, quarters)
    seen: list[tuple[str, str, str, float, Array]] = []  # what, quarter, contract, observed, futures
    ends = np.array([year(q) for q in names])
    rents = catalogue.table("rents").filter(pl.col("chip") == "H100", pl.col("contract") != "assumption")
    for date, contract, rent in rents.select("date", "contract", "usd_per_gpu_h").iter_rows():
        at = int(np.searchsorted(ends, year(date)))
        if rent is not None and 0 < at < quarters:
            seen.append(("H100 rent, shipments as they were", names[at], contract, rent, known.price[at]))
    stock = np.cumsum(scenario.shipped())
    for back in (5, 1):  # the ends of 2024 and 2025
        if quarters > back:
            seen.append(("H100e standing, the loop's own orders", names[-1 - back], "", float(stock[-back]), own.supply[-1 - back]))
    *texts, observed, found = zip(*seen, strict=True)
    low, median, high = np.quantile(np.stack(found), [0.05, 0.5, 0.95], axis=1)
    columns = dict(zip(("what", "quarter", "contract"), texts, strict=True)) | {"observed": observed, "low": low, "median": median}
    columns |= {"high": high, "log_error": np.log(median / observed), "inside": (low <= observed) & (observed <= high)}
    return pl.DataFrame(columns)
