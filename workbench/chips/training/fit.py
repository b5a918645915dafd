"""Fits of the constants of training steps and of training memory to measured runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench.arrays import take
from workbench.calibration import crossval
from workbench.calibration.crossval import Study
from workbench.calibration.pool import Predict, balanced
from workbench.chips.training import constants, measured, memory
from workbench.chips.training.constants import Origin
from workbench.chips.training.measured import Rows
from workbench.chips.training.time import seconds
from workbench.errors import InputError
from workbench.units import GIGA

Array = NDArray[np.float64]
NOISE = 0.05  #: relative spread of repeated measurements between releases
MOST_ROWS = 60  #: that a stack counts for
FOLDS = 10  #: of configurations
#: A file of fewer rows refines the constants that ship; a larger one replaces them.
OWN = 500
#: Stacks with fewer rows share one interval.
FEW = 8


def steps(found: Rows, times: Array) -> Study:
    """Measured steps [s] and their model."""
    work = measured.works(found)

    def part(at: Any) -> Predict:
        own = take(work, at)
        return lambda logs: np.log(seconds(own, constants.POOL.named(logs)))

    return Study(constants.POOL, found.origins, times, part, NOISE, constants.half_width, _weigh)


def memories(rows: pl.DataFrame, found: Rows) -> Study:
    """Measured memory of a chip of the heaviest stage [GB] and its model."""
    gigabytes = np.array([rows.row(int(at), named=True).get("mem_gb") for at in found.position], dtype=float)

    def part(at: Any) -> Predict:
        shape, layout = found.of(at)
        sequence = found.sequence[at]
        return lambda logs: np.log(memory.memory(shape, layout, sequence, memory.POOL.named(logs)).total / GIGA)

    return Study(memory.POOL, found.origins, gigabytes, part, NOISE, lambda o, _: memory.half_width(o.stack), _weigh, tolerance=1e-9)


def measured_steps(rows: pl.DataFrame, found: Rows) -> Array:
    """Measured steps of the rows that can be predicted [s]; nan where none is stated, or where it would need more than the peak."""
    times = np.array([step_of(rows.row(int(at), named=True)) or np.nan for at in found.position])
    flop = np.array([3 * llm.forward_flop_per_token(s / 2) for llm, s in zip(found.llms, found.sequence, strict=True)]) * found.plan.trained
    peak = np.array([chip.peak(o.precision) for chip, o in zip(found.chips, found.origins, strict=True)])
    fastest = flop * found.batch * found.sequence / (found.n_chips * peak)
    return np.where(times > fastest, times, np.nan)


def step_of(row: dict[str, Any]) -> float | None:
    """The measured step [s], from tokens a second where only those are stated."""
    rate = row.get("tok_s_chip")
    stated = (rate, row["gbs"], row["seq"], row["n_chips"])
    return row.get("step_s") or (row["gbs"] * row["seq"] / (rate * row["n_chips"]) if all(stated) else None)


def calibrate_steps(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables ``training`` (constants) and ``training_errors`` (intervals) of a file of measured steps.

    Fewer than `OWN` rows, or those of one stack, refine the constants that ship, on top of them: the table ``training`` alone.
    """
    found, _ = measured.read(rows)
    if not found.llms:
        raise InputError("no row states a step and can be predicted: nothing to calibrate on")
    study = steps(found, measured_steps(rows, found))
    stack = np.array([o.stack for o in found.origins])

    def cases() -> Iterable[tuple[str, Array]]:
        logs = {column: study.errors(measured.groups(rows, found, column, FOLDS)) for column in ("configuration", "source_key", "chip")}
        at = np.isfinite(logs["configuration"])
        names = list(dict.fromkeys(stack[at].tolist()))
        few = [name for name in names if np.sum(stack[at] == name) < FEW]
        yield from ((name, logs["configuration"][at & (stack == name)]) for name in names if name not in few)
        yield "stack of few rows", logs["configuration"][at & np.isin(stack, few)]
        for case, column in (("stack not measured", "source_key"), ("chip not measured", "chip")):
            yield case, crossval.evenly(logs[column][at], stack[at])

    return _calibrated("training", study, stack, cases, "no row states a step and can be predicted")


def calibrate_memory(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables ``training_memory`` (constants) and ``training_memory_errors`` (intervals) of a file of measured runs.

    Fewer than `OWN` rows, or those of one stack, refine the constants that ship, on top of them: the table ``training_memory`` alone.
    """
    found, _ = measured.read(rows)
    study = memories(rows, found)
    stack = np.array([o.stack for o in found.origins])

    def cases() -> Iterable[tuple[str, Array]]:
        logs = study.errors(measured.groups(rows, found, "configuration", FOLDS))
        yield from ((name, logs[stack == name]) for name in dict.fromkeys(stack.tolist()))
        yield "stack not measured", study.errors(measured.groups(rows, found, "source_key", FOLDS))

    return _calibrated("training_memory", study, stack, cases, "no row states its memory and can be predicted")


def _calibrated(name: str, study: Study, stack: Any, cases: Any, nothing: str) -> dict[str, pl.DataFrame]:
    """Constants with the intervals of `cases`, or what refines those that ship."""
    at = np.flatnonzero(study.measured)
    if not at.size:
        raise InputError(f"{nothing}: nothing to calibrate on")
    if at.size < OWN or len(set(stack[at].tolist())) == 1:
        return {name: study.fit(at, study.pool.shipped()).frame()}
    return {name: study.fit(at).frame(), f"{name}_errors": crossval.error_table(cases())}


def _weigh(origins: Sequence[Origin]) -> Array:
    return balanced([o.stack for o in origins], MOST_ROWS)
