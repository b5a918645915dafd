"""Fits of the constants of training steps and of training memory to measured runs, and the forms of files of such runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue, formats, tables
from workbench.arrays import join, take
from workbench.calibration import crossval
from workbench.calibration.crossval import Study
from workbench.calibration.forms import Form
from workbench.calibration.pool import Pool, Predict, balanced
from workbench.chips.machine import Machine
from workbench.chips.training import constants, measured, memory
from workbench.chips.training.constants import Origin
from workbench.chips.training.measured import Run
from workbench.chips.training.plan import Layout, TrainingPlan
from workbench.chips.training.time import seconds
from workbench.chips.training.work import Work
from workbench.errors import InputError
from workbench.fabric import Cluster
from workbench.llm import Transformer
from workbench.units import GIGA

Array = NDArray[np.float64]
NOISE = 0.05  #: relative spread of repeated measurements between releases
MOST_ROWS = 60  #: that a source counts for
FOLDS = 10  #: of configurations
#: A file of fewer rows refines the constants that ship; a larger one replaces them.
OWN = 500
#: With fewer rows nothing is fitted; frameworks of fewer rows share one interval.
LEAST, FEW = 20, 8
#: What runs agree in whose number ships, as one row.
GROUP = ("framework", "version", "chip", "precision", "kind", "model", "size")


@dataclass(frozen=True)
class Rows:
    """Measured runs, as arrays."""

    runs: list[Run]
    sources: list[str]
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
        plan = TrainingPlan(**{name: np.array([run.plan.get(name, default) for run in runs]) for name, default in own.items()})
        n, batch, sequence = (np.array([getattr(run, name) for run in runs], dtype=float) for name in ("n_chips", "batch", "sequence"))
        names = rows["source_key" if "source_key" in rows.columns else "source"].fill_null("")
        sources = [names[run.position] for run in runs]
        return cls(runs, sources, Transformer.stack([run.llm for run in runs]), Layout.of(plan, n, batch), n, sequence)

    @property
    def origins(self) -> list[Origin]:
        """What each ran on."""
        return [run.origin for run in self.runs]

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

    def study(self, pool: Pool, values: Any, part: Callable[[Any], Predict], tolerance: float = 1e-4) -> Study:
        """Measured values of the runs and their model; a source weighs no more than `MOST_ROWS`."""
        names = np.array(self.sources)
        known = np.array([value or np.nan for value in values])
        return Study(pool, self.origins, known, part, NOISE, weigh=lambda at: balanced(names[at], MOST_ROWS), tolerance=tolerance)


def steps(found: Rows, times: Iterable[float | None]) -> Study:
    """Measured steps [s] and their model."""
    work = found.works()

    def part(at: Any) -> Predict:
        own = take(work, at)
        return lambda logs: np.log(seconds(own, constants.POOL.named(logs)))

    return found.study(constants.POOL, times, part)


def memories(found: Rows, gigabytes: Iterable[float | None]) -> Study:
    """Measured memory of a chip of the heaviest stage [GB] and its model."""

    def part(at: Any) -> Predict:
        shape, layout, sequence = take(found.model, at), take(found.layout, at), found.sequence[at]
        return lambda logs: np.log(memory.memory(shape, layout, sequence, memory.POOL.named(logs)).total / GIGA)

    return found.study(memory.POOL, gigabytes, part, tolerance=1e-9)


def measured_steps(rows: pl.DataFrame, found: Rows) -> list[float | None]:
    """Measured steps of the runs [s]; none where none is stated, or where it would need more than the peak."""

    def step(run: Run) -> float | None:
        time = measured.step_of(rows.row(run.position, named=True))
        flop = 3 * run.llm.forward_flop_per_token(run.sequence / 2) * run.plan.get("trained", 1.0) * run.batch * run.sequence
        return time if time and time > flop / (run.n_chips * catalogue.chip(run.chip).peak(run.precision)) else None

    return [step(run) for run in found.runs]


def evidence(found: Rows, at: Any, rows: pl.DataFrame) -> pl.DataFrame:
    """The table of what was measured: a row for all runs that agree in framework, version, chip, format and model."""
    runs = [found.runs[i] for i in at]
    named = [{name: getattr(run.origin, name) for name in GROUP} for run in runs]
    told = [{"layout": run.layout, "chips": run.n_chips, "source": rows["source"][run.position], "date": run.origin.date} for run in runs]
    frame = pl.DataFrame([a | b for a, b in zip(named, told, strict=True)])
    layouts = pl.col("layout").unique(maintain_order=True)
    several = (
        pl.when(layouts.len() > 3).then(pl.concat_str(layouts.len().cast(pl.String), pl.lit(" layouts"))).otherwise(layouts.str.join("; "))
    )
    chips = pl.concat_str(pl.lit(" on "), pl.col("chips").min(), pl.lit(" to "), pl.col("chips").max(), pl.lit(" chips"))
    groups = frame.group_by(GROUP, maintain_order=True)
    return groups.agg(layout=pl.concat_str(several, chips), rows=pl.len(), source=pl.col("source").first(), date=pl.col("date").first())


def calibrate_steps(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Tables of constants, of what was measured and of intervals, of a file of measured steps.

    Fewer than `OWN` rows, or those of one framework, refine the constants that ship, on top of them, and have no intervals of their own.
    """
    found = Rows.of(rows)
    study = steps(found, measured_steps(rows, found))
    at, own = _own(study)
    fitted = {"training": study.fit(at, study.pool.shipped() if own else None).frame(), "training_evidence": evidence(found, at, rows)}
    return fitted if own else fitted | {"training_errors": crossval.error_table(_cases(study, found, rows))}


