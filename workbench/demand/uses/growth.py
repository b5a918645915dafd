"""Growth that fades: of efficiency, of users, of tokens a task."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from workbench.arrays import Array
from workbench.checks import FINITE, POSITIVE, Rule, takes

#: A time in which growth fades: without end where it never does.
FADE = Rule(above=0, infinite=True)


def fading(years: Array, fade: Array) -> Array:
    """Years for which growth at its first pace would bring as much as growth that fades brings in `years`: tau (1 - e^(-t / tau))."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(fade), years, -fade * np.expm1(-years / fade))


@takes(years=FINITE, factor=POSITIVE, fade=FADE)
def damped_growth(years: ArrayLike, factor: ArrayLike, fade: ArrayLike = np.inf) -> Array:
    """What has grown by a yearly `factor` at first, over its start: exp(ln(factor) tau (1 - e^(-t / tau))), tau = `fade` [yr]."""
    return np.exp(np.log(np.asarray(factor)) * fading(np.asarray(years), np.asarray(fade)))
