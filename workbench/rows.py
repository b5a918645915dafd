"""Rows of the catalogue as frozen dataclasses in SI units. What no source gives is None."""

from __future__ import annotations

from dataclasses import dataclass, replace
from textwrap import shorten

from workbench import formats
from workbench.errors import InputError
from workbench.units import TERA, card, human, significant, usd

H100E = 1979 * TERA  #: dense fp8 peak of an H100, in which Epoch AI counts compute [FLOP/s]


@dataclass(frozen=True)
class MemoryLevel:
    """Memory of a chip beside its device memory: on the chip, or of its host."""

    level: str
    bytes: float
    bandwidth: float | None  #: B/s

    def __str__(self) -> str:
        return f"{self.level} " + ", ".join(filter(None, [human(self.bytes, "B"), _rate(self.bandwidth)]))


@dataclass(frozen=True)
class Chip:
    """An accelerator. Rates are per chip and direction; peaks are dense; what no source gives is None."""

    name: str
    vendor: str
    release: str
    status: str
    peaks: dict[str, float]  #: FLOP/s, by `formats.PEAKS`
    hbm_bytes: float  #: as the device reports it; as the data sheet prints it where `memory_source` is None [B]
    hbm_bandwidth: float  #: B/s
    tdp: float | None  #: W
    all_in_power: float | None  #: provisioned utility power with host, network and facility [W]
    cooling: str | None
    server: str  #: kind of server that it is sold in, as rows ``server_power_ratio_*`` of the costs tell them apart
    scaleup_bandwidth: float | None  #: B/s; None: it has no such links
    scaleup_domain: int  #: chips that they join; 1 without
    scaleout_bandwidth: float | None  #: B/s
    price: float | None  #: USD
    price_low: float | None
    price_high: float | None
    best_matmul: dict[str, float]  #: best measured FLOP/s, the same way
    source: str
    note: str | None
    as_of: str | None = None  #: date of the sources
    memory_source: str | None = None  #: who reports `hbm_bytes`
    pcie_bandwidth: float = 63e9  #: of its PCIe slot; a 5.0 x16 where nothing is said [B/s]
    host_chips: int = 8  #: chips of a usual host
    memory_levels: tuple[MemoryLevel, ...] = ()  #: beside device memory

    @property
    def near(self) -> tuple[int, float]:
        """Chips that exchange without a network, and the bandwidth of one [B/s]: the scale-up domain, or over PCIe the cards of a host."""
        return (self.scaleup_domain, self.scaleup_bandwidth) if self.scaleup_bandwidth else (self.host_chips, self.pcie_bandwidth)

    def __repr__(self) -> str:
        watts = [f"{human(w, 'W')} {what}" for w, what in ((self.tdp, "TDP"), (self.all_in_power, "all in")) if w]
        band = f" ({usd(self.price_low)} to {usd(self.price_high)})" if self.price_low and self.price_high else ""
        return card(
            f"{self.name} ({self.vendor}, {self.release}, {self.status})",
            memory="; ".join([f"{human(self.hbm_bytes, 'B')}, {_rate(self.hbm_bandwidth)}", *map(str, self.memory_levels)]),
            peaks=", ".join(f"{p} {significant(v / TERA)}" for p, v in self.peaks.items()) + " TFLOP/s, dense",
            scale_up=(f"{self.scaleup_domain} chips, " if self.scaleup_bandwidth else "none; PCIe, ") + _rate(self.near[1]),
            scale_out=_rate(self.scaleout_bandwidth),
            power=", ".join(watts),
            price=f"{usd(self.price)}{band}" if self.price else None,
            source=f"{shorten(self.source, 100, placeholder=' ...')} (as of {self.as_of})",
        )

    def peak(self, precision: str) -> float:
        """Dense peak that a number format runs at [FLOP/s]. Raises `InputError` where the chip lacks it, naming those it has.

        Examples
        --------
        >>> from workbench import catalogue
        >>> catalogue.chip("B200").peak("nvfp4") == catalogue.chip("B200").peaks["fp4"]
        True
        """
        peak = formats.peak_of(precision)
        if peak not in self.peaks:
            raise InputError(f"{self.name} has no {peak} peak; it has {', '.join(self.peaks) or 'none'}")
        return self.peaks[peak]

    @property
    def h100e(self) -> float:
        """H100-equivalents, as Epoch AI counts compute: dense fp8 peak (16-bit where there is none) over `H100E`.

        Examples
        --------
        >>> from workbench import catalogue
        >>> round(catalogue.chip("GB200").h100e, 2)
        2.53
        """
        return self.peaks.get("fp8", self.peaks.get("bf16", 0.0)) / H100E

    def runs(self, precision: str) -> bool:
        """Whether the chip has the peak that a number format runs at."""
        return formats.peak_of(precision) in self.peaks

    def __hash__(self) -> int:
        return hash(self.name)


