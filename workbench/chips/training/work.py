"""What one training step asks of a chip and its fabric: arithmetic, bytes and uncorrected times of collectives, for arrays of layouts.

No constant that was fitted enters here: `step` weighs this with them. All terms are of one layer and micro-batch unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench import catalogue
from workbench.arrays import Arrays
from workbench.chips import operators
from workbench.chips.machine import Machine
from workbench.chips.training.plan import VARIANTS, Layout
from workbench.llm import Transformer

#: Numbers moved per token and unit of width by norms, residuals and dropout (read and written), unfused ones more.
NORM_PASSES, UNFUSED = 10.0, 1.6
SCORE_BYTES = 13.0  #: bytes moved per element of the scores by attention that is not fused: written, masked, normalised, dropped out, read
LOSS_BYTES = 14.0  #: bytes moved per element of the logits by the loss
OPTIMIZER_BYTES = 30.0  #: bytes per parameter that Adam reads and writes in mixed precision: gradient, two moments, master copy, new weight
#: Kernels of a layer's forward pass: fused attention, unfused; more for a mixture, and for collectives.
KERNELS, KERNELS_UNFUSED, KERNELS_MIXTURE, KERNELS_TP = 16.0, 30.0, 14.0, 4.0
HOST = 50e9  #: between chip and host where no link is in the catalogue [B/s]
NODE_LIMIT = 4.0  #: domains that a token of a DeepSeek router may be sent to [DeepSeek-AI, 2024, section 2.1.2]


@dataclass(frozen=True, repr=False)
class Work(Arrays):
    """A step in numbers; arrays broadcast."""

    model: Transformer
    layout: Layout
    chips: Any
    stage_layers: Any  #: of the heaviest stage
    spare: Any  #: layers by which the last stage is lighter
    tokens: Any  #: of a micro-batch on a chip
    products: list[tuple[Any, Any, Any]]  #: (share of the layers, n, k)
    groups: Any  #: experts of a chip
    group_rows: Any  #: tokens of each
    group_products: list[tuple[Any, Any]]  #: (n, k)
    misaligned: Any  #: share of the dense arithmetic whose widths are no multiples of 64
    odd_heads: Any  #: 1.5, .5 or 0: head width that is no multiple of 8, of 64, or is
    attention_flop: Any
    context: Any  #: tokens that a token attends to in the mean
    score_bytes: Any
    stream_bytes: Any
    cast_bytes: Any
    adapter_bytes: Any  #: of adapters of low rank, beside the products that they adapt
    kernels: Any
    peak: Any  #: of the precision [FLOP/s]
    peak16: Any  #: of 16-bit numbers, for attention and head
    bandwidth: Any  #: of device memory [B/s]
    tp_forward: Any  #: [s]
    tp_backward: Any
    tp_crosses: Any
    ep_forward: Any
    ep_crosses: Any
    cp_forward: Any
    cp_hidden: Any  #: whether attention hides it
    p2p: Any  #: one boundary of stages, a micro-batch [s]
    dp: Any  #: gradients and weights of a stage, a step [s]
    fsdp: Any  #: weights and gradients of a stage, a micro-batch [s]; 0 without
    gather_hops: Any  #: ranks x layers that sharded weights are gathered over
    sum_hops: Any  #: ranks x layers of a stage that gradients are summed over one by one, where ranks are scattered and nothing is sharded
    optimizer_bytes: Any
    offload: Any  #: to the host and back, a step [s]

    @classmethod
    def of(cls, model: Transformer, layout: Layout, machine: Machine, n_chips: Any, sequence: Any) -> Work:
        """The work of a step of one model, or one model per row, on so many chips at so many tokens per sequence; arguments broadcast."""
        n_chips, sequence = np.asarray(n_chips, dtype=float), np.asarray(sequence, dtype=float)
        tokens, (stage_layers, last_layers) = layout.micro_batch * sequence / layout.cp, layout.stage_layers(model.layers)
        return cls(
            model=model, layout=layout, chips=n_chips, stage_layers=stage_layers, spare=stage_layers - last_layers, tokens=tokens,
            peak=machine.peak, peak16=machine.peak16, bandwidth=machine.bandwidth, **_products(model, layout, tokens),
            **_attention(model, layout, tokens, sequence), **_streamed(model, layout, tokens, machine),
            **_in_layers(model, layout, tokens, machine), **_of_states(model, layout, tokens, machine, stage_layers),
        )  # fmt: skip


def _products(s: Transformer, a: Layout, tokens: Any) -> dict[str, Any]:
    """Matrix products of a layer, split over tensor-parallel chips; those that a model lacks have a share of 0."""
    h = s.hidden
    dense, main, compressed = s.dense_share, s.main_share, s.main_share * np.minimum(s.kv_lora_rank, 1)
    from_query = np.where(np.asarray(s.q_lora_rank) > 0, s.q_lora_rank, h)
    has_ffn, has_shared = dense * np.minimum(s.ffn, 1), s.moe_share * np.minimum(s.shared_width, 1)
    rows = a.expert_load * tokens * s.experts_per_token * a.ep / a.tp / np.maximum(s.experts, 1)
    widest = np.where(np.asarray(s.ffn) > 0, s.ffn / a.tp, s.moe_ffn)
    return {
        "products": [
            (main - compressed, (s.query + s.key_value) / a.tp, h), (compressed * np.minimum(s.q_lora_rank, 1), s.q_lora_rank, h),
            (compressed, s.query / a.tp, from_query), (compressed, s.latent, h), (compressed, s.expanded / a.tp, s.kv_lora_rank),
            (main, h, s.value / a.tp), (np.minimum(s.other_width, 1), s.other_width / a.tp, h),
            (has_ffn, (s.ffn_matrices - 1) * s.ffn / a.tp, h), (has_ffn, h, s.ffn / a.tp),
            (has_shared, (s.ffn_matrices - 1) * s.shared_width / a.tp, h), (has_shared, h, s.shared_width / a.tp),
        ],
        "groups": np.maximum(s.experts / a.ep, 1.0), "group_rows": np.where(np.asarray(s.experts) > 0, rows, 1.0),
        "group_products": [((s.ffn_matrices - 1) * s.moe_ffn, s.expert_hidden), (s.expert_hidden, s.moe_ffn)],
        "misaligned": 0.25 * _off((s.query + s.key_value) / a.tp) + 0.25 * _off(s.value / a.tp) + 0.5 * _off(widest),
    }  # fmt: skip


def _attention(s: Transformer, a: Layout, tokens: Any, sequence: Any) -> dict[str, Any]:
    context = np.where(a.flash, s.attended(sequence / 2), sequence)  # a causal sequence, in the mean
    return {
        "odd_heads": 1.0 * (s.head_dim % 8 > 0) + 0.5 * (s.head_dim % 64 > 0),
        "attention_flop": operators.attention_flop(tokens, context, s.heads / a.tp, s.head_dim, s.value_dim)
        + 2 * tokens * s.other.updates / s.layers / a.tp,
        "context": np.where(context > 0, context, 1.0),  # states alone attend to none
        "score_bytes": np.where(a.flash, 0.0, SCORE_BYTES * tokens * sequence * s.heads / a.tp),
    }


def _streamed(s: Transformer, a: Layout, tokens: Any, machine: Machine) -> dict[str, Any]:
    """Bytes of a layer's forward pass that go through memory outside of products, and kernels."""
    unfused, topk = np.where(a.flash & a.fused, 1.0, UNFUSED), s.experts_per_token
    activations = s.inner_width * s.ffn_matrices + s.moe_share * 4 * topk * s.expert_hidden
    norms = NORM_PASSES * s.hidden / a.sequence_split * unfused
    mixed = s.main_share * (s.query + s.key_value + s.expanded) + s.other_width
    moved = norms + activations / a.tp * unfused + 3 * mixed / a.tp
    cast = 4 * (2 * s.hidden + (s.main_share * s.value + s.other_width + s.inner_width) / a.tp + s.moe_share * topk * s.hidden)
    ins, outs, lora = 6 * s.hidden, 3 * mixed + 2 * s.inner_width * s.ffn_matrices, a.trained < 1  # read; read and written
    kernels = np.where(a.flash & a.fused, KERNELS, KERNELS_UNFUSED) + KERNELS_MIXTURE * np.minimum(s.experts, 1) + KERNELS_TP * (a.tp > 1)
    of = {"stream_bytes": 2.0 * tokens * moved, "adapter_bytes": 2.0 * tokens * lora * (ins + outs / a.tp if np.any(lora) else 0.0)}
    return of | {"cast_bytes": tokens * (cast if machine.format.bits < 16 else 0.0), "kernels": kernels}


