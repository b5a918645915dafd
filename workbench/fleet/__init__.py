"""Fleet economics: what chips cost to own, what to buy, retire and place where, and what a watt and a dollar bring."""

from workbench.fleet.allocate import Fleet, Plan, allocate, fungibility
from workbench.fleet.capacity import SiteCase, site_case, when_to_build
from workbench.fleet.factory import Factory, Work, ai_factory, factory_inputs
from workbench.fleet.finance import annuity, irr, npv, payback
from workbench.fleet.in_house import InHouse, in_house_chip
from workbench.fleet.load import Trace, bursty, diurnal, read_trace, saving, saving_by_window, windowed
from workbench.fleet.ownership import (
    PARTS,
    OwnershipCost,
    ownership_cost,
    per_million_tokens,
    per_pflop_hour,
    rent_or_own,
    server_uplift,
    tokens_per_watt_per_dollar,
)
from workbench.fleet.pooling import (
    Filling,
    Reserve,
    erlang_c,
    fill,
    newsvendor,
    servers_needed,
    square_root_staffing,
    staffed,
)
from workbench.fleet.vintages import Replacement, book_value, rent, replacement, retirement_age, runs, scarcity_of, stock, worth
from workbench.fleet.workloads import CLASSES, Workload, fleet_of, throughput

__all__ = [
    "CLASSES",
    "PARTS",
    "Factory",
    "Filling",
    "Fleet",
    "InHouse",
    "OwnershipCost",
    "Plan",
    "Replacement",
    "Reserve",
    "SiteCase",
    "Trace",
    "Work",
    "Workload",
    "ai_factory",
    "allocate",
    "annuity",
    "book_value",
    "bursty",
    "diurnal",
    "erlang_c",
    "factory_inputs",
    "fill",
    "fleet_of",
    "fungibility",
    "in_house_chip",
    "irr",
    "newsvendor",
    "npv",
    "ownership_cost",
    "payback",
    "per_million_tokens",
    "per_pflop_hour",
    "read_trace",
    "rent",
    "rent_or_own",
    "replacement",
    "retirement_age",
    "runs",
    "saving",
    "saving_by_window",
    "scarcity_of",
    "server_uplift",
    "servers_needed",
    "site_case",
    "square_root_staffing",
    "staffed",
    "stock",
    "throughput",
    "tokens_per_watt_per_dollar",
    "when_to_build",
    "windowed",
    "worth",
]
