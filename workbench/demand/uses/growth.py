"""Growth that fades: of efficiency, of users, of tokens a task."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.checks import FINITE, POSITIVE, Rule, takes

Array = NDArray[np.float64]

#: A time in which growth fades: without end where it never does.
FADE = Rule(above=0, infinite=True)


@takes(years=FINITE, factor=POSITIVE, fade=FADE)
def damped_growth(years: ArrayLike, factor: ArrayLike, fade: ArrayLike = np.inf) -> Array:
    """What has grown by a yearly `factor` at first, over its start: exp(ln(factor) tau (1 - e^(-t / tau))).

    Parameters
    ----------
    years : array_like
        Since the start; before it the growth is taken back.
    factor : array_like
        A year, at the start; below 1 it shrinks.
    fade : array_like
        tau [yr]; inf: the growth never fades.
    """
    t, tau = np.asarray(years, dtype=float), np.asarray(fade, dtype=float)
    with np.errstate(invalid="ignore"):
        effective = np.where(np.isinf(tau), t, -tau * np.expm1(-t / tau))
    return np.exp(np.log(np.asarray(factor, dtype=float)) * effective)
