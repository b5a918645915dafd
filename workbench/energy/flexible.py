"""Training as a flexible load: what it is worth to stand still in the dearest or dirtiest hours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.checks import NOT_NEGATIVE, SHARE, Rule, number, takes
from workbench.errors import InputError


@dataclass(frozen=True)
class Curtailment:
    """Standing still for a share of the hours, a watt at the meter and averaged over all hours; the share is the last axis."""

    share: NDArray[np.float64]  #: of the hours in which the load stands still
    saved: NDArray[np.float64]  #: energy money saved [USD/W/s]
    lost: NDArray[np.float64]  #: value of the work not done [USD/W/s]
    threshold: NDArray[np.float64]  #: price above which the load stands still [USD/J]

    @property
    def value(self) -> NDArray[np.float64]:
        """Saved less lost [USD/W/s]; negative where standing still does not pay."""
        return self.saved - self.lost


@takes(price=Rule(last="hours"), share=Rule(least=0.0, most=1.0, apart=True), work_value=NOT_NEGATIVE, idle_power=SHARE)
def curtailment(
    price: ArrayLike, share: ArrayLike, *, work_value: ArrayLike = 0.0, idle_power: ArrayLike = 0.0, made_up: bool = False
) -> Curtailment:
    """Value of curtailing a load in the dearest `share` of the hours.

    Parameters
    ----------
    price : array_like, shape (..., hours)
        What a joule costs in each hour, carbon price included [USD/J].
    share : array_like, shape (k,)
        Shares of the hours, 0 to 1.
    work_value : array_like
        What the work of one joule at the meter is worth while it runs [USD/J]: rent of the machines over the power they draw, where the
        work is lost, or what its delay costs, where it is only put off.
    idle_power : array_like
        Power while standing still over power at work, 0 to 1; work that is made up takes its full power all the same.
    made_up : bool
        Whether the work is done later, so that its energy is bought after all, at the mean price of the hours in which the load runs.

    Returns
    -------
    Curtailment
        Arrays of shape (..., k).

    Raises
    ------
    InputError
        For shares outside 0 to 1 or an empty price.
    """
    hours, k, idle, worth = map(np.asarray, (price, np.atleast_1d(share), np.expand_dims(idle_power, -1), np.expand_dims(work_value, -1)))
    if k.ndim > 1:
        raise InputError(f"share has shape {k.shape}: expected one axis")
    n = hours.shape[-1]
    dearest = -np.sort(-hours, axis=-1)
    total = np.concatenate([np.zeros((*dearest.shape[:-1], 1)), np.cumsum(dearest, axis=-1)], axis=-1)
    position = k * n
    whole = np.minimum(position.astype(int), n - 1)
    paid = (total[..., whole] + (position - whole) * dearest[..., whole]) / n  # part of the marginal hour
    saved = paid * (1 - idle)
    if made_up:
        number("share", share, below=1, why="work that is made up needs hours in which the load runs")
        saved = saved - k * (total[..., -1:] / n - paid) / (1 - k)
    return Curtailment(share=k, saved=saved, lost=k * worth, threshold=dearest[..., whole])
