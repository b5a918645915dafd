"""Measured rows against the models: each row is a call of a public function, made as a user would make it, and its answer is scored."""

from __future__ import annotations

import datetime
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue, chips, fabric, files, readers, scaling, tables
from workbench.calibration.forms import Asked, Form
from workbench.errors import DataError, InputError, UnknownName, WorkbenchError, said
from workbench.validation import calls, cases
from workbench.validation.report import COLUMNS, Report, text

Tables = dict[str, pl.DataFrame]
#: Kinds of measurements, and the forms that files of a kind may have.
KINDS: dict[str, tuple[Form, ...]] = {**cases.FORMS, **fabric.FORMS, **chips.FORMS}
UNREAD = "unread"  #: column of a row's first cell that should be a number and is none
READ = "read_from"  #: column of what a file that is no CSV was taken for
OWN = "own"  #: name of own measurements between domains that were given none
KEPT = 1000  #: results that are kept for rows that ask for the same
#: What a model raises on inputs that it was not written for: any file may come, and its other rows are predicted all the same.
ODD = (LookupError, StopIteration, AttributeError, TypeError, ArithmeticError, ValueError, MemoryError, pl.exceptions.PolarsError)


def validate(
    kind: str, path: str | Path | Sequence[str | Path] | None = None, by: str = "source", leave_out: str | None = None,
    told: Mapping[str, Any] | None = None,
) -> Report:  # fmt: skip
    """Ask of every row of a file of measurements what the models say of it, and compare.

    Raises `UnknownName` for a `kind` that does not exist; `DataError` for a file that is missing, empty or lacks a column, with path, row
    and column. A row with text in a number is not predicted. The report's table is grouped by the column `by`.

    Parameters
    ----------
    path : path, optional
        CSV of measurements, or logs and results as tools write them (`workbench read` lists the kinds), one, several or a folder; the
        sample that ships with the workbench if not given.
    leave_out : str, optional
        Column: predict each row by models fitted to the rows of its other values alone, where the kind can. Widths of intervals are those
        that ship, which were set on rows that were left out.
    told : mapping, optional
        What files that are no CSV do not say: chip, n_chips, domain, fabric, nic_gbps, program, tp, precision, framework, model.

    Examples
    --------
    >>> validate("topology").table().filter(pl.col("source") == "all")["within_tolerance"].item()
    27
    """
    files = [shipped(kind)] if path is None else [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]
    file = files[0]
    parts = [read(kind, one, told) for one in files]
    form, frame = parts[0][0], pl.concat([part for _, part in parts], how="diagonal_relaxed")
    if other := next((one for one, part in zip(files, parts, strict=True) if part[0] is not form), None):
        raise DataError(other, f"rows of another form than {file}; validate them apart")
    if by not in frame.columns:
        raise DataError(file, f"no such column to group by; the file has {', '.join(frame.columns)}", column=by)
    rows = []
    for one, found in answers(form, frame, file, ask(form, frame), leave_out):
        row = frame.row(one.position, named=True)
        try:
            measured, tolerance = form.value(row, one.quantity), form.tolerance(row)
            if measured is not None and not (np.isfinite(measured) and (measured > 0 or kind in cases.FORMS)):
                raise ValueError
        except (ValueError, TypeError, LookupError, ArithmeticError):
            why = found.skipped or "what was measured, or the error allowed, is no number"
            measured, tolerance, found = None, None, Answer(skipped=why, call=found.call)
        said = (found.value, found.low, found.high, measured, row["source"], found.skipped, found.call, found.evidence, tolerance)
        rows.append((one.position, row.get("id"), one.quantity, *said, text(row[by])))
    return Report(kind, pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("position", maintain_order=True), by)


def ask(form: Form, frame: pl.DataFrame) -> list[Asked]:
    """What a form asks of each row: nothing of one with text in a number, or that was not read in its source."""
    found = []
    for one in form.ask(frame.drop([*form.measured, UNREAD, READ], strict=False)):
        row = frame.row(one.position, named=True)
        why = "not read in its source" if "memory" in (row.get("read_in_source"), row.get("seen")) else None
        if why := row.get(UNREAD) or one.skipped or why:
            one = Asked(one.position, one.quantity, skipped=why)
        found.append(one)
    return found