def calibrate_memory(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """As `calibrate_steps` the tables ``training_memory`` and ``training_memory_errors``, of a file of measured memory."""
    found = Rows.of(rows)
    study = _memories(rows, found)
    at, own = _own(study)
    fitted = {"training_memory": study.fit(at, study.pool.shipped() if own else None).frame()}
    if own:
        return fitted
    names = np.array([origin.framework for origin in found.origins])
    logs = study.errors(_folds(run.configuration for run in found.runs))
    cases = [(name, logs[names == name]) for name in dict.fromkeys(names[at].tolist()) if np.sum(names[at] == name) >= FEW]
    cases.append(("framework not measured", crossval.evenly(study.errors(names), names)))
    return fitted | {"training_memory_errors": crossval.error_table(cases)}


def _own(study: Study) -> tuple[Any, bool]:
    """Positions of what was measured, and whether it refines what ships."""
    at = np.flatnonzero(study.measured)
    if not at.size:
        raise InputError("no row that can be predicted states what was measured: nothing to calibrate on")
    return at, at.size < OWN or len({study.origins[i].framework for i in at}) == 1


def _cases(study: Study, found: Rows, rows: pl.DataFrame) -> Iterable[tuple[str, Array]]:
    """Errors of runs that were left out: by framework and what was said of it, and where something was not measured."""
    cases: dict[str, list[float]] = {}
    for _, near, error in _left_out(study, found, rows, _folds(run.configuration for run in found.runs), constants.TOLD):
        if not near.missing:
            cases.setdefault(f"{near.origin.framework}|{near.told}", []).append(error)
    few: dict[str, list[float]] = {}
    for case, errors in cases.items():
        if len(errors) >= FEW:
            yield case, np.array(errors)
        else:
            few.setdefault(f"few rows|{case.split('|')[1]}", []).extend(errors)
    yield from ((case, np.array(errors)) for case, errors in few.items())
    for name in constants.NOT_MEASURED:
        out = _left_out(study, found, rows, _folds(str(getattr(origin, name)) for origin in found.origins), ("version",))
        apart = [(source, error) for source, near, error in out if name in near.missing]
        yield f"{name} not measured", crossval.evenly(np.array([e for _, e in apart]), [source for source, _ in apart])


def _left_out(
    study: Study, found: Rows, rows: pl.DataFrame, groups: Any, told: Iterable[str]
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
                near = [constants.resolve(constants.only(study.origins[i], what)) for i in out]
                logs = study.part(out)(fitted[0].logs([one.origin for one in near])) - np.log(study.values[out])
                yield from ((found.sources[i], one, log) for i, one, log in zip(out, near, logs, strict=True))


def _folds(names: Iterable[str]) -> Any:
    return crossval.folds(names, FOLDS)


def _groups(rows: pl.DataFrame, column: str) -> Any:
    """What is left out together: a value of a column, or the configurations of one of `FOLDS` folds."""
    if column != "configuration":
        return rows[column].cast(pl.String).fill_null("").to_numpy()
    named = {run.position: run.configuration for run in measured.read(rows)[0]}
    return _folds(named.get(position, "") for position in range(rows.height))


def _refit_steps(rows: pl.DataFrame) -> dict[str, pl.DataFrame] | None:
    found = Rows.of(rows)
    study = steps(found, measured_steps(rows, found))
    at = np.flatnonzero(study.measured)
    return {constants.POOL.table: study.fit(at).frame(), constants.INDEX: evidence(found, at, rows)} if at.size >= LEAST else None


def _refit_memory(rows: pl.DataFrame) -> dict[str, pl.DataFrame] | None:
    study = _memories(rows, Rows.of(rows))
    at = np.flatnonzero(study.measured)
    return {memory.POOL.table: study.fit(at).frame()} if at.size >= LEAST else None


def _memories(rows: pl.DataFrame, found: Rows) -> Study:
    return memories(found, [measured.memory_of(rows.row(run.position, named=True)) for run in found.runs])


STEP = {"ask": measured.ask("step_s", "unlimited.seconds", "unlimited.low", "unlimited.high"), "value": lambda row, _: measured.step_from_rate(row)}
MEMORY = {
    "ask": measured.ask("mem_gb", "memory.total * 1e-9", "memory.low * 1e-9", "memory.high * 1e-9"),
    "value": lambda row, _: measured.memory_of(row),
}
OF_STEPS = STEP | {"calibrate": calibrate_steps, "refit": _refit_steps}
OF_MEMORY = MEMORY | {"calibrate": calibrate_memory, "refit": _refit_memory}
BOTH = {"groups": _groups, "leave_out": ("configuration",)}
RUNS = {"text": measured.TEXT, "numbers": measured.NUMBERS, "measured": measured.MEASURED, "optional": measured.OPTIONAL} | BOTH
MLPERF = {"text": measured.MLPERF_TEXT, "numbers": measured.MLPERF_NUMBERS, "measured": measured.MEASURED} | BOTH
#: Kinds of measured rows, and the forms of their files: rows of runs, and results of MLPerf Training.
FORMS: dict[str, tuple[Form, ...]] = {
    "training": (Form(**RUNS, **OF_STEPS), Form(**MLPERF, **STEP, refit=_refit_steps)),
    "training-memory": (Form(**RUNS, **OF_MEMORY), Form(**MLPERF, **MEMORY, refit=_refit_memory)),
}
