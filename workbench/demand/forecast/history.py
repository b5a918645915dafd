"""History: what was seen, as series of one definition each, without tenfold units, chained definitions and counts that fall."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date as Day
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Array, Arrays
from workbench.checks import FINITE, LENGTH, POSITIVE, check_fields, takes
from workbench.errors import InputError, UnknownName

SLIP = 4.0  #: a value this many times off its neighbours is taken for a slip of the unit: between 10 and what growth does in a step


def year(text: str) -> float:
    """A date (2025, 2025Q4, 2025-10, 2025-10-13) as a decimal year: quarters and years by their end, months by their middle.

    >>> year("2025Q4"), year("2025"), round(year("2025-07"), 2)
    (2026.0, 2026.0, 2025.54)
    """
    if not isinstance(text, str):
        raise InputError(f"date {text!r}: expected text: YYYY, YYYYQn, YYYY-MM or YYYY-MM-DD")
    if match := re.fullmatch(r"(\d{4})(?:Q([1-4])|-(0[1-9]|1[0-2]))?", text):
        whole, quarter, month = match.groups()
        return int(whole) + (int(quarter) / 4 if quarter else (int(month) - 0.5) / 12 if month else 1.0)
    try:
        day = Day.fromisoformat(text)
        start, end = Day(day.year, 1, 1), Day(day.year + 1, 1, 1)
    except ValueError:
        raise InputError(f"date {text!r}: expected YYYY, YYYYQn, YYYY-MM or YYYY-MM-DD") from None
    return day.year + (day - start).days / (end - start).days


@dataclass(frozen=True, repr=False)
class Series(Arrays):
    """Positive values in order of time, all of one definition."""

    name: str
    unit: str
    kind: str  #: flow (a quarter's amount), stock (all until then) or count
    times: Array  #: decimal years
    values: Array  #: in `unit`
    rows: tuple[str, ...]  #: keys of the table's rows

    def __post_init__(self) -> None:
        check_fields(self, times=FINITE, values=POSITIVE)
        if not np.shape(self.times) == np.shape(self.values) == (len(self.rows),):
            raise InputError(f"{self.name}: {len(self.rows)} rows; expected as many times and values")

    def take(self, which: NDArray[np.intp] | slice) -> Self:
        """The chosen points."""
        return replace(self, times=self.times[which], values=self.values[which], rows=tuple(np.array(self.rows)[which]))


def capex(company: str | None = None) -> Series:
    """Quarterly cash capital expenditure of a company [USD], or the sum over the companies that report in every quarter."""
    if company is None:
        parts = [capex(name) for name in reporting()]
        return total(parts, f"capex of {len(parts)} companies")
    chosen = _only(_quarters(), "company", company).sort("end_date")
    return _series(chosen, f"capex of {company}", "USD", "flow", "period", "capex_usd_b", scale=1e9)


def reporting() -> list[str]:
    """Companies with as many quarters of capital expenditure as any."""
    count = _quarters().group_by("company").len()
    return count.filter(pl.col("len") == pl.col("len").max())["company"].sort().to_list()


def _quarters() -> pl.DataFrame:
    return catalogue.table("capex").filter((pl.col("span") == "quarter") & (pl.col("kind") == "actual") & (pl.col("basis") == "cash"))


def vendors() -> list[str]:
    """All vendors of chips that are counted."""
    return catalogue.table("chip_stock")["vendor"].unique().sort().to_list()


def chip_stock(vendor: str | None = None) -> Series:
    """AI chips ever sold at the end of each quarter [H100e], of a vendor or of all.

    The sum of all starts in the first quarter with two vendors; a vendor enters when its count does.
    """
    frame = catalogue.table("chip_stock").filter((pl.col("kind") == "cumulative") & (pl.col("chip") == "all"))
    if vendor is not None:
        return _series(_only(frame, "vendor", vendor).sort("quarter"), f"chips of {vendor}", "H100e", "stock", "quarter", "h100e")
    for name in vendors():
        chip_stock(name)  # each vendor's rows are checked
    every = frame.group_by("quarter").agg(pl.col("h100e").sum(), pl.len(), ("all vendors " + pl.col("quarter").first()).alias("id"))
    return _series(every.filter(pl.col("len") > 1).sort("quarter"), "chips of all vendors", "H100e", "stock", "quarter", "h100e")


def users(product: str, metric: str) -> Series:
    """Users of a product by a metric, as disclosed."""
    chosen = _only(_only(catalogue.table("users"), "product", product), "metric", metric).sort("date")
    return _series(chosen, f"{product}: {metric}", chosen["unit"][0], "count", "date", "value")


def tokens(entity: str, scope: str) -> Series:
    """Tokens per month that an entity processes in a scope, as disclosed."""
    chosen = _only(_only(catalogue.table("tokens"), "entity", entity), "scope", scope).sort("date").unique("date", maintain_order=True)
    return _series(chosen, f"tokens of {entity}, {scope}", "tokens/month", "count", "date", "tokens_per_month", events=True)


def active_power(entity: str) -> Series:
    """Power that an owner of compute has running [GW], as disclosed."""
    chosen = _only(catalogue.table("disclosures").filter(pl.col("quantity") == "active power"), "entity", entity).sort("period")
    return _series(chosen, f"active power of {entity}", "GW", "stock", "period", "value")


def spot_rent(chip: str) -> Series:
    """Rent of spot capacity of a chip, mean over each quarter of what a cloud asked [USD/h]."""
    rows = catalogue.table("rent_history").filter((pl.col("tariff") == "spot") & pl.col("provider").str.starts_with("AWS EC2 spot"))
    dates = pl.col("date").str.to_date("%Y-%m-%d")
    rows = _only(rows, "chip", chip).with_columns(quarter=pl.format("{}Q{}", dates.dt.year(), dates.dt.quarter()))
    mean = rows.group_by("quarter").agg(pl.col("usd_per_gpu_h").mean(), pl.col("id").first()).sort("quarter")
    return _series(mean, f"spot rent of {chip}", "USD/h", "count", "quarter", "usd_per_gpu_h", events=True)


def seller_revenue(periods: ArrayLike) -> dict[str, Array]:
    """Revenue of compute for AI that each seller discloses, per year at decimal years [USD/yr].

    Quarters and run rates are points at the middle of their period, joined in logarithms; before the first and after the last point growth
    goes on as between the nearest two, at most doubling each year and never falling, as sellers say of those times.
    """
    of = {
        "Microsoft": ("AI business, annualised", 1.0), "AWS": ("AI services, annualised", 1.0),
        "Oracle": ("cloud infrastructure revenue", 4.0), "CoreWeave": ("revenue", 4.0), "Nebius": ("revenue", 4.0),
    }  # fmt: skip
    at, found = np.asarray(periods, dtype=float), {}
    for seller, (quantity, times) in of.items():
        rows = catalogue.table("disclosures").filter(entity=seller, quantity=quantity).filter(pl.col("period").str.len_chars() > 4)
        points = sorted((_middle(period), value * times) for period, value in rows.select("period", "value").iter_rows())
        t, y = np.array([p[0] for p in points]), np.log([p[1] for p in points])
        first, last = (np.clip(np.diff(y)[i] / np.diff(t)[i], 0.0, np.log(2.0)) for i in (0, -1))
        inside = np.interp(at, t, y)
        found[seller] = np.exp(inside - first * np.maximum(t[0] - at, 0.0) + last * np.maximum(at - t[-1], 0.0)) * 1e9
    return found


def _middle(period: str) -> float:
    """Middle of a quarter or month as a decimal year; FY26Q1 is a fiscal quarter of a year that ends with May."""
    if match := re.fullmatch(r"FY(\d\d)Q([1-4])", period):
        return 1999 + int(match[1]) + 5 / 12 + int(match[2]) / 4 - 0.125
    return year(period) - (0.125 if "Q" in period else 0.0)


@takes(most_rank=LENGTH)
def notable_models(*, vintage: str = "2026-07", most_rank: int | None = None) -> Series:
    """Training compute of notable models [FLOP] by date of release, as the snapshot of `vintage` held it.

    `most_rank` leaves those that ranked so or better by compute at release: one definition of the frontier over all years.
    """
    columns = {"2025-06": "training_flop_2025_06", "2026-07": "training_flop"}
    if vintage not in columns:
        raise UnknownName("vintage", vintage, columns)
    frame = catalogue.table("notable_models").with_columns(pl.col("model").alias("id"))
    frame = frame.filter(pl.col(columns[vintage]).is_not_null())
    if most_rank is not None:
        frame = frame.filter(pl.col("running_rank") <= most_rank)
    return _series(frame.sort("date", columns[vintage]), "notable models", "FLOP", "count", "date", columns[vintage], events=True)


def total(parts: list[Series], name: str) -> Series:
    """Sum of series over the times that all of them have. Raises `InputError` for mixed units or no common time."""
    if len({p.unit for p in parts}) != 1:
        raise InputError(f"{name}: units {', '.join(sorted({p.unit for p in parts}))} do not add")
    common = sorted(set.intersection(*(set(p.times.tolist()) for p in parts)))
    if not common:
        raise InputError(f"{name}: no time that all of {', '.join(p.name for p in parts)} have")
    picked = [p.take(np.flatnonzero(np.isin(p.times, common))) for p in parts]
    rows = tuple(map(" + ".join, zip(*(p.rows for p in picked), strict=True)))
    return replace(picked[0], name=name, values=np.sum([p.values for p in picked], axis=0), rows=rows)


def _only(frame: pl.DataFrame, column: str, value: str) -> pl.DataFrame:
    chosen = frame.filter(pl.col(column) == value)
    if chosen.is_empty():
        raise UnknownName(column, value, frame[column].unique().to_list())
    return chosen


def _series(
    frame: pl.DataFrame, name: str, unit: str, kind: str, time: str, value: str, *, scale: float = 1.0, events: bool = False
) -> Series:
    ids = frame["id"].to_list()
    times, values = np.array([year(t) for t in frame[time]]), frame[value].to_numpy().astype(float)
    found = [] if events else one_value(ids, times) or tenfold(ids, times, values)  # events may share a day and differ by any factor
    if found := found or (never_falls(ids, times, values) if kind == "stock" else []):
        raise SuspectData(name, found)
    return Series(name, unit, kind, times, values * scale, tuple(ids))


@dataclass(frozen=True)
class Finding:
    """A row that contradicts others."""

    check: str
    row: str
    reason: str


class SuspectData(InputError):
    """Figures that contradict each other; `findings` names the rows."""

    def __init__(self, name: str, findings: Sequence[Finding]):
        self.findings = tuple(findings)
        super().__init__(f"{name}: " + "; ".join(f"{f.row}: {f.reason}" for f in findings))


def one_value(rows: Sequence[str], times: ArrayLike) -> list[Finding]:
    """A time that comes twice in one series: two definitions, or two sources, were chained."""
    first: dict[float, int] = {}
    return [
        Finding("one value a time", row, f"the series already has {rows[first[t]]!r} at that time; keep one definition")
        for i, (row, t) in enumerate(zip(rows, np.asarray(times, dtype=float).tolist(), strict=True))
        if first.setdefault(t, i) < i
    ]


def tenfold(rows: Sequence[str], times: ArrayLike, values: ArrayLike) -> list[Finding]:
    """Values that are tenfold off their neighbours, as slips of a unit or of a translation do.

    A value between two others is a slip where it lies more than `SLIP` times above both or below both. The first and the last have one
    neighbour: there it counts only within a season, .3 years, beyond what the fastest growth elsewhere in the series does in that time.
    """
    t, y = np.asarray(times, dtype=float), np.log(positive(rows, values))
    if t.size < 3:
        return []
    rate = np.abs(np.diff(y)) / np.maximum(np.diff(t), 1e-3)
    suspect: list[tuple[float, int, float]] = []
    for i in range(t.size):
        if 0 < i < t.size - 1:
            off = max(y[i] - max(y[i - 1], y[i + 1]), min(y[i - 1], y[i + 1]) - y[i])
            like = float(np.interp(t[i], t[[i - 1, i + 1]], y[[i - 1, i + 1]]))
        else:
            j = 1 if i == 0 else i - 1
            apart, like = abs(t[i] - t[j]), y[j]
            off = abs(y[i] - y[j]) - np.delete(rate, min(i, j)).max() * apart if apart <= 0.3 else 0.0
        if off > np.log(SLIP):
            suspect.append((off, i, like))
    if not suspect:
        return []
    # the worst first: beside it, its right neighbours look wrong as well; an end only where nothing between two others is
    _, i, like = max(suspect, key=lambda s: (0 < s[1] < t.size - 1, s))
    times, side = np.exp(abs(y[i] - like)), "above" if y[i] > like else "below"
    reason = f"{np.exp(y[i]):.4g} is {times:.3g} times {side} its neighbours' {np.exp(like):.4g}: a unit or a translation slipped"
    rest = [k for k in range(t.size) if k != i]
    return [Finding("tenfold", rows[i], reason), *tenfold([rows[k] for k in rest], t[rest], np.exp(y[rest]))]


def never_falls(rows: Sequence[str], times: ArrayLike, values: ArrayLike) -> list[Finding]:
    """A cumulative count that falls."""
    y = positive(rows, values)
    order = np.argsort(np.asarray(times, dtype=float), kind="stable")
    return [
        Finding("never falls", rows[j], f"{y[j]:.4g} is below the {y[i]:.4g} of {rows[i]!r}, yet both count all so far")
        for i, j in itertools.pairwise(order.tolist())
        if y[j] < y[i]
    ]


def positive(rows: Sequence[str], values: ArrayLike) -> Array:
    """Values as an array. Raises `InputError` naming the row of one that is not above 0 and finite."""
    y = np.asarray(values, dtype=float)
    for row, v in zip(rows, y.tolist(), strict=True):
        if not (v > 0 and np.isfinite(v)):
            raise InputError(f"{row}: {v:g}: expected more than 0, and finite")
    return y
