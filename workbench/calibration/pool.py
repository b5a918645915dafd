"""Constants fitted to measurements, partially pooled: an offset for every node that a row belongs to, drawn to zero.

The logarithm of a constant is its prior plus the offsets of the row's nodes, one a level: all rows, a chip and precision, a stack, a
release, a model. Offsets have a normal prior with the spread of their level, residuals of logarithms are weighed robustly. What is not
measured works from its parents. A model declares its constants, what their levels are told apart by, and the table they ship in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Array
from workbench.errors import InputError

Rows = NDArray[np.intp]  #: positions
Node = tuple[str, str]  #: level and key
Predict = Callable[[Array], Array]  #: logarithms of constants, a row each -> logarithms of what was measured
STIFF = 1e3  #: weight of what goes beyond a bound: it gives way by a millionth
STEPS = 40  #: of a fit at most
DOUBTS = 2  #: times that a fit weighs its rows anew


@dataclass(frozen=True)
class Constant:
    """A constant of a model: what is fitted is its logarithm."""

    name: str
    prior: float
    spread: float  #: standard deviation of the logarithm between all systems
    meaning: str
    level: str = ""  #: of what it differs beyond the software: chip, or scale (releases and models, as a whole)
    most: float = np.inf  #: bound that physics sets: what is fitted beyond it counts as it


@dataclass(frozen=True)
class Level:
    """A way in which rows differ."""

    of: tuple[str, ...] = ()  #: attributes of an origin that tell its nodes apart; none: every row is of one node
    spread: float = 1.0  #: standard deviation of the offsets, over those of the constants
    which: str = ""  #: constants that differ: those of this level alone; empty: all but those of a scale; all


@dataclass(frozen=True, eq=False)
class Pool:
    """The constants of a model, how much they differ at each level, and the table of the catalogue that they ship in."""

    table: str
    constants: tuple[Constant, ...]
    levels: dict[str, Level]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the constants."""
        return tuple(c.name for c in self.constants)

    @cached_property
    def prior(self) -> Array:
        """Logarithms of the priors."""
        return np.log([c.prior for c in self.constants])

    @cached_property
    def spreads(self) -> dict[str, Array]:
        """Standard deviation of the offsets of each constant by level; 0 where it has none."""
        constants = self.constants
        return {
            name: np.array([at.spread * c.spread * (at.which in ("all", c.level) if at.which else c.level != "scale") for c in constants])
            for name, at in self.levels.items()
        }

    def nodes(self, origin: Any) -> dict[str, str]:
        """Key of an origin's node at each level."""
        return {name: "|".join(str(getattr(origin, part)) for part in at.of) if at.of else "all" for name, at in self.levels.items()}

    def named(self, logs: Array) -> dict[str, Any]:
        """Constants by name from their logarithms (last axis)."""
        values = np.minimum(np.exp(logs), [c.most for c in self.constants])
        return {name: values[..., i] for i, name in enumerate(self.names)}

    def shipped(self) -> Fit:
        """The constants that ship, with the user's own."""
        return catalogue.made_of(self.table, self.read)

    def of(self, origin: Any) -> dict[str, Any]:
        """The shipped constants of one origin, by name."""
        return self.named(self.shipped().logs([origin])[0])

    def fit(
        self, predict: Predict, origins: Sequence[Any], target: Array, *, noise: ArrayLike, weight: ArrayLike = 1.0, doubt: Any = np.inf,
        base: Fit | None = None, levels: Collection[str] | None = None, most: Array | None = None, tolerance: float = 1e-4,
    ) -> Fit:  # fmt: skip
        """Fit the offsets by damped Gauss-Newton on sum w rho(residual / noise) + sum (offset / spread)^2, rho(r) = 2 (sqrt(1 + r^2) - 1).

        `predict` says what the constants of rows predict, `origins` what each row was measured on, `target` the logarithms that were
        measured; `noise` is the standard deviation of repeated measurements, in logarithms. Offsets are drawn to the constants of `base`,
        a fit of other rows, in place of the priors, and come on top of them. Only `levels` are fitted, if given; `most` are the largest
        logarithms of the constants of each row, infinite where there is no bound; a step must lower the loss by the share `tolerance` for
        another one. Rows `doubt` times the noise away from a fit count half in the next, farther ones less. Raises `InputError` without
        rows, or for measurements that are not finite.
        """
        if target.size == 0 or not np.all(np.isfinite(target)):
            raise InputError("measurements: expected at least one, all above 0")
        from scipy import linalg

        nodes, member, columns, spread = self._design(origins, levels)
        x, offsets = np.zeros(spread.size), np.zeros((len(nodes), len(self.names)))
        known = base or Fit(self, {}, {}, {}, 0.0)
        start = known.logs(origins)
        scale, given, far = (np.broadcast_to(np.asarray(x, dtype=float), target.shape) for x in (noise, weight, doubt))
        weighed, doubts = given, DOUBTS if np.isfinite(far).any() else 0

        def logs_of(values: Array) -> Array:
            offsets.ravel()[columns] = values
            return np.asarray(start + offsets[member].sum(axis=1))

        def loss(values: Array) -> float:
            logs = logs_of(values)
            r = (predict(logs) - target) / scale
            over = 0.0 if most is None else ((STIFF * np.maximum(logs - most, 0.0)) ** 2).sum()
            return float((weighed * 2 * (np.sqrt(1 + r * r) - 1)).sum() + ((values / spread) ** 2).sum() + over)

        current, damping, curvature = loss(x), 1e-2, np.eye(x.size)
        for _ in range(STEPS):
            logs, of, w = logs_of(x), member, weighed
            there = predict(logs)
            slopes = np.stack([(predict(logs + 1e-4 * one) - there) / 1e-4 for one in np.eye(logs.shape[1])], axis=1)
            jacobian, r = slopes / scale[:, None], (there - target) / scale  # in units of the noise
            w = w / np.sqrt(1 + r * r)
            if most is not None:
                row, constant = np.nonzero(logs > most)
                jacobian = np.concatenate([jacobian, STIFF * np.eye(logs.shape[1])[constant]])
                r = np.concatenate([r, STIFF * (logs - most)[row, constant]])
                w, of = np.concatenate([w, np.ones(row.size)]), np.concatenate([member, member[row]])
            curvature, gradient = _normal(jacobian, w, r, of, columns, len(nodes))
            curvature[np.diag_indices(x.size)] += spread**-2
            gradient += x / spread**2
            while damping < 1e6:
                damped = curvature.copy()
                damped[np.diag_indices(x.size)] *= 1 + damping
                trial = x - np.clip(linalg.solve(damped, gradient, assume_a="pos", overwrite_a=True), -0.7, 0.7)
                better = loss(trial)
                if better < current:
                    break
                damping *= 5
            else:
                break
            done = current - better < tolerance * current
            x, current, damping = trial, better, max(damping / 5, 1e-6)
            if done and not doubts:
                break
            if done:
                r, doubts = (predict(logs_of(x)) - target) / scale, doubts - 1
                weighed = given / (1 + (r / far) ** 2)
                current, damping = loss(x), 1e-2
        variance, error = np.diag(np.linalg.inv(curvature)), np.zeros_like(offsets)
        logs_of(x)
        error.ravel()[columns] = np.sqrt(variance)
        count = np.bincount(member.ravel(), minlength=len(nodes))
        found = known.offsets | {node: offsets[i] + known.offsets.get(node, 0.0) for i, node in enumerate(nodes)}
        errors = known.errors | {node: error[i] for i, node in enumerate(nodes)}
        rows = known.rows | {node: int(count[i]) + known.rows.get(node, 0) for i, node in enumerate(nodes)}
        return Fit(self, found, errors, rows, x.size - float((variance * spread**-2).sum()))

    def read(self, frame: pl.DataFrame) -> Fit:
        """A fit from the table that `Fit.frame` writes."""
        nodes: list[Node] = [(level, key or "") for level, key in zip(frame["level"].to_list(), frame["key"].to_list(), strict=True)]
        constants, place = frame["constant"].to_list(), {name: i for i, name in enumerate(self.names)}
        for (level, key), constant in zip(nodes, constants, strict=True):
            if level not in self.levels or constant not in place:
                known = f"level one of {', '.join(self.levels)}, constant one of {', '.join(self.names)}"
                raise InputError(f"{self.table}: node '{level}|{key}|{constant}': expected level|key|constant, {known}")
        rows: dict[Node, int] = dict(zip(nodes, frame["rows"].to_list(), strict=True))
        index = {node: i for i, node in enumerate(rows)}
        at = [index[node] for node in nodes], [place[constant] for constant in constants]
        offsets, errors = np.zeros((2, len(rows), len(place)))
        offsets[at], errors[at] = frame["offset"].to_numpy(), frame["error"].to_numpy()
        return Fit(self, dict(zip(rows, offsets, strict=True)), dict(zip(rows, errors, strict=True)), rows, float("nan"))

    def _design(self, origins: Sequence[Any], levels: Collection[str] | None) -> tuple[list[Node], Rows, Rows, Array]:
        """Nodes; those of each row; positions of what is fitted in the flat table of offsets; and its spreads."""
        index: dict[Node, int] = {}
        of = {o: [node for node in self.nodes(o).items() if levels is None or node[0] in levels] for o in dict.fromkeys(origins)}
        at = {o: [index.setdefault(node, len(index)) for node in nodes] for o, nodes in of.items()}
        member = np.array([at[o] for o in origins])
        spreads = np.array([self.spreads[level] for level, _ in index]).ravel()
        columns = np.flatnonzero(spreads > 0)
        return list(index), member, columns, spreads[columns]


