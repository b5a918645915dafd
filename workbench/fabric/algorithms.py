"""What a collective asks of one tier: sequential steps and bytes a rank, by operation and algorithm.

Bytes follow the convention of nccl-tests: of an all-gather or reduce-scatter the size of the whole, of the others that of a rank's buffer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InputError

Array = NDArray[np.float64]
Rule = Callable[..., tuple[Array, Array]]
EXPERTS = ("dispatch", "combine", "dispatch_low_latency", "combine_low_latency")  #: tokens to experts, and back


def _log2(n: Array) -> Array:
    return np.ceil(np.log2(np.maximum(n, 1)))


def _extra(n: Array) -> Array:
    """Steps by which a number of ranks that is no power of two lengthens halving and doubling."""
    return np.where(np.exp2(np.round(np.log2(n))) == n, 0.0, 2.0)


def _copies(of: Callable[[Array, Any], Array]) -> Rule:
    """A message to every peer, and the copies of a token that leave its group, of n groups for k experts."""
    return lambda s, n, b=1, k=1: ((n - 1) * b, s * of(n, k) * (n - 1) / n)


_ROOTED: dict[str, Rule] = {
    "ring": lambda s, n, b=1: (n - 1, s * np.where(n > 1, 1.0, 0.0)),
    "tree": lambda s, n, b=1: (_log2(n), s * np.where(n > 1, 1.0, 0.0)),
}
#: Steps and bytes a rank for S bytes and n ranks, or n domains of b ranks each: a ring is flat, it passes through every rank.
#: Ring: Thakur, Rabenseifner, Gropp (2005), sections 4.1, 4.2, 4.5. Halving and doubling: ibid. Bruck: Bruck et al. (1997).
#: Double binary tree: Sanders, Speck, Traeff (2009). In-network: one trip up, one down (NVLS, SHARP). Tokens to k experts drawn at random,
#: as DeepEP sends them: a copy for each node, or rank of a node, that has any of them; its kernels for latency send one for each expert.
RULES: dict[str, dict[str, Rule]] = {
    "all_reduce": {
        "ring": lambda s, n, b=1: (2 * (n * b - 1), 2 * s * (n * b - 1) / (n * b)),
        "double binary tree": lambda s, n, b=1: (2 * _log2(n), 2 * s * np.where(n > 1, 1.0, 0.0)),
        "halving-doubling": lambda s, n, b=1: (2 * _log2(n) + _extra(n), 2 * s * (n - 1) / n * np.where(_extra(n) > 0, 1.5, 1.0)),
        "in-network": lambda s, n, b=1: (np.where(n > 1, 2.0, 0.0), s * np.where(n > 1, 1.0, 0.0)),
    },
    "all_gather": {
        "ring": lambda s, n, b=1: (n * b - 1, s * (n * b - 1) / (n * b)),
        "halving-doubling": lambda s, n, b=1: (_log2(n) + _extra(n), s * (n - 1) / n),
        "Bruck": lambda s, n, b=1: (_log2(n), s * (n - 1) / n),
    },
    "reduce_scatter": {
        "ring": lambda s, n, b=1: (n * b - 1, s * (n * b - 1) / (n * b)),
        "halving-doubling": lambda s, n, b=1: (_log2(n) + _extra(n), s * (n - 1) / n),
    },
    "alltoall": {
        "pairwise": lambda s, n, b=1: ((n - 1) * b, s * (n - 1) / n),
        "Bruck": lambda s, n, b=1: (_log2(n), s / 2 * _log2(n)),
    },
    **{op: {"once a group": _copies(lambda n, k: n * (1 - (1 - 1 / n) ** k))} for op in EXPERTS[:2]},
    **{op: {"direct": _copies(lambda n, k: k + 0 * n)} for op in EXPERTS[2:]},
    "broadcast": _ROOTED,
    "reduce": _ROOTED,
    "sendrecv": {"direct": lambda s, n, b=1: (np.where(n > 1, 1.0, 0.0), s * np.where(n > 1, 1.0, 0.0))},
}


def operation(op: str) -> str:
    """The operation that `op` means, however it is spelt: ``all-reduce``, ``allreduce``, ``All Reduce``. Raises `InputError`."""
    if op in RULES:
        return op
    known = {name.replace("_", ""): name for name in RULES}
    found = known.get(re.sub(r"[^a-z]", "", str(op).lower()).removesuffix("perf"))
    if found is None:
        raise InputError(f"op = {op!r}: expected one of {', '.join(RULES)}")
    return found


def rule(op: str, name: str, between: bool, top_k: Any = 1) -> Rule:
    """An algorithm of an operation, or what its measured curve stands for: the first; of an all-reduce between domains NCCL's tree."""
    found = RULES[op][name or ("double binary tree" if between and op == "all_reduce" else algorithms(op)[0])]
    return partial(found, k=top_k) if op in EXPERTS else found


def algorithms(op: str) -> tuple[str, ...]:
    """Algorithms of an operation, the one that its measured curve stands for first. Raises `InputError`."""
    return tuple(RULES[operation(op)])


def busbw_factor(op: str, n: Array) -> Array:
    """busbw over algbw, as nccl-tests defines it (doc/PERFORMANCE.md)."""
    algorithms(op)
    if op == "all_reduce":
        return 2 * (n - 1) / n
    if op in ("all_gather", "reduce_scatter", "alltoall"):
        return (n - 1) / n
    return np.ones_like(n)  # of dispatch and combine, whose bandwidth DeepEP counts by logical bytes, algbw


def passed_up(op: str, s: Array, ranks: Array) -> Array:
    """Bytes of a rank that the next tier sees when `ranks` of them share the work below: all of them where nothing is combined."""
    return s if op in ("alltoall", "sendrecv", *EXPERTS) else s / ranks
