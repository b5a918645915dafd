"""What executed notebooks recorded, as tables: one row a run, and the recorded frames by name. Notebooks are read, never run."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import polars as pl

from workbench.errors import InputError, said
from workbench.files import Store
from workbench.notebook import parameters
from workbench.notebook.parameters import Parameter
from workbench.notebook.runtime import RESULTS_MIME

#: Columns of every table of runs; then come ``params.NAME`` and ``results.NAME``.
COLUMNS: dict[str, Any] = {
    "run": pl.String,
    "status": pl.String,  # done | failed | timeout | memory | died
    "seconds": pl.Float64,
    "attempts": pl.Int64,
    "finished": pl.Datetime("us", "UTC"),
    "error": pl.String,
    "traceback": pl.String,
    "notebook": pl.String,
    "workbench": pl.String,
    "code_and_data": pl.String,  # hash of the package's modules and of all tables, the user's among them
    "python": pl.String,
}
TYPES: dict[str, Any] = {"int": pl.Int64, "float": pl.Float64, "str": pl.String, "bool": pl.Boolean}
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Run:
    """What one executed notebook says: a row of the table of runs, and its recorded frames."""

    row: dict[str, Any]
    frames: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """Runs of notebooks: `runs` has a row a run, `frames` what they recorded by name, with the column ``run`` first."""

    runs: pl.DataFrame
    frames: dict[str, pl.DataFrame]

    def write(self, store: Store) -> None:
        """Write frames, then runs: a row that can be read has its frames. Raises `OSError` as the file system does."""
        for name, frame in self.frames.items():
            store.write(f"frames/{_file_name(name)}.parquet", _parquet(frame))
        store.write("results.parquet", _parquet(self.runs))

    def joined(self, runs: Iterable[Run]) -> Results:
        """These results with `runs` after them; a column of two types takes the one that holds both."""
        runs = list(runs)
        frames: dict[str, list[pl.DataFrame]] = {}
        for run in runs:
            for name, stored in run.frames.items():
                frames.setdefault(name, []).append(_frame(run.row["run"], stored))
        return self + Results(_rows([run.row for run in runs]), {name: _stacked(parts) for name, parts in frames.items()})

    def __add__(self, other: Results) -> Results:
        names = dict.fromkeys([*self.frames, *other.frames])
        frames = {n: _stacked([results.frames[n] for results in (self, other) if n in results.frames]) for n in names}
        return Results(_ordered(_stacked([self.runs, other.runs])), frames)

    def only(self, keys: Iterable[str]) -> Results:
        """The runs of those keys."""
        wanted = pl.Series("run", sorted(set(keys)), dtype=pl.String)
        frames = {name: frame.filter(pl.col("run").is_in(wanted.implode())) for name, frame in self.frames.items()}
        return Results(self.runs.filter(pl.col("run").is_in(wanted.implode())), {n: f for n, f in frames.items() if f.height})

    def ordered(self, keys: list[str]) -> Results:
        """The runs in the order of `keys`, which hold every run."""
        place = pl.col("run").replace_strict(keys, range(len(keys)), return_dtype=pl.Int64)
        return Results(self.runs.sort(place), {name: frame.sort(place, maintain_order=True) for name, frame in self.frames.items()})


NOTHING = Results(pl.DataFrame(schema=COLUMNS), {})


def read_results(folder: str | Path) -> Results:
    """Results of the sweep in `folder` (or at an address that fsspec knows), also while it runs.

    Raises
    ------
    InputError
        For a folder that holds no sweep.
    """
    store = Store.at(folder)
    try:
        json.loads(store.read("sweep.json"))
    except (OSError, ValueError):
        raise InputError(f"{folder}: holds no sweep (no sweep.json)") from None
    return read_tables(store)


def read_tables(store: Store) -> Results:
    """The tables of a sweep as last written; none before the first were. Frames of runs that have no row yet are left out.

    Raises `InputError` for a file that is none of a sweep's.
    """
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
    """Results of executed notebooks: of a sweep, of ``workbench run``, or of plain papermill.

    Parameters
    ----------
    notebooks : path, or paths
        Notebooks, or folders of notebooks. Runs are named by the file, or by the path where two files share a name.

    Raises
    ------
    InputError
        For a path that does not exist, or a notebook that cannot be read or was not executed.
    """
    given = [notebooks] if isinstance(notebooks, str | Path) else list(notebooks)
    paths: list[Path] = []
    for path in map(Path, given):
        if not path.exists():
            raise InputError(f"{path}: no such notebook or folder")
        paths += sorted(p for p in path.glob("*.ipynb") if not p.name.startswith(".")) if path.is_dir() else [path]
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else [path.with_suffix("").as_posix() for path in paths]
    return NOTHING.joined(of_bytes(path.read_bytes(), path.as_posix(), name) for path, name in zip(paths, names, strict=True))


def of_bytes(data: bytes, path: str, run: str) -> Run:
    """What the executed notebook `data` says; `path` is for messages and for the column ``notebook``."""
    import nbformat  # takes 0.8 s, most of it for a grammar of its own dependencies

    try:
        nb = nbformat.reads(data.decode("utf8"), as_version=4)
        return of_notebook(nb, path, run)
    except InputError:
        raise
    except Exception as error:  # nbformat raises whatever its conversion stumbles over
        raise InputError(f"{path}: not a notebook ({said(error)})") from None


def of_notebook(nb: Mapping[str, Any], path: str, run: str) -> Run:
    """What an executed notebook says.

    A sweep wrote status, seconds and versions into ``metadata.workbench``; for others they follow from what papermill wrote, and from the
    outputs: a cell that raised, without leave to, is a failed run.
    """
    code = [cell for cell in nb["cells"] if cell["cell_type"] == "code"]
    if code and not any(cell["execution_count"] or cell["outputs"] for cell in code) and "workbench" not in nb["metadata"]:
        raise InputError(f"{path}: not executed: none of its {len(code)} code cells has run")
    papermill = nb["metadata"].get("papermill", {})
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"run": run, "status": "done", "attempts": 1, "notebook": path}
    row |= {"python": nb["metadata"].get("language_info", {}).get("version"), "seconds": papermill.get("duration")}
    row["finished"] = papermill.get("end_time")
    raised = [o for c in code if "raises-exception" not in _tags(c) for o in c["outputs"] if o["output_type"] == "error"]
    if raised:
        row |= {"status": "failed", "error": f"{raised[-1]['ename']}: {raised[-1]['evalue']}"}
        row["traceback"] = _ANSI.sub("", "\n".join(raised[-1]["traceback"]))
    elif papermill.get("exception") or not all(was_run(cell) for cell in code):
        row |= {"status": "died", "error": "the notebook was not run to its end"}
    row |= {name: value for name, value in nb["metadata"].get("workbench", {}).items() if name in COLUMNS and name != "run"}
    if isinstance(row["finished"], str):
        moment = datetime.fromisoformat(row["finished"])
        row["finished"] = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

    given = papermill.get("parameters", {})
    declared = _declared(next(("".join(c["source"]) for c in code if "parameters" in _tags(c)), ""))
    for name in dict.fromkeys([*declared, *given]):
        row[f"params.{name}"] = _cell(given.get(name, declared[name].default if name in declared else None))
        if name in declared and declared[name].type == "float" and row[f"params.{name}"] is not None:
            row[f"params.{name}"] = float(row[f"params.{name}"])
    frames: dict[str, dict[str, Any]] = {}
    for output in (o for c in code for o in c["outputs"]):
        if stored := output.get("data", {}).get(RESULTS_MIME):
            row |= {f"results.{name}": _cell(value) for name, value in stored["scalars"].items()}
            frames |= json.loads(json.dumps(stored["frames"]))  # without nbformat's classes, which who receives them would import
    return Run(row, frames)


def schema(declared: Mapping[str, Parameter]) -> pl.DataFrame:
    """The table of no runs of a notebook that declares these parameters: its columns are typed before the first run is done."""
    return pl.DataFrame(schema=COLUMNS | {f"params.{p.name}": TYPES[p.type] for p in declared.values()})


@lru_cache(maxsize=64)
def _declared(source: str) -> dict[str, Parameter]:
    """Parameters of the cell tagged so; none of a notebook that declares them in another form."""
    try:
        return parameters.declared(source)
    except InputError:
        return {}


def was_run(cell: Mapping[str, Any]) -> bool:
    """Whether a cell was run to its end, which papermill does not say of one whose kernel died."""
    if not "".join(cell["source"]).strip() or "skip-execution" in _tags(cell):
        return True
    times = cell["metadata"].get("execution", {})
    return cell["execution_count"] is not None and (not times or "shell.execute_reply" in times)


def _tags(cell: Mapping[str, Any]) -> list[str]:
    tags: list[str] = cell["metadata"].get("tags", [])
    return tags


def _cell(value: Any) -> Any:
    """A value as a table holds it: whole numbers beyond 64 bits as floats, lists and mappings (plain papermill takes them) as JSON."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    return json.dumps(value) if isinstance(value, list | dict) else value


def _rows(rows: list[dict[str, Any]]) -> pl.DataFrame:
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame([pl.Series(n, [row.get(n) for row in rows], dtype=COLUMNS.get(n), strict=False) for n in names])


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


def _file_name(name: str) -> str:
    """The name of a frame as one of a file: neither a path nor hidden."""
    return quote(name, safe="").replace(".", "%2E")


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
