"""Agents: trees of tasks, the three kinds of tokens that they use, the processors that their tools keep busy, and what is given to them.

Tokens are not compute: of a coding agent's tokens 95 to 96 % are read from a cache. Every call reads its whole context, so that reading
grows with the square of the calls of a node, and writing with the calls.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import broadcast
from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, SHARE, Rule, check_fields, takes
from workbench.units import DAY

Array = NDArray[np.float64]

RETRIES = Rule(least=0, below=1)


@dataclass(frozen=True)
class Tokens:
    """Three kinds of tokens; arrays broadcast. `total` is their sum."""

    cached: Array  #: input read from a cache
    fresh: Array  #: input that is computed
    output: Array

    @property
    def total(self) -> Array:
        """All three [tokens]."""
        return self.cached + self.fresh + self.output

    @property
    def fresh_share(self) -> Array:
        """Share of tokens that are computed: fresh input and output; 0 where there are none."""
        computed, total = self.fresh + self.output, self.total
        return np.divide(computed, total, out=np.zeros_like(np.asarray(total, dtype=float)), where=np.asarray(total) > 0)

    def __mul__(self, factor: ArrayLike) -> Tokens:
        """Each kind times `factor`."""
        f = np.asarray(factor, dtype=float)
        return Tokens(self.cached * f, self.fresh * f, self.output * f)

    def checked(self, of: str) -> Tokens:
        """The same as arrays that broadcast, 0 or more; an `InputError` says whose they are (`of`)."""
        kinds = {f"{of}: {f.name}": NOT_NEGATIVE(f"{of}: {f.name}", getattr(self, f.name)) for f in fields(self)}
        broadcast(**kinds)
        return Tokens(*kinds.values())


@dataclass(frozen=True)
class AgentTask:
    """A task as a Galton-Watson tree of nodes, each a loop of model calls and tools; arrays broadcast."""

    tool_calls: ArrayLike  #: of a node, one a model call; the last call answers
    context_start: ArrayLike  #: context that a node begins with [tokens]
    tool_output: ArrayLike  #: what a tool call adds to the context [tokens]
    output: ArrayLike  #: what a model call writes [tokens]
    miss_rate: ArrayLike = 0.0  #: share of calls whose cached context has expired
    shared_prefix: ArrayLike = 0.0  #: share of the first context that other tasks have left in the cache
    branching: ArrayLike = 0.0  #: sub-agents that a node starts, in the mean
    depth: ArrayLike = 0.0  #: levels of sub-agents
    retry_rate: ArrayLike = 0.0  #: share of nodes that are done again

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("tool_calls", "context_start", "tool_output", "output", "branching", "depth"), NOT_NEGATIVE)
        check_fields(self, **counts, miss_rate=SHARE, shared_prefix=SHARE, retry_rate=RETRIES)

    @property
    def nodes(self) -> Array:
        """Nodes of a task, in the mean."""
        return tree_nodes(self.branching, self.depth, self.retry_rate)

    @property
    def calls(self) -> Array:
        """Model calls of a task, in the mean."""
        return self.nodes * (np.asarray(self.tool_calls, dtype=float) + 1)

    def tokens(self) -> Tokens:
        """Tokens of a task, in the mean over trees.

        Call j = 0 .. L - 1 of a node reads x0 + delta j, delta = tool output + output. What call j - 1 read is cached, unless it expired.

        cached = (1 - miss) [(L - 1) x0 + delta (L - 1)(L - 2) / 2] + shared x0; cached + fresh = L x0 + delta L (L - 1) / 2; output = L o
        """
        x0, added, o, miss, shared = (
            np.asarray(x, dtype=float) for x in (self.context_start, self.tool_output, self.output, self.miss_rate, self.shared_prefix)
        )
        n = np.asarray(self.tool_calls, dtype=float) + 1
        delta = added + o
        read = n * x0 + delta * n * (n - 1) / 2
        # (n - 1)(n - 2) is negative between one call and two: a node of a fraction of a tool call carries over its first context alone
        cached = (1 - miss) * ((n - 1) * x0 + delta * np.maximum((n - 1) * (n - 2), 0.0) / 2) + shared * x0
        cached = np.minimum(cached, read)
        return Tokens(*np.broadcast_arrays(cached, read - cached, n * o)) * self.nodes

    def per_call(self) -> Tokens:
        """Tokens of a model call, in the mean over the calls of a task."""
        return self.tokens() * (1 / self.calls)


@takes(branching=NOT_NEGATIVE, depth=NOT_NEGATIVE, retry_rate=RETRIES)
def tree_nodes(branching: ArrayLike, depth: ArrayLike, retry_rate: ArrayLike = 0.0) -> Array:
    """Expected nodes of a tree: (b^(d + 1) - 1) / (b - 1) / (1 - retries); d + 1 at b = 1.

    Parameters
    ----------
    branching : array_like
        Children of a node, in the mean.
    depth : array_like
        Levels below the root.
    retry_rate : array_like
        Share of nodes done again, independently of one another.

    References
    ----------
    .. [1] Harris (1963), "The Theory of Branching Processes", chapter I.
    """
    b, d, again = (np.asarray(x, dtype=float) for x in (branching, depth, retry_rate))
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(b)
        nodes = np.where(b == 1, d + 1, np.expm1((d + 1) * log) / np.expm1(log))
    return np.asarray(nodes / (1 - again))


@takes(spread=NOT_NEGATIVE)
def mean_over_median(spread: ArrayLike) -> Array:
    """Mean over median of a lognormal: e^(s^2 / 2). The mean drives a fleet, the median is what a user sees."""
    return np.exp(np.asarray(spread, dtype=float) ** 2 / 2)


@takes(fraction=SHARE, tail=Rule(above=1, infinite=True, why="at 1 or below, a few customers are all of the use"))
def share_of_top(fraction: ArrayLike, tail: ArrayLike) -> Array:
    """Share of use by the top `fraction` of customers, whose use has a Pareto tail of exponent `tail`: q^(1 - 1 / tail).
    The exponent is above 1, where the mean exists.
    """
    q, a = np.asarray(fraction, dtype=float), np.asarray(tail, dtype=float)
    return np.asarray(q ** (1 - 1 / a))


@dataclass(frozen=True)
class ToolWork:
    """What tools and hosts take beside the chips; arrays broadcast."""

    cores: Array  #: processor cores for tools
    memory: Array  #: held by sandboxes [B]
    host_cores: Array  #: of the chips' own servers
    cores_per_chip: Array  #: all cores over chips
    processors_per_chip: Array  #: the same in sockets: CPU:GPU


@takes(
    calls_per_second=NOT_NEGATIVE,
    chips=POSITIVE,
    cpu_seconds=NOT_NEGATIVE,
    memory_seconds=NOT_NEGATIVE,
    utilisation=Rule(above=0, most=1),
    host_cores_per_chip=NOT_NEGATIVE,
    cores_per_processor=POSITIVE,
)
def tool_work(
    calls_per_second: ArrayLike,
    chips: ArrayLike,
    *,
    cpu_seconds: ArrayLike,
    memory_seconds: ArrayLike,
    utilisation: ArrayLike,
    host_cores_per_chip: ArrayLike,
    cores_per_processor: ArrayLike = 96.0,
) -> ToolWork:
    """Processors and memory that agents' tools need, and the ratio of processors to chips that follows.

    cores = calls/s x core-seconds / utilisation; memory = calls/s x byte-seconds

    Parameters
    ----------
    calls_per_second : array_like
        Tool calls [1/s].
    chips : array_like
        Chips that serve the models behind them.
    cpu_seconds, memory_seconds : array_like
        Of a call [core-s], [B s].
    utilisation : array_like
        Share of cores at work.
    host_cores_per_chip, cores_per_processor : array_like
        Of the chips' servers; of a socket.
    """
    rate, n, cpu, held, busy, host, socket = (
        np.asarray(x, dtype=float)
        for x in (calls_per_second, chips, cpu_seconds, memory_seconds, utilisation, host_cores_per_chip, cores_per_processor)
    )
    cores = rate * cpu / busy
    per_chip = cores / n + host
    return ToolWork(*np.broadcast_arrays(cores, rate * held, host * n, per_chip, per_chip / socket))


@takes(years=FINITE, start=POSITIVE, doubling=Rule(above=0, infinite=True))
def horizon(years: ArrayLike, start: ArrayLike, doubling: ArrayLike) -> Array:
    """Length of the tasks that the best model does half of the time: H0 2^(t / D).

    Parameters
    ----------
    years : array_like
        Since the date of `start`.
    start : array_like
        [h]
    doubling : array_like
        [s]; METR has 129 days since 2023, 188 over all data; inf: it stays.

    References
    ----------
    .. [1] Kwa et al. (2025), "Measuring AI Ability to Complete Long Tasks", arXiv:2503.14499.
    """
    return np.asarray(start, dtype=float) * 2 ** (np.asarray(years, dtype=float) * 365.25 * DAY / np.asarray(doubling, dtype=float))


@takes(horizon_hours=POSITIVE, median_hours=POSITIVE, spread=NOT_NEGATIVE, steepness=POSITIVE, willingness=SHARE)
def delegation_share(
    horizon_hours: ArrayLike, median_hours: ArrayLike, spread: ArrayLike, steepness: ArrayLike, willingness: ArrayLike
) -> Array:
    """Share of tasks that is given to agents: willingness x the mean success over the lengths of tasks.

    Success on a task of length l is 1 / (1 + (l / H)^beta); lengths are lognormal. Their mean is a logistic-normal integral, taken as
    1 / (1 + e^(-k z)), z = beta ln(H / median), k = (1 + pi beta^2 s^2 / 8)^(-1/2), within .01 [1]_.

    Parameters
    ----------
    horizon_hours, median_hours : array_like
        50 % horizon and median length of tasks [h].
    spread : array_like
        Standard deviation of the logarithm of lengths.
    steepness : array_like
        beta.
    willingness : array_like
        Share of what agents could do that they are given, 0 to 1.

    References
    ----------
    .. [1] MacKay (1992), "The Evidence Framework Applied to Classification Networks", Neural Computation 4(5), section 3.
    """
    h, m, s, beta, w = (np.asarray(x, dtype=float) for x in (horizon_hours, median_hours, spread, steepness, willingness))
    z = beta * np.log(h / m) / np.sqrt(1 + np.pi * (beta * s) ** 2 / 8)
    return np.asarray(w / (1 + np.exp(-z)))
