"""Classes of work that share a fleet: what each asks of a chip, what it tolerates, and what it is worth."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from workbench import catalogue
from workbench.arrays import Array, ArrayLike
from workbench.catalogue import CPU, Chip
from workbench.checks import NOT_NEGATIVE, SHARE, Rule, check_fields, numeric, one_of, takes, to_shape
from workbench.energy import ServerPower, server_power, site
from workbench.energy.grid import Site
from workbench.energy.server import all_in_ratio
from workbench.errors import InputError, UnknownName
from workbench.fleet.finance import USED, YEARLY, annuity
from workbench.fleet.ownership import ownership_cost, server_uplift
from workbench.fleet.problem import LIMIT, Fleet, whether
from workbench.units import GIGA, HOUR

#: What a class may be bound by, and units of work in one of that: PFLOP, TFLOP, TB read, GB sent, core-seconds.
BOUNDS = {"bf16": 1e-15, "fp8": 1e-15, "fp64": 1e-12, "memory": 1e-12, "network": 1e-9, "cores": 1.0}
PRICE = Rule(least=0.0, one=True)


@dataclass(frozen=True)
class Workload:
    """A class of work that shares a fleet."""

    name: str
    bound: str  #: bf16, fp8, fp64, memory, network or cores
    efficiency: float  #: share of that bound it reaches, 0 to 1
    preemptible: bool  #: may be interrupted by others
    latency: float  #: that it tolerates to its users [s]; inf where none waits
    value: float = 0.0  #: of a unit of what it is bound by [USD]
    premium: float = 1.0  #: what is paid for it over the rent of the machine that does it
    share: float = 0.0  #: of the machines that are at work today

    def __post_init__(self) -> None:
        one_of("bound", self.bound, tuple(BOUNDS))
        single = {name: replace(rule, one=True) for name, rule in (("efficiency", USED), ("latency", LIMIT), ("share", SHARE))}
        check_fields(self, f"{self.name}: ", value=PRICE, premium=PRICE, **single)

    def throughput(self, machine: str | Chip | CPU) -> float:
        """Units of work per second on one chip or processor; 0 where it can't run there (a missing format, no published rate)."""
        machine = machine_of(machine)
        if isinstance(machine, CPU):
            rates = {"cores": float(machine.cores)}
        else:  # a chip without fp8 runs it in the next wider format
            rates = {"memory": machine.hbm_bandwidth, "network": machine.scaleout_bandwidth or 0.0, "fp8": machine.peaks.get("bf16", 0.0)}
            rates |= machine.peaks
        return self.efficiency * rates.get(self.bound, 0.0) * BOUNDS[self.bound]

    def priced_at(self, machine: str | Chip | CPU, rent_per_hour: float) -> Workload:
        """The same class at the value that the market puts on it: rent of the machine that does it over what that machine does."""
        machine = machine_of(machine)
        done = self.throughput(machine)
        if done == 0:
            raise InputError(f"{machine.name} can't run {self.name}: it has no published rate for {self.bound}")
        return replace(self, value=PRICE("rent_per_hour", rent_per_hour) / (done * HOUR))


#: Efficiencies are the shares of the bound that measured work reaches: MFU of Llama 3 (arXiv:2407.21783); memory and fp8 as serving
#: reaches them in `validate serving`; fp64 at the level of HPL, networks at that of all-to-all in `validate collectives`. Premiums and
#: shares are assumptions: interactive work is paid half as much again, because somebody waits; tools have the processors to themselves.
CLASSES = (
    Workload("frontier training", "bf16", 0.41, True, np.inf, premium=1.2, share=0.40),
    Workload("fine-tuning", "bf16", 0.35, True, np.inf, share=0.08),
    Workload("interactive inference", "memory", 0.60, False, 0.2, premium=1.5, share=0.30),
    Workload("batch inference", "fp8", 0.40, True, np.inf, share=0.14),
    Workload("HPC, FP64-bound", "fp64", 0.65, True, np.inf, share=0.02),
    Workload("HPC, bandwidth-bound", "memory", 0.60, True, np.inf, share=0.03),
    Workload("HPC, network-bound", "network", 0.70, True, np.inf, share=0.03),
    Workload("agents' tools", "cores", 0.50, False, 1.0, share=1.0),
)


