"""Fits of the constants of training steps and of training memory to measured runs, and the forms of files of such runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue, formats, tables
from workbench.arrays import Array, join, take
from workbench.calibration import crossval
from workbench.calibration.forms import Form
from workbench.calibration.pool import Fit, Pool, Predict, balanced
from workbench.chips.machine import Machine
from workbench.chips.training import constants, measured, memory
from workbench.chips.training.plan import Layout, TrainingPlan
from workbench.chips.training.time import NARROW, terms
from workbench.chips.training.work import Work
from workbench.errors import InputError
from workbench.fabric import Cluster
from workbench.llm import Transformer
from workbench.units import GIGA

NOISE = 0.05  #: relative spread of repeated measurements between releases
MOST_ROWS = 60  #: that a source counts for
FOLDS = 10  #: of configurations
OWN = 500  #: A file of fewer rows refines the constants that ship; a larger one replaces them
LEAST, FEW = 20, 8  #: with fewer rows nothing is fitted; frameworks of fewer rows share one interval
Model = Callable[[pl.DataFrame, "Rows"], crossval.Study]
Cases = Callable[[crossval.Study, "Rows", pl.DataFrame], Iterable[tuple[str, Array]]]
GROUP = ("framework", "version", "chip", "precision", "kind", "model", "size")  #: what runs agree in whose number ships, as one row


@dataclass(frozen=True)
class Rows:
    """Measured runs, as arrays."""

    runs: list[measured.Run]
    origins: list[constants.Origin]
    sources: Any
    model: Transformer
    layout: Layout
    n_chips: Array
    sequence: Array

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Rows:
        """The rows that state enough. Raises `InputError` where none does."""
        runs, _ = measured.read(rows)
        if not runs:
            raise InputError("no row states enough: nothing to calibrate on")
        own = {f.name: f.default for f in fields(TrainingPlan) if f.name != "precision"}
        plan = TrainingPlan(**{name: np.array([run.plan.get(name, of) for run in runs]) for name, of in own.items()})  # type: ignore[arg-type]
        n, batch, sequence = (np.array([getattr(run, name) for run in runs], dtype=float) for name in ("n_chips", "batch", "sequence"))
        names = rows["source_key" if "source_key" in rows.columns else "source"].fill_null("").to_numpy()
        model = Transformer.stack([run.llm for run in runs])
        return cls(runs, [run.origin for run in runs], names[[run.position for run in runs]], model, Layout.of(plan, n, batch), n, sequence)

    def works(self) -> Work:
        """Work of every run: those of a chip and precision at once."""
        parts, places = [], []
        systems = [(run.chip, run.precision) for run in self.runs]
        for chip, precision in dict.fromkeys(systems):
            at = np.array([i for i, system in enumerate(systems) if system == (chip, precision)])
            machine = Machine.of(Cluster(chip, 1), formats.FORMATS[precision])
            parts.append(Work.of(take(self.model, at), take(self.layout, at), machine, self.n_chips[at], self.sequence[at]))
            places.append(at)
        return take(join(parts, [at.size for at in places]), np.argsort(np.concatenate(places)))

    def study(self, pool: Pool, values: Any, part: Callable[[Any], Predict], tolerance: float = 1e-4) -> crossval.Study:
        """Measured values of the runs and their model; a source weighs no more than `MOST_ROWS`."""
        known = np.array(values, dtype=float)
        most = np.full((known.size, len(pool.names)), np.inf)
        most[:, [name == "narrow" for name in pool.names]] = np.log(NARROW)
        how: dict[str, Any] = {"weigh": lambda at: balanced(self.sources[at], MOST_ROWS), "most": most, "tolerance": tolerance}
        return crossval.Study(pool, self.origins, known, part, NOISE, **how)


def steps(rows: pl.DataFrame, found: Rows) -> crossval.Study:
    """Measured steps [s] and their model; a step that would need more than the peak is none."""
    work, times = found.works(), []
    for run in found.runs:
        time = measured.step_of(rows.row(run.position, named=True))
        flop = 3 * run.llm.forward_flop_per_token(run.sequence / 2) * run.plan.get("trained", 1.0) * run.batch * run.sequence
        fastest = flop / (run.n_chips * catalogue.chip(run.chip).peak(run.precision))
        times.append(time if time and time > fastest else np.nan)

    def part(at: Any) -> Predict:
        own = take(work, at)
        return lambda logs: np.log(terms(own, constants.POOL.named(logs))[0])

    return found.study(constants.POOL, times, part)


def memories(rows: pl.DataFrame, found: Rows) -> crossval.Study:
    """Measured memory of a chip, as each run prints it [GB], and its model."""
    printed, habits = np.array([run.printed for run in found.runs]), np.array([memory.habits(origin) for origin in found.origins])

    def part(at: Any) -> Predict:
        took = partial(memory.memory, take(found.model, at), take(found.layout, at), found.sequence[at])

        def predict(logs: Array) -> Array:
            logged = took(memory.constants(memory.POOL.named(logs), *habits[at].T)).logged
            return np.log(np.select([printed[at] == figure for figure in logged], [of["total"] for of in logged.values()]) / GIGA)

        return predict

    gigabytes = [measured.memory_of(rows.row(run.position, named=True)) or np.nan for run in found.runs]
    return found.study(memory.POOL, gigabytes, part, tolerance=1e-9)


def evidence(found: Rows, at: Any, rows: pl.DataFrame) -> pl.DataFrame:
    """The table of what was measured: a row for all runs that agree in framework, version, chip, format and model."""
    groups: dict[tuple[str, ...], list[measured.Run]] = {}
    for i in at:
        groups.setdefault(tuple(getattr(found.origins[i], name) for name in GROUP), []).append(found.runs[i])
    table = []
    for key, runs in groups.items():
        n = [run.n_chips for run in runs]
        layouts = {" ".join(f"{name}{run.plan.get(name, 1)}" for name in ("tp", "pp", "cp", "ep")) for run in runs}
        layout = f"{sorted(layouts)[0] if len(layouts) == 1 else f'{len(layouts)} layouts'}, {min(n)} to {max(n)} chips"
        told = [text or None for text in (*key, layout, rows["source"][runs[0].position], runs[0].origin.date)]
        table.append((*told, len(runs)))
    return pl.DataFrame(table, schema=[*GROUP, "layout", "source", "date", "rows"], orient="row")


def calibrated(rows: pl.DataFrame, model: Model, cases: Cases) -> dict[str, pl.DataFrame]:
    """Tables of constants and of intervals of a file of measured runs; of steps, also of what was measured.

    Fewer than `OWN` rows, or those of one framework, refine the constants that ship, on top of them, and have no intervals of their own.
    """
    found = Rows.of(rows)
    study = model(rows, found)
    at = np.flatnonzero(study.measured)
    if not at.size:
        raise InputError("no row that can be predicted states what was measured: nothing to calibrate on")
    few = at.size < OWN or len({found.origins[i].framework for i in at}) == 1
    tables_ = _fitted(study, found, rows, at, study.pool.shipped() if few else None)
    if not few:
        tables_[f"{study.pool.table}_errors"] = crossval.error_table(cases(study, found, rows))
    return {name.removeprefix("calibration/"): table for name, table in tables_.items()}


def refitted(rows: pl.DataFrame, model: Model) -> dict[str, pl.DataFrame] | None:
    """Tables fitted to these rows alone; None of too few."""
    found = Rows.of(rows)
    study = model(rows, found)
    at = np.flatnonzero(study.measured)
    return _fitted(study, found, rows, at) if at.size >= LEAST else None


def _fitted(study: crossval.Study, found: Rows, rows: pl.DataFrame, at: Any, base: Fit | None = None) -> dict[str, pl.DataFrame]:
    constants_ = {study.pool.table: study.fit(at, base).frame()}
    return constants_ | ({constants.INDEX: evidence(found, at, rows)} if study.pool is constants.POOL else {})


def of_memory(study: crossval.Study, found: Rows, _: pl.DataFrame) -> Iterable[tuple[str, Array]]:
    """Errors of memory by framework, of runs that were left out, or of sources where it has several; and of frameworks left out."""
    names = np.array([origin.framework for origin in found.origins])
    several = [len({*found.sources[(names == name) & study.measured]}) > 1 for name in names]
    logs = np.where(several, study.errors(found.sources), study.errors(crossval.folds((run.configuration for run in found.runs), FOLDS)))
    yield from ((name, logs[at]) for name in dict.fromkeys(names.tolist()) if np.isfinite(logs[at := names == name]).sum() >= FEW)
    yield "framework not measured", crossval.evenly(study.errors(names), names)


def of_steps(study: crossval.Study, found: Rows, rows: pl.DataFrame) -> Iterable[tuple[str, Array]]:
    """Errors of runs that were left out: by framework and what was said of it, and where something was not measured."""
    cases: dict[str, list[float]] = {}
    for _, near, error in _left_out(study, found, rows, crossval.folds((run.configuration for run in found.runs), FOLDS), constants.TOLD):
        if not near.missing:
            cases.setdefault(f"{near.origin.framework}|{near.told}", []).append(error)
    for case in [case for case, errors in cases.items() if len(errors) < FEW]:
        cases.setdefault(f"few rows|{case.split('|')[1]}", []).extend(cases.pop(case))
    yield from ((case, np.array(errors)) for case, errors in cases.items())
    for name in constants.NOT_MEASURED:
        out = _left_out(study, found, rows, crossval.folds((str(getattr(origin, name)) for origin in found.origins), FOLDS), ("version",))
        apart = [(source, error) for source, near, error in out if name in near.missing]
        yield f"{name} not measured", crossval.evenly(np.array([e for _, e in apart]), [source for source, _ in apart])


def _left_out(
    study: crossval.Study, found: Rows, rows: pl.DataFrame, groups: Any, told: Iterable[str]
) -> Iterator[tuple[str, constants.Resolved, float]]:
    """Of every run by constants of other groups: its source, what it was resolved to where so much was told, and the error's logarithm."""
    at = np.flatnonzero(study.measured)
    parts = crossval.left_out(groups[at], lambda rest: (study.fit(at[rest]), evidence(found, at[rest], rows)), least=LEAST)
    for inside, fitted in parts:
        if fitted is None:
            continue
        out = at[inside]
        with tables.instead({constants.INDEX: fitted[1]}):
            for what in told:
                near = [constants.resolve(replace(found.origins[i], **constants.TOLD[what])) for i in out]
                logs = study.part(out)(fitted[0].logs([one.origin for one in near])) - np.log(study.values[out])
                yield from ((found.sources[i], one, log) for i, one, log in zip(out, near, logs, strict=True))


