"""What rows measured near by say beyond the constants of their system: shifts of the logarithms of `scale` and `first_scale`.

The mean of a Gaussian process of what constants leave of measured times [Kennedy, O'Hagan (2001), "Bayesian Calibration of Computer
Models"], one for each `SYSTEM`: rows of another say nothing. The covariance of two rows of one is exp(-distance), that of a shift with the
row that it is near to; far from all rows a shift tends to nothing. What ships are the weights of its covariances with places that were
measured, of which those that are left out add little to what the others say [Smola, Bartlett (2001), "Sparse Greedy GP Regression"].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue
from workbench.arrays import Array
from workbench.chips.serving.constants import Origin
from workbench.chips.serving.work import Demand

TABLE = "calibration/serving_nearby"
SYSTEM, LEFT = ("mode", "framework", "model", "chip", "precision"), ("scale", "first_scale")
#: Distance of an octave of a number; and of another version.
AWAY, VERSION = {"users": 0.3, "input": 0.1, "output": 0.1, "tp": 0.4, "attention_dp": 0.4, "drafts": 0.5}, 0.3
NOISE, SPARE = 0.04, 0.25  #: variances over that of what constants leave: of a measurement, and up to which a place says nothing new
MOST = 0.5  #: the largest shift of a logarithm that a row may want
CLOSE = 0.6  #: share `known` from which on a point counts as near to rows: intervals are those of rows left out that were so near
USERS, STEP = 14.0, (0.5, 0.5, 1.0, 1.0, 1.0)  #: octaves of users at most, and octaves of other numbers that a shift tells apart


def table(origins: Sequence[Origin], modes: Any, demand: Demand, left: Array) -> pl.DataFrame:
    """Weights of places by rows' shifts that are wanted, `left` (rows, 2), nan where not known; and those of a shift of 1 of every row."""
    said = {"mode": modes} | {name: [getattr(o, name) for o in origins] for name in (*SYSTEM[1:], "version")}
    places = np.stack([np.broadcast_to(np.round(x), len(origins)) for x in _octaves(demand)], axis=1)
    said |= {"place": [" ".join(f"{x:g}" for x in place) for place in places]} | dict(zip(LEFT, np.clip(left.T, -MOST, MOST), strict=True))
    frame = pl.DataFrame(said).fill_nan(None)
    frame = frame.filter(pl.col("mode") != "open", pl.any_horizontal(pl.col(LEFT).is_not_null()))
    frame = frame.group_by(*SYSTEM, "version", "place", maintain_order=True).mean().with_columns(known=pl.lit(1.0), source=pl.lit("rows of calibration/serving"))
    parts = []
    for part in frame.partition_by(SYSTEM, maintain_order=True):
        version, at = part["version"].to_numpy(), _numbers(part)
        away = VERSION * (version[:, None] != version) + np.abs(at[:, None] - at) @ np.array([*AWAY.values()])
        covariance = np.exp(-away)
        kept, weights = _spread(covariance), {}
        for name in (*LEFT, "known"):
            rows = np.flatnonzero(part[name].is_not_null())
            of = covariance[np.ix_(rows, kept)]
            normal = of.T @ of / NOISE + covariance[np.ix_(kept, kept)]
            weights[name] = np.round(np.linalg.solve(normal, of.T @ part[name].to_numpy()[rows] / NOISE), 3)
        parts.append(part[kept].with_columns(**weights))
    return pl.concat(parts) if parts else frame


def _spread(covariance: Array) -> list[int]:
    """Places one after another, each that of which the others say least, until they say all but `SPARE` of every one."""
    kept, left, said = [], np.ones(len(covariance)), np.zeros((len(covariance), 0))
    while left.max() > SPARE:
        kept.append(one := int(left.argmax()))
        more = (covariance[:, one] - said @ said[one]) / np.sqrt(left[one])
        left, said = left - more**2, np.column_stack([said, more])
    return kept


def shifts(origin: Origin, mode: str, demand: Demand) -> tuple[Any, Any, Any]:
    """Shifts of the two logarithms, and the share of a shift of all rows of its system that a point would have; 0 far from all."""
    mode = "closed" if mode == "open" else mode  # an engine does the same for requests, however they come
    rows = catalogue.made_of(TABLE, _systems).get((mode, *(getattr(origin, name) for name in SYSTEM[1:])))
    if rows is None:
        return 0.0, 0.0, 0.0
    version, places, weights = rows
    users, *others = _octaves(demand)
    beside, at = np.exp(-VERSION * (version != origin.version))[None], np.zeros((), dtype=np.intp)
    for x, y, away, size in zip(others, places[1:], [*AWAY.values()][1:], STEP, strict=True):  # a grid of all combinations of what is asked
        step = np.round(x / size).astype(np.intp)
        first, many = step.min(), np.ptp(step) + 1
        side = np.exp(-away * np.abs(size * np.arange(first, first + many)[:, None] - y))
        beside, at = (beside[:, None] * side).reshape(-1, y.size), at * many + (step - first)
    low, last = np.floor(users).astype(np.intp), int(users.max()) + 1
    first, part = low.min(), users - low
    along = np.exp(-AWAY["users"] * np.abs(np.arange(first, last + 1)[:, None] - places[0]))
    at = at * along.shape[0] + (low - first)
    *grids, known = (((beside * weight) @ along.T).ravel() for weight in weights)
    scale, first_scale = (grid[at] + part * np.diff(grid, append=0.0)[at] for grid in grids)
    return scale, first_scale, known[at]


def _octaves(demand: Demand) -> tuple[Any, ...]:
    """Where a demand lies, as `AWAY` has it."""
    d = demand
    return tuple(np.log2(x) for x in (np.minimum(d.concurrency, 2**USERS), d.input_tokens, d.output_tokens, d.tp, d.attention_dp, 1 + d.draft_tokens))


def _systems(frame: pl.DataFrame) -> dict[tuple[Any, ...], tuple[NDArray[Any], Array, Array]]:
    """Versions, places and weights of the rows of each system."""
    parts = frame.with_columns(pl.col(pl.String).fill_null("")).partition_by(SYSTEM, as_dict=True)
    return {
        key: (part["version"].to_numpy(), _numbers(part).T, part.select(*LEFT, "known").to_numpy().T)
        for key, part in parts.items()
    }


def _numbers(part: pl.DataFrame) -> Array:
    """Octaves of places (rows, numbers)."""
    return np.array([place.split() for place in part["place"]], dtype=float)
