"""From compute to capability: "intelligence is log of compute" with numbers and their spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.catalogue import cost
from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, SHARE, Rule, takes
from workbench.errors import InputError

Array = NDArray[np.float64]


@takes(compute_ratio=POSITIVE, years=FINITE, k=NOT_NEGATIVE, progress=NOT_NEGATIVE)
def capability_gain(
    compute_ratio: ArrayLike, years: ArrayLike = 0.0, k: ArrayLike | None = None, progress: ArrayLike | None = None
) -> Array:
    """Gain on the Epoch Capabilities Index from more compute and from later algorithms: k ln(ratio) + progress years.

    Parameters
    ----------
    compute_ratio : array_like
        Training compute over that of the reference model.
    years : array_like
        Years by which it came later; below 0 where it came earlier.
    k : array_like, optional
        Index points an e-fold of compute; the mean of three families if not given (LLaMA alone: .176).
    progress : array_like, optional
        Index points a year at equal compute.

    Returns
    -------
    ndarray
        Points of the index (Winogrande's difficulty is 0, its slope 1), broadcast.

    References
    ----------
    .. [1] Epoch AI, benchmark-stitching: C = k ln(FLOP) + b(t).
    """
    slope = cost("capability_per_efold").value if k is None else k
    rate = cost("capability_per_year").value if progress is None else progress
    return np.asarray(np.multiply(slope, np.log(compute_ratio)) + np.multiply(rate, years))


@takes(k=POSITIVE, progress=NOT_NEGATIVE)
def efficiency_per_year(k: ArrayLike | None = None, progress: ArrayLike | None = None) -> Array:
    """Factor a year by which algorithms save compute at equal capability: exp(progress / k)."""
    slope = cost("capability_per_efold").value if k is None else k
    rate = cost("capability_per_year").value if progress is None else progress
    return np.asarray(np.exp(np.divide(rate, slope)))


@takes(loss=POSITIVE, eps=SHARE, k=NOT_NEGATIVE, gamma=NOT_NEGATIVE)
def task_error(loss: ArrayLike, eps: ArrayLike = 0.85699192, k: ArrayLike = 2.20649019, gamma: ArrayLike = 0.71459057) -> Array:
    """Mean error of 17 tasks at a loss on C4: eps - k exp(-gamma loss).

    The defaults are the minimum of the authors' objective on their six RedPajama runs.

    References
    ----------
    .. [1] Gadre et al. (2024), "Language models scale reliably with over-training", equation 5.
    """
    return np.asarray(np.subtract(eps, np.multiply(k, np.exp(np.multiply(np.negative(gamma), loss)))))


@takes(capability=Rule(apart=True), compute=Rule(above=0, apart=True))
def slope_of(capability: ArrayLike, compute: ArrayLike) -> tuple[float, float]:
    """Index points an e-fold of compute by least squares, and R^2; of two values or more, not all alike, of each."""
    x, y = np.log(compute).ravel(), np.ravel(capability)
    for name, values in (("compute", x), ("capability", y)):
        if values.size != x.size or values.size < 2 or np.ptp(values) == 0:
            raise InputError(f"{name}: expected as many values of both, two or more that are not all alike")
    slope, _ = np.polyfit(x, y, 1)
    return float(slope), float(np.corrcoef(x, y)[0, 1] ** 2)
