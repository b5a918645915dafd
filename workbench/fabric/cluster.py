"""A cluster: chips of one kind joined by a scale-up and a scale-out fabric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.catalogue import Chip, Link
from workbench.checks import COUNT, check_fields


@dataclass(frozen=True)
class Cluster:
    """Chips of one kind on one fabric.

    Parameters
    ----------
    chip : Chip
        A row of the catalogue.
    n_chips : array_like of int
        Accelerators, any shape.
    fabric : str
        Scale-out link of the catalogue.

    Raises
    ------
    InputError
        For no whole number of chips from 1; `UnknownName` for a fabric that the catalogue lacks.

    Examples
    --------
    >>> cluster = Cluster(catalogue.chip("GB300"), 4608, "InfiniBand XDR")
    >>> int(cluster.n_domains)
    64
    """

    chip: Chip
    n_chips: ArrayLike
    fabric: str = "InfiniBand XDR"

    def __post_init__(self) -> None:
        check_fields(self, n_chips=COUNT)
        _ = self.link

    @property
    def link(self) -> Link:
        """The scale-out link of one chip."""
        return catalogue.link(self.fabric)

    @property
    def n_domains(self) -> NDArray[np.float64]:
        """Scale-up domains (racks of an NVL72, nodes of an HGX), the last perhaps part-filled. Shape of `n_chips`."""
        return np.ceil(np.asarray(self.n_chips, dtype=float) / (self.chip.scaleup_domain or 1))

    def peak(self, precision: str) -> NDArray[np.float64]:
        """Dense peak of all chips [FLOP/s], shape of `n_chips`. Raises `InputError` for a precision the chip lacks."""
        return np.asarray(self.n_chips, dtype=float) * self.chip.peak(precision)
