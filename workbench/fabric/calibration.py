"""Measured constants of `curve`: fitted from general to special, each level shrunk to the one above, and looked up the same way.

In a scale-up domain: all measurements, operation, chip, ranks, library release. Between domains: all, transport, operation, provider. A
chip that was measured with other operations only carries what sets it apart there (operation ``*``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.errors import InputError
from workbench.fabric import curve
from workbench.fabric.algorithms import RULES, passed_up

Array = NDArray[np.float64]
TABLE, ERRORS = "calibration/collectives", "calibration/collective_errors"
#: Transports between domains, with the time that a small all-reduce of two nodes takes on them [s]: the prior of their starts. They were
#: read off the same tables that the constants are fitted to, so errors with a table left out are optimistic for transports of few tables
#: (without these priors: 47, 33 and 22 % by size instead of 25, 27 and 15 %).
STARTS = {"InfiniBand": 30e-6, "RoCE": 75e-6, "EFA": 110e-6, "TCPXO": 105e-6, "TCPX": 700e-6, "Slingshot": 18e-6, "other": 60e-6}
KINDS = ("scale-up", *STARTS)
#: Pull of each level to the one above it, in units of the noise of a measurement.
PULLS = (0.3, 0.5, 1.0, 1.5, 2.0)
PULL_OUT = 40.0  #: of a transport to its prior: few tables, of few providers; the best of 2, 6, 15 and 40 with tables left out
NOISE = 0.05  #: relative spread of repeats between tables
#: Fewer measurements are fitted below the general constants that ship; more replace them all.
OWN = 500
#: Largest share of the wire that a protocol may take: in-network reduction beats the ring it is counted as by a little in a domain, and by
#: up to two between two domains, where each byte crosses once.
CAPS = {("scale-up", "all_reduce"): 1.15, ("scale-up", ""): 0.97, ("out", "all_reduce"): 2.1, ("out", ""): 1.0}
SIZES = ((0.0, 2.0**20, "below 1 MiB"), (2.0**20, 2.0**28, "1 to 256 MiB"), (2.0**28, np.inf, "from 256 MiB"))
Key = tuple[str, ...]


def constants(op: str, kind: str, chip: str, n: ArrayLike, provider: str = "", library: str = "") -> list[tuple[Array, Array, Array]]:
    """Logarithms of the constants of a tier, the ranks to take them at, and their weight in the logarithm of time.

    Between numbers of ranks that were measured, time is interpolated between those of both; beyond them, the constants of the nearest hold
    at the ranks themselves.

    Returns
    -------
    list of (theta, ranks, weight)
        Shapes of `n` + (4, 3), of `n`, and of `n`; the weights add up to 1.
    """
    nodes = _nodes()
    ranks = np.asarray(n, dtype=float)
    measured = [] if kind != "scale-up" else sorted(int(key[3]) for key in nodes if len(key) == 4 and key[:3] == (kind, op, chip))
    if not measured:
        theta = _of_chip(nodes, op, chip) if kind == "scale-up" else _nearest(nodes, (kind, op, provider))
        return [(theta, ranks, np.ones(()))]
    thetas = np.stack([_nearest(nodes, (kind, op, chip, str(m), library)) for m in measured])
    known = np.array(measured, dtype=float)
    right = np.clip(np.searchsorted(known, ranks), 0, known.size - 1)
    left = np.where(known[right] > ranks, np.maximum(right - 1, 0), right)
    between = (known[left] < ranks) & (ranks < known[right])
    if not between.any():
        return [(thetas[right], ranks, np.ones(()))]
    gap = np.where(between, np.log(known[right] / known[left]), 1.0)
    weight = np.where(between, np.log(np.maximum(ranks, 1.0) / known[left]) / gap, 1.0)
    return [
        (thetas[left], np.where(between, known[left], ranks), 1 - weight),
        (thetas[right], np.where(between, known[right], ranks), weight),
    ]


def interval(op: str, message_bytes: Array, inner: Key, outer: Key | None) -> Array:
    """Half width of the 80 % interval in the logarithm of time, by how much of the configuration was measured.

    Where the very tier was (chip, ranks and release; or provider and operation), the residuals of the fit; else those of tables left out.

    Parameters
    ----------
    inner : (chip, ranks, release)
    outer : (kind, provider) or None
        The next tier, if there is one.
    """
    nodes = _nodes()
    widths = {row["case"]: row["half_width"] for row in catalogue.table(ERRORS).iter_rows(named=True)}
    if outer is None:
        chip, ranks, release = inner
        seen = "release" if ("scale-up", op, chip, ranks, release) in nodes else "chip" if ("scale-up", op, chip) in nodes else "nothing"
        return np.full(message_bytes.shape, widths[f"one domain, {seen} measured"])
    if (outer[0], op, outer[1]) in nodes:
        return np.full(message_bytes.shape, widths["several domains, provider measured"])
    found = np.zeros(message_bytes.shape)
    for low, high, name in SIZES:
        found = np.where((message_bytes >= low) & (message_bytes < high), widths[f"several domains, {name}"], found)
    return found


def transport(fabric: str | None) -> str:
    """Kind of transport from the words of a fabric."""
    words = (fabric or "").lower()
    for kind, marks in (
        ("TCPXO", ("tcpxo",)),
        ("TCPX", ("tcpx",)),
        ("EFA", ("efa",)),
        ("Slingshot", ("slingshot",)),
        ("RoCE", ("roce", "pollara")),
    ):
        if any(mark in words for mark in marks):
            return kind
    return "InfiniBand" if "infiniband" in words or words.startswith("ib ") or " ib" in words else "other"


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
        chip=pl.col("chip").fill_null(""),
        provider=pl.col("fabric").fill_null(""),
        inside=pl.col("scale_up_GBps_per_dir").fill_null(450.0) * 1e9,
        outside=pl.col("nic_Gbps_per_gpu").fill_null(400.0) / 8 * 1e9,
    )


def calibrate(rows: pl.DataFrame) -> pl.DataFrame:
    """Fit the constants to measurements.

    Parameters
    ----------
    rows : polars.DataFrame
        Measurements as `prepared` takes them, with time_us; rows of doubtful quality left out.

    Returns
    -------
    polars.DataFrame
        The table ``calibration/collectives``: node, the twelve constants, rows. Of fewer than `OWN` measurements only what they were made
        with (chips, providers), below the general constants that ship.
    """
    data = prepared(rows)
    if data.height >= OWN:
        return _as_table(fit_nodes(data))
    known = {key: (theta, 0) for key, theta in _nodes().items()}
    touched = {key for key in _keys(data) if len(key) > 2 or key not in known}
    return _as_table({key: node for key, node in fit_nodes(data, known, touched).items() if node[1]})


Name = Callable[[dict[str, Any]], Key]
#: From general to special, in a domain and between domains.
INNER: tuple[Name, ...] = (
    lambda r: ("scale-up",),
    lambda r: ("scale-up", r["collective"]),
    lambda r: ("scale-up", r["collective"], r["chip"]),
    lambda r: ("scale-up", r["collective"], r["chip"], str(int(r["inner"]))),
    lambda r: ("scale-up", r["collective"], r["chip"], str(int(r["inner"])), r["release"]),
)
OUTER: tuple[Name, ...] = (
    lambda r: (r["kind"],),
    lambda r: (r["kind"], r["collective"]),
    lambda r: (r["kind"], r["collective"], r["provider"]),
)


def fit_nodes(
    data: pl.DataFrame, known: dict[Key, tuple[Array, int]] | None = None, touched: set[Key] | None = None
) -> dict[Key, tuple[Array, int]]:
    """Constants and number of measurements of every node, general to special; of nodes `known`, those `touched` are fitted anew."""
    nodes = {key: value for key, value in (known or {}).items() if key not in (touched or ()) and key[:2] != ("scale-up", "*")}
    single, several = _split(data)
    _descend(nodes, single, INNER, _inner_case, touched=touched)
    _offsets(nodes)
    for (kind,), part in several.group_by("kind", maintain_order=True):
        case = partial(_outer_case, nodes=nodes)
        _descend(nodes, part, OUTER, case, _transport_prior(str(kind)), (PULL_OUT, 1.0, 1.0), touched)
    return nodes


def predicted_without(data: pl.DataFrame, column: str, predict: Callable[[pl.DataFrame], Any]) -> list[tuple[pl.DataFrame, Any]]:
    """Parts of `data` by `column`, each with what `predict` says of it from constants fitted to the other parts alone."""
    full = fit_nodes(data)
    found = []
    for _, part in data.group_by(column, maintain_order=True):
        rest = data.join(part.select("position"), on="position", how="anti")
        nodes = {key: theta for key, (theta, _) in fit_nodes(rest, full, _keys(part)).items()}
        _boxed.append(nodes)
        try:
            found.append((part, predict(part)))
        finally:
            _boxed.pop()
    return found


def _keys(data: pl.DataFrame) -> set[Key]:
    """Nodes of measurements at every level."""
    return {name(r) for part, names in zip(_split(data), (INNER, OUTER), strict=True) for r in part.iter_rows(named=True) for name in names}


def _split(data: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Measurements within a domain, and over several."""
    known = data.filter(pl.col("collective").is_in(list(RULES)))
    return known.filter((pl.col("outer") <= 1) & (pl.col("inner") > 1)), known.filter(pl.col("outer") > 1)


