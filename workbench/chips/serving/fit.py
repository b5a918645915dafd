"""Fits of the constants of serving and of power to measured operating points, and what they are worth on rows that were left out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import formats, tables
from workbench.arrays import Array, join, take
from workbench.calibration import crossval
from workbench.calibration.pool import Fit, balanced
from workbench.chips import watts as power
from workbench.chips.serving import constants, nearby, rows
from workbench.chips.serving.constants import Basis, Origin, basis, cases
from workbench.chips.serving.loops import Point, operate, percentiles
from workbench.chips.serving.rows import LATENCY, QUANTITIES, TAILS
from workbench.chips.serving.work import Demand, demand_of
from workbench.errors import InputError
from workbench.llm import Transformer

CROSS = ("group", "model_key", "chip", "framework")  #: left out in turn: rows then lie at various distances from those that remain
NOISE = {"tpot_ms": 0.06, "ttft_ms": 0.15, "output_tok_s_per_gpu": 0.08}
SERVED = 0.003  #: the same of arrivals that were measured to be served: what the constants do not let through is no answer
SHIFTED = [constants.POOL.names.index(name) for name in nearby.LEFT]
DOUBT = np.array([np.inf, 4.0, np.inf])  #: times of it beyond which a time to first token is a run's own, as of kernels that compile in it
FOLDS, MOST_ROWS, LEAST = 8, 1000, 40
#: A file of fewer rows refines the constants that ship, a larger one replaces them; cases of fewer rows have no interval of their own.
OWN, FEW = 500, 12


@dataclass(frozen=True)
class Rows:
    """Rows of a file as what their calls ask of a replica, with what was measured."""

    position: NDArray[np.intp]
    mode: NDArray[np.str_]  #: how requests come, as `constants.WEIGHTS` has it
    origins: NDArray[Any]  #: of `Origin`
    llms: NDArray[Any]
    demand: Demand
    prompt: Demand  #: of the replica that works on prompts: another one where prefill is apart
    values: Array  #: measured `QUANTITIES` (rows, quantities); nan where none is stated, or none expected
    tails: Array  #: measured `TAILS` (rows, tails), of arrivals
    tdp: Array

    @cached_property
    def kinds(self) -> list[tuple[bool, Any, Demand, Demand]]:
        """Rows that one loop computes: whether prompts are apart, their places, and what is asked."""
        of = np.where(self.mode == "offline", "closed", self.mode)
        split = [(kind, np.flatnonzero(of == kind)) for kind in dict.fromkeys(of.tolist())]
        return [(kind == "disaggregated", at, take(self.demand, at), take(self.prompt, at)) for kind, at in split]


def found_in(frame: pl.DataFrame) -> Rows | None:
    """The rows of operating points whose calls can be made; None if there is none."""
    good = []
    for position, asked in groupby((one for one in rows.points(frame) if one.call), lambda one: one.position):
        with contextlib.suppress(InputError):  # a row that no user could ask for is no ground for constants
            good.append(_row(frame.row(position, named=True), list(asked)) | {"position": position})
    if not good:
        return None
    column = {name: [row[name] for row in good] for name in good[0]}
    arrays: dict[str, Any] = {name: _stacked(of) if isinstance(of[0], Demand) else np.array(of) for name, of in column.items()}
    return Rows(**arrays)


def _row(row: rows.Call, asked: list[Any]) -> dict[str, Any]:
    """What the call of a row asks for, made as the one who calls makes it."""
    arguments = asked[0].call["arguments"].items()
    given = {name: rows.made(value) if isinstance(value, dict) or name == "llm" else value for name, value in arguments}
    llm, cluster, plan, load = (given[name] for name in ("llm", "cluster", "plan", "load"))
    chip, prefill, endless = cluster.chip, given.get("prefill"), np.isinf(load.concurrency)
    said = (chip.name, formats.named(plan.precision, "weights").weights, given.get("framework", ""), given.get("version", ""))
    kept = (*(one.quantity for one in asked), "output_tok_s_per_gpu")  # constants must let through what arrives, too
    return {
        "llms": llm, "origins": Origin(*said, row["source_group"] or "", llm.name, "moe" if llm.experts else "dense"),
        "mode": "disaggregated" if prefill else "open" if load.rate is not None else "offline" if endless else "closed",
        "demand": (demand := demand_of(llm, cluster, plan, load)), "prompt": demand_of(llm, cluster, prefill, load) if prefill else demand,
        "values": [row[name] if name in kept and row[name] and row[name] > 0 else np.nan for name in QUANTITIES],
        "tails": [float(row.get(name) or np.nan) for name in TAILS], "tdp": chip.tdp or np.nan,
    }  # fmt: skip


def _stacked(demands: list[Demand]) -> Demand:
    columns = {f.name: np.array([float(getattr(d, f.name)) for d in demands]) for f in fields(Demand) if f.name != "model"}
    return Demand(model=Transformer.stack([d.model for d in demands]), **columns)


def at_work(found: Rows, logs: Array) -> Point:
    """The operating point of every row with constants of these logarithms, a row each: what `serving` computes."""
    c, places = constants.POOL.named, [at for _, at, _, _ in found.kinds]
    points = [operate(demand, prompt if apart else None, c(logs[at])) for apart, at, demand, prompt in found.kinds]
    return take(join(points, [at.size for at in places]), np.argsort(np.concatenate(places)))


def groups(frame: pl.DataFrame, column: str) -> NDArray[Any]:
    """What is left out together: a value of a column; of groups and models those of one of `FOLDS` folds."""
    named = frame[column].cast(pl.String).fill_null("").to_list()
    if column in ("group", "model_key"):
        return crossval.folds(named, FOLDS)
    return np.array([rows.software(text)[0] for text in named] if column == "framework" else named)


def folds(frame: pl.DataFrame, of: NDArray[Any]) -> Iterator[tuple[NDArray[np.intp], dict[str, pl.DataFrame] | None]]:
    """Each group of rows, and the tables that the others give; None where they are too few."""
    found = found_in(frame)
    for group in dict.fromkeys(of.tolist()):
        rest = np.flatnonzero(of[found.position] != group) if found else np.arange(0)
        yield np.flatnonzero(of == group), _tables(frame, found, rest) if found else None


def calibrate(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables ``serving`` (constants), ``serving_evidence`` (index), ``serving_nearby``, ``serving_errors`` (intervals) and ``power``.

    Fewer than `OWN` rows refine the constants that ship, on top of them: the tables ``serving`` and ``serving_evidence`` alone.
    """
    found = found_in(frame)
    if found is None:
        raise InputError("no row can be predicted: nothing to calibrate on")
    if found.position.size < OWN:
        place, quantity = _fitted(found)
        if not place.size:
            raise InputError("no row states a time or a throughput that can be fitted")
        times = _fit_times(found, place, quantity, np.ones(place.size), constants.POOL.shipped())
        return {"serving": times.frame(), "serving_evidence": index(frame, found, np.arange(found.position.size))}
    every = _tables(frame, found, np.arange(found.position.size))
    if every is None:
        raise InputError(f"fewer than {LEAST} measurements: too few to calibrate on")
    table = crossval.error_table(((case, np.array(logs)) for case, logs in _errors(frame, found).items()), FEW)
    return {name.removeprefix("calibration/"): frame for name, frame in every.items()} | {"serving_errors": table}


