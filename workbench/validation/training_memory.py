"""Measured memory of training runs against `chips.training_memory`: the gigabytes of a chip of the heaviest stage."""

from __future__ import annotations

import numpy as np
import polars as pl

from workbench.calibration import crossval
from workbench.chips.training import fit, memory
from workbench.chips.training import measured as training_rows
from workbench.validation.report import Prediction, fitted
from workbench.validation.training import LEAST

TEXT, NUMBERS = training_rows.TEXT, (*training_rows.NUMBERS, "mem_gb")
OPTIONAL = ("mem_gb",)  #: runs that failed state none
MEASURED = ("mem_gb", "step_s", "tok_s_chip", "tflops_chip", "mfu_pct", "hfu_pct", "status")
CROSS = ("configuration", "source_key")
calibrate = fit.calibrate_memory


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """Gigabytes of every row with their 80 % interval, or why there are none."""
    found, reasons = training_rows.read(rows)
    study = fit.memories(found, np.full(found.position.size, np.nan))
    parts = [(np.arange(found.position.size), memory.POOL.shipped())] if found.llms else []
    return fitted("mem_gb", found.position, study, parts, reasons)


def predict_without(rows: pl.DataFrame, column: str) -> list[Prediction]:
    """As `predict`, each row by constants fitted to the rows of other values of `column`, or of other folds of configurations."""
    found, reasons = training_rows.read(rows)
    study = fit.memories(found, rows["mem_gb"].to_numpy()[found.position])
    groups = training_rows.groups(rows, found, column, fit.FOLDS)
    return fitted("mem_gb", found.position, study, crossval.left_out(groups, study.fit, study.measured, LEAST), reasons)