@dataclass(frozen=True, eq=False)
class Fit:
    """Offsets of the logarithms of constants."""

    pool: Pool
    offsets: dict[Node, Array]
    errors: dict[Node, Array]  #: standard deviations
    rows: dict[Node, int]
    free: float  #: effective number of parameters

    def logs(self, origins: Iterable[Any]) -> Array:
        """Logarithms of the constants, a row each."""
        every, prior = list(origins), self.pool.prior
        nodes = {o: self.pool.nodes(o).items() for o in set(every)}
        known = {o: prior + np.sum([self.offsets[k] for k in of if k in self.offsets], axis=0) for o, of in nodes.items()}
        return np.array([known[o] for o in every])

    def without(self, nodes: Collection[Node]) -> Fit:
        """All but these nodes."""
        offsets, errors = ({node: of[node] for node in of if node not in nodes} for of in (self.offsets, self.errors))
        return Fit(self.pool, offsets, errors, {node: many for node, many in self.rows.items() if node not in nodes}, self.free)

    def frame(self, nodes: Collection[Node] | None = None) -> pl.DataFrame:
        """The table that ships: level, key, constant, offset, error, rows; of some nodes, or all."""
        table = []
        for (level, key), offset in self.offsets.items():
            if nodes is None or (level, key) in nodes:
                for i in np.flatnonzero(self.pool.spreads[level] > 0):
                    error = float(self.errors[level, key][i])
                    of = round(float(offset[i]), 5), None if np.isnan(error) else round(error, 4), self.rows[level, key]
                    table.append((level, key or None, self.pool.names[i], *of))
        schema = {"level": pl.String, "key": pl.String, "constant": pl.String, "offset": pl.Float64, "error": pl.Float64, "rows": pl.Int64}
        return pl.DataFrame(table, schema=schema, orient="row")


def balanced(groups: Sequence[str], most: float) -> Array:
    """Weights of rows by which no group counts for more than `most` of them."""
    many = Counter(groups)
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
