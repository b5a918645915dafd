"""Which sizes of models the tokens go to, and the active parameters of the mix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ModelMix:
    """Shares of models, sizes on the first axis."""

    share: Array  #: of tokens, shape (sizes, ...)
    active: Array  #: active parameters of a token, in the mean
    price: Array  #: of a token, in the mean, in the unit of the prices
    quality: Array  #: in the mean


def model_mix(active: ArrayLike, price: ArrayLike, quality: ArrayLike, *, sharpness: ArrayLike, worth: ArrayLike) -> ModelMix:
    """Shares of tokens by a logit choice among model sizes: softmax of sharpness x (quality - price / worth).

    What one router saves on two models is `workbench.chips.routed`; this is the market's mix over all sizes.

    Parameters
    ----------
    active : array_like, shape (sizes, ...)
        Active parameters.
    price : array_like, shape (sizes, ...)
        Of a token [any unit].
    quality : array_like, shape (sizes, ...)
        Share of tasks done well, 0 to 1.
    sharpness : array_like
        0: all sizes alike; inf would be the best size alone.
    worth : array_like
        Price that one more task done well a task is worth.

    Raises
    ------
    InputError
        For a worth that is not positive, a negative price, size or sharpness.

    References
    ----------
    .. [1] McFadden (1974), "Conditional Logit Analysis of Qualitative Choice Behavior".
    """
    n, p, q, beta, v = (np.asarray(x, dtype=float) for x in (active, price, quality, sharpness, worth))
    if not (np.all(v > 0) and np.all(p >= 0) and np.all(n >= 0) and np.all(beta >= 0)):
        raise InputError("worth: expected more than 0; active, price, sharpness: 0 or more")
    utility = beta * (q - p / v)
    weight = np.exp(utility - utility.max(axis=0))
    share = weight / weight.sum(axis=0)
    return ModelMix(share, (share * n).sum(axis=0), (share * p).sum(axis=0), (share * q).sum(axis=0))
