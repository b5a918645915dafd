"""The chips that a stream of tokens keeps busy, by kind of token, and growth that fades.

An H100-equivalent is a unit of dense fp8 peak, 1,979 TFLOP/s, where work is bound by computing: training and prompts. Decoding is bound by
memory: there it is a unit of bandwidth, 3.35 TB/s. A GB200 is 2.53 of the first and 2.39 of the second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Array, Arrays, broadcast
from workbench.catalogue import LLM
from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, Rule, takes
from workbench.chips import Load, ServingPlan, serving
from workbench.demand.uses.agents import Tokens
from workbench.fabric import Cluster
from workbench.rows import H100E

_SHARE = Rule(above=0, most=1)
FADE = Rule(above=0, infinite=True)  #: a time in which growth fades: without end where it never does
H100_BANDWIDTH = 3.35e12  #: of memory, a unit where work is bound by it [B/s]


def fading(years: Array, fade: Array) -> Array:
    """Years for which growth at its first pace would bring as much as growth that fades brings in `years`: tau (1 - e^(-t / tau))."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(fade), years, -fade * np.expm1(-years / fade))


@takes(years=FINITE, factor=POSITIVE, fade=FADE)
def damped_growth(years: ArrayLike, factor: ArrayLike, fade: ArrayLike = np.inf) -> Array:
    """What has grown by a yearly `factor` at first, over its start: exp(ln(factor) tau (1 - e^(-t / tau))), tau = `fade` [yr]."""
    return np.exp(np.log(np.asarray(factor)) * fading(np.asarray(years), np.asarray(fade)))


@dataclass(frozen=True, repr=False)
class ChipTime(Arrays):
    """Chip-seconds of a model call by kind of token; arrays broadcast. Where `feasible` is False (as of `serving`) they are inf."""

    cached: Array  #: reading the keys and values of cached tokens while writing [s]
    fresh: Array  #: computing prompts [s]
    output: Array  #: writing [s]
    h100e: float  #: H100-equivalents of the chip where work is bound by computing
    h100e_decode: float  #: where it is bound by memory
    feasible: NDArray[np.bool_]
    tokens: Tokens  #: of a call [tokens]

    @property
    def total(self) -> Array:
        """All three [s]."""
        return self.cached + self.fresh + self.output

    @takes(calls_per_second=NOT_NEGATIVE)
    def needed(self, calls_per_second: ArrayLike) -> Tokens:
        """H100-equivalents that a stream of such calls [1/s] keeps busy, by kind of token: fp8 peak for fresh input, else bandwidth."""
        broadcast(call=self.total, calls_per_second=calls_per_second)
        times = np.asarray(calls_per_second, dtype=float)
        by_memory = times * self.h100e_decode
        return Tokens(self.cached * by_memory, self.fresh * times * self.h100e, self.output * by_memory)


@takes(concurrency=Rule(least=1, infinite=True))
def chip_seconds(
    llm: LLM | str | Path, cluster: Cluster, call: Tokens, plan: ServingPlan | None = None, *, concurrency: ArrayLike = np.inf,
    framework: str = "",
) -> ChipTime:  # fmt: skip
    """Chip-seconds of a model call, by `workbench.chips.serving.evaluate` of a replica.

    Prompts take the replica for the time of their fresh tokens. A decode step takes what it would without a context, which is the output's,
    and on top the time of reading the context, which is the cached and fresh tokens' in proportion to their numbers.

    Parameters
    ----------
    llm, cluster : LLM, its name or the path of its config.json; Cluster
    call : Tokens
        Of a call: its context is cached + fresh, at most the model's window less the output.
    plan : ServingPlan, optional
        Replica; eight chips in fp8 if not given.
    concurrency : array_like
        Calls in flight per replica; as many as fit if not given: the throughput that no latency limits.
    framework : str
        As `serving`.

    Raises
    ------
    InputError
        As `serving`.

    Examples
    --------
    >>> taken = chip_seconds("Llama-3.1-70B", Cluster("H100", 64), Tokens(1000.0, 500.0, 100.0), ServingPlan(4))
    >>> bool(taken.fresh > taken.cached), taken.needed(10.0).total.shape
    (True, ())
    """
    llm, plan = catalogue.llm(llm), plan or ServingPlan()
    call = call.checked("call")
    fresh, cached, output = call.fresh, call.cached, call.output
    broadcast(call=call.total, concurrency=concurrency)
    context = np.maximum(fresh + cached, 1.0)
    wrote = np.maximum(output, 1.0)
    load = Load(concurrency, context, wrote, np.minimum(cached / context, 1 - 1e-9))
    full = serving(llm, cluster, plan, load, framework=framework)
    batch = np.maximum(full.batch, 1.0)  # once more as so many in flight: both are of one measured system then
    full = replace(serving(llm, cluster, plan, replace(load, concurrency=batch), framework=framework), feasible=full.feasible)
    bare = serving(llm, cluster, plan, replace(load, concurrency=batch, input_tokens=1.0, prefix_hit_rate=0.0), framework=framework)
    seconds = plan.chips * wrote / batch
    reading = np.where(full.feasible, np.maximum(full.step - np.where(full.feasible, bare.step, 0.0), 0.0), 0.0) * seconds
    prompt = plan.chips * full.prompt * (fresh > 0)
    kinds = (reading * cached / context, prompt + reading * fresh / context, bare.step * seconds * (output > 0))
    cached_time, fresh_time, output_time = np.broadcast_arrays(*(np.where(full.feasible, kind, np.inf) for kind in kinds))
    decode = float(cluster.chip.hbm_bandwidth) / H100_BANDWIDTH
    return ChipTime(cached_time, fresh_time, output_time, cluster.chip.h100e, decode, full.feasible, call)


@takes(tokens_per_second=NOT_NEGATIVE, active=NOT_NEGATIVE, utilisation=_SHARE, availability=_SHARE)
def h100e_of_flop(tokens_per_second: ArrayLike, active: ArrayLike, utilisation: ArrayLike, *, availability: ArrayLike = 1.0) -> Array:
    """H100-equivalents of tokens that are all computed: tokens x 2 x active parameters / (utilisation x peak).

    An upper bound for agents, whose tokens are mostly cached. Utilisation is of the dense fp8 peak at work, availability of the time.
    """
    rate, n, mfu, up = (np.asarray(x, dtype=float) for x in (tokens_per_second, active, utilisation, availability))
    return np.asarray(2 * n * rate / (mfu * up * H100E))