def _transport_prior(kind: str) -> Array:
    """NCCL's constants with the start of the transport."""
    prior = curve.PRIOR.copy()
    prior[0] = np.log(STARTS[kind])
    return prior


Case = tuple[Array, Array, Array, Array, Array]  #: steps, volume, bandwidth, time of the tiers below, measured time


def _inner_case(part: pl.DataFrame) -> Case:
    op = part["collective"][0]
    s, n = part["bytes"].cast(pl.Float64).to_numpy(), part["inner"].to_numpy()
    steps, volume = next(iter(RULES[op].values()))(s, n)
    return steps, volume, part["inside"].to_numpy(), np.zeros(s.shape), part["time_us"].to_numpy() * 1e-6


def _outer_case(part: pl.DataFrame, nodes: dict[Key, tuple[Array, int]]) -> Case:
    op = part["collective"][0]
    s, inner, outer = (part[c].cast(pl.Float64).to_numpy() for c in ("bytes", "inner", "outer"))
    known = {key: theta for key, (theta, _) in nodes.items()}
    below = np.array(
        [_below(known, op, chip, n, size, rate) for chip, n, size, rate in zip(part["chip"], inner, s, part["inside"], strict=True)]
    )
    steps, volume = next(iter(RULES[op].values()))(passed_up(op, s, inner), outer)
    return steps, volume, part["outside"].to_numpy(), below, part["time_us"].to_numpy() * 1e-6


