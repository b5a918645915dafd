"""Memory that a layout takes on the chip of its heaviest stage, part by part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.arrays import Arrays
from workbench.calibration import evidence
from workbench.calibration.pool import Constant, Level, Pool
from workbench.chips.training.constants import Origin
from workbench.chips.training.plan import Layout
from workbench.chips.training.work import stage_params
from workbench.llm import Transformer
from workbench.units import GIGA

CONSTANTS = (
    Constant("gradient", 4.0, 0.3, "bytes of a parameter's gradient, buffers included"),
    Constant("optimizer", 12.0, 0.1, "bytes of a parameter's optimiser state, of Adam in 32 bits"),
    Constant("norms", 18.0, 0.3, "bytes kept per token and unit of hidden width by norms, residuals and inputs"),
    Constant("unsplit", 0.1, 0.7, "bytes kept per token and unit of hidden width by every tensor-parallel rank"),
    Constant("inner", 2.0, 0.3, "bytes kept per token and unit of inner width, heads and feed-forward"),
    Constant("eight", 0.6, 0.3, "share of `inner` that is left where products keep their inputs in 8 bits"),
    Constant("again", 1.5, 0.5, "a layer that is computed again, with what its backward pass works in, over what it would keep"),
    Constant("scores", 5.0, 0.2, "bytes kept per element of unfused scores"),
    Constant("logits", 8.0, 0.4, "bytes kept per element of the logits"),
    Constant("whole_logits", 0.3, 0.7, "bytes kept per element of the logits by every tensor-parallel rank"),
    Constant("extra", 1.05, 0.05, "fragmentation: reserved over allocated"),
    Constant("workspace", 0.4, 0.5, "workspaces that the framework allocates [GB]"),
    Constant("context", 2.0, 0.5, "driver, libraries and communication buffers, beside what the framework allocates [GB]"),
)
FIGURES = ("device", "reserved", "allocated")  #: what logs print: what a device holds, its framework reserves, and uses of that
LEVELS = {"all": Level(), "framework": Level(("framework",)), "version": Level(("framework", "version"), 0.7)}
POOL = Pool("calibration/training_memory", CONSTANTS, LEVELS)


@dataclass(frozen=True, repr=False)
class TrainingMemory(Arrays):
    """Memory of a chip of the heaviest stage [B]; arrays broadcast over the layouts."""

    weights: NDArray[np.float64]  #: of the stage [B]
    gradients: NDArray[np.float64]  #: [B]
    optimizer: NDArray[np.float64]  #: its states [B]
    activations: NDArray[np.float64]  #: kept for the backward pass [B]
    logits: NDArray[np.float64]  #: and the loss [B]
    other: NDArray[np.float64]  #: gathered weights, fragmentation, runtime and buffers
    on_first: NDArray[np.float64]  #: all parts of a chip of the first stage
    context: Any = 0.0  #: of all parts, what the framework does not allocate
    extra: Any = 1.0  #: what it reserves over what it uses
    half_width: Any = 0.0  #: of the 80 % interval of the logarithm of all
    room: Any = np.inf  #: memory of the chip [B]

    @property
    def total(self) -> NDArray[np.float64]:
        """All parts [B]."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits + self.other

    @property
    def low(self) -> NDArray[np.float64]:
        """Lower end of the 80 % interval of all parts [B]."""
        return self.total * np.exp(-self.half_width)

    @property
    def high(self) -> NDArray[np.float64]:
        """Upper end of the 80 % interval of all parts [B]."""
        return self.total * np.exp(self.half_width)

    @property
    def logged(self) -> dict[str, dict[str, Any]]:
        """What logs print: `FIGURES` of the heaviest stage and, as "rank 0 device", of the first, with the ends of their interval [B]."""
        ends, found = {"total": 1.0, "low": np.exp(-self.half_width), "high": np.exp(self.half_width)}, dict[str, Any]()
        for rank, device in (("", self.total), ("rank 0 ", self.on_first)):
            figures = device, device - self.context, (device - self.context) / self.extra
            found |= {rank + name: {end: of * x for end, x in ends.items()} for name, of in zip(FIGURES, figures, strict=True)}
        return found

    @property
    def fits(self) -> NDArray[np.float64]:
        """Probability that all parts fit on the chip, of a logistic error of the logarithm with this 80 % interval."""
        away = np.log(self.room / self.total) / np.maximum(self.half_width, 1e-9)
        return np.asarray(1 / (1 + np.exp(-np.clip(away * np.log(9), -700, 700))))


def most(room: Any, half_width: Any, confidence: Any) -> Any:
    """What may be predicted so that it fits with this probability [B]."""
    return room * np.exp(-half_width * np.log(confidence / (1 - confidence)) / np.log(9))


def half_width(framework: str) -> float:
    """Half width of the 80 % interval of the logarithm of memory: of a framework that constants were fitted to, or of those left out."""
    fitted = [framework] * (("framework", framework) in POOL.shipped().offsets)
    return evidence.half_width("calibration/training_memory_errors", [*fitted, "framework not measured"])


