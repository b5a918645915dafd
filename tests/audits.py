"""Audit of the tables of demand's history: what contradicts what, row by row.

A finding is no proof: the reader decides, and says so in the row's note.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from workbench.demand.forecast import history
from workbench.demand.forecast.history import Finding, positive, year

#: Times a month of each unit that tokens are printed in (months of 365.25 / 12 days).
_A_MONTH = {
    "tokens/minute": 365.25 / 12 * 24 * 60,
    "tokens/day": 365.25 / 12,
    "tokens/week": 365.25 / 12 / 7,
    "tokens/month": 1.0,
    "tokens/quarter": 1 / 3,
    "tokens/year": 1 / 12,
}


#: A total may differ so much from the sum of its parts, which are rounded and revised.
PARTS = 0.05
#: A total may differ so much from the path through a few of its points.
PATH = 0.3


def ratio(rows, numerator, denominator, *, what, low, high):
    """Rows where two figures that go together (revenue and power, cash and total) do not: their ratio leaves `low` to `high`."""
    r = positive(rows, numerator) / positive(rows, denominator)
    return [
        Finding("ratio", row, f"{what} = {x:.4g}, outside {low:g} to {high:g}: a unit or a definition slipped")
        for row, x in zip(rows, r.tolist(), strict=True)
        if not low <= x <= high
    ]


def sum_of_parts(row, whole, parts):
    """A total that its own parts do not add up to."""
    added = float(np.sum(np.asarray(parts, dtype=float)))
    if abs(added / whole - 1) <= PARTS:
        return []
    return [Finding("sum of parts", row, f"{whole:.4g} where its parts add up to {added:.4g} ({added / whole - 1:+.0%})")]


def path_total(times, rates, start, end):
    """What accumulates from `start` to `end` along the piecewise exponential path through `rates` at `times`."""
    t, y = np.asarray(times, dtype=float), np.log(np.asarray(rates, dtype=float))
    slope = np.diff(y) / np.diff(t)
    edges = np.concatenate([[start], t[(t > start) & (t < end)], [end]])
    piece = np.clip(np.searchsorted(t, (edges[1:] + edges[:-1]) / 2) - 1, 0, slope.size - 1)
    g, a = slope[piece], y[piece] + slope[piece] * (edges[:-1] - t[piece])
    x = g * np.diff(edges)
    fall = np.maximum(np.abs(x), 1e-300)  # from the larger end of a piece, so that none is infinite
    return float(np.sum(np.exp(np.maximum(a, a + x)) * np.diff(edges) * -np.expm1(-fall) / fall))


def total_against_path(row, total, times, rates, start, end):
    """A published total that the path through the published points of the same thing does not reach."""
    path = path_total(times, rates, start, end)
    if abs(np.log(total / path)) <= np.log1p(PATH):
        return []
    reason = f"the total {total:.4g} is {total / path:.2g} times the {path:.4g} of the path through its own points: another scope"
    return [Finding("total against path", row, reason)]


def _groups(frame: pl.DataFrame, by: list[str], time: str, value: str) -> Iterator[Finding]:
    for _, group in frame.sort(time).group_by(by, maintain_order=True):
        rows, times = group["id"].to_list(), [year(t) for t in group[time]]
        again = history.one_value(rows, times)
        yield from again
        once = group.filter(~pl.col("id").is_in([f.row for f in again]))
        yield from history.tenfold(once["id"].to_list(), [year(t) for t in once[time]], once[value])


def _capex(frame: pl.DataFrame) -> Iterator[Finding]:
    quarters = frame.filter((pl.col("span") == "quarter") & (pl.col("kind") == "actual"))
    yield from _groups(quarters, ["company", "basis"], "period", "capex_usd_b")
    cash, leases = (quarters.filter(pl.col("basis") == b) for b in ("cash", "with leases"))
    both = cash.join(leases, on=["company", "period"], suffix="_leases")
    what = "capex with finance leases over cash capex"
    yield from ratio(both["id"].to_list(), both["capex_usd_b_leases"], both["capex_usd_b"], what=what, low=1.005, high=2.5)
    years = frame.filter((pl.col("span") == "calendar year") & (pl.col("kind") == "actual"))
    for whole in years.iter_rows(named=True):
        parts = quarters.filter(
            (pl.col("company") == whole["company"])
            & (pl.col("basis") == whole["basis"])
            & pl.col("period").str.starts_with(whole["period"])
        )
        if parts.height == 4:
            yield from sum_of_parts(whole["id"], whole["capex_usd_b"], parts["capex_usd_b"])


def _chip_stock(frame: pl.DataFrame) -> Iterator[Finding]:
    stocks, flows = (frame.filter(pl.col("kind") == k) for k in ("cumulative", "quarter"))
    for _, group in stocks.sort("quarter").group_by(["vendor", "chip"], maintain_order=True):
        rows, times = group["id"].to_list(), [year(t) for t in group["quarter"]]
        for value in ("chips", "h100e"):
            yield from history.tenfold(rows, times, group[value])
            yield from history.never_falls(rows, times, group[value])
    for _, group in flows.group_by(["vendor", "chip"], maintain_order=True):
        each = group["h100e"] / group["chips"]
        usual = float(each.median() or 1.0)  # type: ignore[arg-type]
        what = f"H100e a chip over the usual {usual:.3g}"
        yield from ratio(group["id"].to_list(), each, each * 0 + usual, what=what, low=0.8, high=1.25)
    for (vendor,), group in stocks.filter(pl.col("chip") == "all").sort("quarter").group_by(["vendor"], maintain_order=True):
        sold = flows.filter((pl.col("vendor") == vendor) & (pl.col("quarter") <= group["quarter"][-1]))
        first = flows.filter(pl.col("vendor") == vendor)["quarter"].min()
        if sold.height and first == group["quarter"][0]:
            yield from sum_of_parts(group["id"][-1], group["chips"][-1], sold["chips"])


def _tokens(frame: pl.DataFrame) -> Iterator[Finding]:
    monthly = frame["value"] * frame["unit"].replace_strict(_A_MONTH, return_dtype=pl.Float64)
    what = "tokens_per_month over value in its unit"
    yield from ratio(frame["id"].to_list(), frame["tokens_per_month"], monthly, what=what, low=0.98, high=1.02)
    whole = frame["scope"].str.contains("total")
    yield from _groups(frame.filter(~whole), ["entity", "scope"], "date", "tokens_per_month")
    for row in frame.filter(whole & (pl.col("unit") == "tokens/year")).iter_rows(named=True):
        points = frame.filter(~whole & (pl.col("entity") == row["entity"])).sort("date")
        if points.height >= 2:
            end = float(row["date"][:4]) + 1
            times = [year(t) for t in points["date"]]
            yield from total_against_path(row["id"], row["value"], times, points["tokens_per_month"] * 12, end - 1, end)


def _users(frame: pl.DataFrame) -> Iterator[Finding]:
    yield from _groups(frame, ["product", "metric"], "date", "value")
    power = frame.filter(pl.col("unit") == "GW")
    both = frame.filter(pl.col("unit") == "USD/year").join(power, on=["product", "date"], suffix="_power")
    what = "yearly revenue over compute [USD/year a W]"
    yield from ratio(both["id"].to_list(), both["value"], both["value_power"] * 1e9, what=what, low=3.0, high=35.0)


def _notable_models(frame: pl.DataFrame) -> Iterator[Finding]:
    both = frame.filter(pl.col("training_flop").is_not_null() & pl.col("training_flop_2025_06").is_not_null())
    what = "training compute over that of the snapshot of June 2025"
    yield from ratio(both["model"].to_list(), both["training_flop"], both["training_flop_2025_06"], what=what, low=0.25, high=4.0)


def _power(frame: pl.DataFrame) -> Iterator[Finding]:
    energy = frame.filter(pl.col("quantity") == "energy")
    world = energy.filter(pl.col("scope") == "global").unique(["publisher", "year"], keep="first", maintain_order=True)
    regions = energy.filter(pl.col("scenario").str.contains("table"))
    for whole in world.iter_rows(named=True):
        parts = regions.filter((pl.col("publisher") == whole["publisher"]) & (pl.col("year") == whole["year"]))
        if parts.height > 2:
            yield from sum_of_parts(whole["id"], whole["value"], parts["value"])


def _owners(frame: pl.DataFrame) -> Iterator[Finding]:
    frame = frame.with_columns(pl.col("year_end").cast(pl.String).alias("year"))
    yield from _groups(frame, ["owner", "chip_maker", "role"], "year", "h100e")


def _drivers(frame: pl.DataFrame) -> Iterator[Finding]:
    revenue = frame.filter(pl.col("end_date").is_not_null())
    yield from _groups(revenue, ["quantity"], "end_date", "value")
    whole, part = (revenue.filter(pl.col("quantity").str.contains(q)) for q in ("data-centre", "compute"))
    both = part.join(whole, on="period", suffix="_whole")
    what = "compute revenue over data-centre revenue"
    yield from ratio(both["id"].to_list(), both["value"], both["value_whole"], what=what, low=0.5, high=1.0)


def _rents(frame: pl.DataFrame) -> Iterator[Finding]:
    yield from _groups(frame, ["chip", "contract"], "date", "usd_per_gpu_h")


AUDITS = {
    "notable_models": _notable_models,
    "chip_stock": _chip_stock,
    "compute_owners": _owners,
    "supply_drivers": _drivers,
    "tokens": _tokens,
    "users": _users,
    "rents": _rents,
    "capex": _capex,
    "power_projections": _power,
}
