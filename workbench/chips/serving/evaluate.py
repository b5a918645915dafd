"""Latency and throughput of serving a model: users in flight, arrivals, as much as fits, prompts together with answers or apart."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import broadcast
from workbench.catalogue import LLM, Chip, Cost
from workbench.checks import COUNT, NOT_NEGATIVE, POSITIVE, Rule, check_fields, takes
from workbench.chips.exchange import Exchange
from workbench.chips.serving import constants as calibration
from workbench.chips.serving.constants import Origin
from workbench.chips.serving.work import BYTES, PEAKS, Demand, Served
from workbench.chips.training.plan import first_true, one_format
from workbench.errors import InputError
from workbench.fabric import Cluster

Array = NDArray[np.float64]
#: Why an operating point cannot be, in the order of the tests. 0 is one that can.
REASONS = (
    "",
    "replica larger than the cluster",
    "tp does not divide the attention heads",
    "the key-value heads are neither a multiple nor a divisor of tp",
    "pp is more than the layers",
    "beyond the context window",
    "weights and one request do not fit: see missing_bytes",
    "more requests arrive than are served: the queue is unstable",
)


@dataclass(frozen=True)
class ServingPlan:
    """How a replica is laid out: `tp` x `pp` x `attention_dp` chips hold the weights once; experts are spread over all of them."""

    tp: ArrayLike = 8  #: tensor parallel degree
    precision: str = "fp8"  #: of the weights
    kv_precision: str = "fp8"  #: of the key-value cache
    pp: ArrayLike = 1  #: pipeline stages
    attention_dp: ArrayLike = 1  #: groups that share the experts and split the sequences

    def __post_init__(self) -> None:
        one_format("precision", self.precision, BYTES)
        one_format("kv_precision", self.kv_precision, BYTES)
        check_fields(self, tp=COUNT, pp=COUNT, attention_dp=COUNT)

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
        tokens, below_one = Rule(least=1), Rule(least=0, below=1)
        check_fields(
            self,
            concurrency=Rule(least=1, infinite=True),
            input_tokens=tokens,
            output_tokens=tokens,
            cached_share=below_one,
            rate=POSITIVE,
            drafts=NOT_NEGATIVE,
            acceptance=below_one,
            draft_share=NOT_NEGATIVE,
        )


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
    """Operating point of a replica; arrays broadcast over plan, load and chips. Where `feasible` is False, rates are 0 and times inf."""

    feasible: NDArray[np.bool_]  #: the layout can be, weights and one request fit, and arrivals can be served
    why: NDArray[np.int8]  #: position in `serving.REASONS` of the rule that is broken, 0 where none
    missing_bytes: Array  #: memory that lacks for the weights and one request, whole replica [B]
    tpot_low: Array  #: ends of the 80 % intervals [s]
    tpot_high: Array
    ttft_low: Array
    ttft_high: Array
    rate_low: Array  #: output tokens a second and chip
    rate_high: Array
    ttft_p99: Array | None = None  #: 99th percentiles in the open loop [s]; None in a closed one, of which the model says means alone
    tpot_p99: Array | None = None

    @property
    def reason(self) -> NDArray[np.str_]:
        """Why a point is not feasible, in words; empty where it is."""
        return np.array(REASONS)[self.why]

    @property
    def tokens_per_second_per_user(self) -> Array:
        """Interactivity: 1 / TPOT [1/s]."""
        return np.where(self.feasible, 1 / self.tpot, 0.0)


@takes(speed=POSITIVE)
def serving(llm: LLM, cluster: Cluster, plan: ServingPlan, load: Load, *, framework: str = "", speed: ArrayLike = 1.0) -> Serving:
    """Latency and throughput of a replica of `llm`.

    A decode step takes the longer of weights (experts that the batch touches) and arithmetic, 30 % of the shorter, the key-value cache,
    collectives over `workbench.fabric`, and overheads of layer, step and sequence [1]_. In a closed loop, others' prompts interrupt tokens.

    Parameters
    ----------
    llm : LLM
    cluster : Cluster
        Its chip and fabric; the number of chips does not matter as long as a replica fits in. May be an array.
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
        For arrays that do not broadcast, a precision that the chip lacks, a model with fewer experts than a token visits.

    References
    ----------
    .. [1] Pope et al. (2023), "Efficiently Scaling Transformer Inference", sections 2 and 3.
    """
    broadcast(n_chips=cluster.n_chips, speed=speed, **numbers_of(plan, load))
    if llm.experts_per_token > llm.experts:
        raise InputError(f"{llm.name} sends a token to {llm.experts_per_token} experts and has {llm.experts}")
    cluster.chip.peak(PEAKS[plan.precision])
    origin = Origin(cluster.chip.name, plan.precision, framework, model=calibration.measured_as(llm), mixture=bool(llm.experts))
    c = calibration.constants(origin)
    demand = demand_of(llm, cluster, plan, load)
    missing = missing_bytes(demand)
    why = why_not(llm, cluster, plan, load, missing)
    tails: dict[str, Array] = {}
    if load.rate is None:
        point = closed_loop(demand, c)
    else:
        asked = np.asarray(load.rate, dtype=float)
        point = open_loop(demand, c, asked)
        tails = dict(zip(("ttft_p99", "tpot_p99"), percentiles(demand, point, asked), strict=True))
        behind = point.tokens_per_second < 0.999 * asked * demand.output_tokens
        why = np.where((why == 0) & behind, np.int8(len(REASONS) - 1), why)
    can, v = why == 0, np.asarray(speed, dtype=float)
    times, rates = np.where(can, 1 / v, np.inf), np.where(can, v, 0.0)
    values = {
        "batch": np.where(can, point.batch, 0.0),
        "tokens_per_second": point.tokens_per_second * rates,
        "tokens_per_second_per_chip": point.tokens_per_second_per_chip * rates,
        **{name: getattr(point, name) * times for name in ("step", "prompt", "tpot", "ttft")},
        **{name: tail * times for name, tail in tails.items()},
    }
    bands = (("tpot", "tpot", "tpot_ms"), ("ttft", "ttft", "ttft_ms"), ("rate", "tokens_per_second_per_chip", "output_tok_s_per_gpu"))
    for band, name, quantity in bands:
        width = calibration.half_width(quantity, origin)
        values |= {f"{band}_low": values[name] * np.exp(-width), f"{band}_high": values[name] * np.exp(width)}
    values |= {"feasible": can, "why": why, "missing_bytes": missing}
    return Serving(**dict(zip(values, np.broadcast_arrays(*values.values()), strict=True)))


def missing_bytes(demand: Demand) -> Any:
    """Memory that lacks for the weights and one request, whole replica [B]; 0 where they fit."""
    request = demand.cache_bytes * demand.copies * demand.served.attended(demand.input_tokens + demand.output_tokens)
    return np.maximum(request - demand.free, 0.0)


def why_not(llm: LLM, cluster: Cluster, plan: ServingPlan, load: Load, missing: Any) -> Any:
    """Position in `REASONS` of the first rule that each point breaks, 0 where none; the queue is not tested here.

    Engines split attention heads evenly over tensor-parallel ranks, and key-value heads evenly, or each over whole groups of ranks; with
    latent attention every rank holds the one cache. A pipeline's stages may be uneven.
    """
    tp = np.asarray(plan.tp, dtype=float)
    tests = (
        plan.chips > np.asarray(cluster.n_chips),
        llm.heads % tp != 0,
        (llm.kv_lora_rank is None) & (llm.kv_heads % tp != 0) & (tp % llm.kv_heads != 0),
        np.asarray(plan.pp) > llm.layers,
        np.asarray(load.input_tokens) + np.asarray(load.output_tokens) > llm.context,
        missing > 0,
    )
    return first_true(tests)


def numbers_of(*parts: ServingPlan | Load) -> dict[str, Any]:
    """What of plan and load may be an array, by name."""
    return {f.name: value for x in parts for f in fields(x) if not isinstance(value := getattr(x, f.name), str | None)}


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
    one_format("precision", precision, BYTES)
    width = calibration.half_width("output_tok_s_per_gpu", Origin(chip.name, precision, model=model))
    rows = sum(n for (level, _), n in calibration.shipped().rows.items() if level == "all")
    source = f"{rows:,} published operating points; workbench calibrate serving"
    meaning = "output tokens of a serving system over what is predicted"
    return Cost("serving_speed", 1.0, float(np.exp(-width)), float(np.exp(width)), "1", meaning, source, "80 % interval")