def machine_of(name: str | Chip | CPU) -> Chip | CPU:
    """The chip or the processor of a name, or itself."""
    if isinstance(name, Chip | CPU):
        return name
    try:
        return catalogue.chip(name)
    except UnknownName:
        return catalogue.cpu(name)


@takes()
def work_today(
    chip: str | Chip, chips_at_work: float, rent_per_hour: float, processor: str | CPU, processors_at_work: float, processor_rent: float
) -> tuple[tuple[Workload, ...], Array]:
    """All `CLASSES` of work at today's market value, and the demand for each.

    Today's work is counted in a chip, whose rent [USD/h] prices it, and in a processor, which runs agents' tools; the classes share the
    machines at work. Returned are the classes and their demand in units of work per second, shape (W,).

    Examples
    --------
    >>> work, demand = work_today("H100", 130_000, 2.35, "Microsoft Cobalt 200", 2700, 2.0)
    >>> work[0].name, round(work[0].value, 6), demand[0].round()
    ('frontier training', 0.001932, np.float64(21085.0))
    """
    count, rent = replace(NOT_NEGATIVE, one=True), PRICE("rent_per_hour", rent_per_hour)
    chips, servers = count("chips_at_work", chips_at_work), count("processors_at_work", processors_at_work)
    on = [(processor, servers, PRICE("processor_rent", processor_rent)) if w.bound == "cores" else (chip, chips, rent) for w in CLASSES]
    work = tuple(w.priced_at(machine, price * w.premium) for w, (machine, _, price) in zip(CLASSES, on, strict=True))
    return work, np.array([n * w.share * w.throughput(machine) for w, (machine, n, _) in zip(CLASSES, on, strict=True)])


