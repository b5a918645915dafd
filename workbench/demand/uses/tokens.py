"""Tokens asked for, users x tasks x tokens by segment and kind, quarter and future, and the chips that a stream of them keeps busy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Array, Arrays, broadcast
from workbench.catalogue import LLM
from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, Rule, takes
from workbench.chips import Load, ServingPlan, serving
from workbench.demand.uses.agents import Tokens
from workbench.errors import InputError
from workbench.fabric import Cluster
from workbench.rows import H100E
from workbench.units import DAY, HOUR, YEAR

_SHARE = Rule(above=0, most=1)
#: A time in which growth fades: without end where it never does.
FADE = Rule(above=0, infinite=True)
#: Seconds of a month as companies count tokens by month.
MONTH = YEAR / 12


@dataclass(frozen=True)
class Segment:
    """A kind of use: how many tasks a second at each time, and the tokens of one; arrays broadcast to (quarters, futures)."""

    name: str
    tasks: Array  #: [1/s]
    tokens: Tokens  #: of a task, in the mean
    interactive: bool = True  #: people wait for it; what can wait fills the valleys


def token_demand(segments: Sequence[Segment]) -> Tokens:
    """Tokens asked for of every segment, on common axes (segments, quarters, futures) [tokens/s]."""
    asked = [s.tokens * s.tasks for s in segments]
    shape = np.broadcast_shapes(*(np.shape(t.total) for t in asked), (1, 1))
    return Tokens(*(np.stack([np.broadcast_to(getattr(t, kind), shape) for t in asked]) for kind in ("cached", "fresh", "output")))


@takes(years=Rule(apart=True), chat_users=NOT_NEGATIVE, delegated=NOT_NEGATIVE)
def segments_of(
    given: Mapping[str, ArrayLike], years: ArrayLike, coding_hour: Tokens, *, chat_users: ArrayLike, delegated: ArrayLike = 1.0
) -> tuple[Segment, ...]:
    """The five segments of the workbench: chat, answers above search, coding agents, research agents, other uses over APIs.

    Pictures, sound and video are no tokens: they are `media_share_of_output` of the compute of all text, on top. `given` holds rows of the
    table of priors, (futures,), `years` count from the start of 2026, (quarters,); `coding_hour` is that of a coding agent. Both (quarters,
    futures) are the weekly users and the share of tasks `delegated` to agents over that at the start, which research agents follow.
    """
    t = np.atleast_1d(np.asarray(years, dtype=float))
    if t.ndim > 1:
        raise InputError(f"years of shape {t.shape}: expected one axis, of quarters")
    beside: dict[str, Any] = {"years": t[:, None], "delegated": delegated, "chat_users": chat_users}

    def x(name: str, rule: Rule = NOT_NEGATIVE) -> Array:
        if name not in given:
            raise InputError(f"given: the parameter {name} is missing; its meaning and prior are in demand_priors.csv")
        beside[name] = rule(f"given[{name}]", given[name])
        broadcast(**beside)
        return np.asarray(beside[name])

    growth = damped_growth(beside["years"], x("code_agents_growth", POSITIVE), x("demand_growth_tau", FADE))
    chats = np.asarray(chat_users, dtype=float) * x("chat_messages_per_day") / DAY
    answers = x("search_users_2026") * x("search_answers_per_day") / DAY
    chat = Tokens(x("chat_cached"), x("chat_input"), x("chat_output"))
    if not np.all(chat.total > 0):
        raise InputError("given: chat_cached, chat_input and chat_output are all 0; expected a chat of some tokens")
    api = x("api_tokens_per_month_2026") / MONTH * growth
    return (
        Segment("chat", chats, chat),
        Segment("answers above search", answers, Tokens(np.zeros(1), x("search_input"), x("search_output"))),
        Segment("coding agents", x("code_agents_2026") * growth / HOUR, coding_hour),
        Segment(
            "research agents",
            x("research_agent_tasks_per_day") * growth / DAY * np.asarray(delegated, dtype=float),
            chat * x("research_agent_multiple"),
        ),
        # over an API a token is of one kind as often as in chat: the disclosures do not tell
        Segment("other uses over APIs", api, chat * (1 / chat.total), interactive=False),
    )


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
    h100e: float  #: H100-equivalents of the chip
    feasible: NDArray[np.bool_]
    tokens: Tokens  #: of a call [tokens]

    @property
    def total(self) -> Array:
        """All three [s]."""
        return self.cached + self.fresh + self.output

    @takes(calls_per_second=NOT_NEGATIVE)
    def needed(self, calls_per_second: ArrayLike) -> Tokens:
        """H100-equivalents that a stream of such calls [1/s] keeps busy, by kind of token."""
        broadcast(call=self.total, calls_per_second=calls_per_second)
        return Tokens(self.cached, self.fresh, self.output) * (np.asarray(calls_per_second, dtype=float) * self.h100e)


@takes(concurrency=Rule(least=1, infinite=True))
def chip_seconds(
    llm: LLM, cluster: Cluster, call: Tokens, plan: ServingPlan | None = None, *, concurrency: ArrayLike = np.inf, framework: str = ""
) -> ChipTime:
    """Chip-seconds of a model call, by what `workbench.chips.serving.evaluate` says of a replica.

    Prompts take the replica for the time of their fresh tokens. A decode step takes what it would without a context, which is the output's,
    and on top the time of reading the context, which is the cached and fresh tokens' in proportion to their numbers.

    Parameters
    ----------
    llm, cluster : LLM, Cluster
    call : Tokens
        Of a call: its context is cached + fresh, at most the model's window less the output.
    plan : ServingPlan, optional
        Replica; eight chips in fp8 if not given.
    concurrency : array_like
        Calls in flight a replica; as many as fit if not given: the throughput that no latency limits.
    framework : str
        As `serving`.

    Raises
    ------
    InputError
        As `serving`.

    Examples
    --------
    >>> from workbench import catalogue
    >>> cluster = Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR")
    >>> taken = chip_seconds(catalogue.llm("Llama-3.1-70B"), cluster, Tokens(1000.0, 500.0, 100.0), ServingPlan(4))
    >>> bool(taken.fresh > taken.cached), taken.needed(10.0).total.shape
    (True, ())
    """
    plan = plan or ServingPlan()
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
    return ChipTime(cached_time, fresh_time, output_time, cluster.chip.h100e, full.feasible, call)


@takes(tokens_per_second=NOT_NEGATIVE, active=NOT_NEGATIVE, utilisation=_SHARE, availability=_SHARE)
def h100e_of_flop(tokens_per_second: ArrayLike, active: ArrayLike, utilisation: ArrayLike, *, availability: ArrayLike = 1.0) -> Array:
    """H100-equivalents of tokens that are all computed: tokens x 2 x active parameters / (utilisation x peak).

    An upper bound for agents, whose tokens are mostly cached. Utilisation is the share of the dense fp8 peak while at work, availability
    that of the time in which a chip is in service.
    """
    rate, n, mfu, up = (np.asarray(x, dtype=float) for x in (tokens_per_second, active, utilisation, availability))
    return np.asarray(2 * n * rate / (mfu * up * H100E))
