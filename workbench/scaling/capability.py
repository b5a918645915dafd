"""From compute to capability: "intelligence is log of compute" with numbers and their spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.catalogue import cost
from workbench.scaling.laws import positive

Array = NDArray[np.float64]


def capability_gain(
    compute_ratio: ArrayLike, years: ArrayLike = 0.0, k: ArrayLike | None = None, progress: ArrayLike | None = None
) -> Array:
    """Gain on the Epoch Capabilities Index from more compute and from later algorithms: k ln(ratio) + progress years.

    Parameters
    ----------
    compute_ratio : array_like
        Training compute over that of the reference model.
    years : array_like
        Years between the two.
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
    return np.asarray(slope, dtype=float) * np.log(positive("compute_ratio", compute_ratio)) + np.asarray(rate, dtype=float) * np.asarray(
        years
    )


def efficiency_per_year(k: ArrayLike | None = None, progress: ArrayLike | None = None) -> Array:
    """Factor a year by which algorithms save compute at equal capability: exp(progress / k)."""
    slope = cost("capability_per_efold").value if k is None else k
    rate = cost("capability_per_year").value if progress is None else progress
    return np.asarray(np.exp(np.asarray(rate, dtype=float) / positive("k", slope)))


def task_error(loss: ArrayLike, eps: ArrayLike = 0.85699192, k: ArrayLike = 2.20649019, gamma: ArrayLike = 0.71459057) -> Array:
    """Mean error of 17 tasks at a loss on C4: eps - k exp(-gamma loss).

    The defaults are the minimum of the authors' objective on their six RedPajama runs.

    References
    ----------
    .. [1] Gadre et al. (2024), "Language models scale reliably with over-training", equation 5.
    """
    return np.asarray(eps, dtype=float) - np.asarray(k, dtype=float) * np.exp(-np.asarray(gamma, dtype=float) * positive("loss", loss))


def slope_of(capability: ArrayLike, compute: ArrayLike) -> tuple[float, float]:
    """Index points an e-fold of compute by least squares, and R^2."""
    x, y = np.log(positive("compute", compute)).ravel(), np.asarray(capability, dtype=float).ravel()
    slope, _ = np.polyfit(x, y, 1)
    return float(slope), float(np.corrcoef(x, y)[0, 1] ** 2)
