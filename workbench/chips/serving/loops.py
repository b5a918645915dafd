"""Operating points of a replica: requests in flight, arrivals, as much as fits, prompts on replicas of their own."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from workbench.arrays import Array, Arrays
from workbench.chips.serving.work import CHUNK, Demand

#: Use of the prompts' server beyond which a queue counts as that of a run of a few hundred requests: it has not grown to what it tends to.
FULL = 0.95
SHORT = 64  #: output tokens below which prompts may take nearly all of the time


@dataclass(frozen=True, repr=False)
class Point(Arrays):
    """An operating point; arrays broadcast."""

    batch: Array  #: sequences decoding at once in a replica
    step: Array  #: a decode step [s]
    prompt: Array  #: a prompt, of the whole replica that works on it [s]
    tpot: Array  #: time per output token [s]
    ttft: Array  #: time to first token [s]
    tokens_per_second: Array  #: output tokens of all replicas [1/s]
    tokens_per_second_per_chip: Array  #: output tokens per chip, those for prefill included [1/s]


def operate(demand: Demand, prompt: Demand | None, c: dict[str, Any]) -> Point:
    """The operating point of what is asked for: prompts apart, arrivals, as many as fit where nothing limits them, or a closed loop."""
    if prompt is not None:
        return disaggregated(prompt, demand, c)
    if np.any(demand.rate):
        point, loop = open_loop(demand, c), closed_loop(demand, c) if np.any(demand.limit) else None
        over = demand.limit & (loop.tokens_per_second < demand.rate * demand.replicas * demand.output_tokens) if loop else None
        return _either(over, loop, point) if loop else point
    endless, loop = np.isinf(demand.concurrency), closed_loop(demand, c)
    return _either(endless, offline(demand, c), loop) if np.any(endless) else loop


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
        serial = batch * ((demand.turn(c, one) + prompt) * c["first_scale"] + rest * one) - rest * tpot
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
    """Poisson arrivals at the demand's rate, of a run of so many requests or without end: those in flight together make a token's time."""
    queue, out = Queue.of(demand, c), demand.output_tokens
    low, high = np.broadcast_arrays(np.log(1e-9), np.log(out * queue.token(np.inf)[1]))
    for _ in range(iterations):  # who decodes for less than the root meets so many that it takes longer, who for more fewer
        middle = (low + high) / 2
        longer = out * queue.token(np.exp(middle))[1] > np.exp(middle)
        low, high = np.where(longer, middle, low), np.where(longer, high, middle)
    time = np.exp(high)
    batch, (step, tpot) = queue.met(time)[0], queue.token(time)
    first, n, rate = (demand.turn(c, step) + queue.prompt + queue.chance) * c["first_scale"], queue.n, demand.rate
    served = np.where(queue.ends, n / (n / rate + queue.wait(1.0) + first + time), np.minimum(rate, batch / time))
    return _point(demand, batch, step, queue.prompt, tpot, first + queue.wait(), served * out)


@dataclass(frozen=True)
class Queue:
    """Arrivals before prompts and the cache, of a run of `n` requests, the first of which finds an empty server, or without end (n = 1).

    By chance prompts of time s wait as in a queue M/D/1: rho s / (2 (1 - rho)); of a run in the mean the sum over j < n of E[max(S_j, 0)]
    (1/j - 1/n), S_j = j s less the time of j arrivals [Spitzer (1956); Asmussen (2003), "Applied Probability and Queues", VIII.4]. Where
    more arrive than are served, each waits longer than the one before: by `late` for prompts, by `full` for the cache.
    """

    demand: Demand
    c: dict[str, Any]
    n: Any
    ends: Any
    most: Any  #: sequences that the cache admits
    prompt: Any
    late: Any
    full: Any = 0.0
    chance: Any = 0.0  #: mean wait of prompts by chance

    @classmethod
    def of(cls, demand: Demand, c: dict[str, Any]) -> Queue:
        """The queue of a demand."""
        ends, rate, prompt = np.isfinite(demand.requests), demand.rate, demand.prefill(c)
        n, most, busy = np.where(ends, demand.requests, 1.0), np.maximum(demand.fits * c["admission"], 1.0), np.minimum(rate * prompt, FULL)
        queue, chance = cls(demand, c, n, ends, most, prompt, np.maximum(prompt - 1 / rate, 0.0)), busy * prompt / (2 * (1 - busy))
        if np.any(ends):
            chance = np.where(ends, np.maximum(_by_chance(n, rate, prompt) - queue.late * (n - 1) / 2, 0.0), chance)
        turn = demand.output_tokens * queue.token(np.inf)[1] / most  # of a place in the cache
        return replace(queue, full=np.maximum(turn - 1 / rate, 0.0), chance=chance)

    def met(self, time: Any) -> tuple[Any, Any]:
        """Sequences that decode beside one that does so for `time`, in the mean over that time; prompts that come in it."""
        over = self.n * np.maximum(1 / self.demand.rate, self.prompt)  # time in which the requests of a run come to decode
        part = np.minimum(time / over, 1.0)
        beside = np.where(time < over, part * (1 - part / 3), 1 - over / np.maximum(time, over) / 3)
        batch, come = (np.where(self.ends, self.n * share, self.demand.rate * time) for share in (beside, part * (1 - part / 2)))
        return np.minimum(batch, self.most), np.minimum(come, self.most)

    def token(self, time: Any) -> tuple[Any, Any]:
        """A step, and a token of a sequence that decodes for `time`. Prompts that wait leave no step without `CHUNK` tokens of them."""
        batch, come = self.met(time)
        step, mix = self.demand.decode(self.c, batch, self.demand.half_way), self.c["mix"] + (1 - self.c["mix"]) * self.late / self.prompt
        return step, step + np.minimum(mix * come / self.demand.output_tokens, CHUNK / self.demand.computed) * self.prompt

    def wait(self, share: Any = None) -> Any:
        """Wait because more arrive than are served, of the request after so large a share of a run; the mean if not given [s]."""
        if share is None:
            return sum(self.wait((i + 0.5) / 32) for i in range(32)) / 32
        before = np.where(self.ends, share * self.n, 0.0)
        return np.maximum(before * self.late, np.maximum(before - self.most, 0.0) * self.full)


def _by_chance(n: Any, rate: Any, prompt: Any, nodes: int = 24) -> Any:
    """Mean wait of a run of `n` arrivals by the sum of `Queue`, as an integral over the logarithm of j."""
    from scipy import special

    x, w = (np.reshape(part, (nodes,) + (1,) * np.ndim(n * rate * prompt)) for part in np.polynomial.legendre.leggauss(nodes))
    half = np.log(2 * n - 1) / 2
    j = np.exp(half * (x + 1)) / 2
    late = j * (prompt * special.gammainc(j, rate * prompt * j) - special.gammainc(j + 1, rate * prompt * j) / rate)
    return np.sum(w * half * late * (1 - j / n), axis=0)


def percentiles(demand: Demand, point: Point, c: dict[str, Any], q: float = 0.99) -> tuple[Any, Any]:
    """Quantiles of time to first token and time per token in the open loop [s].

    The wait of a queue M/D/1 has an exponential tail: W ln(rho / (1 - q)) / rho beyond the mean [Kleinrock (1975), "Queueing Systems",
    volume 1, chapter 5]; that of an overload grows with the requests of a run. The time per token varies with the number of prompts that
    interrupt it, of a run from all that follow the first to none that follow the last.
    """
    queue = Queue.of(demand, c)
    busy = np.minimum(demand.rate * point.prompt, np.where(queue.ends, 1.0, FULL))
    tail = queue.chance * np.maximum(np.log(busy / (1 - q)) / np.maximum(busy, 1e-9), 1.0)
    batch, come = queue.met(point.tpot * demand.output_tokens)
    first = c["mix"] * np.where(queue.ends, np.minimum(2 * (batch - come), queue.most), 0.0)
    interrupted = point.prompt / demand.output_tokens * np.maximum(np.sqrt(demand.output_tokens * busy), first)
    return point.ttft - queue.chance - queue.wait() + tail + queue.wait(q), point.tpot + interrupted


def disaggregated(prefill: Demand, decode: Demand, c: dict[str, Any], iterations: int = 3) -> Point:
    """Prompts on replicas of their own never interrupt tokens; the cache of one moves over the links of as many chips as both have.

    Of N requests that go round, a prompt with s of work and Z of all else takes R = s (1 + (N - 1) R / (R + Z)) [Schweitzer, 1979].
    """
    most, replicas = decode.admitted(c), prefill.replicas / decode.replicas
    users, batch = decode.or_as_many_as(most), most
    prompt = prefill.prefill(c)
    kept = decode.model.cache_kept(decode.input_tokens) * decode.cache_bytes + decode.model.other.state
    move = kept / (np.minimum(prefill.chips, decode.chips) * decode.link)
    each = np.maximum(users / replicas, 1.0)
    queue, start = each * prompt, move + prefill.burst(c, each) * prompt
    for _ in range(iterations):
        step = decode.decode(c, batch, decode.half_way)
        fixed = start + prefill.turn(c, step) * c["first_scale"]
        decoding = decode.output_tokens * step
        rest = queue - fixed - decoding
        waits = (rest + np.sqrt(rest**2 + 4 * prompt * (fixed + decoding))) / 2
        turns = np.minimum(users / (fixed + waits + decoding), most / decoding)
        batch = np.clip(turns * decoding, 1e-9, most)
    ttft = np.maximum(fixed + waits, users / turns - decoding)
    return _point(decode, batch, step, prompt, step, ttft, turns * decode.output_tokens, decode.chips + replicas * prefill.chips)


def _point(demand: Demand, batch: Any, step: Any, prompt: Any, tpot: Any, ttft: Any, rate: Any, chips: Any = None) -> Point:
    """Of all replicas from output tokens per second of one, and its chips."""
    per_chip = rate / (demand.chips if chips is None else chips)
    return Point(*np.broadcast_arrays(batch, step, prompt, tpot, ttft, rate * demand.replicas, per_chip))
