"""Beliefs about demand and supply as futures of the closed loop: priors sampled, tables read, the start set at the known price."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache, partial
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.arrays import Array, ArrayLike, broadcast
from workbench.checks import FINITE, LENGTH, NOT_NEGATIVE, POSITIVE, PUE, SHARE, WHOLE, Rule, takes, to_shape
from workbench.demand.forecast.history import year
from workbench.demand.market.clearing import LIMITS
from workbench.demand.market.loop import Futures, simulate
from workbench.demand.uses.tokens import fading
from workbench.errors import InputError, UnknownName
from workbench.uncertainty import Beta, Lognormal, Normal, Path, Pert, sample
from workbench.uncertainty.distributions import Distribution
from workbench.units import GIGA, KILO

#: Classes of those who ask for compute.
BUYERS = ("research", "agents", "consumer")
START = "2026Q1"  #: first quarter: the first whose rent is known and whose shipments are not
SHOCKS = "demand_shocks"
#: Years after which a shock to demand has faded to 1 / e.
FADE = 3.0

#: Rows of the table of priors that the loop samples, those that matter most first.
INPUTS = (
    "agents_demand_growth", "research_demand_growth", "demand_growth_tau", "consumer_demand_growth", "demand_volatility",
    "api_elasticity", "contracted_share", "serving_software_growth", "chip_response", "extrapolation", "long_run_cost_h100e",
    "hardware_growth", "capital_growth", "packaging_growth", "hbm_growth", "chips_growth", "compute_per_input_growth",
    "supply_growth_tau", "packaging_headroom", "hbm_headroom", "capital_headroom", "chips_headroom", "shipment_growth", "power_headroom",
    "power_coming_gw_per_year", "power_lead_quarters", "it_power_per_h100e", "energy_efficiency_growth", "chip_lead_quarters",
    "deployment_lag_quarters", "stock_scale", "life_years", "limit_response", "power_response", "power_cancelled", "contract_quarters",
    "research_share", "agents_share_of_rest", "research_elasticity", "consumer_elasticity", "efficiency_fade",
    "power_usage_effectiveness", "electricity_usd_per_kwh", "space_usd_per_kwh", "price_ceiling",
)  # fmt: skip
#: What they may be.
RULES = dict.fromkeys(INPUTS, POSITIVE) | dict.fromkeys((
    "demand_volatility", "research_elasticity", "api_elasticity", "consumer_elasticity", "chip_response", "power_response",
    "limit_response", "extrapolation", "deployment_lag_quarters", "power_coming_gw_per_year", "electricity_usd_per_kwh",
    "space_usd_per_kwh",
), NOT_NEGATIVE) | {
    "contracted_share": SHARE, "power_cancelled": SHARE, "research_share": Rule(above=0, below=1),
    "agents_share_of_rest": Rule(above=0, below=1), "power_usage_effectiveness": PUE, SHOCKS: FINITE,
}  # fmt: skip
#: What moves together, by the normal scores: the growth of demand brings capital, capital brings chips, memory, packages and power.
TOGETHER = {
    ("agents_demand_growth", "research_demand_growth"): 0.5, ("agents_demand_growth", "capital_growth"): 0.4,
    ("research_demand_growth", "capital_growth"): 0.4, ("capital_growth", "packaging_growth"): 0.4, ("capital_growth", "hbm_growth"): 0.4,
    ("capital_growth", "chips_growth"): 0.4, ("packaging_growth", "hbm_growth"): 0.4, ("packaging_growth", "chips_growth"): 0.4,
    ("capital_growth", "power_coming_gw_per_year"): 0.3,
}  # fmt: skip
#: Inputs of one kind, for sensitivities: correlated inputs share a group.
GROUPS = {
    "growth of demand, capital and capacity": (
        "agents_demand_growth", "research_demand_growth", "capital_growth", "packaging_growth", "hbm_growth", "chips_growth",
        "power_coming_gw_per_year",
    ),
}  # fmt: skip


@cache
def prior(name: str) -> Distribution | float:
    """The belief about a parameter, by its row of the table of priors. Raises `UnknownName`."""
    table = catalogue.table("demand_priors")
    rows = table.filter(pl.col("name") == name)
    if not rows.height:
        raise UnknownName("prior", name, table["name"].to_list())
    row = rows.row(0, named=True)
    low, mode, high = row["p5"], row["p50"], row["p95"]
    if row["distribution"] == "constant":
        return float(mode)
    if row["distribution"] == "pert":
        return Pert(low, mode, high)
    return {"lognormal": Lognormal, "beta": Beta, "normal": Normal}[row["distribution"]](low, high)


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
def draws(quarters: int = 40, n: int = 16_384, seed: int = 0, *, replicates: int = 1, **given: Distribution | float) -> dict[str, Array]:
    """Joint samples of `inputs`, `replicates` times n; scenarios of one seed share their random numbers."""
    believed = inputs(quarters, **given)
    return sample(believed, n, seed, correlation=correlation(believed), replicates=replicates)


def quarter_names(start: str, quarters: int) -> list[str]:
    """Names of quarters from `start` on, as 2026Q1."""
    if not re.fullmatch(r"\d{4}Q[1-4]", start):
        raise InputError(f"start = {start}: expected a quarter, as {START}")
    first = int(start[:4]) * 4 + int(start[5]) - 1
    return [f"{q // 4}Q{q % 4 + 1}" for q in range(first, first + quarters)]


def shipped(before: str = START) -> Array:
    """H100-equivalents that all vendors shipped in each quarter before `before`, oldest first; a vendor enters with its first count."""
    rows = catalogue.table("chip_stock").filter((pl.col("kind") == "cumulative") & (pl.col("chip") == "all") & (pl.col("quarter") < before))
    if not rows.height:
        raise InputError(f"before = {before}: no counts of chips in quarters before it")
    total = rows.group_by("quarter").agg(pl.col("h100e").sum()).sort("quarter")["h100e"].to_numpy()
    return np.asarray(np.diff(total, prepend=0.0))


def growth_before(quarter: str) -> float:
    """By how many times the stock of chips grew in the year before a quarter."""
    stock = np.cumsum(shipped(quarter))
    if len(stock) < 5:
        raise InputError(f"quarter = {quarter}: expected counts of chips in the five quarters before it")
    return float(stock[-1] / stock[-5])


def known_rent(quarter: str = START, chip: str = "H100", contract: str | None = "1 year") -> float:
    """Rent of a chip in a quarter, the last that the table knows, of a kind of contract or of any [USD/h]. Raises `InputError` for none."""
    rows = catalogue.table("rents").filter((pl.col("chip") == chip) & pl.col("usd_per_gpu_h").is_not_null())
    if contract is not None:
        rows = rows.filter(pl.col("contract") == contract)
    end = year(quarter)
    at = [(year(d), v) for d, v in rows.select("date", "usd_per_gpu_h").iter_rows() if end - 0.25 < year(d) <= end]
    if not at:
        raise InputError(
            f"quarter = {quarter}: no rent of {chip} ({contract or 'any contract'}); known: {', '.join(rows['date']) or 'none'}"
        )
    return float(max(at)[1])


@takes(demand=Rule(above=0, apart=True), usd_per_h100e_hour=Rule(above=0, apart=True))
def futures(
    given: Mapping[str, ArrayLike], *, demand: ArrayLike | None = None, start: str = START, usd_per_h100e_hour: ArrayLike | None = None
) -> Futures:
    """Futures of the loop from sampled parameters: history from tables, growth that fades, demand that clears at the known rent at first.

    Demand of a class of buyers at the reference price, with its share w, growth G, shocks Z and serving software A against its median:
    D_k = w S_0 G_k(t) e^(volatility Z) (A / A_median)^(eps - 1): what growth figures already hold of efficiency is in them, and what comes
    beyond it is taken back or added by the elasticity (Jevons); research, which buys the logarithm of compute, keeps its own. Published
    growth of what limits let ship holds at the gap of today between price and cost; as that growth fades, the response takes its place.

    `given` is as `draws` gives it, (n,), the path of shocks (quarters, n); it broadcasts, with the rent known in the quarter `start` (the
    table's by default) as well. `demand`, (classes, quarters, n), is what each of `BUYERS` wants at that rent over what all want in the
    first quarter, instead of that growth. Costs and power of the start of 2026 are taken to another `start` by their own growth, growth by
    that of the stock in the year before.
    """
    if lacking := RULES.keys() - given.keys():
        raise InputError(f"given: lacks {', '.join(sorted(lacking))}")
    quarter_names(start, 1)  # refuses what is no quarter
    price = known_rent(start) if usd_per_h100e_hour is None else usd_per_h100e_hour
    x, quarters, n = _fitting(given, np.asarray(price))
    years, since = np.arange(quarters)[:, None] / 4, year(start) - year(START)
    pace = np.log(growth_before(start)) / np.log(growth_before(START))
    wanted = _wanted(x, years, pace) if demand is None else np.array(to_shape("demand", demand, (len(BUYERS), quarters, n)))
    past = shipped(start)
    last = past[-1] * x["stock_scale"]
    cheaper = x["hardware_growth"] ** years
    cost = x["long_run_cost_h100e"] / (cheaper * x["hardware_growth"] ** since)
    lead = x["chip_lead_quarters"] + x["deployment_lag_quarters"]
    due = np.arange(int(np.ceil(lead.max(initial=0.0))))[:, None]
    decline = np.log(x["energy_efficiency_growth"]) / 4
    draw = x["it_power_per_h100e"] * KILO * np.exp(-4 * since * decline)
    ages = np.arange(len(past) - 1, -1, -1)[:, None]
    load = (past[:, None] * np.exp(decline * ages)).sum(axis=0) * x["stock_scale"] * draw
    limits = _limits(x, years, pace, last, cheaper, np.log(price / cost[0]))
    made = partial(
        Futures,
        elasticity=_elasticity(x),
        contracted=x["contracted_share"],
        reference_price=price,
        installed=past[:, None] * x["stock_scale"],
        shipping=last * x["shipment_growth"] ** (pace * (1 + due) / 4) * np.clip(lead - due, 0.0, 1.0),
        draw=draw,
        draw_decline=decline,
        power=load * x["power_usage_effectiveness"] * x["power_headroom"],
        power_coming=x["power_coming_gw_per_year"] * GIGA / 4 * x["power_lead_quarters"],
        power_lead=x["power_lead_quarters"],
        chip_lead=lead,
        mean_life=x["life_years"] * 4,
        growth=np.log(wanted[:, 1:2].sum(axis=0)[0] / wanted[:, 0].sum(axis=0)) if quarters > 1 else 0.0,
        ceiling=x["price_ceiling"],
        cancelled=x["power_cancelled"],
        pue=x["power_usage_effectiveness"],
        **{f.name: x[f.name] for f in fields(Futures) if f.name in x},  # some are called the same
    )
    first = simulate(made(demand=wanted[:, :1], long_run_cost=cost[:1], limits=limits[:, :1])).supply[0]  # whatever the scale of demand
    wanted *= first / wanted[:, 0].sum(axis=0)
    return made(demand=wanted, long_run_cost=cost, limits=limits)


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


def _elasticity(x: Mapping[str, Array]) -> Array:
    return np.stack([x["research_elasticity"], x["api_elasticity"], x["consumer_elasticity"]])


def shares(x: Mapping[str, Array]) -> Array:
    """Share of each of `BUYERS` in the first quarter, (classes, futures)."""
    rest = 1 - x["research_share"]
    return np.stack([x["research_share"], rest * x["agents_share_of_rest"], rest * (1 - x["agents_share_of_rest"])])


def _wanted(x: Mapping[str, Array], years: Array, pace: float) -> Array:
    """What each class wants over what all want at first, but for a factor: (classes, quarters, futures)."""
    growth = np.log(np.stack([x[f"{name}_demand_growth"] for name in BUYERS])) * pace
    ahead = fading(years, x["efficiency_fade"]) * np.log(x["serving_software_growth"] / median("serving_software_growth"))
    wanted = x["demand_volatility"] * (x[SHOCKS] - x[SHOCKS][0]) + growth[:, None] * fading(years, x["demand_growth_tau"])
    wanted[1:] += (_elasticity(x)[1:, None] - 1) * ahead
    np.exp(wanted, out=wanted)
    wanted *= shares(x)[:, None]
    return np.asarray(wanted)


def _limits(x: Mapping[str, Array], years: Array, pace: float, last: Array, cheaper: Array, gap: Array) -> Array:
    """What each of `LIMITS` lets ship, (limits, quarters, futures), from what shipped `last`; `gap` is that of price and cost at first."""
    limits = np.empty((len(LIMITS), len(years), last.size))
    grown = fading(years, x["supply_growth_tau"])
    held = np.exp(-4 * x["limit_response"] * gap * grown)
    gains = (x["compute_per_input_growth"] ** years,) * 3 + (cheaper,)
    for limit, name, gain in zip(limits, ("chips", "hbm", "packaging", "capital"), gains, strict=True):
        np.exp(np.log(x[f"{name}_growth"]) * pace * grown, out=limit)
        limit *= gain
        limit *= held
        limit *= last * x[f"{name}_headroom"]
    return limits