def _groups(rows: pl.DataFrame, column: str) -> Any:
    """What is left out together: a value of a column, or the configurations of one of `FOLDS` folds."""
    if column != "configuration":
        return rows[column].cast(pl.String).fill_null("").to_numpy()
    named = {run.position: run.configuration for run in measured.read(rows)[0]}
    return crossval.folds((named.get(position, "") for position in range(rows.height)), FOLDS)


def _forms(value: Callable[[Any], float | None], model: Model, cases: Cases, *asked: str) -> tuple[Form, Form]:
    """The forms of a kind of measured rows: rows of runs, and results of MLPerf Training."""
    form = Form(
        measured.TEXT, measured.NUMBERS, measured.ask(*asked), measured.MEASURED, measured.OPTIONAL, value=lambda row, _: value(row),
        calibrate=lambda rows: calibrated(rows, model, cases),
        folds=lambda rows, groups: crossval.left_out(groups, lambda rest: refitted(rows[rest], model)),
        groups=_groups, leave_out=("configuration",),
    )  # fmt: skip
    return form, replace(form, text=measured.MLPERF_TEXT, numbers=measured.MLPERF_NUMBERS, optional=())


_SECONDS = ("step_s", "unlimited.seconds[0]", "unlimited.low[0]", "unlimited.high[2]")
_MEMORY = ("mem_gb", "memory.total[0] * 1e-9", "memory.low[2] * 1e-9", "memory.high[0] * 1e-9")
FORMS = {
    "training": _forms(measured.step_from_rate, steps, of_steps, *_SECONDS),
    "training-memory": _forms(measured.memory_of, memories, of_memory, *_MEMORY),
}
