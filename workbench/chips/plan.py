"""How a model is laid out over chips to train: degrees of parallelism, what is sharded, recomputed and offloaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from workbench.catalogue import LLM
from workbench.errors import InputError
from workbench.fabric import Cluster

RECOMPUTE = ("none", "selective", "full")
SCHEDULES = ("1f1b", "zero-bubble", "dualpipe")
OFFLOAD = ("none", "optimizer", "activations", "all")
CONTEXT = ("ring", "all-to-all")
#: Number formats of training and the peak each runs at.
PRECISIONS = {"fp16": "bf16", "bf16": "bf16", "fp8": "fp8", "mxfp8": "fp8", "nvfp4": "fp4", "int8": "int8"}


@dataclass(frozen=True)
class TrainingPlan:
    """A layout, or many: every field may be an array, and they broadcast.

    Ranks are ordered as Megatron does, tensor parallel innermost, then context, data and pipeline; with `scattered` tensor parallelism
    is outermost. Data parallelism is what is left of the chips.
    """

    tp: ArrayLike = 1  #: tensor parallel degree
    pp: ArrayLike = 1  #: pipeline stages
    vp: ArrayLike = 1  #: model chunks a stage, interleaved above 1
    cp: ArrayLike = 1  #: context parallel degree
    ep: ArrayLike = 1  #: expert parallel degree, within the data-parallel ranks
    micro_batch: ArrayLike = 1  #: sequences
    zero: ArrayLike = 1  #: ZeRO stage: 0 nothing, 1 optimiser, 2 and gradients, 3 and weights (FSDP)
    shard: ArrayLike = 0  #: ranks that ZeRO shards over; 0 all data-parallel ones (fewer: HSDP)
    recompute: ArrayLike = "none"  #: of `RECOMPUTE`
    sequence_parallel: ArrayLike = True
    schedule: ArrayLike = "1f1b"  #: of `SCHEDULES`
    offload: ArrayLike = "none"  #: of `OFFLOAD`, to the memory of the host
    context: ArrayLike = "ring"  #: how context parallel ranks exchange keys and values, of `CONTEXT`
    flash: ArrayLike = True  #: fused attention; without it, scores go through memory
    scattered: ArrayLike = False  #: tensor-parallel ranks lie as far apart as they can
    expert_load: ArrayLike = 1.0  #: tokens of the busiest rank of experts over the mean; benchmarks force 1
    trained: ArrayLike = 1.0  #: share of the weights that is trained; near 0 for LoRA
    precision: str = "bf16"  #: of `PRECISIONS`

    def __post_init__(self) -> None:
        for name in ("tp", "pp", "vp", "cp", "ep", "micro_batch"):
            degree = np.asarray(getattr(self, name), dtype=float)
            if not np.all((degree >= 1) & (degree == np.round(degree))):
                raise InputError(f"{name} = {getattr(self, name)}: expected whole numbers from 1")
        if not np.isin(np.asarray(self.zero), (0, 1, 2, 3)).all():
            raise InputError(f"zero = {self.zero}: expected 0, 1, 2 or 3")
        for name, allowed in (("recompute", RECOMPUTE), ("schedule", SCHEDULES), ("offload", OFFLOAD), ("context", CONTEXT)):
            if not np.isin(np.asarray(getattr(self, name)), allowed).all():
                raise InputError(f"{name} = {getattr(self, name)!r}: expected one of {', '.join(allowed)}")
        if not np.all(np.asarray(self.expert_load) >= 1):
            raise InputError(f"expert_load = {self.expert_load}: the busiest rank has at least the mean, 1")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision = {self.precision!r}: expected one of {', '.join(PRECISIONS)}")


#: Why a layout cannot be, in the order of the tests. 0 is a layout that can.
REASONS = (
    "",
    "tp * pp * cp does not divide the number of chips",
    "tp does not divide the attention heads",
    "pp * vp is more than the layers",
    "micro_batch does not divide the batch of a data-parallel rank",
    "an expert degree without experts",
    "ep does not divide the experts",
    "ep does not divide the data-parallel and context ranks",
    "vp above 1 without a pipeline",
    "interleaved chunks need whole groups of pp micro-batches",
    "cp does not divide the sequence in 2 cp pieces",
    "a pipeline under ZeRO-2 or 3 would gather its weights for every micro-batch",
    "does not fit in memory",
)


@dataclass(frozen=True)
class Layout:
    """A plan with numbers for everything; arrays broadcast."""

    tp: Any
    pp: Any
    vp: Any
    cp: Any
    ep: Any
    dp: Any
    micro_batch: Any
    micro_batches: Any  #: a data-parallel rank and step
    zero: Any
    shard: Any  #: ranks that share what ZeRO shards
    full: Any  #: 1 where everything is computed again in the backward pass
    selective: Any  #: 1 where attention is
    sequence_split: Any  #: ranks that share the norms: tp with sequence parallelism, else 1
    zero_bubble: Any
    dualpipe: Any
    offload_optimizer: Any
    offload_activations: Any
    ring: Any
    flash: Any
    scattered: Any
    expert_load: Any
    trained: Any

    @classmethod
    def of(cls, plan: TrainingPlan, n_chips: ArrayLike, batch: ArrayLike) -> Layout:
        """Resolve a plan on so many chips at a global batch [sequences]. Nothing is checked here: see `why_not`."""
        tp, pp, vp, cp, ep, mb = (np.asarray(getattr(plan, n), dtype=float) for n in ("tp", "pp", "vp", "cp", "ep", "micro_batch"))
        dp = np.maximum(np.asarray(n_chips, dtype=float) / (tp * pp * cp), 1.0)
        asked = np.asarray(plan.shard, dtype=float)
        recompute, schedule, offload = (np.asarray(x) for x in (plan.recompute, plan.schedule, plan.offload))
        return cls(
            tp=tp,
            pp=pp,
            vp=vp,
            cp=cp,
            ep=ep,
            dp=dp,
            micro_batch=mb,
            micro_batches=np.maximum(np.asarray(batch, dtype=float) / (dp * mb), 1.0),
            zero=np.asarray(plan.zero),
            shard=np.where(asked > 0, np.minimum(asked, dp * cp), dp * cp),
            full=1.0 * (recompute == "full"),
            selective=1.0 * (recompute == "selective"),
            sequence_split=np.where(np.asarray(plan.sequence_parallel), tp, 1.0),
            zero_bubble=schedule == "zero-bubble",
            dualpipe=schedule == "dualpipe",
            offload_optimizer=1.0 * ((offload == "optimizer") | (offload == "all")),
            offload_activations=1.0 * ((offload == "activations") | (offload == "all")),
            ring=np.asarray(plan.context) == "ring",
            flash=np.asarray(plan.flash),
            scattered=np.asarray(plan.scattered),
            expert_load=np.asarray(plan.expert_load, dtype=float),
            trained=np.asarray(plan.trained, dtype=float),
        )


def why_not(llm: LLM, cluster: Cluster, plan: TrainingPlan, layout: Layout, batch: ArrayLike, sequence: float) -> Any:
    """Position in `REASONS` of the first rule that each layout breaks, 0 where none; memory is not tested here."""
    n, size = np.asarray(cluster.n_chips, dtype=float), np.asarray(batch, dtype=float)
    a = layout
    ranks = a.tp * a.pp * a.cp
    tests = (
        n % ranks != 0,
        llm.heads % a.tp != 0,
        a.pp * a.vp > llm.layers,
        size % (a.dp * a.micro_batch) != 0,
        (a.ep > 1) & (llm.experts == 0),
        (llm.experts % a.ep != 0) if llm.experts else np.False_,
        (a.dp * a.cp) % a.ep != 0,
        (a.vp > 1) & (a.pp == 1),
        (a.vp > 1) & (a.micro_batches % a.pp != 0),
        (a.cp > 1) & (sequence % (2 * a.cp) != 0),
        (a.pp > 1) & (a.zero >= 2),
    )
    found = np.zeros(np.broadcast_shapes(*(np.shape(t) for t in tests)), dtype=np.int8)
    for code in range(len(tests), 0, -1):
        found = np.where(tests[code - 1], np.int8(code), found)
    return found
