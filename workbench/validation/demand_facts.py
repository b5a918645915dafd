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
from workbench.demand import history
from workbench.demand.takeoff import PRESETS, takeoff
from workbench.demand.training import data_cap, latency_wall, models_above, power_cap
from workbench.units import DAY, GIGA

Inputs = dict[str, Any]
Array = NDArray[np.float64]

FIRMS = {"hyperscaler": ("Microsoft", "Alphabet", "Amazon", "Meta")}
VENDORS = {"nvidia": "Nvidia", "tpu": "Google TPU", "amd": "AMD", "trainium": "Amazon Trainium"}
#: Ends of an 80 % interval over its middle, of models whose inputs are believed within about a factor of three.
WIDE = 3.0
#: Yearly factor of FLOP a joule over all AI chips, not the leading ones alone (Epoch AI and EPRI, 2025; note of growth_rates.csv).
BROAD_EFFICIENCY = 1.26


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


# Notable models


def _models(june_2025: bool) -> pl.DataFrame:
    """Notable models with time and compute as the snapshot held it; that of June 2025 held all systems, notable or not."""
    rows = catalogue.table("notable_models")
    if june_2025:
        rows = rows.with_columns(flop=pl.coalesce("training_flop_2025_06", "training_flop")).filter(pl.col("date") < "2025-07")
    else:
        rows = rows.with_columns(flop=pl.col("training_flop")).filter(
            ~pl.col("note").fill_null("").str.contains("absent from the snapshot")
        )
    rows = rows.filter(pl.col("flop").is_not_null()).sort("date")
    return rows.with_columns(time=pl.Series([history.year(d) for d in rows["date"]]))


def running_top(x: Inputs) -> Band:
    """Growth of systems that were among the k with most compute at their release, least squares on the logarithm; 90 % interval."""
    words = x["words"]
    k = int(re.search(r"top[- ]?(\d+)", words).group(1))  # type: ignore[union-attr]
    since = min(years(words), default=2010)
    rows = _models("All ML" in str(x.get("file", "")) or "june 2025" in words.casefold())
    flop = rows["flop"].to_numpy()
    rank = 1 + np.tril(flop[None, :] > flop[:, None], -1).sum(axis=1)
    kept = (rank <= k) & (rows["time"].to_numpy() >= since)
    return growth(rows["time"].to_numpy()[kept], flop[kept])


def growth(time: Array, value: Array, level: float = 0.9) -> Band:
    """Yearly factor by least squares on the logarithm, with its interval by Student's t."""
    from scipy import stats

    if time.size < 3:
        raise Lacking(f"{time.size} points: at least 3 are needed for a growth")
    fit = stats.linregress(time, np.log(value))
    half = stats.t.ppf((1 + level) / 2, time.size - 2) * fit.stderr
    return Band(*(float(np.exp(fit.slope + s * half)) for s in (0, -1, 1)))


def published_growth(x: Inputs, what: str = "") -> Band:
    """A published growth with its interval: the row of growth_rates whose words the case says. A fact, not a fit."""
    row = growth_row(x, what)
    low, high = row["low"] or row["factor_per_year"], row["high"] or row["factor_per_year"]
    return Band(row["factor_per_year"], low, high)


def growth_row(x: Inputs, what: str = "") -> dict[str, Any]:
    """The row of growth_rates that a case speaks of."""
    said = set(_stems(f"{what} {x['words']}"))
    scored = [
        (len(said & set(_stems(r["quantity"]))) / len(set(_stems(r["quantity"]))), r)
        for r in catalogue.table("growth_rates").iter_rows(named=True)
    ]
    best, row = max(scored, key=lambda pair: pair[0])
    if best < 0.6:
        raise Lacking("no published growth is of what the case says")
    return row


def notable_growth(x: Inputs) -> Band:
    """Published growth of all notable models: their rows are not ours to ship, so that the fit cannot be made anew."""
    if re.search(r"july? 2026|2026 (?:vintage|snapshot)", x["words"].casefold()):
        raise Lacking("the growth of that snapshot was not published, and of its models we have those near the frontier alone")
    return published_growth(x, "training compute, notable models")


