"""The whole chain as one call: a cluster, a site and a price of money -> watts, dollars, days and tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.catalogue import LLM, Chip, Cost
from workbench.checks import POSITIVE, SHARE, Rule, check_fields, takes
from workbench.chips import Load, ServingPlan, serving, serving_speed, training_run
from workbench.chips.serving.evaluate import Serving
from workbench.chips.training.run import TrainingRun
from workbench.energy import ServerPower, all_in_ratio, facility_power, server_power
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster
from workbench.fleet.finance import USED
from workbench.fleet.ownership import RULES, OwnershipCost, ownership_cost, server_uplift, tokens_per_watt_per_dollar
from workbench.units import DAY, HOUR, KWH

#: What the arguments of `ai_factory` may be.
_INPUTS = {
    name: RULES[name]
    for name in ("chip_price", "server_uplift", "network_share", "facility_capex", "operations", "server_life", "wacc", "pue")
} | {
    "server_power_ratio": Rule(least=1.0, why="a server draws at least as much as its chips"), "busy_share": SHARE, "mfu": USED,
    "electricity_usd_per_kwh": Rule(least=0.0, most=100.0, unit="USD/kWh"), "serving_speed": POSITIVE, "utilisation": USED,
}  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What a cluster is for: one model to train, and one to serve at a stated load."""

    trained: LLM
    tokens: ArrayLike  #: training tokens
    precision: str  #: number format of training
    served: LLM
    plan: ServingPlan  #: layout of a replica
    load: Load  #: of a replica

    def __post_init__(self) -> None:
        check_fields(self, tokens=POSITIVE)


@dataclass(frozen=True)
class Factory:
    """An AI factory at work; arrays broadcast over the arguments of `ai_factory`."""

    cluster: Cluster
    peak: NDArray[np.float64]  #: dense, in the precision of training [FLOP/s]
    power: ServerPower  #: a chip with its server [W]
    it_power: NDArray[np.float64]  #: rated, all chips [W]
    facility_power: NDArray[np.float64]  #: rated, at the meter [W]
    cost: OwnershipCost
    training: TrainingRun  #: the whole cluster trains
    serving: Serving  #: one replica; the whole cluster serves as many as fit
    training_days: NDArray[np.float64]
    usd_per_year: NDArray[np.float64]
    usd_per_chip_hour: NDArray[np.float64]  #: of an owned hour
    usd_per_useful_chip_hour: NDArray[np.float64]  #: of an hour in which the chip works
    tokens_per_second: NDArray[np.float64]  #: output tokens of all chips while they work
    usd_per_million_tokens: NDArray[np.float64]  #: output tokens
    joules_per_token: NDArray[np.float64]  #: at the meter, while it works
    tokens_per_watt_per_dollar: NDArray[np.float64]  #: [tokens/s/W/(USD/h)] a chip: facility watts at work, dollars of a useful hour


