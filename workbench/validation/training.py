"""Measured training steps against `chips.training_step`: seconds of a step, by software stack, chip, precision and layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from workbench.calibration import crossval
from workbench.calibration.crossval import Study
from workbench.chips.training import fit
from workbench.chips.training import measured as training_rows
from workbench.chips.training.measured import Rows
from workbench.validation.report import Prediction, fitted

TEXT, NUMBERS = training_rows.TEXT, (*training_rows.NUMBERS, "step_s", "tok_s_chip")
MEASURED = ("step_s", "tok_s_chip", "tflops_chip", "mfu_pct", "hfu_pct", "mem_gb")
#: What is left out, one value at a time, to see what the model is worth on rows it was not fitted to.
CROSS = ("configuration", "source_key", "chip")
#: With fewer rows nothing is calibrated.
LEAST = 20
calibrate = fit.calibrate_steps


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """Seconds of every row with their 80 % interval, or why there are none."""
    return scored("step_s", _steps, rows)


def predict_without(rows: pl.DataFrame, column: str) -> list[Prediction]:
    """As `predict`, each row by constants fitted to rows of other values of `column`, or of the other nine folds of ten.

    Rows that run the same configuration on several releases are in one fold.
    """
    return scored("step_s", _steps, rows, column)


def measured(row: dict[str, Any], prediction: Prediction) -> tuple[float | None, float | None]:
    """The measured step [s], from tokens a second where only those are stated; no tolerance is."""
    return fit.step_of(row), None


def scored(quantity: str, model: Callable[[pl.DataFrame, Rows], Study], rows: pl.DataFrame, without: str | None = None) -> list[Prediction]:
    """What a model says of training runs, by the constants that ship or by those of other values of a column."""
    found, reasons = training_rows.read(rows)
    if not found.llms:
        return fitted(quantity, [], None, [], reasons)
    study = model(rows, found)
    if without is None:
        parts: Any = [(np.arange(found.position.size), study.pool.shipped())]
    else:
        parts = crossval.left_out(training_rows.groups(rows, found, without, fit.FOLDS), study.fit, study.measured, LEAST)
    return fitted(quantity, found.position, study, parts, reasons)


def _steps(rows: pl.DataFrame, found: Rows) -> Study:
    return fit.steps(found, fit.measured_steps(rows, found))
