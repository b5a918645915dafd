"""What `validation.demand` asks of the table of notable models and of the models of the largest run."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.demand import data_cap, latency_wall, models_above, power_cap, takeoff, year
from workbench.demand.uses.takeoff import PRESETS
from workbench.units import DAY, GIGA
from workbench.validation.demand_facts import Band, Inputs, Lacking, growth, middle, years

#: Yearly factor of FLOP a joule over all AI chips, not the leading ones alone (Epoch AI and EPRI, 2025; note of growth_rates.csv).
BROAD_EFFICIENCY = 1.26


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
    return rows.with_columns(time=pl.Series([year(d) for d in rows["date"]]))


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
    months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
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
    rates = catalogue.table("growth_rates").row(by_predicate=pl.col("quantity") == "training compute, frontier", named=True)
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
    built = max(years(x["words"]), default=2030)
    h100 = catalogue.chip("H100")
    rows = {r["scope"]: r["value"] for r in catalogue.table("power_projections").iter_rows(named=True) if r["quantity"] == "chip power"}
    drawn = rows["IT power per H100"] * catalogue.cost("pue_microsoft").value / BROAD_EFFICIENCY ** (built - int(h100.release[:4]))
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
    ahead = max(years(x["words"]), default=2030) + 0.5 - year(row["date"])
    return Band(*(row["power_w"] * g**ahead for g in (rate.value, rate.low, rate.high)))
