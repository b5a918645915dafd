"""Tables: CSV files that keep to the declaration in ``data/schema.csv``, or do not load.

A declaration gives every column its type, unit, range, choices and meaning. A cell that breaks it raises `DataError` with
the path, the row (the header is row 1), the column and the reason. `workbench.catalogue` is what models and notebooks call.
"""

import csv
import hashlib
import itertools
import math
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import polars as pl

from workbench.errors import DataError, UnknownName, hint
from workbench.formats import LADDER

T = TypeVar("T")
_HERE = Path(__file__).resolve().parent
#: Inside an installed wheel data/ lies in the package; in a clone beside it.
DATA = next(p for p in (_HERE / "data", _HERE.parent / "data") if p.is_dir())
NOTEBOOKS = DATA.parent / "notebooks"

#: Tables in place of those of the files, within `instead`.
_INSTEAD: ContextVar[Mapping[str, pl.DataFrame] | None] = ContextVar("tables in place of the files", default=None)
DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")  #: a year, a month or a day, as rows are dated
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class Column:
    """Declaration of one column (a row of ``data/schema.csv``)."""

    table: str
    column: str
    type: str
    unit: str | None
    low: float | None
    high: float | None
    required: bool
    key: bool
    choices: tuple[str, ...]
    meaning: str

    @property
    def allowed(self) -> str:
        """What the column takes, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = {"int": "a whole number", "float": "a number", "bool": "true or false", "text": "text"}[self.type]
        if self.low is not None and self.high is not None:
            kind += f" from {self.low:g} to {self.high:g}"
        return f"{kind} {self.unit}" if self.unit else kind


def table_names() -> list[str]:
    """Names of all declared tables, in the order of the schema."""
    return list(_declarations())


def declaration(table: str) -> tuple[Column, ...]:
    """Columns of `table` in order. Raises `UnknownName` for a table that is not declared."""
    tables = _declarations()
    if table not in tables:
        raise UnknownName("table", table, tables)
    return tables[table]


def keys(table: str) -> tuple[str, ...]:
    """Names of the columns of `table` that together name a row."""
    return tuple(c.column for c in declaration(table) if c.key)


def names(frame: pl.DataFrame, table: str) -> list[str]:
    """Name of every row: its key, or the cells of its keys with ``|`` between them."""
    columns = ([cell or "" for cell in frame[column].to_list()] for column in keys(table))
    return list(map("|".join, zip(*columns, strict=True)))


@cache
def _declarations() -> dict[str, tuple[Column, ...]]:
    tables: dict[str, list[Column]] = {}
    cells: dict[str, Any] = read_cells(DATA / "schema.csv")
    for values in zip(*cells.values(), strict=True):
        row = dict(zip(cells, values, strict=True))
        row |= {name: float(row[name]) if row[name] else None for name in ("low", "high")}
        row |= {name: row[name] == "yes" for name in ("required", "key")}
        tables.setdefault(row["table"], []).append(Column(**row | {"choices": tuple(row["choices"].split(";")) if row["choices"] else ()}))
    declared, peaks = [c.column for c in tables["chips"]], [f"{peak}_tflops" for peak in LADDER]
    after = declared.index("fp4_tflops") + 1  # place of the peak of a new row of `formats`, which needs no declaration
    tables["chips"][after:after] = [replace(tables["chips"][after - 1], column=p, meaning="") for p in peaks if p not in declared]
    return {name: tuple(columns) for name, columns in tables.items()}


def read_cells(path: str | Path) -> dict[str, list[str | None]]:
    """Columns of a CSV as text, blanks as None. Raises `DataError` for a file that is missing, empty or not a CSV.

    Cell by cell, so that a message can name the row and the column: polars says neither of a line with a cell too many, and renames a
    column that occurs twice.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(path, "no such file")
    lines: list[list[str]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            for line in csv.reader(text, strict=True):
                lines.append(line)  # one by one: an error says after how many
    except UnicodeDecodeError as error:
        raise DataError(path, f"not a readable UTF-8 CSV: {error}") from None
    except csv.Error as error:
        raise DataError(path, f"not a readable UTF-8 CSV from here on: {error}; is a quote left open?", row=len(lines) + 1) from None
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(path, "the file is empty; expected a header and rows")
    first = next(i for i, line in enumerate(lines) if line) + 1
    header = _header(path, lines[first - 1])
    for row, line in enumerate(lines[first:], first + 1):
        if (more := len(header) - len(line)) < 0:
            raise DataError(path, f"{len(line)} cells where the header has {len(header)}; quote a cell that holds a comma", row=row)
        line += [""] * more
    named: dict[str, list[str | None]] = {}
    for name, *column in zip(header, *lines[first:], strict=True):
        cells = [text.strip() or None for text in column]
        if name:
            named[name] = cells
        elif any(cells):
            row, cell = next((row, cell) for row, cell in enumerate(cells, first + 1) if cell)
            raise DataError(path, f"{cell!r} is in a column without a name", row=row)
    return named


def _header(path: Path, line: list[str]) -> list[str]:
    header = [name.strip() for name in line]
    if len(header) == 1 and (others := [mark for mark in (";", "\t", "|") if mark in header[0]]):
        raise DataError(path, f"cells are separated by {others[0]!r}; expected commas, and points in numbers")
    for name in header:
        if name and header.count(name) > 1:
            raise DataError(path, "the column occurs more than once", column=name)
    return header


def read_text(path: str | Path) -> pl.DataFrame:
    """A CSV as text cells, blanks as null. Raises `DataError` for a file that is missing, empty or not a CSV."""
    cells = read_cells(path)
    return pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String))


