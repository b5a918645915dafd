"""Measured matrix products against `chips.operators`: TFLOP/s by chip and shape, on a chip that runs nothing else."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench.chips import operators
from workbench.errors import InputError
from workbench.units import TERA
from workbench.validation.report import Prediction, conformal_half_width

TEXT = ("chip", "precision", "m", "source")
NUMBERS = ("k", "n", "peak", "tflops")
MEASURED = ("tflops",)
CROSS = ("shape",)
#: Logarithms of the share of the peak, of the tail and of the depth: prior and spread.
PRIOR, SPREAD = np.log([0.75, 1.0, 256.0]), np.array([0.3, 1.0, 1.0])
NOISE = 0.1
Array = NDArray[np.float64]


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """TFLOP/s of every product with its 80 % interval, or why there is none."""
    found = []
    for position, row in enumerate(rows.iter_rows(named=True)):
        shape = _shape(row)
        known = operators.burst(row["chip"], row["precision"]) if shape else None
        if shape is None or known is None:
            reason = (
                "no matrix product: m, n and k are not stated"
                if shape is None
                else f"no product of {row['chip']} in {row['precision']} was fitted"
            )
            found.append(Prediction(position, "tflops", skipped=reason))
            continue
        efficiency, tail, depth, width = known
        rate = float(_rate(np.array([shape]), np.array([row["peak"] or np.nan]), np.log([efficiency, tail, depth]))[0])
        found.append(Prediction(position, "tflops", rate, rate * np.exp(-width), rate * np.exp(width)))
    return found


def predict_without(rows: pl.DataFrame, column: str) -> list[Prediction]:
    """As `predict`, each row by constants fitted to products of other shapes of its chip and precision."""
    if column not in CROSS:
        raise InputError(f"--leave-out {column}: products are left out by {', '.join(CROSS)} alone")
    found = {p.position: p for p in predict(rows.drop(*MEASURED))}
    for _, part in _systems(rows):
        shapes, peak, rate = _columns(part)
        for shape in np.unique(shapes, axis=0):
            out = (shapes == shape).all(axis=1)
            logs = _fit(shapes[~out], peak[~out], rate[~out])
            for at, value in zip(part["position"].to_numpy()[out], _rate(shapes[out], peak[out], logs), strict=True):
                low, high = found[int(at)].low, found[int(at)].high
                found[int(at)] = Prediction(int(at), "tflops", float(value), low, high)
    return [found[at] for at in sorted(found)]


def measured(row: dict[str, Any], prediction: Prediction) -> tuple[float | None, float | None]:
    """The measured TFLOP/s; no tolerance is stated."""
    return row["tflops"], None


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The table ``gemm``: share of the peak, tail and depth of each chip and precision with eight products or more."""
    table = []
    for (chip, precision), part in _systems(rows):
        shapes, peak, rate = _columns(part)
        logs = _fit(shapes, peak, rate)
        left = []
        for shape in np.unique(shapes, axis=0):
            out = (shapes == shape).all(axis=1)
            left += np.log(_rate(shapes[out], peak[out], _fit(shapes[~out], peak[~out], rate[~out])) / rate[out]).tolist()
        values = [round(float(v), 4) for v in np.exp(logs)]
        error = 100 * float(np.mean(np.abs(np.expm1(left))))
        table.append((f"{chip}|{precision}", *values, round(conformal_half_width(left), 4), part.height, round(error, 2)))
    columns = ["system", "efficiency", "tail", "depth", "half_width", "rows", "mean_error_percent"]
    return {"gemm": pl.DataFrame(table, schema=columns, orient="row")}


def _systems(rows: pl.DataFrame) -> list[tuple[tuple[str, str], pl.DataFrame]]:
    """Products of each chip and precision, eight or more, with their positions."""
    known = rows.with_row_index("position").filter(pl.Series([_shape(row) is not None for row in rows.iter_rows(named=True)]))
    groups = known.filter(pl.col("tflops") > 0, pl.col("peak") > 0).group_by("chip", "precision", maintain_order=True)
    return [((str(chip), str(precision)), part) for (chip, precision), part in groups if part.height >= 8]


def _columns(part: pl.DataFrame) -> tuple[Array, Array, Array]:
    shapes = np.array([_shape(row) for row in part.iter_rows(named=True)], dtype=float)
    return shapes, part["peak"].to_numpy(), part["tflops"].to_numpy()


def _shape(row: dict[str, Any]) -> tuple[float, float, float] | None:
    m = row["m"] or ""
    known = re.fullmatch("[0-9]{1,9}", m) and all(0 < (row[name] or 0) <= 1e9 for name in ("n", "k"))
    return (float(m), row["n"], row["k"]) if known else None


def _rate(shapes: Array, peak: Array, logs: Array) -> Array:
    """TFLOP/s of products of m x n over k."""
    m, n, k = shapes.T
    efficiency, tail, depth = np.exp(logs)
    return np.asarray(2 * m * n * k / operators.matrix_product(m, n, k, peak * TERA * efficiency, tail=tail, depth=depth) / TERA)


def _fit(shapes: Array, peak: Array, rate: Array) -> Array:
    from scipy.optimize import least_squares

    def residual(logs: Array) -> Array:
        return np.concatenate([np.clip(np.log(_rate(shapes, peak, logs) / rate) / NOISE, -5, 5), (logs - PRIOR) / SPREAD])

    return np.asarray(least_squares(residual, PRIOR).x)
