"""Beliefs about demand and supply as futures of the closed loop: priors sampled, weighed by what happened, started at the known rent.

Rates of growth are those of `REFERENCE`, from which on they fade with a time tau. Before it supply grew e^(years / tau) times as fast,
demand no faster: at unchanged rents (elasticity 1.1) 1.0 times a year from mid-2023 on, 4.1 in 2024, 2.1 in 2025, 6.7 in early 2026.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache, partial
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.arrays import Array, ArrayLike, broadcast
from workbench.checks import ELECTRICITY, FINITE, LENGTH, NOT_NEGATIVE, POSITIVE, PUE, SHARE, WHOLE, Rule, takes, to_shape
from workbench.demand.forecast.history import year
from workbench.demand.market.clearing import LIMITS, long_run_cost
from workbench.demand.market.loop import Futures, simulate
from workbench.demand.uses.tokens import fading
from workbench.errors import InputError, UnknownName
from workbench.uncertainty import Beta, Lognormal, Normal, Path, Pert, sample
from workbench.uncertainty.distributions import Distribution
from workbench.units import GIGA, KILO

BUYERS = ("research", "agents", "consumer")  #: classes of those who buy compute
REFERENCE = "2026Q2"  #: quarter to which rates of growth and headrooms belong
DRAWN = 2026.0  #: to which the power of a new unit belongs
PLATEAU = (2025.75, 2026.75)  #: in which more expensive memory kept the cost of a new unit where it was
SHOCKS = "demand_shocks"
FADE = 3.0  #: years after which a shock to demand has faded to 1 / e
HORIZON = 4  #: quarters ahead of the forecasts that weigh the priors; each counts for one over it, as they overlap
#: Deviations of the logarithms of stock and rent a year ahead that no input explains, Student's t of `DOF`: counts of chips are known
#: to 15 % (chip_stock), rents of one time and chip to a quarter (rent_history).
STOCK_ERROR, RENT_ERROR, DOF = 0.15, 0.25, 4.0
TIGHTEST = 0.25  #: most of the gap at the start, in logarithms, that the last move of the rent may tell

#: Rows of the table of priors that the loop samples, those that matter most first.
INPUTS = (
    "agents_demand_growth", "research_demand_growth", "demand_growth_tau", "consumer_demand_growth", "demand_volatility",
    "api_elasticity", "contract_adjustment", "serving_software_growth", "chip_response", "extrapolation", "entry_rate",
    "capital_usd_per_h100e", "hardware_growth", "cost_of_capital", "hours_sold", "seller_overhead", "operations_usd_per_hour",
    "capital_growth", "packaging_growth", "hbm_growth", "chips_growth", "compute_per_input_growth",
    "supply_growth_tau", "packaging_headroom", "hbm_headroom", "capital_headroom", "chips_headroom", "shipment_growth", "power_headroom",
    "power_coming_gw_per_year", "power_lead_quarters", "it_power_per_h100e", "energy_efficiency_growth", "chip_lead_quarters",
    "deployment_lag_quarters", "stock_scale", "life_years", "limit_response", "power_response", "power_cancelled", "contract_quarters",
    "research_share", "agents_share_of_rest", "research_elasticity", "consumer_elasticity", "efficiency_fade",
    "power_usage_effectiveness", "electricity_usd_per_kwh", "space_usd_per_kwh", "price_ceiling",
    "seller_share", "contract_share", "spot_share", "term_discount", "on_demand_premium", "spot_discount",
)  # fmt: skip
#: What the loop calls otherwise.
CALLED = {
    "power_lead": "power_lead_quarters", "ceiling": "price_ceiling", "cancelled": "power_cancelled", "pue": "power_usage_effectiveness",
    "adjustment": "contract_adjustment", "entry": "entry_rate",
}  # fmt: skip
#: What they may be.
RULES = dict.fromkeys(INPUTS, POSITIVE) | dict.fromkeys((
    "demand_volatility", "chip_response", "power_response", "limit_response", "extrapolation", "deployment_lag_quarters",
    "power_coming_gw_per_year", "electricity_usd_per_kwh", "space_usd_per_kwh", "entry_rate", "seller_overhead", "on_demand_premium",
    "operations_usd_per_hour",
), NOT_NEGATIVE) | dict.fromkeys((
    "power_cancelled", "seller_share", "contract_share", "spot_share", "spot_discount",
), SHARE) | dict.fromkeys(("contract_adjustment", "hours_sold", "term_discount"), Rule(above=0, most=1)) | dict.fromkeys((
    "research_share", "agents_share_of_rest",
), Rule(above=0, below=1)) | {
    "power_usage_effectiveness": PUE, "electricity_usd_per_kwh": replace(ELECTRICITY, least=0.0), SHOCKS: FINITE,
}  # fmt: skip
#: What moves together, by the normal scores: the growth of demand brings capital, capital brings chips, memory, packages and power.
TOGETHER = {
    ("agents_demand_growth", "research_demand_growth"): 0.5, ("agents_demand_growth", "capital_growth"): 0.4,
    ("research_demand_growth", "capital_growth"): 0.4, ("capital_growth", "packaging_growth"): 0.4, ("capital_growth", "hbm_growth"): 0.4,
    ("capital_growth", "chips_growth"): 0.4, ("packaging_growth", "hbm_growth"): 0.4, ("packaging_growth", "chips_growth"): 0.4,
    ("capital_growth", "power_coming_gw_per_year"): 0.3,
}  # fmt: skip


@cache
def prior(name: str) -> Distribution | float:
    """The belief about a parameter, by its row of the table of priors. Raises `UnknownName`."""
    table = catalogue.table("demand_priors")
    if not (rows := table.filter(name=name)).height:
        raise UnknownName("prior", name, table["name"].to_list())
    row = rows.row(0, named=True)
    kind, low, mode, high = (row[column] for column in ("distribution", "p5", "p50", "p95"))
    if kind in ("constant", "pert"):
        return Pert(low, mode, high) if kind == "pert" else float(mode)
    return {"lognormal": Lognormal, "beta": Beta, "normal": Normal}[kind](low, high)


def median(name: str) -> float:
    """Median of the belief about a parameter."""
    believed = prior(name)
    return believed if isinstance(believed, float) else float(believed.quantile(np.array(0.5)))


def inputs(quarters: int = 40, **given: Distribution | float) -> dict[str, Distribution | Path | float]:
    """Beliefs that `futures` needs, by name: those of the table, or those given instead; and the path of shocks to demand."""
    for name, value in given.items():
        if name not in INPUTS:
            raise UnknownName("input of the loop", name, list(INPUTS))
        if not isinstance(value, Distribution):
            given[name] = replace(RULES[name], one=True)(name, value)
    believed: dict[str, Distribution | Path | float] = {name: given.get(name, prior(name)) for name in INPUTS}
    return believed | {SHOCKS: Path.reverting(quarters, rate=1 / FADE, volatility=2.0, step=0.25)}  # a quarter's innovation is near 1


def correlation(believed: Mapping[str, Any], together: Mapping[tuple[str, str], float] = TOGETHER) -> dict[tuple[str, str], float]:
    """What moves together, without what is fixed to a number."""
    return {pair: r for pair, r in together.items() if not any(isinstance(believed[name], int | float) for name in pair)}


@takes(quarters=LENGTH, n=LENGTH, seed=WHOLE, replicates=LENGTH)
def draws(
    quarters: int = 40, n: int = 16_384, seed: int = 0, *, replicates: int = 1, until: str = REFERENCE, **given: Distribution | float
) -> dict[str, Array]:
    """Joint samples of `inputs`, `replicates` times n, weighed by what was disclosed `until` then; seeds share their random numbers."""
    believed = inputs(quarters, **given)
    return learned(sample(believed, n, seed, correlation=correlation(believed), replicates=replicates), until, replicates)


def quarter_names(start: str, quarters: int) -> list[str]:
    """Names of quarters from `start` on, as 2026Q1."""
    if not re.fullmatch(r"\d{4}Q[1-4]", start):
        raise InputError(f"start = {start}: expected a quarter, as {REFERENCE}")
    first = int(start[:4]) * 4 + int(start[5]) - 1
    return [f"{q // 4}Q{q % 4 + 1}" for q in range(first, first + quarters)]


@cache
def shipments() -> dict[str, float]:
    """H100-equivalents that all vendors shipped by quarter; a vendor enters with its first count.

    Quarters after the last count are those of the last quarter that has both, grown as NVIDIA's data-centre revenue did since: at the same
    compute per dollar, for which memory became more expensive. Fiscal quarters end a month after the calendar's.
    """
    rows = catalogue.table("chip_stock").filter((pl.col("kind") == "cumulative") & (pl.col("chip") == "all"))
    total = rows.group_by("quarter").agg(pl.col("h100e").sum()).sort("quarter")
    found = dict(zip(total["quarter"], np.diff(total["h100e"].to_numpy(), prepend=0.0).tolist(), strict=True))
    sold = catalogue.table("supply_drivers").filter(quantity="Nvidia data-centre revenue").select("end_date", "value")
    revenue = {_quarter_of(year(end) - 1 / 12): usd for end, usd in sold.iter_rows()}
    both = max(revenue.keys() & found.keys())
    last = max(found)
    return found | {q: found[both] * usd / revenue[both] for q, usd in revenue.items() if q > last}


def _quarter_of(time: float) -> str:
    """The quarter that ends at a decimal year or holds it."""
    quarter = int(np.ceil(time * 4 - 1e-3)) - 1
    return f"{quarter // 4}Q{quarter % 4 + 1}"


def shipped(before: str) -> Array:
    """H100-equivalents shipped in each quarter before `before`, oldest first."""
    found = [units for q, units in sorted(shipments().items()) if q < before]
    if not found:
        raise InputError(f"before = {before}: no counts of chips in quarters before it; the first is of {min(shipments())}")
    return np.array(found)


@cache
def rents() -> dict[str, float]:
    """Going rent of an H100 by quarter [USD/h]: the last index of one-year contracts in it; before the first of those, the market's.

    Market rents are by the hour: they count over one plus the median premium of such rents (`on_demand_premium`).
    """
    rows = catalogue.table("rent_history").filter((pl.col("chip") == "H100") & (pl.col("kind") == "index")).sort("date")
    older = catalogue.table("rents").filter((pl.col("chip") == "H100") & (pl.col("contract") == "market")).select("date", "usd_per_gpu_h")
    contracts = rows.filter(tariff="1 year").select("date", "usd_per_gpu_h")
    market = pl.concat([rows.filter(tariff="on-demand").select("date", "usd_per_gpu_h"), older])
    hourly = market.filter(pl.col("date") < (contracts["date"].min() or "9")).with_columns(
        pl.col("usd_per_gpu_h") / (1 + median("on_demand_premium"))
    )
    # a year's mean belongs to its middle
    dated = sorted((year(d) - 0.5 * (len(d) == 4), rent) for d, rent in pl.concat([hourly, contracts]).iter_rows())
    return {_quarter_of(t): float(rent) for t, rent in dated}


def newest() -> str:
    """The newest quarter of which both the rent of one-year contracts and the sales of chips are disclosed: where outlooks start."""
    return max(rents().keys() & shipments().keys())


def known_rent(quarter: str) -> tuple[float, float]:
    """Rent known in a quarter, at most a year old, and its move per quarter before, in logarithms. Raises `InputError` for none."""
    known = [(year(q), rent) for q, rent in rents().items() if year(q) <= year(quarter)]
    if not known or known[-1][0] < year(quarter) - 1:
        seen = ", ".join(rents())
        raise InputError(f"quarter = {quarter}: no rent of H100 in the year before; known: {seen}; else give usd_per_h100e_hour")
    (then, before), (now, rent) = known[-2:] if len(known) > 1 else known * 2
    return rent, float(np.log(rent / before) / max(4 * (now - then), 1.0))


def learned(given: Mapping[str, Array], until: str, replicates: int = 1) -> dict[str, Array]:
    """The same samples weighed by what was disclosed until a quarter, and drawn anew by their weight; shocks to come stay as they are.

    From each quarter since 2023Q4 the loop runs `HORIZON` quarters; a future's weight is its likelihood of the stock and the rent that were
    then disclosed, with errors of `STOCK_ERROR` and `RENT_ERROR`.
    """
    weight = _log_likelihood(given, until)
    if weight is None:
        return dict(given)
    n = len(weight) // replicates
    chosen: list[Array] = []
    for part in weight.reshape(replicates, n):
        share = np.cumsum(np.exp(part - part.max()))
        chosen.append(len(chosen) * n + np.searchsorted(share, (np.arange(n) + 0.5) / n * share[-1]))
    place = np.concatenate(chosen)
    return {name: value[place] if value.shape == (len(weight),) else value for name, value in given.items()}


def _log_likelihood(given: Mapping[str, Array], until: str) -> Array | None:
    """Of what was disclosed until a quarter, by future; None where nothing was that a forecast could tell."""
    counted = shipments()
    origins = [q for q in quarter_names("2023Q4", 80) if _quarter_of(year(q) + HORIZON / 4) <= min(until, max(counted))]
    calm = dict(given) | {SHOCKS: np.zeros((HORIZON + 1, 1))}
    total = None
    for origin in origins:
        target = _quarter_of(year(origin) + HORIZON / 4)
        market = simulate(futures(calm, start=origin))
        stock = shipped(_quarter_of(year(target) + 0.25)).sum() * given["stock_scale"]
        errors = [np.log((market.supply[-1] + market.waiting[-1]) / stock) / STOCK_ERROR]
        if target in rents():
            errors.append(np.log(market.rent[-1] / rents()[target]) / RENT_ERROR)
        found = -(DOF + 1) / (2 * HORIZON) * sum(np.log1p(e**2 / DOF) for e in errors)
        total = found if total is None else total + found
    return total


@takes(demand=Rule(above=0, apart=True), usd_per_h100e_hour=Rule(above=0, apart=True))
def futures(
    given: Mapping[str, ArrayLike], *, demand: ArrayLike | None = None, start: str = "", usd_per_h100e_hour: ArrayLike | None = None
) -> Futures:
    """Futures of the loop from sampled parameters: history from tables, growth that fades, the rent known at first.

    Demand of a class at the rent of the start, with its share w, growth G, shocks Z and serving software A against its median:
    D_k = w W_0 G_k(t) e^(volatility Z) (A / A_median)^(eps - 1): what growth figures already hold of efficiency is in them, and what comes
    beyond it is taken back or added by the elasticity (Jevons); research, which buys the logarithm of compute, keeps its own. At first
    W_0 = S_0 e^(eps m / a): a rent that moved by m in the last quarter, at the pace a of contracts, tells how short compute is.

    `given` is as `draws` gives it, (n,), the path of shocks (quarters, n); it broadcasts, with the rent in the quarter `start` (the newest
    disclosed, and the table's, by default) as well. `demand`, (classes, quarters, n), is what each of `BUYERS` wants at that rent over what
    all want in the first quarter, instead of that growth.
    """
    if lacking := RULES.keys() - given.keys():
        raise InputError(f"given: lacks {', '.join(sorted(lacking))}")
    start = start or newest()
    quarter_names(start, 1)  # refuses what is no quarter
    price, moved = known_rent(start) if usd_per_h100e_hour is None else (usd_per_h100e_hour, 0.0)
    x, quarters, n = _fitting(given, np.asarray(price))
    years, since = np.arange(quarters)[:, None] / 4, year(start) - year(REFERENCE)
    wanted = wanted_by_class(x, years, since) if demand is None else np.array(to_shape("demand", demand, (len(BUYERS), quarters, n)))
    cost = sold_hour(x, years + year(start))
    past = shipped(start)
    now = shipments().get(start, past[-1]) * x["stock_scale"]
    lead = x["chip_lead_quarters"] + x["deployment_lag_quarters"]
    due = np.arange(int(np.ceil(lead.max(initial=0.0))) + 1)[:, None]
    shipping = now * x["shipment_growth"] ** (due / 4 * np.exp(-since / x["supply_growth_tau"])) * np.clip(lead + 1 - due, 0.0, 1.0)
    decline = np.log(x["energy_efficiency_growth"]) / 4
    draw = x["it_power_per_h100e"] * KILO * np.exp(-4 * (year(start) - DRAWN) * decline)
    ages = np.arange(len(past), 0, -1)[:, None]
    load = ((past[:, None] * np.exp(decline * ages)).sum(axis=0) * x["stock_scale"] + now) * draw
    limits = _limits(x, years, since, now)
    limits[:, 0] = np.inf  # what shipped at first is known
    respond = elasticity(x)
    fair = (wanted[:, :2] * (cost[:2] / cost[0]) ** -respond[:, None]).sum(axis=0)  # of the first two quarters, at the long-run cost
    coming = x["power_coming_gw_per_year"] * GIGA / 4 * x["power_lead_quarters"]
    then = shipped(REFERENCE).sum() * x["stock_scale"] * x["it_power_per_h100e"] * KILO
    made = partial(
        Futures, elasticity=respond, reference_price=price, booked=booked(start, price),
        installed=past[:, None] * x["stock_scale"], shipping=shipping, chip_lead=lead, mean_life=x["life_years"] * 4,
        draw=draw, draw_decline=decline, power=load * x["power_usage_effectiveness"] * x["power_headroom"],
        power_coming=coming * np.minimum(load / then, 1.0),
        growth=np.clip(np.log(fair[-1] / fair[0]), -2, 2) if quarters > 1 else 0.0,
        **{f.name: x[name] for f in fields(Futures) if (name := CALLED.get(f.name, f.name)) in x},
    )  # fmt: skip
    first = simulate(made(demand=wanted[:, :1], long_run_cost=cost[:1], limits=limits[:, :1])).supply[0]
    mean = (respond * wanted[:, 0]).sum(axis=0) / wanted[:, 0].sum(axis=0)
    gap = np.clip(mean * moved / x["contract_adjustment"], -TIGHTEST, TIGHTEST)
    wanted *= first * np.exp(gap) / wanted[:, 0].sum(axis=0)
    return made(demand=wanted, long_run_cost=cost, limits=limits)


def booked(start: str, rent: ArrayLike) -> ArrayLike:
    """Mean one-year rent at which the units of the last two years were let, each at that of its quarter [USD/h]."""
    known = np.array(sorted((year(q), usd) for q, usd in rents().items() if year(q) <= year(start)))
    if not len(known):
        return rent
    units = np.append(shipped(start), shipments().get(start, 0.0))[-8:]
    ends = year(start) - np.arange(len(units) - 1, -1, -1) / 4
    return float(units @ np.exp(np.interp(ends, known[:, 0], np.log(known[:, 1]))) / units.sum())


def sold_hour(x: Mapping[str, Array], times: Array) -> Array:
    """Long-run cost of a sold hour of a unit that is new at decimal years, (times, futures) [USD/h]: `long_run_cost` of the priors."""
    first, last = PLATEAU
    fallen = np.minimum(times - first, 0.0) + np.maximum(times - last, 0.0)
    energy = x["power_usage_effectiveness"] * x["electricity_usd_per_kwh"] + x["space_usd_per_kwh"]
    running = x["it_power_per_h100e"] * energy + x["operations_usd_per_hour"]
    terms = {"wacc": x["cost_of_capital"], "life_years": x["life_years"], "decline": 1 - 1 / x["hardware_growth"]}
    sold = {"utilisation": x["hours_sold"], "overhead": x["seller_overhead"]}
    at_first = long_run_cost(x["capital_usd_per_h100e"], running, **terms, **sold)
    return np.asarray(at_first * x["hardware_growth"] ** -fallen)


def _fitting(given: Mapping[str, ArrayLike], price: Array) -> tuple[dict[str, Array], int, int]:
    """The parameters, checked and of one length; quarters and futures."""
    x = {name: np.asarray(rule(f"given[{name}]", given[name])) for name, rule in RULES.items()}
    path, beside = x.pop(SHOCKS), x | {"usd_per_h100e_hour": price}
    wrong = [name for name, value in beside.items() if value.ndim > 1] + [SHOCKS] * (path.ndim != 2 or not len(path))
    if wrong:
        raise InputError(f"{', '.join(wrong)}: expected shape (futures,), and (quarters, futures) of {SHOCKS}")
    (n,), quarters = broadcast(**beside, **{SHOCKS: path[0]}), len(path)
    x = {name: np.broadcast_to(value, (n,)) for name, value in x.items()}
    return x | {SHOCKS: np.broadcast_to(path, (quarters, n))}, quarters, n


def elasticity(x: Mapping[str, Array]) -> Array:
    """Of each of `BUYERS`, (classes, futures)."""
    return np.stack([x["research_elasticity"], x["api_elasticity"], x["consumer_elasticity"]])


def shares(x: Mapping[str, Array]) -> Array:
    """Share of each of `BUYERS` in the first quarter, (classes, futures)."""
    rest = 1 - x["research_share"]
    return np.stack([x["research_share"], rest * x["agents_share_of_rest"], rest * (1 - x["agents_share_of_rest"])])


def wanted_by_class(x: Mapping[str, Array], years: Array, since: float) -> Array:
    """What each class wants over what all want at first, but for a factor: (classes, quarters, futures)."""
    growth = np.log(np.stack([x[f"{name}_demand_growth"] for name in BUYERS])) * np.exp(-max(since, 0.0) / x["demand_growth_tau"])
    ahead = fading(years, x["efficiency_fade"]) * np.log(x["serving_software_growth"] / median("serving_software_growth"))
    wanted = x["demand_volatility"] * x[SHOCKS] + growth[:, None] * fading(years, x["demand_growth_tau"])
    wanted[1:] += (elasticity(x)[1:, None] - 1) * ahead
    np.exp(wanted, out=wanted)
    wanted *= shares(x)[:, None]
    return np.asarray(wanted)


def _limits(x: Mapping[str, Array], years: Array, since: float, last: Array) -> Array:
    """What each of `LIMITS` lets ship, (limits, quarters, futures), from what shipped `last`."""
    limits = np.empty((len(LIMITS), len(years), last.size))
    grown = fading(years, x["supply_growth_tau"]) * np.exp(-since / x["supply_growth_tau"])
    gains = (x["compute_per_input_growth"] ** years,) * 3 + (x["hardware_growth"] ** years,)
    for limit, name, gain in zip(limits, ("chips", "hbm", "packaging", "capital"), gains, strict=True):
        np.exp(np.log(x[f"{name}_growth"]) * grown, out=limit)
        limit *= gain
        limit *= last * x[f"{name}_headroom"]
    return limits
