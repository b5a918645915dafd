"""The formulas that `validation.demand` chooses from: how each kind of published result follows from its inputs, its words and our tables."""

# ruff: noqa: E501  (one formula a line)

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.demand import h100e_of_flop
from workbench.demand.market.supply import memory_limited, mixed_capacity
from workbench.demand.uses.tokens import MONTH
from workbench.units import DAY, HOUR, KILO, MEGA, WH, YEAR
from workbench.validation import demand_facts as facts
from workbench.validation import demand_models as models
from workbench.validation import demand_numbers as numbers
from workbench.validation.demand_facts import Band, Inputs

#: Units of the file in those that formulas give: SI and USD; counts, shares and the tables' own units as they are.
UNITS = {"Wh": WH, "kWh": KILO * WH, "W": 1.0, "kW": KILO, "MW": MEGA, "GW": 1e9, "kW/rack": KILO, "USD": 1.0, "USD M": 1e6, "%": 0.01}


@dataclass(frozen=True)
class Formula:
    """How one kind of result follows."""

    name: str
    route: str  #: arithmetic of the case's inputs; table: of our rows; fact: a published figure looked up; model; backtest; numerical
    needs: tuple[str, ...]  #: inputs without which it does not apply
    says: str  #: regular expression of words of the group, the kind or what is asked
    value: Callable[[Inputs], Any]  #: a number, a `Band`, or a list of either

    def applies(self, inputs: Inputs, words: str) -> bool:
        """The case has the inputs and says the words."""
        return set(self.needs) <= set(inputs) and re.search(self.says, words, re.IGNORECASE) is not None


def _product(*names: str) -> Callable[[Inputs], float]:
    return lambda x: float(np.prod([x[n] for n in names]))


def _per(a: str, b: str) -> Callable[[Inputs], Any]:
    """a over b, element by element where they are lists."""
    return lambda x: [float(v) for v in np.divide(x[a], x[b])] if isinstance(x[a], list) else x[a] / x[b]


def _between(x: Inputs) -> Any:
    """Growth from a to b in the unit asked for: a ratio, a yearly factor or rate, a doubling time in months."""
    ratio = x["b"] / x["a"]
    span = x.get("years", x.get("months", 12.0) / 12)
    yearly = ratio ** (1 / span)
    if x["unit"] == "months":
        return 12 * np.log(2) / np.log(yearly)
    if x["unit"] in ("/yr", "%/yr", "1/yr"):
        return yearly - 1
    return yearly if x["unit"] == "x/yr" else ratio


def _periodic(x: Inputs) -> float:
    """A doubling or halving time as a yearly factor."""
    months = next(
        float(x[k]) * f
        for k, f in (("halving_months", 1.0), ("doubling_months", 1.0), ("halving_days", 12 / 365.25), ("doubling_days", 12 / 365.25))
        if k in x
    )
    return float(2 ** (12 / months))


def _memory(x: Inputs) -> float:
    """Packages from HBM of several generations in billion GB, those after HBM3E worth u each."""
    kinds = [k for k in x if k.startswith("hbm")]
    worth = [1.0 if k.startswith("hbm3") else x.get("u", 1.0) for k in kinds]
    return float(memory_limited([x[k] * 1e9 for k in kinds], x["gb"], worth))


def _mixed(x: Inputs) -> float:
    return float(mixed_capacity([x["n"], 1 - x["n"]], [1.0, x["r"]]))


def _reply(x: Inputs) -> float:
    """Energy of a reply whose tokens are all computed [J]: chip-seconds x watts."""
    return float(2 * x["active"] * x["tokens"] / (x["peak"] * x["util"]) * x["watts"])


def _fleet_of_spend(x: Inputs) -> float:
    return float(x["usd"] / (x["usd_per_gpu_h"] * YEAR / HOUR) * x.get("h100e", 1.0))


def _owned(x: Inputs) -> Band:
    """Compute that a laboratory uses: product of medians; ends: shares known to a third."""
    value = float(np.prod([v for k, v in x.items() if isinstance(v, (int, float)) and k not in ("unit", "words")]))
    return Band(value, value / 1.5, value * 1.5)


def _tokens_to_chips(x: Inputs) -> float:
    tokens = next(float(x[k]) for k in ("tokens_per_month", "tokens", "tokens_month") if k in x)
    util = next(float(x[k]) for k in ("util", "utilisation", "utilization", "mfu") if k in x)
    return float(h100e_of_flop(tokens / MONTH, x["active"], util))


