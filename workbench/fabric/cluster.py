"""A cluster: chips of one kind joined by a scale-up and a scale-out fabric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import short
from workbench.catalogue import Chip, Link
from workbench.checks import COUNT, check_fields


@dataclass(frozen=True, init=False)
class Cluster:
    """Chips of one kind on one fabric.

    Parameters
    ----------
    chip : str or Chip
        A chip of the catalogue, by name or as it is.
    n_chips : array_like of int
        Accelerators, any shape.
    fabric : str
        Scale-out link of the catalogue.

    Examples
    --------
    >>> cluster = Cluster("GB300", 4608)
    >>> cluster
    Cluster(GB300, 4608 chips, InfiniBand XDR)
    >>> int(cluster.n_domains)
    64
    """

    chip: Chip
    n_chips: ArrayLike
    fabric: str = "InfiniBand XDR"

    def __init__(self, chip: str | Chip, n_chips: ArrayLike, fabric: str = "InfiniBand XDR"):
        object.__setattr__(self, "chip", catalogue.chip(chip))
        object.__setattr__(self, "n_chips", n_chips)
        object.__setattr__(self, "fabric", catalogue.link(fabric).name)
        check_fields(self, n_chips=COUNT)

    def __repr__(self) -> str:
        return f"Cluster({self.chip.name}, {short(self.n_chips)} chips, {self.fabric})"

    @property
    def link(self) -> Link:
        """The scale-out link of one chip."""
        return catalogue.link(self.fabric)

    @property
    def n_domains(self) -> NDArray[np.float64]:
        """Scale-up domains (racks of an NVL72, nodes of an HGX), the last perhaps part-filled. Shape of `n_chips`."""
        return np.ceil(np.asarray(self.n_chips, dtype=float) / self.chip.scaleup_domain)

    def peak(self, precision: str) -> NDArray[np.float64]:
        """Dense peak of all chips [FLOP/s], shape of `n_chips`. Raises `InputError` for a precision the chip lacks."""
        return np.asarray(self.n_chips, dtype=float) * self.chip.peak(precision)
