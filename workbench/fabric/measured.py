"""Rows of measured collectives, and the constants of `calibration` fitted to them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue
from workbench.calibration.crossval import Study
from workbench.calibration.pool import Fit, Node, Predict
from workbench.errors import UnknownName
from workbench.fabric import curve
from workbench.fabric.algorithms import RULES, passed_up
from workbench.fabric.calibration import INNER, OUTER, POOL, Origin, in_domain, shipped, start

Array = NDArray[np.float64]
NOISE = 0.05  #: relative spread of repeats between tables
#: Fewer measurements are fitted below the general constants that ship; more replace them all.
OWN = 500
#: Largest share of the wire that a protocol may take: in-network reduction beats the ring it is counted as by a little in a domain, and by
#: up to two between two domains, where each byte crosses once.
CAPS = {("scale-up", "all_reduce"): 1.15, ("scale-up", ""): 0.97, ("out", "all_reduce"): 2.1, ("out", ""): 1.0}


#: Words of a fabric that tell its transport, in the order in which they are looked for.
MARKS = {
    "tcpxo": "TCPXO",
    "tcpx": "TCPX",
    "efa": "EFA",
    "slingshot": "Slingshot",
    "roce": "RoCE",
    "pollara": "RoCE",
    "infiniband": "InfiniBand",
}


def transport(fabric: str | None) -> str:
    """Kind of transport from the words of a fabric."""
    words = (fabric or "").lower()
    found = [kind for mark, kind in MARKS.items() if mark in words]
    return found[0] if found else "InfiniBand" if words.startswith("ib ") or " ib" in words else "other"


def _row_of(chip: str) -> str:
    """Name of the catalogue's row of a chip, which the constants are kept under; another chip keeps its own."""
    try:
        return catalogue.chip(chip).name
    except UnknownName:
        return chip


def prepared(rows: pl.DataFrame) -> pl.DataFrame:
    """Measurements of collectives with what the fit needs: inner and outer ranks, release of the library, transport.

    Parameters
    ----------
    rows : polars.DataFrame
        Columns collective, bytes, n_gpus, scaleup_domain_gpus, chip, scale_up_GBps_per_dir, nic_Gbps_per_gpu, fabric, library.
    """
    domain = pl.col("scaleup_domain_gpus").fill_null(8)
    outer = (pl.col("n_gpus") / domain).ceil()  # 128 ranks on racks of 72 are two racks of 64
    return rows.with_columns(
        outer=outer.cast(pl.Float64),
        inner=(pl.col("n_gpus") / outer).cast(pl.Float64),
        release=pl.col("library").str.extract(r"(\d+\.\d+)").fill_null(""),
        kind=pl.col("fabric").map_elements(transport, return_dtype=pl.String, skip_nulls=False),
        chip=pl.col("chip").fill_null("").replace({chip: _row_of(chip) for chip in rows["chip"].drop_nulls().unique()}),
        provider=pl.col("fabric").fill_null(""),
        inside=pl.col("scale_up_GBps_per_dir").fill_null(450.0) * 1e9,
        outside=pl.col("nic_Gbps_per_gpu").fill_null(400.0) / 8 * 1e9,
    )


def fit(data: pl.DataFrame, base: Fit | None = None, nodes: Collection[Node] | None = None) -> Fit:
    """Constants of prepared measurements with time_us; of nodes that `base` knows, those in `nodes` are fitted anew."""
    single, several = _split(data)
    fresh = Fit(POOL, {}, {}, {}, 0.0) if base is None else base.without([node for node in base.offsets if nodes and node in nodes])
    fitted = _with_elsewhere(_study(single, inner=True).descend(INNER, fresh, nodes))
    return _study(several, inner=False, fit=fitted).descend(OUTER, fitted, nodes)


def touched(data: pl.DataFrame) -> set[Node]:
    """Nodes of measurements at every level."""
    tiers = zip(_split(data), (True, False), (INNER, OUTER), strict=True)
    rows = ((levels, _origin(row, inner)) for part, inner, levels in tiers for row in part.iter_rows(named=True))
    return {(level, POOL.nodes(origin)[level]) for levels, origin in rows for level in levels}