def explained(x: Inputs) -> float:
    """R squared that the publisher prints beside a growth."""
    note = growth_row(x, "training compute, notable models")["note"] or ""
    found = re.search(r"R2\s*=\s*([\d.]+)", note)
    if found is None:
        raise Lacking("no R squared was published with that growth")
    return float(found.group(1))


def _stems(text: str) -> list[str]:
    return [w[:6] for w in re.findall(r"[a-z]{3,}|gw|arr", text.casefold()) if w not in {"the", "and", "per", "year", "2025"}]


def count_above(x: Inputs) -> float:
    """Notable models above a threshold by the date of the case."""
    words, rows = x["words"], _models(_dated(x["words"]) < 2025.5)
    rows = rows.filter(pl.col("flop") > threshold(words), pl.col("time") <= _dated(words))
    if "open" in words.casefold():
        rows = rows.filter(pl.col("open_weights") == "yes")
    return float(rows.height)


def outcome(x: Inputs) -> float:
    """1 if what was forecast had come by the date of the case, else 0."""
    return float(count_above(x) > 0)


def threshold(words: str) -> float:
    """FLOP of 'above 1e25' or '>1e25'."""
    found = re.search(r"(?:above|over|>|exceed\w*)\s*(\d(?:\.\d+)?e\d+)", words)
    if found is None:
        raise Lacking("the words state no threshold")
    return float(found.group(1))


def _dated(words: str) -> float:
    months = "jan feb mar apr may jun jul aug sep oct nov dec".split()
    found = re.search(r"(?:(\d{1,2}) )?\b(" + "|".join(months) + r")[a-z]* (20\d\d)", words.casefold())
    if found is None:
        return float(max(years(words), default=2026) + 1)
    day, month = int(found.group(1) or 31), months.index(found.group(2))
    return int(found.group(3)) + (month + min(day, 30.4) / 30.4) / 12


def foundation_models(x: Inputs) -> Band:
    """Models above a threshold by the end of a year: those counted so far, and those of a power law of sizes below a growing record.

    The law is that of the last complete year of the table, whose rows go down to two decades below the record; the record grows as
    published for the frontier, from the middle of that year: of what came later, few disclose their compute.
    """
    least, last = threshold(x["words"]), max(years(x["words"]))
    rows = _models(False)
    time, flop = rows["time"].to_numpy(), rows["flop"].to_numpy()
    base = int(time.max())  # the year begun but not over
    below = np.log10(np.maximum.accumulate(flop) / flop)[(time >= base - 1) & (time < base)]
    steps = np.array([0.5, 1.0, 1.5, 2.0])
    slope, level = np.polyfit(steps, np.log([(below <= s).sum() for s in steps]), 1)
    t = np.arange(base + 0.125, last + 1, 0.25)
    rates = [r for r in catalogue.table("growth_rates").iter_rows(named=True) if r["quantity"] == "training compute, frontier"][0]
    ends = []
    for factor in (rates["factor_per_year"], rates["low"], rates["high"]):
        record = flop[time < base].max() * factor ** (t - (base - 0.5))
        rate = models_above(least, record, at_frontier=np.exp(level), per_decade=np.exp(slope))
        ends.append(float((flop[time < base] >= least).sum() + rate.sum() / 4))
    return Band(ends[0], ends[1] / 1.5, ends[2] * 1.5)


def revision(x: Inputs) -> float:
    """New over old figure of a model, from the case or from the two snapshots of the table."""
    if {"old", "new"} <= set(x):
        return float(x["new"] / x["old"])
    rows = catalogue.table("notable_models")
    known = [
        r
        for r in rows.iter_rows(named=True)
        if r["model"].casefold() in x["words"].casefold() and r["training_flop_2025_06"] and r["training_flop"]
    ]
    if not known:
        raise Lacking("no model of that name has figures of two snapshots")
    row = max(known, key=lambda r: len(r["model"]))
    return float(row["training_flop"] / row["training_flop_2025_06"])


