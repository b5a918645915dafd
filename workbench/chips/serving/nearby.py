"""What rows measured near by say beyond the constants of their system: shifts of the logarithms of `scale` and `first_scale`.

The mean of a Gaussian process of what constants leave of measured times [Kennedy, O'Hagan (2001), "Bayesian Calibration of Computer
Models"], one for each `SYSTEM`: rows of another say nothing. The covariance of two points of one is exp(-distance), so that far from all
rows a shift tends to nothing.
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
NOISE = 0.04  #: variance of a measurement over that of what constants leave
MOST = 0.5  #: the largest shift of a logarithm that a row may want
CLOSE = 0.6  #: share `known` from which on rows are close: intervals are then those of left-out rows that had others as close
USERS, STEP = 14.0, (0.5, 0.5, 1.0, 1.0, 1.0)  #: octaves of users at most, and octaves of the other numbers that a shift tells apart


def table(origins: Sequence[Origin], modes: Any, demand: Demand, left: Array) -> pl.DataFrame:
    """Shifts that rows want, `left` (rows, 2; nan where not known), in the mean of each place."""
    places = np.stack([np.broadcast_to(np.round(x), len(origins)) for x in _octaves(demand)], axis=1)
    said = {"mode": modes} | {name: [getattr(o, name) for o in origins] for name in (*SYSTEM[1:], "version")}
    said |= {"place": [" ".join(f"{x:g}" for x in place) for place in places]} | dict(zip(LEFT, np.clip(left.T, -MOST, MOST), strict=True))
    frame = pl.DataFrame(said).fill_nan(None).filter(pl.col("mode") != "open", pl.any_horizontal(pl.col(LEFT).is_not_null()))
    frame = frame.group_by(*SYSTEM, "version", "place", maintain_order=True).agg(pl.col(LEFT).mean().round(3))
    return frame.with_columns(source=pl.lit("serving*.csv"))


def shifts(origin: Origin, mode: str, demand: Demand) -> tuple[Any, ...]:
    """Shifts of the two logarithms, and what share a point takes of a shift that all rows have in common, `known`; 0 far from all."""
    loop = "closed" if mode == "open" else mode  # at most so many in flight, an engine does the same however they come
    key, (users, *others) = (loop, *(getattr(origin, name) for name in SYSTEM[1:])), _octaves(demand)
    part = catalogue.made_of(TABLE, _systems).get(key)
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
    """Versions and places (octaves) of the rows of each system, and weights of covariances with them: of shifts wanted, and of 1."""
    found = {}
    wanted = frame.with_columns(pl.col(pl.String).fill_null(""), known=pl.lit(1.0), at=pl.col("place").str.split(" "))
    for key, part in wanted.partition_by(SYSTEM, as_dict=True).items():
        version, at, values = part["version"].to_numpy(), np.array(part["at"].to_list(), float), part.select(*LEFT, "known").to_numpy()
        covariance = np.exp(-VERSION * (version[:, None] != version) - np.abs(at[:, None] - at) @ [*AWAY.values()])
        weights = np.zeros_like(values)
        for weight, value in zip(weights.T, values.T, strict=True):
            rows = np.isfinite(value)
            weight[rows] = np.linalg.solve(covariance[rows][:, rows] + NOISE * np.eye(rows.sum()), value[rows])
        found[key] = version, at.T, weights.T
    return found
