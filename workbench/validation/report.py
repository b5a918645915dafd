"""What every kind of validation shares: reading the file, joining predictions to measurements, the table and the JSON."""

from __future__ import annotations

import datetime
import importlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench import catalogue, files, tables
from workbench.calibration.crossval import Study
from workbench.calibration.pool import Fit
from workbench.errors import DataError, InputError, UnknownName

#: Kinds of measurements and the modules that predict them. Each has columns it needs, TEXT and NUMBERS (blanks allowed), of which those in
#: OPTIONAL may be missing; MEASURED, columns that its `predict` never sees; and, where it can, `read` (its own files), `shipped` (names
#: them), `measured`
#: (of a row and its prediction, what was measured and the absolute error that the case allows), `predict_without` and `calibrate`.
KINDS = {
    "cases": "workbench.validation.cases",
    "energy": "workbench.validation.cases",
    "demand": "workbench.validation.cases",
    "scaling": "workbench.validation.cases",
    "collectives": "workbench.validation.collectives",
    "topology": "workbench.validation.cases",
    "gemm": "workbench.validation.gemm",
    "serving": "workbench.validation.serving",
    "training": "workbench.validation.training",
    "training-memory": "workbench.validation.training_memory",
}


@dataclass(frozen=True)
class Prediction:
    """What a model says of one measured quantity of one row; `value` is None where it says nothing, and `skipped` why."""

    position: int  #: row of the file, from 0
    quantity: str  #: column that holds the measurement
    value: float | None = None
    low: float | None = None  #: ends of the 80 % interval
    high: float | None = None
    skipped: str | None = None
    part: int = 0  #: which of the numbers, where the column holds several


def within(position: int, quantity: str, value: float, half_width: float) -> Prediction:
    """A prediction with its interval, whose half width is one of the logarithm."""
    return Prediction(position, quantity, value, value * float(np.exp(-half_width)), value * float(np.exp(half_width)))


def fitted(
    quantity: str, position: ArrayLike, study: Study | None, parts: Iterable[tuple[Any, Fit | None]], reasons: dict[int, str]
) -> list[Prediction]:
    """Rows of a study by the constants of their part; without any, and those that could not be read, with the reason."""
    table, place = [Prediction(at, quantity, skipped=reason) for at, reason in reasons.items()], np.asarray(position)
    for at, fit in parts:
        if fit is None or study is None:
            table += [Prediction(int(place[i]), quantity, skipped="too few other rows to calibrate on") for i in at]
        else:
            found = zip(at, study.predict(fit, at), strict=True)
            table += [within(int(place[i]), quantity, float(value), study.half_width(study.origins[i], fit)) for i, value in found]
    return sorted(table, key=lambda p: p.position)


_RATIO = pl.col("predicted") / pl.col("measured")
_ERROR = 100 * (_RATIO - 1).abs()
_KNOWN = pl.col("predicted").is_not_null() & (pl.col("measured") != 0)


#: What a formula raises on inputs that it was not written for: any file may come, and its other rows are predicted all the same.
ODD = (LookupError, StopIteration, AttributeError, TypeError, ArithmeticError, ValueError, MemoryError, pl.exceptions.PolarsError)


#: Columns of the rows of a report.
COLUMNS = (
    {"position": pl.Int64, "id": pl.String, "quantity": pl.String}
    | dict.fromkeys(("predicted", "low", "high", "measured"), pl.Float64)
    | {"source": pl.String, "skipped": pl.String, "tolerance": pl.Float64, "by": pl.String}
)


