"""How well forecasts did, and how exact the numbers are: what `validation.demand` computes anew each time it is asked."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from workbench import catalogue, uncertainty
from workbench.demand.clearing import clear
from workbench.demand.efficiency import damped_growth

Inputs = dict[str, Any]

#: Inputs of the ratio of demand to supply in a year, by their rows in the table of priors.
TWELVE = (
    "code_agents_2026", "code_agents_growth", "demand_growth_tau", "api_tokens_per_month_2026", "chat_users_2026", "chat_messages_per_day",
    "chat_output", "active_parameters", "serving_software_growth", "efficiency_fade", "frontier_compute_2025", "frontier_growth",
)  # fmt: skip


def coverage_of_models(_: Inputs) -> float:
    raise NotImplementedError


def score_to_beat(_: Inputs) -> float:
    raise NotImplementedError


def gain_of_mean(_: Inputs) -> float:
    raise NotImplementedError


def gain_of_probability(_: Inputs) -> float:
    raise NotImplementedError


def clearing_error(_: Inputs) -> float:
    """Largest relative error of the clearing price of one class against its closed form, and of several against a root finder."""
    from scipy.optimize import brentq

    rng = np.random.default_rng(8)
    demand, supply, elasticity = rng.lognormal(0, 1, (4, 200)), rng.lognormal(1, 1, 200), rng.uniform(0.2, 2, (4, 200))
    found = clear(demand, supply, elasticity, reference_price=2.0).price
    roots = [
        np.exp(brentq(lambda x, d=d, e=e, s=s: np.log((d * np.exp(-e * (x - np.log(2.0)))).sum() / s), -60, 60, xtol=1e-14, rtol=1e-14))
        for d, e, s in zip(demand.T, elasticity.T, supply, strict=True)
    ]
    return float(np.max(np.abs(found / np.array(roots) - 1)))
