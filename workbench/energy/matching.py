"""Carbon-free energy: how much of a load it meets hour by hour, and how much when the year's sums are compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Arrays, broadcast
from workbench.checks import NOT_NEGATIVE, SHARE, takes


@dataclass(frozen=True, repr=False)
class CarbonFree(Arrays):
    """What carbon-free energy meets of a load; arrays without the axis of time."""

    annual: NDArray[np.float64]  #: share of the load, what is bought counted in any hour
    hourly: NDArray[np.float64]  #: share of the load, what is bought counted in its own hour only, and the grid's for the rest
    surplus: NDArray[np.float64]  #: share of what is bought that no hour of the load takes
    full_hours: NDArray[np.float64]  #: share of the hours in which what is bought meets all of the load


@takes(load=replace(NOT_NEGATIVE, last="time"), bought=replace(NOT_NEGATIVE, apart=True), grid_share=replace(SHARE, apart=True))
def carbon_free(load: ArrayLike, bought: ArrayLike, grid_share: ArrayLike = 0.0) -> CarbonFree:
    """Carbon-free share of a load under a commitment, matched over the year and matched hourly.

    hourly = sum(m + (load - m) g) / sum(load), m = min(load, bought); annual = b + (1 - b) g, b = min(sum(bought) / sum(load), 1)

    Parameters
    ----------
    load : array_like, shape (..., time)
        Power drawn at the meter [W].
    bought : array_like
        Power of the carbon-free plants contracted for it [W]; broadcasts against `load`.
    grid_share : array_like
        Carbon-free share of what the grid gives in each step, 0 to 1; broadcasts against `load`.

    Returns
    -------
    CarbonFree
        Where there is no load, or nothing is bought, shares are 1 and the surplus is 0.

    References
    ----------
    .. [1] Google (2021), "24/7 Carbon-Free Energy: Methodologies and Metrics", section 2 (CFE score).

    Examples
    --------
    >>> night, day = 0.0, 2.0
    >>> solar = carbon_free([1.0, 1.0], [night, day], grid_share=0.3)  # as much as the load takes in all, at the wrong time
    >>> float(solar.annual), float(solar.hourly), float(solar.surplus)
    (1.0, 0.65, 0.5)
    """
    shape = broadcast(load=load, bought=bought, grid_share=grid_share)
    used, have, share = (np.broadcast_to(np.asarray(x, dtype=float), shape) for x in (load, bought, grid_share))
    met, whole, got = np.minimum(used, have), used.sum(axis=-1), have.sum(axis=-1)
    over = np.where(whole > 0, whole, 1.0)
    by_year = np.minimum(got / over, 1.0)
    annual = by_year + (1 - by_year) * (used * share).sum(axis=-1) / over
    hourly = (met + (used - met) * share).sum(axis=-1) / over
    surplus = 1 - met.sum(axis=-1) / np.where(got > 0, got, 1.0)
    annual, hourly = (np.where(whole > 0, x, 1.0) for x in (annual, hourly))
    return CarbonFree(annual, hourly, np.where(got > 0, surplus, 0.0), (have >= used).mean(axis=-1))