@dataclass(frozen=True)
class Answer:
    """What a model says of a row, or why it says nothing."""

    value: float | None = None
    low: float | None = None  #: ends of the 80 % interval, where it has one
    high: float | None = None
    skipped: str | None = None  #: why it says nothing
    call: str | None = None  #: in Python
    evidence: str | None = None  #: the measured rows that it rests on


def answers(form: Form, rows: pl.DataFrame, file: Path, asked: list[Asked], leave_out: str | None = None) -> Iterator[tuple[Asked, Answer]]:
    """What the models say of all that is asked, with what ships or, for each value of a column, with what the other rows give."""
    for at, fitted in _parts(form, rows, file, leave_out):
        one_of, made = set(at), dict[str, Any]()
        for one in (one for one in asked if one.position in one_of):
            if fitted is None:
                one = Asked(one.position, one.quantity, skipped="too few other rows to calibrate on")
            with tables.instead(fitted or {}), np.errstate(all="ignore"):
                answer = _answer(one, made)
            yield one, answer
            made = made if len(made) < KEPT else {}


def _parts(form: Form, frame: pl.DataFrame, file: Path, leave_out: str | None) -> Iterator[tuple[list[int], Tables | None]]:
    """Positions of rows, and the tables that they are predicted by: none but those that ship, or those fitted to other rows."""
    if leave_out is None:
        yield list(range(frame.height)), {}
        return
    others = (*form.leave_out, *(c for c in frame.columns if c not in form.measured))
    if form.folds is None:
        raise InputError(f"--leave-out {leave_out}: what such rows call rests on no constants that are fitted to them")
    if leave_out not in others:
        raise DataError(file, f"no such column to leave out by; allowed: {', '.join(dict.fromkeys(others))}", column=leave_out)
    yield from ((at.tolist(), fitted) for at, fitted in form.folds(frame, form.groups(frame, leave_out)))


def _answer(asked: Asked, made: dict[str, Any]) -> Answer:
    if asked.call is None:
        return Answer(skipped=asked.skipped)
    call = None
    try:
        call = calls.in_python(asked.call | {"read": asked.read})
        result = calls.value(asked.call, made)
        near = getattr(result, "evidence", None)
        low, high = (_finite(result, path) if path else None for path in (asked.low, asked.high))
        return Answer(_finite(result, asked.read), low, high, call=call, evidence=near and near.said())
    except WorkbenchError as error:
        return Answer(skipped=str(error), call=call)
    except ODD as error:
        return Answer(skipped=f"{asked.call['call']}: {said(error)}", call=call)


def _finite(result: Any, path: str) -> float:
    found, reason = calls.read(result, path), str(getattr(result, "reason", ""))
    value = calls.number(found)
    if not np.isfinite(value) or (reason and not value and np.asarray(found).dtype != bool):  # no rate where nothing fits
        raise InputError(reason or "no finite number follows from what it states")
    return value


