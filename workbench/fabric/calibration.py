"""Measured constants of `curve`: pooled from general to special, in a scale-up domain and between domains, and looked up the same way.

In a domain: all measurements, operation, chip, ranks, library release; between domains: transport, operation, provider. On a chip whose
measurements are of other operations, what sets it apart in those comes on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.calibration import evidence
from workbench.calibration.pool import Constant, Fit, Level, Pool
from workbench.errors import InputError
from workbench.fabric import curve

Array = NDArray[np.float64]
ERRORS = "calibration/collective_errors"
#: Transports between domains, with the time that a small all-reduce of two nodes takes on them [s]: the prior of their starts. They were
#: read off the same tables that the constants are fitted to, so errors with a table left out are optimistic for transports of few tables
#: (without these priors: 47, 33 and 22 % by size instead of 25, 27 and 15 %).
STARTS = {"InfiniBand": 30e-6, "RoCE": 75e-6, "EFA": 110e-6, "TCPXO": 105e-6, "TCPX": 700e-6, "Slingshot": 18e-6, "other": 60e-6}
KINDS = ("scale-up", *STARTS)
SIZES = ((0.0, 2.0**20, "below 1 MiB"), (2.0**20, 2.0**28, "1 to 256 MiB"), (2.0**28, np.inf, "from 256 MiB"))
#: Levels from general to special, within a domain and between domains.
INNER, OUTER = ("domain", "operation", "chip", "ranks", "release"), ("transport", "transport_operation", "provider")
UNITS = {"start": "s", "step": "s", "share": "of the link's bandwidth", "chunk": "s a square root of a byte"}
POOL = Pool(
    "calibration/collectives",
    tuple(
        Constant(f"{name}_{protocol}".lower(), float(np.exp(curve.PRIOR[i, j])), 1.0, f"{name} of {protocol} [{UNITS[name]}]")
        for i, name in enumerate(curve.CONSTANTS)
        for j, protocol in enumerate(curve.PROTOCOLS)
    ),
    {
        "domain": Level(("kind",), 1 / 0.3),
        "operation": Level(("kind", "op"), 1 / 0.5),
        "chip": Level(("kind", "op", "chip"), 1 / 1.0),
        "ranks": Level(("kind", "op", "chip", "ranks"), 1 / 1.5),
        "release": Level(("kind", "op", "chip", "ranks", "release"), 1 / 2.0),
        "elsewhere": Level(("elsewhere",)),
        "transport": Level(("kind",), 1 / 40.0),  # few tables, of few providers: the best of 2, 6, 15 and 40 with tables left out
        "transport_operation": Level(("kind", "op")),
        "provider": Level(("kind", "op", "provider")),
    },
)


@dataclass(frozen=True)
class Origin:
    """What a collective was measured on: the names that its constants are looked up by. Unknown ones are empty."""

    kind: str = "scale-up"
    op: str = ""
    chip: str = ""
    ranks: str = ""
    release: str = ""
    provider: str = ""
    elsewhere: str = ""  #: a chip on which other operations were measured, but not this one


def shipped() -> Fit:
    """The constants that ship, with the user's own."""
    return catalogue.made_of(POOL.table, _read)


def constants(
    op: str, kind: str, chip: str, n: ArrayLike, provider: str = "", release: str = "", fit: Fit | None = None
) -> list[tuple[Array, Array, Array]]:
    """Logarithms of the constants of a tier, the ranks to take them at, and their weight in the logarithm of time.

    Between numbers of ranks that were measured, time is interpolated between those of both; beyond them, the constants of the nearest hold
    at the ranks themselves.

    Returns
    -------
    list of (theta, ranks, weight)
        Shapes of `n` + (4, 3), of `n`, and of `n`; the weights add up to 1.
    """
    fit, ranks = fit or shipped(), np.asarray(n, dtype=float)
    if kind != "scale-up":
        return [(_logs(fit, Origin(kind, op, provider=provider)), ranks, np.ones(()))]
    known, thetas = in_domain(fit, op, chip, release)
    if not known.size:
        return [(thetas, ranks, np.ones(()))]
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


@lru_cache(maxsize=1024)
def in_domain(fit: Fit, op: str, chip: str, release: str) -> tuple[Array, Array]:
    """Numbers of ranks that an operation was measured at on a chip, with the constants there; none, and the constants of any number."""
    own = f"scale-up|{op}|{chip}|"
    ranks = sorted((key.removeprefix(own) for level, key in fit.offsets if level == "ranks" and key.startswith(own)), key=int)
    if ranks:
        return np.array(ranks, dtype=float), np.stack([_logs(fit, Origin("scale-up", op, chip, m, release)) for m in ranks])
    measured = ("chip", f"scale-up|{op}|{chip}") in fit.offsets
    return np.zeros(0), _logs(fit, Origin("scale-up", op, chip, elsewhere="" if measured else chip))


def interval(op: str, message_bytes: Array, inner: tuple[str, str, str], outer: tuple[str, str] | None, fit: Fit | None = None) -> Array:
    """Half width of the 80 % interval in the logarithm of time, by how much of the configuration was measured.

    Where the very tier was (chip, ranks and release; or provider and operation), the residuals of the fit; else those of tables left out.

    Parameters
    ----------
    inner : (chip, ranks, release)
    outer : (kind, provider) or None
        The next tier, if there is one.
    """
    known = (fit or shipped()).offsets
    if outer is None:
        chip = f"scale-up|{op}|{inner[0]}"
        seen = "release" if ("release", "|".join((chip, *inner[1:]))) in known else "chip" if ("chip", chip) in known else "nothing"
        return np.full(message_bytes.shape, evidence.half_width(ERRORS, [f"one domain, {seen} measured"]))
    if ("provider", f"{outer[0]}|{op}|{outer[1]}") in known:
        return np.full(message_bytes.shape, evidence.half_width(ERRORS, ["several domains, provider measured"]))
    found = np.zeros(message_bytes.shape)
    for low, high, name in SIZES:
        within = (message_bytes >= low) & (message_bytes < high)
        found = np.where(within, evidence.half_width(ERRORS, [f"several domains, {name}"]), found)
    return found


def start(kind: str) -> Array:
    """What the prior of a transport adds to the logarithms of the constants; nothing in a domain."""
    more = np.zeros(curve.PRIOR.shape)
    if kind in STARTS:
        more[0] = np.log(STARTS[kind]) - curve.PRIOR[0]
    return more


def _logs(fit: Fit, origin: Origin) -> Array:
    """Logarithms of the constants (4, 3)."""
    return fit.logs([origin])[0].reshape(curve.PRIOR.shape) + start(origin.kind)


def _read(frame: pl.DataFrame) -> Fit:
    fit = POOL.read(frame)
    for level, key in fit.offsets:
        parts = key.split("|")
        if level != "elsewhere" and (parts[0] not in KINDS or (level in ("ranks", "release") and not parts[3].isdecimal())):
            raise InputError(f"{POOL.table}: node '{level}|{key}': expected one of {', '.join(KINDS)} first, and whole ranks fourth")
    return fit
