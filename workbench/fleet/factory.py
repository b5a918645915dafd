"""The whole chain as one call: a cluster, a site and a price of money -> watts, dollars, days and tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from workbench import catalogue
from workbench.arrays import Array, ArrayLike, Arrays
from workbench.catalogue import LLM, Chip, Cost
from workbench.checks import POSITIVE, SHARE, Rule, check_fields, takes
from workbench.chips import Load, ServingPlan, serving, serving_speed, training_run
from workbench.chips.serving.evaluate import Serving
from workbench.chips.training.run import TrainingRun
from workbench.energy import ServerPower, server_power
from workbench.energy.server import all_in_ratio, busy_share_of
from workbench.errors import UnknownName
from workbench.fabric import Cluster
from workbench.fleet.finance import USED
from workbench.fleet.ownership import PUBLISHED, RULES, OwnershipCost, ownership_cost, price_of, server_uplift
from workbench.units import DAY, HOUR

#: What the arguments of `ai_factory` may be.
_INPUTS = {
    name: RULES[name]
    for name in ("chip_price", "server_uplift", "network_share", "facility_capex_usd_per_w", "operations_usd_per_w_year",
                 "server_life_years", "wacc", "electricity_usd_per_kwh", "pue")
} | {
    "server_power_ratio": Rule(least=1.0, why="a server draws at least as much as its chips"), "busy_share": SHARE, "mfu": USED,
    "serving_speed": POSITIVE, "utilisation": USED,
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Work(Arrays):
    """What a cluster is for: one model to train, and one to serve at a stated load."""

    trained: LLM
    tokens: ArrayLike  #: training tokens
    precision: str  #: number format of training
    served: LLM
    plan: ServingPlan  #: layout of a replica
    load: Load  #: of a replica

    def __post_init__(self) -> None:
        check_fields(self, tokens=POSITIVE)


@dataclass(frozen=True, repr=False)
class Factory(Arrays):
    """An AI factory at work; arrays broadcast over the arguments of `ai_factory`."""

    cluster: Cluster
    peak: Array  #: dense, in the precision of training [FLOP/s]
    power: ServerPower  #: a chip with its server [W]
    it_power: Array  #: rated, all chips [W]
    facility_power: Array  #: rated, at the meter [W]
    cost: OwnershipCost
    training: TrainingRun  #: the whole cluster trains
    serving: Serving  #: one replica; the whole cluster serves as many as fit
    training_days: Array
    usd_per_year: Array
    usd_per_chip_hour: Array  #: of an owned hour
    usd_per_useful_chip_hour: Array  #: of an hour in which the chip works
    tokens_per_second: Array  #: output tokens of all chips while they work
    usd_per_million_tokens: Array  #: output tokens
    joules_per_token: Array  #: at the meter, while it works
    tokens_per_watt_per_dollar: Array  #: [tokens/s/W/(USD/h)] a chip: facility watts at work, dollars of a useful hour


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
    facility_capex_usd_per_w: ArrayLike,
    operations_usd_per_w_year: ArrayLike,
    server_life_years: ArrayLike,
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

    Examples
    --------
    >>> from workbench.chips import Load, ServingPlan
    >>> inputs = {name: cost.value for name, cost in factory_inputs("GB300", "fp4").items()} | {"utilisation": 0.8}
    >>> llm = catalogue.llm("Llama-3.1-405B")
    >>> work = Work(llm, 15.6e12, "bf16", llm, ServingPlan(8, "fp4", "fp8"), Load(256, 1024, 1024))
    >>> answer = ai_factory(Cluster(catalogue.chip("GB300"), 4608), work, **inputs)
    >>> answer.usd_per_chip_hour.round(2), answer.training_days.round(1)
    (np.float64(2.33), np.float64(116.4))
    """
    power = server_power(cluster.chip, utilisation, ratio=server_power_ratio, busy_share=busy_share)
    cost = ownership_cost(
        n_chips=cluster.n_chips, chip_price=chip_price, power=power, pue=pue, electricity_usd_per_kwh=electricity_usd_per_kwh, wacc=wacc,
        server_life_years=server_life_years, server_uplift=server_uplift, network_share=network_share,
        facility_capex_usd_per_w=facility_capex_usd_per_w, operations_usd_per_w_year=operations_usd_per_w_year,
    )  # fmt: skip
    at_work = server_power(cluster.chip, 1.0, ratio=server_power_ratio, busy_share=busy_share).average * np.asarray(pue)
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
            facility_power=n * power.rated * np.asarray(pue),
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
            tokens_per_watt_per_dollar=speed / (at_work * useful_hour),
        )


def factory_inputs(chip: str | Chip, serving_precision: str = "fp8", served: str = "", **given: float | None) -> dict[str, Cost]:
    """Value and band of the inputs of `ai_factory`, each with its source; utilisation, which has none, is not among them.

    Parameters
    ----------
    chip : str or Chip
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

    Examples
    --------
    >>> factory_inputs("GB300", wacc=0.12)["wacc"].ends
    (0.042, 0.12)
    """
    chip = catalogue.chip(chip)
    inputs = {
        "chip_price": price_of(chip if chip.price else replace(chip, price=given.get("chip_price"))),
        "server_uplift": server_uplift(chip),
        "server_power_ratio": all_in_ratio(chip),
        "serving_speed": serving_speed(chip, serving_precision, served),
        "busy_share": busy_share_of(chip),
    }
    rows = PUBLISHED | {"mfu": "training_mfu_llama3"} | ({"pue": "pue_liquid"} if chip.cooling == "liquid" else {})
    inputs |= {name: catalogue.cost(rows.get(name, name)) for name in _INPUTS if name not in inputs and name != "utilisation"}
    for name, value in given.items():
        if name not in inputs:
            raise UnknownName("input", name, inputs)
        if value is not None:
            inputs[name] = inputs[name].at(replace(_INPUTS[name], one=True)(name, value))
    return inputs
