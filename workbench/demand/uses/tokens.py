"""Tokens asked for: users x tasks x tokens by segment and kind, quarter and future, with growth that fades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from workbench.arrays import Array, broadcast
from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, Rule, takes
from workbench.demand.uses.agents import Tokens
from workbench.errors import InputError
from workbench.units import DAY, HOUR, YEAR

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
