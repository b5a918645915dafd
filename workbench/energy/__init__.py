"""Energy: from the chip to the meter, and what that costs in money, carbon and water."""

from workbench.energy.carbon import embodied_carbon
from workbench.energy.chain import COOLINGS, power_chain
from workbench.energy.grid import curtailment, energy_bill, site
from workbench.energy.matching import carbon_free, move_load
from workbench.energy.server import ServerPower, server_power
from workbench.energy.sites import sites

__all__ = [
    "COOLINGS", "ServerPower", "carbon_free", "curtailment", "embodied_carbon", "energy_bill", "move_load", "power_chain",
    "server_power", "site", "sites",
]  # fmt: skip
