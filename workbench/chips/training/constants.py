"""Constants of the training step: fitted to measured steps, pooled (`pooling`) from all systems down to a model's recipe on a chip.

Levels are all rows, a chip and precision, a software stack, that stack on that chip, its release, the recipe of a model. Each stack counts
as much as 60 rows at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench import catalogue
from workbench.calibration.pool import Fit, Pool, balanced
from workbench.chips.training.time import CONSTANTS, NAMES, seconds
from workbench.chips.training.work import Work
from workbench.errors import InputError, UnknownName

Array = NDArray[np.float64]
TABLE, ERRORS = "calibration/training", "calibration/training_errors"
NOISE = 0.05  #: relative spread of repeated measurements between releases
MOST_ROWS = 60  #: that a stack counts for
PRIOR = np.log([c.prior for c in CONSTANTS])
_SPREAD = np.array([c.spread for c in CONSTANTS])
_OF_CHIP = np.array([c.level == "chip" for c in CONSTANTS], dtype=float)
_SCALE = np.array([c.level == "scale" for c in CONSTANTS], dtype=float)


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


POOL = Pool(NAMES, PRIOR, LEVELS)


def fit(work: Work, origins: list[Origin], measured: Array, base: Fit | None = None) -> Fit:
    """Fit the constants to measured steps.

    Parameters
    ----------
    work : Work
        Of every row (see `Work.join`).
    origins : list of Origin
    measured : ndarray
        Time of a step [s].
    base : Fit, optional
        Constants of other rows, which these rows refine.

    Raises
    ------
    InputError
        Without rows, or for a time that is not positive.
    """
    times = np.asarray(measured, dtype=float)
    if times.size == 0 or not np.all(times > 0):
        raise InputError("measured steps: expected at least one, all above 0 s")
    weight = balanced([o.stack for o in origins], MOST_ROWS)
    return POOL.fit(lambda logs: np.log(seconds(work, POOL.named(logs))), origins, np.log(times), noise=NOISE, weight=weight, base=base)


def shipped() -> Fit:
    """The constants that ship, fitted by ``workbench calibrate training``."""
    return POOL.shipped(TABLE)


def stacks() -> list[str]:
    """Software stacks that were measured."""
    return sorted(key for level, key in shipped().offsets if level == "stack" and key)


def constants(origin: Origin) -> dict[str, Any]:
    """Constants for a chip, precision and stack; raises `UnknownName` for a stack that was not measured (empty: the mean of all)."""
    if origin.stack and origin.stack not in stacks():
        raise UnknownName("training stack", origin.stack, stacks())
    return POOL.named(shipped().logs([origin])[0])


def half_width(origin: Origin, fitted: Fit | None = None) -> float:
    """Half width of the 80 % interval of the logarithm of time, by how much of the origin was measured."""
    known = (fitted or shipped()).offsets
    widths = {row["case"]: row["half_width"] for row in catalogue.table(ERRORS).iter_rows(named=True)}
    measured = bool(origin.stack) and ("stack", origin.stack) in known
    own = widths.get(origin.stack, widths["stack of few rows"]) if measured else widths["stack not measured"]
    on_chip = any(level == "chip" and key.split("|")[0] == origin.chip for level, key in known)
    return float(own if on_chip else max(own, widths["chip not measured"]))
