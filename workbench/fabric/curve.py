"""Time of a collective on one tier: protocols that each pay a start, steps, wire time and chunking, joined by a soft minimum.

t_p = start_p + step_p steps + volume / (share_p bandwidth) + chunk_p sqrt(volume); t = (sum_p t_p^-8)^(-1/8)

The square root is what pipelining in chunks of the best size costs: with h hops and latency a a hop, (s/c + h)(a + c/B) is least at
c = sqrt(s a B / h), which leaves 2 sqrt(s h a / B). The constants are logarithms, so that all are positive and priors are ratios.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PROTOCOLS = ("LL", "LL128", "Simple")
CONSTANTS = ("start", "step", "share", "chunk")  #: s, s, share of bandwidth, s / sqrt(B)
#: NCCL's planning values: start and step latencies, share of the wire [src/graph/tuning.cc]; chunk from the median of measured curves.
PRIOR: Array = np.log([[6.6e-6, 14e-6, 8.4e-6], [0.6e-6, 1.9e-6, 3.4e-6], [0.05, 0.35, 0.8], [1e-9, 1e-9, 1e-9]])


#: The same between domains: a step over a NIC and its latency, shares that the protocols' flags leave, small messages of a few hosts.
BETWEEN: Array = np.log([[20e-6, 30e-6, 40e-6], [2.7e-6, 4e-6, 14e-6], [0.25, 0.7, 0.85], [1e-9, 1e-9, 1e-9]])


def seconds(theta: Array, steps: Any, volume: Any, bandwidth: Any) -> Array:
    """Time on one tier [s].

    Parameters
    ----------
    theta : ndarray, shape (..., 4, 3)
        Logarithms of `CONSTANTS` by `PROTOCOLS`.
    steps, volume, bandwidth : array_like
        Sequential steps, bytes that a rank puts on its link [B], bandwidth of the link [B/s]; broadcast with the leading shape of theta.
    """
    constants = np.exp(theta)
    s, v, b = (np.asarray(x, dtype=float) for x in (steps, volume, bandwidth))
    root, wire = np.sqrt(v), v / b
    times = []
    for p in range(len(PROTOCOLS)):  # one array a protocol: contiguous, and half the memory traffic of a joint axis
        start, step, share, chunk = (constants[..., c, p] for c in range(len(CONSTANTS)))
        times.append(start + step * s + wire / share + chunk * root)
    least = np.minimum(np.minimum(times[0], times[1]), times[2])
    total = np.zeros_like(least)
    for t in times:
        ratio = least / t
        ratio *= ratio
        ratio *= ratio
        total += ratio * ratio
    return np.asarray(least / np.sqrt(np.sqrt(np.sqrt(total))))
