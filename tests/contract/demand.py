"""Cases of the contract: workbench.demand, what is used and what the market makes of it."""

from contract import demand_market, demand_uses

CASES = [*demand_uses.CASES, *demand_market.CASES]
WITHOUT = {**demand_uses.WITHOUT, **demand_market.WITHOUT}
