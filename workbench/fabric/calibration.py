"""Measured constants of `curve`: pooled from general to special, in a scale-up domain and between domains, and looked up the same way.

In a domain: all measurements, operation, chip, ranks, version of the library. Between domains: all, operation, transport, both; chip, where
two or three domains all-reduce (each byte then crosses once, if switches or trees reduce inside); and whether many racks are joined. A
fabric whose transport is not said has what all have in common. On a chip whose measurements are of other operations, what sets it apart in
those comes on top. Where the version is not said, constants are those of tables that do not say it; of one not measured, those of all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Array
from workbench.calibration import evidence
from workbench.calibration.evidence import Evidence, Index
from workbench.calibration.pool import Constant, Fit, Level, Pool
from workbench.errors import InputError
from workbench.fabric import curve

ERRORS, INDEX = "calibration/collective_errors", "calibration/collectives_evidence"
TRANSPORTS = ("InfiniBand", "RoCE", "EFA", "TCPXO", "TCPX", "Slingshot", "other")
KINDS = ("scale-up", *TRANSPORTS)
RACK = 16  #: chips: larger domains are racks, whose NICs no collective is known to fill
#: Words of a fabric that tell its transport, in the order in which they are looked for.
MARKS = {"tcpxo": "TCPXO", "tcpx": "TCPX", "efa": "EFA", "slingshot": "Slingshot", "roce": "RoCE", "pollara": "RoCE",
         "spectrum-x": "RoCE", "ethernet": "RoCE"}  # fmt: skip
SIZES = ("below 1 MiB", "1 to 256 MiB", "from 256 MiB")
#: What the nearest measurements may differ in, within a domain and between domains, and how much each counts; numbers by their ratio.
INSIDE = {"kind": 4.0, "operation": 2.0, "chip": 2.0, "ranks": 1.0, "version": 0.25}
BETWEEN = {"kind": 4.0, "operation": 2.0, "domains": 1.0, "ranks": 0.5, "chip": 0.25}
#: Cases of the intervals by the distance of the nearest measurements: up to so far.
DISTANCES = {"measured": 0.25, "near": 0.9, "not measured": np.inf}
#: What keys of levels begin with, where it is no kind.
FIRST = {"between": ("all",), "between_operation": ("all",), "pair": ("2", "3"), "rack": ("yes",)}
#: Levels from general to special, within a domain and between domains.
INNER = ("domain", "operation", "chip", "ranks", "version")
OUTER = ("between", "between_operation", "transport", "transport_operation", "pair", "rack")
OWNED = ("chip", "ranks", "version", "transport_operation", "pair")  #: what few measurements of one's own change
UNITS = {"start": "s", "step": "s", "share": "of the link's bandwidth", "chunk": "s a square root of a byte", "inline": "of a step"}
POOL = Pool(
    "calibration/collectives",
    tuple(
        Constant(
            f"{name}_{at}".lower(), float(np.exp(curve.PRIOR[i, j])), 1 + 2.0 * (name == "inline"), f"{name} of {at} [{UNITS[name]}]",
            "scale" * (name == "inline"),  # which differs by transport alone
        )
        for i, name in enumerate(curve.CONSTANTS)
        for j, at in enumerate(curve.PROTOCOLS)
    ),
    {
        "domain": Level(("kind",), 1 / 0.3), "operation": Level(("kind", "op"), 1 / 0.5), "chip": Level(("kind", "op", "chip"), 1 / 1.0),
        "ranks": Level(("kind", "op", "chip", "ranks"), 1 / 1.5), "version": Level(("kind", "op", "chip", "ranks", "version"), 1 / 2.0),
        "elsewhere": Level(("elsewhere",)), "between": Level(("between",), 0.4), "between_operation": Level(("between", "op"), 0.3),
        "transport": Level(("transport",), 0.35, "all"), "transport_operation": Level(("transport", "op"), 1.0, "all"),
        "pair": Level(("pair", "op", "chip"), 0.5), "rack": Level(("rack", "op"), 2.0),
    },
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """What a collective was measured on: the names that its constants are looked up by. Unknown ones are empty."""

    kind: str = "scale-up"
    op: str = ""
    chip: str = ""
    ranks: str = ""
    version: str = ""
    elsewhere: str = ""  #: a chip on which other operations were measured, but not this one
    between: str = ""  #: all, between domains
    transport: str = ""
    pair: str = ""  #: 2 or 3 domains that all-reduce
    rack: str = ""  #: yes, of more than three domains that are racks

    @classmethod
    def outside(cls, kind: str, op: str, chip: str, domains: float, below: float) -> Origin:
        """Of domains that a transport joins, of `below` chips each."""
        few = f"{domains:.0f}" if op == "all_reduce" and domains < 3.5 else ""
        rack = "yes" if op == "all_reduce" and below > RACK and domains > 3.5 else ""
        known = "" if kind == "other" else kind
        return cls(kind, op, chip, between="all", transport=known, pair=few, rack=rack)


def shipped() -> Fit:
    """The constants that ship, with the user's own."""
    return catalogue.made_of(POOL.table, _read)


