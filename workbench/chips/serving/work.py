"""Seconds of decode steps and prompts: what serving asks of a replica, and the constants that say what it takes.

`Demand` holds no fitted number; `times` weighs it with `CONSTANTS`, whose logarithms are what is fitted. Arrays broadcast throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from workbench.calibration.pool import Constant
from workbench.catalogue import LLM, Chip
from workbench.chips.exchange import SCALE_OUT, Exchange

#: Share of device memory that an engine may fill, and what runtime and graphs take of it [B].
MEMORY_SHARE, RESERVED = 0.94, 2e9
#: Bytes of a number by format.
BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5, "int4": 0.5}
#: Format whose peak products run at; weights in four-bit integers are expanded to sixteen bits.
PEAKS = {"bf16": "bf16", "fp16": "bf16", "fp8": "fp8", "int8": "int8", "fp4": "fp4", "int4": "bf16"}
#: A message that shows what a collective carries, not its start [B].
LARGE = 2.0**28


CONSTANTS = (
    Constant("stream", 0.8, 0.2, "share of the memory bandwidth that weights stream at", "chip"),
    Constant("experts", 0.75, 0.3, "the same of experts' weights, on top", "chip"),
    Constant("cache", 0.65, 0.3, "share of the memory bandwidth that the key-value cache streams at", "chip"),
    Constant("compute", 0.45, 0.3, "share of the peak in decode", "chip"),
    Constant("prefill", 0.5, 0.3, "share of the peak in prefill", "chip"),
    Constant("attention", 0.4, 0.4, "share of the 16-bit peak of attention in prefill", "chip"),
    Constant("start", 3.5e-6, 0.5, "start of an all-reduce of engines, a doubling of ranks [s]", "chip"),
    Constant("volume", 1.0, 0.4, "collectives' bytes over the fabric's time for them", "chip"),
    Constant("across", 4.0, 0.7, "start of a collective beyond a scale-up domain, on top"),
    Constant("layer", 50e-6, 0.5, "overhead of a layer [s]"),
    Constant("mixture", 25e-6, 0.7, "overhead of a layer of experts, on top [s]"),
    Constant("step", 1e-3, 1.0, "overhead of a step [s]"),
    Constant("sequence", 9e-6, 0.7, "overhead of a sequence and step [s]"),
    Constant("mix", 0.9, 0.4, "share of others' prompts that interrupts a token"),
    Constant("admission", 1.0, 0.2, "cache that engines admit over what fits at 60 % of the output"),
    Constant("first", 0.02, 1.0, "fixed part of the time to first token [s]"),
    Constant("turns", 3.0, 0.7, "steps that a prompt waits for its turn"),
    Constant("herd", 0.3, 1.0, "prompts of others that a prompt waits for, a unit of crowd"),
    Constant("crowd", 0.5, 0.4, "growth of that with the users in flight, as a power"),
    Constant("scale", 1.0, 0.25, "decode of a release or a model as a whole", "scale"),
    Constant("first_scale", 1.0, 0.4, "time to first token of a release or a model as a whole", "scale"),
)


@dataclass(frozen=True)
class Served:
    """What the cost of a token depends on, of one model or of a model a row."""

    rest: Any  #: parameters that every token reads, embedding lookup left out
    experts: Any  #: parameters of all routed experts
    active: Any  #: parameters that a token takes part in
    layers: Any
    moe_layers: Any
    hidden: Any
    heads: Any
    kv_heads: Any
    key_dim: Any
    value_dim: Any
    latent: Any  #: width of a latent cache with its rotary part, else 0
    cached: Any  #: numbers cached a token, all layers
    pool: Any  #: routed experts of a layer
    topk: Any
    window: Any
    window_share: Any

    @classmethod
    def of(cls, llm: LLM) -> Served:
        """A model of the catalogue."""
        lookup = 0 if llm.tied_embeddings else llm.embedding_params
        return cls(
            rest=llm.params - llm.expert_params - lookup,
            experts=llm.expert_params,
            active=llm.active_params - lookup,
            layers=llm.layers,
            moe_layers=llm.moe_layers,
            hidden=llm.hidden,
            heads=llm.heads,
            kv_heads=llm.kv_heads,
            key_dim=llm.head_dim,
            value_dim=llm.v_head_dim or llm.head_dim,
            latent=0 if llm.kv_lora_rank is None else llm.kv_lora_rank + (llm.qk_rope_head_dim or 0),
            cached=llm.kv_bytes_per_token(1.0),
            pool=llm.experts,
            topk=llm.experts_per_token,
            window=llm.sliding_window or 0,
            window_share=(llm.sliding_layers or 0) / llm.layers,
        )

    @classmethod
    def stack(cls, llms: Sequence[LLM]) -> Served:
        """Many models, a row each."""
        known = {llm: cls.of(llm) for llm in dict.fromkeys(llms)}
        return cls(**{f.name: np.array([float(getattr(known[llm], f.name)) for llm in llms]) for f in fields(cls)})

    def attended(self, context: Any) -> Any:
        """Tokens of a context that a layer attends to, in the mean of the layers."""
        return (1 - self.window_share) * context + self.window_share * np.minimum(context, self.window)


@dataclass(frozen=True)
class Demand:
    """What a replica is asked for; a replica is tp x pp x attention_dp chips, and holds the weights once."""

    chips: Any
    tp: Any
    attention_dp: Any
    pp: Any
    users: Any  #: in flight; inf for as many as fit
    input_tokens: Any
    output_tokens: Any
    computed: Any  #: input tokens that are not in a prefix cache
    served: Served
    weight_bytes: Any  #: of a parameter
    cache_bytes: Any  #: of a token and sequence, all layers
    copies: Any  #: of a token's cache in the replica
    fits: Any  #: sequences whose cache fits at 60 % of the output, before `admission`
    free: Any  #: memory beside the weights, whole replica [B]
    peak: Any
    peak16: Any
    bandwidth: Any
    tp_crosses: Any
    reduce_per_byte: Any  #: of an all-reduce over tp [s/B]
    ep: Any  #: ranks that exchange tokens of experts
    ep_crosses: Any
    swap_per_byte: Any  #: of an all-to-all over ep [s/B]
    link: Any  #: of a chip to other domains [B/s]
    drafts: Any  #: tokens drafted a step and sequence, all verified in the next step; 0 without speculation
    kept: Any  #: tokens a step that stand, (1 - a^(drafts + 1)) / (1 - a) with acceptance a [Leviathan, 2023]
    draft_share: Any  #: time of drafting one token over that of a step

    @classmethod
    def of(
        cls,
        served: Served,
        chip: Chip,
        exchange: Exchange,
        *,
        tp: Any,
        pp: Any,
        attention_dp: Any,
        precision: str,
        cache_precision: str,
        users: Any,
        input_tokens: Any,
        output_tokens: Any,
        cached_share: Any = 0.0,
        drafts: Any = 0.0,
        acceptance: Any = 0.0,
        draft_share: Any = 0.0,
        chip_rates: Any = (1.0, 1.0, 1.0),
    ) -> Demand:
        """Resolve a layout and a load on a chip; `chip_rates` multiply peak, memory bandwidth and memory."""
        s = served
        tp, pp, dp = (np.asarray(x, dtype=float) for x in (tp, pp, attention_dp))
        chips = tp * pp * dp
        weight, cache = BYTES[precision], BYTES[cache_precision] * s.cached
        copies = np.where(np.asarray(s.latent) > 0, tp, np.maximum(tp / s.kv_heads, 1.0))
        memory = chip.hbm_bytes * chip_rates[2]
        free = chips * (MEMORY_SHARE * memory - RESERVED) - (s.rest * dp + s.experts) * weight
        held = s.attended(input_tokens + 0.6 * np.asarray(output_tokens))
        fits = np.maximum(free, 0.0) / (cache * copies * held)
        ep = np.where((np.asarray(s.pool) > 0) & (dp > 1), chips, 1.0)
        gamma, a = np.asarray(drafts, dtype=float), np.asarray(acceptance, dtype=float)
        return cls(
            chips=chips,
            tp=tp,
            attention_dp=dp,
            pp=pp,
            users=np.asarray(users, dtype=float),
            input_tokens=np.asarray(input_tokens, dtype=float),
            output_tokens=np.asarray(output_tokens, dtype=float),
            computed=np.maximum(np.asarray(input_tokens, dtype=float) * (1 - np.asarray(cached_share, dtype=float)), 1.0),
            served=s,
            weight_bytes=weight,
            cache_bytes=cache,
            copies=copies,
            fits=fits,
            free=free,
            peak=chip.peak(PEAKS[precision]) * chip_rates[0],
            peak16=(chip.peaks.get("bf16") or chip.peak("fp8") / 2) * chip_rates[0],
            bandwidth=chip.hbm_bandwidth * chip_rates[1],
            tp_crosses=exchange.crosses(tp),
            reduce_per_byte=_per_byte(exchange, "all_reduce", tp),
            ep=ep,
            ep_crosses=exchange.crosses(ep),
            swap_per_byte=_per_byte(exchange, "alltoall", ep),
            link=exchange.bandwidth or chip.scaleout_bandwidth or SCALE_OUT,
            drafts=gamma,
            kept=(1 - a ** (gamma + 1)) / (1 - a),
            draft_share=np.asarray(draft_share, dtype=float),
        )

    def decode(self, c: dict[str, Any], batch: Any, context: Any) -> Any:
        """Time of a decode step of `batch` sequences of a replica, each attending to `context` tokens, over the tokens it yields [s].

        The longer of weights and arithmetic, 30 % of the shorter, the cache or its arithmetic, collectives, and overheads of layer,
        step and sequence.
        """
        s = self.served
        flow = batch / self.pp  # a token crosses all stages, each of which holds a part of the sequences meanwhile
        here = flow / self.attention_dp
        across = self.chips / self.pp  # chips of a stage
        wide = flow * (1 + self.drafts)  # tokens that a step works on: drafts are verified with the token they follow
        visited = 1 - np.exp(wide * np.log1p(-np.minimum(s.topk / np.maximum(s.pool, 1), 0.999)))
        weights = s.rest * self.weight_bytes / self.tp / (c["stream"] * self.bandwidth)
        weights = weights + s.experts * visited * self.weight_bytes / across / (c["stream"] * c["experts"] * self.bandwidth)
        attended = s.attended(context)
        cache = here * attended * self.cache_bytes * self.copies / self.tp / (c["cache"] * self.bandwidth)
        arithmetic = 2 * wide * s.active / across / (c["compute"] * self.peak)
        widths = np.where(np.asarray(s.latent) > 0, 2.0 * s.latent, s.key_dim + s.value_dim)
        scores = 2 * here * (1 + self.drafts) * attended * s.heads * widths * s.layers / self.tp / (c["compute"] * self.peak16)
        reduce = np.where(self.tp > 1, c["start"] * np.log2(np.maximum(self.tp, 2)) * np.where(self.tp_crosses, c["across"], 1.0), 0.0)
        reduce = 2 * s.layers * (reduce + c["volume"] * self.reduce_per_byte * here * (1 + self.drafts) * s.hidden * 2)
        swap = np.where(self.ep > 1, 2 * c["start"] * np.where(self.ep_crosses, c["across"], 1.0), 0.0)
        routed = wide / across * s.hidden * 1.5 * np.minimum(np.maximum(s.topk, 1), self.ep)
        swap = 2 * s.moe_layers * (swap + c["volume"] * self.swap_per_byte * routed)
        overhead = c["layer"] * s.layers + c["mixture"] * s.moe_layers + c["step"] + here * c["sequence"]
        core = np.maximum(weights, arithmetic) + 0.3 * np.minimum(weights, arithmetic) + np.maximum(cache, scores)
        return (core + reduce + swap + overhead) * c["scale"] * (1 + self.drafts * self.draft_share) / self.kept

    def used(self, batch: Any, context: Any, tpot: Any) -> tuple[Any, Any]:
        """Shares of peak arithmetic and of memory bandwidth that `batch` sequences use at a time per token, prompts included."""
        s = self.served
        visited = 1 - np.exp(batch / self.pp * np.log1p(-np.minimum(s.topk / np.maximum(s.pool, 1), 0.999)))
        cache = batch / self.attention_dp * s.attended(context) * self.cache_bytes * self.copies / (self.tp * self.pp)
        moved = s.rest * self.weight_bytes / self.tp + s.experts * visited * self.weight_bytes / self.chips * self.pp + cache
        flop = 2 * batch * s.active * (1 + self.computed / self.output_tokens) / self.chips
        return flop / (tpot * self.peak), moved / (tpot * self.bandwidth)

    def prefill(self, c: dict[str, Any]) -> Any:
        """Time that a prompt takes of the whole replica [s]; data-parallel groups work on several at once."""
        s, n = self.served, self.computed
        products = 2 * n * s.active / (c["prefill"] * self.peak)
        attended = (1 - s.window_share) * self.input_tokens / 2 + s.window_share * np.minimum(self.input_tokens / 2, s.window)
        scores = 2 * n * attended * s.heads * (s.key_dim + s.value_dim) * s.layers / (c["attention"] * self.peak16)
        reduce = 2 * s.layers * c["volume"] * self.reduce_per_byte * n * s.hidden * 2 / self.attention_dp
        return (products + scores) / self.chips + reduce

    def admitted(self, c: dict[str, Any]) -> Any:
        """Sequences that an engine decodes at once: all users, or as many as the cache admits."""
        return np.minimum(np.where(np.isfinite(self.users), self.users, np.inf), np.maximum(self.fits * c["admission"], 1.0))

    def first_token(self, c: dict[str, Any], batch: Any, step: Any, prompt: Any, tpot: Any) -> Any:
        """Time to first token with so many users in flight [s]: turn, own prompt, prompts of others, and the queue beyond the cache."""
        busy = np.minimum(batch * prompt / (self.output_tokens * tpot), 3.0)
        alone = c["first"] + c["turns"] * step + prompt * (1 + c["herd"] * np.maximum(batch - 1, 1e-9) ** c["crowd"] + busy)
        alone = alone * c["first_scale"]
        users = np.where(np.isfinite(self.users), self.users, batch)
        return alone + np.maximum(users - batch, 0.0) / np.maximum(batch, 1.0) * (self.output_tokens * tpot + alone)


def _per_byte(exchange: Exchange, op: str, ranks: Any) -> Any:
    """Seconds a byte of a large collective: engines' own kernels start faster than the library's, and carry as much."""
    return exchange.seconds(op, LARGE, ranks) / LARGE