@takes(
    demand=Rule(least=0.0, last="periods", apart=True), rate=replace(YEARLY, one=True), price_decline=replace(NOT_NEGATIVE, one=True),
    memory_price=replace(NOT_NEGATIVE, apart=True), used=replace(SHARE, one=True), latency=replace(LIMIT, apart=True),
)  # fmt: skip
def fleet_of(
    work: tuple[Workload, ...], machines: tuple[str | Chip | CPU, ...], sites: tuple[str | Site, ...], *, demand: ArrayLike,
    installed: ArrayLike, rate: float, price_decline: float = 0.0, used: float = 0.0, memory_price: ArrayLike = 1.0,
    price: ArrayLike | None = None, power: ArrayLike | None = None, latency: ArrayLike | None = None, **more: Any,
) -> Fleet:  # fmt: skip
    """A `Fleet` from the catalogue: throughput from data sheets, power from all-in ratios, price and upkeep as in `ownership_cost`.

    Work that is preemptible may wait for another hour of its period. A watt of shell costs its annuity, as `ownership_cost` charges it.

    Parameters
    ----------
    work, machines, sites : tuples
        Classes with their values; chips and processors, or their names, one kind per vintage; sites.
    demand, installed : array_like, shapes (W, T), (K, R)
        Units of work per second; machines.
    rate, price_decline, used : float
        Discount rate per year, of shells as of the plan; decline of each price per year, continuous; share of that price which a
        used chip with its server and network brings at any time, 0 to 1.
    memory_price : array_like, shape (T,)
        Of memory over today's: a chip costs by its capacity times `hbm_usd_per_gb` more or less for it, with no margin on it.
    price, power : array_like, optional
        Of a chip now [USD], and its rated IT power with its share of the server [W] (K,), nan where the catalogue's holds. Kinds that are
        not bought need no price; processors have no published power.
    latency : array_like, optional
        Time from each site to the users of the work [s] (R,): classes that tolerate less don't run there.
    **more
        Any other figure of `Fleet`: supply, limits, value, space, hours, shape, ...; it replaces that of the catalogue or the
        sites.

    Raises `InputError` for a machine without power, one that can be bought without a price, a site whose figures change from hour to hour,
    and names that `Fleet` does not have.

    Examples
    --------
    >>> work = (CLASSES[0].priced_at("H100", 2.35),)
    >>> fleet_of(work, ("H100", "GB300"), ("eastus",), demand=[[200.0]], installed=[[500], [0]], rate=0.07).price.round().ravel()
    array([31652., 61157.])
    """
    kinds, places = tuple(map(machine_of, machines)), tuple(map(site, sites))
    if unknown := set(more) - {f.name for f in fields(Fleet)}:
        raise UnknownName("figure of Fleet", sorted(unknown)[0], [f.name for f in fields(Fleet)])
    n, periods = len(kinds), np.shape(demand)[-1]
    if latency is not None:
        away = to_shape("latency", latency, (len(places),))
        near = np.array([[tolerated.latency] for tolerated in work]) >= away
        more["allowed"] = near & (to_shape("allowed", whether("allowed", more.get("allowed", True)), near.shape) > 0)
    prices, watts = _each("price", price, n), _each("power", power, n)
    bought = to_shape("supply", LIMIT("supply", more.get("supply", 0.0)), (n, periods)).max(axis=1) > 0
    at_work, idle, rated = np.array([_power(machine, own) for machine, own in zip(kinds, watts, strict=True)]).T
    published = np.array([getattr(machine, "price", None) or np.nan for machine in kinds])
    prices = np.where(np.isfinite(prices), prices, published)
    if np.any(lacks := bought & np.isnan(prices)):
        raise InputError(f"{kinds[int(lacks.argmax())].name} can be bought but has no published price: give price")
    uplift = np.array([server_uplift(machine).value if isinstance(machine, Chip) else 1.0 for machine in kinds])
    cost = ownership_cost(
        chip_price=np.nan_to_num(prices), power=ServerPower(rated, at_work), electricity_usd_per_kwh=0.0, wacc=rate, server_uplift=uplift
    )
    for figure in {"electricity_usd_per_kwh", "carbon_g_per_kwh", "pue"} - more.keys():
        more[figure] = _yearly(places, figure) if figure == "pue" else _yearly(places, figure)[:, None]
    servers = (cost.capital + cost.network) / annuity(1.0, rate, catalogue.cost("server_life_years").value)  # price with server and network
    path = servers[:, None] * np.exp(-price_decline * np.arange(periods + 1))
    held = np.array([machine.hbm_bytes / GIGA if isinstance(machine, Chip) else 0.0 for machine in kinds])  # [GB]
    added = catalogue.cost("hbm_usd_per_gb").value * held[:, None] * (to_shape("memory_price", memory_price, (periods,)) - 1)
    derived = dict(
        work=tuple(w.name for w in work), kinds=tuple(m.name for m in kinds), regions=tuple(s.name for s in places),
        throughput=np.array([[w.throughput(m) for m in kinds] for w in work]), demand=demand, value=np.array([[w.value] for w in work]),
        installed=installed, power=at_work, idle_power=idle, price=np.maximum(path[:, :-1] + added, 0.0), resale=used * path,
        occupies=rated,
        space_cost=annuity(catalogue.cost("facility_capex_usd_per_w").value, rate, catalogue.cost("facility_life_years").value),
        movable=np.array([w.preemptible for w in work]), rate=rate, operations=cost.staff + cost.maintenance,
        vendor=tuple(m.vendor for m in kinds),
    )  # fmt: skip
    return Fleet(**derived | more)


def _each(name: str, given: ArrayLike | None, n: int) -> Array:
    """A figure of each of `n` machines, nan where the catalogue's holds."""
    value = numeric(name, np.nan if given is None else given)
    NOT_NEGATIVE(name, np.where(np.isnan(value), 0.0, value))
    return to_shape(name, value, (n,))


def _yearly(sites: tuple[Site, ...], name: str) -> Array:
    """One figure per site (R,)."""
    for place in sites:
        if np.ndim(value := getattr(place, name)):
            what = f"{place.name}: {name} is an array of shape {np.shape(value)}, and a fleet takes one figure per site"
            raise InputError(f"{what}: give a site its mean, or give {name} by region and period")
    return np.array([float(getattr(place, name)) for place in sites])


def _power(machine: Chip | CPU, given: float) -> tuple[float, float, float]:
    """IT power at work, idle and rated [W]."""
    if isinstance(machine, Chip) and not np.isfinite(given):
        drawn = server_power(machine, np.array([1.0, 0.0]), ratio=all_in_ratio(machine).value)
        return float(drawn.average[0]), float(drawn.average[1]), float(drawn.rated)
    if not np.isfinite(given):
        raise InputError(f"{machine.name} has no published power of its server: give power")
    busy, idle = (catalogue.cost(name).value for name in ("server_power_share_gpu", "idle_power_share"))
    return given * busy, given * idle, given
