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


def indexer(hidden: int, query_rank: int, heads: int, head_dim: int, *, weighed: bool = True) -> Mixing:
    """What chooses the tokens of sparse attention: a key for each token, scored by a few heads, which are weighed [DeepSeek-V3.2, 2.1]."""
    weights = query_rank * heads * head_dim + hidden * head_dim + weighed * hidden * heads
    return Mixing(weights=weights, kept=head_dim, read=head_dim, scores=heads * head_dim)


def compressed(
    hidden: int, heads: int, head_dim: int, query_rank: int, output_rank: int, groups: int, index: tuple[int, int], ratio: int
) -> Mixing:
    """DeepSeek-V4: one latent head that is key and value, whole in a window; beyond it one entry for `ratio` tokens.

    A ratio of 4 overlaps its blocks and selects entries by an `index` of so many heads and so wide; wider ones are read whole; 0 is the
    window alone [DeepSeek-V4, ``inference/model.py``: Attention, Compressor, Indexer].
    """
    weights = hidden * (query_rank + head_dim) + query_rank * heads * head_dim + output_rank * (heads * head_dim + groups * hidden)
    window = Mixing(layers=1, weights=weights, kept_windowed=head_dim, read_windowed=head_dim, scores_windowed=2 * heads * head_dim)
    if not ratio:
        return window
    scores, entry = 2 * heads * head_dim / ratio, head_dim / ratio
    if ratio > 4:
        return together([window, Mixing(weights=2 * (hidden + ratio / 2) * head_dim, kept=entry, read=entry, scores=scores)])
    index_heads, index_dim = index
    lightning = query_rank * index_heads * index_dim + hidden * index_heads
    more = Mixing(
        weights=4 * (hidden + ratio / 2) * (head_dim + index_dim) + lightning, kept=entry + index_dim / ratio, read=index_dim / ratio,
        read_selected=entry, scores=index_heads * index_dim / ratio, scores_selected=scores,
    )  # fmt: skip
    return together([window, more])


def mamba(hidden: int, inner: int, state: int, rank: int, kernel: int, steps: int = 0) -> Mixing:
    """A selective state-space layer, with so many `steps` of time, or one a channel [Gu and Dao, 2023, arXiv:2312.00752, algorithm 2]."""
    weights = hidden * 2 * inner + inner * kernel + inner * (rank + 2 * state) + (rank + state) * (steps or inner) + inner * hidden
    return Mixing(layers=1, weights=weights, state=_state(inner * state, inner, kernel), updates=2 * inner * state)


def mamba2(hidden: int, heads: int, head_dim: int, state: int, groups: int, kernel: int) -> Mixing:
    """State-space duality: a scalar decay for each head, keys and queries shared in groups [Dao and Gu, 2024, arXiv:2405.21060, 7.1]."""
    inner = heads * head_dim
    convolved = inner + 2 * groups * state
    weights = hidden * (inner + convolved + heads) + convolved * kernel + inner * hidden
    return Mixing(layers=1, weights=weights, state=_state(inner * state, convolved, kernel), updates=2 * inner * state)


def gated_delta(hidden: int, key_heads: int, value_heads: int, key_dim: int, value_dim: int, kernel: int) -> Mixing:
    """Gated DeltaNet with an output gate [Yang et al., 2024, arXiv:2412.06464; as in Qwen3-Next]."""
    keys, values = key_heads * key_dim, value_heads * value_dim
    convolved = 2 * keys + values
    weights = hidden * (convolved + values + 2 * value_heads) + convolved * kernel + values * hidden
    numbers = values * key_dim
    return Mixing(layers=1, weights=weights, state=_state(numbers, convolved, kernel), updates=3 * numbers)


def gated_recurrence(hidden: int, inner: int, heads: int, kernel: int) -> Mixing:
    """A diagonal linear recurrence (RG-LRU), gated by products in blocks of heads [Griffin, 2024, arXiv:2402.19427, 2.4]."""
    weights = 3 * hidden * inner + inner * kernel + 2 * inner * inner // heads
    return Mixing(layers=1, weights=weights, state=_state(inner, inner, kernel), updates=2 * inner)


def matrix_memory(hidden: int, heads: int, key_factor: float, value_factor: float) -> Mixing:
    """mLSTM: a matrix for each head, with an output gate [Beck et al., 2025, xLSTM 7B, arXiv:2503.13427]."""
    keys, values = int(key_factor * hidden), int(value_factor * hidden)
    numbers = keys * values // heads
    return Mixing(layers=1, weights=hidden * (2 * keys + 3 * values + 2 * heads), state=STATE_BYTES * (numbers + keys), updates=2 * numbers)


def kimi_delta(hidden: int, heads: int, head_dim: int, kernel: int, full_gate: bool = False, full_decay: bool = False) -> Mixing:
    """Kimi Delta Attention: a decay for each channel, of low rank as its gate may be [Kimi Linear, 2025, arXiv:2510.26692]."""
    inner = heads * head_dim
    low = hidden * head_dim + head_dim * inner
    gates = sum(hidden * inner if full else low for full in (full_gate, full_decay))
    weights = hidden * (4 * inner + heads) + 3 * inner * kernel + gates
    return Mixing(layers=1, weights=weights, state=_state(inner * head_dim, 3 * inner, kernel), updates=3 * inner * head_dim)


def lightning(hidden: int, heads: int, head_dim: int) -> Mixing:
    """Linear attention with a fixed decay and an output gate [MiniMax-01, 2025, arXiv:2501.08313, 2.2]."""
    inner = heads * head_dim
    return Mixing(layers=1, weights=5 * hidden * inner, state=STATE_BYTES * inner * head_dim, updates=2 * inner * head_dim)


def rwkv(hidden: int, inner: int, head_dim: int, kind: str = "rwkv5") -> Mixing:
    """Time mixing of RWKV, with a gate in 5 and 6; up to 6 the receptance of its channels [Peng et al., 2024, arXiv:2404.05892].

    In 6 and 7 decay, mixing and gates follow the data by products of low rank, as RWKV-LM sizes them.
    """
    matrices, receptance, rank = 5 - (kind in ("rwkv", "rwkv7")), kind != "rwkv7", 0
    if kind == "rwkv6":
        rank = (5 * 32 + 64) * (1 + (hidden >= 4096))
    elif kind == "rwkv7":
        rank = sum(max(32 * round(f * hidden**power / 32), 32) for f, power in ((1.8, 0.5), (1.8, 0.5), (1.3, 0.5), (0.6, 0.8)))
    state = STATE_BYTES * inner * head_dim + CONVOLVED_BYTES * 2 * hidden
    weights = matrices * hidden * inner + receptance * hidden**2 + 2 * hidden * rank
    return Mixing(layers=1, weights=weights, state=state, updates=2 * inner * head_dim)


def short_convolution(hidden: int, kernel: int) -> Mixing:
    """A gated convolution over the last few tokens (LFM2)."""
    return Mixing(layers=1, weights=4 * hidden * hidden + hidden * kernel, state=CONVOLVED_BYTES * hidden * kernel)


def _state(recurrent: int, convolved: int, kernel: int) -> int:
    """Bytes of a recurrent state and of the past that a convolution looks at."""
    return STATE_BYTES * recurrent + CONVOLVED_BYTES * convolved * max(kernel - 1, 0)
