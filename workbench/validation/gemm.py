"""Measured matrix products against `chips.operators`: TFLOP/s by chip and shape, on a chip that runs nothing else."""

from __future__ import annotations

import numpy as np
import polars as pl

from workbench.calibration import crossval, evidence
from workbench.chips import gemm
from workbench.errors import InputError
from workbench.validation.report import Prediction, fitted

TEXT = ("chip", "precision", "m", "source")
NUMBERS = ("k", "n", "peak", "tflops")
MEASURED = ("tflops",)
CROSS = ("shape",)
calibrate = gemm.calibrate


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """TFLOP/s of every product with its 80 % interval, or why there is none."""
    reasons, at = {}, []
    for position, row in enumerate(rows.iter_rows(named=True)):
        if gemm.shape(row) is None:
            reasons[position] = "no matrix product: m, n and k are not stated"
        elif not evidence.measured(gemm.POOL.shipped(), "system", str(row["chip"]), str(row["precision"])):
            reasons[position] = f"no product of {row['chip']} in {row['precision']} was fitted"
        else:
            at.append(position)
    study = gemm.products(rows[at].with_columns(tflops=pl.lit(None, dtype=pl.Float64)))
    return fitted("tflops", at, study, [(np.arange(len(at)), gemm.POOL.shipped())] if at else [], reasons)


def predict_without(rows: pl.DataFrame, column: str) -> list[Prediction]:
    """As `predict`, each row by constants fitted to products of other shapes of its chip and precision."""
    if column not in CROSS:
        raise InputError(f"--leave-out {column}: products are left out by {', '.join(CROSS)} alone")
    found = {p.position: p for p in predict(rows.drop(*MEASURED))}
    for part in gemm.systems(rows):
        study = gemm.products(part)
        found |= {p.position: p for p in fitted("tflops", part["position"], study, crossval.left_out(gemm.shapes(part), study.fit), {})}
    return [found[at] for at in sorted(found)]