def _below(nodes: dict[Key, Array], op: str, chip: str, n: float, size: float, rate: float) -> float:
    if n <= 1:
        return 0.0
    measured = [int(key[3]) for key in nodes if len(key) == 4 and key[:3] == ("scale-up", op, chip)]
    if measured:
        near = min(measured, key=lambda m: abs(np.log(m / n)))
        theta = nodes["scale-up", op, chip, str(near)]
    else:
        theta = _of_chip(nodes, op, chip)
    steps, volume = next(iter(RULES[op].values()))(np.asarray(size), np.asarray(n))
    return float(curve.seconds(theta, steps, volume, rate))


def _descend(
    nodes: dict[Key, tuple[Array, int]],
    data: pl.DataFrame,
    levels: tuple[Name, ...],
    case: Callable[[pl.DataFrame], Case],
    prior: Array = curve.PRIOR,
    pulls: tuple[float, ...] = PULLS,
    touched: set[Key] | None = None,
) -> None:
    """Fit every node of every level, from the fit of the node above."""
    if data.is_empty():
        return
    records = list(data.iter_rows(named=True))
    above: Name | None = None
    for depth, name in enumerate(levels):
        keys = [name(record) for record in records]
        for key in dict.fromkeys(keys):
            if touched is not None and key not in touched:
                continue
            part = data.filter(pl.Series([k == key for k in keys]))
            parent = prior if above is None else nodes[above(part.row(0, named=True))][0]
            cases = [case(group) for _, group in part.group_by("collective", maintain_order=True)]
            joined = tuple(np.concatenate([c[i] for c in cases]) for i in range(5))
            nodes[key] = (_fit(joined, parent, pulls[depth], _cap(key)), part.height)  # type: ignore[arg-type]
        above = name


