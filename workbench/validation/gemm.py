"""Measured matrix products against `chips.operators`: TFLOP/s by chip and shape, on a chip that runs nothing else."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl

from workbench.calibration import crossval
from workbench.calibration.crossval import Study
from workbench.chips import gemm
from workbench.errors import InputError
from workbench.validation.report import Prediction, fitted

TEXT = ("chip", "precision", "m", "source")
NUMBERS = ("k", "n", "peak", "tflops")
MEASURED = ("tflops",)
CROSS = ("shape",)
#: Products of a chip and precision that are fitted, or more.
LEAST = 8


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """TFLOP/s of every product with its 80 % interval, or why there is none."""
    reasons, at = {}, []
    for position, row in enumerate(rows.iter_rows(named=True)):
        if _shape(row) is None:
            reasons[position] = "no matrix product: m, n and k are not stated"
        elif not _origin(row).measured:
            reasons[position] = f"no product of {row['chip']} in {row['precision']} was fitted"
        else:
            at.append(position)
    study = _study(rows[at].with_columns(tflops=pl.lit(None, dtype=pl.Float64)))
    return fitted("tflops", at, study, [(np.arange(len(at)), gemm.POOL.shipped())] if at else [], reasons)


def predict_without(rows: pl.DataFrame, column: str) -> list[Prediction]:
    """As `predict`, each row by constants fitted to products of other shapes of its chip and precision."""
    if column not in CROSS:
        raise InputError(f"--leave-out {column}: products are left out by {', '.join(CROSS)} alone")
    found = {p.position: p for p in predict(rows.drop(*MEASURED))}
    for part in _systems(rows):
        study = _study(part)
        found |= {p.position: p for p in fitted("tflops", part["position"], study, crossval.left_out(_shapes(part), study.fit), {})}
    return [found[at] for at in sorted(found)]


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables ``gemm`` and ``gemm_errors``, of each chip and precision with `LEAST` products or more."""
    fits, cases = [], []
    for part in _systems(rows):
        study = _study(part)
        fits.append(study.fit(np.arange(part.height)).frame())
        cases.append((f"{part['chip'][0]}|{part['precision'][0]}", study.errors(_shapes(part))))
    return {"gemm": pl.concat(fits) if fits else pl.DataFrame(), "gemm_errors": crossval.error_table(cases)}


def _systems(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Products of each chip and precision, with their positions."""
    known = rows.with_row_index("position").filter(pl.Series([_shape(row) is not None for row in rows.iter_rows(named=True)]))
    groups = known.filter(pl.col("tflops") > 0, pl.col("peak") > 0).group_by("chip", "precision", maintain_order=True)
    return [part for _, part in groups if part.height >= LEAST]


def _study(part: pl.DataFrame) -> Study:
    rows = list(part.iter_rows(named=True))
    shapes = np.array([_shape(row) for row in rows], dtype=float).reshape(-1, 3)
    peak, rates = (part[name].cast(pl.Float64).to_numpy() for name in ("peak", "tflops"))
    return gemm.products([_origin(row) for row in rows], shapes, np.where(peak > 0, peak, np.nan), rates)


def _origin(row: dict[str, Any]) -> gemm.Origin:
    return gemm.Origin(str(row["chip"]), str(row["precision"]))


def _shapes(part: pl.DataFrame) -> list[str]:
    return [str(_shape(row)) for row in part.iter_rows(named=True)]


def _shape(row: dict[str, Any]) -> tuple[float, float, float] | None:
    m = row["m"] or ""
    known = re.fullmatch("[0-9]{1,9}", m) and all(0 < (row[name] or 0) <= 1e9 for name in ("n", "k"))
    return (float(m), row["n"], row["k"]) if known else None
