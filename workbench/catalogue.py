"""The catalogue: facts with a source, as typed rows in SI units.

``chip("GB300")``, ``link("InfiniBand XDR")``, ``llm("Llama-3.1-405B")``, ``grid("FRA")``, ``region("swedencentral")`` and
``cost("facility_capex_usd_per_w")`` return one row; ``table("chips")`` returns a whole table in the units people use. Users add or
override rows with CSVs of the same names in the folder ``$WORKBENCH_DATA``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import polars as pl

from workbench import formats, tables
from workbench.checks import takes
from workbench.errors import DataError, InputError, UnknownName, hint, nearest
from workbench.llm import LLM, Transformer, context_of, of_config, of_name, read_hugging_face
from workbench.rows import CPU, Chip, Cost, Grid, Link, MemoryLevel, Region
from workbench.tables import load, made_of
from workbench.units import GBIT, GIGA, MEBI, MICRO, TERA

NUMBERS = tuple(f.name for f in fields(Transformer))  #: columns of `llms` that a row's config says too
NEEDED = [f.name for f in fields(LLM) if f.default is MISSING and f.name != "name"]  #: of a row without a config
RACK_SCALE = 64  #: chips in the scale-up domain from which a chip is sold as a rack, where nothing else is said


@takes()
def table(name: str, as_of: str | None = None) -> pl.DataFrame:
    """A whole table in the units of its column names, checked; `WORKBENCH_DATA` rows included.

    With `as_of`, a year, month or day (``"2026-08"``), only what was known at its end: a row that names a year or a month alone was known
    when that was over. Raises `InputError` for no such date, and for a table without dates.

    Examples
    --------
    >>> table("costs").columns[:3]
    ['cost', 'value', 'low']
    >>> table("rent_history", as_of="2024")["date"].max()
    '2024-12-15'
    """
    frame = load(name)
    if as_of is None:
        return frame
    if not tables.DATE.fullmatch(str(as_of)):
        raise InputError(f"as_of = {as_of!r}: expected a year, a month or a day, as 2026, 2026-08 or 2026-08-31")
    if "as_of" not in frame.columns:
        raise InputError(f"as_of = {as_of!r}: the rows of table {name!r} have no dates")
    return frame.filter(tables.padded("as_of", "-12-31") <= as_of + "-12-31"[len(as_of) - 4 :])


@takes()
def names(table_name: str) -> list[str]:
    """Keys of a table, in file order; those of several columns with ``|`` between them.

    Examples
    --------
    >>> names("chips")[:3]
    ['V100', 'V100 PCIe', 'A100']
    """
    return tables.names(load(table_name), table_name)


def key_of(table_name: str, name: str) -> str:
    """Key of the row of `table_name` whose key or alias is `name`, whatever its case. Raises `UnknownName`."""
    return names(table_name)[_position(table_name, name, table_name.removesuffix("s"))]


#: A chip's name between those of its vendor or server and the gigabytes of its memory.
_SIZED = re.compile(r"(?i)^(?:(?:nvidia|amd|instinct|intel|google|hgx|dgx)[\s-]+)*(.+?)(?:[\s-]+oam)?(?:[\s-]+\(?(\d+)\s*GB?\)?)?$")


def chip(name: str | Chip) -> Chip:
    """The accelerator `name`, an alias, or a fraction of one, by a vendor's name, with its memory, or of a cloud's instance; or a `Chip`.

    Raises `UnknownName` listing the nearest names.

    Examples
    --------
    >>> chip("H100 SXM")
    H100 (NVIDIA, 2022-09, shipping)
      memory     85.5 GB, 3.35 TB/s
      peaks      fp64 33.5, fp64_matrix 66.9, fp32 67, tf32 494, bf16 989, fp8 1,980, int8 1,980 TFLOP/s, dense
      scale up   8 chips, 450 GB/s
      scale out  50 GB/s
      power      700 W TDP, 1.73 kW all in
      price      $23.5 k ($20 k to $27 k)
      source     ml-engineering (S. Bekman), Accelerators chapter, TFLOPS, MAMF, memory and power tables; ... (as of 2026-11-21)
    >>> chip("H100").peak("bf16")
    989000000000000.0
    >>> chip("NVIDIA H100 80GB HBM3 MIG 1g.10gb").hbm_bytes / 2**30
    9.75
    """
    if isinstance(name, Chip):
        return name
    try:
        r = _row("chips", name, "chip")
    except UnknownName:
        if (at := made_of("instances", _index("instances")).get(_plain(name))) is not None:
            return chip(names("chips")[_position("chips", load("instances")["chip"][at], f"chip of {name} in table instances:")])
        for f in load("chip_fractions").iter_rows(named=True):
            whole, end = str(name).strip().casefold(), f" {f['fraction'].casefold()}"
            if whole.endswith(end) and key_of("chips", whole.removesuffix(end)) == f["chip"]:
                return _fraction(chip(f["chip"]), f)
        for plain, size in ((one, gb) for stem, gb in _SIZED.findall(str(name).strip()) for one in (f"{stem} {gb}GB", stem)):
            at = made_of("chips", _index("chips")).get(_plain(plain))
            found = None if at is None else chip(names("chips")[at])
            if found and (not size or any(abs(float(size) * unit / found.hbm_bytes - 1) < 0.025 for unit in (GIGA, 2**30))):
                return found
        raise
    domain = r["scaleup_domain"] or 1
    server = "rack_scale" if domain >= RACK_SCALE else "gpu"
    return Chip(
        name=r["chip"], peaks={p: v * TERA for p in formats.PEAKS if (v := r.get(f"{p}_tflops", r.get(f"{p}_tops"))) is not None},
        hbm_bytes=r["memory_mib"] * MEBI if r["memory_mib"] else r["hbm_gb"] * GIGA, hbm_bandwidth=r["hbm_gb_per_s"] * GIGA,
        tdp=r["tdp_w"], all_in_power=r["all_in_w"], price=r["price_usd"], price_low=r["price_low_usd"], price_high=r["price_high_usd"],
        scaleup_bandwidth=_times(r["scaleup_gb_per_s"], GIGA), scaleout_bandwidth=_times(r["scaleout_gb_per_s"], GIGA),
        pcie_bandwidth=_times(r["pcie_gb_per_s"], GIGA) or Chip.pcie_bandwidth,
        best_matmul={p: v * TERA for p in formats.PEAKS if (v := r.get(f"matmul_{p}_tflops")) is not None},
        memory_levels=made_of("memory_levels", _levels).get(r["chip"], ()),
        **_same(Chip, r) | {"scaleup_domain": domain, "host_chips": r["host_chips"] or Chip.host_chips, "server": r["server"] or server},
    )  # fmt: skip


def _levels(frame: pl.DataFrame) -> dict[str, tuple[MemoryLevel, ...]]:
    """Memory of every chip beside its device memory."""
    found: dict[str, tuple[MemoryLevel, ...]] = {}
    for r in frame.iter_rows(named=True):
        level = MemoryLevel(r["level"], r["gb"] * GIGA, _times(r["gb_per_s"], GIGA))
        found[r["chip"]] = (*found.get(r["chip"], ()), level)
    return found


def _fraction(whole: Chip, f: dict[str, Any]) -> Chip:
    """A partition of a chip: it computes apart, has no links to others, and nobody says what it draws or costs."""
    changed: dict[str, Any] = dict.fromkeys(("tdp", "all_in_power", "scaleup_bandwidth", "price", "price_low", "price_high", "note"))
    changed |= {"source": f["source"], "as_of": f["as_of"], "memory_source": f["source"], "scaleup_domain": 1, "host_chips": 1}
    return replace(
        whole, name=f"{whole.name} {f['fraction']}", peaks={p: v * f["compute_share"] for p, v in whole.peaks.items()}, best_matmul={},
        hbm_bytes=f["memory_mib"] * MEBI if f["memory_mib"] else f["memory_share"] * whole.hbm_bytes,
        hbm_bandwidth=f["bandwidth_share"] * whole.hbm_bandwidth, memory_levels=(), **changed,
    )  # fmt: skip


def cpu(name: str) -> CPU:
    """The server processor `name`.

    Examples
    --------
    >>> cpu("NVIDIA Grace").cores
    72
    """
    r = _row("cpus", name, "CPU")
    rates: dict[str, Any] = {"clock": _times(r["clock_ghz"], GIGA), "memory_bandwidth": _times(r["memory_gb_per_s"], GIGA)}
    return CPU(name=r["cpu"], tdp=r["tdp_w"], **rates, **_same(CPU, r))


def link(name: str | Link) -> Link:
    """The link, switch, NIC or optic `name`; a `Link` is itself.

    Examples
    --------
    >>> link("InfiniBand XDR").bandwidth
    100000000000.0
    """
    if isinstance(name, Link):
        return name
    r = _row("links", name, "link")
    return Link(
        name=r["link"], bandwidth=_times(r["gb_per_s"], GIGA), latency=_times(r["latency_us"], MICRO),
        port_rate=_times(r["port_gbit_per_s"], GBIT), power=r["power_w"], price=r["price_usd"], **_same(Link, r),
    )  # fmt: skip


@takes()
def llm(name: str | Path | LLM) -> LLM:
    """The language model `name` (an alias, or a repository of the hub, whose name may say the format of the weights), or the one described
    by a Hugging Face ``config.json`` or a Mistral ``params.json`` at that path; an `LLM` is itself.

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
    names, weights = of_name(name)
    found = made_of("llms", _index("llms"))
    key = next((n for n in names if _plain(n) in found), name)
    r = _row("llms", key, "language model")
    known = {"name": r["llm"]} | {column: value for column, value in _same(LLM, r).items() if value is not None}  # blank: does not apply
    known |= {"context": context} if (context := context_of(name, key)) else {}
    if weights and _plain(name) != _plain(r["llm"]):  # a row's own name says no format
        known["quantization"] = weights
    if not r["config"]:
        if blank := [column for column in NEEDED if column not in known]:
            raise InputError(f"table llms, {r['llm']}: nothing in {', '.join(blank)}; or give the fields of a config.json in column config")
        return LLM(**known)
    try:
        own = of_config(json.loads(r["config"]), **{c: known[c] for c in known if c not in NUMBERS})
    except (ValueError, InputError) as error:
        raise InputError(f"table llms, {r['llm']}, column config: {error}") from None
    if differ := [f"{c} is {known[c]} and {getattr(own, c)} by its config" for c in NUMBERS if c in known and known[c] != getattr(own, c)]:
        raise InputError(f"table llms, {r['llm']}: {'; '.join(differ)}")
    return own


