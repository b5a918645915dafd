"""Which sizes of models the tokens go to, and the active parameters of the mix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import broadcast
from workbench.checks import NOT_NEGATIVE, Rule, takes
from workbench.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ModelMix:
    """Shares of models, sizes on the first axis."""

    share: Array  #: of tokens, shape (sizes, ...)
    active: Array  #: active parameters of a token, in the mean
    price: Array  #: of a token, in the mean, in the unit of the prices
    quality: Array  #: in the mean


@takes(
    active=Rule(least=0, apart=True),
    price=Rule(least=0, apart=True),
    quality=Rule(least=0, most=1, apart=True),
    sharpness=NOT_NEGATIVE,
    worth=Rule(above=0, infinite=True),
)
def model_mix(active: ArrayLike, price: ArrayLike, quality: ArrayLike, *, sharpness: ArrayLike, worth: ArrayLike) -> ModelMix:
    """Shares of tokens by a logit choice among model sizes: softmax of sharpness x (quality - price / worth).

    What one router saves on two models is `workbench.chips.routed`; this is the market's mix over all sizes.

    Parameters
    ----------
    active : array_like, shape (sizes, ...)
        Active parameters; axes after the first broadcast with those of `sharpness` and `worth`.
    price : array_like, shape (sizes, ...)
        Of a token [any unit].
    quality : array_like, shape (sizes, ...)
        Share of tasks done well, 0 to 1.
    sharpness : array_like
        0: all sizes alike; inf would be the best size alone.
    worth : array_like
        Price that one more task done well a task is worth; inf: the price does not matter.

    References
    ----------
    .. [1] McFadden (1974), "Conditional Logit Analysis of Qualitative Choice Behavior".
    """
    beta, v = np.asarray(sharpness, dtype=float), np.asarray(worth, dtype=float)
    sizes = [np.atleast_1d(np.asarray(x, dtype=float)) for x in (active, price, quality)]
    axes = max(*(x.ndim - 1 for x in sizes), beta.ndim, v.ndim)
    n, p, q = (x.reshape(len(x), *(1,) * (axes + 1 - x.ndim), *x.shape[1:]) for x in sizes)
    if not broadcast(active=n, price=p, quality=q, sharpness=beta, worth=v)[0]:
        raise InputError("active, price, quality: expected at least one size")
    utility = beta * (q - p / v)
    weight = np.exp(utility - utility.max(axis=0))
    share = weight / weight.sum(axis=0)
    return ModelMix(share, (share * n).sum(axis=0), (share * p).sum(axis=0), (share * q).sum(axis=0))