def _in_layers(s: Transformer, a: Layout, tokens: Any, machine: Machine) -> dict[str, Any]:
    """Collectives of a layer and micro-batch [s]."""
    exchange, slab = machine.exchange, tokens * s.hidden * 2.0
    gather, reduce, both = (exchange.seconds(op, slab, a.tp) for op in ("all_gather", "reduce_scatter", "all_reduce"))
    split, topk = a.sequence_split > 1, s.experts_per_token
    domains = np.ceil(a.ep / exchange.domain)
    visited = np.where(domains > 1, domains * (1 - (1 - 1 / domains) ** np.maximum(topk, 1)), topk)
    visited = np.where((domains > 1) & (np.asarray(s.kv_lora_rank) > 0), np.minimum(visited, NODE_LIMIT), visited)
    sent = a.expert_load * tokens * visited * s.expert_hidden * machine.format.wire_bytes / a.tp
    apart = np.where(a.pp > 1, np.maximum(a.tp * a.ranks, 1.0), 1.0)
    boundary = exchange.seconds("sendrecv", slab / a.sequence_split, np.minimum(a.pp, 2), apart)
    return {
        "tp_forward": s.parts * np.where(split, gather + reduce, both),
        "tp_backward": s.parts * np.where(split, gather + reduce, both) + np.where(split, gather, 0.0),
        "tp_crosses": exchange.crosses(a.tp) & (a.tp > 1), "ep_forward": 2 * exchange.seconds("alltoall", sent, a.ep) * s.moe_share,
        "ep_crosses": domains > 1,
        "cp_forward": np.choose(a.context, [v.seconds(s, exchange, a.tp, a.cp, tokens) for v in VARIANTS.values()]),
        "cp_hidden": np.choose(a.context, [v.hidden for v in VARIANTS.values()]), "p2p": np.where(a.pp > 1, boundary, 0.0),
    }  # fmt: skip


