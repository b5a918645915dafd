"""Fits of the constants of serving and of power to measured operating points."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue
from workbench.arrays import take
from workbench.calibration import crossval
from workbench.calibration.pool import Fit, balanced
from workbench.chips import watts as power
from workbench.chips.serving import constants
from workbench.chips.serving.loops import Point, closed_loop, disaggregated, offline, open_loop
from workbench.chips.serving.measured import Rows, stated
from workbench.errors import InputError

Array = NDArray[np.float64]
LATENCY = ("tpot_ms", "ttft_ms", "output_tok_s_per_gpu")
QUANTITIES = (*LATENCY, "power_w_per_gpu", "energy_j_per_out_token")
#: Columns that may be left out, and what is not measured then.
CROSS = {"group": "configuration", "model_key": "model", "chip": "chip", "framework": "framework"}
NOISE = {"tpot_ms": 0.06, "ttft_ms": 0.15, "output_tok_s_per_gpu": 0.08}
FOLDS, MOST_ROWS, LEAST = 8, 1000, 40
#: A file of fewer rows refines the constants that ship; a larger one replaces them.
OWN = 500
#: Cases of fewer rows have no interval of their own.
FEW = 8
#: Sequences that an engine decodes at once when nothing else limits it.
BATCH_LIMIT = 2048.0


#: What is predicted of a row, by mode, `LATENCY` of others: times where there are users or arrivals, throughput always.
EXPECTED = {
    "offline_max": ("output_tok_s_per_gpu",),
    "static_batch": ("output_tok_s_per_gpu", "ttft_ms"),
    "closed_loop_natural": QUANTITIES,
    "closed_loop": (*LATENCY, "energy_j_per_out_token"),
}


@dataclass(frozen=True)
class Fits:
    """Constants of times and of power; of the latter none where too few watts were measured."""

    times: Fit
    watts: Fit | None


def shipped() -> Fits:
    """The constants that ship."""
    return Fits(constants.POOL.shipped(), power.POOL.shipped())


def values_of(rows: pl.DataFrame, found: Rows) -> Array:
    """Measured `QUANTITIES` of every row (rows, quantities); nan where none is stated, or none expected."""
    values = np.stack([rows[name].cast(pl.Float64).to_numpy()[found.position] for name in QUANTITIES], axis=1)
    asked = np.array([[name in EXPECTED.get(mode, LATENCY) for name in QUANTITIES] for mode in found.mode.tolist()])
    return np.where(asked & (values > 0), values, np.nan)


def predict(found: Rows, fits: Fits) -> Array:
    """`QUANTITIES` of every row (rows, quantities); power is nan where nothing is known of it."""
    point = operate(found, fits.times.logs(found.origins))
    rate = point.tokens_per_second_per_chip
    watts = np.full(rate.shape, np.nan)
    if fits.watts:
        share = power.share_of_tdp(power.POOL.named(fits.watts.logs(found.origins)), *_use(found, point))
        watts = _tdp(found) * share
    return np.stack([1e3 * point.tpot, 1e3 * point.ttft, rate, watts, watts / rate], axis=1)


def operate(rows: Rows, logs: Array) -> Point:
    """The operating point of every row with constants of these logarithms, a row each."""
    result = {f.name: np.empty(rows.mode.size) for f in fields(Point)}
    for kind, at, part in rows.kinds:
        c = constants.POOL.named(logs[at])
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


def fit(found: Rows, values: Array, at: Any = None) -> Fits | None:
    """Constants of the rows `at`, a campaign weighing no more than `MOST_ROWS`; None where they are too few."""
    part = found if at is None else take(found, at)
    seen = values if at is None else values[at]
    place, quantity = _fitted(part, seen)
    if place.size < LEAST:
        return None
    weight = balanced([part.origins[i].campaign for i in place], MOST_ROWS) * np.where(quantity == 1, 0.5, 1.0)
    times = _fit_times(part, seen, place, quantity, weight, None)
    return Fits(times, _fit_watts(part, seen[:, 3], times))


def groups(rows: pl.DataFrame, found: Rows, column: str) -> NDArray[Any]:
    """What is left out together: a value of a column; of groups and models those of one of `FOLDS` folds."""
    picked = [str(rows[column][int(at)]) for at in found.position]
    if column in ("group", "model_key"):
        return crossval.folds(picked, FOLDS)
    return np.array([o.framework for o in found.origins] if column == "framework" else picked)


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables ``serving`` (constants), ``serving_errors`` (intervals) and ``power`` of a file of operating points.

    Fewer than `OWN` rows refine the constants that ship, on top of them: the table ``serving`` alone.
    """
    found, _ = stated(rows)
    if found is None:
        raise InputError("no row can be predicted: nothing to calibrate on")
    values = values_of(rows, found)
    if found.position.size < OWN:
        place, quantity = _fitted(found, values)
        if not place.size:
            raise InputError("no row states a time or a throughput that can be fitted")
        return {"serving": _fit_times(found, values, place, quantity, np.ones(place.size), constants.POOL.shipped()).frame()}
    fits = fit(found, values)
    if fits is None:
        raise InputError(f"fewer than {LEAST} measurements: too few to calibrate on")
    logs = {}
    for column, missing in CROSS.items():
        without = crossval.left_out(groups(rows, found, column), lambda rest: fit(found, values, rest))
        logs[missing] = np.full(values.shape, np.nan)
        for at, others in without:
            if others:
                logs[missing][at] = np.log(predict(take(found, at), others) / values[at])
    campaign = np.array([o.campaign for o in found.origins])
    cases: list[tuple[str, Array]] = []
    for i, named in enumerate(QUANTITIES):
        own = logs["configuration"][:, i]
        cases.append((f"{named}|configuration not measured", own))
        cases += [(f"{named}|{name}", own[campaign == name]) for name in dict.fromkeys(campaign.tolist())]
        cases += [(f"{named}|{missing} not measured", logs[missing][:, i]) for missing in ("model", "chip", "framework")]
    tables = {"serving": fits.times.frame(), "serving_errors": crossval.error_table(cases, FEW)}
    return tables | ({"power": fits.watts.frame()} if fits.watts else {})


