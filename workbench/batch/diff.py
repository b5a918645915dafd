"""Two runs or sweeps compared: which result moved, by how much, and because of which input or table."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from workbench import files
from workbench.batch.results import gather, read_results
from workbench.batch.tell.words import between, label
from workbench.errors import InputError
from workbench.notebook.run import execute
from workbench.notebook.stored import Run, read

SHOWN = 12  #: results of which a line is printed


def _runs(path: str) -> tuple[pl.DataFrame, dict[str, str]]:
    """Runs that ended well, and the hash of every table that they were made from; none of older or foreign runs."""
    sweep = (Path(path) / "sweep.json").is_file()
    runs = (read_results(path) if sweep else gather(path)).runs.filter(pl.col("status") == "done")
    if runs.is_empty():
        raise InputError(f"{path}: none of its runs finished without an error")
    with suppress(InputError):
        return runs, read(Path(path if sweep else "") / runs["notebook"][0]).metadata.get("workbench", {}).get("tables", {})
    return runs, {}


def _moved(pairs: pl.DataFrame) -> pl.DataFrame:
    """Numbers that two sides recorded: change in the middle of the pairs and at most, the most moved first."""
    rows = []
    names = [c for c, kind in pairs.schema.items() if c.startswith("results.") and kind.is_numeric() and f"{c} new" in pairs.columns]
    for name in names:
        both = pairs.select(old=name, new=f"{name} new").drop_nulls().cast(pl.Float64)
        both = both.with_columns(share=((pl.col("new") - pl.col("old")) / pl.col("old").abs()).fill_nan(0.0))
        if both.height and (both["share"].abs() > 1e-9).any():
            most = both.sort(pl.col("share").abs())[-1]
            rows.append((name.removeprefix("results."), both["share"].median(), *most.row(0)))
    schema = {"result": pl.String, "median": pl.Float64, "old": pl.Float64, "new": pl.Float64, "share": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort(pl.col("share").abs(), descending=True, maintain_order=True)


def since(out: str | Path, names: Iterable[str]) -> Callable[[Run], str]:
    """What tells of a run into `out` what has moved since what is there under `names`, and why; nothing where nothing has."""
    kept = tempfile.TemporaryDirectory()
    for name in names:
        with suppress(OSError):
            (Path(kept.name) / f"{name}.ipynb").write_bytes(files.read(files.place(out, f"{name}.ipynb")))

    def told(run: Run) -> str:
        with suppress(InputError):
            first, *more = lines(f"{kept.name}/{run.name}.ipynb", str(run.notebook))
            return "" if "; 0 results" in first else "\n".join(more)
        return ""

    return told


def lines(old: str, new: str, why: bool = False) -> Iterator[str]:
    """What `workbench diff` prints. With `why`, `new` runs again with each input set back, and with all: the rest is tables and code.

    Raises `InputError` for what is no run, runs of which no two share the parameters that vary, and `why` of several runs.
    """
    (before, old_tables), (after, new_tables) = _runs(old), _runs(new)
    shared = [c for c in before.columns if c.startswith("params.") and c in after.columns]
    if 2 * len(shared) < max(sum(c.startswith("params.") for c in side.columns) for side in (before, after)):
        raise InputError(f"{old} and {new}: of different notebooks, whose parameters are not the same; runs of one are compared")
    fixed = {c: (before[c][0], after[c][0]) for c in shared if before[c].n_unique() == after[c].n_unique() == 1}
    inputs: dict[str, tuple[Any, Any]] = {c.removeprefix("params."): ends for c, ends in fixed.items() if ends[0] != ends[1]}
    keys = [pl.col(c).cast(pl.String) for c in shared if c not in fixed] or [pl.lit("the only one")]
    pairs = before.with_columns(at=pl.concat_list(keys)).join(after.with_columns(at=pl.concat_list(keys)), "at", suffix=" new")
    if pairs.is_empty():
        raise InputError(f"{old} and {new}: no two runs share the values of {', '.join(c[7:] for c in shared if c not in fixed)}")
    moved, tables = _moved(pairs), sorted(t for t in {*old_tables, *new_tables} if old_tables.get(t) != new_tables.get(t))
    yield f"{pairs.height:,} of {before.height:,} and {after.height:,} runs compared; {moved.height} results moved"
    for row in moved.head(SHOWN).iter_rows(named=True):
        middle = f"; in the median {row['median']:+.2%}" if pairs.height > 1 else ""
        yield f"  {row['result']}: {' -> '.join(between(row['old'], row['new'], label(row['result']).unit))} ({row['share']:+.2%}{middle})"
    causes = [f"{name} {ends[0]} -> {ends[1]}" for name, ends in inputs.items()] + [f"table {name}" for name in tables]
    if not tables and before["code_and_data"][0] != after["code_and_data"][0]:
        causes.append("code" if old_tables and new_tables else "code or tables, of which no record was kept")
    yield "because of " + "; ".join(causes) if causes else "nothing that these runs record differs"
    if why and pairs.height > 1:
        raise InputError("--why: two single runs are expected, because each input is set back in a run of its own")
    for back in [*([name] for name in inputs), *([[*inputs]] if len(inputs) != 1 else [])] if why else []:
        given = {name: str(inputs[name][0] if name in back else after[f"params.{name}"][0]) for name in (c[7:] for c in shared)}
        with tempfile.TemporaryDirectory() as folder:
            again = execute(new, folder, given, progress=False).results
        effects = [f"{r['result']} {(r['new'] - again[r['result']]) / abs(r['old']):+.2%}" for r in moved.head(3).iter_rows(named=True)]
        yield f"  {' and '.join(back) or 'no input'} alone: {', '.join(effects)}"