def kinds() -> tuple[str, ...]:
    """Kinds of tiers: those that ship, and names that own measurements were calibrated under."""
    own = {key for level, key in shipped().offsets if level == "transport"}
    return (*KINDS, *sorted(own - set(KINDS)))


def transport(fabric: str | None) -> str:
    """Kind of transport from the words of a fabric, or the own name that it holds."""
    words = f" {(fabric or '').lower()} "
    found = [kind for kind in kinds()[len(KINDS) :] if kind.lower() in words] + [kind for mark, kind in MARKS.items() if mark in words]
    return found[0] if found else "InfiniBand" if "infiniband" in words or " ib " in words else "other"


def minor(version: str) -> str:
    """Version as constants know it: ``2.27`` of 2.27.3 or of ``nccl-tests, NCCL 2.27.3``; empty where there is none."""
    found = re.search(r"\d+\.\d+", version)
    return found[0] if found else ""


def constants(op: str, kind: str, chip: str, n: ArrayLike, version: str = "", below: ArrayLike = 1.0) -> list[tuple[Array, Array, Array]]:
    """Logarithms of the constants of a tier above `below` ranks, the ranks to take them at, and their weight in the logarithm of time.

    Between numbers of ranks that were measured, time is interpolated between those of both; beyond them, the constants of the nearest hold
    at the ranks themselves. Shapes of `n` + (5, 3), of `n`, and of `n`; the weights add up to 1.
    """
    fit, ranks = shipped(), np.asarray(n, dtype=float)
    if kind != "scale-up":
        few, rack = np.clip(np.round(ranks), 2, 4).astype(int) - 2, (np.asarray(below) > RACK).astype(int)
        return [(_outside(fit, op, kind, chip)[few, rack], ranks, np.ones(()))]
    known, thetas = in_domain(fit, op, chip, version)
    if not known.size:
        return [(thetas, ranks, np.ones(()))]
    right = np.clip(np.searchsorted(known, ranks), 0, known.size - 1)
    left = np.where(known[right] > ranks, np.maximum(right - 1, 0), right)
    between = (known[left] < ranks) & (ranks < known[right])
    if not between.any():
        return [(thetas[right], ranks, np.ones(()))]
    gap = np.where(between, np.log(known[right] / known[left]), 1.0)
    weight = np.where(between, np.log(np.maximum(ranks, 1.0) / known[left]) / gap, 1.0)
    sides = (left, 1 - weight), (right, weight)
    return [(thetas[side], np.where(between, known[side], ranks), share) for side, share in sides]


