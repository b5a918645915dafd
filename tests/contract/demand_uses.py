"""Cases of the contract: workbench.demand, what is used."""

from contract.harness import Case
from workbench import demand

CASES: list[Case] = [
    Case(
        "demand.chips_cap",
        demand.chips_cap,
        {"h100e": 1e5, "share": 0.3, "mfu": 0.4, "seconds": 9e6},
        {"h100e": (1e5, 2e5, 0), "share": (0.1, 0.2, 1), "mfu": (0.3, 0.4, 0.5), "seconds": (1e6, 9e6, 1e7)},
        allow=dict.fromkeys(("h100e", "share", "mfu", "seconds"), ("zero",)),
    ),
    Case("demand.data_cap", demand.data_cap, {"tokens": 1e13}, {"tokens": (1e12, 1e13, 3e13)}, allow={"tokens": ("zero",)}),
    Case(
        "demand.models_above",
        demand.models_above,
        {"threshold": 1e25, "frontier": 5e26, "at_frontier": 2.0, "per_decade": 4.0},
        {"threshold": (1e24, 1e25, 1e27), "frontier": (1e26, 5e26, 1e27), "at_frontier": (1, 2, 3), "per_decade": (2, 3, 4)},
        allow={"at_frontier": ("zero",)},
    ),
    Case(
        "demand.frontier_run",
        lambda chips, money: demand.frontier_run({"chips": chips, "money": money}),
        {"chips": 3e26, "money": 2e26},
        {"chips": (1e26, 2e26, 3e26), "money": (2e26, 2e26, 4e26)},
        allow=dict.fromkeys(("chips", "money"), ("infinite",)),
        read=lambda run: run.flop,
    ),
]
#: Functions that take no number, and why they are not in the table.
WITHOUT: dict[str, str] = {}
