"""The catalogue: facts with a source, as typed rows in SI units.

``chip("GB300")``, ``link("InfiniBand XDR")``, ``llm("Llama-3.1-405B")``, ``grid("FRA")``, ``region("swedencentral")`` and
``cost("facility_capex_usd_per_w")`` return one row; ``table("chips")`` returns a whole table in the units people use. Users add or
override rows with CSVs of the same names in the folder ``$WORKBENCH_DATA``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from textwrap import shorten
from typing import Any

import polars as pl

from workbench import tables
from workbench.errors import DataError, InputError, UnknownName
from workbench.llm import LLM, read_hugging_face
from workbench.tables import key, load
from workbench.units import GBIT, GIGA, MICRO, TERA, card, human, significant, usd

RACK_SCALE = 64  #: chips in the scale-up domain from which a chip is sold as a rack, where nothing else is said
PRECISIONS = ("fp64", "fp64_matrix", "fp32", "tf32", "bf16", "fp8", "fp4", "int8")


@dataclass(frozen=True)
class Chip:
    """An accelerator. Rates are per chip and direction; peaks are dense; what no source gives is None."""

    name: str
    vendor: str
    release: str
    status: str
    peaks: dict[str, float]  #: FLOP/s by precision
    hbm_bytes: float
    hbm_bandwidth: float  #: B/s
    tdp: float | None  #: W
    all_in_power: float | None  #: provisioned utility power with host, network and facility [W]
    cooling: str | None
    server: str  #: kind of server that it is sold in, as rows ``server_power_ratio_*`` of the costs tell them apart
    scaleup_bandwidth: float | None  #: B/s
    scaleup_domain: int | None
    scaleout_bandwidth: float | None  #: B/s
    price: float | None  #: USD
    price_low: float | None
    price_high: float | None
    best_matmul: dict[str, float]  #: best measured FLOP/s by precision
    source: str
    note: str | None
    as_of: str | None = None  #: date of the sources

    def __repr__(self) -> str:
        domain = [f"{self.scaleup_domain} chips" if self.scaleup_domain else "", _rate(self.scaleup_bandwidth)]
        watts = [f"{human(w, 'W')} {what}" for w, what in ((self.tdp, "TDP"), (self.all_in_power, "all in")) if w]
        band = f" ({usd(self.price_low)} to {usd(self.price_high)})" if self.price_low and self.price_high else ""
        return card(
            f"{self.name} ({self.vendor}, {self.release}, {self.status})",
            memory=f"{human(self.hbm_bytes, 'B')}, {_rate(self.hbm_bandwidth)}",
            peaks=", ".join(f"{p} {significant(v / TERA)}" for p, v in self.peaks.items()) + " TFLOP/s, dense",
            scale_up=", ".join(filter(None, domain)),
            scale_out=_rate(self.scaleout_bandwidth),
            power=", ".join(watts),
            price=f"{usd(self.price)}{band}" if self.price else None,
            source=f"{shorten(self.source, 100, placeholder=' ...')} (as of {self.as_of})",
        )

    def peak(self, precision: str) -> float:
        """Dense peak [FLOP/s]. Raises `InputError` for a precision the chip lacks, naming those it has."""
        if precision not in self.peaks:
            raise InputError(f"{self.name} has no {precision} peak; it has {', '.join(self.peaks)}")
        return self.peaks[precision]

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
    """The electricity grid of a country or US state."""

    code: str
    name: str
    carbon_g_per_kwh: float  #: location-based average [g/kWh]
    carbon_year: int
    water_l_per_kwh: float | None  #: of generation [L/kWh]
    electricity_usd_per_kwh: float | None  #: industrial average [USD/kWh]
    price_year: int | None
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
    pue: float | None
    wue_l_per_kwh: float | None  #: water usage effectiveness, of IT energy [L/kWh]
    carbon_free_share: float | None
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


def table(name: str) -> pl.DataFrame:
    """A whole table in the units of its column names, checked; `WORKBENCH_DATA` rows included.

    Examples
    --------
    >>> table("costs").columns[:3]
    ['cost', 'value', 'low']
    """
    return load(name)


def names(table_name: str) -> list[str]:
    """Keys of a table, in file order.

    Examples
    --------
    >>> names("chips")[:3]
    ['V100', 'V100 PCIe', 'A100']
    """
    return load(table_name)[key(table_name)].to_list()


def key_of(table_name: str, name: str) -> str:
    """Key of the row of `table_name` whose key or alias is `name`, whatever its case. Raises `UnknownName`."""
    return str(_row(table_name, name, table_name.removesuffix("s"))[key(table_name)])


def chip(name: str | Chip) -> Chip:
    """The accelerator `name` (or one of its aliases); a `Chip` is itself. Raises `UnknownName` listing the nearest names.

    Examples
    --------
    >>> chip("H100 SXM")
    H100 (NVIDIA, 2022-09, shipping)
      memory     80 GB, 3.35 TB/s
      peaks      fp64 33.5, fp64_matrix 66.9, fp32 67, tf32 494, bf16 989, fp8 1,980, int8 1,980 TFLOP/s, dense
      scale up   8 chips, 450 GB/s
      scale out  50 GB/s
      power      700 W TDP, 1.73 kW all in
      price      $23.5 k ($20 k to $27 k)
      source     ml-engineering (S. Bekman), Accelerators chapter, TFLOPS, MAMF, memory and power tables; ... (as of 2026-11-21)
    >>> chip("H100").peak("bf16")
    989000000000000.0
    """
    if isinstance(name, Chip):
        return name
    r = _row("chips", name, "chip")
    return Chip(
        name=r["chip"],
        peaks={p: v * TERA for p in PRECISIONS if (v := r["int8_tops" if p == "int8" else f"{p}_tflops"]) is not None},
        hbm_bytes=r["hbm_gb"] * GIGA,
        hbm_bandwidth=r["hbm_gb_per_s"] * GIGA,
        tdp=r["tdp_w"],
        all_in_power=r["all_in_w"],
        scaleup_bandwidth=_times(r["scaleup_gb_per_s"], GIGA),
        scaleout_bandwidth=_times(r["scaleout_gb_per_s"], GIGA),
        price=r["price_usd"],
        price_low=r["price_low_usd"],
        price_high=r["price_high_usd"],
        best_matmul={p: v * TERA for p in ("bf16", "fp8") if (v := r[f"matmul_{p}_tflops"]) is not None},
        **_same(Chip, r) | {"server": r["server"] or ("rack_scale" if (r["scaleup_domain"] or 1) >= RACK_SCALE else "gpu")},
    )


def cpu(name: str) -> CPU:
    """The server processor `name`.

    Examples
    --------
    >>> cpu("NVIDIA Grace").cores
    72
    """
    r = _row("cpus", name, "CPU")
    return CPU(
        name=r["cpu"],
        clock=_times(r["clock_ghz"], GIGA),
        memory_bandwidth=_times(r["memory_gb_per_s"], GIGA),
        tdp=r["tdp_w"],
        **_same(CPU, r),
    )


def link(name: str) -> Link:
    """The link, switch, NIC or optic `name`.

    Examples
    --------
    >>> link("InfiniBand XDR").bandwidth
    100000000000.0
    """
    r = _row("links", name, "link")
    return Link(
        name=r["link"],
        bandwidth=_times(r["gb_per_s"], GIGA),
        latency=_times(r["latency_us"], MICRO),
        port_rate=_times(r["port_gbit_per_s"], GBIT),
        power=r["power_w"],
        price=r["price_usd"],
        **_same(Link, r),
    )


def llm(name: str | Path | LLM) -> LLM:
    """The language model `name` (or an alias), or the one described by a Hugging Face ``config.json`` at that path; an `LLM` is itself.

    Examples
    --------
    >>> llm("DeepSeek-V3")
    DeepSeek-V3 (DeepSeek)
      parameters  671 billion, 37.6 billion active
      layers      61 of width 7,168, 128 heads, mla attention
      experts     8 of 256 and 1 shared in 58 layers
      context     163,840 tokens, 70.3 kB of bf16 cache per token
      source      Hugging Face config.json of deepseek-ai/DeepSeek-V3 in ai-dynamo/aiconfigurator, model_configs; ...
    >>> llm("Llama-3.1-405B").layers
    126
    """
    if isinstance(name, LLM):
        return name
    if isinstance(name, Path) or name.endswith(".json") or (os.sep in name and Path(name).exists()):
        return read_hugging_face(name)
    r = _row("llms", name, "LLM")
    return LLM(name=r["llm"], **_same(LLM, r))


def grid(code: str) -> Grid:
    """The grid of a country (ISO alpha-3, ``"FRA"``) or US state (``"US-TX"``).

    Examples
    --------
    >>> grid("FRA").name
    'France'
    """
    r = _row("grids", code, "grid")
    return Grid(code=r["grid"], electricity_usd_per_kwh=r["price_usd_per_kwh"], **_same(Grid, r))


def region(name: str) -> Region:
    """The cloud region `name` (``"swedencentral"``).

    Examples
    --------
    >>> region("swedencentral").pue
    1.16
    """
    r = _row("regions", name, "region")
    return Region(name=r["region"], **_same(Region, r))


def cost(name: str) -> Cost:
    """The published constant `name`, whose unit is its suffix.

    Examples
    --------
    >>> cost("facility_capex_usd_per_w").ends
    (7.7, 12.5)
    """
    r = _row("costs", name, "cost")
    return Cost(name=r["cost"], **_same(Cost, r))


def path(name: str) -> Path:
    """Path of a shipped data file (``"measured/gemm.csv"``). Raises `DataError` if there is none.

    Examples
    --------
    >>> path("measured/gemm.csv").name
    'gemm.csv'
    """
    file = tables.DATA / name
    if not file.is_file():
        raise DataError(file, "no such data file in the workbench")
    return file


def external(name: str, download: bool = True) -> Path:
    """Local path of a third-party data set of ``data/external.csv``, checksum verified.

    It is taken from the folder ``$WORKBENCH_EXTERNAL`` if set, else from the cache of an earlier download, else downloaded from
    its pinned address unless `download` is False. Raises `DataError` when it is neither there nor reachable, or its checksum differs.

    Examples
    --------
    >>> external("chinchilla")
    Traceback (most recent call last):
    workbench.errors.UnknownName: unknown external data set 'chinchilla'; nearest: chinchilla-points (1 in all)
    """
    import pooch

    r = _row("external", name, "external data set")
    folder = os.environ.get("WORKBENCH_EXTERNAL")
    if folder:
        file = Path(folder) / r["file"]
        if not file.is_file():
            raise DataError(file, f"WORKBENCH_EXTERNAL is set but has no {r['file']}; get it from {r['url']}")
        found = pooch.file_hash(str(file))
        if found != r["sha256"]:
            raise DataError(file, f"sha256 is {found}, expected {r['sha256']}: another version of {name}")
        return file
    cache = Path(pooch.os_cache("workbench"))
    if not download and not (cache / r["file"]).is_file():
        raise DataError(
            cache / r["file"], f"{name} is not here; catalogue.external({name!r}) fetches it, or name its folder in WORKBENCH_EXTERNAL"
        )
    try:
        return Path(pooch.retrieve(r["url"], known_hash=r["sha256"], fname=r["file"], path=cache))
    except Exception as error:
        raise DataError(
            r["url"],
            f"{name} could not be downloaded ({type(error).__name__}); "
            f"offline, put {r['file']} into a folder and name it in WORKBENCH_EXTERNAL",
        ) from error


#: Row of each key and alias, beside the table that it was made of.
_INDICES: dict[str, tuple[pl.DataFrame, dict[str, int]]] = {}


def _row(table_name: str, name: str, kind: str) -> dict[str, Any]:
    """The row of `table_name` whose key or alias is `name`, whatever its case."""
    frame = load(table_name)
    seen, index = _INDICES.get(table_name, (None, {}))
    if seen is not frame:  # another table since: a user's rows came or went
        index = {k.casefold(): i for i, k in enumerate(frame[key(table_name)])}
        if "aliases" in frame.columns:
            for i, aliases in enumerate(frame["aliases"]):
                for alias in (aliases or "").split(";"):
                    index.setdefault(alias.strip().casefold(), i)
        _INDICES[table_name] = frame, index
    position = index.get(str(name).strip().casefold()) if name else None
    if position is None:
        raise UnknownName(kind, name, names(table_name))
    return frame.row(position, named=True)


def _same(cls: type, row: dict[str, Any]) -> dict[str, Any]:
    """Cells of `row` whose column is a field of `cls` under the same name: they need no conversion."""
    return {f.name: row[f.name] for f in fields(cls) if f.name in row}


def _rate(value: float | None) -> str:
    return human(value, "B/s") if value else ""


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


#: What a user asks for, and what Tab shows; the other rows' classes and `key_of` are for models.
__all__ = ["LLM", "Chip", "chip", "cost", "cpu", "external", "grid", "link", "llm", "names", "path", "region", "table"]


def __dir__() -> list[str]:
    return __all__