@lru_cache(maxsize=1024)
def in_domain(fit: Fit, op: str, chip: str, version: str) -> tuple[Array, Array]:
    """Numbers of ranks that an operation was measured at on a chip, with the constants there; none, and the constants of any number."""
    own = f"scale-up|{op}|{chip}|"
    ranks = sorted((key.removeprefix(own) for level, key in fit.offsets if level == "ranks" and key.startswith(own)), key=int)
    if ranks:
        return np.array(ranks, dtype=float), np.stack([_logs(fit, Origin("scale-up", op, chip, m, version)) for m in ranks])
    measured = ("chip", f"scale-up|{op}|{chip}") in fit.offsets
    return np.zeros(0), _logs(fit, Origin("scale-up", op, chip, elsewhere="" if measured else chip))


def nearest(op: str, chip: str, ranks: float, kind: str, domains: float, version: str) -> Evidence:
    """The measurements nearest to `ranks` in one domain, or to as many in each of several domains that a transport joins."""
    said = {"kind": kind, "operation": op, "chip": chip, "ranks": f"{ranks:.0f}", "domains": f"{domains:.0f}", "version": version}
    return catalogue.made_of(INDEX, Index).nearest(said, INSIDE if kind == "scale-up" else BETWEEN, {"ranks": _ratio, "domains": _ratio})


def _ratio(said: str, cells: NDArray[Any]) -> Array:
    """How far numbers are from the one that was said, from 0 to 1 at eight times or an eighth."""
    return np.minimum(np.abs(np.log2(cells.astype(float) / float(said))) / 3, 1.0)


def case(kind: str, chip: str, distance: float, size: str) -> str:
    """Name of the interval of messages of a size so far from what was measured; cards on PCIe differ most by what their host allows."""
    links = chip not in catalogue.names("chips") or catalogue.chip(chip).scaleup_bandwidth
    place = "several domains" if kind != "scale-up" else "one domain" if links else "one host"
    return f"{place}, {next(name for name, most in DISTANCES.items() if distance <= most)}, {size}"


def half_width(kind: str, chip: str, distance: float, message_bytes: Array) -> Array:
    """Half width of the 80 % interval in the logarithm of time, as tables that were left out showed it at that distance."""
    widths = [evidence.half_width(ERRORS, [case(kind, chip, distance, size), case(kind, chip, np.inf, size)]) for size in SIZES]
    return np.array(widths)[size_class(message_bytes)]


def size_class(message_bytes: Array) -> NDArray[np.intp]:
    """Position among `SIZES`."""
    return np.searchsorted([2.0**20, 2.0**28], message_bytes, side="right")


@lru_cache(maxsize=256)
def _outside(fit: Fit, op: str, kind: str, chip: str) -> Array:
    """Constants between 2, 3 and more domains that are hosts or racks, shape (3, 2, 5, 3)."""
    return np.array([[_logs(fit, Origin.outside(kind, op, chip, n, below)) for below in (1.0, RACK + 1.0)] for n in (2.0, 3.0, 4.0)])


def start(origin: Origin) -> Array:
    """What a network's prior adds to the logarithms of the constants; nothing in a domain. Racks fill the NICs of a host's eight chips."""
    more = curve.BETWEEN - curve.PRIOR if origin.between else np.zeros(curve.PRIOR.shape)
    more[2] -= np.log(8) if origin.rack else 0.0
    return more


def _logs(fit: Fit, origin: Origin) -> Array:
    """Logarithms of the constants (5, 3)."""
    return fit.logs([origin])[0].reshape(curve.PRIOR.shape) + start(origin)


def _read(frame: pl.DataFrame) -> Fit:
    fit = POOL.read(frame)
    for level, key in fit.offsets:
        parts = key.split("|")
        first = (*FIRST.get(level, KINDS), *((parts[0],) if level in ("transport", "transport_operation") else ()))  # names of one's own
        if level != "elsewhere" and (parts[0] not in first or (level in ("ranks", "version") and not parts[3].isdecimal())):
            raise InputError(f"{POOL.table}: node '{level}|{key}': expected one of {', '.join(first)} first, and whole ranks fourth")
    return fit