def read(path: str | Path, table: str) -> pl.DataFrame:
    """The CSV at `path` as typed columns, checked against the declaration of `table`.

    Optional columns that the file leaves out come back as nulls. Raises `DataError` for a missing or unknown column, a blank
    where a value is required, text in a number, a value outside its range or choices, and a duplicate key.
    """
    columns = declaration(table)
    cells = read_cells(path)
    allowed = [c.column for c in columns]
    for name in cells:
        if name not in allowed:
            raise DataError(path, f"table {table!r} has no such column; {hint(name, allowed, 'allowed')}", column=name)
    needed = [c for c in columns if c.required]
    if lacking := [c for c in needed if c.column not in cells]:
        raise DataError(path, f"the column is missing; it holds {lacking[0].meaning}{_too(lacking)}", column=lacking[0].column)
    if gaps := [cells[c.column].index(None) for c in needed if None in cells[c.column]]:
        lacking = [c for c in needed if cells[c.column][min(gaps)] is None]
        raise DataError(path, f"is blank; expected {lacking[0].allowed}{_too(lacking)}", row=min(gaps) + 2, column=lacking[0].column)
    blank: list[str | None] = [None] * len(next(iter(cells.values())))
    typed = pl.DataFrame([_typed(path, cells.get(c.column, blank), c) for c in columns])
    own = names(typed, table)
    lower = [name.lower() for name in own]
    if len(set(lower)) < len(own):
        row = next(row for row, name in enumerate(lower) if name in lower[:row])
        raise DataError(path, f"{own[row]!r} is already the key of an earlier row", row=row + 2, column=", ".join(keys(table)))
    for band in _BANDS.get(table, ()):
        _band(path, typed, *band)
    if table in _CHECKS:
        _CHECKS[table](path, typed)
    return typed


def load(table: str) -> pl.DataFrame:
    """Table `table`: our rows, then those of ``$WORKBENCH_DATA/<table>.csv``, which win by key; or what is given `instead` of it."""
    given = _INSTEAD.get()
    if given and table in given:
        return given[table]
    folder = _users_folder()
    if not (folder and (override := folder / f"{table}.csv").is_file()):
        return shipped(table)
    return _merged(table, override, override.stat().st_mtime_ns)


