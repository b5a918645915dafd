"""From compute to capability: "intelligence is log of compute" with numbers and their spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.catalogue import cost
from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, takes

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

    Examples
    --------
    >>> capability_gain([1, 10, 100]).round(2).tolist()
    [0.0, 0.39, 0.78]
    """
    slope = cost("capability_per_efold").value if k is None else k
    rate = cost("capability_per_year").value if progress is None else progress
    return np.asarray(np.multiply(slope, np.log(compute_ratio)) + np.multiply(rate, years))
