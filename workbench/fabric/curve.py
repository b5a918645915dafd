"""Time of a collective on one tier: what it asks of the tier, and protocols that each pay a start, steps, wire time and chunking.

Steps and bytes are those of the algorithm that the measured curve represents. Bytes follow the convention of nccl-tests: of an all-gather
or reduce-scatter the size of the whole, of the others that of a rank's buffer. Protocols are joined by a soft minimum:

t_p = start_p + step_p steps + volume / (share_p bandwidth) + chunk_p sqrt(volume); t = (sum_p t_p^-8)^(-1/8)

The square root is what pipelining in chunks of the best size costs: with h hops and latency a a hop, (s/c + h)(a + c/B) is least at
c = sqrt(s a B / h), which leaves 2 sqrt(s h a / B). The constants are logarithms, so that all are positive and priors are ratios.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.arrays import Array
from workbench.errors import InputError

PROTOCOLS = ("LL", "LL128", "Simple")
CONSTANTS = ("start", "step", "share", "chunk", "inline")  #: s, s, share of bandwidth, s / sqrt(B), more of a step
INLINE = 192  #: B that a processor writes into a command of Slingshot's NIC (libfabric, prov/cxi: CXIP_INJECT_SIZE): 1 + inline steps
HOP = 0.25  #: step inside a domain over one between domains: 0.6 / 2.7 and 3.4 / 14 us in NCCL's planning values of rings
#: NCCL's planning values: start and step latencies, share of the wire [src/graph/tuning.cc]; chunk from the median of measured curves.
PRIOR: Array = np.log([[6.6e-6, 14e-6, 8.4e-6], [0.6e-6, 1.9e-6, 3.4e-6], [0.05, 0.35, 0.8], [1e-9] * 3, [1e-9] * 3])
#: The same between domains: a step over a NIC and its latency, shares that the protocols' flags leave, small messages of a few hosts.
BETWEEN: Array = np.log([[20e-6, 30e-6, 40e-6], [2.7e-6, 4e-6, 14e-6], [0.25, 0.7, 0.85], [1e-9] * 3, [0.05] * 3])
Rule = Callable[..., tuple[Any, Any]]
EXPERTS = ("dispatch", "combine", "dispatch_low_latency", "combine_low_latency")  #: tokens to experts, and back


def _copies(of: Callable[[Any, Any], Any]) -> Rule:
    """A message to every peer, and the copies of a token that leave its group, of n groups for k experts."""
    return lambda s, n, b=1, k=1: ((n - 1) * b, s * of(n, k) * (n - 1) / n)


#: Steps and bytes per rank for S bytes and n ranks, or n domains of b ranks each: a ring is flat, it passes through every rank, mostly in a
#: domain. Rings: Thakur, Rabenseifner, Gropp (2005), sections 4.1, 4.2, 4.5. Tokens to k experts drawn at random, as in DeepEP: a copy for
#: each node, or rank of a node, that has any of them; its kernels for latency send one for each expert.
RULES: dict[str, Rule] = {
    "all_reduce": lambda s, n, b=1, k=1: (2 * (n * b - 1), 2 * s * (n * b - 1) / (n * b)),
    **dict.fromkeys(("all_gather", "reduce_scatter"), lambda s, n, b=1, k=1: (n - 1 + HOP * n * (b - 1), s * (n * b - 1) / (n * b))),
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


def work(op: str, s: Any, n: Any, below: Any = 1.0, between: bool = False, top_k: Any = 1) -> tuple[Any, Any]:
    """Steps and bytes per rank; between domains, of `below` ranks each, an all-reduce takes NCCL's double binary tree (Sanders 2009)."""
    if between and op == "all_reduce":
        return 2 * np.ceil(np.log2(np.maximum(n, 1))), 2 * s * (n > 1)
    return RULES[op](s, n, below, top_k)


def busbw_factor(op: str, n: Array) -> Any:
    """busbw over algbw, as nccl-tests defines it (doc/PERFORMANCE.md); DeepEP counts by logical bytes, algbw."""
    return np.ones_like(n) if op in EXPERTS else RULES[op](1.0, n)[1]


def passed_up(op: str, s: Any, ranks: Any) -> Any:
    """Bytes of a rank that the next tier sees when `ranks` of them share the work below: all of them where nothing is combined."""
    return s if op in ("alltoall", "sendrecv", *EXPERTS) else s / ranks


def seconds(theta: Array, steps: Any, volume: Any, bandwidth: Any) -> Array:
    """Time on one tier [s].

    Parameters
    ----------
    theta : ndarray, shape (..., 5, 3)
        Logarithms of `CONSTANTS` by `PROTOCOLS`.
    steps, volume, bandwidth : array_like
        Sequential steps, bytes that a rank puts on its link [B], bandwidth of the link [B/s]; broadcast with the leading shape of theta.
    """
    constants = np.exp(theta)
    s, v, b = (np.asarray(x, dtype=float) for x in (steps, volume, bandwidth))
    root, wire, short = np.sqrt(v), v / b, v <= INLINE * s
    times = []
    for p in range(len(PROTOCOLS)):  # one array a protocol: contiguous, and half the memory traffic of a joint axis
        start, step, share, chunk, inline = (constants[..., c, p] for c in range(len(CONSTANTS)))
        times.append(start + step * s * (1 + inline * short) + wire / share + chunk * root)
    least = np.minimum(np.minimum(times[0], times[1]), times[2])
    total = sum(np.square(np.square(np.square(least / t))) for t in times)
    return np.asarray(least / np.sqrt(np.sqrt(np.sqrt(total))))
