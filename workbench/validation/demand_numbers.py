"""How well forecasts did, and how exact the numbers are: what `validation.demand` computes anew each time it is asked.

The published backtests ran on all 388 models that disclosed their compute; ours run on the rows of our tables, those near the frontier,
with the forecasts of the workbench. They answer whether these do as well, not what those scored.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench.demand import agent_hour, clear, h100e_of_flop
from workbench.demand.forecast import history, scores
from workbench.demand.market.scenario import prior
from workbench.demand.uses.agents import FITTED
from workbench.demand.uses.growth import damped_growth
from workbench.uncertainty.distributions import Distribution
from workbench.uncertainty.gain import qmc_gain
from workbench.units import HOUR

Inputs = dict[str, Any]
Array = NDArray[np.float64]

#: Inputs of the compute that coding agents ask for a year ahead, by their rows in the table of priors.
TWELVE = (*FITTED, "code_agents_2026", "code_agents_growth", "demand_growth_tau", "active_parameters")
TWELVE += ("serving_software_growth", "serving_utilisation")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


class Unscored(Exception):
    """No backtest of ours is of what the case says."""


def coverage_of_models(_: Inputs) -> float:
    """Share of notable models near the frontier inside the 90 % band of the workbench's forecast of the year before."""
    return float(scores.notable()[0].score()["coverage_90"])  # type: ignore[arg-type]


def score_to_beat(x: Inputs) -> float:
    """CRPS of the workbench's forecast in the same test; of users the error of its median [ln]."""
    words = x["words"].casefold()
    if "wau" in words or "users" in words:
        return _error_of_users(x["words"])
    if "real-time" in words or "vintage" in words or "snapshot" in words:
        test = scores.real_time(most_rank=10)[0]
    elif "record" in words or "frontier" in words:
        test = scores.records()[0]
    elif "capex" in words or "chip" in words:
        tasks = scores.quarterly()
        test = tasks["capex of four, 4 quarters ahead" if "capex" in words else "AI chip stock, 4 quarters ahead"][0]
    elif "token" in words:
        raise Unscored("disclosures of tokens are too few for a backtest of ours")
    else:
        test = scores.notable()[0]
    wanted = "coverage_90" if re.search("coverage", words) else "crps"
    return float(test.score()[wanted])  # type: ignore[arg-type]


def _error_of_users(words: str) -> float:
    """Error of the median of the averaged laws [ln], from the last disclosure that the words allow to the month that they ask for."""
    months = [
        int(y) + (_MONTHS.index(m) + 0.5) / 12 for m, y in re.findall(r"\b(" + "|".join(_MONTHS) + r")[a-z]* (20\d\d)", words.casefold())
    ]
    product = next((p for p in scores.LAUNCH if p.split()[0].casefold() in words.casefold()), None)
    if product is None or len(months) < 2:
        raise Unscored("the words do not tell product, month and last month known")
    metric = "weekly active" if product == "ChatGPT" else "monthly active"
    test = (
        scores.users(product, metric, ahead=max(months[0] - months[1] - 0.05, 0.01))[0]
        .frame()
        .filter((pl.col("target_year") - months[0]).abs() < 0.05)
    )
    test = test.filter(pl.col("origin_year") <= months[1] + 0.05).sort("origin_year")
    if test.is_empty():
        raise Unscored("no disclosure of that month follows four others")
    last = test.row(-1, named=True)
    return float(abs(last["median"] - last["observed"]))


@cache
def _gains() -> tuple[float, float]:
    """Errors of plain Monte Carlo over those of 4,096 Sobol points: of the mean of the logarithm, and of the probability of a shortage.

    Demand is the compute of coding agents a year ahead, over twelve priors; supply is what their middles ask at the start, grown as the
    stock of chips last did.
    """
    inputs = {name: cast(Distribution, prior(name)) for name in TWELVE}  # none of the twelve is fixed to a number
    chips = history.chip_stock().values
    supply = _asked(0.0, {name: d.quantile(np.array([0.5])) for name, d in inputs.items()}) * chips[-1] / chips[-5]

    def log_ratio(**x: Array) -> Array:
        return np.log(_asked(1.0, x) / supply)

    def short(**x: Array) -> Array:
        return (log_ratio(**x) > 0).astype(float)

    return tuple(float(qmc_gain(f, inputs, 4096, 64).ratio) for f in (log_ratio, short))  # type: ignore[return-value]


def _asked(years: float, x: dict[str, Array]) -> Array:
    _, tokens = agent_hour(x)
    computed = (tokens.fresh + tokens.output) / HOUR
    agents = x["code_agents_2026"] * damped_growth(years, x["code_agents_growth"], x["demand_growth_tau"])
    return h100e_of_flop(agents * computed, x["active_parameters"], x["serving_utilisation"]) / x["serving_software_growth"] ** years


def gain_of_mean(_: Inputs) -> float:
    """Error of plain Monte Carlo over that of Sobol points, mean log ratio of demand to supply."""
    return _gains()[0]


def gain_of_probability(_: Inputs) -> float:
    """The same of the probability of a shortage, not smoothed."""
    return _gains()[1]


def clearing_error(_: Inputs) -> float:
    """Largest relative error of the clearing price of four classes against a root finder, over 200 random markets."""
    from scipy.optimize import brentq

    rng = np.random.default_rng(8)
    demand, supply, elasticity = rng.lognormal(0, 1, (4, 200)), rng.lognormal(1, 1, 200), rng.uniform(0.2, 2, (4, 200))
    found = clear(demand, supply, elasticity, reference_price=2.0).price

    def short(x: float, d: Array, e: Array, s: float) -> float:
        return float(np.log((d * np.exp(-e * (x - np.log(2.0)))).sum() / s))

    each = zip(demand.T, elasticity.T, supply, strict=True)
    roots = [np.exp(brentq(short, -60, 60, args=market, xtol=1e-14, rtol=1e-14)) for market in each]
    return float(np.max(np.abs(found / np.array(roots) - 1)))
