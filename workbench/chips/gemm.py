"""What matrix products alone reach on a cool chip: `operators.matrix_product` fitted to measured products of a chip and precision.

Training sustains less than that: clocks fall under load. What it sustains is the constant ``matmul`` of `training.constants`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue
from workbench.calibration import crossval, evidence
from workbench.calibration.crossval import Study
from workbench.calibration.forms import Form
from workbench.calibration.pool import Constant, Level, Pool, Predict
from workbench.chips.operators import matrix_product
from workbench.chips.training.constants import Origin

Array = NDArray[np.float64]
ERRORS = "calibration/gemm_errors"
NOISE = 0.1
#: Products of a chip and precision that are fitted, or more.
LEAST = 8
POOL = Pool(
    "calibration/gemm",
    (
        Constant("efficiency", 0.75, 0.3, "share of the peak that large products reach"),
        Constant("tail", 1.0, 1.0, "idle output of a last wave [half waves of 132 processors]"),
        Constant("depth", 256.0, 1.0, "cost of starting a tile [elements of the inner dimension]"),
    ),
    {"system": Level(("chip", "precision"))},
)


def shape(row: dict[str, Any]) -> tuple[float, float, float] | None:
    """m, n and k of a row; None where it states no product."""
    m = row["m"] or ""
    known = re.fullmatch("[0-9]{1,9}", m) and all(0 < (row[name] or 0) <= 1e9 for name in ("n", "k"))
    return (float(m), row["n"], row["k"]) if known else None


def shapes(rows: pl.DataFrame) -> list[str]:
    """What is left out together: products of one shape."""
    return [str(shape(row)) for row in rows.iter_rows(named=True)]


def products(rows: pl.DataFrame) -> Study:
    """Measured rates of products, and their model."""
    sizes = np.array([shape(row) for row in rows.iter_rows(named=True)], dtype=float).reshape(-1, 3)
    peak, rates = (rows[name].cast(pl.Float64).to_numpy() for name in ("peak", "tflops"))
    fastest = np.where(peak > 0, peak, np.nan)

    def part(at: Any) -> Predict:
        (m, n, k), top = sizes[at].T, fastest[at]

        def predict(logs: Array) -> Array:
            c = POOL.named(logs)
            return np.log(2 * m * n * k / matrix_product(m, n, k, top * c["efficiency"], tail=c["tail"], depth=c["depth"]))

        return predict

    def half_width(of: Origin, _: object) -> float:
        own, known = f"{of.chip}|{of.precision}", catalogue.names(ERRORS)
        return evidence.half_width(ERRORS, [own, *known], [] if own in known else known)  # the widest, of what was not measured

    origins = [Origin(*system) for system in rows.select("chip", "precision").iter_rows()]
    return Study(POOL, origins, rates, part, NOISE, half_width)


def systems(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Products of each chip and precision with `LEAST` or more, with their positions."""
    known = rows.with_row_index("position").filter(pl.Series([shape(row) is not None for row in rows.iter_rows(named=True)]))
    groups = known.filter(pl.col("tflops") > 0, pl.col("peak") > 0).group_by("chip", "precision", maintain_order=True)
    return [part for _, part in groups if part.height >= LEAST]


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables ``gemm`` (constants) and ``gemm_errors`` (intervals) of a file of measured products."""
    fits, cases = [], []
    for part in systems(rows):
        study = products(part)
        fits.append(study.fit(np.arange(part.height)).frame())
        cases.append((f"{part['chip'][0]}|{part['precision'][0]}", study.errors(shapes(part))))
    return {"gemm": pl.concat(fits) if fits else pl.DataFrame(), "gemm_errors": crossval.error_table(cases)}


#: Kinds of measured rows, and the forms of their files.
FORMS: dict[str, tuple[Form, ...]] = {}
