"""Kaplan et al. (2020) in one variable each, with N without embeddings. Their constants must not be mixed with those of the joint law."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.checks import POSITIVE, takes
from workbench.scaling.laws import KaplanLaw

Array = NDArray[np.float64]
PF_DAY = 8.64e19  #: FLOP


@takes(params=POSITIVE)
def loss_of_params(params: ArrayLike) -> Array:
    """Loss of a model trained to convergence on enough data: (8.8e13 / N)^.076 (equation 1.1) [nats per token]."""
    return np.asarray((8.8e13 / np.asarray(params, dtype=float)) ** 0.076)


@takes(tokens=POSITIVE)
def loss_of_tokens(tokens: ArrayLike) -> Array:
    """Loss of a large model stopped early on limited data: (5.4e13 / D)^.095 (equation 1.2) [nats per token]."""
    return np.asarray((5.4e13 / np.asarray(tokens, dtype=float)) ** 0.095)


@takes(compute=POSITIVE)
def loss_of_compute(compute: ArrayLike) -> Array:
    """Loss at least compute: (3.1e8 PF-days / C)^.050 (equation 1.3) [nats per token]; compute in FLOP."""
    return np.asarray((3.1e8 * PF_DAY / np.asarray(compute, dtype=float)) ** 0.050)


@takes(loss=POSITIVE)
def critical_batch(loss: ArrayLike) -> Array:
    """Batch beyond which more sequences save little time: 2e8 / L^(1 / .21) (equation 5.3) [tokens]."""
    return np.asarray(2e8 / np.asarray(loss, dtype=float) ** (1 / 0.21))


@takes(params=POSITIVE, delta=POSITIVE)
def tokens_against_overfitting(params: ArrayLike, law: KaplanLaw, delta: ArrayLike = 0.02) -> Array:
    """Tokens that keep the joint law within a share `delta` of its loss on unlimited data (equation 4.4): c N^(alpha_N / alpha_D)."""
    n_c, d_c, alpha_n, alpha_d = law.constants(params=params, delta=delta)
    n, share = np.asarray(params, dtype=float), np.asarray(delta, dtype=float)
    return np.asarray(d_c / ((n_c / n) ** (alpha_n / alpha_d) * ((1 + share) ** (1 / alpha_d) - 1)))


@takes(compute=POSITIVE)
def learning_rate_and_batch(compute: ArrayLike) -> tuple[Array, Array]:
    """Peak learning rate .3118 C^-.1250 and batch .2920 C^.3271 [tokens] of DeepSeek LLM (2024), equation 1."""
    c = np.asarray(compute, dtype=float)
    return 0.3118 * c**-0.1250, 0.2920 * c**0.3271