#: What was made of a table, beside the table that it was made of.
_MADE: dict[tuple[str, Callable[..., Any]], tuple[pl.DataFrame, Any]] = {}


def made_of(table: str, make: Callable[[pl.DataFrame], T]) -> T:
    """``make(table)``, made once and kept until the table is another one: a user's rows came or went."""
    frame = load(table)
    seen, made = _MADE.get((table, make), (None, None))
    if seen is not frame:
        made = make(frame)
        _MADE[table, make] = frame, made
    return cast(T, made)


@contextmanager
def instead(frames: Mapping[str, pl.DataFrame]) -> Iterator[None]:
    """Within it models read these tables in place of the files: constants fitted to some of the rows alone."""
    token = _INSTEAD.set({**(_INSTEAD.get() or {}), **frames})
    try:
        yield
    finally:
        _INSTEAD.reset(token)


def padded(column: str, ends: str) -> pl.Expr:
    """Dates of `column` as days: years and months by their first (``"-01-01"``) or last (``"-12-31"``) day."""
    return pl.col(column) + pl.lit(ends).str.slice(pl.col(column).str.len_chars().cast(pl.Int64) - 4)


def ages(today: date) -> pl.DataFrame:
    """Tables of facts (fitted and measured ones and cases are none), rows, oldest and newest ``as_of``, days since the newest."""
    rows = []
    for name in table_names():
        if "/" not in name and "as_of" in (frame := load(name)).columns:
            day = frame.select(padded("as_of", "-01-01").alias("day"))["day"].sort()
            rows.append((name, frame.height, day[0], day[-1], (today - date.fromisoformat(day[-1])).days))
    found = pl.DataFrame(rows, schema=["table", "rows", "oldest", "newest", "days"], orient="row")
    return found.sort("days", "table", descending=[True, False])


def files() -> Iterator[tuple[Path, os.DirEntry[str]]]:
    """The package's modules and tables, each with the folder that it belongs to."""
    for top, ending in ((_HERE, ".py"), (DATA, ".csv")):
        for at, _, _ in os.walk(top):
            if not at.endswith("__pycache__"):
                yield from ((top, entry) for entry in os.scandir(at) if entry.name.endswith(ending))


def code_and_data(among: str = "") -> str:
    """Hash of what results are made from: modules, shipped tables and the user's own whose path matches `among`; takes some 10 ms."""
    folder = _users_folder()
    found = [(Path(entry.path).relative_to(top).as_posix(), Path(entry.path)) for top, entry in files()]
    if folder:
        found += [(f"own/{path.relative_to(folder).as_posix()}", path) for path in folder.rglob("*.csv")]
    digest = hashlib.sha256()
    for name, path in sorted(found):
        if not (re.search(among, name) and path.is_file()):  # a link to nothing, as some editors make
            continue
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]


@lru_cache(maxsize=4)
def hashes(code_and_data: str) -> dict[str, str]:
    """Hash of every table as models read it, the user's rows with it, at a state of code and data."""
    folders = [folder for folder in (DATA, _users_folder()) if folder]
    found = {name: [path for folder in folders if (path := folder / f"{name}.csv").is_file()] for name in table_names()}
    return {name: hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:8] for name, paths in found.items()}


def made_from() -> dict[str, str]:
    """What a reader asks of the origin of results: the commit of code in a repository, the newest date and the hashes of tables."""
    commit = ""
    if (_HERE.parent / ".git").exists():
        with suppress(OSError):
            asked = ["git", "-C", str(_HERE), "log", "-1", "--format=%h of %cs"]
            commit = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    newest = str(ages(date.today())["newest"].max())
    hashes = {"Tables": code_and_data(r"^(?!calibration/).*\.csv$"), "Calibration": code_and_data(r"^calibration/.*\.csv$")}
    return {"Commit": commit, "Newest fact": newest} | {name: f"sha256 {digest}" for name, digest in hashes.items()}