@dataclass(frozen=True)
class CPU:
    """A server processor (one socket)."""

    name: str
    vendor: str
    release: str
    cores: int
    clock: float | None  #: Hz
    memory_bandwidth: float | None  #: B/s
    tdp: float | None  #: W
    source: str
    note: str | None


@dataclass(frozen=True)
class Link:
    """A link, port, switch or optic of a fabric. Bandwidth is per direction."""

    name: str
    kind: str
    used_by: str | None  #: chips or devices, separated by semicolons
    basis: str
    bandwidth: float | None  #: B/s
    latency: float | None  #: s
    radix: int | None
    port_rate: float | None  #: B/s of a switch port, one direction
    power: float | None  #: W
    price: float | None  #: USD
    source: str
    note: str | None


@dataclass(frozen=True)
class Grid:
    """The electricity grid of a country, US state or Canadian province."""

    code: str
    name: str
    latitude: float | None  #: of the centre of its people [degrees]
    longitude: float | None
    carbon_g_per_kwh: float  #: location-based average [g/kWh]
    carbon_year: int
    carbon_marginal_g_per_kwh: float | None  #: operating margin [g/kWh]
    water_l_per_kwh: float | None  #: of generation [L/kWh]
    water_stress: str | None  #: baseline water stress of the country, where listed
    electricity_usd_per_kwh: float | None  #: of large users [USD/kWh]
    price_low_usd_per_kwh: float | None
    price_high_usd_per_kwh: float | None
    price_year: int | None
    wholesale_usd_per_kwh: float | None  #: day-ahead, mean of 2024 [USD/kWh]
    source: str
    note: str | None


@dataclass(frozen=True)
class Region:
    """A cloud region with what its provider publishes of it."""

    name: str
    provider: str
    place: str | None
    country: str | None
    grid: str | None
    zone: str | None
    latitude: float | None  #: [degrees]
    longitude: float | None
    climate: str | None  #: Koeppen-Geiger class
    pue: float | None
    pue_basis: str | None  #: measured or design
    wue_l_per_kwh: float | None  #: water usage effectiveness, of IT energy [L/kWh]
    carbon_free_share: float | None
    carbon_free_matching: str | None  #: whether that share is matched hourly or over the year
    carbon_location_g_per_kwh: float | None  #: average of the grid [g/kWh]
    carbon_marginal_g_per_kwh: float | None  #: of the plant that answers one more watt [g/kWh]
    source: str
    note: str | None


@dataclass(frozen=True)
class Cost:
    """A published constant with its band, in the unit its name ends with."""

    name: str
    value: float
    low: float | None
    high: float | None
    unit: str
    meaning: str
    source: str
    note: str | None

    @property
    def ends(self) -> tuple[float, float]:
        """Ends of the published band; the value itself where none is published."""
        return self.value if self.low is None else self.low, self.value if self.high is None else self.high

    def at(self, value: float) -> Cost:
        """The same constant with a value of one's own, its published band stretched to hold it."""
        low, high = self.ends
        return replace(self, value=value, low=min(low, value), high=max(high, value))


def _rate(value: float | None) -> str:
    return human(value, "B/s") if value else ""