def calibrate(kind: str, *paths: str | Path, told: Mapping[str, Any] | None = None) -> Tables:
    """Tables of coefficients fitted to files of measurements, by name, as they belong in ``calibration/`` of a data folder.

    Raises as `validate`, and `DataError` for a file that nothing is fitted to, or that is not fitted together with the first.

    Examples
    --------
    >>> fitted = calibrate("gemm", catalogue.path("measured/gemm.csv"))
    >>> sorted(fitted)
    ['gemm', 'gemm_errors', 'gemm_evidence']
    """
    fitted, frames, fit = [name for name, forms in KINDS.items() if any(form.calibrate for form in forms)], [], None
    _forms(kind)
    if kind == "scaling":
        return {"laws": _law(paths, dict(told or {}))}
    for file in map(Path, paths):
        form, rows = read(kind, file, told) if kind in fitted else (None, pl.DataFrame())
        if form is None or form.calibrate is None or fit not in (None, form.calibrate):
            together = " together with the first" if fit and form and form.calibrate else ""
            kinds = ", ".join([*fitted, "scaling"])
            raise DataError(file, f"nothing of the kind {kind} is calibrated on such a file{together}; kinds that are: {kinds}")
        if UNREAD in rows.columns:
            row = int(rows[UNREAD].is_not_null().arg_true()[0])
            raise DataError(file, rows[UNREAD][row], row=row + 2)
        fit = form.calibrate
        rows, name = form.standard(rows), (told or {}).get("as") or (OWN if READ in rows.columns else None)
        frames.append(rows.with_columns(pl.lit(name).alias("named")) if kind == "collectives" and name else rows)
    if fit is None:
        raise InputError("calibrate: expected a file of measurements at least")
    frame = pl.concat(frames, how="diagonal_relaxed")
    try:
        with np.errstate(all="ignore"):
            found = fit(frame)
    except InputError as error:
        raise DataError(file, str(error)) from None
    if any(table.is_empty() for table in found.values()):
        raise DataError(file, "no row of it can be calibrated on; workbench validate says why rows are not predicted")
    named = " and ".join(Path(path).name for path in paths)
    stamp = {"source": f"{frame.height} rows of {named}; workbench calibrate {kind}", "as_of": datetime.date.today().isoformat()}
    stamped = {}
    for name, table in found.items():  # a table of what was measured has sources of its own
        declared = [column.column for column in tables.declaration(f"calibration/{name}")]
        missing = [pl.lit(stamp.get(one)).alias(one) for one in declared if one not in table.columns]
        stamped[name] = table.with_columns(missing).select(declared)
    return stamped


def write_tables(tables_: Tables, folder: str | Path) -> dict[Path, pl.DataFrame]:
    """Write what `calibrate` found as a folder for ``WORKBENCH_DATA``, once all of it reads back; each table is whole or not there.

    Raises `DataError` for a table that the catalogue would refuse, and writes nothing then; `InputError` for a file that cannot be written.

    Examples
    --------
    >>> fitted = calibrate("gemm", catalogue.path("measured/gemm.csv"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_tables(fitted, folder)]
    ['gemm.csv', 'gemm_evidence.csv', 'gemm_errors.csv']
    """
    at = {name: f"calibration/{name}" if f"calibration/{name}" in tables.table_names() else name for name in tables_}
    paths = {Path(folder) / f"{at[name]}.csv": (at[name], table) for name, table in tables_.items()}
    for path, (name, table) in paths.items():
        if name == "laws" and path.is_file():  # other laws of one's own stay
            others = tables.read(path, name).filter(~pl.col("law").is_in(table["law"].implode()))
            paths[path] = (name, pl.concat([others, table.cast(others.schema)]))
    with tempfile.TemporaryDirectory() as scratch:
        for path, (name, table) in paths.items():
            table.write_csv(Path(scratch) / path.name)
            try:
                tables.read(Path(scratch) / path.name, name)
            except DataError as error:
                raise DataError(path, f"not written: {error.reason}", row=error.row, column=error.column) from None
    for path, (_, table) in paths.items():
        files.write(path, table.write_csv())
    return {path: table for path, (_, table) in paths.items()}


def _forms(kind: str) -> tuple[Form, ...]:
    if kind not in KINDS:
        raise UnknownName("kind of measurements", kind, [*KINDS, "decisions"])
    return KINDS[kind]


def shipped(kind: str) -> Path:
    """The sample of a kind that ships with the workbench."""
    _forms(kind)
    return cases.shipped(kind) if kind in cases.FORMS else catalogue.path(f"measured/{kind.replace('-', '_')}.csv")


