"""Published trends, totals and cross-checks of compute demand against the models and tables of `demand`.

A case states its inputs as JSON, and in words what it asks. The formula is chosen by the inputs that it has and by its words; what is
looked up in our tables is found by names, dates and units in the words. Ids and published values play no part.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench.errors import InputError
from workbench.validation import report
from workbench.validation.demand_facts import Band, Inputs, Lacking
from workbench.validation.demand_formulas import FORMULAS, UNITS, Formula
from workbench.validation.demand_numbers import Unscored
from workbench.validation.report import ODD, Prediction

TEXT = ("id", "group", "kind", "what", "inputs", "expected", "unit", "source")
NUMBERS = ("low", "high")
MEASURED = ("expected", "low", "high")

#: Half width of the 80 % interval of a logarithm where a formula gives none: what is exact is published to three digits.
WIDTHS = {"arithmetic": 0.01, "table": 0.03, "fact": 0.03, "model": 0.1, "backtest": 0.2, "numerical": 0.5}


def read(path: str | Path) -> pl.DataFrame:
    """A file of cases, with the route by which each is predicted as a further column. Raises `DataError`."""

    class Kind:
        TEXT, NUMBERS, MEASURED = TEXT, NUMBERS, MEASURED

    rows = report.read(path, Kind)
    routes = [found.route if (found := _formula(row)[0]) else "none" for row in rows.iter_rows(named=True)]
    return rows.with_columns(pl.Series("route", routes, dtype=pl.String))


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """One prediction a number of each row, with an 80 % interval, or the reason why there is none."""
    found: list[Prediction] = []
    for position, row in enumerate(rows.iter_rows(named=True)):
        formula, given = _formula(row)
        if formula is None:
            found.append(Prediction(position, "expected", skipped=f"no formula for: {row['group']}, {row['what']}"))
            continue
        scale, width = UNITS.get(row["unit"] or "", 1.0), float(np.exp(WIDTHS[formula.route]))
        try:
            value = formula.value(given)
            for part, one in enumerate(value if isinstance(value, list) else [value]):
                band = one if isinstance(one, Band) else Band(float(one), *sorted((float(one) / width, float(one) * width)))
                ends = band.value / scale, band.low / scale, band.high / scale
                found.append(Prediction(position, "expected", *ends, part=part))
        except (Lacking, Unscored, InputError) as error:
            found.append(Prediction(position, "expected", skipped=str(error)))
        except ODD as error:
            found.append(
                Prediction(position, "expected", skipped=f"{formula.name}: inputs and words do not tell what it needs ({error!r})")
            )
    return found


def measured(row: dict[str, Any], prediction: Prediction) -> tuple[float | None, float | None]:
    """The published value (the middle of its bounds where none is printed), and the error that they allow on the prediction's side."""
    low, high, text = row["low"], row["high"], row["expected"]
    printed = [float(part) for part in text.split(",")] if text else []
    if low is None or high is None:
        return (printed[prediction.part] if printed else None), None
    value = printed[prediction.part] if printed else (float(np.sqrt(low * high)) if low > 0 else (low + high) / 2)
    side = high - value if prediction.value is not None and prediction.value >= value else value - low
    return value, max(side, 0.0)


def _formula(row: dict[str, Any]) -> tuple[Formula | None, Inputs]:
    """The formula of a case, and its inputs with words and unit among them."""
    try:
        given = json.loads(row["inputs"] or "{}")
    except json.JSONDecodeError:
        given = {}
    inputs: Inputs = (given if isinstance(given, dict) else {}) | {"words": row["what"] or "", "unit": row["unit"] or ""}
    words = " ".join(str(row[c]) for c in ("group", "kind", "what", "unit") if row[c])
    return next((f for f in FORMULAS if f.applies(inputs, words)), None), inputs