def calibrate(rows: pl.DataFrame) -> pl.DataFrame:
    """Fit the constants to measurements.

    Parameters
    ----------
    rows : polars.DataFrame
        Measurements as `prepared` takes them, with time_us; rows of doubtful quality left out.

    Returns
    -------
    polars.DataFrame
        The table ``calibration/collectives``. Of fewer than `OWN` measurements only what they were made with (chips, providers), below the
        general constants that ship.
    """
    data = prepared(rows)
    if data.height >= OWN:
        return fit(data).frame()
    known = shipped()
    nodes = {node for node in touched(data) if node[1].count("|") > 1 or node not in known.offsets}
    elsewhere = {("elsewhere", key.split("|")[2]) for level, key in nodes if level == "chip"}
    return fit(data, known, nodes).frame(nodes | elsewhere)


def _split(data: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Measurements within a domain, and over several."""
    known = data.filter(pl.col("collective").is_in(list(RULES)))
    return known.filter((pl.col("outer") <= 1) & (pl.col("inner") > 1)), known.filter(pl.col("outer") > 1)


def _origin(row: dict[str, Any], inner: bool) -> Origin:
    if inner:
        return Origin("scale-up", row["collective"], row["chip"], str(int(row["inner"])), row["release"])
    return Origin(row["kind"], row["collective"], provider=row["provider"])


def _study(data: pl.DataFrame, inner: bool, fit: Fit | None = None) -> Study:
    """Measurements that one tier bounds; `fit` tells the time of the tier below it."""
    rows = list(data.iter_rows(named=True))
    asked, most = np.zeros((4, len(rows))), np.full((len(rows), len(POOL.names)), np.inf)
    share = [i for i, name in enumerate(POOL.names) if name.startswith("share")]
    tier = "scale-up" if inner else "out"
    for i, row in enumerate(rows):
        op, size, n = row["collective"], np.asarray(float(row["bytes"])), np.asarray(row["inner"])
        message, ranks, rate = (size, n, row["inside"]) if inner else (passed_up(op, size, n), row["outer"], row["outside"])
        asked[:, i] = *_ask(op, message, ranks), rate, 0.0 if fit is None else _below(fit, op, row["chip"], n, size, row["inside"])
        most[i, share] = np.log(CAPS.get((tier, op), CAPS[tier, ""]))

    origins = [_origin(row, inner) for row in rows]
    first = np.array([start(o.kind) for o in origins])

    def part(at: Any) -> Predict:
        (steps, volume, bandwidth, below), more = asked[:, at], first[at]

        def predict(logs: Array) -> Array:
            own = curve.seconds(logs.reshape(more.shape) + more, steps, volume, bandwidth)
            return np.asarray(np.log((own**6 + below**6) ** (1 / 6)))

        return predict

    times = data["time_us"].cast(pl.Float64).to_numpy() * 1e-6
    return Study(POOL, origins, times, part, NOISE, most=most, tolerance=1e-7)


def _ask(op: str, message: Array, ranks: Array) -> tuple[Any, Any]:
    """Steps and bytes of the first algorithm of an operation."""
    return next(iter(RULES[op].values()))(np.asarray(message), np.asarray(ranks))


def _below(fit: Fit, op: str, chip: str, n: Array, size: Array, rate: float) -> float:
    """Time within a domain, with the constants of the nearest number of ranks that was measured, whatever the release."""
    if n <= 1:
        return 0.0
    known, thetas = in_domain(fit, op, chip, "any")
    theta = thetas[np.argmin(np.abs(np.log(known / n)))] if known.size else thetas
    return float(curve.seconds(theta, *_ask(op, size, n), rate))


def _with_elsewhere(fit: Fit) -> Fit:
    """With what sets a chip apart whatever the operation: its mean offset from the operations that were measured on it."""
    offsets, rows = dict(fit.offsets), dict(fit.rows)
    nodes = [(node, node[1].split("|")[2]) for node in fit.offsets if node[0] == "chip"]
    for chip in dict.fromkeys(name for _, name in nodes):
        own = [node for node, name in nodes if name == chip]
        offsets["elsewhere", chip] = np.mean([fit.offsets[node] for node in own], axis=0)
        rows["elsewhere", chip] = sum(fit.rows[node] for node in own)
    errors = fit.errors | {node: np.full(len(POOL.names), np.nan) for node in offsets if node not in fit.errors}
    return replace(fit, offsets=offsets, rows=rows, errors=errors)
