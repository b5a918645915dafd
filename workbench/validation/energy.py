"""Published energy, carbon and cost results against the models of `energy` and `fleet`.

A row states its inputs as JSON. The formula is chosen by which inputs it has, and by the words of its `quantity` where inputs alone do not
tell; rows of one `group` share their inputs. Ids and published values play no part.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.calibration.crossval import conformal_half_width
from workbench.errors import InputError, WorkbenchError
from workbench.validation.energy_formulas import FORMULAS, UNITS, Inputs, Lacking
from workbench.validation.report import ODD, Prediction

TEXT = ("id", "domain", "quantity", "inputs", "unit", "source", "group")
NUMBERS = ("published", "tol_rel")
MEASURED = ("published", "tol_rel")

#: Below so many cases an interval is no narrower than this: what a handful of exact cases show is not that all are.
FEW, WIDTH_OF_FEW, WIDTH_OF_EXACT = 5, 0.05, 1e-3  # published figures carry three to six digits


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """One prediction a row, with the 80 % interval of its formula, or the reason why there is none."""
    return [prediction for _, prediction in _predict(rows)]


def measured(row: dict[str, Any], prediction: Prediction) -> tuple[float | None, float | None]:
    """The published value, and the absolute error that the case allows."""
    published = row[prediction.quantity]
    return published, None if published is None or row["tol_rel"] is None else row["tol_rel"] * abs(published)


def _predict(rows: pl.DataFrame) -> list[tuple[str | None, Prediction]]:
    """Name of the formula and prediction of every row."""
    own = [_inputs(text) for text in rows["inputs"]]
    shared: dict[str, Inputs] = {}
    for group, given in zip(rows["group"], own, strict=True):
        if given is not None and group is not None:
            shared[group] = {k: v for k, v in given.items() if v is not None} | shared.get(group, {})
    table = catalogue.table("calibration/energy")
    widths: dict[str | None, float] = dict(zip(table["formula"], table["half_width"], strict=True))
    found: list[tuple[str | None, Prediction]] = []
    for position, (row, given) in enumerate(zip(rows.iter_rows(named=True), own, strict=True)):
        name, value, reason = _value(row, given, shared.get(row["group"], {}) | _fuller(given, row["source"], own, rows["source"]))
        low, high = _interval(widths.get(name), value)
        found.append((name, Prediction(position, "published", value, low, high, reason)))
    return found


def _fuller(given: Inputs | None, source: str, own: list[Inputs | None], sources: pl.Series) -> Inputs:
    """Inputs of a row of the same source that states all that this one states, and more; none where several do and differ."""
    if not given:
        return {}
    fuller = [x for x, s in zip(own, sources, strict=True) if x and s == source and given.items() < x.items()]
    return fuller[0] if fuller and all(x == fuller[0] for x in fuller) else {}


def _value(row: dict[str, Any], given: Inputs | None, shared: Inputs) -> tuple[str | None, float | None, str | None]:
    if given is None:
        return None, None, "inputs are not a JSON object"
    words = f"{row['quantity']} {row['domain']}".casefold()
    if words.startswith("erratum"):
        return None, None, "an erratum of its source, which a right model must not reproduce"
    if row["unit"] not in UNITS:
        return None, None, f"no formula gives {row['unit']}"
    inputs = shared | {k: v for k, v in given.items() if v is not None} | {"words": row["quantity"]}
    heard = {f: max((len(word) for word in f.said if word in words), default=0) for f in FORMULAS}
    spoken = sorted((f for f in FORMULAS if heard[f]), key=lambda f: -heard[f])  # the longest words say most
    formula = next((f for f in spoken if set(f.needs) <= set(inputs)), None)
    if formula is None:
        if spoken and given:
            return None, None, f"the inputs do not tell {', '.join(n for n in spoken[0].needs if n not in inputs)}"
        return None, None, f"no formula for: {row['domain']}" if given else "a figure that stands alone: no inputs are stated"
    try:
        return formula.name, float(formula.value(inputs)) / UNITS[row["unit"]], None
    except (Lacking, WorkbenchError) as error:
        return None, None, str(error)
    except ODD as error:
        return None, None, f"{formula.name}: inputs and words do not tell what it needs ({error!r:.60})"


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The table ``energy``: width of the 80 % interval of each formula, from how far published cases lie from its predictions.

    Parameters
    ----------
    rows : polars.DataFrame
        As `report.read` returns it, with the column published.

    Returns
    -------
    dict of str to polars.DataFrame
        formula, half_width (of the logarithm of published over predicted), rows, median_error_percent, coverage (leave one out; null
        below three cases).
    """
    ratios: dict[str, list[float]] = {}
    for (name, p), published in zip(_predict(rows.drop("published", "tol_rel")), rows["published"], strict=True):
        if name is not None and p.value and published and 0 < published / p.value < math.inf:
            ratios.setdefault(name, []).append(float(np.log(published / p.value)))
    table = []
    for name, logs in ratios.items():
        rest = [(x, logs[:i] + logs[i + 1 :]) for i, x in enumerate(logs)]
        table.append(
            {
                "formula": name,
                "half_width": max(conformal_half_width(logs), WIDTH_OF_EXACT if len(logs) >= FEW else WIDTH_OF_FEW),
                "rows": len(logs),
                "median_error_percent": 100 * float(np.median(np.abs(np.expm1(-np.asarray(logs))))),
                "coverage": float(np.mean([abs(x) <= conformal_half_width(others) + 1e-12 for x, others in rest]))
                if len(logs) > 2
                else None,
            }
        )
    return {"energy": pl.DataFrame(sorted(table, key=lambda row: row["formula"]))}