def _messages(x: Inputs) -> float:
    users = next(float(x[k]) for k in ("wau", "mau", "dau", "users") if k in x)
    per_week = x["msgs_week"] if "msgs_week" in x else x["msgs_day"] * 7
    daily = re.search(r"per day|a day|/day|daily", f"{x['words']} {x['unit']}")
    return float(per_week / users / (7 if daily else 1))


def _sum(x: Inputs) -> float:
    return float(sum(v for k, v in x.items() if isinstance(v, (int, float)) and k not in ("unit", "words")))


def _sessions(x: Inputs) -> float:
    """Agent sessions from chips: gross rent x revenue over rent / spend of a session-hour, a chip; times the chips where they are given."""
    low = {k.casefold(): v for k, v in x.items()}
    chips = next((low[k] for k in ("gb300e", "chips", "gpus") if k in low), 1.0)
    return float(low["g"] * low["k"] / low["s"] * chips * low.get("f", 1.0))


#: The first formula whose inputs and words fit is the one that holds.
FORMULAS = (
    # how well forecasts do, and numbers
    Formula("coverage of a backtest", "backtest", (), r"coverage.*notable|notable.*coverage", numbers.coverage_of_models),
    Formula("score of a backtest", "backtest", (), r"CRPS|best simple model error", numbers.score_to_beat),
    Formula("score of the same backtest", "backtest", (), r"^backtest", numbers.score_to_beat),
    Formula("quasi Monte Carlo of a probability", "numerical", (), r"Sobol.*P\(", numbers.gain_of_probability),
    Formula("quasi Monte Carlo of a mean", "numerical", (), r"Sobol", numbers.gain_of_mean),
    Formula("clearing price", "numerical", (), r"clearing", numbers.clearing_error),
    # series by name
    Formula("takeoff model", "model", (), r"\bftm\b|takeoff", models.of_takeoff),
    Formula("running top k", "table", (), r"running top", models.running_top),
    Formula("outcome of a forecast", "table", (), r"P\(.*(?:above|over|exceed)", models.outcome),
    Formula("foundation models above", "model", (), r"foundation models\s*(?:>|above|over)", models.foundation_models),
    Formula("models above", "table", (), r"models\s*(?:above|over|>)\s*\d(?:\.\d+)?e\d", models.count_above),
    Formula("revision", "table", (), r"revision", models.revision),
    Formula("6 N D", "table", (), r"6ND", models.six_n_d),
    Formula("MFU", "arithmetic", ("q", "h", "c", "peak"), r"MFU", models.training_mfu),
    Formula("growth of notable models", "fact", (), r"OLS.*growth|log10 C on date.*growth", models.notable_growth),
    Formula("R squared", "fact", (), r"R squared|R2", models.explained),
    Formula("doubling or halving", "arithmetic", ("g",), r"doubling time", lambda x: 12 * np.log(2) / np.log(x["g"])),
    Formula("doubling or halving", "arithmetic", ("halving_months",), r"", _periodic),
    Formula("doubling or halving", "arithmetic", ("doubling_months",), r"", _periodic),
    Formula("doubling or halving", "arithmetic", ("halving_days",), r"", _periodic),
    Formula("doubling or halving", "arithmetic", ("doubling_days",), r"", _periodic),
    # what the largest run may reach
    Formula("compound growth", "arithmetic", ("c0", "g", "years"), r"", lambda x: x["c0"] * float(x["g"]) ** x["years"]),
    Formula("run that power feeds", "model", ("gw",), r"FLOP", models.fed_by),
    Formula("run that data allows", "model", ("tokens",), r"\bdata\b", models.of_data),
    Formula("latency wall", "model", (), r"latency wall", models.wall),
    Formula("power of the largest run", "model", (), r"largest training run power|power of the largest", models.largest_power),
    Formula("chips producible", "model", (), r"producible", facts.producible),
    # chips
    Formula("growth of the stock", "table", (), r"log-linear growth of .*stock", facts.stock_growth),
    Formula("stock over stock", "table", (), r"stock ratio|end 20\d\d (?:/|over) (?:end )?20\d\d", facts.stock_ratio),
    Formula("units from revenue", "arithmetic", ("compute_rev", "share", "price"), r"", lambda x: x["compute_rev"] * x["share"] / x["price"]),
    Formula("price from units", "arithmetic", ("compute_rev", "share", "units"), r"", lambda x: x["compute_rev"] * x["share"] / x["units"]),
    Formula("compute of a laboratory", "arithmetic", ("mw", "h100e_per_mw"), r"", _product("mw", "h100e_per_mw")),
    Formula("compute of a laboratory", "arithmetic", ("owned_med", "operational"), r"", _owned),
    Formula("fleet of a spend", "arithmetic", ("usd", "usd_per_gpu_h"), r"", _fleet_of_spend),
    Formula("revenue of a gigawatt", "arithmetic", ("arr", "gw"), r"", lambda x: [v / 1e9 for v in np.divide(x["arr"], x["gw"]).tolist()] if isinstance(x["arr"], list) else x["arr"] / x["gw"] / 1e9),
    Formula("installed compute", "table", (), r"installed|cumulative|stock (?:at )?(?:the )?end|(?:owned|owner).*end 20|compute end 20|(?:added|sold|shipped) in|end (?:of )?20\d\d.*H100e", facts.stock_of),
    # agents
    Formula("packages of memory", "model", ("hbm3e", "gb"), r"", _memory),
    Formula("packages of memory", "model", ("hbm4", "gb"), r"", _memory),
    Formula("mixed capacity", "model", ("n", "r"), r"", _mixed),
    Formula("sessions", "arithmetic", ("G", "K", "S"), r"", _sessions),
    Formula("sessions", "arithmetic", ("g", "k", "s"), r"", _sessions),
    Formula("fresh share of tokens", "model", (), r"fresh-token share|fresh share|need fresh", facts.fresh_share),
    Formula("cached share of tokens", "model", (), r"cached(?:-token| input)? share", lambda x: 1 - facts.fresh_share(x)),
    Formula("spend of a session-hour", "fact", (), r"per session-hour", facts.spend_per_hour),
    # inference
    Formula("energy of a reply", "model", ("tokens", "active", "peak", "util", "watts"), r"", _reply),
    Formula("chips of a stream of tokens", "model", ("active",), r"H100e|token", _tokens_to_chips),
    Formula("power of messages", "arithmetic", ("msgs", "wh"), r"", lambda x: x["msgs"] * x["wh"] * WH / DAY),
    Formula("messages of a user", "arithmetic", ("msgs_week",), r"", _messages),
    Formula("messages of a user", "arithmetic", ("msgs_day",), r"", _messages),
    Formula("tokens by period", "arithmetic", ("per_min",), r"", lambda x: x["per_min"] * (MONTH if "month" in x["unit"] else DAY) / 60),
    Formula("tokens by period", "arithmetic", ("per_day",), r"", lambda x: x["per_day"] * (MONTH / DAY if "month" in x["unit"] else 1)),
    Formula("sum of a path", "arithmetic", ("path",), r"", facts.path_total),
    Formula("growth from a to b", "arithmetic", ("a", "b"), r"", _between),
    Formula("ratio of printed figures", "arithmetic", (), r"\(\d[\d.]*\s*[kmbtq]?/?\w*\).*\(\d[\d.]*\s*[kmbtq]?/?\w*\)", facts.printed_ratio),
    # power and money
    Formula("sum of regions", "arithmetic", ("us", "cn"), r"", _sum),
    Formula("power of a rack", "arithmetic", ("gw_cost", "rack"), r"per rack|kW", lambda x: x["rack"] / (x["gw_cost"] / 1e9)),
    Formula("owning a chip-hour", "arithmetic", ("usd_mw_yr", "w"), r"", lambda x: x["usd_mw_yr"] / MEGA * x["w"] / (YEAR / HOUR)),
    Formula("leases", "arithmetic", ("total", "cash"), r"", lambda x: x["total"] - x["cash"]),
    Formula("final runs of research", "arithmetic", ("rnd", "final"), r"", _per("final", "rnd")),
    Formula("power of a rack and its cost", "arithmetic", ("rack", "rack_kw"), r"per GW|/GW", lambda x: x["rack"] / (x["rack_kw"] * KILO * x.get("it_overhead", 1.0) * x.get("pue", 1.0))),
    Formula("capital expenditure", "table", (), r"capex", facts.capex),
    Formula("driver of supply", "table", (), r"revenue|HBM shipped|wafer|\bprice\b", facts.driver),
    Formula("projection of power", "fact", (), r"\bIEA\b|\bEPRI\b|\bLBNL\b|Goldman|McKinsey|BloombergNEF|S&P|Grid Strategies|\bDOE\b", facts.projection),
    Formula("published growth", "fact", (), r"trend|growth", lambda x: models.published_growth(x)),
)  # fmt: skip

__all__ = ["FORMULAS", "UNITS", "Formula"]