def _fitted(found: Rows, values: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and quantities that are fitted: times of loops, throughput offline; the rest follows from them."""
    offline_row = np.isin(found.mode, ("offline_max", "static_batch"))
    fitted = np.where(offline_row[:, None], [False, True, True], [True, True, False])
    place, quantity = np.nonzero(fitted & np.isfinite(values[:, :3]))
    return place, quantity


def _fit_times(found: Rows, values: Array, place: Any, quantity: Any, weight: Array, base: Fit | None) -> Fit:
    part = take(found, place)

    def predict_logs(logs: Array) -> Array:
        point = operate(part, logs)
        return np.log(np.choose(quantity, [1e3 * point.tpot, 1e3 * point.ttft, point.tokens_per_second_per_chip]))

    noise = np.array([NOISE[name] for name in LATENCY])[quantity]
    target = np.log(values[place, quantity])
    return constants.POOL.fit(predict_logs, part.origins, target, noise=noise, weight=weight, base=base, iterations=25)


def _fit_watts(found: Rows, watts: Array, times: Fit) -> Fit | None:
    """Constants of power from measured watts, at the operating points that are predicted."""
    at = np.flatnonzero(np.isfinite(watts))
    if at.size < LEAST:
        return None
    part = take(found, at)
    compute, memory = _use(part, operate(part, times.logs(part.origins)))

    def predict_logs(logs: Array) -> Array:
        return np.asarray(np.log(power.share_of_tdp(power.POOL.named(logs), compute, memory)))

    return power.POOL.fit(predict_logs, part.origins, np.log(watts[at] / _tdp(part)), noise=0.05)


def _use(rows: Rows, point: Point) -> tuple[Array, Array]:
    """Shares of arithmetic and memory bandwidth in use."""
    d = rows.demand
    return d.used(point.batch, d.half_way, point.tpot)


def _tdp(rows: Rows) -> Array:
    return np.array([catalogue.chip(o.chip).tdp or np.nan for o in rows.origins])
