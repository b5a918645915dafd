"""What a collective asks of one tier: sequential steps and bytes a rank, by the algorithm that its measured curve stands for.

Bytes follow the convention of nccl-tests: of an all-gather or reduce-scatter the size of the whole, of the others that of a rank's buffer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.arrays import Array
from workbench.errors import InputError

Rule = Callable[..., tuple[Any, Any]]
EXPERTS = ("dispatch", "combine", "dispatch_low_latency", "combine_low_latency")  #: tokens to experts, and back


def _copies(of: Callable[[Any, Any], Any]) -> Rule:
    """A message to every peer, and the copies of a token that leave its group, of n groups for k experts."""
    return lambda s, n, b=1, k=1: ((n - 1) * b, s * of(n, k) * (n - 1) / n)


#: Steps and bytes a rank for S bytes and n ranks, or n domains of b ranks each: a ring is flat, it passes through every rank.
#: Rings: Thakur, Rabenseifner, Gropp (2005), sections 4.1, 4.2, 4.5. Tokens to k experts drawn at random, as DeepEP sends them: a copy for
#: each node, or rank of a node, that has any of them; its kernels for latency send one for each expert.
RULES: dict[str, Rule] = {
    "all_reduce": lambda s, n, b=1, k=1: (2 * (n * b - 1), 2 * s * (n * b - 1) / (n * b)),
    **dict.fromkeys(("all_gather", "reduce_scatter"), lambda s, n, b=1, k=1: (n * b - 1, s * (n * b - 1) / (n * b))),
    "alltoall": _copies(lambda n, k: 1),
    **dict.fromkeys(EXPERTS[:2], _copies(lambda n, k: n * (1 - (1 - 1 / n) ** k))),
    **dict.fromkeys(EXPERTS[2:], _copies(lambda n, k: k)),
    **dict.fromkeys(("broadcast", "reduce"), lambda s, n, b=1, k=1: (n - 1, s * (n > 1))),
    "sendrecv": lambda s, n, b=1, k=1: (1.0 * (n > 1), s * (n > 1)),
}


def operation(op: str) -> str:
    """The operation that `op` means, however it is spelt: ``all-reduce``, ``allreduce``, ``All Reduce``. Raises `InputError`."""
    known = {name.replace("_", ""): name for name in RULES}
    found = op if op in RULES else known.get(re.sub(r"[^a-z]", "", str(op).lower()).removesuffix("perf"))
    if found is None:
        raise InputError(f"op = {op!r}: expected one of {', '.join(RULES)}")
    return found


def asked(op: str, s: Any, n: Any, below: Any = 1.0, between: bool = False, top_k: Any = 1) -> tuple[Any, Any]:
    """Steps and bytes a rank; between domains, of `below` ranks each, an all-reduce takes NCCL's double binary tree (Sanders 2009)."""
    if between and op == "all_reduce":
        return 2 * np.ceil(np.log2(np.maximum(n, 1))), 2 * s * (n > 1)
    return RULES[op](s, n, below, top_k)


def busbw_factor(op: str, n: Array) -> Any:
    """busbw over algbw, as nccl-tests defines it (doc/PERFORMANCE.md); DeepEP counts by logical bytes, algbw."""
    return np.ones_like(n) if op in EXPERTS else RULES[op](1.0, n)[1]


def passed_up(op: str, s: Any, ranks: Any) -> Any:
    """Bytes of a rank that the next tier sees when `ranks` of them share the work below: all of them where nothing is combined."""
    return s if op in ("alltoall", "sendrecv", *EXPERTS) else s / ranks