def _of_states(s: Transformer, a: Layout, tokens: Any, machine: Machine, stage_layers: Any) -> dict[str, Any]:
    """Gradients, weights and optimiser of a stage: collectives and traffic to the host, a step or micro-batch [s], and bytes."""
    exchange, fully = machine.exchange, a.zero == 3
    shared, experts = stage_params(s, a, stage_layers)
    sharded = (a.zero >= 1) & ~fully
    expert_ranks, split = np.maximum(a.ranks / a.ep, 1.0), a.tp * a.ep

    def of_both(op: str, size: float, ranks: Any, few: Any) -> Any:
        one = exchange.seconds(op, shared * size, ranks, a.tp)
        return one + exchange.seconds(op, experts * size, few, split) if np.any(s.experts) else one

    of_experts = np.maximum(a.shard / a.ep, 1.0)  # ranks that share what ranks of other experts do not hold
    after = np.where(sharded, of_both("all_gather", 2.0, a.shard, expert_ranks), of_both("all_gather", 4.0, a.ranks, expert_ranks))
    fsdp = 2 * of_both("all_gather", 2.0, a.shard, of_experts) + of_both("reduce_scatter", 2.0, a.shard, of_experts)
    replicas = np.maximum(a.ranks / a.shard, 1.0)  # of HSDP, whose gradients are summed once a step
    held = (shared / a.shard + experts / of_experts) * 2.0
    hybrid = exchange.seconds("all_reduce", held, np.round(replicas), a.tp * a.shard)
    some = a.zero >= 1
    updated = shared / np.where(some, a.shard, 1.0) + experts / np.where(some, of_experts, 1.0)
    kept = tokens * s.hidden * 2.0 * stage_layers * a.micro_batches / a.sequence_split
    host = catalogue.link("PCIe 5 x16 measured").bandwidth or HOST
    return {
        "dp": np.where(fully, hybrid, (of_both("reduce_scatter", 4.0, a.ranks, expert_ranks) + after) * a.trained),
        "fsdp": np.where(fully, fsdp, 0.0), "gather_hops": np.where(sharded, a.shard * s.layers, 0.0) * a.trained,
        "sum_hops": a.scattered * np.where(some | (a.ranks == 1), 0.0, a.ranks * stage_layers) * a.trained if np.any(a.scattered) else 0.0,
        "optimizer_bytes": updated * OPTIMIZER_BYTES * a.trained,
        "offload": (a.offload_optimizer * updated * 24.0 * a.trained + a.offload_activations * 2 * kept) / host,
    }  # fmt: skip


def stage_params(s: Transformer, a: Layout, layers: Any) -> tuple[Any, Any]:
    """Parameters of a chip of a stage of so many layers: shared ones with embedding or head, and routed experts."""
    ends = s.embedding_params / a.tp * np.where(a.pp > 1, 1.0, 2.0 - s.tied_embeddings)
    part = layers / s.layers
    return part * s.shared_params / a.tp + ends, part * s.expert_params / a.ep


def _off(width: Any) -> Any:
    """1 where a width is no multiple of 64 (128 bytes of 16-bit numbers)."""
    return 1.0 * (width % 64 > 0)