@dataclass(frozen=True)
class Report:
    """Predictions beside measurements. `str` gives the table that ``workbench validate`` prints."""

    kind: str
    rows: pl.DataFrame  #: with `COLUMNS`
    by: str

    def table(self) -> pl.DataFrame:
        """One row a group: how many rows, how many predicted, errors in percent, bias, interval coverage, cases within tolerance."""
        inside = pl.col("measured").is_between(pl.col("low"), pl.col("high"))
        columns = [
            pl.len().alias("rows"),
            pl.col("predicted").count().alias("predicted"),
            _ERROR.filter(_KNOWN).median().round(2).alias("median_error_%"),
            _ERROR.filter(_KNOWN).mean().round(2).alias("mean_error_%"),
            _ERROR.filter(_KNOWN).quantile(0.9).round(2).alias("p90_error_%"),
            (100 * (_RATIO - 1)).filter(_KNOWN).median().round(2).alias("bias_%"),
            (100 * inside.filter(pl.col("predicted").is_not_null() & pl.col("low").is_not_null()).mean()).round(0).alias("coverage_%"),
        ]
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

    def write_json(self, path: str | Path) -> None:
        """Write every row as a list of JSON objects; the file is whole or not there."""
        files.write(path, json.dumps(self.rows.drop("tolerance", "by").to_dicts(), indent=1, allow_nan=False) + "\n")

    def __str__(self) -> str:
        lines = [f"{self.kind}: predicted against published, by {self.by}", "", *aligned(self.table())]
        if tail := self.tail():
            lines += ["", tail]
        if reasons := self.reasons():
            lines += ["", "not predicted:"] + [f"{count:6d}  {reason}" for reason, count in reasons.items()]
        return "\n".join(lines)


