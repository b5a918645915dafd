"""Constants fitted to measurements, partially pooled: an offset for every node that a row belongs to, drawn to zero.

The logarithm of a constant is its prior plus the offsets of the row's nodes, one a level: all rows, a chip and precision, a stack, a
release, a model. Offsets have a normal prior with the spread of their level, residuals of logarithms are weighed robustly. What is not
measured works from its parents.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue
from workbench.errors import InputError

Array = NDArray[np.float64]
Node = tuple[str, str]  #: level and key


class Origin(Protocol):
    """What a row was measured on."""

    def nodes(self) -> dict[str, str]:
        """Key of the row's node at each level."""
        ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class Constant:
    """A constant of a model: what is fitted is its logarithm."""

    name: str
    prior: float
    spread: float  #: standard deviation of the logarithm between all systems
    meaning: str
    level: str = ""  #: of what it differs beyond the software: chip, or scale (releases and models, as a whole)


@dataclass(frozen=True)
class Pool:
    """Names and priors of constants, and how much they differ at each level."""

    names: tuple[str, ...]
    prior: Array  #: logarithms
    levels: dict[str, Array]  #: standard deviation of the offsets of each constant; 0 where it has none

    def named(self, logs: Array) -> dict[str, Any]:
        """Constants by name from their logarithms (last axis)."""
        values = np.exp(logs)
        return {name: values[..., i] for i, name in enumerate(self.names)}

    def shipped(self, table: str) -> Fit:
        """The constants that ship in a table of the catalogue; read once."""
        frame = catalogue.table(table)
        if table not in _shipped or _shipped[table][0] is not frame:
            _shipped[table] = frame, self.read(frame)
        return _shipped[table][1]

    def fit(
        self,
        predict: Callable[[Array], Array],
        origins: Sequence[Any],
        target: Array,
        *,
        noise: Any,
        weight: Array,
        base: Fit | None = None,
        iterations: int = 40,
    ) -> Fit:
        """Fit the offsets by damped Gauss-Newton on sum w rho(residual / noise) + sum (offset / spread)^2, rho(r) = 2 (sqrt(1 + r^2) - 1).

        Parameters
        ----------
        predict : callable
            Logarithms of constants, a row each -> logarithms of what was measured.
        origins : sequence
            Of each row, with a method ``nodes``.
        target : ndarray
            Logarithms of what was measured.
        noise : array_like
            Standard deviation of repeated measurements, in logarithms.
        weight : ndarray
            Of each row.
        base : Fit, optional
            Of other rows: offsets are drawn to its constants in place of the priors, and come on top of them.

        Raises
        ------
        InputError
            Without rows, or for measurements that are not finite.
        """
        if target.size == 0 or not np.all(np.isfinite(target)):
            raise InputError("measurements: expected at least one, all above 0")
        nodes, member, columns, spread = self._design(origins)
        x, offsets = np.zeros(spread.size), np.zeros((len(nodes), len(self.names)))

        start = self.prior if base is None else base.logs(origins)

        def logs_of(values: Array) -> Array:
            offsets.ravel()[columns] = values
            return np.asarray(start + offsets[member].sum(axis=1))

        def loss(values: Array) -> float:
            r = (predict(logs_of(values)) - target) / noise
            return float((weight * 2 * (np.sqrt(1 + r * r) - 1)).sum() + ((values / spread) ** 2).sum())

        current, damping, curvature = loss(x), 1e-2, np.eye(x.size)
        for _ in range(iterations):
            jacobian, r = self._jacobian(predict, logs_of(x), target, noise)
            curvature, gradient = _normal(jacobian, weight / np.sqrt(1 + r * r), r, member, columns, len(nodes))
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
        variance = np.diag(np.linalg.inv(curvature))
        logs_of(x)
        error = np.zeros_like(offsets)
        error.ravel()[columns] = np.sqrt(variance)
        count = np.bincount(member.ravel(), minlength=len(nodes))
        known = Fit(self, {}, {}, {}, 0.0) if base is None else base
        return Fit(
            self,
            known.offsets | {node: offsets[i] + known.offsets.get(node, 0.0) for i, node in enumerate(nodes)},
            known.errors | {node: error[i] for i, node in enumerate(nodes)},
            known.rows | {node: int(count[i]) + known.rows.get(node, 0) for i, node in enumerate(nodes)},
            x.size - float((variance * spread**-2).sum()),
        )

    def read(self, frame: pl.DataFrame) -> Fit:
        """A fit from the table that `Fit.frame` writes."""
        offsets: dict[Node, Array] = {}
        errors: dict[Node, Array] = {}
        rows: dict[Node, int] = {}
        for name, offset, error, n in frame.select("node", "offset", "error", "rows").iter_rows():
            level, _, rest = name.partition("|")
            key, _, constant = rest.rpartition("|")
            if level not in self.levels or constant not in self.names:
                known = f"level one of {', '.join(self.levels)}, constant one of {', '.join(self.names)}"
                raise InputError(f"node {name!r} of the calibration: expected level|key|constant, {known}")
            node, at = (level, key), self.names.index(constant)
            offsets.setdefault(node, np.zeros(len(self.names)))[at] = offset
            errors.setdefault(node, np.zeros(len(self.names)))[at] = error
            rows[node] = n
        return Fit(self, offsets, errors, rows, float("nan"))

    def _design(self, origins: Sequence[Any]) -> tuple[list[Node], NDArray[np.intp], NDArray[np.intp], Array]:
        """Nodes; those of each row; positions of what is fitted in the flat table of offsets; and its spreads."""
        index: dict[Node, int] = {}
        known: dict[Hashable, list[int]] = {}
        for o in origins:
            if o not in known:
                known[o] = [index.setdefault(node, len(index)) for node in o.nodes().items()]
        member = np.array([known[o] for o in origins])
        spreads = np.array([self.levels[level] for level, _ in index]).ravel()
        columns = np.flatnonzero(spreads > 0)
        return list(index), member, columns, spreads[columns]

    def _jacobian(self, predict: Callable[[Array], Array], logs: Array, target: Array, noise: Any) -> tuple[Array, Array]:
        """Derivatives of the residuals by the constants of each row, and the residuals, in units of the noise."""
        base, slopes = predict(logs), np.empty(logs.shape)
        for i in range(logs.shape[1]):
            moved = logs.copy()
            moved[:, i] += 1e-4
            slopes[:, i] = (predict(moved) - base) / 1e-4
        scale = np.broadcast_to(np.asarray(noise, dtype=float), base.shape)
        return slopes / scale[:, None], (base - target) / scale