def constants(rows: pl.DataFrame) -> dict[str, tuple[float, float, float]]:
    """The two constants of the table of costs that rest on these cases: value, and the ends of their bands.

    They come from the training runs of Epoch AI that state chip-hours: the growth of prices by which it inflates (least squares on the
    logarithm of inflated over not inflated total, through the origin; ends: one run left out) and energy over capital (median; ends: 10 %
    and 90 % points).

    Parameters
    ----------
    rows : polars.DataFrame
        As `report.read` returns it, with the column published.
    """
    runs: dict[str, dict[str, float]] = {}
    for row, x in zip(rows.iter_rows(named=True), map(_inputs, rows["inputs"]), strict=True):
        if x and "model" in x:
            run = runs.setdefault(x["model"], {})
            if row["domain"] == "epoch_energy":
                run["energy"] = row["published"]
            elif "interconnect" in row["quantity"]:
                run |= {"capital": x["server_capital"] + row["published"], "years": 2024.0 - x["year"]}
            elif "training cost" in row["quantity"]:
                run["total"] = row["published"]
    known = [run for run in runs.values() if {"energy", "capital", "total"} <= set(run)]
    if len(known) < FEW:
        raise InputError(f"{len(known)} runs state energy, capital and total: at least {FEW} are needed")
    years = np.array([run["years"] for run in known])
    grown = np.log([run["total"] / (run["capital"] + run["energy"]) for run in known])
    without = (years @ grown - years * grown) / (years @ years - years * years)
    share = np.array([run["energy"] / run["capital"] for run in known])
    low, middle, high = np.quantile(share, [0.1, 0.5, 0.9])
    growth = np.expm1([years @ grown / (years @ years), without.min(), without.max()])
    return {
        "price_index_growth_per_year": (float(growth[0]), float(growth[1]), float(growth[2])),
        "training_energy_share_of_capital": (float(middle), float(low), float(high)),
    }


def _interval(width: float | None, value: float | None) -> tuple[float | None, float | None]:
    if width is None or value is None:
        return None, None
    low, high = sorted((value * math.exp(-width), value * math.exp(width)))
    return low, high


def _inputs(text: str | None) -> Inputs | None:
    try:
        found = json.loads(text or "")
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
