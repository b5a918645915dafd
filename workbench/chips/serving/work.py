"""Seconds of decode steps and prompts: what serving asks of a replica, and the constants that say what it takes.

`Demand` holds no fitted number; its methods weigh it with `CONSTANTS`, whose logarithms are what is fitted. Arrays broadcast throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue
from workbench.arrays import Arrays
from workbench.calibration.pool import Constant
from workbench.chips.machine import Machine
from workbench.chips.serving.plan import Load, ServingPlan
from workbench.fabric import Cluster
from workbench.formats import FORMATS
from workbench.llm import LLM, Transformer
from workbench.rows import Chip

MEMORY_SHARE, RESERVED = 0.94, 2e9  #: share of device memory that an engine may fill, and what runtime and graphs take, at most 1/8 [B]
HELD = 0.6  #: share of the output that a sequence holds in the mean while an engine admits others
ROUTED_BYTES = FORMATS["fp8"].wire_bytes  #: of a number of a token on its way to experts and back, whatever the weights are in
CHUNK = 8192  #: tokens of prompts that a group works on at once: the default of vLLM and TensorRT-LLM
SHARE = 0.99  #: the most that a share of a rate comes to
LARGE = 2.0**28  #: a message that shows what a collective carries, not its start [B]: engines' own kernels start faster than the library's

CONSTANTS = (
    Constant("stream", 0.8, 0.2, "share of the memory bandwidth that weights stream at", "chip", SHARE),
    Constant("experts", 0.75, 0.3, "the same of experts' weights, on top", "chip", SHARE),
    Constant("alike", 0.85, 0.1, "power of the tokens of a step by which they visit experts of their own", most=1.0),
    Constant("cache", 0.65, 0.3, "share of the memory bandwidth that the key-value cache streams at", "chip", SHARE),
    Constant("compute", 0.6, 0.2, "share of the peak in decode", "chip", SHARE),
    Constant("prefill", 0.7, 0.2, "share of the peak in prefill", "chip", SHARE),
    Constant("feed", 1500.0, 0.4, "arithmetic that on-chip memory feeds, a byte of device memory's bandwidth [FLOP/B]"),
    Constant("grouped", 0.8, 0.1, "share of these that products of experts reach", most=SHARE),
    Constant("passed", 20.0, 0.5, "memory traffic of a token between the products of a layer, over the width [B]"),
    Constant("routed", 10.0, 0.5, "memory traffic of a token and expert, over the width: sorted, scaled, summed [B]"),
    Constant("attention", 0.4, 0.4, "share of the 16-bit peak of attention in prefill", "chip", SHARE),
    Constant("start", 3.5e-6, 0.5, "start of an all-reduce of engines, a doubling of ranks [s]", "chip"),
    Constant("volume", 1.0, 0.4, "collectives' bytes over the fabric's time for them", "chip"),
    Constant("across", 4.0, 0.7, "start of a collective beyond a scale-up domain, on top"),
    Constant("dispatch", 15e-6, 0.7, "start of a dispatch or a combine of experts [s]"),
    Constant("swap", 1.2, 0.15, "bytes of these over the fabric's time for them, within a scale-up domain"),
    Constant("hidden", 0.7, 0.2, "share of computation that hides their exchange beyond a scale-up domain", most=SHARE),
    Constant("layer", 50e-6, 0.5, "overhead of a layer [s]"),
    Constant("mixture", 25e-6, 0.7, "overhead of a layer of experts, on top [s]"),
    Constant("step", 1e-3, 1.0, "overhead of a step [s]"),
    Constant("sequence", 9e-6, 0.7, "overhead of a sequence and step, or of a token of it that is verified [s]"),
    Constant("draft", 0.3e-3, 0.7, "overhead of drafting a token of every sequence [s]"),
    Constant("accepted", 0.85, 0.15, "share of the tokens gained in published curves of acceptance that other text gains", most=1.0),
    Constant("mix", 0.9, 0.4, "share of others' prompts that interrupts a token", most=1.0),
    Constant("admission", 1.0, 0.2, "cache that engines admit over what fits at 60 % of the output"),
    Constant("first", 0.02, 1.0, "fixed part of the time to first token [s]"),
    Constant("turns", 3.0, 0.7, "steps that a prompt waits for its turn", "recipe"),
    Constant("gather", 10.0, 1.0, "the same until data-parallel groups have prompts of a step together, on top"),
    Constant("burst", 0.1, 0.8, "share of a run's prompts that all users send at once, as they do at its start", most=1.0),
    Constant("scale", 1.0, 0.25, "decode of a release or a model as a whole", "scale"),
    Constant("first_scale", 1.0, 0.2, "time to first token of a release or a model as a whole", "scale"),
)


@dataclass(frozen=True, repr=False)
class Demand(Arrays):
    """What each of `replicas` is asked for; one is tp x pp x attention_dp chips, and holds the weights once."""

    model: Transformer
    tp: Any
    pp: Any
    attention_dp: Any
    chips: Any  #: of a replica
    replicas: Any
    rate: Any  #: requests per second of a replica; 0 where requests in flight are given
    concurrency: Any  #: requests in flight; inf for as many as fit
    requests: Any  #: of a run; inf without end, nan where not stated
    input_tokens: Any
    output_tokens: Any
    half_way: Any  #: context of a token in the middle of the output
    computed: Any  #: input tokens that are not in a prefix cache
    draft_tokens: Any  #: drafted per step and sequence, all verified in the next step; 0 without speculation
    acceptance_length: Any  #: tokens that a step yields: the accepted drafts and the one that follows them
    published: Any  #: whether that is of published curves
    draft_share: Any  #: time of drafting one token over that of a step, before the head
    draft_head: Any  #: of the head, which a drafted token reads once more, whole replica [B]
    read: Any  #: weights that every step reads, whole replica [B]
    experts: Any  #: those of routed experts [B]
    cache_bytes: Any  #: of a number of the cache
    copies: Any  #: of a token's cache in the replica
    free: Any  #: memory beside the weights, whole replica [B]
    fits: Any  #: sequences whose cache fits at `HELD` of the output, before `admission`
    peak: Any  #: of the format of the weights [FLOP/s]
    peak_rest: Any  #: the same of all but experts
    peak16: Any
    bandwidth: Any  #: of device memory [B/s]
    tp_crosses: Any
    reduce_per_byte: Any  #: of an all-reduce over tp [s/B]
    ep: Any  #: ranks that exchange tokens of experts
    ep_crosses: Any
    visits: Any  #: ranks, or domains beyond one, that the experts of a token lie on
    swap_per_byte: Any  #: of an all-to-all over ep [s/B]
    link: Any  #: of a chip to other domains [B/s]

    @property
    def limit(self) -> Any:
        """Whether so many requests at most are in flight at a rate of arrivals."""
        return np.isfinite(self.concurrency) & (self.concurrency * self.replicas > 1) & (self.rate > 0)

    @property
    def kinds(self) -> dict[str, Any]:
        """What has errors of its own, and where it is so: drafted tokens, ranks of a replica that exchange beyond a scale-up domain."""
        return {"drafted": self.draft_tokens > 0, "beyond": np.maximum(self.tp_crosses, self.ep_crosses) > 0}

    @property
    def missing_bytes(self) -> Any:
        """Memory that lacks for the weights and one request, whole replica [B]; 0 where they fit."""
        request = self.cache_bytes * self.copies * self.model.cache_kept(self.input_tokens + self.output_tokens)
        return np.maximum(request + self.model.other.state - self.free, 0.0)

    def visited(self, tokens: Any, alike: Any = 0.85) -> Any:
        """Share of the experts that so many tokens visit, of which as many as its power `alike` choose for themselves."""
        s = self.model
        tokens = tokens * np.maximum(tokens, 1.0) ** (alike - 1)
        return 1 - np.exp(tokens * np.log1p(-np.minimum(s.experts_per_token / np.maximum(s.experts, 1), 0.999)))

    def decode(self, c: dict[str, Any], batch: Any, context: Any) -> Any:
        """Time of a decode step of `batch` sequences at `context` tokens, over the tokens it yields [s]; `serving` says what it adds up."""
        s = self.model
        flow = batch / self.pp  # a token crosses all stages, each of which holds a part of the sequences meanwhile
        here, across = flow / self.attention_dp, self.chips / self.pp  # of a group; chips of a stage
        worked = 1 + self.draft_tokens  # tokens of a sequence that a step works on: drafts are verified with the token they follow
        moved = self._moved(context) + self.draft_tokens * s.other.state  # a state after every draft: which is accepted is not known yet
        rest, cached = self.read / self.tp, here * moved / self.tp  # bytes of a chip
        experts = self.experts * self.visited(flow * worked, c["alike"]) / across
        weights = (rest + experts / c["experts"]) / (c["stream"] * self.bandwidth)
        arithmetic = 2 * flow * worked * self._products(c, c["compute"]) / across
        met = here * worked * (s.scores(context, decode=True) + s.other.updates) / self.tp
        scores = 2 * met * self._flop(c, c["compute"], self.peak16)
        cache = np.maximum(cached / (c["cache"] * self.bandwidth), scores) + self._passed(c, here * worked)
        core = np.maximum(weights, arithmetic) + 0.3 * np.minimum(weights, arithmetic) + cache
        overhead = c["layer"] * s.layers * s.parts / 2 + c["mixture"] * s.moe_layers + c["step"] + here * worked * c["sequence"]
        step = core + self._reduced(c, here * worked) + self._exchanged(c, flow * worked / across, core) + overhead
        step = np.maximum(step * c["scale"], (rest + experts + cached) / self.bandwidth)  # no step beats the memory
        head = self.draft_head / (self.tp * c["stream"] * self.bandwidth)
        drafting = self.draft_tokens * (step * self.draft_share + (head + c["draft"]) * c["scale"])
        return (step + drafting) / (1 + (self.acceptance_length - 1) * np.where(self.published, c["accepted"], 1.0))

    def _flop(self, c: dict[str, Any], share: Any, peak: Any) -> Any:
        """Time of one FLOP of products that reach a share of a peak, and of what it takes of on-chip memory [s]."""
        return 1 / (share * peak) + 1 / (c["feed"] * self.bandwidth)

    def _products(self, c: dict[str, Any], share: Any) -> Any:
        """Time of the multiply-adds of a token with weights, over 2 [s]: those with experts reach less of a peak."""
        s = self.model
        routed = s.expert_params * s.experts_per_token / np.maximum(s.experts, 1)
        rest = (s.used_params - routed) * self._flop(c, share, self.peak_rest)
        return rest + routed * self._flop(c, share * c["grouped"], self.peak)

    def _moved(self, context: Any) -> Any:
        """Bytes that a step of a sequence reads of the cache, and reads and writes of states that do not grow."""
        return self.model.cache_read(context) * self.cache_bytes * self.copies + 2 * self.model.other.state

    def _passed(self, c: dict[str, Any], tokens: Any) -> Any:
        """Traffic of a group's activations in a chip's memory, all layers [s]: each rank sees all tokens, of shared experts its part."""
        s = self.model
        shared = s.moe_layers * s.experts_per_token * s.expert_hidden / np.where(self.ep > 1, self.tp, 1.0)
        return tokens * (s.layers * s.hidden * c["passed"] + shared * c["routed"]) / self.bandwidth

    def _reduced(self, c: dict[str, Any], tokens: Any) -> Any:
        """All-reduces over tp of so many tokens of a group, all layers [s]."""
        s = self.model
        start = c["start"] * np.log2(self.tp) * np.where(self.tp_crosses, c["across"], 1.0)
        return s.parts * s.layers * (start + c["volume"] * self.reduce_per_byte * tokens * s.hidden * 2)

    def _exchanged(self, c: dict[str, Any], tokens: Any, beside: Any) -> Any:
        """What micro-batches leave of a chip's exchange of experts, all layers [s]; beyond a domain a token goes once to each [DeepEP]."""
        s = self.model
        start = c["dispatch"] * np.where(self.ep_crosses, c["across"], 1.0) * (self.ep > 1)
        sent = tokens * s.expert_hidden * ROUTED_BYTES * self.visits
        swap = np.where(self.ep_crosses, 1.0, c["swap"])  # beyond a domain libraries reach the links' rate [DeepEP]
        time = 2 * s.moe_layers * (start + swap * self.swap_per_byte * sent)
        return time - c["hidden"] * np.minimum(time, beside) * self.ep_crosses

    def used(self, batch: Any, context: Any, tpot: Any) -> tuple[Any, Any]:
        """Shares of peak arithmetic and memory bandwidth that `batch` sequences use at a time per token, prompts included, for power.

        Weights count as of 16 bits in whatever format they are: their way through the chip takes as much.
        """
        s = self.model
        weights = s.read_params / self.tp + s.expert_params * self.visited(batch / self.pp) / self.chips * self.pp
        cache = batch / self.attention_dp * self._moved(context) / (self.tp * self.pp)
        flop = 2 * batch * s.used_params * (1 + self.computed / self.output_tokens) / self.chips
        return flop / (tpot * self.peak16), (2 * weights + cache) / (tpot * self.bandwidth)

    def prefill(self, c: dict[str, Any]) -> Any:
        """Time that a prompt takes of the whole replica [s]; data-parallel groups work on several at once, `CHUNK` tokens at a time."""
        s, n = self.model, self.computed
        arithmetic = 2 * n * self._products(c, c["prefill"])
        weights = (self.read + self.experts / c["experts"] / self.attention_dp) / (c["stream"] * self.bandwidth) * n / CHUNK
        products = np.maximum(arithmetic, weights) + 0.3 * np.minimum(arithmetic, weights)
        scores = 2 * n * (s.scores(self.input_tokens / 2) + s.other.updates) * self._flop(c, c["attention"], self.peak16)
        drafting = 1 + self.draft_share * np.minimum(self.draft_tokens, 1.0)  # the drafting layers see the prompt, too
        alone = ((products + scores) / self.chips + self._passed(c, n / self.attention_dp) / self.pp) * drafting
        c = c | {"start": 0.0, "dispatch": 0.0, "hidden": 1.0}  # two micro-batches hide each other's exchange [DeepSeek-V3, 3.4.1]
        return alone + self._reduced(c, n / self.attention_dp) + self._exchanged(c, n / self.chips, alone)

    def admitted(self, c: dict[str, Any]) -> Any:
        """Sequences that an engine decodes at once: all in flight, or as many as the cache admits."""
        return np.minimum(self.concurrency, np.maximum(self.fits * c["admission"], 1.0))

    def turn(self, c: dict[str, Any], step: Any) -> Any:
        """Time until an engine works on a prompt that nobody else's is in the way of [s]."""
        return c["first"] + (c["turns"] + c["gather"] * (self.attention_dp > 1)) * step

    def burst(self, c: dict[str, Any], users: Any) -> Any:
        """Prompts of others that one waits for, in the mean of a run whose users all start at once; none in a run without end."""
        return np.where(np.isinf(self.requests), 0.0, c["burst"]) * np.maximum(users - 1, 0.0) / 2

    def first_token(self, c: dict[str, Any], batch: Any, step: Any, prompt: Any, tpot: Any) -> Any:
        """Time to first token with so many requests in flight [s]: turn, own prompt, prompts of others, the queue beyond the cache."""
        busy = np.minimum(np.maximum(batch - 1, 0.0) * prompt / (prompt + self.output_tokens * tpot), 3.0)  # others' share of a turn
        alone = (self.turn(c, step) + prompt * (1 + self.burst(c, batch) + busy)) * c["first_scale"]
        waiting = np.maximum(self.or_as_many_as(batch) - batch, 0.0)
        return alone + waiting / np.maximum(batch, 1.0) * (self.output_tokens * tpot + alone)

    def or_as_many_as(self, batch: Any) -> Any:
        """Requests in flight; without a limit as many as decode."""
        return np.where(np.isfinite(self.concurrency), self.concurrency, batch)


