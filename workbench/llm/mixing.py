"""What lets the tokens of a layer see each other: attention of every kind, linear attention and state-space layers.

Each function gives a layer's weights, what it keeps and reads of a sequence, and its arithmetic, as an equation of its source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from workbench.arrays import Arrays

STATE_BYTES, CONVOLVED_BYTES = 4, 2  #: of a number of a recurrent state (``mamba_ssm_cache_dtype`` float32) and of a convolution's past


@dataclass(frozen=True, kw_only=True, repr=False)
class Mixing(Arrays):
    """What layers need beside the products of the model's main attention: of one layer, or of several together.

    A token adds `kept` numbers to the cache for good, and `kept_windowed` that leave with the window. A later one reads `read` numbers,
    and multiplies and adds `scores` times, for each token before it: the windowed ones within ``sliding_window`` tokens, the selected
    ones for ``sparse_tokens`` at most.
    """

    layers: Any = 0
    weights: Any = 0  #: in matrices
    kept: Any = 0
    kept_windowed: Any = 0
    read: Any = 0
    read_windowed: Any = 0
    read_selected: Any = 0
    scores: Any = 0
    scores_windowed: Any = 0
    scores_selected: Any = 0
    state: Any = 0  #: constant state of a sequence [B]
    updates: Any = 0  #: multiply-adds of a token with the state

    def times(self, n: float) -> Mixing:
        """Of `n` equal layers."""
        return Mixing(**{f.name: n * getattr(self, f.name) for f in fields(self)})


def together(parts: Iterable[Mixing]) -> Mixing:
    """Of all parts."""
    parts = list(parts)
    return Mixing(**{f.name: sum(getattr(p, f.name) for p in parts) for f in fields(Mixing)})


def recurrent(weights: Any, convolved: Any, state: Any, updates: Any, kernel: int) -> Mixing:
    """A layer with so many numbers of a recurrent state, and of channels that a convolution over `kernel` tokens looks at."""
    past = STATE_BYTES * state + CONVOLVED_BYTES * convolved * (kernel - 1)
    return Mixing(layers=1, weights=weights + convolved * kernel, state=past, updates=updates)


def time_mixing(hidden: int, inner: int, kind: str) -> int:
    """Weights of RWKV's time mixing, with a gate in 5 and 6; up to 6 the receptance of its channels [Peng et al., 2024, arXiv:2404.05892].

    In 6 and 7 decay, mixing and gates follow the data by products of low rank, as RWKV-LM sizes them.
    """
    matrices, receptance, rank = 5 - (kind in ("rwkv", "rwkv7")), kind != "rwkv7", 0
    if kind == "rwkv6":
        rank = (5 * 32 + 64) * (1 + (hidden >= 4096))
    elif kind == "rwkv7":
        rank = sum(max(32 * round(f * hidden**power / 32), 32) for f, power in ((1.8, 0.5), (1.8, 0.5), (1.3, 0.5), (0.6, 0.8)))
    return matrices * hidden * inner + receptance * hidden**2 + 2 * hidden * rank
