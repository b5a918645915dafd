"""Constants of the training step: fitted to measured steps, partially pooled from all systems down to one model's recipe on one chip.

The logarithm of a constant is its prior plus an offset of every node that a row belongs to: all rows, its chip and precision, its software
stack, that stack on that chip, its release, the recipe of a model. Offsets are drawn to zero by a normal prior, residuals of the logarithm
of time are weighed robustly, and each stack counts as much as 60 rows at most. What is not measured works from its parents.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue
from workbench.chips.step import CONSTANTS, NAMES, seconds
from workbench.chips.work import Work
from workbench.errors import InputError, UnknownName

Array = NDArray[np.float64]
TABLE, ERRORS = "calibration/training", "calibration/training_errors"
NOISE = 0.05  #: relative spread of repeated measurements between releases
MOST_ROWS = 60  #: that a stack counts for
PRIOR = np.log([c.prior for c in CONSTANTS])
_SPREAD = np.array([c.spread for c in CONSTANTS])
_OF_CHIP = np.array([c.of_chip for c in CONSTANTS], dtype=float)
_SCALE = np.array([c.name == "scale" for c in CONSTANTS], dtype=float)


@dataclass(frozen=True)
class Origin:
    """What a row was measured on: the names that its constants are looked up by. Unknown ones are empty."""

    chip: str = ""
    precision: str = ""
    stack: str = ""
    release: str = ""  #: major.minor
    version: str = ""  #: everything that tells runs of one stack apart
    model: str = ""
    mixture: bool = False

    def nodes(self) -> dict[str, str]:
        """Key of the row's node at each level."""
        system = f"{self.chip}|{self.precision}"
        kind = f"moe {self.precision}" if self.mixture else "dense"
        return {
            "all": "all",
            "chip": system,
            "stack": self.stack,
            "system": f"{self.stack}|{system}",
            "release": f"{self.stack}|{self.release}|{kind}",
            "version": f"{self.stack}|{self.version}",
            "recipe": f"{self.stack}|{self.model}",
            "machine": f"{self.stack}|{self.model}|{self.chip}",
        }


#: Standard deviation of the offsets of each level.
LEVELS = {
    "all": _SPREAD * (1 - _SCALE),
    "chip": 0.5 * _SPREAD * _OF_CHIP,
    "stack": _SPREAD * (1 - _SCALE),
    "system": 0.35 * _SPREAD * _OF_CHIP,
    "release": 1.5 * _SPREAD * _SCALE,
    "version": 0.5 * _SPREAD * _SCALE,
    "recipe": _SPREAD * _SCALE,
    "machine": 0.5 * _SPREAD * _SCALE,
}


@dataclass(frozen=True)
class Fit:
    """Offsets of the logarithms of constants."""

    offsets: dict[tuple[str, str], Array]  #: by (level, key)
    errors: dict[tuple[str, str], Array]  #: standard deviations
    rows: dict[tuple[str, str], int]
    free: float  #: effective number of parameters

    def logs(self, origins: Iterable[Origin]) -> Array:
        """Logarithms of the constants, a row each."""
        known: dict[Origin, Array] = {}
        found = []
        for origin in origins:
            if origin not in known:
                keys = origin.nodes().items()
                known[origin] = PRIOR + np.sum([self.offsets[k] for k in keys if k in self.offsets], axis=0)
            found.append(known[origin])
        return np.array(found)

    def frame(self) -> pl.DataFrame:
        """The table that ships: node (level|key|constant), offset, error, rows."""
        table = []
        for (level, key), offset in self.offsets.items():
            for i in np.flatnonzero(LEVELS[level] > 0):
                error = float(self.errors[level, key][i])
                table.append((f"{level}|{key}|{NAMES[i]}", round(float(offset[i]), 5), round(error, 4), self.rows[level, key]))
        return pl.DataFrame(table, schema=["node", "offset", "error", "rows"], orient="row")


def named(logs: Array) -> dict[str, Any]:
    """Constants by name from their logarithms (last axis)."""
    values = np.exp(logs)
    return {name: values[..., i] for i, name in enumerate(NAMES)}


def fit(work: Work, origins: list[Origin], measured: Array, iterations: int = 40) -> Fit:
    """Fit the constants to measured steps.

    Damped Gauss-Newton on sum w rho(log(predicted / measured) / noise) + sum (offset / spread)^2, rho(r) = 2 (sqrt(1 + r^2) - 1).

    Parameters
    ----------
    work : Work
        Of every row (see `Work.join`).
    origins : list of Origin
    measured : ndarray
        Time of a step [s].

    Raises
    ------
    InputError
        Without rows, or for a time that is not positive.
    """
    measured = np.asarray(measured, dtype=float)
    if measured.size == 0 or not np.all(measured > 0):
        raise InputError("measured steps: expected at least one, all above 0 s")
    target, weight = np.log(measured), _weights(origins)
    nodes, member, columns, spread = _design(origins)
    offsets = np.zeros((len(nodes), len(NAMES)))
    x = np.zeros(spread.size)

    def logs_of(values: Array) -> Array:
        offsets.ravel()[columns] = values
        return PRIOR + offsets[member].sum(axis=1)

    def loss(values: Array) -> float:
        r = (np.log(seconds(work, named(logs_of(values)))) - target) / NOISE
        return float((weight * 2 * (np.sqrt(1 + r * r) - 1)).sum() + ((values / spread) ** 2).sum())

    current, damping = loss(x), 1e-2
    curvature = np.eye(x.size)
    for _ in range(iterations):
        logs = logs_of(x)
        jacobian, r = _jacobian(work, logs, target)
        robust = weight / np.sqrt(1 + r * r)
        curvature, gradient = _normal(jacobian, robust, r, member, columns, len(nodes))
        curvature[np.diag_indices(x.size)] += spread**-2
        gradient += x / spread**2
        while damping < 1e6:
            damped = curvature.copy()
            damped[np.diag_indices(x.size)] *= 1 + damping
            trial = x - np.clip(np.linalg.solve(damped, gradient), -0.7, 0.7)
            better = loss(trial)
            if better < current:
                break
            damping *= 5
        else:
            break
        done = current - better < 1e-4 * current
        x, current, damping = trial, better, max(damping / 5, 1e-6)
        if done:
            break
    covariance = np.linalg.inv(curvature)
    free = x.size - float((np.diag(covariance) * spread**-2).sum())
    logs_of(x)
    error = np.zeros_like(offsets)
    error.ravel()[columns] = np.sqrt(np.diag(covariance))
    count = np.bincount(member.ravel(), minlength=len(nodes))
    return Fit(
        {node: offsets[i].copy() for i, node in enumerate(nodes)},
        {node: error[i] for i, node in enumerate(nodes)},
        {node: int(count[i]) for i, node in enumerate(nodes)},
        free,
    )


