"""Measured serving against `chips.serving`: time to first token, time per token, throughput and power, by campaign."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench.arrays import take
from workbench.calibration import crossval
from workbench.chips.serving import constants, fit
from workbench.chips.serving import measured as serving_rows
from workbench.chips.serving.fit import LATENCY, QUANTITIES, Fits
from workbench.chips.serving.measured import Rows, stated
from workbench.validation import bench_json, report
from workbench.validation.report import Prediction, within

TEXT, NUMBERS = serving_rows.TEXT, serving_rows.NUMBERS
MEASURED = (
    *("tpot_ms", "ttft_ms", "output_tok_s_per_gpu", "output_tok_s_total", "total_tok_s_per_gpu", "input_tok_s_per_gpu", "tok_s_per_user"),
    *("ttft_p99_ms", "tpot_p99_ms", "power_w_per_gpu", "power_w_total", "energy_j_per_out_token", "energy_j_per_request"),
)
CROSS = tuple(fit.CROSS)
calibrate = fit.calibrate


def read(path: str | Path) -> pl.DataFrame:
    """A CSV of operating points, or the JSON that ``vllm bench serve`` or ``sglang.bench_serving`` saves."""
    if Path(path).suffix in (".json", ".jsonl"):
        return bench_json.read(path)
    return report.read(path, sys.modules[__name__])


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """Every quantity of every row with its 80 % interval, or why there is none."""
    found, reasons = stated(rows)
    parts = [(np.arange(found.position.size), fit.shipped())] if found else []
    return _predictions(rows, found, parts, reasons)


def predict_without(rows: pl.DataFrame, column: str) -> list[Prediction]:
    """As `predict`, each row by constants fitted to rows of other values of `column`; groups and models in eight folds."""
    found, reasons = stated(rows)
    if found is None:
        return _predictions(rows, None, [], reasons)
    values = fit.values_of(rows, found)
    parts = crossval.left_out(fit.groups(rows, found, column), lambda rest: fit.fit(found, values, rest))
    return _predictions(rows, found, parts, reasons)


def _predictions(
    rows: pl.DataFrame, found: Rows | None, parts: Iterable[tuple[Any, Fits | None]], reasons: dict[int, str]
) -> list[Prediction]:
    table = [Prediction(at, name, skipped=reason) for at, reason in reasons.items() for name in fit.EXPECTED.get(rows["mode"][at], LATENCY)]
    for at, fits in parts:
        assert found is not None
        part = take(found, at)
        values = np.full((at.size, len(QUANTITIES)), np.nan) if fits is None else fit.predict(part, fits)
        why = "the power of the chip was not measured" if fits else "too few other rows to calibrate on"
        for i, origin in enumerate(part.origins):
            for name in fit.EXPECTED.get(str(part.mode[i]), LATENCY):
                value, position = float(values[i, QUANTITIES.index(name)]), int(part.position[i])
                if fits and np.isfinite(value):
                    table.append(within(position, name, value, constants.half_width(name, origin, fits.times)))
                else:
                    table.append(Prediction(position, name, skipped=why))
    return sorted(table, key=lambda p: (p.position, p.quantity))
