"""A cluster: chips of one kind joined by a scale-up and a scale-out fabric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import short
from workbench.catalogue import Chip, Link
from workbench.checks import COUNT, POSITIVE, Rule, check_fields
from workbench.errors import InputError


@dataclass(frozen=True, init=False)
class Cluster:
    """Chips of one kind on one fabric.

    Raises `InputError` for a switch, an optical module, a scale-up link or a torus of other chips, naming what joins domains.

    Parameters
    ----------
    chip, n_chips : str or Chip; array_like of int
        A chip, or its name in the catalogue; accelerators, any shape.
    fabric : str
        What joins scale-up domains: a link of the catalogue of kind scale-out, or the torus of a TPU.
    rails, taper : array_like
        Links of a chip: 0.5 where two share a NIC. Bandwidth above a pod over that in it, at most 1: 0.5 of leaves oversubscribed 2:1.
    pod : array_like of int
        Chips that exchange below the tapered layer: those of a scalable unit where jobs are placed whole, a domain's where scattered.

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
    rails: ArrayLike = 1.0
    taper: ArrayLike = 1.0
    pod: ArrayLike = 1

    def __init__(
        self, chip: str | Chip, n_chips: ArrayLike, fabric: str | Link = "InfiniBand XDR", *, rails: ArrayLike = 1.0,
        taper: ArrayLike = 1.0, pod: ArrayLike = 1,
    ):  # fmt: skip
        link, given = catalogue.link(fabric), {"n_chips": n_chips, "rails": rails, "taper": taper, "pod": pod}
        for name, value in ({"chip": catalogue.chip(chip), "fabric": link.name} | given).items():
            object.__setattr__(self, name, value)
        check_fields(self, n_chips=Rule(least=1, most=1e8, whole=True), rails=POSITIVE, taper=Rule(above=0, most=1), pod=COUNT)
        if not self._joined_by(link):
            joins = [one.name for one in map(catalogue.link, catalogue.names("links")) if self._joined_by(one)]
            raise InputError(f"fabric = {link.name!r}: of kind {link.kind}; what joins domains of {self.chip.name}: {', '.join(joins)}")

    def _joined_by(self, link: Link) -> bool:
        """Whether a link joins domains of the chip."""
        return link.kind == "scale-out" or (link.kind == "torus" and self.chip.name in (link.used_by or "").split(";"))

    def __repr__(self) -> str:
        return f"Cluster({self.chip.name}, {short(self.n_chips)} {'chip' if np.all(self.n_chips == 1) else 'chips'}, {self.fabric})"

    @property
    def link(self) -> Link:
        """The scale-out link of one chip."""
        return catalogue.link(self.fabric)

    @property
    def bandwidth(self) -> NDArray[np.float64]:
        """Of a chip to other domains, all rails, one direction [B/s]; at most its slot where it has no scale-up links. Shape of `rails`."""
        rate = float(self.link.bandwidth or 0.0) * np.asarray(self.rails, dtype=float)
        return rate if self.chip.scaleup_bandwidth else np.minimum(rate, self.chip.pcie_bandwidth)

    @property
    def n_domains(self) -> NDArray[np.float64]:
        """Scale-up domains (racks of an NVL72, nodes of an HGX, hosts of cards), the last perhaps part-filled. Shape of `n_chips`."""
        return np.ceil(np.asarray(self.n_chips, dtype=float) / self.chip.near[0])

    def peak(self, precision: str) -> NDArray[np.float64]:
        """Dense peak of all chips [FLOP/s], shape of `n_chips`. Raises `InputError` for a precision the chip lacks."""
        return np.asarray(self.n_chips, dtype=float) * self.chip.peak(precision)