def multiplied_in(chip: Chip, weights: str) -> str:
    """Their own format, or of weights of less than eight bits, which engines expand (AWQ, MXFP4), the first wider one that a chip runs."""
    wider = ("bf16", "int8", "fp8") if FORMATS[weights].bits < 8 else ()
    return next(filter(chip.runs, (weights, *wider)), weights)


def demand_of(llm: LLM, cluster: Cluster, plan: ServingPlan, load: Load) -> Demand:
    """What is asked of a replica; a chip expands weights of less than eight bits. Raises `InputError` for another format that it lacks."""
    number = FORMATS[plan.precision]
    machine = Machine.of(cluster, FORMATS[multiplied_in(cluster.chip, number.name)])
    said = ((plan, ("tp", "pp", "attention_dp", "replicas")), (load, ("input_tokens", "output_tokens", "draft_tokens")))
    own = {name: np.asarray(getattr(of, name), dtype=float) for of, names in said for name in names}
    tp, pp, dp, replicas, asked, written, drafted = own.values()
    chips, exchange, mixture, cache = tp * pp * dp, machine.exchange, llm.experts > 0, FORMATS[plan.kv_precision].bytes
    copies = tp if llm.latent > 0 else np.maximum(tp / llm.kv_heads, 1.0)
    rest, experts = llm.weight_memory(number.name, llm.quantization)
    wide = mixture and number.bits < 8  # four-bit mixtures as published (DeepSeek-R1-NVFP4, gpt-oss): their experts alone have four bits
    rest = llm.weight_memory("bf16")[0] if wide else rest
    free = chips * (MEMORY_SHARE * machine.memory - np.minimum(RESERVED, machine.memory / 8)) - (rest * dp + experts)
    ep = np.where(mixture & (dp > 1), chips, 1.0)
    places = np.where(exchange.crosses(ep), np.ceil(ep / exchange.domain), ep)
    return Demand(
        **own, model=llm, chips=chips, rate=np.asarray(0.0 if load.rate is None else load.rate, dtype=float) / replicas,
        concurrency=np.asarray(load.concurrency, dtype=float) / replicas,
        requests=np.maximum(np.asarray(np.nan if load.requests is None else load.requests, dtype=float) / replicas, 1.0),
        half_way=asked + written / 2, computed=np.maximum(asked * (1 - np.asarray(load.prefix_hit_rate, dtype=float)), 1.0),
        acceptance_length=_accepted(llm.name, drafted, load.acceptance_rate), published=np.asarray(load.acceptance_rate is None),
        draft_share=np.asarray(1 / llm.layers if load.draft_share is None else load.draft_share, dtype=float),
        draft_head=np.asarray(llm.embedding_params * 2.0 * (load.draft_share is None)),
        read=rest - (llm.params - llm.expert_params - llm.read_params) * max(number.bytes, 2.0), experts=experts, cache_bytes=cache,
        copies=copies, free=free, fits=np.maximum(free, 0.0) / (cache * copies * llm.cache_kept(asked + HELD * written) + llm.other.state),
        peak=machine.peak, peak_rest=machine.peak16 if wide else machine.peak, peak16=machine.peak16, bandwidth=machine.bandwidth,
        tp_crosses=exchange.crosses(tp), reduce_per_byte=exchange.seconds("all_reduce", LARGE, tp) / LARGE, ep=ep,
        ep_crosses=exchange.crosses(ep), visits=places * (1 - (1 - 1 / places) ** max(llm.experts_per_token, 1)),
        swap_per_byte=exchange.seconds("alltoall", LARGE, ep) / LARGE, link=exchange.bandwidth,
    )  # fmt: skip


def acceptance_rate(length: float, drafts: float) -> float:
    """Probability of acceptance of a drafted token at which a step yields `length` tokens: (1 - a^(drafts + 1)) / (1 - a)."""
    a = np.linspace(0, 0.999, 1000)
    return float(np.interp(length, (1 - a ** (drafts + 1)) / (1 - a), a, right=1.0))


def _accepted(name: str, drafted: Any, rate: Any) -> Any:
    """Tokens that a step yields: by the rate at which drafted ones are accepted, or as measured of the model, or of all in the mean."""
    if rate is not None or not np.any(drafted):
        a = np.asarray(0.0 if rate is None else rate, dtype=float)
        return (1 - a ** (drafted + 1)) / (1 - a)
    curves = catalogue.table("acceptance")
    own = curves.filter(pl.col("model") == name)
    means = (curves if own.is_empty() else own).group_by("draft_tokens").agg(pl.col("acceptance_length").mean()).sort("draft_tokens")
    return np.interp(drafted, [0, *means["draft_tokens"]], [1, *means["acceptance_length"]])
