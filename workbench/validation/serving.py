"""Measured serving against `chips.serving`: time to first token, time per token, throughput and power, by campaign."""

from __future__ import annotations

import sys
import zlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue
from workbench.arrays import take
from workbench.calibration.pool import Fit, balanced
from workbench.chips import watts as power_model
from workbench.chips.serving import constants as calibration
from workbench.chips.serving import measured as serving_rows
from workbench.chips.serving.loops import Point, closed_loop, disaggregated, offline, open_loop
from workbench.chips.serving.measured import Rows, stated
from workbench.errors import InputError
from workbench.validation import bench_json, report
from workbench.validation.report import Prediction, conformal_half_width

TEXT, NUMBERS = serving_rows.TEXT, serving_rows.NUMBERS
MEASURED = (
    *("tpot_ms", "ttft_ms", "output_tok_s_per_gpu", "output_tok_s_total", "total_tok_s_per_gpu", "input_tok_s_per_gpu", "tok_s_per_user"),
    *("ttft_p99_ms", "tpot_p99_ms", "power_w_per_gpu", "power_w_total", "energy_j_per_out_token", "energy_j_per_request"),
)
CROSS = ("group", "model_key", "chip", "framework")
LATENCY = ("tpot_ms", "ttft_ms", "output_tok_s_per_gpu")
QUANTITIES = (*LATENCY, "power_w_per_gpu", "energy_j_per_out_token")
NOISE = {"tpot_ms": 0.06, "ttft_ms": 0.15, "output_tok_s_per_gpu": 0.08}
FOLDS, MOST_ROWS, LEAST = 8, 1000, 40
#: A file of fewer rows refines the constants that ship; a larger one replaces them.
OWN = 500
#: Sequences that an engine decodes at once when nothing else limits it.
BATCH_LIMIT = 2048.0
Array = NDArray[np.float64]


def read(path: str | Path) -> pl.DataFrame:
    """A CSV of operating points, or the JSON that ``vllm bench serve`` or ``sglang.bench_serving`` saves."""
    if Path(path).suffix in (".json", ".jsonl"):
        return bench_json.read(path)
    return report.read(path, sys.modules[__name__])


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """Every quantity of every row with its 80 % interval, or why there is none."""
    found, reasons = stated(rows)
    table = [Prediction(at, quantity, skipped=reason) for at, reason in reasons.items() for quantity in _expected(rows.row(at, named=True))]
    if found is not None:
        point = operate(found, calibration.shipped().logs(found.origins))
        watts = _watts(found, point, power_model.shipped())
        table += _predictions(rows, found, np.arange(found.position.size), point, watts, None)
    return sorted(table, key=lambda p: (p.position, p.quantity))


def predict_without(rows: pl.DataFrame, column: str) -> list[Prediction]:
    """As `predict`, each row by constants fitted to rows of other values of `column`; groups and models in eight folds."""
    found, reasons = stated(rows)
    table = [Prediction(at, quantity, skipped=reason) for at, reason in reasons.items() for quantity in _expected(rows.row(at, named=True))]
    if found is None:
        return table
    groups = _groups(rows, found, column)
    for group in dict.fromkeys(groups.tolist()):
        inside, rest = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
        fit, drawn = _fit(rows, found, rest), None
        if fit is not None:
            drawn = _fit_power(rows, found, rest, fit)
        if fit is None:
            table += [
                Prediction(int(found.position[i]), q, skipped="too few other rows to calibrate on") for i in inside for q in QUANTITIES
            ]
            continue
        part = take(found, inside)
        point = operate(part, fit.logs(part.origins))
        table += _predictions(rows, found, inside, point, _watts(part, point, drawn), fit)
    return sorted(table, key=lambda p: (p.position, p.quantity))


