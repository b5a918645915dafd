"""Training as a flexible load: what it is worth to stand still in the dearest or dirtiest hours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Arrays
from workbench.checks import ELECTRICITY, NOT_NEGATIVE, SHARE, number, takes
from workbench.errors import InputError


@dataclass(frozen=True, repr=False)
class Curtailment(Arrays):
    """Standing still for a share of the hours, over the energy that the load would take in all hours; the share is the last axis."""

    share: NDArray[np.float64]  #: of the hours in which the load stands still
    saved: NDArray[np.float64]  #: energy money saved [USD/kWh]
    lost: NDArray[np.float64]  #: value of the work not done [USD/kWh]
    threshold: NDArray[np.float64]  #: price above which the load stands still [USD/kWh]

    @property
    def value(self) -> NDArray[np.float64]:
        """Saved less lost [USD/kWh]; negative where standing still does not pay."""
        return self.saved - self.lost


@takes(
    electricity_usd_per_kwh=replace(ELECTRICITY, last="hours"),
    share=replace(SHARE, apart=True),
    work_usd_per_kwh=NOT_NEGATIVE,
    idle_power=SHARE,
)
def curtailment(
    electricity_usd_per_kwh: ArrayLike,
    share: ArrayLike,
    *,
    work_usd_per_kwh: ArrayLike = 0.0,
    idle_power: ArrayLike = 0.0,
    deferred: bool = False,
) -> Curtailment:
    """Value of curtailing a load in the dearest `share` of the hours.

    Parameters
    ----------
    electricity_usd_per_kwh : array_like, shape (..., hours)
        What a kilowatt-hour costs in each hour, carbon price included.
    share : array_like, shape (k,)
        Shares of the hours, 0 to 1.
    work_usd_per_kwh : array_like
        What the work of one kilowatt-hour at the meter is worth while it runs: rent of the machines over the power they draw, where the
        work is lost, or what its delay costs, where it is only put off.
    idle_power : array_like
        Power while standing still over power at work, 0 to 1; work that is deferred takes its full power all the same.
    deferred : bool
        Whether the work is done later, so that its energy is bought after all, at the mean price of the hours in which the load runs.

    Returns
    -------
    Curtailment
        Arrays of shape (..., k).

    Examples
    --------
    >>> curtailment([0.03, 0.04, 0.05, 0.40], [0.25, 0.5], work_usd_per_kwh=0.2).value.round(4)
    array([0.05  , 0.0125])
    """
    hours, k = np.asarray(electricity_usd_per_kwh), np.atleast_1d(share)
    idle, value = np.expand_dims(idle_power, -1), np.expand_dims(work_usd_per_kwh, -1)
    if k.ndim > 1:
        raise InputError(f"share has shape {k.shape}: expected one axis")
    n = hours.shape[-1]
    dearest = -np.sort(-hours, axis=-1)
    total = np.concatenate([np.zeros((*dearest.shape[:-1], 1)), np.cumsum(dearest, axis=-1)], axis=-1)
    position = k * n
    whole = np.minimum(position.astype(int), n - 1)
    paid = (total[..., whole] + (position - whole) * dearest[..., whole]) / n  # part of the marginal hour
    saved = paid * (1 - idle)
    if deferred:
        number("share", share, below=1, why="work that is deferred needs hours in which the load runs")
        saved = saved - k * (total[..., -1:] / n - paid) / (1 - k)
    return Curtailment(share=k, saved=saved, lost=k * value, threshold=dearest[..., whole])
