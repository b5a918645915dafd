"""Measured training steps against `chips.training_step`: seconds of a step, by software stack, chip, precision and layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from workbench.arrays import take
from workbench.chips.training import constants as calibration
from workbench.chips.training import measured as training_rows
from workbench.chips.training.constants import Fit
from workbench.chips.training.time import seconds
from workbench.chips.training.work import Work
from workbench.errors import InputError
from workbench.validation.report import Prediction, conformal_half_width

TEXT, NUMBERS = training_rows.TEXT, (*training_rows.NUMBERS, "step_s", "tok_s_chip")
MEASURED = ("step_s", "tok_s_chip", "tflops_chip", "mfu_pct", "hfu_pct", "mem_gb")
FOLDS = 10
#: What is left out, one value at a time, to see what the model is worth on rows it was not fitted to.
CROSS = ("configuration", "source_key", "chip")
#: Stacks with fewer rows share one interval.
FEW = 8
#: A file of fewer rows refines the constants that ship; a larger one replaces them.
OWN = 500
#: With fewer rows nothing is calibrated.
LEAST = 20


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """Seconds of every row with their 80 % interval, or why there are none."""
    found, reasons = training_rows.read(rows)
    work = training_rows.works(found) if found.llms else None
    return _predictions(found, reasons, work, calibration.shipped())


def predict_without(rows: pl.DataFrame, column: str) -> list[Prediction]:
    """As `predict`, each row by constants fitted to rows of other values of `column`, or of the other nine folds of ten.

    Rows that run the same configuration on several releases are in one fold.
    """
    found, reasons = training_rows.read(rows)
    if not found.llms:
        return _predictions(found, reasons, None, calibration.shipped())
    measured = steps(rows, found)
    work = training_rows.works(found)
    groups = training_rows.groups(rows, found, column, FOLDS)
    table: list[Prediction] = []
    known = np.isfinite(measured)
    for group in dict.fromkeys(groups.tolist()):
        inside, fitted = np.flatnonzero(groups == group), np.flatnonzero((groups != group) & known)
        if fitted.size < LEAST:
            reason = f"{fitted.size} other rows to calibrate on, fewer than {LEAST}"
            table += [Prediction(int(found.position[i]), "step_s", skipped=reason) for i in inside]
            continue
        fit = calibration.fit(take(work, fitted), [found.origins[i] for i in fitted], measured[fitted])
        time = seconds(take(work, inside), calibration.POOL.named(fit.logs([found.origins[i] for i in inside])))
        for i, value in zip(inside, time, strict=True):
            table.append(_one(int(found.position[i]), float(value), calibration.half_width(found.origins[i], fit)))
    table += [Prediction(at, "step_s", skipped=reason) for at, reason in reasons.items()]
    return sorted(table, key=lambda p: p.position)


def measured(row: dict[str, Any], prediction: Prediction) -> tuple[float | None, float | None]:
    """The measured step [s], from tokens a second where only those are stated; no tolerance is."""
    return (row["step_s"] or _from_tokens(row)), None


def steps(rows: pl.DataFrame, found: training_rows.Rows) -> np.ndarray[Any, Any]:
    """Measured steps of the rows that can be predicted [s]; nan where none is stated, or where it would need more than the peak."""
    picked = [rows.row(int(at), named=True) for at in found.position]
    times = np.array([row["step_s"] or _from_tokens(row) or np.nan for row in picked])
    flop = np.array([3 * llm.forward_flop_per_token(s / 2) for llm, s in zip(found.llms, found.sequence, strict=True)]) * found.plan.trained
    peak = np.array([chip.peak(o.precision) for chip, o in zip(found.chips, found.origins, strict=True)])
    fastest = flop * found.batch * found.sequence / (found.n_chips * peak)
    return np.where(times > fastest, times, np.nan)


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables ``training`` (constants) and ``training_errors`` (intervals) of a file of measured steps.

    Fewer than `OWN` rows, or those of one stack, refine the constants that ship, on top of them: the table ``training`` alone.
    """
    found, _ = training_rows.read(rows)
    times = steps(rows, found)
    at = np.flatnonzero(np.isfinite(times))
    if not at.size:
        raise InputError("no row states a step and can be predicted: nothing to calibrate on")
    work, origins = take(training_rows.works(found), at), [found.origins[i] for i in at]
    if at.size < OWN or len({o.stack for o in origins}) == 1:
        return {"training": calibration.fit(work, origins, times[at], calibration.shipped()).frame()}
    fit = calibration.fit(work, origins, times[at])
    return {"training": fit.frame(), "training_errors": _errors(rows, found, times, fit)}