@dataclass(frozen=True)
class Fit:
    """Offsets of the logarithms of constants."""

    pool: Pool
    offsets: dict[Node, Array]
    errors: dict[Node, Array]  #: standard deviations
    rows: dict[Node, int]
    free: float  #: effective number of parameters

    def logs(self, origins: Iterable[Any]) -> Array:
        """Logarithms of the constants, a row each."""
        known: dict[Any, Array] = {}
        found = []
        for origin in origins:
            if origin not in known:
                known[origin] = self.pool.prior + np.sum([self.offsets[k] for k in origin.nodes().items() if k in self.offsets], axis=0)
            found.append(known[origin])
        return np.array(found)

    def frame(self) -> pl.DataFrame:
        """The table that ships: node (level|key|constant), offset, error, rows."""
        table = []
        for (level, key), offset in self.offsets.items():
            for i in np.flatnonzero(self.pool.levels[level] > 0):
                error = float(self.errors[level, key][i])
                table.append((f"{level}|{key}|{self.pool.names[i]}", round(float(offset[i]), 5), round(error, 4), self.rows[level, key]))
        return pl.DataFrame(table, schema=["node", "offset", "error", "rows"], orient="row")


def balanced(groups: Sequence[str], most: float) -> Array:
    """Weights of rows by which no group counts for more than `most` of them."""
    many: dict[str, int] = {}
    for group in groups:
        many[group] = many.get(group, 0) + 1
    return np.array([min(1.0, most / many[group]) for group in groups])


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


_shipped: dict[str, tuple[pl.DataFrame, Fit]] = {}
