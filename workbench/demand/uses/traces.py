"""What traces of agents show, and the agent fitted to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import broadcast
from workbench.checks import NOT_NEGATIVE, SHARE, Rule, number
from workbench.demand.uses.agents import AgentTask, Tokens
from workbench.errors import InputError

Array = NDArray[np.float64]

#: Names under which the table of multipliers holds a trace, in the order of the columns of `traces`.
TRACE = {
    "calls": "{}_model_calls_per_agent_hour",
    "cached": "{}_pooled_cached_input_tokens_per_agent_hour",
    "fresh": "{}_pooled_non_read_input_tokens_per_agent_hour",
    "output": "{}_pooled_output_tokens_per_agent_hour",
}

#: What the fit moves: names of the priors and the arguments of `AgentTask` (calls an hour apart).
FITTED = {
    "agent_context_start": "context_start",
    "agent_turns": "tool_calls",
    "agent_tool_output": "tool_output",
    "agent_output": "output",
    "agent_miss_rate": "miss_rate",
    "agent_calls_per_hour": "",
}
SPREAD = 0.2  #: of the logarithm of what two traces of the same kind of agent show an hour


def agent_hour(values: dict[str, Any]) -> tuple[Array, Tokens]:
    """Model calls and tokens of an hour of a coding agent, from values of the parameters `FITTED`."""
    if missing := FITTED.keys() - values.keys():
        raise InputError(f"values: the parameter {min(missing)} is missing")
    rules = {"agent_turns": Rule(least=1), "agent_miss_rate": SHARE}
    x = {name: np.asarray(rules.get(name, NOT_NEGATIVE)(f"values[{name}]", values[name])) for name in FITTED}
    broadcast(**x)
    x["agent_turns"] = x["agent_turns"] - 1
    calls = x["agent_calls_per_hour"]
    return calls, AgentTask(**{arg: x[name] for name, arg in FITTED.items() if arg}).per_call() * calls


@dataclass(frozen=True)
class AgentFit:
    """Parameters of a coding agent fitted to traces, with the spread of their logarithm."""

    values: dict[str, float]
    errors: dict[str, float]

    def frame(self) -> pl.DataFrame:
        """parameter, value, error."""
        return pl.DataFrame({"parameter": list(self.values), "value": list(self.values.values()), "error": list(self.errors.values())})


def traces() -> dict[str, Array]:
    """Model calls, cached, fresh and output tokens of an agent-hour, by trace (TraceLab, WEKA)."""
    known = dict(catalogue.table("multipliers").select("id", "value").iter_rows())
    names = [i.split("_")[0] for i in known if i.endswith("_model_calls_per_agent_hour")]
    return {name: np.array([known[form.format(name)] for form in TRACE.values()]) for name in names}


def priors() -> dict[str, tuple[float, float]]:
    """5 and 95 % points of each of `FITTED`."""
    table = catalogue.table("demand_priors").filter(pl.col("name").is_in(list(FITTED)))
    return {name: (low, high) for name, low, high in table.select("name", "p5", "p95").iter_rows()}


def coding_agent() -> AgentFit:
    """The coding agent as fitted to all traces (table ``calibration/agents``)."""
    table = catalogue.table("calibration/agents")
    return AgentFit(*(dict(zip(table["parameter"], table[column], strict=True)) for column in ("value", "error")))


def leave_one_out() -> pl.DataFrame:
    """Every trace predicted by an agent fitted to the others: trace, quantity, measured, predicted, error in percent."""
    seen = traces()
    rows = []
    for name, hour in seen.items():
        calls, tokens = agent_hour(fit_agent([x for other, x in seen.items() if other != name], priors()).values)
        found = [float(x) for x in (calls, tokens.cached, tokens.fresh, tokens.output, tokens.fresh_share)]
        measured = [*map(float, hour), float(hour[2:].sum() / hour[1:].sum())]
        for quantity, m, p in zip((*TRACE, "fresh share"), measured, found, strict=True):
            rows.append({"trace": name, "quantity": quantity, "measured": m, "predicted": p, "error_percent": 100 * (p / m - 1)})
    return pl.DataFrame(rows)


def fit_agent(traces: ArrayLike, priors: dict[str, tuple[float, float]]) -> AgentFit:
    """Parameters of a coding agent from traces: least squares of logarithms, with priors.

    Parameters
    ----------
    traces : array_like, shape (n, 4)
        Model calls, cached, fresh and output tokens of an agent-hour.
    priors : dict of str to (float, float)
        5 and 95 % points of each of `FITTED`.

    Returns
    -------
    AgentFit
        Errors are those of the curvature at the minimum.

    Raises
    ------
    InputError
        For traces that are not positive, or priors whose points do not rise from above 0.
    """
    from scipy.optimize import least_squares

    seen = np.atleast_2d(number("traces", traces, above=0))
    if seen.ndim > 2 or seen.shape[1] != 4:
        raise InputError(f"traces of shape {seen.shape}: expected rows of calls, cached, fresh and output tokens an hour")
    ends = np.log(number("priors", [priors[name] for name in FITTED], above=0))
    if ends.shape != (len(FITTED), 2) or not np.all(ends[:, 0] < ends[:, 1]):
        raise InputError(f"priors = {priors}: expected a low and a high point of each parameter")
    middle, width = ends.mean(axis=1), (ends[:, 1] - ends[:, 0]) / (2 * 1.6449)

    def residuals(x: Array) -> Array:
        calls, tokens = agent_hour(dict(zip(FITTED, np.exp(x), strict=True)))
        hour = np.log(np.array([calls, tokens.cached, tokens.fresh, tokens.output], dtype=float))
        return np.concatenate([((hour - np.log(seen)) / SPREAD).ravel(), (x - middle) / width])

    found = least_squares(residuals, middle)
    errors = np.sqrt(np.diag(np.linalg.inv(found.jac.T @ found.jac)))
    return AgentFit(dict(zip(FITTED, map(float, np.exp(found.x)), strict=True)), dict(zip(FITTED, map(float, errors), strict=True)))
