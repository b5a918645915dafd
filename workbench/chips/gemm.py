"""What matrix products alone reach on a cool chip: `operators.matrix_product` fitted to measured products of a chip and precision.

Training sustains less than that: clocks fall under load. What it sustains is the constant ``matmul`` of `training.constants`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Array, Arrays
from workbench.calibration import crossval
from workbench.calibration.evidence import Evidence, Index, half_width
from workbench.calibration.forms import Form, Row, asked
from workbench.calibration.pool import Constant, Fit, Level, Pool, Predict
from workbench.catalogue import Chip
from workbench.checks import POSITIVE, takes
from workbench.chips import operators
from workbench.chips.training.constants import Origin
from workbench.errors import InputError

ERRORS, INDEX = "calibration/gemm_errors", "calibration/gemm_evidence"
OTHERS = "another chip or precision"  #: case of the interval where no product of a chip and precision was measured
NOISE = 0.1
LEAST = 8  #: products of a chip and precision that are fitted, or more
POOL = Pool(
    "calibration/gemm",
    (
        Constant("efficiency", 0.75, 0.3, "share of the peak that large products reach"),
        Constant("tail", 1.0, 1.0, "idle output of a last wave [half waves of 132 processors]"),
        Constant("depth", 256.0, 1.0, "cost of starting a tile [elements of the inner dimension]"),
    ),
    {"system": Level(("chip", "precision"))},
)
#: What the nearest measured products may differ in, and how much each counts; chips of one name, as A100 and A100 PCIe, half of it.
WEIGHTS = {"vendor": 2.0, "chip": 1.0, "precision": 0.25}


@dataclass(frozen=True, repr=False)
class Product(Arrays):
    """A matrix product; arrays broadcast over its dimensions."""

    seconds: Array  #: time of the product [s]
    flop_per_s: Array  #: rate [FLOP/s]
    low: Array  #: low end of the 80 % interval of the rate [FLOP/s]
    high: Array  #: high end [FLOP/s]
    evidence: Evidence = field(repr=False)  #: the measured products whose constants these are


@takes(m=POSITIVE, n=POSITIVE, k=POSITIVE)
def matrix_product(chip: str | Chip, m: ArrayLike, n: ArrayLike, k: ArrayLike, *, precision: str = "bf16") -> Product:
    """Rate and time of a matrix product of m x k by k x n on a cool chip that runs nothing else; m, n and k broadcast.

    Constants are those of the nearest measured products: of the chip and precision, else of a chip of the same name, else of its vendor.
    Raises `InputError` for a precision that the chip lacks.

    Examples
    --------
    >>> product = matrix_product("B200", [256, 8192], 8192, 8192)
    >>> (product.flop_per_s / 1e12).round(-1).tolist()
    [900.0, 1110.0]
    >>> product.evidence.rows
    514
    """
    chip = catalogue.chip(chip)
    peak, near = chip.peak(precision), _nearest(chip, precision, catalogue.made_of(INDEX, Index))
    c = POOL.of(_origin(near))
    m, n, k = (np.asarray(x, dtype=float) for x in (m, n, k))
    seconds = np.asarray(operators.matrix_product(m, n, k, peak * c["efficiency"], tail=c["tail"], depth=c["depth"]))
    rate = 2 * m * n * k / seconds
    own = f"{chip.name}|{precision}" if near.distance == 0 else OTHERS
    spread = np.exp(half_width(ERRORS, [own, OTHERS]))
    return Product(seconds, rate, rate / spread, rate * spread, near)


def _nearest(chip: Chip, precision: str, index: Index) -> Evidence:
    def namesakes(said: str, cells: NDArray[Any]) -> Array:
        return np.array([1.0 if one.split()[0] != said.split()[0] else 0.5 * (one != said) for one in cells])

    return index.nearest({"vendor": chip.vendor, "chip": chip.name, "precision": precision}, WEIGHTS, {"chip": namesakes})


def _origin(near: Evidence) -> Origin:
    return Origin(near.index.cell(near, "chip"), near.index.cell(near, "precision"))


def shape(row: Row) -> tuple[float, float, float] | None:
    """m, n and k of a row; None where it states no product."""
    m = row["m"] or ""
    known = re.fullmatch("[0-9]{1,9}", m) and all(0 < (row[name] or 0) <= 1e9 for name in ("n", "k"))
    return (float(m), row["n"], row["k"]) if known else None


def _chip(name: str | None) -> Chip:
    """The chip of a row, of which a device may be a part: ``TPU7x device (half chip)``."""
    return catalogue.chip(re.sub(r" device\b| *\(.*", "", name or ""))


def _ask(row: Row) -> tuple[Row, Any]:
    """The call for a row. Not told apart: layout, whether it adds to its result. A device of half the peak does half a chip's work."""
    if (sizes := shape(row)) is None:
        raise InputError("not a matrix product: m, n and k are not stated")
    if not row["chip"]:
        raise InputError("chip is not stated")
    chip = _chip(row["chip"])
    scale = f" * {(row['peak'] or 0) / chip.peak(row['precision']) or 1e12:.17g}"
    arguments = {"chip": chip.name, **dict(zip("mnk", sizes, strict=True)), "precision": row["precision"]}
    return {"call": "chips.matrix_product", "arguments": arguments}, {"tflops": [f"{end}{scale}" for end in ("flop_per_s", "low", "high")]}


