"""Latency and throughput of serving a model: users in flight, arrivals, as much as fits, prompts together with answers or apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.catalogue import LLM, Chip, Cost
from workbench.chips import serving_calibration as calibration
from workbench.chips.decode import BYTES, PEAKS, Demand, Served
from workbench.chips.exchange import Exchange
from workbench.chips.serving_calibration import Origin
from workbench.errors import InputError
from workbench.fabric import Cluster

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ServingPlan:
    """How a replica is laid out: `tp` x `pp` x `attention_dp` chips hold the weights once; experts are spread over all of them."""

    tp: ArrayLike = 8  #: tensor parallel degree
    precision: str = "fp8"  #: of the weights
    kv_precision: str = "fp8"  #: of the key-value cache
    pp: ArrayLike = 1  #: pipeline stages
    attention_dp: ArrayLike = 1  #: groups that share the experts and split the sequences

    def __post_init__(self) -> None:
        for name in ("precision", "kv_precision"):
            if getattr(self, name) not in BYTES:
                raise InputError(f"{name} = {getattr(self, name)!r}: expected one of {', '.join(BYTES)}")
        for name in ("tp", "pp", "attention_dp"):
            value = np.asarray(getattr(self, name), dtype=float)
            if not np.all((value >= 1) & (value == np.round(value))):
                raise InputError(f"{name} = {getattr(self, name)}: expected whole numbers from 1")

    @property
    def chips(self) -> Array:
        """Chips of a replica."""
        return np.asarray(self.tp, dtype=float) * np.asarray(self.pp, dtype=float) * np.asarray(self.attention_dp, dtype=float)


@dataclass(frozen=True)
class Load:
    """What a replica is asked for: a closed loop of `concurrency` users with a request each in flight, or `rate` arrivals a second.

    Infinite concurrency serves as many as fit: the offline maximum.
    """

    concurrency: ArrayLike
    input_tokens: ArrayLike
    output_tokens: ArrayLike
    cached_share: ArrayLike = 0.0  #: of the input, found in a prefix cache
    rate: ArrayLike | None = None  #: requests a second; in place of the concurrency
    drafts: ArrayLike = 0  #: tokens drafted a step and verified in the next; 0 without speculative decoding
    acceptance: ArrayLike = 0.7  #: of a drafted token
    draft_share: ArrayLike = 0.03  #: time of drafting a token over that of a step

    def __post_init__(self) -> None:
        for name in ("concurrency", "input_tokens", "output_tokens"):
            if not np.all(np.asarray(getattr(self, name), dtype=float) >= 1):
                raise InputError(f"{name} = {getattr(self, name)}: expected at least 1")
        if not np.all((np.asarray(self.cached_share) >= 0) & (np.asarray(self.cached_share) < 1)):
            raise InputError(f"cached_share = {self.cached_share}: expected a share of 0 or more and below 1")
        if not np.all((np.asarray(self.acceptance) >= 0) & (np.asarray(self.acceptance) < 1)):
            raise InputError(f"acceptance = {self.acceptance}: expected a share of 0 or more and below 1")
        if not np.all((np.asarray(self.drafts) >= 0) & (np.asarray(self.draft_share) >= 0)):
            raise InputError(f"drafts = {self.drafts}, draft_share = {self.draft_share}: expected 0 or more")
        if self.rate is not None and not np.all(np.asarray(self.rate) > 0):
            raise InputError(f"rate = {self.rate}: expected more than 0 requests a second")


@dataclass(frozen=True)
class Point:
    """An operating point; arrays broadcast."""

    batch: Array  #: sequences decoding at once in a replica
    step: Array  #: a decode step [s]
    prompt: Array  #: a prompt, of the whole replica [s]
    tpot: Array  #: time per output token [s]
    ttft: Array  #: time to first token [s]
    tokens_per_second: Array  #: output tokens of the replica
    tokens_per_second_per_chip: Array


def closed_loop(demand: Demand, c: dict[str, Any]) -> Point:
    """Users with one request each in flight. Others' prompts interrupt tokens; Little's law gives the throughput."""
    batch = demand.admitted(c)
    step = demand.decode(c, batch, demand.input_tokens + demand.output_tokens / 2)
    prompt = demand.prefill(c)
    tpot = step + c["mix"] * np.maximum(batch - 1, 0.0) / demand.output_tokens * prompt
    ttft = demand.first_token(c, batch, step, prompt, tpot)
    users = np.where(np.isfinite(demand.users), demand.users, batch)
    rate = users * demand.output_tokens / (ttft + np.maximum(demand.output_tokens - 1, 0.0) * tpot)
    return Point(*np.broadcast_arrays(batch, step, prompt, tpot, ttft, rate, rate / demand.chips))


def offline(demand: Demand, c: dict[str, Any], limit: float = 2048.0) -> Point:
    """As many sequences as fit, at most `limit`: throughput alone counts, prompts and tokens take turns."""
    batch = np.minimum(demand.admitted(c), limit)
    step = demand.decode(c, batch, demand.input_tokens + demand.output_tokens / 2)
    prompt = demand.prefill(c)
    tpot = step + batch / demand.output_tokens * prompt
    rate = batch / tpot
    return Point(*np.broadcast_arrays(batch, step, prompt, tpot, batch * prompt, rate, rate / demand.chips))


def open_loop(demand: Demand, c: dict[str, Any], rate: Any, iterations: int = 40) -> Point:
    """Poisson arrivals at `rate` a second and replica: the batch solves Little's law; prompts wait as in a queue M/D/1."""
    most = np.maximum(demand.fits * c["admission"], 1.0)
    prompt = demand.prefill(c)
    busy = np.minimum(rate * prompt, 0.98)
    batch = np.minimum(np.full(np.broadcast_shapes(np.shape(most), np.shape(rate)), 16.0), most)
    for _ in range(iterations):
        step = demand.decode(c, batch, demand.input_tokens + demand.output_tokens / 2)
        tpot = step + c["mix"] * np.maximum(batch - 1, 0.0) / demand.output_tokens * prompt
        batch = 0.5 * batch + 0.5 * np.clip(rate * demand.output_tokens * tpot, 1e-3, most)
    wait = busy * prompt / (2 * (1 - busy))
    ttft = (c["first"] + c["turns"] * step + prompt + wait) * c["first_scale"]
    served = np.minimum(rate * demand.output_tokens, batch / tpot)
    return Point(*np.broadcast_arrays(batch, step, prompt, tpot, ttft, served, served / demand.chips))


