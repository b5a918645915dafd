"""What matrix products alone reach on a cool chip: `operators.matrix_product` fitted to measured products of a chip and precision.

Training sustains less than that: clocks fall under load. What it sustains is the constant ``matmul`` of `training.constants`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.calibration import evidence
from workbench.calibration.crossval import Study
from workbench.calibration.pool import Constant, Level, Pool, Predict
from workbench.chips.operators import matrix_product

Array = NDArray[np.float64]
ERRORS = "calibration/gemm_errors"
NOISE = 0.1
POOL = Pool(
    "calibration/gemm",
    (
        Constant("efficiency", 0.75, 0.3, "share of the peak that large products reach"),
        Constant("tail", 1.0, 1.0, "idle output of a last wave [half waves of 132 processors]"),
        Constant("depth", 256.0, 1.0, "cost of starting a tile [elements of the inner dimension]"),
    ),
    {"system": Level(("chip", "precision"))},
)


@dataclass(frozen=True)
class Origin:
    """What products were measured on."""

    chip: str
    precision: str

    @property
    def measured(self) -> bool:
        """Whether the shipped constants hold any of it."""
        return evidence.measured(POOL.shipped(), "system", self.chip, self.precision) > 0


def products(origins: list[Origin], shapes: ArrayLike, peak: ArrayLike, rates: ArrayLike) -> Study:
    """Measured rates of products and their model: of each row m, n and k, and peak and rate in one unit."""
    sizes, fastest = np.asarray(shapes, dtype=float), np.asarray(peak, dtype=float)

    def part(at: Any) -> Predict:
        (m, n, k), top = sizes[at].T, fastest[at]

        def predict(logs: Array) -> Array:
            c = POOL.named(logs)
            return np.log(2 * m * n * k / matrix_product(m, n, k, top * c["efficiency"], tail=c["tail"], depth=c["depth"]))

        return predict

    def half_width(origin: Origin, _: object) -> float:
        own, known = f"{origin.chip}|{origin.precision}", catalogue.names(ERRORS)
        return evidence.half_width(ERRORS, [own, *known], [] if own in known else known)  # the widest, of what was not measured

    return Study(POOL, origins, np.asarray(rates, dtype=float), part, NOISE, half_width)