def _users_folder() -> Path | None:
    """The folder that ``$WORKBENCH_DATA`` names. Raises `DataError` for one that is none, or that holds a CSV which is no table."""
    if not (named := os.environ.get("WORKBENCH_DATA")):
        return None
    if not (folder := Path(named)).is_dir():
        raise DataError(folder, "WORKBENCH_DATA names a folder that does not exist")
    _check_names(folder, folder.stat().st_mtime_ns)
    return folder


@cache
def _check_names(folder: Path, mtime_ns: int) -> None:
    for file in sorted(folder.glob("*.csv")):
        if file.stem not in table_names():
            raise DataError(file, f"{UnknownName('table', file.stem, table_names())}; rename it, or move it elsewhere")


@cache
def shipped(table: str) -> pl.DataFrame:
    """Our rows of `table`."""
    return read(DATA / f"{table}.csv", table)


@cache
def _merged(table: str, override: Path, mtime_ns: int) -> pl.DataFrame:
    ours, theirs = shipped(table), read(override, table)
    if table == "chips":
        _not_the_sparse_peak(override, theirs, ours)
    known = {name.lower(): i for i, name in enumerate(names(ours, table))}
    same = [known.get(name.lower()) for name in names(theirs, table)]
    for column in (*keys(table), "aliases") if "aliases" in ours.columns else ():  # in place of ours: still known by its names
        cells = [o if at is None or (o and column == "aliases") else ours[column][at] for o, at in zip(theirs[column], same, strict=True)]
        theirs = theirs.with_columns(pl.Series(column, cells, dtype=pl.String))
    kept = ours.filter(pl.Series([at not in same for at in range(ours.height)], dtype=pl.Boolean))
    return pl.concat([kept, theirs])


