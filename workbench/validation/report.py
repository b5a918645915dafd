"""What every kind of validation shows: predicted beside measured, the table of errors by group, and the JSON of every row."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from workbench import files

_RATIO = pl.col("predicted") / pl.col("measured")
_ERROR = 100 * (_RATIO - 1).abs()
_KNOWN = pl.col("predicted").is_not_null() & (pl.col("measured") != 0)

COLUMNS = (  #: of the rows of a report
    {"position": pl.Int64, "id": pl.String, "quantity": pl.String}
    | dict.fromkeys(("predicted", "low", "high", "measured"), pl.Float64)
    | {"source": pl.String, "skipped": pl.String, "call": pl.String, "evidence": pl.String, "tolerance": pl.Float64, "by": pl.String}
)


@dataclass(frozen=True)
class Report:
    """Predictions beside measurements. `str` gives the table that ``workbench validate`` prints."""

    kind: str
    rows: pl.DataFrame  #: with `COLUMNS`
    by: str

    def table(self) -> pl.DataFrame:
        """One row per group: how many rows, how many predicted, errors in percent, bias, cases within tolerance.

        Of 80 % intervals: how many hold what was measured, with its standard error, and the median half width. A row that was asked and is
        not answered counts as outside.
        """
        known = pl.col("predicted").is_not_null() & pl.col("low").is_not_null()
        asked = pl.col("call").is_not_null() & pl.col("measured").is_not_null() & (pl.col("predicted").is_null() | known)
        inside = pl.col("measured").is_between(pl.col("low"), pl.col("high")).fill_null(value=False).filter(asked)
        half = (pl.col("high") / pl.col("low")).filter(known, pl.col("low") > 0).sqrt() - 1
        columns = [
            pl.len().alias("rows"), pl.col("predicted").count().alias("predicted"),
            _ERROR.filter(_KNOWN).median().round(2).alias("median_error_%"), _ERROR.filter(_KNOWN).mean().round(2).alias("mean_error_%"),
            _ERROR.filter(_KNOWN).quantile(0.9).round(2).alias("p90_error_%"),
            (100 * (_RATIO - 1)).filter(_KNOWN).median().round(2).alias("bias_%"),
            (100 * pl.when(known.any()).then(inside.mean())).round(0).alias("coverage_%"),
            (100 * pl.when(known.any()).then((inside.mean() * (1 - inside.mean()) / inside.count()).sqrt())).round(1).alias("+-"),
            (100 * half).median().round(1).alias("half_width_%"),
        ]  # fmt: skip
        if self.rows["tolerance"].count():
            near = (pl.col("predicted") - pl.col("measured")).abs() <= pl.col("tolerance") + 1e-12 * pl.col("measured").abs()
            columns.append(near.filter(pl.col("predicted").is_not_null()).sum().alias("within_tolerance"))
        groups = self.rows.group_by("by", maintain_order=True).agg(columns).sort("rows", descending=True, maintain_order=True)
        total = self.rows.select(pl.lit("all").alias("by"), *columns) if self.rows.height else groups
        return pl.concat([groups, total]).rename({"by": self.by if self.by not in ("rows", "predicted") else "group"})

    def tail(self) -> str | None:
        """Why the mean error is above 1.5 times the median, if it is: how few rows carry half of all error, and of which group most are."""
        far = self.rows.filter(_KNOWN).select("by", error=_ERROR).drop_nulls("error").sort("error", descending=True, maintain_order=True)
        error = far["error"].to_numpy()
        if not error.size or error.mean() < 0.005 or error.mean() <= 1.5 * np.median(error):
            return None
        half = 1 + int((error.cumsum() < error.sum() / 2).sum())
        group, count = Counter(far["by"].head(half)).most_common(1)[0]
        share = f"{half} of {far.height} rows ({100 * half / far.height:.2g} %)"
        return f"the mean error is above the median: {share} carry half of all error, {count} of them of {self.by} {group}"

    def beside(self, left_out: Report) -> pl.DataFrame:
        """Errors in percent as shipped beside those of rows that nothing was fitted to, by group, with the coverage of their intervals.

        Below the groups: the mean over those with 8 rows or more.
        """
        tables = [report.table().rename({"median_error_%": "median", "mean_error_%": "mean"}) for report in (self, left_out)]
        by = tables[0].columns[0]
        own, other = tables[0].select(by, "rows", "median", "mean"), tables[1].select(by, "median", "mean", coverage="coverage_%")
        table = own.join(other, on=by, how="left", suffix="_left_out", maintain_order="left")
        large, name = table.filter((pl.col("rows") >= 8) & (pl.col(by) != "all")), pl.lit("mean of groups of 8 rows and more")
        mean = large.select(name.alias(by), pl.col("rows").sum(), pl.exclude(by, "rows").mean().round(2))
        return pl.concat([table, mean.cast(table.schema)])

    def reasons(self) -> dict[str, int]:
        """Why rows were not predicted, most frequent first."""
        return dict(Counter(r for r in self.rows["skipped"] if r is not None).most_common())

    def calls(self) -> str:
        """The call of every row as Python, after the imports that it needs."""
        faces = "import numpy as np\nfrom workbench import catalogue, chips, demand, energy, fabric, fleet, scaling\n"
        said = self.rows.select("position", "quantity", "call", "skipped").iter_rows()
        return "\n".join((faces, *(f"{call or f'# {why}'}  # row {at + 2}: {name}" for at, name, call, why in said)))

    def write_json(self, path: str | Path) -> None:
        """Write every row as a list of JSON objects; the file is whole or not there."""
        files.write(path, json.dumps(self.rows.drop("evidence", "tolerance", "by").to_dicts(), indent=1, allow_nan=False) + "\n")

    def __str__(self) -> str:
        lines = [f"{self.kind}: predicted against published, by {self.by}", "", *aligned(self.table())]
        if tail := self.tail():
            lines += ["", tail]
        if reasons := self.reasons():
            lines += ["", "not predicted:"] + [f"{count:6d}  {reason}" for reason, count in reasons.items()]
        return "\n".join(lines)


def aligned(frame: pl.DataFrame) -> list[str]:
    """A frame as lines of text, the first column to the left, the others to the right."""
    cells = [[text(v) for v in row] for row in (tuple(frame.columns), *frame.rows())]
    widths = [max(len(row[i]) for row in cells) for i in range(frame.width)]
    return ["  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))) for row in cells]


def text(value: object) -> str:
    """A cell of a table."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.10g}"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
