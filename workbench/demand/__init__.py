"""Demand for compute against its supply: what is asked for, what stands, what clears, what to order, how well it was foretold."""

from workbench.demand.bottom_up import USES, bottom_up
from workbench.demand.forecast.history import year
from workbench.demand.forecast.scores import scoreboard
from workbench.demand.market.clearing import clear, demand_at, jevons, log_law_compute, value_exponent
from workbench.demand.market.loop import simulate
from workbench.demand.market.orders import order_plan, real_option
from workbench.demand.market.outlook import drivers, hindcast, outlook
from workbench.demand.market.scenario import BUYERS, futures
from workbench.demand.market.supply import survival
from workbench.demand.uses.agents import Tokens, agent_hour, coding_agent
from workbench.demand.uses.chip_time import chip_seconds, h100e_of, h100e_of_flop
from workbench.demand.uses.takeoff import takeoff
from workbench.demand.uses.training import data_cap, equal_marginal, latency_wall, power_cap

__all__ = [
    "BUYERS",
    "USES",
    "Tokens",
    "agent_hour",
    "bottom_up",
    "chip_seconds",
    "clear",
    "coding_agent",
    "data_cap",
    "demand_at",
    "drivers",
    "equal_marginal",
    "futures",
    "h100e_of",
    "h100e_of_flop",
    "hindcast",
    "jevons",
    "latency_wall",
    "log_law_compute",
    "order_plan",
    "outlook",
    "power_cap",
    "real_option",
    "scoreboard",
    "simulate",
    "survival",
    "takeoff",
    "value_exponent",
    "year",
]
