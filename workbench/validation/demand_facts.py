"""What `validation.demand` reads from tables and asks of the models of demand: lookups by the words of a case."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue
from workbench.demand import Tokens, year
from workbench.demand.forecast import checks, history
from workbench.demand.uses.agents import traces

Inputs = dict[str, Any]
Array = NDArray[np.float64]

HYPERSCALERS = ("Microsoft", "Alphabet", "Amazon", "Meta")
VENDORS = {"nvidia": "Nvidia", "tpu": "Google TPU", "amd": "AMD", "trainium": "Amazon Trainium"}
#: Ends of an 80 % interval over its middle, of models whose inputs are believed within about a factor of three.
WIDE = 3.0


class Lacking(Exception):
    """What a case needs is in no table."""


@dataclass(frozen=True)
class Band:
    """A value with the ends of its own interval."""

    value: float
    low: float
    high: float


def wide(value: Any) -> Band:
    """A value of a model that is known to a factor of three."""
    return Band(float(value), float(value) / WIDE, float(value) * WIDE)


def middle(ends: Iterable[float]) -> float:
    """Geometric middle of the ends of a range."""
    return float(np.exp(np.mean(np.log(list(ends)))))


def years(words: str) -> list[int]:
    """Four-digit years in order of mention."""
    return [int(y) for y in re.findall(r"\b(20[0-4]\d)\b", words)]


def growth(time: Array, value: Array, level: float = 0.9) -> Band:
    """Yearly factor by least squares on the logarithm, with its interval by Student's t."""
    from scipy import stats

    if time.size < 3:
        raise Lacking(f"{time.size} points: at least 3 are needed for a growth")
    fit = stats.linregress(time, np.log(value))
    half = stats.t.ppf((1 + level) / 2, time.size - 2) * fit.stderr
    return Band(*(float(np.exp(fit.slope + s * half)) for s in (0, -1, 1)))


# Chips


def stock(words: str, upto: float | None = None) -> tuple[Array, Array]:
    """Times and chips ever sold [H100e] of the vendor that the words name, or of all."""
    vendor = next((v for k, v in VENDORS.items() if k in words.casefold()), None)
    series = history.chip_stock(vendor)
    kept = series.times <= (upto or np.inf) + 1e-9
    return series.times[kept], series.values[kept]


def stock_growth(x: Inputs) -> Band:
    """Growth of the stock between two quarters, least squares on the logarithm."""
    ends = [year(q) for q in re.findall(r"20\d\dQ\d", x["words"])] or [-np.inf, np.inf]
    time, chips = stock(x["words"])
    kept = (time >= min(ends) - 1e-9) & (time <= max(ends) + 1e-9)
    return growth(time[kept], chips[kept])


def stock_at(words: str, end: float) -> float:
    """Stock at a time [H100e]."""
    time, chips = stock(words)
    at = np.flatnonzero(np.abs(time - end) < 1e-6)
    if not at.size:
        raise Lacking(f"no count of that stock at {end:g}")
    return float(chips[at[0]])


def _ends(words: str) -> list[float]:
    quarters = re.findall(r"20\d\dQ\d", words)
    return [year(q) for q in quarters] if quarters else [y + 1.0 for y in years(words)]


def stock_ratio(x: Inputs) -> float:
    """Stock over stock, in the order of the words."""
    first, second = _ends(x["words"])[:2]
    return _level(x["words"], first) / _level(x["words"], second)


def stock_of(x: Inputs) -> float:
    """Stock at the end of a year; what was sold in it where the words say so."""
    words, end = x["words"], _ends(x["words"])[0]
    if re.search(r"\b(added|sold|shipped|sales|shipments) (in|during)\b", words.casefold()):
        return stock_at(words, end) - stock_at(words, end - 1)
    return _level(words, end)


def _level(words: str, end: float) -> float:
    """Compute at a time: of the owner that the words name, or else of the vendor, or of all."""
    owner = _owned(words, int(end) - 1)
    return owner if owner is not None else stock_at(words, end)


def _owned(words: str, year_end: int) -> float | None:
    """Compute of the owner or the laboratory that the words name at a year's end, of one maker's chips where they name one too."""
    text = words.casefold()
    rows = catalogue.table("compute_owners").filter(pl.col("year_end") == year_end)
    named = [r for r in rows.iter_rows(named=True) if r["owner"].removesuffix(" (used)").split(" (")[0].casefold() in text]
    named = [r for r in named if r["owner"] not in ("Google", "Amazon") or not re.search("tpu|trainium", text) or "own" in text]
    longest = max((len(r["owner"]) for r in named), default=0)  # Google DeepMind is not Google
    named = [r for r in named if len(r["owner"]) == longest]
    makers = [r for r in named if r["chip_maker"].casefold() in text.replace(r["owner"].casefold(), "")]
    return float(sum(r["h100e"] for r in makers or named)) if named else None


def producible(x: Inputs) -> Band:
    """Chips ever made by the end of a year [H100e]: last growth of the stock, each year's logarithm shrinking as it last did."""
    time, chips = stock("")
    end = max(years(x["words"]), default=2030)
    yearly = np.log(np.array([stock_at("", time[-1] - i) for i in range(3)]))
    last, before = yearly[0] - yearly[1], yearly[1] - yearly[2]
    damping = min(last / before, 1.0)
    ahead = end + 1 - time[-1]
    return wide(chips[-1] * np.exp(last * damping * (1 - damping**ahead) / (1 - damping) if damping < 1 else last * ahead))


# Power, capital, what was disclosed