def _law(paths: Sequence[str | Path], told: dict[str, Any]) -> pl.DataFrame:
    """The additive law of one's own runs as a row of the table ``laws``, with the intervals of refits to resamples."""
    found = [readers.read(path, told, "scaling") for path in paths]
    for path, one in zip(paths, found, strict=True):
        if one is None:
            raise DataError(path, "no runs for a scaling law: expected columns of params, loss, and tokens or compute")
        print(*one.said, sep="\n", file=sys.stderr)
    runs = pl.concat([one.frame for one in found if one])
    n, d, loss = (runs[name].to_numpy() for name in ("params", "tokens", "loss"))
    try:
        fitted, refits = scaling.fit(n, d, loss), scaling.bootstrap(n, d, loss, n=500)
    except InputError as error:
        raise DataError(paths[0], str(error)) from None
    ends = {name: refits.interval(name) for name in ("E", "A", "B", "alpha", "beta")}
    note = "95 % of 500 refits: " + ", ".join(f"{name} {low:.4g} to {high:.4g}" for name, (low, high) in ends.items())
    law: dict[str, Any] = {name: getattr(fitted, name) for name in (*ends, "compute_low", "compute_high")}
    law |= {"law": str(told.get("as") or Path(paths[0]).stem), "form": "additive", "counts": "total", "compute": "6ND", "available": True}
    law |= {"note": note, "as_of": datetime.date.today().isoformat(), "source": f"{runs.height} runs; workbench calibrate scaling"}
    return pl.DataFrame({c.column: [law.get(c.column)] for c in tables.declaration("laws")})


def read(kind: str, path: Path, told: Mapping[str, Any] | None = None) -> tuple[Form, pl.DataFrame]:
    """The form of a file of measurements and its rows: every column as text, those of `Form.numbers` as numbers.

    A log or a result is taken for what `readers` make of it, and what is left out of it is said on the standard error. Raises
    `DataError`, naming all missing columns of the form that the file is nearest to; also where there is no row.
    """
    forms = _forms(kind)
    if not forms[0].read and (frame := _foreign(kind, path, told or {})) is not None:
        return forms[0], frame
    for form in forms:
        if form.read and (frame := form.read(path)) is not None:
            break
    else:
        frame = tables.read_text(path)
        lacks = [[c for c in (*form.text, *form.numbers) if c not in frame.columns and c not in form.optional] for form in forms]
        missing, form = min(zip(lacks, forms, strict=True), key=lambda pair: len(pair[0]))
        if missing:
            needed = ", ".join((*form.text, *form.numbers))
            raise DataError(path, f"missing: {', '.join(missing)}; a file of this kind has {needed}", column=missing[0])
        named = next((c for c in ("source", "source_title", "source_key", "source_address") if c in frame.columns), None)
        frame = _typed(frame.with_columns(source=pl.col(named) if named else pl.lit(None, pl.String)), form)
    if frame.is_empty():
        raise DataError(path, "no row of measurements below the header")
    return form, frame


def _foreign(kind: str, path: Path, told: Mapping[str, Any]) -> pl.DataFrame | None:
    """Rows of a log or a result as the first form of a kind has them, with what was left out said; None for a CSV of measurements."""
    form, found = KINDS[kind][0], readers.read(path, told, kind)
    if found is None:
        if path.is_file() and (readers.Source(path).is_json or path.suffix in (".log", ".out", ".txt", ".sh", ".yaml")):
            raise readers.unknown(path)
        if given := [f"--{name.replace('_', '-')}" for name, value in told.items() if value is not None and name != "as"]:
            raise DataError(path, f"{', '.join(given)}: a CSV of measurements says it in its columns; options are for logs and results")
        return None
    print(*(f"{line}\n" for line in found.said), sep="", end="", file=sys.stderr)
    types = pl.Schema(dict.fromkeys(form.text, pl.String()) | dict.fromkeys(form.numbers, pl.Float64()))
    lacking = [pl.lit(None, pl.Null).alias(name) for name in types if name not in found.frame.columns]
    return found.frame.with_columns(lacking).cast(types).with_columns(pl.lit(found.kind).alias(READ))


def _typed(frame: pl.DataFrame, form: Form) -> pl.DataFrame:
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in form.optional if name not in frame.columns)
    for column in form.numbers:
        number = frame[column].cast(pl.Float64, strict=False)
        bad = frame[column].is_not_null() & ~number.is_finite().fill_null(False)
        if bad.any():
            why = pl.format(f"column '{column}': '{{}}' is not a number", column)
            unread = pl.coalesce(pl.col(UNREAD) if UNREAD in frame.columns else pl.lit(None, pl.String), pl.when(bad).then(why))
            frame, number = frame.with_columns(unread.alias(UNREAD)), number.set(bad, None)
        frame = frame.with_columns(number)
    return frame
