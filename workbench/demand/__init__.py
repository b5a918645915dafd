"""Demand for compute against its supply: what is wanted, installed and paid, what to order, and how well it was predicted."""

from workbench.demand.bottom_up import bottom_up
from workbench.demand.forecast.scores import scoreboard
from workbench.demand.market.clearing import ElasticDemand, log_law_compute, long_run_cost, survival
from workbench.demand.market.orders import order_plan
from workbench.demand.market.outlook import hindcast, outlook, past
from workbench.demand.uses.agents import agent_hour
from workbench.demand.uses.tokens import chip_seconds
from workbench.demand.uses.training import data_cap, equal_marginal, latency_wall, power_cap

__all__ = [
    "ElasticDemand", "agent_hour", "bottom_up", "chip_seconds", "data_cap", "equal_marginal", "hindcast", "latency_wall", "log_law_compute",
    "long_run_cost", "order_plan", "outlook", "past", "power_cap", "scoreboard", "survival",
]  # fmt: skip