def _typed(path: str | Path, cells: list[str | None], c: Column) -> pl.Series:
    """Column `c` of text, cast and checked."""
    values: dict[str | None, Any] = {}
    for text in dict.fromkeys(cells):
        values[text], reason = _cell(text, c)
        if reason is not None:
            raise DataError(path, f"{text!r} {reason}", row=cells.index(text) + 2, column=c.column)
    dtype = {"text": pl.String, "int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean}[c.type]
    return pl.Series(c.column, [values[text] for text in cells], dtype=dtype)


def _cell(text: str | None, c: Column) -> tuple[Any, str | None]:
    """A cell as its column's type, or why it is refused."""
    if text is None:
        return None, None
    if c.choices and text not in c.choices:
        return None, f"is not {c.allowed}"
    if c.type == "text":
        return text, None
    if c.type == "bool":
        lower = text.lower()
        return lower in _TRUE, None if lower in (*_TRUE, *_FALSE) else "is not true or false"
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (c.type == "int" and number != round(number)):
        return None, f"is not {c.allowed}"
    if c.low is not None and c.high is not None and not c.low <= number <= c.high:
        return None, f"is outside its range: expected {c.allowed}"
    return (int(number) if c.type == "int" else number), None


def _too(lacking: list[Column]) -> str:
    return f"; so {'is' if len(lacking) == 2 else 'are'} {', '.join(c.column for c in lacking[1:])}" if len(lacking) > 1 else ""


def _whole_price(path: str | Path, grids: pl.DataFrame) -> None:
    """A price says its year, and one that is not in USD its currency and period."""
    for i, row in enumerate(grids.iter_rows(named=True)):
        needs = ["price_local_per_kwh", "currency", "price_period", "price_year"][-1 if row["price_usd_per_kwh"] is not None else 0 :]
        lacking = [name for name in needs if row[name] is None]
        if lacking and (len(lacking) < len(needs) or row["price_usd_per_kwh"] is not None):
            raise DataError(path, f"the price of {row['grid']} lacks {', '.join(lacking)}", row=i + 2, column=lacking[0])


def _dense_peaks(path: str | Path, chips: pl.DataFrame) -> None:
    """A peak that claims to be dense must not be the sparse one, and a narrower format is never slower."""
    for i, row in enumerate(chips.iter_rows(named=True)):
        dense, sparse = row["bf16_tflops"], row["sparse_bf16_tflops"]
        if dense and sparse and not 0.45 <= dense / sparse <= 0.55:
            reason = f"{dense:g} is not the dense peak: {row['chip']} reaches {sparse:g} with sparsity, so dense is about {sparse / 2:g}"
            raise DataError(path, reason, row=i + 2, column="bf16_tflops")
        ladder = [(f, row[f"{f}_tflops"]) for f in LADDER if row[f"{f}_tflops"]]
        for (wide, slow), (narrow, fast) in itertools.pairwise(ladder):
            if fast < slow * 0.99:
                reason = f"{fast:g} is below the {wide} peak {slow:g}: one of them is sparse or from another part"
                raise DataError(path, reason, row=i + 2, column=f"{narrow}_tflops")


def _not_the_sparse_peak(path: str | Path, theirs: pl.DataFrame, ours: pl.DataFrame) -> None:
    """A row that overrides one of ours with exactly twice its peak has taken the sparse figure."""
    known = {row["chip"].lower(): row for row in ours.iter_rows(named=True)}
    for i, row in enumerate(theirs.iter_rows(named=True)):
        shipped = known.get(row["chip"].lower(), {})
        for column in (f"{peak}_tflops" for peak in LADDER[1:]):
            value, dense = row[column], shipped.get(column)
            if value and dense and abs(value / dense - 2) < 0.02:
                reason = f"{value:g} is twice the dense peak {dense:g} of {row['chip']}: this is the sparse figure; give the dense one"
                raise DataError(path, reason, row=i + 2, column=column)


def _band(path: str | Path, frame: pl.DataFrame, low: str, value: str, high: str) -> None:
    for column, outwards in ((low, -1), (high, 1)):  # cell by cell, as `read`: what starts the threads of polars cannot be forked
        for row, (end, middle) in enumerate(zip(frame[column].to_list(), frame[value].to_list(), strict=True)):
            if None not in (end, middle) and outwards * end < outwards * middle:
                raise DataError(path, f"{end:g} does not bracket {value} = {middle:g}", row=row + 2, column=column)


def _prior_points(path: str | Path, priors: pl.DataFrame) -> None:
    """A prior has the points that its distribution needs, in order."""
    for i, row in enumerate(priors.iter_rows(named=True)):
        needed = {"constant": ("p50",), "pert": ("p5", "p50", "p95")}.get(row["distribution"], ("p5", "p95"))
        for column in needed:
            if row[column] is None:
                raise DataError(path, f"is blank; {row['distribution']} needs {', '.join(needed)}", row=i + 2, column=column)
        points = [row[c] for c in needed]
        if points != sorted(points):
            raise DataError(path, f"{row['name']}: {', '.join(f'{x:g}' for x in points)} are not in order", row=i + 2, column="p5")


#: Columns with the ends and the middle of a band, by table; ends may be blank.
_BANDS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "chips": (("price_low_usd", "price_usd", "price_high_usd"),),
    "chip_stock": (("chips_low", "chips", "chips_high"), ("h100e_low", "h100e", "h100e_high")),
    "compute_owners": (("h100e_low", "h100e", "h100e_high"),), "capex": (("low_usd_b", "capex_usd_b", "high_usd_b"),),
    **dict.fromkeys(("rents", "rent_history"), (("low_usd_per_gpu_h", "usd_per_gpu_h", "high_usd_per_gpu_h"),)),
    "hardware_prices": (("low_usd", "price_usd", "high_usd"),), "growth_rates": (("low", "factor_per_year", "high"),),
    **dict.fromkeys(("costs", "disclosures", "forecasts"), (("low", "value", "high"),)),
    **dict.fromkeys(("supply_drivers", "multipliers", "power_projections"), (("low", "value", "high"),)),
}  # fmt: skip
#: Consistency across the columns of a row, beyond what a declaration says.
_CHECKS = {"chips": _dense_peaks, "demand_priors": _prior_points, "grids": _whole_price}
