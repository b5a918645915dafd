"""Fleet economics: what chips cost to own, what to buy, retire and place where, and what a watt and a dollar bring."""

from workbench.fleet.allocate import allocate
from workbench.fleet.decisions import in_house_chip, rent_or_own
from workbench.fleet.factory import Work, ai_factory, factory_inputs
from workbench.fleet.finance import annuity, irr
from workbench.fleet.ownership import ownership_cost, ownership_errors
from workbench.fleet.pooling import backfill, diurnal, newsvendor, servers_needed
from workbench.fleet.scenarios import two_stage
from workbench.fleet.vintages import training_cost
from workbench.fleet.workloads import fleet_of, work_today

__all__ = [
    "Work", "ai_factory", "allocate", "annuity", "backfill", "diurnal", "factory_inputs", "fleet_of", "in_house_chip", "irr", "newsvendor",
    "ownership_cost", "ownership_errors", "rent_or_own", "servers_needed", "training_cost", "two_stage", "work_today",
]  # fmt: skip