@dataclass(frozen=True)
class Rows:
    """A table by name and by filters: ``chips["H100"]`` is `chip`, with names that Tab completes; a call gives the rows of which each
    column has a value, or lies between two ends (None: open). Raises `InputError` for what is no column, or a value of another kind.

    Examples
    --------
    >>> chips(vendor="AMD", hbm_gb=(256, None), status="shipping")["chip"].to_list()
    ['MI325X', 'MI350X', 'MI355X']
    >>> llms["DeepSeek-V3"].layers
    61
    """

    table: str
    one: Callable[[str], Any]

    def __getitem__(self, name: str) -> Any:
        return self.one(name)

    def _ipython_key_completions_(self) -> list[str]:
        return names(self.table)

    def __call__(self, **columns: Any) -> pl.DataFrame:
        frame = load(self.table)
        for column, wanted in columns.items():
            if column not in frame.columns:
                raise InputError(f"{column}: table {self.table} has no such column; {hint(column, frame.columns, 'known')}")
            ends = wanted if isinstance(wanted, tuple) else (wanted, wanted)
            try:
                for end, lies in zip(ends, (pl.Expr.ge, pl.Expr.le), strict=True):
                    frame = frame if end is None else frame.filter(lies(pl.col(column), end))
            except (ValueError, TypeError, pl.exceptions.PolarsError):
                raise InputError(f"{column} = {wanted!r}: expected a value of {frame[column].dtype}, or a pair (low, high)") from None
        return frame


