"""Power of a chip from how much of its arithmetic and memory bandwidth it uses, calibrated on measured watts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.calibration.pool import Constant, Level, Pool
from workbench.catalogue import Chip
from workbench.checks import SHARE, takes
from workbench.chips.serving.constants import Origin
from workbench.errors import InputError

POOL = Pool(
    "calibration/power",
    (
        Constant("idle", 0.25, 0.4, "share of the TDP with a model loaded and next to no work"),
        Constant("memory", 0.6, 0.4, "share of the TDP at full use of the memory bandwidth, on top"),
        Constant("memory_power", 0.7, 0.3, "exponent of that use"),
        Constant("compute", 1.5, 0.5, "share of the TDP at full use of the arithmetic, on top"),
        Constant("compute_power", 1.0, 0.3, "exponent of that use"),
        Constant("scale", 1.0, 0.1, "a model as a whole", "scale"),
    ),
    {
        "all": Level(), "chip": Level(("chip",), 0.5), "campaign": Level(("measured_by", "chip"), 0.5),
        "model": Level(("model",), 1.0, "scale"),
    },
)  # fmt: skip


def share_of_tdp(c: dict[str, Any], compute: Any, memory: Any) -> Any:
    """Power over the TDP: idle + memory u^a + compute v^b, softly at most 1."""
    of_memory = c["memory"] * np.maximum(memory, 1e-6) ** c["memory_power"]
    of_compute = c["compute"] * np.maximum(compute, 1e-6) ** c["compute_power"]
    drawn = (c["idle"] + of_memory + of_compute) * c["scale"]
    return drawn / (1 + drawn**8) ** (1 / 8)


@takes(compute=SHARE, memory=SHARE)
def power(chip: Chip | str, compute: ArrayLike, memory: ArrayLike) -> NDArray[np.float64]:
    """Power of one chip [W]; arguments broadcast. Raises `InputError` for a chip without a published TDP.

    Parameters
    ----------
    chip : Chip or str
    compute, memory : array_like
        Arithmetic over the dense 16-bit peak, and bytes moved over the memory bandwidth, weights of any format as of 16 bits, 0 to 1.

    Examples
    --------
    >>> 350 < float(power("H100", 0.1, 0.5)) < 650  # ML.ENERGY measures 453 W in the median
    True
    """
    chip = catalogue.chip(chip)
    if chip.tdp is None:
        raise InputError(f"{chip.name} has no published TDP: its power is not known")
    return drawn(chip, Origin(chip=chip.name), compute, memory)


def drawn(chip: Chip, origin: Origin, compute: Any, memory: Any) -> NDArray[np.float64]:
    """Power of a chip with a TDP at shares of use that may exceed 1, as it was measured of `origin` [W]."""
    return np.asarray(chip.tdp * share_of_tdp(POOL.of(origin), compute, memory))
