"""A sweep as it lies in its folder, finished or not; or a folder of notebooks that papermill executed."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from workbench.batch.results import gather, read_results
from workbench.batch.tell.words import Label, label
from workbench.errors import InputError, refused
from workbench.notebook import parameters, publish, runtime, stored
from workbench.notebook.parameters import Parameter


@dataclass(frozen=True)
class Outcome:
    """What a report tells."""

    folder: Path
    name: str  #: of the notebook
    question: str
    declared: dict[str, Parameter]
    swept: tuple[str, ...]
    results: tuple[str, ...]  #: every recorded scalar, in the order of the notebook
    runs: pl.DataFrame  #: as of `workbench.batch.results`, without results of runs that did not end well, and numbers that are not finite
    count: int  #: runs that the sweep has when it is finished
    about: dict[str, Any]  #: what sweep.json says; empty for a folder without

    def label(self, name: str) -> Label:
        """What a parameter is called, and its unit."""
        return label(name, self.declared.get(name))

    def meaning(self, name: str) -> str:
        """What the notebook says of a parameter."""
        return self.declared[name].meaning if name in self.declared else ""

    def ranked(self, result: str) -> pl.DataFrame:
        """The runs that give the result, by its value."""
        return self.runs.filter(pl.col(f"results.{result}").is_not_null()).sort(f"results.{result}", maintain_order=True)

    @property
    def done(self) -> pl.DataFrame:
        return self.runs.filter(pl.col("status") == "done")

    @property
    def failed(self) -> pl.DataFrame:
        return self.runs.filter(pl.col("status") != "done")

    @property
    def numbers(self) -> tuple[str, ...]:
        """Results that are numbers, in the order of the notebook: those that differ between runs first."""
        names = [n for n in self.results if self.runs[f"results.{n}"].dtype.is_numeric() and self.runs[f"results.{n}"].count()]
        return tuple(sorted(names, key=lambda n: self.runs[f"results.{n}"].drop_nulls().n_unique() == 1))


def read(folder: str | Path) -> Outcome:
    """The sweep in `folder`, or the runs of one notebook executed there. Raises `InputError` for what is neither, or damaged."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    about, name, notebook, runs = (_sweep if (folder / "sweep.json").is_file() else _executed)(folder)
    given, recorded = ([c.removeprefix(kind) for c in runs.columns if c.startswith(kind)] for kind in ("params.", "results."))
    swept = tuple(n for n in about.get("swept", given) if n in given and (about or runs[f"params.{n}"].n_unique() > 1))
    nb = stored.read(notebook, executed=False)
    asked = (call for cell in stored.code_cells(nb) for call in runtime.calls(cell.source, "record"))
    order = {k.arg: i for i, k in enumerate(k for call in asked for k in call.keywords)}  # which is not kept in the record
    results = tuple(sorted(recorded, key=lambda n: order.get(n, len(order))))
    question = publish.title(nb, name, {n: runs[f"params.{n}"][0] for n in given if n not in swept})
    count = max(int(about.get("count", 0)), runs.height)
    return Outcome(folder, name, question, stored.declared_by(nb), swept, results, _cleaned(runs), count, about)


def _executed(folder: Path) -> tuple[dict[str, Any], str, Path, pl.DataFrame]:
    """Of a folder of executed notebooks: nothing that a sweep says of itself, their name, one of them, and their runs."""
    notebooks = sorted(path for path in folder.glob("*.ipynb") if not path.name.startswith("."))
    if not notebooks:
        raise InputError(f"{folder}: neither a sweep (no sweep.json) nor a folder of executed notebooks (no .ipynb)")
    asked: dict[Path, dict[str, Parameter]] = {path: {} for path in notebooks}
    for path in notebooks:
        with suppress(InputError):  # one that declares in another form
            asked[path] = parameters.of_notebook(path)
    if odd := [path for path in notebooks if asked[path].keys() != asked[notebooks[0]].keys()]:
        raise InputError(f"{folder}: holds runs of several notebooks, as {notebooks[0].name} and {odd[0].name}; report on one of them")
    name = notebooks[0].stem if len(notebooks) == 1 else folder.resolve().name
    return {}, name, notebooks[0], gather(notebooks).runs


def _sweep(folder: Path) -> tuple[dict[str, Any], str, Path, pl.DataFrame]:
    """Of a sweep: what it says of itself, the name of its notebook, that notebook, and its runs."""
    with refused(f"{folder / 'sweep.json'}: cannot be read", (OSError, ValueError, KeyError, TypeError)):
        about = json.loads((folder / "sweep.json").read_text(encoding="utf8"))
        count, name, _ = int(about["count"]), str(about["notebook"]), tuple(about["swept"])
    runs = read_results(folder).runs
    if runs.is_empty():
        raise InputError(f"{folder}: no run has finished yet, of {count:,}")
    if any(runs.select("run", "status").null_count().row(0)):
        raise InputError(f"{folder / 'results.parquet'}: has a run without name or status")
    return about, Path(name).stem, folder / "notebook.ipynb", runs


def _cleaned(runs: pl.DataFrame) -> pl.DataFrame:
    """Results only of runs that ended well, only finite; truth as text."""
    good = pl.col("status") == "done"
    columns = []
    for name, dtype in runs.schema.items():
        column = pl.col(name)
        if dtype == pl.Boolean:
            column = pl.when(column).then(pl.lit("True")).when(~column).then(pl.lit("False"))
        elif dtype.is_float():
            column = pl.when(column.is_finite()).then(column)
        if name.startswith("results."):
            column = pl.when(good).then(column)
        columns.append(column.alias(name))
    return runs.select(columns)
