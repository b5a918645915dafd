"""Constants of the training step: fitted to measured steps, pooled from all systems down to a model's recipe on a chip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workbench.calibration import evidence
from workbench.calibration.pool import Fit, Level, Pool
from workbench.chips.training.time import CONSTANTS
from workbench.errors import UnknownName

ERRORS = "calibration/training_errors"


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

    @property
    def kind(self) -> str:
        """Of the model: a stack's releases change them apart."""
        return f"moe {self.precision}" if self.mixture else "dense"


POOL = Pool(
    "calibration/training",
    CONSTANTS,
    {
        "all": Level(),
        "chip": Level(("chip", "precision"), 0.5, "chip"),
        "stack": Level(("stack",)),
        "system": Level(("stack", "chip", "precision"), 0.35, "chip"),
        "release": Level(("stack", "release", "kind"), 1.5, "scale"),
        "version": Level(("stack", "version"), 0.5, "scale"),
        "recipe": Level(("stack", "model"), 1.0, "scale"),
        "machine": Level(("stack", "model", "chip"), 0.5, "scale"),
    },
)


def stacks() -> list[str]:
    """Software stacks that were measured."""
    return sorted(key for level, key in POOL.shipped().offsets if level == "stack" and key)


def constants(origin: Origin) -> dict[str, Any]:
    """Constants for a chip, precision and stack; raises `UnknownName` for a stack that was not measured (empty: the mean of all)."""
    if origin.stack and origin.stack not in stacks():
        raise UnknownName("training stack", origin.stack, stacks())
    return POOL.of(origin)


def half_width(origin: Origin, fitted: Fit | None = None) -> float:
    """Half width of the 80 % interval of the logarithm of time, by how much of the origin was measured."""
    fit = fitted or POOL.shipped()
    known = origin.stack and evidence.measured(fit, "stack", origin.stack)
    missing = [] if evidence.measured(fit, "chip", origin.chip) else ["chip not measured"]
    return evidence.half_width(ERRORS, [origin.stack, "stack of few rows"] if known else ["stack not measured"], missing)