def _errors(frame: pl.DataFrame, found: Rows) -> dict[str, list[float]]:
    """Logarithms of predicted over measured of rows that were left out, by every case that each belongs to."""
    errors: dict[str, list[float]] = {}
    for column in CROSS:
        of = groups(frame, column)[found.position]
        of = of if column == "group" else crossval.folds(map(str, of), FOLDS // 2)
        for at, others in crossval.left_out(of, lambda rest: _tables(frame, found, rest)):
            if others:
                with tables.instead(others):
                    for known, error in left_out_errors(take(found, at)):
                        for case in known:
                            errors.setdefault(case, []).append(error)
    return errors


def left_out_errors(found: Rows) -> Iterator[tuple[list[str], float]]:
    """Cases and error of each measured figure, with framework and version named, the first alone, and neither."""
    for parts in (2, 1, 0):
        near = _near(found, parts)
        origins = [one.origin for one in near]
        logs, close = shifted(found, origins)
        errors = np.log(predicted(found, origins, logs) / found.values)
        errors[found.mode == "open", 2] = np.nan  # what arrives is served, unless it cannot
        for i, j in zip(*np.nonzero(np.isfinite(errors)), strict=True):
            kinds = [f"{QUANTITIES[j]}|{kind}" for kind, where in found.demand.kinds.items() if where[i]]
            yield kinds or cases(QUANTITIES[j], near[i], close[i]), float(errors[i, j])
        if not (at := np.flatnonzero(found.mode == "open")).size:
            continue
        part, c = take(found.demand, at), constants.POOL.named(logs[at])
        errors = np.log(1e3 * np.stack(percentiles(part, operate(part, None, c), c), axis=1) / found.tails[at])
        for i, j in zip(*np.nonzero(np.isfinite(errors)), strict=True):
            yield cases(TAILS[j], near[at[i]], close[at[i]]), float(errors[i, j])


def _near(found: Rows, parts: int = 2) -> list[Basis]:
    """What the calls of rows rest on that name framework and version, the first alone, or neither."""
    said = [(o.chip, o.precision, o.framework * (parts > 0), o.version * (parts > 1 and bool(o.framework))) for o in found.origins]
    return [basis(llm, *one, mode) for llm, one, mode in zip(found.llms, said, found.mode, strict=True)]


def shifted(found: Rows, origins: Any) -> tuple[Array, NDArray[np.bool_]]:
    """Logarithms of the constants of these origins as rows near by shift them, and whether such are close."""
    logs, close = constants.POOL.shipped().logs(origins), np.zeros(found.mode.size, dtype=bool)
    alike: dict[Any, list[int]] = {}
    for i, key in enumerate(zip(origins, found.mode.tolist(), strict=True)):
        alike.setdefault(key, []).append(i)
    for (origin, mode), at in alike.items():
        *shifts, known = nearby.shifts(origin, mode, take(found.demand, at))
        for constant, shift in zip(SHIFTED, shifts, strict=True):
            logs[at, constant] += shift
        close[at] = known >= nearby.CLOSE
    return logs, close


def predicted(found: Rows, origins: Any, logs: Array) -> Array:
    """`QUANTITIES` of every row (rows, quantities) by constants of these logarithms, and watts by those of these origins."""
    point = at_work(found, logs)
    rate = point.tokens_per_second_per_chip
    use = found.demand.used(point.batch, found.demand.half_way, point.tpot)
    watts = found.tdp * power.share_of_tdp(power.POOL.named(power.POOL.shipped().logs(origins)), *use)
    return np.stack([1e3 * point.tpot, 1e3 * point.ttft, rate, watts, watts / rate], axis=1)


def index(frame: pl.DataFrame, found: Rows, at: Any) -> pl.DataFrame:
    """The rows `at` by what a user can name: how many, where from and how old."""
    keys = []
    for i in at:
        o, d, p = found.origins[i], take(found.demand, i), take(found.prompt, i)
        sides = (p, d) if found.mode[i] == "disaggregated" else (d,)
        layout = " + ".join(f"{s.replicas:g} x tp{s.tp:g} pp{s.pp:g} dp{s.attention_dp:g}" for s in sides)
        row = frame.row(int(found.position[i]), named=True)
        keys.append(vars(o) | {"mode": found.mode[i], "layout": layout, "source": row["source"], "date": row.get("date")})
    names = ("model", "kind", "chip", "precision", "framework", "version", "mode", "measured_by", "layout", "source", "date")
    table = pl.DataFrame(keys, schema=dict.fromkeys(names, pl.String))
    return table.group_by(names[:9], maintain_order=True).agg(pl.len().alias("rows"), pl.col("source").first(), pl.col("date").max())


def _tables(frame: pl.DataFrame, found: Rows, at: Any) -> dict[str, pl.DataFrame] | None:
    """Constants of the rows `at`, of which nobody's weigh more than `MOST_ROWS`, and their index; None where they are too few."""
    part = take(found, at)
    place, quantity = _fitted(part)
    if place.size < LEAST:
        return None
    weight = balanced([part.origins[i].measured_by for i in place], MOST_ROWS) * np.where(quantity == 1, 0.5, 1.0)
    times = _fit_times(part, place, quantity, weight, None)
    watts = _fit_watts(part, times)
    made = {"calibration/serving": times.frame(), constants.INDEX: index(frame, found, at)}
    made[nearby.TABLE] = _left(part, made)
    return made | ({"calibration/power": watts.frame()} if watts else {})


def _left(found: Rows, made: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """What constants leave of the times of rows, or of their throughput, over how far a shift of these constants moves them."""
    with tables.instead(made):
        logs = constants.POOL.shipped().logs(origins := [near.origin for near in _near(found)])

    def times(logs: Array) -> Array:
        point = at_work(found, logs)
        return np.log(np.stack([1e3 * point.tpot, 1e3 * point.ttft, point.tokens_per_second_per_chip]))

    now = times(logs)
    of_scale, of_first = (np.clip(np.abs(times(logs + 0.1 * one) - now) / 0.1, 0.3, 1.0) for one in np.eye(logs.shape[1])[SHIFTED])
    tpot, ttft, rate = np.log(found.values[:, :3].T) - now
    scale = np.where(np.isfinite(tpot), tpot / of_scale[0], -rate / of_scale[2])
    return nearby.table(origins, found.mode, found.demand, np.stack([scale, ttft / of_first[1]], axis=1))


def _fitted(found: Rows) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and quantities that are fitted: times of loops; throughput of arrivals and where no time per token is stated."""
    known = np.isfinite(found.values[:, :3])
    known[:, 2] &= ~known[:, 0] | (found.mode == "open")
    place, quantity = np.nonzero(known)
    return place, quantity


def _fit_times(found: Rows, place: Any, quantity: Any, weight: Array, base: Fit | None) -> Fit:
    part = take(found, place)
    shift = shifted(part, part.origins)[0] - base.logs(part.origins) if base else 0.0

    def predict_logs(logs: Array) -> Array:
        point = at_work(part, logs + shift)
        return np.log(np.choose(quantity, [1e3 * point.tpot, 1e3 * point.ttft, point.tokens_per_second_per_chip]))

    noise = np.where((part.mode == "open") & (quantity == 2), SERVED, np.array([NOISE[name] for name in LATENCY])[quantity])
    how: dict[str, Any] = {"noise": noise, "weight": weight, "base": base, "tolerance": 2e-4, "doubt": DOUBT[quantity]}
    return constants.POOL.fit(predict_logs, part.origins.tolist(), np.log(found.values[place, quantity]), **how)


def _fit_watts(found: Rows, times: Fit) -> Fit | None:
    """Constants of power from watts, measured or by energy and throughput, at measured times: errors of times are none of power."""
    _, _, rate, stated, energy = found.values.T
    drawn = np.where(np.isfinite(stated), stated, energy * rate) / found.tdp
    at = np.flatnonzero(np.isfinite(drawn))
    if at.size < LEAST:
        return None
    part = take(found, at)
    point = at_work(part, times.logs(part.origins))
    tpot = np.where(np.isfinite(part.values[:, 0]), part.values[:, 0] / 1e3, point.tpot)
    compute, memory = part.demand.used(point.batch, part.demand.half_way, tpot)

    def predict_logs(logs: Array) -> Array:
        return np.asarray(np.log(power.share_of_tdp(power.POOL.named(logs), compute, memory)))

    return power.POOL.fit(predict_logs, part.origins.tolist(), np.log(drawn[at]), noise=0.1)
