"""Measured memory of training runs against `chips.training_memory`: the gigabytes of a chip of the heaviest stage."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue
from workbench.chips.training import measured as training_rows
from workbench.chips.training import memory as model
from workbench.errors import InputError
from workbench.units import GIGA
from workbench.validation.report import Prediction, conformal_half_width
from workbench.validation.training import OWN

TEXT, NUMBERS = training_rows.TEXT, (*training_rows.NUMBERS, "mem_gb")
MEASURED = ("mem_gb", "step_s", "tok_s_chip", "tflops_chip", "mfu_pct", "hfu_pct", "status")
CROSS = ("configuration", "source_key")
NOISE, MOST_ROWS, FOLDS, LEAST = 0.05, 60, 10, 20
Array = NDArray[np.float64]


def read(path: Any) -> pl.DataFrame:
    """A file of measured runs; one without the column mem_gb, of runs that failed, is read too."""
    from workbench import tables
    from workbench.validation import report

    if "mem_gb" in tables.read_text(path).columns:
        import sys

        return report.read(path, sys.modules[__name__])

    class Failed:
        TEXT, NUMBERS = training_rows.TEXT, training_rows.NUMBERS

    return report.read(path, Failed).with_columns(mem_gb=pl.lit(None, dtype=pl.Float64))


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """Gigabytes of every row with their 80 % interval, or why there are none."""
    found, reasons = training_rows.read(rows)
    table = [Prediction(at, "mem_gb", skipped=reason) for at, reason in reasons.items()]
    stacks = [o.stack for o in found.origins]
    if stacks:
        by_stack = {stack: np.log(list(model.constants(stack).values())) for stack in set(stacks)}
        total = _total(found, np.arange(len(stacks)), np.array([by_stack[s] for s in stacks]))
        table += [_one(int(at), float(v), half_width(s)) for at, v, s in zip(found.position, total, stacks, strict=True)]
    return sorted(table, key=lambda p: p.position)


def half_width(stack: str) -> float:
    """Half width of the 80 % interval of the logarithm of memory: of a measured stack, or of those left out."""
    widths = {row["case"]: row["half_width"] for row in catalogue.table("calibration/training_memory_errors").iter_rows(named=True)}
    return float(widths.get(stack, widths["stack not measured"]))


def predict_without(rows: pl.DataFrame, column: str) -> list[Prediction]:
    """As `predict`, each row by constants fitted to the rows of other values of `column`, or of other folds of configurations."""
    found, reasons = training_rows.read(rows)
    values = rows["mem_gb"].to_numpy()[found.position]
    groups = training_rows.groups(rows, found, column, FOLDS)
    table = [Prediction(at, "mem_gb", skipped=reason) for at, reason in reasons.items()]
    for group in dict.fromkeys(groups.tolist()):
        inside, rest = np.flatnonzero(groups == group), np.flatnonzero((groups != group) & np.isfinite(values))
        if rest.size < LEAST:
            reason = f"{rest.size} other rows to calibrate on, fewer than {LEAST}"
            table += [Prediction(int(found.position[i]), "mem_gb", skipped=reason) for i in inside]
            continue
        total = _total(found, inside, _logs(_fit(found, rest, values[rest], {}), found, inside))
        table += [_one(int(found.position[i]), float(v), half_width(found.origins[i].stack)) for i, v in zip(inside, total, strict=True)]
    return sorted(table, key=lambda p: p.position)


def measured(row: dict[str, Any], prediction: Prediction) -> tuple[float | None, float | None]:
    """The measured gigabytes; no tolerance is stated."""
    return row["mem_gb"], None


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables ``training_memory`` (constants) and ``training_memory_errors`` (intervals) of a file of measured runs.

    Fewer than `OWN` rows, or those of one stack, refine the constants that ship, on top of them: the table ``training_memory`` alone.
    """
    found, _ = training_rows.read(rows)
    values = rows["mem_gb"].to_numpy()[found.position]
    at = np.flatnonzero(values > 0)
    if not at.size:
        raise InputError("no row states its memory and can be predicted: nothing to calibrate on")
    refined = at.size < OWN or len({found.origins[i].stack for i in at}) == 1
    fitted = _fit(found, at, values[at], model.shipped() if refined else {})
    table = [
        (f"{stack}|{name}", round(float(x), 5), int(n))
        for stack, (offsets, n) in fitted.items()
        for name, x in zip(model.NAMES, offsets, strict=True)
    ]
    constants = pl.DataFrame(table, schema=["node", "offset", "rows"], orient="row")
    if refined:
        return {"training_memory": constants}
    stack = np.array([o.stack for o in found.origins])
    errors = []
    for case, column in (("", "configuration"), ("stack not measured", "source_key")):
        log = _left_out(rows, found, values, at, column)
        for name in [case] if case else dict.fromkeys(stack[at].tolist()):
            own = log if case else log[stack[at] == name]
            percent = 100 * np.abs(np.expm1(own))
            errors.append(
                (
                    name,
                    round(conformal_half_width(own.tolist()), 4),
                    own.size,
                    round(float(percent.mean()), 2),
                    round(float(np.median(percent)), 2),
                )
            )
    return {
        "training_memory": constants,
        "training_memory_errors": pl.DataFrame(
            errors, schema=["case", "half_width", "rows", "mean_error_percent", "median_error_percent"], orient="row"
        ),
    }