def _errors(rows: pl.DataFrame, found: training_rows.Rows, times: Any, fit: Fit) -> pl.DataFrame:
    """Half widths of the 80 % interval: of each stack from its folds, and of stacks and chips that were left out."""
    at = np.flatnonzero(np.isfinite(times))
    work, stack = training_rows.works(found), np.array([o.stack for o in found.origins])
    logs: dict[str, np.ndarray[Any, Any]] = {}
    for column in CROSS:
        groups, error = training_rows.groups(rows, found, column, FOLDS), np.full(times.size, np.nan)
        for group in dict.fromkeys(groups[at].tolist()):
            inside, rest = at[groups[at] == group], at[groups[at] != group]
            without = calibration.fit(take(work, rest), [found.origins[i] for i in rest], times[rest])
            time = seconds(take(work, inside), calibration.POOL.named(without.logs([found.origins[i] for i in inside])))
            error[inside] = np.log(time / times[inside])
        logs[column] = error
    table = []
    for name in dict.fromkeys(stack[at].tolist()):
        own = logs["configuration"][at][stack[at] == name]
        if own.size >= FEW:
            table.append(
                (
                    name,
                    conformal_half_width(own.tolist()),
                    own.size,
                    100 * float(np.mean(np.abs(np.expm1(own)))),
                    100 * float(np.median(np.abs(np.expm1(own)))),
                )
            )
    few = logs["configuration"][at][[np.sum(stack[at] == s) < FEW for s in stack[at]]]
    for case, errors in (
        ("stack of few rows", few),
        ("stack not measured", _balanced(logs["source_key"][at], stack[at])),
        ("chip not measured", _balanced(logs["chip"][at], stack[at])),
    ):
        if errors.size:
            table.append(
                (
                    case,
                    conformal_half_width(errors.tolist()),
                    errors.size,
                    100 * float(np.mean(np.abs(np.expm1(errors)))),
                    100 * float(np.median(np.abs(np.expm1(errors)))),
                )
            )
    frame = pl.DataFrame(table, schema=["case", "half_width", "rows", "mean_error_percent", "median_error_percent"], orient="row")
    return frame.with_columns(pl.col("half_width").round(4), pl.col("mean_error_percent", "median_error_percent").round(2))


def _balanced(errors: Any, stack: Any, most: int = 60) -> Any:
    """As many rows of every stack at most, evenly spread, so that none drowns the others."""
    picked = [np.sort(errors[stack == s])[:: max(1, int(np.sum(stack == s)) // most)] for s in dict.fromkeys(stack.tolist())]
    return np.concatenate(picked)


def _predictions(found: training_rows.Rows, reasons: dict[int, str], work: Work | None, fit: Fit) -> list[Prediction]:
    table = [Prediction(at, "step_s", skipped=reason) for at, reason in reasons.items()]
    if work is not None:
        time = seconds(work, calibration.POOL.named(fit.logs(found.origins)))
        table += [_one(int(at), float(v), calibration.half_width(o)) for at, v, o in zip(found.position, time, found.origins, strict=True)]
    return sorted(table, key=lambda p: p.position)


def _one(position: int, value: float, width: float) -> Prediction:
    return Prediction(position, "step_s", value, value * float(np.exp(-width)), value * float(np.exp(width)))


def _from_tokens(row: dict[str, Any]) -> float | None:
    stated = (row["tok_s_chip"], row["gbs"], row["seq"], row["n_chips"])
    return row["gbs"] * row["seq"] / (row["tok_s_chip"] * row["n_chips"]) if all(stated) else None
