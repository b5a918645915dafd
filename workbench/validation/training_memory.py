"""Measured memory of training runs against `chips.training_memory`: the gigabytes of a chip of the heaviest stage."""

from __future__ import annotations

import polars as pl

from workbench.chips.training import fit
from workbench.chips.training import measured as training_rows
from workbench.validation.report import Prediction
from workbench.validation.training import scored

TEXT, NUMBERS = training_rows.TEXT, (*training_rows.NUMBERS, "mem_gb")
OPTIONAL = ("mem_gb",)  #: runs that failed state none
MEASURED = ("mem_gb", "step_s", "tok_s_chip", "tflops_chip", "mfu_pct", "hfu_pct", "status")
CROSS = ("configuration", "source_key")
calibrate = fit.calibrate_memory


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """Gigabytes of every row with their 80 % interval, or why there are none."""
    return scored("mem_gb", fit.memories, rows)


def predict_without(rows: pl.DataFrame, column: str) -> list[Prediction]:
    """As `predict`, each row by constants fitted to the rows of other values of `column`, or of other folds of configurations."""
    return scored("mem_gb", fit.memories, rows, column)
