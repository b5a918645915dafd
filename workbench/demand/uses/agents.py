"""Agents: the three kinds of tokens of their tasks, the processors that their tools keep busy, and what is given to them.

Tokens are not compute: of a coding agent's tokens 95 to 96 % are read from a cache. Every call reads its whole context, so that reading
grows with the square of the calls of a task, and writing with the calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from workbench import catalogue
from workbench.arrays import Array, ArrayLike, Arrays, broadcast
from workbench.checks import NOT_NEGATIVE, POSITIVE, SHARE, Rule, takes
from workbench.errors import InputError
from workbench.units import HOUR, YEAR

CORES_PER_SOCKET = 96.0
#: What was fitted to traces of coding agents, and what each parameter may be.
FITTED = {
    "agent_turns": Rule(least=1), "agent_context_start": NOT_NEGATIVE, "agent_tool_output": NOT_NEGATIVE, "agent_output": NOT_NEGATIVE,
    "agent_miss_rate": SHARE, "agent_calls_per_hour": NOT_NEGATIVE,
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Tokens(Arrays):
    """Three kinds of tokens; arrays broadcast."""

    cached: Array  #: input read from a cache [tokens]
    fresh: Array  #: input that is computed [tokens]
    output: Array  #: [tokens]

    @property
    def total(self) -> Array:
        """All three [tokens]."""
        return self.cached + self.fresh + self.output

    def __mul__(self, factor: ArrayLike) -> Tokens:
        """Each kind times `factor`."""
        f = np.asarray(factor, dtype=float)
        return Tokens(self.cached * f, self.fresh * f, self.output * f)

    def checked(self, of: str) -> Tokens:
        """The same as arrays that broadcast, 0 or more; an `InputError` says whose they are (`of`)."""
        kinds = {f"{of}: {f.name}": NOT_NEGATIVE(f"{of}: {f.name}", getattr(self, f.name)) for f in fields(self)}
        broadcast(**kinds)
        return Tokens(*kinds.values())


def task_tokens(turns: ArrayLike, context_start: ArrayLike, tool_output: ArrayLike, output: ArrayLike, miss_rate: ArrayLike) -> Tokens:
    """Tokens of a task, a loop of L model calls, all but the last with a tool call behind it.

    Call j = 0 .. L - 1 reads x0 + delta j: the context at the start and, of each call before, tool output + output. What call j - 1 read is
    cached, unless it expired:  cached = (1 - miss) [(L - 1) x0 + delta (L - 1)(L - 2) / 2]; cached + fresh = L x0 + delta L (L - 1) / 2.
    """
    n, x0, added, o, miss = (np.asarray(x, dtype=float) for x in (turns, context_start, tool_output, output, miss_rate))
    delta = added + o
    read = n * x0 + delta * n * (n - 1) / 2
    # (n - 1)(n - 2) is negative between one call and two: a task of a fraction of a tool call carries over its first context alone
    cached = np.minimum((1 - miss) * ((n - 1) * x0 + delta * np.maximum((n - 1) * (n - 2), 0.0) / 2), read)
    return Tokens(*np.broadcast_arrays(cached, read - cached, n * o))


def fitted() -> dict[str, float]:
    """Values of `FITTED` for all traces."""
    return dict(catalogue.table("calibration/agents").select("parameter", "value").iter_rows())


@takes()
def agent_hour(values: Mapping[str, ArrayLike] | None = None) -> tuple[Array, Tokens]:
    """Model calls and tokens of an hour of a coding agent.

    Parameters
    ----------
    values : mapping of str to array_like, optional
        Of the parameters `FITTED`: tokens, turns of a task, share of calls that find no cache, model calls per hour. If not given, those
        fitted to all traces by least squares of logarithms with priors (table ``calibration/agents``).

    Raises
    ------
    InputError
        For a parameter that is missing or out of range, or arrays that do not broadcast.

    Examples
    --------
    >>> calls, tokens = agent_hour()
    >>> round(float(calls)), round(float(tokens.total) / 1e6), round(float(tokens.cached / tokens.total), 3)
    (142, 31, 0.957)
    """
    values = fitted() if values is None else values
    if missing := FITTED.keys() - values.keys():
        raise InputError(f"values: the parameter {min(missing)} is missing")
    x = {name: np.asarray(rule(f"values[{name}]", values[name])) for name, rule in FITTED.items()}
    broadcast(**x)
    *task, calls = x.values()
    return calls, task_tokens(*task) * (1 / x["agent_turns"]) * calls


@dataclass(frozen=True, repr=False)
class ToolWork(Arrays):
    """What tools and hosts take beside the chips; arrays broadcast."""

    cores: Array  #: processor cores for tools
    memory: Array  #: held by sandboxes [B]
    cores_per_chip: Array  #: with those of the chips' own servers
    processors_per_chip: Array  #: the same in sockets: CPU:GPU


@takes(
    **dict.fromkeys(("calls_per_second", "cpu_seconds", "memory_seconds", "host_cores_per_chip"), NOT_NEGATIVE),
    chips=POSITIVE, utilisation=Rule(above=0, most=1),
)  # fmt: skip
def tool_work(
    calls_per_second: ArrayLike, chips: ArrayLike, *, cpu_seconds: ArrayLike, memory_seconds: ArrayLike, utilisation: ArrayLike,
    host_cores_per_chip: ArrayLike,
) -> ToolWork:  # fmt: skip
    """Processors and memory that agents' tools need: cores = calls/s x core-seconds / share at work, memory = calls/s x byte-seconds.

    A call of a tool takes `cpu_seconds` [core-s] and `memory_seconds` [B s]; `chips` serve the models behind them.
    """
    rate, n, cpu, held, busy = map(np.asarray, (calls_per_second, chips, cpu_seconds, memory_seconds, utilisation))
    cores = rate * cpu / busy
    per_chip = cores / n + np.asarray(host_cores_per_chip)
    return ToolWork(*np.broadcast_arrays(cores, rate * held, per_chip, per_chip / CORES_PER_SOCKET))


@dataclass(frozen=True, repr=False)
class Sessions(Arrays):
    """Agents as sessions x turns x tokens; arrays broadcast."""

    started: Array  #: sessions [1/s]
    calls: Array  #: model calls, of which each but the last has a tool call behind it [1/s]
    at_work: Array  #: agents at work at once, in the mean
    tokens: Tokens  #: [tokens/s]


@takes(run_rate_usd=NOT_NEGATIVE, usd_per_million_output=POSITIVE, input_ratio=NOT_NEGATIVE, cached_ratio=NOT_NEGATIVE)
def agent_sessions(
    run_rate_usd: ArrayLike, usd_per_million_output: ArrayLike, *, input_ratio: ArrayLike = 0.2, cached_ratio: ArrayLike = 0.02
) -> Sessions:
    """Sessions that a disclosed run rate of agents [USD/yr] pays for at a price of a million tokens of output [USD].

    Sessions = run rate / price of a session; a session is a task of L turns and the tokens of `task_tokens`; its price is that of its
    output and, as list prices have it, a fifth of that for fresh input and a fiftieth for cached (`input_ratio`, `cached_ratio`).

    >>> round(float(agent_sessions(40e9, 12.0).at_work), -4)
    390000.0
    """
    values = fitted()
    calls_per_hour, hour = agent_hour(values)
    broadcast(run_rate_usd=run_rate_usd, usd_per_million_output=usd_per_million_output, hour=hour.total)
    usd = np.asarray(usd_per_million_output, dtype=float) / 1e6
    hourly = usd * (hour.output + hour.fresh * np.asarray(input_ratio) + hour.cached * np.asarray(cached_ratio))
    at_work = np.asarray(run_rate_usd, dtype=float) / (YEAR / HOUR) / hourly
    calls = at_work * calls_per_hour / HOUR
    return Sessions(calls / values["agent_turns"], calls, at_work, hour * (at_work / HOUR))