def _weights(origins: list[Origin]) -> Array:
    stacks = [o.stack for o in origins]
    many = {stack: stacks.count(stack) for stack in set(stacks)}
    return np.array([min(1.0, MOST_ROWS / many[stack]) for stack in stacks])


def _design(origins: list[Origin]) -> tuple[list[tuple[str, str]], NDArray[np.intp], NDArray[np.intp], Array]:
    """Nodes; those of each row; positions of what is fitted in the flat table of offsets; and its spreads."""
    index: dict[tuple[str, str], int] = {}
    member = np.array([[index.setdefault(node, len(index)) for node in o.nodes().items()] for o in origins])
    spreads = np.array([LEVELS[level] for level, _ in index])
    columns = np.flatnonzero(spreads.ravel() > 0)
    return list(index), member, columns, spreads.ravel()[columns]


def _jacobian(work: Work, logs: Array, target: Array) -> tuple[Array, Array]:
    """Derivatives of the residuals by the constants of each row, and the residuals, in units of the noise."""
    base = np.log(seconds(work, named(logs)))
    slopes = np.empty(logs.shape)
    for i in range(logs.shape[1]):
        moved = logs.copy()
        moved[:, i] += 1e-4
        slopes[:, i] = (np.log(seconds(work, named(moved))) - base) / 1e-4
    return slopes / NOISE, (base - target) / NOISE


def _normal(jacobian: Array, weight: Array, r: Array, member: Any, columns: Any, n_nodes: int) -> tuple[Array, Array]:
    """Normal equations of the offsets: every node of a row shares the row's derivatives."""
    from scipy import sparse

    n, k = jacobian.shape
    position = np.full(n_nodes * k, -1)
    position[columns] = np.arange(columns.size)
    at = position[member[:, :, None] * k + np.arange(k)]
    kept = at >= 0
    rows = np.broadcast_to(np.arange(n)[:, None, None], at.shape)[kept]
    values = np.broadcast_to(jacobian[:, None, :], at.shape)[kept]
    full = sparse.csr_matrix((values, (rows, at[kept])), shape=(n, columns.size))
    return np.asarray((full.T @ full.multiply(weight[:, None])).todense()), np.asarray(full.T @ (weight * r)).ravel()


def shipped() -> Fit:
    """The constants that ship, fitted by ``workbench calibrate training``."""
    frame = catalogue.table(TABLE)
    if _cache.get("frame") is not frame:
        offsets: dict[tuple[str, str], Array] = {}
        errors: dict[tuple[str, str], Array] = {}
        rows: dict[tuple[str, str], int] = {}
        for name, offset, error, n in frame.select("node", "offset", "error", "rows").iter_rows():
            level, _, rest = name.partition("|")
            key, _, constant = rest.rpartition("|")
            node = (level, key)
            offsets.setdefault(node, np.zeros(len(NAMES)))[NAMES.index(constant)] = offset
            errors.setdefault(node, np.zeros(len(NAMES)))[NAMES.index(constant)] = error
            rows[node] = n
        _cache.update(frame=frame, fit=Fit(offsets, errors, rows, float("nan")))
    found: Fit = _cache["fit"]
    return found


_cache: dict[str, Any] = {}


def stacks() -> list[str]:
    """Software stacks that were measured."""
    return sorted(key for level, key in shipped().offsets if level == "stack" and key)


def constants(origin: Origin) -> dict[str, Any]:
    """Constants for a chip, precision and stack; raises `UnknownName` for a stack that was not measured (empty: the mean of all)."""
    if origin.stack and origin.stack not in stacks():
        raise UnknownName("training stack", origin.stack, stacks())
    return named(shipped().logs([origin])[0])


def half_width(origin: Origin, fitted: Fit | None = None) -> float:
    """Half width of the 80 % interval of the logarithm of time, by how much of the origin was measured."""
    known = (fitted or shipped()).offsets
    widths = {row["case"]: row["half_width"] for row in catalogue.table(ERRORS).iter_rows(named=True)}
    measured = bool(origin.stack) and ("stack", origin.stack) in known
    own = widths.get(origin.stack, widths["stack of few rows"]) if measured else widths["stack not measured"]
    on_chip = any(level == "chip" and key.split("|")[0] == origin.chip for level, key in known)
    return float(own if on_chip else max(own, widths["chip not measured"]))
