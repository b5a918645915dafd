"""Fleet economics: what chips cost to own, what to buy, retire and place where, and what a watt and a dollar bring."""

from workbench.fleet.allocate import allocate, fungibility
from workbench.fleet.decisions import chip_site, in_house_chip
from workbench.fleet.factory import Work, ai_factory, factory_inputs
from workbench.fleet.finance import annuity, irr
from workbench.fleet.ownership import ownership_cost, ownership_errors
from workbench.fleet.pooling import backfill, diurnal, newsvendor, servers_needed
from workbench.fleet.vintages import chip_refresh, training_cost
from workbench.fleet.workloads import fleet_of, work_today

__all__ = [
    "Work",
    "ai_factory",
    "allocate",
    "annuity",
    "backfill",
    "chip_refresh",
    "chip_site",
    "diurnal",
    "factory_inputs",
    "fleet_of",
    "fungibility",
    "in_house_chip",
    "irr",
    "newsvendor",
    "ownership_cost",
    "ownership_errors",
    "servers_needed",
    "training_cost",
    "work_today",
]
