"""Measured collectives against `fabric.collective_time`: time by message size, operation, ranks and fabric."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.calibration import crossval
from workbench.calibration.pool import Fit
from workbench.checks import row_numbers
from workbench.errors import InputError
from workbench.fabric import Tier, collective_time, nccl_log
from workbench.fabric import measured as collective_rows
from workbench.fabric.algorithms import RULES
from workbench.units import GBIT, GIGA
from workbench.validation import report
from workbench.validation.report import Prediction

TEXT = ("table_id", "collective", "chip", "fabric", "library", "quality", "source")
NUMBERS = ("bytes", "n_gpus", "scaleup_domain_gpus", "scale_up_GBps_per_dir", "nic_Gbps_per_gpu", "time_us")
MEASURED = ("time_us", "algbw_GBps", "busbw_GBps", "in_place_time_us")
#: Words of the column quality that keep a row out of every score.
DOUBTFUL = ("suspect", "noisy", "outlier", "coarse", "context", "degraded")


def read(path: str | Path) -> pl.DataFrame:
    """A CSV of measurements, or the log of a run of nccl-tests, whose links are those of its chip in the catalogue."""
    if not nccl_log.is_log(path):
        return report.read(path, sys.modules[__name__])
    log = nccl_log.read_log(path)
    for reason in log.left_out:
        print(f"{path}: left out: {reason}", file=sys.stderr)
    rows = log.rows.with_columns(pl.col("bytes", "n_gpus").cast(pl.Float64), fabric=pl.lit("InfiniBand"))
    chips = [catalogue.chip(name) for name in catalogue.names("chips")]
    links = {
        "chip": [chip.name for chip in chips],
        "scaleup_domain_gpus": [float(chip.near[0]) for chip in chips],
        "scale_up_GBps_per_dir": [chip.near[1] / GIGA for chip in chips],
        "nic_Gbps_per_gpu": [chip.scaleout_bandwidth and chip.scaleout_bandwidth / GBIT for chip in chips],
    }
    if (unknown := rows.filter(~pl.col("chip").is_in([chip.name for chip in chips]))).height:
        print(f"{path}: {unknown['chip'][0]!r} is no chip of the catalogue: 450 GB/s in domains of eight are taken", file=sys.stderr)
    return rows.join(pl.DataFrame(links), on="chip", how="left")


def predict(rows: pl.DataFrame, fit: Fit | None = None) -> list[Prediction]:
    """Time of every row [us] with its 80 % interval, or why there is none."""
    data = collective_rows.prepared(rows.with_row_index("position"))
    reasons = {r["position"]: _reason(r) for r in data.iter_rows(named=True)}
    found: dict[int, Prediction] = {p: Prediction(p, "time_us", skipped=reason) for p, reason in reasons.items() if reason}
    usable = data.filter(pl.Series([reasons[p] is None for p in data["position"]], dtype=pl.Boolean))
    same = ["collective", "chip", "inner", "outer", "kind", "provider", "release", "inside", "outside"]
    for key, part in usable.group_by(same, maintain_order=True):
        op, chip, inner, outer, kind, provider, release, inside, outside = key
        try:
            within = Tier(inner, inside, "scale-up", str(chip), release=str(release))
            between = Tier(outer, outside, str(kind), str(chip), str(provider))
            t = collective_time(str(op), part["bytes"].to_numpy(), [within, between], fit=fit)
        except InputError as error:
            found |= {p: Prediction(p, "time_us", skipped=str(error)) for p in part["position"]}
            continue
        values = zip(part["position"], 1e6 * t.seconds, 1e6 * t.low, 1e6 * t.high, strict=True)
        found |= {p: Prediction(p, "time_us", float(v), float(low), float(high)) for p, v, low, high in values}
    return [found[p] for p in sorted(found)]


def predict_without(rows: pl.DataFrame, column: str) -> list[Prediction]:
    """As `predict`, each row from constants fitted to the rows of other values of `column` alone."""
    usable = _usable(rows)
    at, others = np.flatnonzero(usable), np.flatnonzero(~usable)
    data = collective_rows.prepared(rows[at])
    full = collective_rows.fit(data)

    def fit(rest: Any) -> Fit:
        """Nodes of the rows that are left out are fitted anew; what they have no part in stays."""
        out = np.setdiff1d(np.arange(at.size), rest)
        return collective_rows.fit(data[rest], full, collective_rows.touched(data[out]))

    parts = crossval.left_out(data[column].cast(pl.String).fill_null(""), fit, least=0)
    found = []
    for place, fitted in ((others, None), *((at[inside], fitted) for inside, fitted in parts)):
        found += [replace(p, position=int(place[p.position])) for p in predict(rows[place].drop(*MEASURED, strict=False), fitted)]
    return sorted(found, key=lambda p: p.position)


def calibrate(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The table ``collectives`` of constants, from the rows of good quality."""
    return {"collectives": collective_rows.calibrate(rows.filter(pl.Series(_usable(rows))))}


def _usable(rows: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows of good quality that state their time."""
    data = collective_rows.prepared(rows)
    return np.array([_reason(row) is None and (row["time_us"] or 0) > 0 for row in data.iter_rows(named=True)], dtype=bool)


def _reason(row: dict[str, Any]) -> str | None:
    if row["collective"] not in RULES:
        return f"{row['collective']} is no collective of the model"
    if doubt := next((word for word in DOUBTFUL if word in (row["quality"] or "")), None):
        return f"quality of the row: {doubt}"
    if not row["bytes"] or not row["n_gpus"]:
        return "bytes or n_gpus is not stated"
    try:
        row_numbers(row, NUMBERS, ("n_gpus", "scaleup_domain_gpus"))
    except InputError as error:
        return str(error)
    if zero := next((name for name in NUMBERS[2:5] if row[name] == 0), None):
        return f"{zero} is 0; leave it blank where it is not known"
    if row["n_gpus"] < 2:
        return "one rank"
    return None