#: Parameters of the largest dense model of the table (PaLM): whatever is larger is a mixture of experts.
LARGEST_DENSE = 5.5e11


def six_n_d(x: Inputs) -> float:
    """Share of dense language models whose compute is 6 N D within 10 %: rows from 1e9 parameters and tokens, mixtures left out."""
    rows = catalogue.table("notable_models").filter(pl.col("date") >= "2018", ~pl.col("model").str.contains(r"-A\d+B"))
    rows = rows.filter(
        pl.col("parameters").is_between(1e9, LARGEST_DENSE), pl.col("dataset_size") >= 1e9, pl.col("training_flop").is_not_null()
    )
    near = (rows["training_flop"] / (6 * rows["parameters"] * rows["dataset_size"]) - 1).abs() <= 0.1
    return float(near.mean())  # type: ignore[arg-type]


def training_mfu(x: Inputs) -> float:
    """Model FLOP utilisation over elapsed hours."""
    return float(x["c"] / (x["q"] * x["h"] * 3600 * x["peak"]))


# What the largest run may reach


def of_takeoff(x: Inputs) -> float:
    """Largest run of a year by the Full Takeoff Model."""
    said = x["words"].casefold().replace("-", "_").replace(" ", "_")
    preset = next((p for p in PRESETS if p in said), "best_guess")
    wanted = years(x["words"])[-1]
    return float(takeoff(preset, until=wanted + 1.0).at(wanted))


def fed_by(x: Inputs) -> Band:
    """FLOP of a run on a campus, or several, of 2030: what H100s with all that belongs to them would do, better by a rate a year since.

    300 days at the MFU of Llama 3, in fp8.
    """
    year = max(years(x["words"]), default=2030)
    h100 = catalogue.chip("H100")
    rows = {r["scope"]: r["value"] for r in catalogue.table("power_projections").iter_rows(named=True) if r["quantity"] == "chip power"}
    drawn = rows["IT power per H100"] * catalogue.cost("pue_microsoft").value / BROAD_EFFICIENCY ** (year - int(h100.release[:4]))
    mfu = catalogue.cost("training_mfu_llama3").value
    runs = power_cap(np.asarray(x["gw"], dtype=float) * GIGA, chip_power=drawn, peak=h100.peak("fp8"), mfu=mfu, seconds=300 * DAY)
    return Band(middle(runs), float(runs.min()), float(runs.max()))


def of_data(x: Inputs) -> Band:
    """FLOP that a range of tokens allows."""
    runs = data_cap(x["tokens"])
    return Band(middle(runs), float(runs.min()), float(runs.max()))


def wall(_: Inputs) -> Band:
    """FLOP of the latency wall; ends: a layer takes half or twice as long."""
    return Band(*(float(latency_wall(layer_latency=1e-4 * f)) for f in (1.0, 2.0, 0.5)))


def largest_power(x: Inputs) -> Band:
    """Power of the largest training run of a year: the largest of the table, grown as published."""
    row = catalogue.table("notable_models").filter(pl.col("power_w") == pl.col("power_w").max()).row(0, named=True)
    rate = published_growth({"words": ""}, "power draw of frontier training")
    ahead = max(years(x["words"]), default=2030) + 0.5 - history.year(row["date"])
    return Band(*(row["power_w"] * g**ahead for g in (rate.value, rate.low, rate.high)))


# Chips


def stock(words: str, upto: float | None = None) -> tuple[Array, Array]:
    """Times and chips ever sold [H100e] of the vendor that the words name, or of all."""
    vendor = next((v for k, v in VENDORS.items() if k in words.casefold()), None)
    series = history.chip_stock(vendor)
    kept = series.times <= (upto or np.inf) + 1e-9
    return series.times[kept], series.values[kept]


