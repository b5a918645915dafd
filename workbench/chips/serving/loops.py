"""Operating points of a replica: requests in flight, arrivals, as much as fits, prompts on replicas of their own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from workbench.arrays import Array, Arrays
from workbench.chips.serving.work import Demand

#: Use of the prompts' server beyond which a queue counts as that of a run of a few hundred requests: it has not grown to what it tends to.
FULL = 0.95
#: Output tokens below which prompts may take nearly all of the time.
SHORT = 64


@dataclass(frozen=True, repr=False)
class Point(Arrays):
    """An operating point; arrays broadcast."""

    batch: Array  #: sequences decoding at once in a replica
    step: Array  #: a decode step [s]
    prompt: Array  #: a prompt, of the whole replica that works on it [s]
    tpot: Array  #: time per output token [s]
    ttft: Array  #: time to first token [s]
    tokens_per_second: Array  #: output tokens of all replicas
    tokens_per_second_per_chip: Array  #: prefill chips count too


def operate(demand: Demand, prompt: Demand | None, c: dict[str, Any]) -> Point:
    """The operating point of what is asked for: prompts apart, arrivals, as many as fit where nothing limits them, or a closed loop."""
    if prompt is not None:
        return disaggregated(prompt, demand, c)
    if np.any(demand.rate):
        point, limit = open_loop(demand, c), demand.limit
        if not np.any(limit):
            return point
        loop = closed_loop(demand, c)
        return _either(limit & (loop.tokens_per_second < demand.rate * demand.replicas * demand.output_tokens), loop, point)
    endless = np.isinf(demand.concurrency)
    if not np.any(endless):
        return closed_loop(demand, c)
    return _either(endless, offline(demand, c), closed_loop(demand, c))


def _either(where: Any, one: Point, other: Point) -> Point:
    return Point(*(np.where(where, getattr(one, f.name), getattr(other, f.name)) for f in fields(Point)))


def closed_loop(demand: Demand, c: dict[str, Any]) -> Point:
    """So many requests in flight. Others' prompts interrupt tokens; Little's law gives the throughput."""
    batch, prompt = demand.admitted(c), demand.prefill(c)
    step = demand.decode(c, batch, demand.half_way)
    tpot = step + c["mix"] * np.maximum(batch - 1, 0.0) / demand.output_tokens * prompt
    ttft = demand.first_token(c, batch, step, prompt, tpot)
    if np.any(demand.output_tokens < SHORT):  # no later than one after the other: waits and interruptions count a prompt but once
        one = demand.decode(c, np.ones_like(batch), demand.half_way)
        rest = np.maximum(demand.output_tokens - 1, 0.0)
        serial = batch * ((c["first"] + c["turns"] * one + prompt) * c["first_scale"] + rest * one) - rest * tpot
        ttft = np.where((demand.output_tokens < SHORT) & (demand.or_as_many_as(batch) <= batch), np.minimum(ttft, serial), ttft)
    rate = demand.or_as_many_as(batch) * demand.output_tokens / (ttft + np.maximum(demand.output_tokens - 1, 0.0) * tpot)
    return _point(demand, batch, step, prompt, tpot, ttft, rate)


def offline(demand: Demand, c: dict[str, Any], limit: float = 2048.0) -> Point:
    """As many sequences as fit, at most `limit`: throughput alone counts, prompts and tokens take turns."""
    batch, prompt = np.minimum(demand.admitted(c), limit), demand.prefill(c)
    step = demand.decode(c, batch, demand.half_way)
    tpot = step + batch / demand.output_tokens * prompt
    return _point(demand, batch, step, prompt, tpot, batch * prompt, batch / tpot)


def open_loop(demand: Demand, c: dict[str, Any], iterations: int = 40) -> Point:
    """Poisson arrivals at the demand's rate: the batch solves Little's law; prompts wait as in a queue M/D/1."""
    most = np.maximum(demand.fits * c["admission"], 1.0)
    prompt, rate = demand.prefill(c), demand.rate
    busy = np.minimum(rate * prompt, FULL)

    def tokens(batch: Any) -> tuple[Any, Any]:
        step = demand.decode(c, batch, demand.half_way)
        return step, step + c["mix"] * np.maximum(batch - 1, 0.0) / demand.output_tokens * prompt

    low, high = np.broadcast_arrays(np.log(1e-3), np.log(most + 0 * rate))
    for _ in range(iterations):  # more arrive than are in flight below the root, fewer above it
        middle = (low + high) / 2
        fewer = rate * demand.output_tokens * tokens(np.exp(middle))[1] > np.exp(middle)
        low, high = np.where(fewer, middle, low), np.where(fewer, high, middle)
    batch = np.exp(high)
    step, tpot = tokens(batch)
    ttft = (c["first"] + c["turns"] * step + prompt + busy * prompt / (2 * (1 - busy))) * c["first_scale"]
    return _point(demand, batch, step, prompt, tpot, ttft, np.minimum(rate * demand.output_tokens, batch / tpot))


def percentiles(demand: Demand, point: Point, q: float = 0.99) -> tuple[Any, Any]:
    """Quantiles of time to first token and time per token in the open loop [s].

    The wait of a queue M/D/1 has an exponential tail: W ln(rho / (1 - q)) / rho beyond the mean [Kleinrock (1975), "Queueing Systems",
    volume 1, chapter 5]. The time per token varies with the number of prompts that interrupt it.
    """
    busy = np.minimum(demand.rate * point.prompt, FULL)
    wait = busy * point.prompt / (2 * (1 - busy))
    tail = wait * np.maximum(np.log(busy / (1 - q)), 0.0) / np.maximum(busy, 1e-9)
    interrupted = point.prompt / demand.output_tokens * np.sqrt(demand.output_tokens * busy)
    return point.ttft - wait + np.maximum(tail, wait), point.tpot + interrupted


def disaggregated(prefill: Demand, decode: Demand, c: dict[str, Any], iterations: int = 3) -> Point:
    """Prompts on replicas of their own: tokens are never interrupted; the cache of a prompt moves over the links of as many chips as both
    replicas have.

    Of N requests that go round, a prompt with s of work and Z of all else takes R = s (1 + (N - 1) R / (R + Z)) [Schweitzer, 1979].
    """
    most, replicas = decode.admitted(c), prefill.replicas / decode.replicas
    users, batch = decode.or_as_many_as(most), most
    prompt = prefill.prefill(c)
    kept = decode.model.cache_kept(decode.input_tokens) * decode.cache_bytes + decode.model.other.state
    move = kept / (np.minimum(prefill.chips, decode.chips) * decode.link)
    queue = np.maximum(users / replicas, 1.0) * prompt
    for _ in range(iterations):
        step = decode.decode(c, batch, decode.half_way)
        fixed = move + (c["first"] + c["turns"] * step) * c["first_scale"]
        decoding = decode.output_tokens * step
        rest = queue - fixed - decoding
        waits = (rest + np.sqrt(rest**2 + 4 * prompt * (fixed + decoding))) / 2
        turns = np.minimum(users / (fixed + waits + decoding), most / decoding)
        batch = np.clip(turns * decoding, 1e-9, most)
    ttft = np.maximum(fixed + waits, users / turns - decoding)
    return _point(decode, batch, step, prompt, step, ttft, turns * decode.output_tokens, decode.chips + replicas * prefill.chips)


def _point(demand: Demand, batch: Any, step: Any, prompt: Any, tpot: Any, ttft: Any, rate: Any, chips: Any = None) -> Point:
    """Of all replicas from output tokens a second of one, and its chips."""
    per_chip = rate / (demand.chips if chips is None else chips)
    return Point(*np.broadcast_arrays(batch, step, prompt, tpot, ttft, rate * demand.replicas, per_chip))