def _offsets(nodes: dict[Key, tuple[Array, int]]) -> None:
    """What sets a chip apart whatever the operation: mean distance of its nodes from those of the operations."""
    chips = {key[2] for key in nodes if len(key) == 3 and key[0] == "scale-up"}
    for chip in chips:
        own = {key[1]: value for key, value in nodes.items() if len(key) == 3 and key[0] == "scale-up" and key[2] == chip}
        apart = np.mean([theta - nodes["scale-up", op][0] for op, (theta, _) in own.items()], axis=0)
        nodes["scale-up", "*", chip] = (apart, sum(rows for _, rows in own.values()))


def _cap(key: Key) -> float:
    """Logarithm of the largest share of the wire for a node."""
    tier = "scale-up" if key[0] == "scale-up" else "out"
    return float(np.log(CAPS.get((tier, key[1] if len(key) > 1 else ""), CAPS[tier, ""])))


def _fit(case: Case, parent: Array, pull: float, cap: float) -> Array:
    from scipy.optimize import least_squares

    steps, volume, bandwidth, below, measured = case
    log_time = np.log(measured)

    def residual(flat: Array) -> Array:
        t = curve.seconds(flat.reshape(4, 3), steps, volume, bandwidth)
        r = (np.log((t**6 + below**6) ** (1 / 6)) - log_time) / NOISE
        robust = np.sign(r) * np.sqrt(2 * (np.sqrt(1 + r * r) - 1))  # large residuals count by their size, not by its square
        over = np.maximum(flat.reshape(4, 3)[2] - cap, 0.0)
        return np.concatenate([robust, pull * (flat - parent.ravel()), 1000 * over])

    return np.asarray(least_squares(residual, parent.ravel(), max_nfev=60).x.reshape(4, 3))


def _of_chip(nodes: dict[Key, Array], op: str, chip: str) -> Array:
    """Constants of an operation on a chip: measured, or the operation's with what sets the chip apart elsewhere."""
    if ("scale-up", op, chip) in nodes:
        return nodes["scale-up", op, chip]
    general = _nearest(nodes, ("scale-up", op))
    return general + nodes[key] if (key := ("scale-up", "*", chip)) in nodes else general


def _nearest(nodes: dict[Key, Array], key: Key) -> Array:
    """The node of `key`, or the nearest one above it that was fitted."""
    for length in range(len(key), 0, -1):
        if key[:length] in nodes:
            return nodes[key[:length]]
    return curve.PRIOR if key[0] == "scale-up" else _transport_prior(key[0])


def _as_table(nodes: dict[Key, tuple[Array, int]]) -> pl.DataFrame:
    names = [f"{constant}_{protocol}".lower() for constant in curve.CONSTANTS for protocol in curve.PROTOCOLS]
    return pl.DataFrame(
        [
            {"node": "|".join(key), **dict(zip(names, theta.ravel().tolist(), strict=True)), "rows": rows}
            for key, (theta, rows) in nodes.items()
        ]
    )


#: Constants that stand in for the shipped ones while tables are left out.
_boxed: list[dict[Key, Array]] = []


def _nodes() -> dict[Key, Array]:
    if _boxed:
        return _boxed[-1]
    return _read(id(catalogue.table(TABLE)))


@cache
def _read(_: int) -> dict[Key, Array]:
    frame = catalogue.table(TABLE)
    names = [f"{constant}_{protocol}".lower() for constant in curve.CONSTANTS for protocol in curve.PROTOCOLS]
    values = frame.select(names).to_numpy().reshape(-1, 4, 3)
    if not np.isfinite(values).all():
        raise InputError(f"{TABLE}: a constant is missing")
    nodes = [tuple(node.split("|", 4 if node.startswith("scale-up") else 2)) for node in frame["node"]]
    for node in nodes:
        if node[0] not in KINDS or (len(node) > 3 and not node[3].isdecimal()):
            raise InputError(f"{TABLE}: node {'|'.join(node)!r}: expected one of {', '.join(KINDS)} first, and whole ranks fourth")
    return dict(zip(nodes, values, strict=True))
