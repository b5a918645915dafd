"""What executed notebooks recorded, as tables: one row per run, and the recorded frames by name. Notebooks are read, never run."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import polars as pl

from workbench.errors import InputError, said
from workbench.files import Store
from workbench.notebook.stored import Run, run_of_bytes

#: Columns of every table of runs, fields of `Run` all but the first; then come ``params.NAME`` and ``results.NAME``. A status is done,
#: failed, timeout, memory or died; `code_and_data` a hash of the package's modules and of all tables, the user's among them.
COLUMNS: dict[str, Any] = {
    **{"run": pl.String, "status": pl.String, "seconds": pl.Float64, "attempts": pl.Int64, "finished": pl.Datetime("us", "UTC")},
    **dict.fromkeys(("error", "traceback", "notebook", "workbench", "code_and_data", "python"), pl.String),
}
TYPES: dict[str, Any] = {"int": pl.Int64, "float": pl.Float64, "str": pl.String, "bool": pl.Boolean}


@dataclass(frozen=True)
class Results:
    """Runs of notebooks: `runs` has a row per run, `frames` what they recorded by name, with the column ``run`` first."""

    runs: pl.DataFrame
    frames: dict[str, pl.DataFrame]

    def __repr__(self) -> str:
        return f"Results({self.runs.height:,} runs; frames: {', '.join(self.frames) or 'none'})"

    def write(self, store: Store) -> None:
        """Write frames, then runs: a row that can be read has its frames. Raises `OSError` as the file system does."""
        for name, frame in self.frames.items():
            file = quote(name, safe="").replace(".", "%2E")  # neither a path nor hidden
            store.write(f"frames/{file}.parquet", _parquet(frame))
        store.write("results.parquet", _parquet(self.runs))

    def joined(self, runs: Iterable[Run]) -> Results:
        """These results with `runs` after them; a column of two types takes the one that holds both."""
        rows, frames = list[dict[str, Any]](), dict[str, list[pl.DataFrame]]()
        for run in runs:
            rows.append(_row(run))
            for name, stored in run.frames.items():
                frames.setdefault(name, []).append(_frame(run.name, stored))
        names = dict.fromkeys(name for row in rows for name in row)
        columns = [pl.Series(n, [row.get(n) for row in rows], dtype=COLUMNS.get(n), strict=False) for n in names]
        return self + Results(pl.DataFrame(columns), {name: _stacked(parts) for name, parts in frames.items()})

    def __add__(self, other: Results) -> Results:
        names = dict.fromkeys([*self.frames, *other.frames])
        frames = {n: _stacked([results.frames[n] for results in (self, other) if n in results.frames]) for n in names}
        return Results(_ordered(_stacked([self.runs, other.runs])), frames)

    def only(self, keys: Iterable[str]) -> Results:
        """The runs of those keys."""
        wanted = pl.col("run").is_in(pl.Series(sorted(set(keys)), dtype=pl.String).implode())
        frames = {name: frame.filter(wanted) for name, frame in self.frames.items()}
        return Results(self.runs.filter(wanted), {n: f for n, f in frames.items() if f.height})

    def ordered(self, keys: list[str]) -> Results:
        """The runs in the order of `keys`, which hold every run."""
        place = pl.col("run").replace_strict(keys, range(len(keys)), return_dtype=pl.Int64)
        return Results(self.runs.sort(place), {name: frame.sort(place, maintain_order=True) for name, frame in self.frames.items()})


NOTHING = Results(pl.DataFrame(schema=COLUMNS), {})


def read_results(folder: str | Path) -> Results:
    """Results of the sweep in `folder` (or at an address that fsspec knows), also while it runs. Raises `InputError` where there is none.

    Examples
    --------
    >>> read_results("runs/ai_factory").runs.sort("results.usd_per_chip_hour").head(3)  # doctest: +SKIP
    >>> read_results("nowhere")
    Traceback (most recent call last):
    workbench.errors.InputError: nowhere: holds no sweep (no sweep.json)
    """
    store = Store.at(folder)
    try:
        json.loads(store.read("sweep.json"))
    except (OSError, ValueError):
        raise InputError(f"{folder}: holds no sweep (no sweep.json)") from None
    return read_tables(store)


def read_tables(store: Store) -> Results:
    """The tables of a sweep as last written; frames of runs without a row are left out. Raises `InputError` for other files."""
    frames = {}
    try:
        name = "results.parquet"
        written = pl.read_parquet(io.BytesIO(store.read(name)))
        if "run" not in written.columns or any(dtype.is_nested() for dtype in written.dtypes):
            raise pl.exceptions.SchemaError("every run has a name, and one value a column")
        runs = _ordered(_stacked([NOTHING.runs, written])).cast(pl.Schema(COLUMNS))  # those of older versions lack a column
        for name in [f"frames/{file}" for file in store.names("frames") if file.endswith(".parquet")]:
            frame = pl.read_parquet(io.BytesIO(store.read(name)))
            of = unquote(name.removeprefix("frames/").removesuffix(".parquet"))
            frames[of] = frame.filter(pl.col("run").is_in(runs["run"].implode()))
    except FileNotFoundError:
        return NOTHING
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(f"{store}/{name}: cannot be read as a table of a sweep ({said(error)})") from None
    return Results(runs, frames)


def gather(notebooks: str | Path | Iterable[str | Path]) -> Results:
    """Results of executed `notebooks`, or folders of them: of a sweep, of ``workbench run``, or of plain papermill.

    Runs are named by the file, or by the path where two share a name. Raises `InputError` for what is missing, unreadable or not executed.

    Examples
    --------
    >>> from workbench import tables
    >>> found = gather(tables.NOTEBOOKS / "ai_factory.ipynb")  # as it ships, executed
    >>> found.runs.select("run", "status", "params.chip").rows()
    [('ai_factory', 'done', 'GB300')]
    """
    given = [notebooks] if isinstance(notebooks, str | Path) else list(notebooks)
    paths: list[Path] = []
    for path in map(Path, given):
        if not path.exists():
            raise InputError(f"{path}: no such notebook or folder")
        paths += sorted(p for p in path.glob("*.ipynb") if not p.name.startswith(".")) if path.is_dir() else [path]
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else [path.with_suffix("").as_posix() for path in paths]
    return NOTHING.joined(run_of_bytes(path.read_bytes(), path.as_posix(), name) for path, name in zip(paths, names, strict=True))


def _row(run: Run) -> dict[str, Any]:
    """The run's row in the table of runs."""
    row = {"run": run.name} | {name: getattr(run, name) for name in COLUMNS if name != "run"}
    row["notebook"] = str(run.notebook) or None
    row |= {f"params.{name}": _cell(value) for name, value in run.parameters.items()}
    return row | {f"results.{name}": _cell(value) for name, value in run.results.items()}


def _cell(value: Any) -> Any:
    """A value as a table holds it: whole numbers beyond 64 bits as floats, lists and mappings (plain papermill takes them) as JSON."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    return json.dumps(value) if isinstance(value, list | dict) else value


def _frame(run: str, stored: Mapping[str, Any]) -> pl.DataFrame:
    """A recorded frame after the column ``run``; a recorded column of that name becomes ``run_recorded``."""
    names = ["run_recorded" if name == "run" else name for name in stored["columns"]]
    columns = [pl.Series(name, [_cell(row[i]) for row in stored["rows"]], strict=False) for i, name in enumerate(names)]
    return pl.DataFrame([pl.Series("run", [run] * len(stored["rows"]), dtype=pl.String), *columns])


def _stacked(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([part for part in parts if part.width], how="diagonal_relaxed").rechunk()


def _ordered(runs: pl.DataFrame) -> pl.DataFrame:
    kinds = [[c for c in runs.columns if c.startswith(prefix)] for prefix in ("params.", "results.")]
    return runs.select(*COLUMNS, *kinds[0], *kinds[1])


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