def percentiles(demand: Demand, point: Point, rate: Any, q: float = 0.99) -> tuple[Any, Any]:
    """Quantiles of time to first token and time per token in the open loop [s].

    The wait of a queue M/D/1 has an exponential tail: W ln(rho / (1 - q)) / rho beyond the mean [1]_. The time per token
    varies with the number of prompts that interrupt it.

    References
    ----------
    .. [1] Kleinrock (1975), "Queueing Systems", volume 1, chapter 5.
    """
    busy = np.minimum(rate * point.prompt, 0.98)
    wait = busy * point.prompt / (2 * (1 - busy))
    tail = wait * np.maximum(np.log(busy / (1 - q)), 0.0) / np.maximum(busy, 1e-9)
    return point.ttft - wait + np.maximum(tail, wait), point.tpot + point.prompt / demand.output_tokens * np.sqrt(
        demand.output_tokens * busy
    )


def disaggregated(prefill: Demand, decode: Demand, c: dict[str, Any], replicas: Any, share: Any) -> Point:
    """Prompts on replicas of their own, so many for each that decodes; `share` of all chips decode. Tokens are never interrupted;
    the cache of a prompt moves over the links of as many chips as both replicas have.
    """
    batch = decode.admitted(c)
    step = decode.decode(c, batch, decode.input_tokens + decode.output_tokens / 2)
    prompt = prefill.prefill(c)
    move = decode.input_tokens * decode.cache_bytes / (np.minimum(prefill.chips, decode.chips) * decode.link)
    ttft = move + prefill.first_token(c, np.maximum(batch / replicas, 1.0), step, prompt, np.maximum(step, prompt / decode.output_tokens))
    rate = np.minimum(batch * decode.output_tokens / (ttft + decode.output_tokens * step), replicas / prompt * decode.output_tokens)
    return Point(*np.broadcast_arrays(batch, step, prompt, step, ttft, rate, rate / decode.chips * share))


@dataclass(frozen=True)
class Serving(Point):
    """Operating point of a replica; arrays broadcast over plan and load. Where `feasible` is False, rates are 0 and times inf."""

    feasible: NDArray[np.bool_]  #: weights and one request fit, and arrivals can be served
    missing_bytes: Array  #: memory that lacks for the weights and one request, whole replica [B]
    tpot_low: Array  #: ends of the 80 % intervals [s]
    tpot_high: Array
    ttft_low: Array
    ttft_high: Array
    rate_low: Array  #: output tokens a second and chip
    rate_high: Array
    ttft_p99: Array  #: 99th percentiles in the open loop [s]; nan in a closed one, whose users all wait alike
    tpot_p99: Array

    @property
    def reason(self) -> NDArray[np.str_]:
        """Why a point is not feasible, in words; empty where it is."""
        unstable = np.where(self.feasible, "", "more requests arrive than are served: the queue is unstable")
        return np.where(self.missing_bytes > 0, "weights and one request do not fit: see missing_bytes", unstable)

    @property
    def tokens_per_second_per_user(self) -> Array:
        """Interactivity: 1 / TPOT [1/s]."""
        return np.where(self.feasible, 1 / self.tpot, 0.0)