def _systems(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Products of each chip and precision with `LEAST` or more, with their positions."""

    def named(row: Row) -> str | None:
        try:
            known = shape(row) and all(1e-6 < (row[name] or 0) < 1e6 for name in ("tflops", "peak"))
            return _chip(row["chip"]).name if known else None
        except InputError:
            return None

    chips = pl.Series([named(row) for row in rows.iter_rows(named=True)], dtype=pl.String)
    products = rows.with_row_index("position").with_columns(chip=chips).drop_nulls("chip")
    return [part for _, part in products.group_by("chip", "precision", maintain_order=True) if part.height >= LEAST]


def _study(rows: pl.DataFrame) -> crossval.Study:
    """Measured rates of products of one chip and precision, and their model."""
    sizes = np.array([shape(row) for row in rows.iter_rows(named=True)], dtype=float)
    fastest = rows["peak"].cast(pl.Float64).to_numpy()

    def part(at: Any) -> Predict:
        (m, n, k), top = sizes[at].T, fastest[at]

        def predict(logs: Array) -> Array:
            c = POOL.named(logs)
            return np.log(2 * m * n * k / operators.matrix_product(m, n, k, top * c["efficiency"], tail=c["tail"], depth=c["depth"]))

        return predict

    return crossval.Study(
        POOL, [Origin(*one) for one in rows.select("chip", "precision").iter_rows()], rows["tflops"].to_numpy(), part, NOISE
    )


def _fit(rows: pl.DataFrame) -> Fit:
    return _study(rows).fit(np.arange(rows.height))


def _tables(fits: list[tuple[pl.DataFrame, Fit]]) -> dict[str, pl.DataFrame]:
    """Constants and index of evidence of some systems."""
    index = [
        (part["chip"][0], catalogue.chip(part["chip"][0]).vendor, part["precision"][0], part.height, part["source"][0], None)
        for part, _ in fits
    ]
    columns = dict.fromkeys(("chip", "vendor", "precision"), pl.String) | {"rows": pl.Int64, "measured_by": pl.String, "date": pl.String}
    constants = pl.concat([fit.frame() for _, fit in fits]) if fits else pl.DataFrame()
    return {"gemm": constants, "gemm_evidence": pl.DataFrame(index, schema=columns, orient="row")}


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Constants, index of evidence and intervals: of shapes left out, and of what was not measured, whole systems."""
    fits = [(part, _fit(part)) for part in _systems(rows)]
    cases, others = [], [np.zeros(0)]
    for part, _ in fits:
        study, at, name, precision = _study(part), np.arange(part.height), part["chip"][0], part["precision"][0]
        cases.append((f"{name}|{precision}", study.errors(_shapes(part))))
        if rest := [(one, fit) for one, fit in fits if one is not part]:
            near = _nearest(catalogue.chip(name), precision, Index(_tables(rest)["gemm_evidence"]))
            logs = study.part(at)(rest[int(near.order[0])][1].logs([_origin(near)] * at.size)) - np.log(study.values)
            others.append(np.sort(logs)[:: max(1, at.size // 20)])  # systems count alike
    return _tables(fits) | {"gemm_errors": crossval.error_table([*cases, (OTHERS, np.concatenate(others))])}


def folds(rows: pl.DataFrame, groups: NDArray[Any]) -> Iterator[tuple[NDArray[np.intp], dict[str, pl.DataFrame]]]:
    """Positions of each group of rows, and the tables that the others give: only systems that it has a part in are fitted anew."""
    fits = [(part, groups[part["position"].to_numpy()], _fit(part)) for part in _systems(rows)]
    for group in dict.fromkeys(groups.tolist()):
        kept = [(part, fit) if not (of == group).any() else (part.filter(pl.Series(of != group)), None) for part, of, fit in fits]
        made = _tables([(part, fit or _fit(part)) for part, fit in kept if part.height])
        yield np.flatnonzero(groups == group), {f"calibration/{name}": table for name, table in made.items()}


def _shapes(rows: pl.DataFrame) -> list[str]:
    """What is left out together: products of one shape."""
    return [str(shape(row)) for row in rows.iter_rows(named=True)]


FORM = Form(
    ("chip", "precision", "m", "source"), ("k", "n", "peak", "tflops"), lambda rows: asked(rows, _ask, lambda row: ["tflops"]),
    ("tflops",), calibrate=calibrate, folds=folds, leave_out=("shape",),
    groups=lambda rows, column: np.array(_shapes(rows)) if column == "shape" else rows[column].cast(pl.String).fill_null("").to_numpy(),
)  # fmt: skip
FORMS: dict[str, tuple[Form, ...]] = {"gemm": (FORM,)}  #: kinds of measured rows, and the forms of their files
