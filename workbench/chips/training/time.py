"""Seconds of a training step from its work and the constants of chip and software."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.calibration.pool import Constant
from workbench.chips.operators import FLASH_BACKWARD, exposed, floored, grouped_product, idling, matrix_product, streaming
from workbench.chips.training.work import LOSS_BYTES, Work

CONSTANTS = (
    Constant("matmul", 0.75, 0.2, "share of the peak that large products sustain, in 16 bits", "device"),
    Constant("narrow", 0.9, 0.15, "the same in 8 and 4 bits over that", "chip"),
    Constant("attention", 0.7, 0.3, "share of the 16-bit peak that attention sustains", "chip"),
    Constant("ramp", 400.0, 0.7, "context that attention loses to its start [tokens]"),
    Constant("cp", 1.0, 0.3, "attention of the slowest context-parallel rank over the mean"),
    Constant("memory", 0.8, 0.3, "share of the memory bandwidth that streaming sustains", "chip"),
    Constant("adapter", 1.0, 0.7, "bytes that adapters of low rank move over those of their inputs and outputs"),
    Constant("grouped", 0.8, 0.3, "rate of experts' products over that of dense ones", "chip"),
    Constant("launch", 6e-6, 0.5, "time between two kernels [s]", "chip"),
    Constant("tail", 1.0, 0.7, "idle output of a last wave [half waves of 132 processors]"),
    Constant("depth", 256.0, 0.7, "cost of starting a tile [elements of the inner dimension]"),
    Constant("misaligned", 0.1, 1.0, "slowdown of products whose widths are no multiples of 64"),
    Constant("tp", 1.0, 0.4, "tensor-parallel collectives over the fabric's time"),
    Constant("tp_across", 1.0, 0.5, "the same beyond a scale-up domain, on top"),
    Constant("host", 1e-5, 1.0, "latency of a tensor-parallel collective at the host [s]"),
    Constant("host_scattered", 1.0, 1.0, "the same where tensor-parallel ranks are scattered, on top"),
    Constant("ep", 1.0, 0.6, "experts' collectives over the fabric's time"),
    Constant("ep_across", 1.0, 1.0, "the same beyond a scale-up domain, on top"),
    Constant("bubble", 1.0, 0.15, "pipeline bubble over that of the schedule"),
    Constant("p2p", 0.5, 0.7, "exposed share of the exchange between stages"),
    Constant("dp", 1.0, 0.5, "data-parallel collectives over the fabric's time"),
    Constant("overlap", 0.7, 0.3, "share of the computation that can hide collectives"),
    Constant("gather", 1e-7, 3.0, "latency of gathering sharded weights, a rank and layer [s]"),
    Constant("sum", 1e-5, 3.0, "latency of summing gradients one tensor after another where ranks are scattered, a rank and layer [s]"),
    Constant("head", 1.0, 0.2, "head and loss over their time by the same constants"),
    Constant("fixed", 5e-3, 0.7, "rest of a step: data, logging, clipping [s]"),
    Constant("straggler", 0.004, 0.3, "growth with every doubling of the chips beyond eight"),
    Constant("sync", 1e-4, 4.0, "latency of a micro-batch on 512 chips and more, cubic below, and again for each stage beside [s]"),
    Constant("scale", 1.0, 0.3, "a release or a model's recipe as a whole; 1 for a stack", "scale"),
)
#: Kind of recomputation of products by their place in `Work.products`: the second one of a feed-forward part needs its input alone.
AGAIN = {2: "mla", 4: "mla", 7: "mlp"}
#: Of 8-bit products alone over 16-bit ones alone: .78 and .80 of their peaks on H100 [Bekman, Maximum Achievable Matmul FLOPS].
NARROW = 0.975
Constants = dict[str, Any]  #: value of each constant, numbers or arrays


def _products(w: Work, c: Constants) -> tuple[Any, Any, Any, Any]:
    """Time of all products of a layer and micro-batch: forward, for the data's gradient, for the weights', and those done again [s]."""
    narrow = np.where(np.real(w.peak) > 1.2 * np.real(w.peak16), c["narrow"], 1.0)
    rate = w.peak * c["matmul"] * narrow / (1 + c["misaligned"] * w.misaligned)
    tile = {"tail": c["tail"], "depth": c["depth"]}
    forward = data = weight = again = 0.0
    named = np.any(w.layout.kinds > 7)
    for place, (share, n, k) in enumerate(w.products):
        if np.ndim(share) == 0 and share == 0:
            continue
        ahead = share * matrix_product(w.tokens, n, k, rate, **tile)
        forward = forward + ahead
        if named and place in AGAIN:
            again = again + w.layout.recomputes(AGAIN[place]) * ahead
        data = data + share * matrix_product(w.tokens, k, n, rate, **tile)
        weight = weight + share * matrix_product(n, k, w.tokens, rate, **tile)
    if np.any(np.asarray(w.model.moe_share) > 0):
        fast = rate * c["grouped"]
        for n, k in w.group_products:
            ahead = w.model.moe_share * grouped_product(w.groups, w.group_rows, n, k, fast, **tile)
            forward = forward + ahead
            again = again + w.layout.recomputes("experts") * ahead if named else again
            data = data + w.model.moe_share * grouped_product(w.groups, w.group_rows, k, n, fast, **tile)
            weight = weight + w.model.moe_share * grouped_product(w.groups, n, k, np.maximum(w.group_rows, 1.0), fast, **tile)
    return forward, data, weight * w.layout.trained, again


def terms(w: Work, c: Constants) -> tuple[Any, Callable[[], dict[str, Any]]]:
    """Time of a step [s], and what computes the seconds of each of its parts, which add up to it; arguments broadcast."""
    s, a = w.model, w.layout
    forward, data, weight, named = _products(w, c)
    bandwidth = w.bandwidth * c["memory"]
    fused = w.attention_flop / (w.peak16 * c["attention"]) * (1 + c["ramp"] / w.context) * (1 + 10 * c["misaligned"] * w.odd_heads)
    fused = fused * np.where(a.cp > 1, c["cp"], 1.0)
    scores = streaming(w.score_bytes, w.bandwidth, c["memory"])
    moved = (w.stream_bytes + w.cast_bytes + c["adapter"] * w.adapter_bytes) / bandwidth
    back = np.where(a.flash, FLASH_BACKWARD, 2.0)
    across = np.where(a.scattered | w.tp_crosses, a.tp / 8 * np.where(a.scattered, c["host_scattered"], 1.0), 1.0)
    launch = w.kernels * c["launch"] + np.where(a.tp > 1, 4 * c["host"] * across, 0.0)
    kernels = forward + fused + scores + moved, data + weight + back * fused + 2 * scores + 2 * moved
    ahead, behind = floored(kernels[0], launch), floored(kernels[1], 2 * launch)

    tp = c["tp"] * np.where(w.tp_crosses, c["tp_across"], 1.0)
    tp_forward, tp_backward = tp * w.tp_forward, tp * w.tp_backward
    if np.any(a.tp_overlap):  # the pieces of a product that are there already hide some of the shorter
        hides = np.minimum(c["overlap"], 1.0) * a.tp_overlap
        tp_forward = tp_forward - hides * np.minimum(tp_forward, forward)
        tp_backward = tp_backward - hides * np.minimum(tp_backward, data)
    ep = c["ep"] * np.where(w.ep_crosses, c["ep_across"], 1.0) * w.ep_forward
    hidden = w.ep_crosses & ((a.vp > 1) | a.dualpipe)  # two chunks at once let experts' collectives hide behind another chunk
    ep_both = np.where(hidden, exposed(ep, c["overlap"] * ahead) + exposed(ep, c["overlap"] * behind), 2 * ep)
    cp_both = np.where(w.cp_hidden, exposed(w.cp_forward, fused) + exposed(2 * w.cp_forward, back * fused), 3 * w.cp_forward)
    again = a.full * (ahead + tp_forward) + a.selective * np.where(a.flash, moved, fused + scores)
    if np.any(a.kinds > 7):
        again = again + named + a.recomputes("attention") * (fused + scores)
        again = again + a.recomputes("norms") * moved / 2 + a.recomputes("experts") * ep
    layer = ahead + behind + tp_forward + tp_backward + ep_both + cp_both + again

    columns, bubbles = s.vocab / a.tp, (a.pp - 1) / a.vp  # of the head; micro-batches that a pipeline waits for
    head = c["head"] * (3 * matrix_product(w.tokens, columns, s.hidden, w.peak16 * c["matmul"], tail=c["tail"], depth=c["depth"]))
    head = head + c["head"] * w.tokens * columns * LOSS_BYTES / bandwidth
    body = w.stage_layers * layer
    stage = np.maximum(body, (w.stage_layers - w.spare) * layer + head)
    per_micro_batch = (s.layers * layer + head) / a.pp
    idle = per_micro_batch * bubbles
    if np.any(a.zero_bubble) or np.any(a.dualpipe):  # what a pass waits for: F + B - 2 W of it, or half the stages
        whole = ahead + behind
        later = weight / np.maximum(data + weight, 1e-30) * behind
        kept = np.maximum((whole - 2 * later) / whole, 0.0)
        idle = np.where(a.zero_bubble, idle * kept, idle)
        idle = np.where(a.dualpipe, per_micro_batch * np.maximum(a.pp / 2 - 1, 0.0) * np.maximum((whole - later) / whole, 0.0) / a.vp, idle)
    bubble = c["bubble"] * idle
    rounds = a.micro_batches + bubbles
    met = np.minimum(a.pp - 1, 2) * np.minimum(w.chips / 512, 1.0) ** 6  # a stage on each side
    pp = c["p2p"] * w.p2p * a.vp * 2 * rounds + c["sync"] * met * (a.micro_batches + (a.pp - 1) / 2)
    fsdp = np.where(np.asarray(w.fsdp) != 0, a.micro_batches * exposed(c["dp"] * w.fsdp, c["overlap"] * body), 0.0)
    dp = exposed(c["dp"] * w.dp, c["overlap"] * body * 2 / 3) + fsdp + c["gather"] * w.gather_hops + c["sum"] * w.sum_hops
    optimizer = w.optimizer_bytes / bandwidth
    bare = a.micro_batches * stage + bubble + pp + dp + optimizer + w.offload + c["fixed"]
    factor = c["scale"] * (1 + c["straggler"] * np.log2(np.maximum(w.chips, 8.0) / 8))
    total = bare * factor

    def detail() -> dict[str, Any]:
        layers = a.micro_batches * w.stage_layers
        found = {
            "matmul": layers * (forward + data + weight), "attention": layers * ((1 + back) * fused + 3 * scores),
            "streaming": layers * 3 * moved, "launch": layers * (idling(kernels[0], launch) + idling(kernels[1], 2 * launch)),
            "recompute": layers * again, "tp": layers * (tp_forward + tp_backward), "ep": layers * ep_both, "cp": layers * cp_both,
            "head": a.micro_batches * (stage - body), "bubble": bubble, "pp": pp, "dp": dp, "optimizer": optimizer, "offload": w.offload,
        }  # fmt: skip
        return {name: found[name] * c["scale"] for name in found} | {"other": total - (bare - c["fixed"]) * c["scale"]}

    return total, detail