def aligned(frame: pl.DataFrame) -> list[str]:
    """A frame as lines of text, the first column to the left, the others to the right.

    Examples
    --------
    >>> aligned(pl.DataFrame({"source": ["a"], "error_%": [2.5]}))
    ['source  error_%', 'a           2.5']
    """
    cells = [[_text(v) for v in row] for row in (tuple(frame.columns), *frame.rows())]
    widths = [max(len(row[i]) for row in cells) for i in range(frame.width)]
    return ["  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))) for row in cells]


def validate(kind: str, path: str | Path | None = None, by: str = "source", leave_out: str | None = None) -> Report:
    """Predict every row of a file of measurements that the models can predict, and compare.

    Raises `UnknownName` for a kind that does not exist; `DataError` for a file that is missing, empty, lacks a column or has text in a
    number, with path, row and column.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    path : path, optional
        CSV of measurements; the sample that ships with the workbench if not given.
    by : str
        Column that groups the report's table.
    leave_out : str, optional
        Column: predict each row by models calibrated on the rows of its other values alone, where the kind can.

    Examples
    --------
    >>> validate("topology").table().filter(pl.col("source") == "all")["within_tolerance"].item()
    27
    """
    module = _module(kind)
    file = Path(path) if path is not None else shipped(kind)
    frame = _rows(module, file)
    if by not in frame.columns:
        raise DataError(file, f"no such column to group by; the file has {', '.join(frame.columns)}", column=by)
    others = (*getattr(module, "CROSS", ()), *(c for c in frame.columns if c not in module.MEASURED))
    if leave_out is None:
        with np.errstate(all="ignore"):  # an answer that is not finite is told in its row
            predictions = module.predict(frame.drop(list(module.MEASURED), strict=False))
    elif not hasattr(module, "predict_without"):
        raise InputError(f"no prediction of the kind {kind} rests on constants fitted to measurements: there is nothing to leave out")
    elif leave_out not in others:
        raise DataError(file, f"no such column to leave out by; allowed: {', '.join(dict.fromkeys(others))}", column=leave_out)
    else:
        predictions = module.predict_without(frame, leave_out)
    rows = []
    for p in predictions:
        row = frame.row(p.position, named=True)
        p, measured, tolerance = _compared(module, row, p)
        values = (p.value, p.low, p.high, measured)
        rows.append((p.position, row.get("id"), p.quantity, *values, row["source"], p.skipped, tolerance, _text(row[by])))
    return Report(kind, pl.DataFrame(rows, schema=COLUMNS, orient="row"), by)


def _compared(module: Any, row: dict[str, Any], p: Prediction) -> tuple[Prediction, float | None, float | None]:
    """A prediction with what was measured and the error allowed; a skipped one where either is not a finite number."""
    if p.value is not None and not np.isfinite([p.value, p.low or 0.0, p.high or 0.0]).all():
        p = Prediction(p.position, p.quantity, skipped="no finite number follows from what it states", part=p.part)
    try:
        measured, tolerance = module.measured(row, p) if hasattr(module, "measured") else (row[p.quantity], None)
        if measured is None or np.isfinite(measured):
            return p, measured, tolerance
    except (ValueError, LookupError, ArithmeticError):
        pass
    return Prediction(p.position, p.quantity, skipped="what was measured is no finite number", part=p.part), None, None


def calibrate(kind: str, path: str | Path) -> dict[str, pl.DataFrame]:
    """Tables of coefficients fitted to a file of measurements, by name, as they belong in ``calibration/`` of a data folder.

    Raises as `validate`, and `InputError` for a kind whose models are not fitted.

    Examples
    --------
    >>> fitted = calibrate("gemm", catalogue.path("measured/gemm.csv"))
    >>> sorted(fitted)
    ['gemm', 'gemm_errors']
    """
    module = _module(kind)
    if not hasattr(module, "calibrate"):
        raise InputError(f"nothing of the kind {kind} is calibrated on measurements")
    file = Path(path)
    frame = _rows(module, file)
    try:
        with np.errstate(all="ignore"):
            found: dict[str, pl.DataFrame] = module.calibrate(frame)
    except InputError as error:
        raise DataError(file, str(error)) from None
    if any(table.is_empty() for table in found.values()):
        raise DataError(file, "no row of it can be calibrated on; workbench validate says why rows are not predicted")
    today = datetime.date.today().isoformat()
    return {
        name: table.with_columns(source=pl.lit(f"{frame.height} rows of {file.name}; workbench calibrate {kind}"), as_of=pl.lit(today))
        for name, table in found.items()
    }


def write_tables(tables_: dict[str, pl.DataFrame], folder: str | Path) -> dict[Path, pl.DataFrame]:
    """Write what `calibrate` found as a folder for ``WORKBENCH_DATA``, once all of it reads back; each table is whole or not there.

    Raises `DataError` for a table that the catalogue would refuse, and writes nothing then; `InputError` for a file that cannot be written.

    Examples
    --------
    >>> fitted = calibrate("gemm", catalogue.path("measured/gemm.csv"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_tables(fitted, folder)]
    ['gemm.csv', 'gemm_errors.csv']
    """
    paths = {Path(folder) / "calibration" / f"{name}.csv": (name, table) for name, table in tables_.items()}
    with tempfile.TemporaryDirectory() as scratch:
        for path, (name, table) in paths.items():
            table.write_csv(Path(scratch) / path.name)
            try:
                tables.read(Path(scratch) / path.name, f"calibration/{name}")
            except DataError as error:
                raise DataError(path, f"not written: {error.reason}", row=error.row, column=error.column) from None
    for path, (_, table) in paths.items():
        files.write(path, table.write_csv())
    return {path: table for path, (_, table) in paths.items()}


def _module(kind: str) -> Any:
    if kind not in KINDS:
        raise UnknownName("kind of measurements", kind, KINDS)
    return importlib.import_module(KINDS[kind])


def shipped(kind: str) -> Path:
    """The sample of a kind that ships with the workbench."""
    module = _module(kind)
    return module.shipped(kind) if hasattr(module, "shipped") else catalogue.path(f"measured/{kind.replace('-', '_')}.csv")


def _rows(module: Any, file: Path) -> pl.DataFrame:
    """The rows of a file of measurements. Raises `DataError`, also where there are none."""
    frame: pl.DataFrame = module.read(file) if hasattr(module, "read") else read(file, module)
    if frame.is_empty():
        raise DataError(file, "no row of measurements below the header")
    return frame


def read(path: str | Path, kind: Any) -> pl.DataFrame:
    """A file of measurements: every column as text, those of `kind.NUMBERS` as numbers. Raises `DataError`."""
    frame = tables.read_text(path)
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in getattr(kind, "OPTIONAL", ()) if name not in frame.columns)
    for column in (*kind.TEXT, *kind.NUMBERS):
        if column not in frame.columns:
            raise DataError(path, f"the column is missing; a file of this kind has {', '.join((*kind.TEXT, *kind.NUMBERS))}", column=column)
    for column in kind.NUMBERS:
        number = frame[column].cast(pl.Float64, strict=False)
        bad = frame[column].is_not_null() & ~number.is_finite().fill_null(False)
        if bad.any():
            row = int(bad.arg_true()[0])
            raise DataError(path, f"{frame[column][row]!r} is not a number", row=row + 2, column=column)
        frame = frame.with_columns(number)
    return frame


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.10g}"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
