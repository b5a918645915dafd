"""How a model is laid out over chips to train: degrees of parallelism, what is sharded, recomputed and offloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from workbench import formats
from workbench.arrays import broadcast, first_true
from workbench.checks import COUNT, Rule, check_fields, one_of
from workbench.chips.machine import Exchange
from workbench.errors import InputError
from workbench.llm import LLM, Transformer

#: Kinds that may be joined by "+"; selective is attention and what is cheap, as torchtitan chooses it.
RECOMPUTE = ("none", "selective", "full", "norms", "attention", "mla", "mlp", "experts")
SCHEDULES = ("1f1b", "zero-bubble", "dualpipe")
OFFLOAD = ("none", "optimizer", "activations", "all")
#: Bytes per parameter of optimiser state, with the 32-bit copy of weights where there is one; in backward: gradients are used at once,
#: states are on the host.
OPTIMIZERS = {"adam": 12.0, "bf16 moments": 8.0, "8-bit": 6.0, "8-bit, no copy": 2.0, "in backward": 0.0}
FROZEN = {"bf16": 2.0, "fp8": 1.0, "nf4": 0.52}  #: bytes a frozen weight; nf4 with its scales
LORA = 0.01  #: share of the weights that an adapter of low rank trains
METHODS: dict[str, dict[str, Any]] = {"full": {}, "lora": {"trained": LORA}, "qlora": {"trained": LORA, "frozen": "nf4"}}
RULES = dict.fromkeys(("tp", "pp", "vp", "cp", "ep", "micro_batch"), COUNT) | {  #: what numbers of a plan may be
    "zero": Rule(least=0, most=3, whole=True), "shard": Rule(least=0, whole=True), "trained": Rule(above=0, most=1),
    "expert_load": Rule(least=1, why="the busiest rank has at least the mean, 1"), "head_layers": Rule(least=0),
}  # fmt: skip
WORDS = {"recompute": RECOMPUTE, "schedule": SCHEDULES, "offload": OFFLOAD, "optimizer": tuple(OPTIMIZERS), "frozen": tuple(FROZEN)}
TRUTHS = ("uneven", "sequence_parallel", "flash", "fused", "tp_overlap", "scattered", "chunked_loss")


class Variant(NamedTuple):
    """A way in which ranks that split a sequence exchange keys and values; a new one is a row of `VARIANTS`."""

    seconds: Callable[..., Any]  #: of a layer's forward pass: model, fabric, tensor and context parallel degree, tokens of a rank
    hidden: bool  #: behind the attention to the pieces that are there already


def _ring(s: Transformer, exchange: Exchange, tp: Any, cp: Any, tokens: Any) -> Any:
    """Keys and values of all pieces come round."""
    return exchange.seconds("all_gather", 2.0 * tokens * cp * s.main_share * (s.key_value + s.latent) / tp, cp, tp)


def _all_to_all(s: Transformer, exchange: Exchange, tp: Any, cp: Any, tokens: Any) -> Any:
    """Each rank gets some heads of the whole sequence, and gives their results back."""
    return 2 * exchange.seconds("alltoall", 2.0 * tokens * s.main_share * (s.query + s.key_value + s.expanded) / tp, cp, tp)


VARIANTS = {"ring": Variant(_ring, hidden=True), "all-to-all": Variant(_all_to_all, hidden=False)}


@dataclass(frozen=True)
class TrainingPlan:
    """A layout, or many: every field may be an array, and they broadcast.

    Ranks are ordered as Megatron does: tensor parallel innermost, then context, data, pipeline. Data parallelism is what is left of them.

    Examples
    --------
    >>> TrainingPlan(tp=[1, 2, 4], pp=2, recompute="full").pp
    2
    >>> TrainingPlan(tp=0)
    Traceback (most recent call last):
    workbench.errors.InputError: tp = 0: expected a whole number 1 or more
    """

    tp: ArrayLike = 1  #: tensor parallel degree
    pp: ArrayLike = 1  #: pipeline stages
    vp: ArrayLike = 1  #: model chunks per stage, interleaved above 1
    cp: ArrayLike = 1  #: context parallel degree
    ep: ArrayLike = 1  #: expert parallel degree, within the data-parallel ranks
    micro_batch: ArrayLike = 1  #: sequences
    zero: ArrayLike = 1  #: ZeRO stage: 0 nothing, 1 optimiser, 2 and gradients, 3 and weights (FSDP)
    shard: ArrayLike = 0  #: ranks that ZeRO shards over; 0 all data-parallel ones (fewer: HSDP)
    recompute: ArrayLike = "none"  #: of `RECOMPUTE`; kinds joined, as "norms+mla"
    sequence_parallel: ArrayLike = True
    schedule: ArrayLike = "1f1b"  #: of `SCHEDULES`
    offload: ArrayLike = "none"  #: of `OFFLOAD`, to the memory of the host
    context: ArrayLike = "ring"  #: how context parallel ranks exchange keys and values, of `VARIANTS`
    flash: ArrayLike = True  #: fused attention; without it, scores go through memory
    fused: ArrayLike = True  #: norms and activations are; eager code is not
    tp_overlap: ArrayLike = False  #: tensor-parallel collectives are hidden behind products, piece by piece
    scattered: ArrayLike = False  #: ranks wait for each other as if they lay far apart, and sum gradients one tensor after another
    expert_load: ArrayLike = 1.0  #: tokens of the busiest rank of experts over the mean; benchmarks force 1
    trained: ArrayLike = 1.0  #: share of the weights that is trained; near 0 for LoRA
    frozen: ArrayLike = "bf16"  #: format of the weights that are not trained, of `FROZEN`; nf4 for QLoRA
    optimizer: ArrayLike = "adam"  #: its states, of `OPTIMIZERS`
    chunked_loss: ArrayLike = False  #: the loss is computed in pieces, so that no logits are kept
    precision: str = "bf16"  #: number format of products, of those of `formats` for training
    uneven: ArrayLike = False  #: stages of unequal depth are wanted: engines refuse them unless told so
    head_layers: ArrayLike = 0.0  #: layers that the head counts as where stages are cut by cost, as Nanotron does; 0 cuts by number

    def __post_init__(self) -> None:
        formats.named(self.precision, "training")
        check_fields(self, **RULES)
        check_words(self)
        broadcast(**{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def of_row(cls, row: dict[str, Any], precision: str) -> TrainingPlan:
        """The plan of a row of `search_layouts`."""
        return cls(**{f.name: row[f.name] for f in fields(cls) if f.name in row}, precision=precision)


def check_words(instance: Any, **more: tuple[str, ...]) -> None:
    """Raise `InputError` where a field holds a word that is none of `WORDS` or `more`, or of `TRUTHS` anything but True and False."""
    words = WORDS | {"context": tuple(VARIANTS)} | more
    for name, value in ((f.name, getattr(instance, f.name)) for f in fields(instance)):
        masked = isinstance(value, np.ma.MaskedArray)
        if name in words:
            if name == "recompute" and not masked:
                value = [kind for text in dict.fromkeys(np.ravel(value).tolist()) for kind in str(text).split("+")]
            one_of(name, value, words[name])
        elif name in TRUTHS and (masked or (np.size(value) and np.asarray(value).dtype != bool)):
            raise InputError(f"{name} = {value!r}: expected True or False")


REASONS = (  #: why a layout cannot be, in the order of the tests; 0 is a layout that can
    "", "tp * pp * cp does not divide the number of chips", "tp does not divide the attention heads", "pp * vp is more than the layers",
    "stages are uneven: pp * vp divides neither the layers nor layers, embedding and head",
    "micro_batch does not divide the batch of a data-parallel rank", "an expert degree without experts", "ep does not divide the experts",
    "ep does not divide the ranks of a stage", "vp above 1 without a pipeline", "interleaved chunks need whole groups of pp micro-batches",
    "cp does not divide the sequence in 2 cp pieces", "shard does not divide the data-parallel and context ranks",
    "a pipeline under ZeRO-2 or 3 would gather its weights for every micro-batch", "does not fit in memory",
)  # fmt: skip


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
    selective: Any  #: 1 where attention is, and what is cheap
    kinds: Any  #: of `RECOMPUTE`, a bit each
    sequence_split: Any  #: ranks that share the norms: tp with sequence parallelism, else 1
    zero_bubble: Any
    dualpipe: Any
    offload_optimizer: Any
    offload_activations: Any
    context: Any  #: position in `VARIANTS`
    flash: Any
    fused: Any
    tp_overlap: Any
    scattered: Any
    expert_load: Any
    trained: Any
    head_layers: Any
    frozen: Any  #: bytes a frozen weight
    optimizer: Any  #: bytes per parameter of its states
    chunked_loss: Any

    @classmethod
    def of(cls, plan: TrainingPlan, n_chips: ArrayLike, global_batch: ArrayLike) -> Layout:
        """Resolve a plan on so many chips at a batch of so many sequences. Nothing is checked here: see `why_not`."""
        same = {n: np.asarray(getattr(plan, n)) for n in ("zero", "flash", "fused", "tp_overlap", "scattered", "chunked_loss")}
        numbers = ("tp", "pp", "vp", "cp", "ep", "micro_batch", "expert_load", "trained", "head_layers")
        same |= {n: np.asarray(getattr(plan, n), dtype=float) for n in numbers}
        tp, cp, shard = same["tp"], same["cp"], np.asarray(plan.shard, dtype=float)
        recompute, schedule, offload, context = (np.asarray(x) for x in (plan.recompute, plan.schedule, plan.offload, plan.context))
        dp = np.maximum(np.asarray(n_chips, dtype=float) / (tp * same["pp"] * cp), 1.0)
        return cls(
            **same, dp=dp, micro_batches=np.maximum(np.asarray(global_batch, dtype=float) / (dp * same["micro_batch"]), 1.0),
            shard=np.where(shard > 0, np.minimum(shard, dp * cp), dp * cp), full=1.0 * (recompute == "full"),
            selective=1.0 * (recompute == "selective"),
            kinds=_coded(recompute, lambda text: sum(2 ** RECOMPUTE.index(kind) for kind in text.split("+"))),
            frozen=_coded(plan.frozen, FROZEN.__getitem__), optimizer=_coded(plan.optimizer, OPTIMIZERS.__getitem__),
            sequence_split=np.where(np.asarray(plan.sequence_parallel), tp, 1.0), zero_bubble=schedule == "zero-bubble",
            dualpipe=schedule == "dualpipe", offload_optimizer=1.0 * ((offload == "optimizer") | (offload == "all")),
            offload_activations=1.0 * ((offload == "activations") | (offload == "all")),
            context=sum(code * (context == name) for code, name in enumerate(VARIANTS)),
        )  # fmt: skip

    @property
    def ranks(self) -> Any:
        """Ranks that hold the same shared weights and sum their gradients: data and context parallel ones."""
        return self.dp * self.cp

    def recomputes(self, kind: str) -> Any:
        """Whether a kind of `RECOMPUTE` is computed again by name; what is full or selective is not."""
        return self.kinds & 2 ** RECOMPUTE.index(kind) > 0

    def stage_layers(self, layers: Any) -> tuple[Any, Any]:
        """Layers of the first stage, the heaviest, and of the last.

        Cut by cost, a stage goes on until it exceeds its share; by number, the last has at most one less than the heaviest.
        """
        by_cost, share = (self.head_layers > 0) & (self.pp > 1), (layers + self.head_layers) / self.pp
        even = np.ceil(layers / (self.pp * self.vp)) * self.vp
        first = np.where(by_cost, np.minimum(np.floor(share) + 1, layers), even)
        others = np.where(by_cost, np.floor(share * (self.pp - 1)) + 1, even * (self.pp - 1))
        return first, np.clip(layers - others, np.where(by_cost, 0.0, even - 1), first)


def _coded(words: Any, of: Callable[[str], float]) -> Any:
    """A number for each word."""
    known, at = np.unique(np.asarray(words, dtype=str), return_inverse=True)
    return np.array([of(word) for word in known.tolist()])[at.reshape(np.shape(words))]


def uneven_stages(layers: int, chunks: Any) -> Any:
    """Whether so many chunks (pp * vp) divide neither the layers nor the layers with embedding and head, each counted as one.

    In the second case the first and the last chunk have a layer less, as in Llama 3 (Llama Team 2024, section 3.3.2, arXiv:2407.21783).
    Megatron-LM stops at what is left unless it is given the depth of stages, so it is infeasible unless a plan says `uneven`. The heaviest
    stage has ceil(layers / chunks) * vp layers.
    """
    return (layers % chunks != 0) & ((layers + 2) % chunks != 0)


def why_not(llm: LLM, n: Any, plan: TrainingPlan, a: Layout, global_batch: Any, sequence: Any) -> Any:
    """Position in `REASONS` of the first rule that each layout breaks on `n` chips, 0 where none; memory is not tested here."""
    chunks = a.pp * a.vp
    tests = (
        n % (a.tp * a.pp * a.cp) != 0, llm.heads % a.tp != 0, (chunks > llm.layers) & (chunks != llm.layers + 2),
        uneven_stages(llm.layers, chunks) & ~np.asarray(plan.uneven, dtype=bool) & (a.head_layers == 0),
        global_batch % (a.dp * a.micro_batch) != 0, (a.ep > 1) & (llm.experts == 0),
        (llm.experts % a.ep != 0) if llm.experts else np.False_, a.ranks * a.tp % a.ep != 0, (a.vp > 1) & (a.pp == 1),
        (a.vp > 1) & (a.micro_batches % a.pp != 0), (a.cp > 1) & (sequence % (2 * a.cp) != 0),
        a.ranks % np.where(np.asarray(plan.shard) > 0, plan.shard, 1) != 0, (a.pp > 1) & (a.zero >= 2),
    )  # fmt: skip
    return first_true(tests)