@takes(**_INPUTS)
def ai_factory(
    cluster: Cluster,
    work: Work,
    *,
    chip_price: ArrayLike,
    server_uplift: ArrayLike,
    server_power_ratio: ArrayLike,
    busy_share: ArrayLike,
    network_share: ArrayLike,
    facility_capex: ArrayLike,
    operations: ArrayLike,
    server_life: ArrayLike,
    wacc: ArrayLike,
    electricity_usd_per_kwh: ArrayLike,
    pue: ArrayLike,
    mfu: ArrayLike,
    serving_speed: ArrayLike,
    utilisation: ArrayLike,
) -> Factory:
    """What a cluster draws, costs, trains and serves, to first order.

    It joins `chips.training_run`, `chips.serving`, `energy.server_power` and `ownership_cost`, where each argument is explained;
    `factory_inputs` gives the published value and band of all of them but the utilisation. Arguments broadcast.

    Returns
    -------
    Factory

    Raises
    ------
    InputError
        As the functions it joins.
    """
    power = server_power(cluster.chip, utilisation, ratio=server_power_ratio, busy_share=busy_share)
    at_work = facility_power(server_power(cluster.chip, 1.0, ratio=server_power_ratio, busy_share=busy_share).average, pue)
    cost = ownership_cost(
        n_chips=cluster.n_chips,
        chip_price=chip_price,
        power=power,
        pue=pue,
        electricity_price=np.divide(electricity_usd_per_kwh, KWH),
        wacc=wacc,
        server_life=server_life,
        server_uplift=server_uplift,
        network_share=network_share,
        facility_capex=facility_capex,
        operations=operations,
    )
    run = training_run(work.trained, cluster, work.tokens, mfu=mfu, precision=work.precision, utilisation=utilisation)
    replica = serving(work.served, cluster, work.plan, work.load, speed=serving_speed)
    speed = replica.tokens_per_second_per_chip
    useful_hour = np.divide(cost.per_chip_hour, utilisation)
    n = np.asarray(cluster.n_chips, dtype=float)
    with np.errstate(divide="ignore"):  # a model that does not fit makes no tokens: infinitely dear, and `serving.feasible` says why
        return Factory(
            cluster=cluster,
            peak=cluster.peak(work.precision),
            power=power,
            it_power=n * power.rated,
            facility_power=facility_power(n * power.rated, pue),
            cost=cost,
            training=run,
            serving=replica,
            training_days=run.seconds / DAY,
            usd_per_year=cost.per_year,
            usd_per_chip_hour=cost.per_chip_hour,
            usd_per_useful_chip_hour=useful_hour,
            tokens_per_second=n * speed,
            usd_per_million_tokens=useful_hour / (speed * HOUR) * 1e6,
            joules_per_token=at_work / speed,
            tokens_per_watt_per_dollar=tokens_per_watt_per_dollar(speed, at_work, useful_hour),
        )


def factory_inputs(chip: Chip, serving_precision: str = "fp8", served: str = "", **given: float | None) -> dict[str, Cost]:
    """Value and band of the inputs of `ai_factory`, each with its source; utilisation, which has none, is not among them.

    Parameters
    ----------
    chip : Chip
    serving_precision : str
        Number format of served weights.
    served : str
        Model that is served: the band of its speed is narrower where it was measured.
    **given : float or None
        Inputs whose value is known: it takes the place of the published one, and the published band is stretched to hold it.

    Raises
    ------
    InputError
        For a chip without a published price if no `chip_price` is given, and for a name that is no input.
    """
    kind = "tpu" if chip.vendor == "Google" else "gpu"
    inputs = {
        "chip_price": _price(chip, given.get("chip_price")),
        "server_uplift": server_uplift(chip),
        "server_power_ratio": all_in_ratio(chip),
        "serving_speed": serving_speed(chip, serving_precision, served),
    } | {
        name: catalogue.cost(row)
        for name, row in (
            ("busy_share", f"server_power_share_{kind}"),
            ("network_share", "network_capex_share"),
            ("facility_capex", "facility_capex_usd_per_w"),
            ("operations", "operations_usd_per_w_year"),
            ("server_life", "server_life_years"),
            ("wacc", "wacc_hyperscaler"),
            ("electricity_usd_per_kwh", "electricity_us_industrial_2025_usd_per_kwh"),
            ("pue", "pue_liquid" if chip.cooling == "liquid" else "pue_microsoft"),
            ("mfu", "training_mfu_llama3"),
        )
    }
    for name, value in given.items():
        if name not in inputs:
            raise UnknownName("input", name, inputs)
        if value is not None:
            inputs[name] = inputs[name].at(replace(_INPUTS[name], one=True)(name, value))
    return inputs


def _price(chip: Chip, given: float | None) -> Cost:
    price = chip.price or given
    if price is None:
        priced = [n for n in catalogue.names("chips") if catalogue.chip(n).price is not None]
        raise InputError(f"{chip.name} has no published price: give chip_price. Chips with one: {', '.join(priced)}")
    source = next((part for part in chip.source.split(" | ") if "price" in part), chip.source)
    return Cost("chip_price", price, chip.price_low, chip.price_high, "USD", f"price of one {chip.name}", source, chip.note)