def stock_growth(x: Inputs) -> Band:
    """Growth of the stock between two quarters, least squares on the logarithm."""
    ends = [history.year(q) for q in re.findall(r"20\d\dQ\d", x["words"])] or [-np.inf, np.inf]
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
    return [history.year(q) for q in quarters] if quarters else [y + 1.0 for y in years(words)]


def stock_ratio(x: Inputs) -> float:
    """Stock over stock, in the order of the words."""
    first, second = _ends(x["words"])[:2]
    return stock_at(x["words"], first) / stock_at(x["words"], second)


def stock_of(x: Inputs) -> float:
    """Stock at the end of a year; what was sold in it where the words say so."""
    words, end = x["words"], _ends(x["words"])[0]
    if re.search(r"\b(added|sold|shipped|sales|shipments) (in|during)\b", words.casefold()):
        return stock_at(words, end) - stock_at(words, end - 1)
    owner = _owned(words, int(end) - 1)
    return owner if owner is not None else stock_at(words, end)


def _owned(words: str, year_end: int) -> float | None:
    """Compute of the owner or the laboratory that the words name, at a year's end."""
    rows = catalogue.table("compute_owners").filter(pl.col("year_end") == year_end)
    named = [
        r
        for r in rows.iter_rows(named=True)
        if r["owner"].removesuffix(" (used)").casefold() in words.casefold() and r["owner"] not in ("Google", "Other")
    ]
    return float(sum(r["h100e"] for r in named)) if named and not any(k in words.casefold() for k in VENDORS) else None


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


def capex_total(x: Inputs) -> float:
    """Capital expenditure [USD] of the companies and the year or quarter of the words, on the basis that the case states."""
    words = x["words"]
    basis = "with leases" if "lease" in str(x.get("basis", "")) and "exclud" not in str(x.get("basis", "")) else "cash"
    rows = catalogue.table("capex").filter(pl.col("span") == "quarter", pl.col("kind") == "actual", pl.col("basis") == basis)
    firms = [f for f in rows["company"].unique() if f.casefold() in words.casefold()] or list(FIRMS["hyperscaler"])
    quarters = re.findall(r"20\d\dQ\d", words)
    wanted = quarters[:1] or [f"{years(words)[0]}Q{q}" for q in range(1, 5)]
    chosen = rows.filter(pl.col("company").is_in(firms), pl.col("period").is_in(wanted))
    if chosen.height < len(firms) * len(wanted):
        raise Lacking(f"{chosen.height} of {len(firms) * len(wanted)} quarters are known on the basis {basis!r}")
    return float(chosen["capex_usd_b"].sum())


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
    from workbench.demand.agents import Tokens
    from workbench.demand.traces import traces

    if {"cached", "out"} <= set(x):
        fresh = next(float(x[k]) for k in ("nonread", "fresh", "input") if k in x)
        return float(Tokens(np.float64(x["cached"]), np.float64(fresh), np.float64(x["out"])).fresh_share)
    trace = next((hour for name, hour in traces().items() if name in x["words"].casefold()), None)
    if trace is None:
        raise Lacking("no trace of that name")
    return float(Tokens(*trace[1:]).fresh_share)


def path_total(x: Inputs) -> float:
    """Sum over a year of a daily path that is exponential between evenly spaced points: the mean of a piece is (b - a) / ln(b / a)."""
    a, b = np.asarray(x["path"][:-1], dtype=float), np.asarray(x["path"][1:], dtype=float)
    log = np.log(b / a)
    return float(365 * np.mean(np.where(log == 0, a, (b - a) / np.where(log == 0, 1, log))))


def printed_ratio(x: Inputs) -> float:
    """Last over first of the figures that the words print in brackets: (7B/min) ... (19B/min)."""
    scale = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12, "q": 1e15}
    found = [float(n) * scale[s] for n, s in re.findall(r"\((\d+(?:\.\d+)?)\s*([kmbtq]?)\b", x["words"].casefold())]
    if len(found) < 2:
        raise Lacking("the words do not print two figures")
    return found[-1] / found[0]