def serving(llm: LLM, cluster: Cluster, plan: ServingPlan, load: Load, *, framework: str = "", speed: ArrayLike = 1.0) -> Serving:
    """Latency and throughput of a replica of `llm`.

    A decode step takes the longer of weights (experts that the batch touches) and arithmetic, 30 % of the shorter, the key-value cache,
    collectives over `workbench.fabric`, and overheads of layer, step and sequence [1]_. In a closed loop, others' prompts interrupt tokens.

    Parameters
    ----------
    llm : LLM
    cluster : Cluster
        Its chip and fabric; the number of chips does not matter as long as a replica fits in.
    plan : ServingPlan
    load : Load
    framework : str
        TensorRT-LLM, vLLM or SGLang; the mean of all if not given, with a wider interval.
    speed : array_like
        Of rates over what is predicted: 1, or a draw from its interval.

    Returns
    -------
    Serving

    Raises
    ------
    InputError
        For a replica larger than the cluster, a request longer than the context window, a precision that the chip lacks.

    References
    ----------
    .. [1] Pope et al. (2023), "Efficiently Scaling Transformer Inference", sections 2 and 3.
    """
    s_in, s_out = np.asarray(load.input_tokens, dtype=float), np.asarray(load.output_tokens, dtype=float)
    if np.any(plan.chips > np.asarray(cluster.n_chips)):
        raise InputError(f"a replica of {plan.chips} chips cannot have more chips than the cluster ({cluster.n_chips})")
    if np.any(s_in + s_out > llm.context):
        raise InputError(f"input_tokens + output_tokens exceed the context window of {llm.name}: {llm.context}")
    if not np.all(np.asarray(speed) > 0):
        raise InputError(f"speed = {speed}: expected more than 0")
    if llm.experts_per_token > llm.experts:
        raise InputError(f"{llm.name} sends a token to {llm.experts_per_token} experts and has {llm.experts}")
    cluster.chip.peak(PEAKS[plan.precision])
    origin = Origin(cluster.chip.name, plan.precision, framework, model=calibration.measured_as(llm), mixture=bool(llm.experts))
    c = calibration.constants(origin)
    open_ended = load.rate is not None
    demand = demand_of(llm, cluster, plan, load)
    request = demand.cache_bytes * demand.copies * demand.served.attended(s_in + s_out)
    missing = np.maximum(request - demand.free, 0.0)
    if open_ended:
        point = open_loop(demand, c, np.asarray(load.rate, dtype=float))
        tails = percentiles(demand, point, np.asarray(load.rate, dtype=float))
        fits = (missing <= 0) & (point.tokens_per_second >= 0.999 * np.asarray(load.rate) * s_out)
    else:
        point = closed_loop(demand, c)
        tails = (np.nan, np.nan)
        fits = missing <= 0
    v = np.asarray(speed, dtype=float)
    times, rates = np.where(fits, 1 / v, np.inf), np.where(fits, v, 0.0)
    w = {q: calibration.half_width(q, origin) for q in ("tpot_ms", "ttft_ms", "output_tok_s_per_gpu")}
    tpot, ttft, rate = point.tpot * times, point.ttft * times, point.tokens_per_second_per_chip * rates
    bands = [x * np.exp(sign * w[q]) for x, q in ((tpot, "tpot_ms"), (ttft, "ttft_ms"), (rate, "output_tok_s_per_gpu")) for sign in (-1, 1)]
    tail = [x * times for x in tails]
    batch, total = np.where(fits, point.batch, 0.0), point.tokens_per_second * rates
    values = np.broadcast_arrays(batch, point.step * times, point.prompt * times, tpot, ttft, total, rate, fits, missing, *bands, *tail)
    return Serving(*values)


def demand_of(llm: LLM, cluster: Cluster, plan: ServingPlan, load: Load, chip_rates: Any = (1.0, 1.0, 1.0)) -> Demand:
    """What a replica is asked for, before any constant."""
    return Demand.of(
        Served.of(llm),
        cluster.chip,
        Exchange.of(cluster),
        tp=plan.tp,
        pp=plan.pp,
        attention_dp=plan.attention_dp,
        precision=plan.precision,
        cache_precision=plan.kv_precision,
        users=load.concurrency,
        input_tokens=load.input_tokens,
        output_tokens=load.output_tokens,
        cached_share=load.cached_share,
        drafts=load.drafts,
        acceptance=load.acceptance,
        draft_share=load.draft_share,
        chip_rates=chip_rates,
    )


def serving_speed(chip: Chip, precision: str, model: str = "") -> Cost:
    """Output tokens over what `serving` predicts: 1, with the 80 % interval of what was measured of such a system."""
    width = calibration.half_width("output_tok_s_per_gpu", Origin(chip.name, precision, model=model))
    rows = sum(n for (level, _), n in calibration.shipped().rows.items() if level == "all")
    source = f"{rows:,} published operating points; workbench calibrate serving"
    meaning = "output tokens of a serving system over what is predicted"
    return Cost("serving_speed", 1.0, float(np.exp(-width)), float(np.exp(width)), "1", meaning, source, "80 % interval")
