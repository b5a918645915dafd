"""Fleet economics: what chips cost to own, and what a watt and a dollar bring."""

from workbench.fleet.factory import Factory, Work, ai_factory, factory_inputs
from workbench.fleet.finance import annuity
from workbench.fleet.ownership import PARTS, OwnershipCost, ownership_cost, server_uplift, tokens_per_watt_per_dollar

__all__ = [
    "PARTS",
    "Factory",
    "OwnershipCost",
    "Work",
    "ai_factory",
    "annuity",
    "factory_inputs",
    "ownership_cost",
    "server_uplift",
    "tokens_per_watt_per_dollar",
]