chips, llms = Rows("chips", chip), Rows("llms", llm)  #: accelerators, and language models


def grid(code: str) -> Grid:
    """The grid of a country (ISO alpha-3, ``"FRA"``), US state (``"US-TX"``) or Canadian province; its price by the rate of its period.

    Examples
    --------
    >>> grid("FRA").name
    'France'
    """
    r = _row("grids", code, "grid")
    price = r["price_usd_per_kwh"]
    if price is None and r["price_local_per_kwh"] is not None:
        rate = _row("currencies", f"{r['currency']}|{r['price_period']}", "currency and period")
        price = r["price_local_per_kwh"] * rate["usd_per_unit"]
    return Grid(code=r["grid"], electricity_usd_per_kwh=price, **_same(Grid, r))


def region(name: str) -> Region:
    """The cloud region `name`: its code, or the first that is known by that city, country or ISO code.

    Examples
    --------
    >>> region("swedencentral").pue, region("Warsaw").name
    (1.16, 'polandcentral')
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


@takes()
def rent(chip: str | Chip, tariff: str = "on-demand", as_of: str | None = None) -> Cost:
    """Rent per chip-hour by a tariff (on-demand, spot, 1 year, 3 years, mixed) in the newest month of ``rent_history`` that is known.

    Its value is the median over price lists, or over indices where the month has no list, by the newest row of each; its ends are theirs.

    Examples
    --------
    >>> rent("H100").value, rent("H100", "1 year").value, rent("H100", "1 year", as_of="2026-04").value
    (3.64345, 2.65, 2.35)
    """
    name = chip.name if isinstance(chip, Chip) else chips[chip].name
    rows = table("rent_history", as_of).filter(chip=name)
    if tariff not in rows["tariff"]:
        known = ", ".join(rows["tariff"].unique().sort()) or "none"
        raise InputError(f"tariff = {tariff!r}: no rent of {name} by it{f' as of {as_of}' if as_of else ''}; known tariffs: {known}")
    rows = rows.filter(tariff=tariff).sort("date").with_columns(month=pl.col("date").str.slice(0, 7))
    rows = rows.filter(month=rows["month"][-1]).unique("provider", keep="last", maintain_order=True)
    lists = rows.filter(kind="price list")
    seen = lists if lists.height else rows
    low, high = (seen[f"{end}_usd_per_gpu_h"].fill_null(seen["usd_per_gpu_h"]) for end in ("low", "high"))
    value, ends = cast(float, seen["usd_per_gpu_h"].median()), (cast(float, low.min()), cast(float, high.max()))
    what = "price lists" if lists.height else "indices"
    meaning = f"rent per {name}-hour, {tariff}, {rows['month'][0]}: median of {what} ({seen.height})"
    return Cost("rent_usd_per_chip_hour", value, *ends, "USD/h", meaning, "; ".join(seen["source"].unique(maintain_order=True)), None)


@takes()
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
    file = Path(folder or pooch.os_cache("workbench")) / r["file"]
    if folder and not file.is_file():
        raise DataError(file, f"WORKBENCH_EXTERNAL is set but has no {r['file']}; get it from {r['url']}")
    if folder and (found := pooch.file_hash(str(file))) != r["sha256"]:
        raise DataError(file, f"sha256 is {found}, expected {r['sha256']}: another version of {name}")
    if not download and not file.is_file():
        raise DataError(file, f"{name} is not here; catalogue.external({name!r}) fetches it, or name its folder in WORKBENCH_EXTERNAL")
    try:
        return file if folder else Path(pooch.retrieve(r["url"], known_hash=r["sha256"], fname=r["file"], path=file.parent))
    except Exception as error:
        offline = f"offline, put {r['file']} into a folder and name it in WORKBENCH_EXTERNAL"
        raise DataError(r["url"], f"{name} could not be downloaded ({type(error).__name__}); {offline}") from error


def _row(table_name: str, name: str, kind: str) -> dict[str, Any]:
    """The row of `table_name` whose key or alias is `name`, whatever its case."""
    return load(table_name).row(_position(table_name, name, kind), named=True)


def _position(table_name: str, name: str, kind: str) -> int:
    if not isinstance(name, str):
        raise InputError(f"{kind} = {name!r}: expected a name, as workbench show {table_name} lists them")
    position = made_of(table_name, _index(table_name)).get(_plain(name))
    if position is None:
        frame, known = load(table_name), names(table_name)
        aliases = ";".join(filter(None, frame["aliases"])).split(";") if "aliases" in frame.columns else ()
        others = {*known, *(alias for alias in aliases if len(alias) > 3)}  # short codes are like anything
        raise UnknownName(kind, name, others if nearest(name, others) else known)
    return position


def _plain(name: str) -> str:
    """A name whatever its case and what separates its words."""
    return re.sub(r"[\s_-]+", "-", str(name).strip().casefold())


@cache
def _index(table_name: str) -> Callable[[pl.DataFrame], dict[str, int]]:
    """What makes of a table the row of each key and alias."""

    def index(frame: pl.DataFrame) -> dict[str, int]:
        found = {_plain(name): i for i, name in enumerate(tables.names(frame, table_name))}
        for i, aliases in enumerate(frame["aliases"] if "aliases" in frame.columns else ()):
            for alias in filter(None, (aliases or "").split(";")):
                found.setdefault(_plain(alias), i)
        for name, i in [*found.items()]:
            found.setdefault(re.sub(r"-a\d+b$", "", name), i)  # a mixture of experts without its active parameters
        return found

    return index


def _same(cls: type, row: dict[str, Any]) -> dict[str, Any]:
    """Cells of `row` whose column is a field of `cls` under the same name: they need no conversion."""
    return {f.name: row[f.name] for f in fields(cls) if f.name in row}


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


#: What a user asks for, and what Tab shows; the other rows' classes and `key_of` are for models.
__all__ = [
    "LLM", "Chip", "chip", "chips", "cost", "cpu", "external", "grid", "link", "llm", "llms", "names", "path", "region", "rent", "table",
]  # fmt: skip


def __dir__() -> list[str]:
    return [name for name in __all__ if name not in ("external", "path")]  # files, which notebooks read
