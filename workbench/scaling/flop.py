"""Training compute."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InputError


def training_flop(params: ArrayLike, tokens: ArrayLike) -> NDArray[np.float64]:
    """Training compute C = 6 N D: 2 N a token forward, 4 N backward.

    Parameters
    ----------
    params : array_like
        N, the parameters that a token uses.
    tokens : array_like
        D, training tokens.

    Returns
    -------
    ndarray
        [FLOP], broadcast.

    Raises
    ------
    InputError
        For values that are not positive.

    References
    ----------
    .. [1] Kaplan et al. (2020), "Scaling Laws for Neural Language Models", section 2.1.
    """
    n, d = np.asarray(params, dtype=float), np.asarray(tokens, dtype=float)
    for name, value in (("params", n), ("tokens", d)):
        if not np.all(value > 0):
            raise InputError(f"{name} = {value}: expected more than 0")
    return 6 * n * d