def _left_out(rows: pl.DataFrame, found: training_rows.Rows, values: Any, at: Any, column: str) -> Array:
    groups, log = training_rows.groups(rows, found, column, FOLDS)[at], np.empty(at.size)
    for group in dict.fromkeys(groups.tolist()):
        inside, rest = at[groups == group], at[groups != group]
        log[groups == group] = np.log(_total(found, inside, _logs(_fit(found, rest, values[rest], {}), found, inside)) / values[inside])
    return log


Offsets = dict[str, tuple[Array, int]]


def _fit(found: training_rows.Rows, at: Any, values: Array, base: Offsets) -> Offsets:
    """Offsets of the logarithms of constants, of all stacks and of each, on top of those of `base` and shrunk to them; robust."""
    from scipy.optimize import least_squares

    stacks = [found.origins[i].stack for i in at]
    names = list(dict.fromkeys(stacks))
    member = np.array([names.index(s) + 1 for s in stacks])
    weight = np.sqrt([min(1.0, MOST_ROWS / stacks.count(s)) for s in names])[member - 1]
    start = _logs(base, found, at)

    def residual(flat: Array) -> Array:
        x = flat.reshape(-1, len(model.NAMES))
        r = (np.log(_total(found, at, start + x[0] + x[member])) - np.log(values)) / NOISE
        return np.concatenate([weight * np.sign(r) * np.sqrt(2 * (np.sqrt(1 + r * r) - 1)), (x / model.SPREAD).ravel()])

    best = least_squares(residual, np.zeros((len(names) + 1) * len(model.NAMES)), max_nfev=40).x.reshape(-1, len(model.NAMES))
    fitted = {"all": (best[0], len(stacks))} | {name: (best[i + 1], stacks.count(name)) for i, name in enumerate(names)}
    none = (np.zeros(len(model.NAMES)), 0)
    return base | {node: tuple(a + b for a, b in zip(own, base.get(node, none), strict=True)) for node, own in fitted.items()}


def _logs(fitted: Offsets, found: training_rows.Rows, at: Any) -> Array:
    none = (np.zeros(len(model.NAMES)), 0)
    return np.array([model.PRIOR + fitted.get("all", none)[0] + fitted.get(found.origins[i].stack, none)[0] for i in at])


def _total(found: training_rows.Rows, at: Any, logs: Array) -> Array:
    """Gigabytes of the rows `at` with constants of these logarithms, a row each."""
    shape, layout = found.of(at)
    constants = {name: np.exp(logs[:, i]) for i, name in enumerate(model.NAMES)}
    return np.asarray(model.memory(shape, layout, found.sequence[at], constants).total / GIGA)


def _one(position: int, value: float, width: float) -> Prediction:
    return Prediction(position, "mem_gb", value, value * float(np.exp(-width)), value * float(np.exp(width)))
