"""From chip to server: power per chip with its share of processors, switches, fans and power supplies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from workbench import catalogue
from workbench.arrays import Array, Arrays
from workbench.catalogue import Chip, Cost
from workbench.checks import NOT_NEGATIVE, SHARE, Rule, check_fields, takes
from workbench.errors import InputError


@dataclass(frozen=True, repr=False)
class ServerPower(Arrays):
    """IT power per chip with its share of the server; arrays broadcast over the arguments of `server_power`."""

    rated: Array  #: what power and cooling are provisioned for [W]
    average: Array  #: averaged over busy and idle hours [W]

    def __post_init__(self) -> None:
        check_fields(self, rated=NOT_NEGATIVE, average=NOT_NEGATIVE)


def server_power_ratio(chip: Chip) -> Cost:
    """Published ratio of a server's rated power to the TDP of its chips, for the kind of server that `chip` is sold in."""
    return catalogue.cost(f"server_power_ratio_{chip.server}")


def busy_share_of(server: str) -> float:
    """Published average power of a busy server of a kind over its rated power."""
    return catalogue.cost(f"server_power_share_{'tpu' if server.startswith('tpu') else 'gpu'}").value


def tdp_of(chip: Chip) -> float:
    """TDP of a chip [W]. Raises `InputError` for one that has none published."""
    if chip.tdp is None:
        raise InputError(f"{chip.name} has no published TDP (column tdp_w of chips): its power cannot be derived")
    return chip.tdp


def all_in_ratio(chip: str | Chip) -> Cost:
    """Power provisioned for a chip over its TDP, before PUE: its server with its share of storage, processors and network.

    From the all-in utility power that is published for `chip`, taken back to IT power by the PUE of a hyperscaler; else that of its server.
    """
    chip = catalogue.chip(chip)
    server = server_power_ratio(chip)
    if chip.all_in_power is None or chip.tdp is None:
        return server
    value = max(chip.all_in_power / catalogue.cost("pue_microsoft").value / chip.tdp, 1.0)
    if chip.server == "rack_scale":  # the rack itself is published, and all there is in it is no less
        value = max(value, server.value)
    source = next((part for part in chip.source.split(" | ") if "all-in" in part), chip.source)
    low, high = min(server.ends[0], value), max(server.ends[1], value)
    return Cost("all_in_ratio", value, low, high, "1", f"IT power provisioned for one {chip.name} over its TDP", source, chip.note)


@takes(utilisation=SHARE, ratio=Rule(least=1.0, why="a server draws at least as much as its chips"), busy_share=SHARE, idle_share=SHARE)
def server_power(
    chip: str | Chip, utilisation: ArrayLike = 1.0, *, ratio: ArrayLike | None = None, busy_share: ArrayLike | None = None,
    idle_share: ArrayLike | None = None,
) -> ServerPower:  # fmt: skip
    """IT power per chip, to first order: linear between idle and busy.

    rated = TDP * ratio; average = rated * (idle_share + (busy_share - idle_share) * utilisation)
    Raises `InputError` for a chip without published TDP, and an idle share above the busy one.
    Source: Epoch AI, training-cost-trends: server power ratios and average shares; arXiv:2506.14551: .76 measured on 8x H100.

    Parameters
    ----------
    utilisation : array_like
        Share of the hours in which the chip works, 0 to 1.
    ratio, busy_share, idle_share : array_like, optional
        Rated power of the server over the TDP of its chips; average power over rated power of a server that works and of an idle one, at
        most that. The catalogue's constants if not given.

    Examples
    --------
    >>> server_power("H100", [0.5, 1.0])
    ServerPower(rated=1274.7, average=[550.033, 956.025])
    """
    chip = catalogue.chip(chip)
    busy = np.asarray(busy_share_of(chip.server) if busy_share is None else busy_share)
    idle = np.asarray(catalogue.cost("idle_power_share").value if idle_share is None else idle_share)
    if not np.all(idle <= busy):
        raise InputError(f"idle_share = {idle} exceeds busy_share = {busy}")
    rated = np.multiply(tdp_of(chip), server_power_ratio(chip).value if ratio is None else ratio)
    return ServerPower(rated=rated, average=rated * (idle + (busy - idle) * utilisation))