def measured(row: dict[str, Any], prediction: Prediction) -> tuple[float | None, float | None]:
    """The measured quantity; no tolerance is stated."""
    return row[prediction.quantity], None


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables ``serving`` (constants), ``serving_errors`` (intervals) and ``power`` of a file of operating points.

    Fewer than `OWN` rows refine the constants that ship, on top of them: the table ``serving`` alone.
    """
    found, _ = stated(rows)
    if found is None:
        raise InputError("no row can be predicted: nothing to calibrate on")
    if found.position.size < OWN:
        return {"serving": _fit_own(rows, found).frame()}
    fit = _fit(rows, found, np.arange(found.position.size))
    if fit is None:
        raise InputError(f"fewer than {LEAST} measurements: too few to calibrate on")
    drawn = _fit_power(rows, found, np.arange(found.position.size), fit)
    logs: dict[str, tuple[Array, Array, NDArray[np.str_]]] = {}
    for column in CROSS:
        groups, errors = _groups(rows, found, column), []
        for group in dict.fromkeys(groups.tolist()):
            inside, rest = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
            without = _fit(rows, found, rest)
            if without is None:
                continue
            part = take(found, inside)
            point = operate(part, without.logs(part.origins))
            watts = _watts(part, point, _fit_power(rows, found, rest, without))
            for i, index in enumerate(inside):
                stated_row = rows.row(int(found.position[index]), named=True)
                for quantity in _expected(stated_row):
                    if stated_row[quantity] and stated_row[quantity] > 0 and (value := _value(point, watts, quantity, i)) > 0:
                        errors.append((int(index), quantity, float(np.log(value / stated_row[quantity]))))
        logs[column] = (np.array([e[0] for e in errors]), np.array([e[2] for e in errors]), np.array([e[1] for e in errors]))
    table = []
    campaign = np.array([o.campaign for o in found.origins])
    for quantity in QUANTITIES:
        row, error, kind = logs["group"]
        of = kind == quantity
        cases: list[tuple[str, Array]] = [("configuration not measured", error[of])]
        cases += [(str(name), error[of & (campaign[row.astype(int)] == name)]) for name in dict.fromkeys(campaign.tolist())]
        for column, name in (("model_key", "model"), ("chip", "chip"), ("framework", "framework")):
            _, other, sort = logs[column]
            cases.append((f"{name} not measured", other[sort == quantity]))
        for case, values in cases:
            if values.size >= 8:
                percent = 100 * np.abs(np.expm1(values))
                table.append(
                    (
                        f"{quantity}|{case}",
                        round(conformal_half_width(values.tolist()), 4),
                        values.size,
                        round(float(percent.mean()), 2),
                        round(float(np.median(percent)), 2),
                    )
                )
    errors_table = pl.DataFrame(table, schema=["case", "half_width", "rows", "mean_error_percent", "median_error_percent"], orient="row")
    tables = {"serving": fit.frame(), "serving_errors": errors_table}
    return tables if drawn is None else tables | {"power": drawn.frame()}


def operate(rows: Rows, logs: Array) -> Point:
    """The operating point of every row with constants of these logarithms, a row each."""
    result = {f.name: np.empty(rows.mode.size) for f in fields(Point)}
    for kind, at, part in rows.kinds:
        c = calibration.POOL.named(logs[at])
        if kind == "open":
            point = open_loop(part.demand, c, part.rate)
        elif kind == "apart":
            point = disaggregated(part.prompt, part.demand, c, part.starved, part.share)
        elif kind == "running":  # the batch that ran is stated, not the users: it fits, and tokens follow from it alone
            point = closed_loop(replace(part.demand, fits=np.full(at.size, np.inf)), c)
            rate = point.batch / point.tpot
            point = replace(point, tokens_per_second=rate, tokens_per_second_per_chip=rate / part.demand.chips)
        else:
            point = offline(part.demand, c, BATCH_LIMIT) if kind == "offline" else closed_loop(part.demand, c)
        for name, array in result.items():
            array[at] = getattr(point, name)
    return Point(**result)


def _predictions(rows: pl.DataFrame, found: Rows, at: Any, point: Point, watts: Array, fit: Fit | None) -> list[Prediction]:
    table = []
    for i, index in enumerate(at):
        position, origin = int(found.position[index]), found.origins[index]
        for quantity in _expected(rows.row(position, named=True)):
            value = _value(point, watts, quantity, i)
            if not np.isfinite(value):
                table.append(Prediction(position, quantity, skipped="the power of the chip was not measured"))
                continue
            width = calibration.half_width(quantity, origin, fit)
            table.append(Prediction(position, quantity, value, value * float(np.exp(-width)), value * float(np.exp(width))))
    return table


def _value(point: Point, watts: Array, quantity: str, i: int) -> float:
    """A quantity of a point in the unit of its column."""
    rate = point.tokens_per_second_per_chip
    of = {"tpot_ms": 1e3 * point.tpot, "ttft_ms": 1e3 * point.ttft, "output_tok_s_per_gpu": rate}
    return float((of | {"power_w_per_gpu": watts, "energy_j_per_out_token": watts / rate})[quantity][i])


def _watts(rows: Rows, point: Point, fit: Fit | None) -> Array:
    """Power of a chip of every row; nan where nothing is known of it."""
    if fit is None:
        return np.full(rows.mode.size, np.nan)
    d = rows.demand
    compute, memory = d.used(point.batch, d.half_way, point.tpot)
    tdp = np.array([catalogue.chip(o.chip).tdp or np.nan for o in rows.origins])
    return np.asarray(tdp * power_model.share_of_tdp(power_model.POOL.named(fit.logs(_drawn(rows))), compute, memory))


def _drawn(rows: Rows) -> list[power_model.Origin]:
    return [power_model.Origin(o.chip, o.campaign, o.model) for o in rows.origins]


def _fit_power(rows: pl.DataFrame, found: Rows, at: Any, fit: Fit) -> Fit | None:
    """Constants of power from measured watts, at the operating points that are predicted."""
    watts = rows["power_w_per_gpu"].to_numpy()[found.position[at]]
    at = np.asarray(at)[np.isfinite(watts) & (watts > 0)]
    if at.size < LEAST:
        return None
    part = take(found, at)
    point = operate(part, fit.logs(part.origins))
    d = part.demand
    compute, memory = d.used(point.batch, d.half_way, point.tpot)
    tdp = np.array([catalogue.chip(o.chip).tdp or np.nan for o in part.origins])
    target = np.log(rows["power_w_per_gpu"].to_numpy()[part.position] / tdp)

    def predict_logs(logs: Array) -> Array:
        return np.asarray(np.log(power_model.share_of_tdp(power_model.POOL.named(logs), compute, memory)))

    return power_model.POOL.fit(predict_logs, _drawn(part), target, noise=0.05, weight=np.ones(at.size))


def _expected(row: dict[str, Any]) -> list[str]:
    """What is predicted of a row: times where there are users or arrivals, throughput always."""
    offline_only = {"offline_max": ["output_tok_s_per_gpu"], "static_batch": ["output_tok_s_per_gpu", "ttft_ms"]}
    closed = {"closed_loop_natural": list(QUANTITIES), "closed_loop": [*LATENCY, "energy_j_per_out_token"]}
    return (offline_only | closed).get(row["mode"], list(LATENCY))


def _targets(rows: pl.DataFrame, found: Rows, at: Any) -> tuple[list[str], list[int], Array]:
    """Measured quantities of rows that are fitted: times of loops, throughput offline; the rest follows from them."""
    kinds, places, values = [], [], []
    for i in at:
        row = rows.row(int(found.position[i]), named=True)
        fitted = _expected(row) if row["mode"] in ("offline_max", "static_batch") else ("tpot_ms", "ttft_ms")
        for quantity in fitted:
            if row.get(quantity) and row[quantity] > 0:
                kinds.append(quantity)
                places.append(int(i))
                values.append(np.log(row[quantity]))
    return kinds, places, np.array(values)


def _fit(rows: pl.DataFrame, found: Rows, at: Any) -> Fit | None:
    """Constants of rows, a campaign weighing no more than `MOST_ROWS`; None where they are too few."""
    kinds, places, target = _targets(rows, found, at)
    if len(places) < LEAST:
        return None
    weight = balanced([found.origins[i].campaign for i in places], MOST_ROWS) * np.where(np.array(kinds) == "ttft_ms", 0.5, 1.0)
    return _fitted(found, kinds, places, target, weight, None)


def _fit_own(rows: pl.DataFrame, found: Rows) -> Fit:
    """A few rows of one's own, on top of the constants that ship."""
    kinds, places, target = _targets(rows, found, np.arange(found.position.size))
    if not places:
        raise InputError("no row states a time or a throughput that can be fitted")
    return _fitted(found, kinds, places, target, np.ones(len(places)), calibration.shipped())


def _fitted(found: Rows, kinds: list[str], places: list[int], target: Array, weight: Array, base: Fit | None) -> Fit:
    part, kind = take(found, np.array(places)), np.array(kinds)

    def predict_logs(logs: Array) -> Array:
        point = operate(part, logs)
        others = np.where(kind == "ttft_ms", point.ttft * 1e3, point.tokens_per_second_per_chip)
        return np.asarray(np.log(np.where(kind == "tpot_ms", point.tpot * 1e3, others)))

    noise = np.array([NOISE[k] for k in kinds])
    return calibration.POOL.fit(predict_logs, part.origins, target, noise=noise, weight=weight, base=base, iterations=25)


def _groups(rows: pl.DataFrame, found: Rows, column: str) -> NDArray[Any]:
    picked = [str(rows.row(int(at), named=True)[column]) for at in found.position]
    if column in ("group", "model_key"):
        return np.array([zlib.crc32(name.encode()) % FOLDS for name in picked])
    if column == "framework":
        return np.array([o.framework for o in found.origins])
    return np.array(picked)
