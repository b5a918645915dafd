"""Energy: from the chip to the meter, and what that costs in money, carbon and water."""

from workbench.energy.carbon import embodied_carbon, grid_carbon
from workbench.energy.chain import power_chain
from workbench.energy.facility import COOLINGS, electricity_cost, facility_power, power_usage_effectiveness
from workbench.energy.grid import curtailment, energy_bill, site
from workbench.energy.matching import carbon_free
from workbench.energy.server import ServerPower, all_in_ratio, server_power
from workbench.energy.sites import sites

__all__ = [
    "COOLINGS",
    "ServerPower",
    "all_in_ratio",
    "carbon_free",
    "curtailment",
    "electricity_cost",
    "embodied_carbon",
    "energy_bill",
    "facility_power",
    "grid_carbon",
    "power_chain",
    "power_usage_effectiveness",
    "server_power",
    "site",
    "sites",
]
