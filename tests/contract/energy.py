"""Cases of the contract: workbench.energy."""

from contract.harness import Case

CASES: list[Case] = []
#: Functions that take no number, and why they are not in the table.
WITHOUT: dict[str, str] = {}
