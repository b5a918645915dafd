"""What a chip and its fabric give to numbers of one format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from workbench.catalogue import Chip
from workbench.chips.exchange import Exchange
from workbench.fabric import Cluster
from workbench.formats import Format


@dataclass(frozen=True)
class Machine:
    """A chip at work. Its rates may be complex: they carry derivatives."""

    chip: Chip
    format: Format
    exchange: Exchange
    peak: Any  #: of the format [FLOP/s]
    peak16: Any  #: of 16-bit numbers, for attention and head [FLOP/s]
    bandwidth: Any  #: of device memory [B/s]
    memory: Any  #: of the device [B]

    @classmethod
    def of(cls, where: Cluster | Chip, number: Format) -> Machine:
        """A chip, of a cluster or with its own links. Raises `InputError` for a format that it lacks."""
        chip, exchange = (where.chip, Exchange.of(where)) if isinstance(where, Cluster) else (where, Exchange(where))
        peak16 = chip.peaks.get("bf16") or chip.peak("fp8") / 2
        return cls(chip, number, exchange, chip.peak(number.name), peak16, chip.hbm_bandwidth, chip.hbm_bytes)

    def scaled(self, resource: str, factor: Any) -> Machine:
        """The same with so many times as much peak, hbm_bandwidth, hbm, scale_up or scale_out; of latency, as much less."""
        if resource in ("scale_up", "scale_out", "latency"):
            return replace(self, exchange=replace(self.exchange, **{resource: 1 / factor if resource == "latency" else factor}))
        of = {"peak": ("peak", "peak16"), "hbm_bandwidth": ("bandwidth",), "hbm": ("memory",)}[resource]
        return replace(self, **{name: getattr(self, name) * factor for name in of})
