"""What rows measured near by say beyond the constants of their system: shifts of the logarithms of `scale` and `first_scale`.

The mean of a Gaussian process of what constants leave of measured times [Kennedy, O'Hagan (2001), "Bayesian Calibration of Computer
Models"], one for each `SYSTEM`: rows of another say nothing. The covariance of two points of one is exp(-distance), so that far from all
rows a shift tends to nothing. What ships are weights of the covariances with places that were measured, but those of which the others say
nearly all [Smola, Bartlett (2001), "Sparse Greedy Gaussian Process Regression"].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.arrays import Array
from workbench.chips.serving.constants import Origin
from workbench.chips.serving.work import Demand

TABLE = "calibration/serving_nearby"
SYSTEM, LEFT = ("mode", "framework", "model", "chip", "precision"), ("scale", "first_scale")
#: Distance of an octave of a number; and of another version.
AWAY, VERSION = {"users": 0.3, "input": 0.1, "output": 0.1, "tp": 0.4, "attention_dp": 0.4, "drafts": 0.5}, 0.3
NOISE, SPARE = 0.04, 0.25  #: variances over that of what constants leave: of a measurement, and of a place that others say nearly all of
MOST = 0.5  #: the largest shift of a logarithm that a row may want
CLOSE = 0.6  #: share `known` from which on rows are close: intervals are then those of left-out rows that had others as close
USERS, STEP = 14.0, (0.5, 0.5, 1.0, 1.0, 1.0)  #: octaves of users at most, and octaves of the other numbers that a shift tells apart


def table(origins: Sequence[Origin], modes: Any, demand: Demand, left: Array) -> pl.DataFrame:
    """Weights of places by the shifts that rows want, `left` (rows, 2), nan where not known; and where every row wants 1."""
    places = np.stack([np.broadcast_to(np.round(x), len(origins)) for x in _octaves(demand)], axis=1)
    said = {"mode": modes} | {name: [getattr(o, name) for o in origins] for name in (*SYSTEM[1:], "version")}
    said |= {"place": [" ".join(f"{x:g}" for x in place) for place in places]} | dict(zip(LEFT, np.clip(left.T, -MOST, MOST), strict=True))
    frame = pl.DataFrame(said).fill_nan(None).filter(pl.col("mode") != "open", pl.any_horizontal(pl.col(LEFT).is_not_null()))
    frame = frame.group_by(*SYSTEM, "version", "place", maintain_order=True).mean()
    parts = [frame := frame.with_columns(known=pl.lit(1.0), source=pl.lit("rows of calibration/serving"))]
    for part in frame.partition_by(SYSTEM, maintain_order=True):
        version, at = part["version"].to_numpy(), _numbers(part)
        covariance = np.exp(-VERSION * (version[:, None] != version) - np.abs(at[:, None] - at) @ [*AWAY.values()])
        kept, weights = _spread(covariance), {}
        for name in (*LEFT, "known"):
            rows = part[name].is_not_null().to_numpy()
            of = covariance[rows][:, kept]
            normal = of.T @ of / NOISE + covariance[kept][:, kept]
            weights[name] = np.round(np.linalg.solve(normal, of.T @ part[name].to_numpy()[rows] / NOISE), 3)
        parts.append(part[kept].with_columns(**weights))
    return pl.concat(parts)[frame.height :]


def _spread(covariance: Array) -> list[int]:
    """Places one after another, each that of which the others say least, until they say all but `SPARE` of every one."""
    kept, left, said = [], np.ones(len(covariance)), np.zeros((len(covariance), 0))
    while left.max() > SPARE:
        kept.append(one := int(left.argmax()))
        more = (covariance[:, one] - said @ said[one]) / np.sqrt(left[one])
        left, said = left - more**2, np.column_stack([said, more])
    return kept


def shifts(origin: Origin, mode: str, demand: Demand) -> tuple[Any, ...]:
    """Shifts of the two logarithms, and what share of a shift that all rows want a point has, `known`; 0 far from all rows."""
    loop = "closed" if mode == "open" else mode  # at most so many in flight, an engine does the same however they come
    part = catalogue.made_of(TABLE, _systems).get((loop, *(getattr(origin, name) for name in SYSTEM[1:])))
    users, *others = _octaves(demand)
    if part is None or (mode == "open" and not np.any(demand.limit)) or not all(map(np.size, (users, *others))):
        return 0.0, 0.0, 0.0
    version, places, weights = part
    beside, at = np.exp(-VERSION * (version != origin.version))[None], np.zeros((), dtype=np.intp)
    for x, y, away, size in zip(others, places[1:], [*AWAY.values()][1:], STEP, strict=True):  # all combinations of what is asked
        step = np.round(x / size).astype(np.intp)
        first, many = step.min(), np.ptp(step) + 1
        side = np.exp(-away * np.abs(size * np.arange(first, first + many)[:, None] - y))
        beside, at = (beside[:, None] * side).reshape(-1, y.size), at * many + (step - first)
    low = np.floor(users).astype(np.intp)  # straight lines between octaves of users
    along = np.exp(-AWAY["users"] * np.abs(np.arange(low.min(), low.max() + 2)[:, None] - places[0]))
    at = at * len(along) + (low - low.min())
    *grids, known = (((beside * weight) @ along.T).ravel() for weight in weights)
    scale, first_scale = (grid[at] + (users - low) * np.diff(grid, append=0.0)[at] for grid in grids)
    found = scale, first_scale, known[at]
    return tuple(np.where(demand.limit, one, 0.0) for one in found) if mode == "open" else found  # of mere arrivals no number is known


def _octaves(demand: Demand) -> list[Any]:
    """Where a demand lies, as `AWAY` has it."""
    d, users = demand, np.minimum(demand.concurrency, 2**USERS)
    return [np.log2(x) for x in (users, d.input_tokens, d.output_tokens, d.tp, d.attention_dp, 1 + d.draft_tokens)]


def _systems(frame: pl.DataFrame) -> dict[Any, tuple[Any, Array, Array]]:
    """Versions, places and weights of each system."""
    parts = frame.with_columns(pl.col(pl.String).fill_null("")).partition_by(SYSTEM, as_dict=True)
    return {key: (part["version"].to_numpy(), _numbers(part).T, part.select(*LEFT, "known").to_numpy().T) for key, part in parts.items()}


def _numbers(part: pl.DataFrame) -> Array:
    """Octaves of places (rows, numbers)."""
    return np.array([place.split() for place in part["place"]], dtype=float)
