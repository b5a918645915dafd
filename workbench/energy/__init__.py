"""Energy: from the chip to the meter, and what that costs in money, carbon and water."""

from workbench.energy.carbon import Carbon, embodied_carbon, grid_carbon
from workbench.energy.chain import PowerChain, power_chain
from workbench.energy.facility import (
    COOLINGS,
    Cooling,
    cooling,
    electricity_cost,
    facility_power,
    oversubscription,
    power_usage_effectiveness,
    total_usage_effectiveness,
    water,
)
from workbench.energy.flexible import Curtailment, curtailment
from workbench.energy.grid import EnergyBill, Site, energy_bill, site
from workbench.energy.server import ServerPower, all_in_ratio, server_power, server_power_ratio

__all__ = [
    "COOLINGS",
    "Carbon",
    "Cooling",
    "Curtailment",
    "EnergyBill",
    "PowerChain",
    "ServerPower",
    "Site",
    "all_in_ratio",
    "cooling",
    "curtailment",
    "electricity_cost",
    "embodied_carbon",
    "energy_bill",
    "facility_power",
    "grid_carbon",
    "oversubscription",
    "power_chain",
    "power_usage_effectiveness",
    "server_power",
    "server_power_ratio",
    "site",
    "total_usage_effectiveness",
    "water",
]
