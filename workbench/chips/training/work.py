"""What one training step asks of a chip and its fabric: arithmetic, bytes and uncorrected times of collectives, for arrays of layouts.

No constant that was fitted enters here: `step` weighs this with them. All terms are of one layer and micro-batch unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from workbench import catalogue
from workbench.catalogue import Chip
from workbench.chips import operators
from workbench.chips.exchange import Exchange
from workbench.chips.training import plan
from workbench.chips.training.plan import PRECISIONS, Layout
from workbench.chips.training.shape import Shape

#: Numbers moved a token and unit of width by norms, residuals and dropout (read and written), unfused ones more.
NORM_PASSES, UNFUSED = 10.0, 1.6
#: Bytes moved an element of the scores by attention that is not fused: written, masked, normalised, dropped out, read.
SCORE_BYTES = 13.0
#: Bytes moved an element of the logits by the loss.
LOSS_BYTES = 14.0
#: Bytes a parameter that Adam reads and writes in mixed precision: gradient, two moments, master copy, new weight.
OPTIMIZER_BYTES = 30.0
#: Kernels of a layer's forward pass: fused attention, unfused; more for a mixture, and for collectives.
KERNELS, KERNELS_UNFUSED, KERNELS_MIXTURE, KERNELS_TP = 16.0, 30.0, 14.0, 4.0
#: Domains that a token of a DeepSeek router may be sent to [DeepSeek-AI, 2024, section 2.1.2].
NODE_LIMIT = 4.0


@dataclass(frozen=True)
class Work:
    """A step in numbers; arrays broadcast."""

    chips: Any
    layers: Any  #: of the whole model
    stage_layers: Any  #: of the heaviest stage
    spare: Any  #: layers by which the last stage is lighter
    pp: Any
    vp: Any
    micro_batches: Any
    tokens: Any  #: of a micro-batch on a chip
    hidden: Any
    products: list[tuple[Any, Any, Any]]  #: (share of the layers, n, k)
    groups: Any  #: experts of a chip
    group_rows: Any  #: tokens of each
    group_products: list[tuple[Any, Any]]  #: (n, k)
    moe_share: Any
    misaligned: Any  #: share of the dense arithmetic whose widths are no multiples of 64
    odd_heads: Any  #: 1.5, .5 or 0: head width that is no multiple of 8, of 64, or is
    attention_flop: Any
    context: Any  #: tokens that a token attends to in the mean
    cp: Any
    score_bytes: Any
    stream_bytes: Any
    cast_bytes: Any
    kernels: Any
    flash: Any
    full: Any
    selective: Any
    trained: Any
    head_columns: Any
    peak: Any  #: of the precision [FLOP/s]
    peak16: Any  #: of 16-bit numbers, for attention and head
    bandwidth: Any  #: of device memory [B/s]
    tp: Any
    tp_forward: Any  #: [s]
    tp_backward: Any
    tp_crosses: Any
    tp_scattered: Any
    ep_forward: Any
    ep_crosses: Any
    cp_forward: Any
    cp_ring: Any
    p2p: Any  #: one boundary of stages, a micro-batch [s]
    dp: Any  #: gradients and weights of a stage, a step [s]
    fsdp: Any  #: weights and gradients of a stage, a micro-batch [s]; 0 without
    gather_hops: Any  #: ranks x layers that sharded weights are gathered over
    optimizer_bytes: Any
    offload: Any  #: to the host and back, a step [s]
    bubble: Any  #: of a pipeline's bubble, in (p - 1) / v micro-batches: weights of (forward, data, weight) passes are folded in `step`
    zero_bubble: Any
    dualpipe: Any

    @classmethod
    def of(
        cls,
        shape: Shape,
        layout: Layout,
        chip: Chip,
        precision: str,
        exchange: Exchange,
        n_chips: Any,
        sequence: Any,
        chip_rates: Any = (1.0, 1.0),
    ) -> Work:
        """The work of a step.

        Parameters
        ----------
        shape, layout : Shape, Layout
            Of one model or of a model a row; they broadcast.
        chip, precision, exchange
            What it runs on. `chip_rates` multiply its peaks and its memory bandwidth (complex for derivatives).
        n_chips, sequence : array_like
            Chips of the job, and tokens of a sequence.
        """
        s, a = shape, layout
        n_chips, sequence = np.asarray(n_chips, dtype=float), np.asarray(sequence, dtype=float)
        tokens = a.micro_batch * sequence / a.cp
        low = precision not in ("bf16", "fp16")
        ranks = a.dp * a.cp
        stage_layers = np.ceil(s.layers / (a.pp * a.vp)) * a.vp
        shared, experts = stage_params(s, a, stage_layers)
        mixture = np.minimum(s.experts, 1)
        expert_ranks = np.maximum(ranks / a.ep, 1.0)

        inner_ffn = (1 - s.moe_share) * s.ffn + s.moe_share * (s.topk * s.expert_ffn + s.shared_ffn)
        unfused = np.where(a.flash, 1.0, UNFUSED)
        activations = inner_ffn * s.matrices + s.moe_share * 4 * s.topk * s.hidden
        moved = (
            NORM_PASSES * s.hidden / a.sequence_split * unfused
            + activations / a.tp * unfused
            + 3 * (s.query + s.key_value + s.expanded) / a.tp
        )
        cast = 4 * (2 * s.hidden + (s.value + inner_ffn) / a.tp + s.moe_share * s.topk * s.hidden) if low else 0.0

        stride = np.where(a.scattered, n_chips / a.tp, 1.0)
        slab = tokens * s.hidden * 2.0
        gather, reduce, both = (exchange.seconds(op, slab, a.tp, stride) for op in ("all_gather", "reduce_scatter", "all_reduce"))
        split = a.sequence_split > 1
        domains = np.ceil(a.ep / exchange.domain)
        visited = np.where(domains > 1, domains * (1 - (1 - 1 / domains) ** np.maximum(s.topk, 1)), s.topk)
        visited = np.where((domains > 1) & (np.asarray(s.latent) > 0), np.minimum(visited, NODE_LIMIT), visited)
        dispatch = exchange.seconds("alltoall", a.expert_load * tokens * visited * s.hidden * (1.5 if low else 2.0) / a.tp, a.ep)
        keys = 2.0 * tokens * a.cp * (s.key_value + s.latent + s.rope) / a.tp
        ulysses = 2 * exchange.seconds("alltoall", 2.0 * tokens * (s.query + s.key_value + s.expanded) / a.tp, a.cp, a.tp)
        by_context = {"ring": exchange.seconds("all_gather", keys, a.cp, a.tp), "all-to-all": ulysses}
        context = np.choose(a.context, [by_context[name] for name in plan.CONTEXT])  # a variant without a time here is an error
        dense_ranks = a.tp * a.cp * a.dp
        boundary = exchange.seconds(
            "sendrecv", slab / a.sequence_split, np.minimum(a.pp, 2), np.where(a.pp > 1, np.maximum(dense_ranks, 1.0), 1.0)
        )

        fully = a.zero == 3
        sharded = (a.zero >= 1) & ~fully
        sums = exchange.seconds("reduce_scatter", shared * 4.0, ranks, a.tp) + exchange.seconds(
            "reduce_scatter", experts * 4.0, expert_ranks, a.tp * a.ep
        )
        after = np.where(
            sharded,
            exchange.seconds("all_gather", shared * 2.0, a.shard, a.tp)
            + exchange.seconds("all_gather", experts * 2.0, expert_ranks, a.tp * a.ep),
            exchange.seconds("all_gather", shared * 4.0, ranks, a.tp)
            + exchange.seconds("all_gather", experts * 4.0, expert_ranks, a.tp * a.ep),
        )
        weights = (shared + experts) * 2.0
        fsdp = 2 * exchange.seconds("all_gather", weights, a.shard, a.tp) + exchange.seconds("reduce_scatter", weights, a.shard, a.tp)
        replicas = np.maximum(ranks / a.shard, 1.0)  # of HSDP, whose gradients are summed once a step
        hybrid = exchange.seconds("all_reduce", weights / a.shard, np.round(replicas), a.tp * a.shard)

        over = np.where(sharded | fully, a.shard, 1.0)
        updated = shared / over + experts / np.where(sharded | fully, np.maximum(a.shard / a.ep, 1.0), 1.0)
        host = catalogue.link("PCIe 5 x16 measured").bandwidth or SCALE_HOST
        kept = tokens * s.hidden * 2.0 * stage_layers * a.micro_batches / a.sequence_split
        return cls(
            chips=n_chips,
            layers=s.layers,
            stage_layers=stage_layers,
            spare=np.minimum(np.maximum(stage_layers * a.pp - s.layers, 0.0), 1.0),
            pp=a.pp,
            vp=a.vp,
            micro_batches=a.micro_batches,
            tokens=tokens,
            hidden=s.hidden,
            products=s.products(a.tp),
            groups=np.maximum(s.experts / a.ep, 1.0),
            group_rows=np.where(mixture > 0, a.expert_load * tokens * s.topk * a.ep / a.tp / np.maximum(s.experts, 1), 1.0),
            group_products=[((s.matrices - 1) * s.expert_ffn, s.hidden), (s.hidden, s.expert_ffn)],
            moe_share=s.moe_share,
            misaligned=0.25 * _off((s.query + s.key_value) / a.tp)
            + 0.25 * _off(s.value / a.tp)
            + 0.5 * _off(np.where(np.asarray(s.ffn) > 0, s.ffn / a.tp, s.expert_ffn)),
            odd_heads=1.0 * (s.key_dim % 8 > 0) + 0.5 * (s.key_dim % 64 > 0),
            attention_flop=np.where(
                a.flash,
                operators.attention_flop(tokens, s.context(sequence), s.heads / a.tp, s.key_dim, s.value_dim),
                operators.attention_flop(tokens, sequence, s.heads / a.tp, s.key_dim, s.value_dim),
            ),
            context=np.where(a.flash, s.context(sequence), sequence),
            cp=a.cp,
            score_bytes=np.where(a.flash, 0.0, SCORE_BYTES * tokens * sequence * s.heads / a.tp),
            stream_bytes=2.0 * tokens * moved,
            cast_bytes=tokens * cast,
            kernels=np.where(a.flash, KERNELS, KERNELS_UNFUSED) + KERNELS_MIXTURE * mixture + KERNELS_TP * (a.tp > 1),
            flash=a.flash,
            full=a.full,
            selective=a.selective,
            trained=a.trained,
            head_columns=s.vocab / a.tp,
            peak=chip.peak(PRECISIONS[precision]) * chip_rates[0],
            peak16=(chip.peaks.get("bf16") or chip.peak("fp8") / 2) * chip_rates[0],
            bandwidth=chip.hbm_bandwidth * chip_rates[1],
            tp=a.tp,
            tp_forward=np.where(split, 2 * (gather + reduce), 2 * both),
            tp_backward=np.where(split, 2 * (gather + reduce) + gather, 2 * both),
            tp_crosses=exchange.crosses(a.tp, stride) & (a.tp > 1),
            tp_scattered=a.scattered,
            ep_forward=2 * dispatch * s.moe_share,
            ep_crosses=domains > 1,
            cp_forward=context,
            cp_ring=a.context == plan.CONTEXT.index("ring"),
            p2p=np.where(a.pp > 1, boundary, 0.0),
            dp=np.where(fully, hybrid, (sums + after) * a.trained),
            fsdp=np.where(fully, fsdp, 0.0),
            gather_hops=np.where(sharded, a.shard * s.layers, 0.0) * a.trained,
            optimizer_bytes=updated * OPTIMIZER_BYTES * a.trained,
            offload=(a.offload_optimizer * updated * 24.0 * a.trained + a.offload_activations * 2 * kept) / host,
            bubble=(a.pp - 1) / a.vp,
            zero_bubble=a.zero_bubble,
            dualpipe=a.dualpipe,
        )

    @classmethod
    def join(cls, parts: list[Work], rows: list[Any], total: int) -> Work:
        """Works of rows of many chips as one: `rows` are the positions that each part belongs to."""
        first = parts[0]

        def scatter(pick: Any) -> Any:
            out = np.zeros(total)
            for part, at in zip(parts, rows, strict=True):
                out[at] = np.broadcast_to(np.asarray(pick(part), dtype=float), at.shape)
            return out

        joined: dict[str, Any] = {}
        for f in fields(cls):
            value = getattr(first, f.name)
            if isinstance(value, list):
                joined[f.name] = [
                    tuple(scatter(lambda w, f=f, i=i, j=j: getattr(w, f.name)[i][j]) for j in range(len(entry)))
                    for i, entry in enumerate(value)
                ]
            else:
                joined[f.name] = scatter(lambda w, f=f: getattr(w, f.name))
        flags = ("tp_crosses", "tp_scattered", "ep_crosses", "flash", "cp_ring", "zero_bubble", "dualpipe")
        return cls(**joined | {name: joined[name] > 0 for name in flags})

    def take(self, at: Any) -> Work:
        """The rows `at` of a joined work."""
        picked = {}
        for f in fields(self):
            value = getattr(self, f.name)
            picked[f.name] = [tuple(x[at] for x in entry) for entry in value] if isinstance(value, list) else value[at]
        return Work(**picked)


#: Between chip and host where no link is in the catalogue [B/s].
SCALE_HOST = 50e9


def stage_params(s: Shape, a: Layout, stage_layers: Any) -> tuple[Any, Any]:
    """Parameters of a chip of the heaviest stage: shared ones with embedding and head, and routed experts."""
    ends = s.vocab * s.hidden / a.tp * np.where(a.pp > 1, 1.0, 2.0 - s.tied)
    return stage_layers * s.shared_params / a.tp + ends, stage_layers * s.expert_params / a.ep


def _off(width: Any) -> Any:
    """1 where a width is no multiple of 64 (128 bytes of 16-bit numbers)."""
    return 1.0 * (width % 64 > 0)
