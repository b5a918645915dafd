"""Speed of serving a model, to first order: the roofline of decode and prefill under continuous batching.

A roofline is what the chip allows. Measured systems reach a share of it that `efficiency` stands for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.catalogue import LLM
from workbench.errors import InputError
from workbench.fabric import Cluster
from workbench.units import GIGA

BYTES = {"bf16": 2.0, "fp8": 1.0, "fp4": 0.5, "int8": 1.0}
#: Share of device memory that a serving engine may fill (vLLM's default for ``gpu_memory_utilization``) ...
MEMORY_SHARE = 0.9
#: ... less what runtime, graphs and activations take of it, per chip [B].
RESERVED_BYTES = 2 * GIGA


@dataclass(frozen=True)
class ServingPlan:
    """How a replica is laid out: `chips` chips hold one copy of the weights, split evenly."""

    chips: ArrayLike = 8
    precision: str = "fp8"
    kv_precision: str = "fp8"

    def __post_init__(self) -> None:
        for name in ("precision", "kv_precision"):
            if getattr(self, name) not in BYTES:
                raise InputError(f"{name} = {getattr(self, name)!r}: expected one of {', '.join(BYTES)}")
        if np.any(np.asarray(self.chips) < 1):
            raise InputError(f"chips = {self.chips}: a replica needs at least 1")


@dataclass(frozen=True)
class Load:
    """A closed loop: `concurrency` users of one replica, each with a request of these lengths always in flight."""

    concurrency: ArrayLike
    input_tokens: ArrayLike
    output_tokens: ArrayLike

    def __post_init__(self) -> None:
        for name in ("concurrency", "input_tokens", "output_tokens"):
            if np.any(np.asarray(getattr(self, name)) < 1):
                raise InputError(f"{name} = {getattr(self, name)}: expected at least 1")


@dataclass(frozen=True)
class Serving:
    """Operating point of a replica; arrays broadcast over plan and load. Where `feasible` is False, rates are 0 and times inf."""

    feasible: NDArray[np.bool_]  #: weights and one request fit
    missing_bytes: NDArray[np.float64]  #: memory that lacks for that, whole replica [B]
    batch: NDArray[np.float64]  #: requests decoding at once
    ttft: NDArray[np.float64]  #: time to first token of an unqueued request [s]
    tpot: NDArray[np.float64]  #: time per output token [s]
    tokens_per_second: NDArray[np.float64]  #: output tokens of the replica
    tokens_per_second_per_chip: NDArray[np.float64]
    tokens_per_second_per_user: NDArray[np.float64]


def serving(llm: LLM, cluster: Cluster, plan: ServingPlan, load: Load, *, efficiency: ArrayLike = 1.0) -> Serving:
    """Throughput and latency of a replica of `llm` at a closed-loop load.

    decode step  t_dec = max(bytes / (n BW), FLOP / (n F)) / efficiency, bytes = weights touched + KV cache read
    prefill      t_pre = s_in FLOP / (n F) / efficiency
    time a token TPOT = t_dec(b) + (b - 1) / s_out t_pre: the others' prompts interrupt
    throughput   b / (t_dec(b) + b / s_out t_pre): its own prompt too

    with n chips of memory bandwidth BW and peak F, b requests in flight or as many as the KV cache holds, and of E experts the share
    1 - (1 - k/E)^b touched. Communication is not counted.

    Parameters
    ----------
    llm : LLM
    cluster : Cluster
        Its chip; the number of chips does not matter as long as a replica fits in.
    plan : ServingPlan
    load : Load
    efficiency : array_like
        Share of the roofline that is reached, above 0 and at most 1.

    Returns
    -------
    Serving

    Raises
    ------
    InputError
        For a replica larger than the cluster, a request longer than the context window, or an efficiency outside (0, 1].

    References
    ----------
    .. [1] Williams, Waterman, Patterson (2009), "Roofline", CACM 52(4).
    .. [2] Pope et al. (2023), "Efficiently Scaling Transformer Inference", sections 2 and 3.
    """
    n, b, s_in, s_out, share = (
        np.asarray(x, dtype=float) for x in (plan.chips, load.concurrency, load.input_tokens, load.output_tokens, efficiency)
    )
    if np.any(n > np.asarray(cluster.n_chips)):
        raise InputError(f"chips = {plan.chips}: a replica cannot have more chips than the cluster ({cluster.n_chips})")
    if np.any(s_in + s_out > llm.context):
        raise InputError(f"input_tokens + output_tokens exceed the context window of {llm.name}: {llm.context}")
    if not np.all((share > 0) & (share <= 1)):
        raise InputError(f"efficiency = {efficiency}: expected a share above 0 and at most 1")
    weight, kv = BYTES[plan.precision], BYTES[plan.kv_precision]

    free = n * (MEMORY_SHARE * cluster.chip.hbm_bytes - RESERVED_BYTES) - llm.params * weight
    request = llm.kv_bytes(s_in + s_out, kv)
    feasible = free >= request
    batch = np.where(feasible, np.minimum(b, np.floor(np.maximum(free, 0) / request)), 1.0)

    context = s_in + s_out / 2
    touched = 1 - (1 - llm.experts_per_token / llm.experts) ** batch if llm.experts else 0.0
    weights_read = (llm.params - llm.embedding_params * (1 if not llm.tied_embeddings else 0) - llm.expert_params * (1 - touched)) * weight
    memory = (weights_read + batch * llm.kv_bytes(context, kv)) / (n * cluster.chip.hbm_bandwidth)
    peak = n * cluster.chip.peak(plan.precision)
    decode = np.maximum(memory, batch * llm.forward_flop_per_token(context) / peak) / share
    prefill = s_in * llm.forward_flop_per_token(s_in / 2) / peak / share

    tpot = decode + (batch - 1) / s_out * prefill
    rate = np.where(feasible, batch / (decode + batch / s_out * prefill), 0.0)
    tpot = np.where(feasible, tpot, np.inf)
    return Serving(
        feasible=feasible,
        missing_bytes=np.maximum(request - free, 0.0),
        batch=np.where(feasible, batch, 0.0),
        ttft=np.where(feasible, prefill + decode, np.inf),
        tpot=tpot,
        tokens_per_second=rate,
        tokens_per_second_per_chip=rate / n,
        tokens_per_second_per_user=np.where(feasible, 1 / tpot, 0.0),
    )