def habits(origin: Origin) -> tuple[bool, bool]:
    """Whether products keep their inputs in 8 bits, as those of Transformer Engine do; others cast what they keep in 16 again. And whether
    gradients in 16 bits lie beside those in 32 until a backward pass has ended (nanotron/optim/gradient_accumulator.py).
    """
    engine = origin.framework == "NeMo" or origin.framework.startswith("Megatron")
    return engine and origin.precision != "bf16", origin.framework == "Nanotron"


def constants(c: dict[str, Any], eight: Any, beside: Any) -> dict[str, Any]:
    """Constants by name, of software of these `habits`."""
    return c | {"inner": c["inner"] * np.where(eight, c["eight"], 1.0), "gradient": c["gradient"] + np.where(beside, 2.0, 0.0)}


def memory(s: Transformer, a: Layout, sequence: Any, c: dict[str, Any]) -> TrainingMemory:
    """Memory of the first and the last stage, whichever is more.

    weights 2 N, gradients and optimiser by ZeRO stage; activations of as many micro-batches as are in flight: p on the first stage of
    1F1B, p (1 + (p - 1) / (p v)) interleaved, with full recomputation a layer's input each and one layer in full.
    Source: Korthikanti et al. (2022), "Reducing Activation Recomputation in Large Transformer Models", sections 4 and 5.
    """
    tokens = a.micro_batch * sequence / a.cp
    of_experts = np.maximum(np.minimum(a.shard, a.ranks) / a.ep, 1.0)
    mixed = s.main_share * (2 * s.query + s.key_value) + s.other_width
    inner = s.ffn_matrices * s.inner_width + mixed + s.moe_share * 2 * s.experts_per_token * s.expert_hidden
    again = np.any(a.kinds > 7)  # kinds by name
    if again:
        mla = s.main_share * np.minimum(s.kv_lora_rank, 1) * (s.query + s.expanded)
        mlp, experts_ = s.ffn_matrices * s.dense_share * s.ffn, s.moe_share * s.experts_per_token * (s.ffn_matrices * s.moe_ffn)
        inner = inner - a.recomputes("mla") * mla - a.recomputes("mlp") * mlp - a.recomputes("experts") * experts_
    norms = c["norms"] - 4.0 * a.recomputes("norms") if again else c["norms"]
    kept = tokens * ((norms / a.sequence_split + c["unsplit"]) * s.hidden + c["inner"] * inner / a.tp)
    scores = np.where(a.flash | (a.recomputes("attention") if again else False), 0.0, c["scores"] * tokens * sequence * s.heads / a.tp)
    whole = kept + scores
    some = np.where(a.selective > 0, np.where(a.flash, 0.6 * kept, kept), whole)
    layer = np.where(a.full > 0, 2.0 * tokens * s.hidden / a.sequence_split, some) * (1 - a.offload_activations)
    more = np.where(a.vp > 1, (a.pp - 1) / a.vp, 0.0)
    in_flight = (np.minimum(a.micro_batches, once + more) for once in (a.pp, 1.0))
    first, last = (np.where(a.dualpipe, a.pp + 1, x) for x in in_flight)  # a micro-batch more, and from both ends
    once = np.where(a.full > 0, c["again"] * whole, 0.0)
    logits = np.where(a.chunked_loss, 0.0, tokens * s.vocab) * (c["logits"] / a.tp + np.where(a.tp > 1, c["whole_logits"], 0.0))

    def stage(layers: Any, in_flight: Any, head: Any) -> list[Any]:
        """Weights, gradients, optimiser, activations, logits and gathered weights of a stage of so many layers."""
        shared, experts = stage_params(s, a, layers)

        def divided(level: int) -> Any:
            return shared / np.where(a.zero >= level, a.shard, 1.0) + experts / np.where(a.zero >= level, of_experts, 1.0)

        weights = np.where(a.trained < 1, a.frozen, 2.0) * divided(3)
        gradients = c["gradient"] * a.trained * (a.optimizer > 0) * divided(2)
        optimizer = c["optimizer"] / 12 * a.optimizer * a.trained * (1 - a.offload_optimizer) * divided(1)
        apart = shared + experts * (of_experts > 1)  # what a rank holds alone is not gathered
        gathered = np.where(a.zero == 3, 2 * apart / np.maximum(layers, 1.0) * (2.0 + 2.0), 0.0)
        return [weights, gradients, optimizer, layers * layer * in_flight + once, head, gathered]

    of_first, of_last = a.stage_layers(s.layers)
    on_first, on_last = stage(of_first, first, np.where(a.pp == 1, logits, 0.0)), stage(of_last, last, logits)
    heavier = sum(on_last) > sum(on_first)
    *parts, gathered = (np.where(heavier, at_last, at_first) for at_first, at_last in zip(on_first, on_last, strict=True))
    extra, context, more = c["extra"], c["context"] * GIGA, gathered + c["workspace"] * GIGA
    other, of_first = more + (extra - 1) * (sum(parts) + more) + context, extra * (sum(on_first) + c["workspace"] * GIGA) + context
    return replace(TrainingMemory(*np.broadcast_arrays(*parts, other, of_first)), context=context, extra=extra)
