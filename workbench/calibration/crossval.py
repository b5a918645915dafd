"""What a model is worth on rows that it was not fitted to, and the interval that follows from it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Array
from workbench.calibration.pool import Fit, Node, Pool, Predict, Rows

F = TypeVar("F")


def folds(names: Iterable[str], count: int) -> NDArray[np.int64]:
    """One of `count` folds for every name; the same one each time."""
    return np.array([zlib.crc32(name.encode()) % count for name in names])


def left_out(groups: ArrayLike, fit: Callable[[Rows], F | None], least: int = 1) -> Iterator[tuple[Rows, F | None]]:
    """Rows of one group after another, each with what `fit` makes of the rows of all others; None of fewer than `least`."""
    of = np.asarray(groups)
    for group in dict.fromkeys(of.tolist()):
        rest = np.flatnonzero(of != group)
        yield np.flatnonzero(of == group), fit(rest) if rest.size >= least else None


@dataclass(frozen=True)
class Study:
    """Measured values of one quantity, and the model that predicts them."""

    pool: Pool
    origins: Sequence[Any]  #: of each row
    values: Array  #: measured; nan where nothing is
    part: Callable[[Rows], Predict]  #: positions of rows -> logarithms of their constants -> logarithm of the quantity
    noise: float
    half_width: Callable[[Any, Fit], float] = lambda origin, fit: np.nan  #: of the 80 % interval of an origin's logarithm, by a fit
    weigh: Callable[[Rows], Array] = lambda at: np.ones(at.size)  #: weights of the rows of a fit
    most: Array | None = None  #: largest logarithms of the constants of each row
    tolerance: float = 1e-4  #: as `Pool.fit`

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Where there is a value to fit to."""
        return np.isfinite(self.values) & (self.values > 0)

    def fit(self, at: Rows, base: Fit | None = None, levels: Collection[str] | None = None) -> Fit:
        """Constants fitted to the rows `at`, on top of those of `base`."""
        origins, bounds = [self.origins[int(i)] for i in at], None if self.most is None else self.most[at]
        how: dict[str, Any] = {"noise": self.noise, "weight": self.weigh(at), "most": bounds, "tolerance": self.tolerance}
        return self.pool.fit(self.part(at), origins, np.log(self.values[at]), base=base, levels=levels, **how)

    def descend(self, levels: Sequence[str], base: Fit, nodes: Collection[Node] | None = None) -> Fit:
        """Fit one node at a time, from general to special: to its own rows, on top of the nodes above it as they are.

        Where levels are nested, and nodes too many to be fitted at once; of `nodes` alone, if given.
        """
        fit = base
        for level in levels:
            keys = [self.pool.nodes(o)[level] for o in self.origins]
            for key in dict.fromkeys(keys):
                if nodes is None or (level, key) in nodes:
                    fit = self.fit(np.flatnonzero([k == key for k in keys]), fit, (level,))
        return fit

    def predict(self, fit: Fit, at: Rows) -> Array:
        """The quantity of the rows `at`."""
        return np.exp(self.part(at)(fit.logs(self.origins[int(i)] for i in at)))

    def errors(self, groups: ArrayLike) -> Array:
        """Logarithm of predicted over measured, by constants of other groups alone; nan where nothing was measured."""
        known = np.flatnonzero(self.measured)
        logs = np.full(self.values.size, np.nan)
        for inside, fit in left_out(np.asarray(groups)[known], lambda rest: self.fit(known[rest])):
            at = known[inside]
            logs[at] = np.nan if fit is None else np.log(self.predict(fit, at) / self.values[at])
        return logs


def conformal_half_width(log_ratios: ArrayLike, level: float = 0.8) -> float:
    """Half width that covers a further case with probability `level`: the ceil((n + 1) level)-th smallest absolute log ratio.

    [Vovk, Gammerman, Shafer (2005), "Algorithmic Learning in a Random World", section 2.2]
    """
    ordered = np.sort(np.abs(np.asarray(log_ratios, dtype=float)))
    rank = int(np.ceil((ordered.size + 1) * level))
    return float(ordered[min(rank, ordered.size) - 1])


def error_table(cases: Iterable[tuple[str, Array]], least: int = 1) -> pl.DataFrame:
    """Case, half width of the 80 % interval, rows, mean and median error in percent, of logarithms of predicted over measured values.

    Values that are not finite are none; cases of fewer than `least` have no row.
    """
    table = []
    for case, logs in cases:
        known = logs[np.isfinite(logs)]
        if known.size >= least:
            percent = 100 * np.abs(np.expm1(known))
            errors = round(float(percent.mean()), 2), round(float(np.median(percent)), 2)
            table.append((case, round(conformal_half_width(known), 4), known.size, *errors))
    return pl.DataFrame(table, schema=["case", "half_width", "rows", "mean_error_percent", "median_error_percent"], orient="row")


def evenly(logs: Array, groups: ArrayLike, most: int = 60) -> Array:
    """About `most` rows of every group, evenly spread over their errors, so that none drowns the others."""
    of = np.asarray(groups)
    picked = [np.sort(logs[of == group])[:: max(1, int(np.sum(of == group)) // most)] for group in dict.fromkeys(of.tolist())]
    return np.concatenate(picked)