def projection(x: Inputs) -> Band:
    """A published projection of power: publisher, year, place and edition by the words, unit by the case. A fact, not a model."""
    words, unit = x["words"].casefold(), x["unit"].split(" of ")[0]
    rows = catalogue.table("power_projections").filter(pl.col("year").is_in(years(words) or [2030]))
    rows = rows.filter(pl.col("unit").str.replace(r"^% .*", "%") == unit)
    found = []
    for r in rows.iter_rows(named=True):
        publisher = r["publisher"].split()[0].casefold()
        place = {"united states": ("us", "united states")}.get(r["scope"].casefold(), (r["scope"].casefold(),))
        said = [publisher in words, any(re.search(rf"\b{re.escape(p)}\b", words) for p in place)]
        texts = f"{r['scenario'] or ''} {r['publisher']}".casefold()
        found.append((said[0], said[1] or place == ("global",), sum(w in texts for w in re.findall(r"[a-z-]{4,}|20\d\d", words)), r))
    kept = [f for f in found if f[0] and f[1]]
    if not kept:
        raise Lacking("no projection of that publisher, year, place and unit")
    row = max(kept, key=lambda f: f[2])[3]
    low, high = row["low"] or row["value"], row["high"] or row["value"]
    return Band(row["value"] if row["value"] is not None else middle((low, high)), low, high)


def capex(x: Inputs) -> float:
    """Capital expenditure by the words [USD B]: a total, a period over another where growth is asked, leases where cash is taken off."""
    words = x["words"]
    basis = "with leases" if re.search(r"incl\w* .*lease|with .*lease", f"{x.get('basis', '')} {words}") else "cash"
    periods = re.findall(r"20\d\dQ\d", words) or [str(y) for y in years(words)]
    if not periods:
        raise Lacking("the words name no year or quarter")
    if re.search(r"minus|less|difference", words):
        return _spent(words, "with leases", periods[0]) - _spent(words, "cash", periods[0])
    if len(periods) > 1 and re.search(r"growth|over|/|ratio|y/y", words):
        return _spent(words, basis, periods[0]) / _spent(words, basis, periods[1]) - (1 if x["unit"] in ("fraction", "/yr") else 0)
    return _spent(words, basis, periods[0])


def _spent(words: str, basis: str, period: str) -> float:
    rows = catalogue.table("capex").filter(pl.col("span") == "quarter", pl.col("kind") == "actual", pl.col("basis") == basis)
    firms = [f for f in rows["company"].unique() if f.casefold() in words.casefold()] or list(HYPERSCALERS)
    wanted = [period] if "Q" in period else [f"{period}Q{q}" for q in range(1, 5)]
    chosen = rows.filter(pl.col("company").is_in(firms), pl.col("period").is_in(wanted))
    if chosen.height < len(firms) * len(wanted):
        raise Lacking(f"{chosen.height} of {len(firms) * len(wanted)} quarters are known on the basis {basis!r}")
    return float(chosen["capex_usd_b"].sum())


def driver(x: Inputs) -> float:
    """A driver of supply in the period of the words, or in one over another: revenue, prices, wafers, memory."""
    said = set(re.findall(r"[a-z]{3,}", x["words"].casefold()))
    rows = [
        r
        for r in catalogue.table("supply_drivers").iter_rows(named=True)
        if set(re.findall(r"[a-z]{3,}", r["quantity"].casefold())) <= said
    ]
    periods = re.findall(r"FY\d\dQ\d|20\d\d(?:-\d\d)?", x["words"])
    found = [next(r["value"] for r in rows if r["period"] == p) for p in periods if any(r["period"] == p for r in rows)]
    if not found:
        raise Lacking("no driver of supply of that name and period")
    return float(found[0] / found[1]) if len(found) > 1 else float(found[0])


def spend_per_hour(x: Inputs) -> float:
    """Published spend of a session-hour on the model that the words name. A fact, not a model."""
    rows = [r for r in catalogue.table("multipliers").iter_rows(named=True) if "spend per session-hour" in r["quantity"]]
    named = [
        r
        for r in rows
        if any(w in x["words"].casefold() for w in re.findall(r"(?:gpt|opus|fable|sonnet|haiku)[- ][\d.]+", r["quantity"].casefold()))
    ]
    if not named:
        raise Lacking("no published spend on that model")
    return float(named[0]["value"])


def fresh_share(x: Inputs) -> float:
    """Share of tokens that are computed, from the case or from the trace that it names."""
    if {"cached", "out"} <= set(x):
        fresh = next(float(x[k]) for k in ("nonread", "fresh", "input") if k in x)
        return float(Tokens(*(np.asarray(v, dtype=float) for v in (x["cached"], fresh, x["out"]))).fresh_share)
    trace = next((hour for name, hour in traces().items() if name in x["words"].casefold()), None)
    if trace is None:
        raise Lacking("no trace of that name")
    return float(Tokens(*trace[1:]).fresh_share)


def path_total(x: Inputs) -> float:
    """Sum over a year of 365 days of a daily path that is exponential between evenly spaced points."""
    points = np.linspace(0, 1, len(x["path"]))
    return checks.path_total(points, 365 * np.asarray(x["path"], dtype=float), 0.0, 1.0)


def printed_ratio(x: Inputs) -> float:
    """Last over first of the figures that the words print in brackets: (7B/min) ... (19B/min)."""
    scale = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12, "q": 1e15}
    found = [float(n) * scale[s] for n, s in re.findall(r"\((\d+(?:\.\d+)?)\s*([kmbtq]?)\b", x["words"].casefold())]
    if len(found) < 2:
        raise Lacking("the words do not print two figures")
    return found[-1] / found[0]
