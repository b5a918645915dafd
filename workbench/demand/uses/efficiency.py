"""What a chip-hour yields over time: better hardware, serving software and algorithms, each growing at a rate that fades."""

from __future__ import annotations

from dataclasses import dataclass

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
    return np.exp(np.log(np.asarray(factor, dtype=float)) * fading(years, fade))


def fading(years: ArrayLike, fade: ArrayLike) -> Array:
    """Years at the first rate that bring as much as `years` at one that falls to 1/e in `fade`: tau (1 - e^(-t / tau))."""
    t, tau = np.asarray(years, dtype=float), np.asarray(fade, dtype=float)
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(tau), t, -tau * np.expm1(-t / tau))


@dataclass(frozen=True)
class Efficiency:
    """Gains over the start; arrays broadcast. What a quality of answer costs falls with all three."""

    hardware: Array  #: performance a dollar of new chips
    software: Array  #: tokens a chip-second of the same model on the same chip
    algorithms: Array  #: effective over physical compute of training

    @property
    def per_chip(self) -> Array:
        """Of H100-equivalents: hardware is in their number already."""
        return self.software

    @property
    def per_dollar(self) -> Array:
        """Tokens of a fixed model a dollar."""
        return self.hardware * self.software

    @property
    def at_fixed_quality(self) -> Array:
        """Answers of a fixed quality a dollar: a model of that quality shrinks as algorithms gain. Demand takes much of it back."""
        return self.hardware * self.software * self.algorithms


@takes(years=FINITE, hardware=POSITIVE, software=POSITIVE, algorithms=POSITIVE, fade=FADE)
def efficiency(
    years: ArrayLike,
    *,
    hardware: ArrayLike,
    software: ArrayLike,
    algorithms: ArrayLike,
    fade: ArrayLike = np.inf,
) -> Efficiency:
    """The three gains after `years`, from their yearly factors at the start.

    The fade [yr] is that of software and algorithms, whose gains are found once; hardware keeps its rate.

    Published: serving software 1.9 (Microsoft) to 4.5 (Google) a year, hardware 1.43, algorithms 2.8. Prices at fixed quality fall 9 to 900
    times a year: they hold model swaps as well, and are no yearly factor of any of the three.
    """
    return Efficiency(damped_growth(years, hardware), damped_growth(years, software, fade), damped_growth(years, algorithms, fade))
