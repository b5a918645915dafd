"""Energy: what chips draw as servers and facilities, and what that costs in money, carbon and water."""

from workbench.energy.facility import electricity_cost, facility_power, location_carbon, water
from workbench.energy.server import ServerPower, server_power, server_power_ratio

__all__ = [
    "ServerPower",
    "electricity_cost",
    "facility_power",
    "location_carbon",
    "server_power",
    "server_power_ratio",
    "water",
]
