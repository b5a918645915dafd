"""Time of the operators a transformer consists of: matrix products, grouped products, attention, streaming, and the floor of launches.

``rate`` is what a large product sustains [FLOP/s]: the peak times an efficiency. A product of m x k and k x n takes

    2 (m n + tail w)(k + depth) / rate

Tiles that the last wave leaves idle cost like ``tail`` half waves w of output (tile and wave quantisation, in the mean over shapes);
filling and draining the pipeline of each tile costs like ``depth`` more of k. Small m, n and k are slow for that reason alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

HALF_WAVE = 132 * 128 * 128 / 2  #: half a wave: output elements of half the 128 x 128 tiles that 132 processors compute at once
FLASH_BACKWARD = 2.5  #: share of the arithmetic of flash attention's forward that its backward takes: scores are computed again [Dao, 2023]

Number = Any  #: a number or array, real, or complex for derivatives


def matrix_product(m: Number, n: Number, k: Number, rate: Number, *, tail: Number = 0.0, depth: Number = 0.0) -> Number:
    """Time of one product of m x k and k x n numbers [s]; `rate` is that of a large one [FLOP/s]; arguments broadcast."""
    return 2 * (m * n + tail * HALF_WAVE) * (k + depth) / rate


def grouped_product(groups: Number, m: Number, n: Number, k: Number, rate: Number, *, tail: Number = 0.0, depth: Number = 0.0) -> Number:
    """Time of `groups` products of one shape in one launch [s]: they share the last wave, and each pads its rows to tiles of 16."""
    rows = np.maximum(16 * np.ceil(np.real(m) / 16), 1.0)
    return 2 * (groups * rows * n + tail * HALF_WAVE) * (k + depth) / rate


def attention_flop(tokens: Number, context: Number, heads: Number, key_dim: Number, value_dim: Number) -> Number:
    """Arithmetic of scores and values in the forward pass [FLOP]; causal attention over s tokens has a mean context of s / 2."""
    return 2 * tokens * context * heads * (key_dim + value_dim)


def streaming(moved: Number, bandwidth: Number, share: Number) -> Number:
    """Time of operators that memory bounds [s], norms, activations, residuals, casts: bytes over what they sustain of a bandwidth [B/s]."""
    return moved / (bandwidth * share)


def floored(work: Number, launches: Number) -> Number:
    """The longer of work and launches, softly: the fourth root of the sum of fourth powers [s]."""
    return np.sqrt(np.sqrt(work**4 + launches**4))


def idling(work: Number, launches: Number) -> Number:
    """What `floored` is more than the work, without the rounding of a difference [s]."""
    return work * np.expm1(np.log1p((launches / np.maximum(work, 1e-30)) ** 4) / 4)


def exposed(communication: Number, cover: Number) -> Number:
    """Communication that its cover does not hide, softly: at least a little always shows [s]."""
    gap, soft = communication - cover, 0.1 * communication
    return 0.5 * (gap + np.sqrt(gap * gap + soft * soft))
