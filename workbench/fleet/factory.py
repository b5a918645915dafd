"""The whole chain as one call: a cluster, its work, a site and a price of money -> watts, dollars, days and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from workbench import catalogue
from workbench.arrays import Array, ArrayLike, Arrays
from workbench.catalogue import LLM, Chip, Cost
from workbench.checks import NOT_NEGATIVE, POSITIVE, SHARE, Rule, check_fields, takes
from workbench.chips import SLO, Load, ServingPlan, cheapest_chip, serving, slo_frontier, training_run
from workbench.chips.serving.evaluate import Serving
from workbench.chips.training.run import TrainingRun
from workbench.energy import ServerPower, power_chain, server_power
from workbench.energy.server import all_in_ratio
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster
from workbench.fleet.finance import USED
from workbench.fleet.ownership import PUBLISHED, RULES, OwnershipCost, ownership_cost, price_of, server_uplift
from workbench.units import HOUR, YEAR

_OWNED = ("server_uplift", "facility_capex_usd_per_w", "operations_usd_per_w_year", "server_life_years", "wacc", "electricity_usd_per_kwh")
#: What the arguments of `ai_factory` may be: those that have a published value, and the others.
_INPUTS = {name: RULES[name] for name in (*_OWNED, "pue")} | {"chip_price": POSITIVE, "network_usd": NOT_NEGATIVE}
_INPUTS["server_power_ratio"] = Rule(least=1.0, why="a server draws at least as much as its chips")
_SHARES = {"utilisation": USED, "mfu": USED, "goodput": USED, "training_share": SHARE, "training_time": POSITIVE, "serving_speed": POSITIVE}


@dataclass(frozen=True, repr=False)
class Work(Arrays):
    """What a cluster is for: one model to train, and one to serve."""

    trained: LLM | str | Path  #: or its name, or the path of its config.json
    tokens: ArrayLike  #: training tokens
    precision: str  #: number format of training
    served: LLM | str | Path  #: as `trained`
    plan: ServingPlan | None  #: of a replica at `load`; None: that with most tokens per chip on the frontier which keeps `slo`
    load: Load
    prefill: ServingPlan | None = None  #: replicas of their own for prompts
    serving_precision: str = "fp8"  #: number format of served weights, where the replica is found
    slo: SLO = field(default_factory=SLO)  #: what the replica keeps, where it is found
    training: Mapping[str, Any] = field(default_factory=dict)  #: what else is said to `chips.training_run`
    frontier: Mapping[str, Any] = field(default_factory=dict)  #: what else is said to `chips.slo_frontier`

    def __post_init__(self) -> None:
        check_fields(self, tokens=POSITIVE)
        catalogue.llm(self.trained), catalogue.llm(self.served)

    def on(self, cluster: Cluster) -> Work:
        """The same with a replica. Raises `InputError` where none keeps `slo`, with what the nearest does."""
        if self.plan is not None:
            return self
        every = slo_frontier(self.served, [cluster], self.load, precisions=(self.serving_precision,), every=True, **self.frontier)
        within = every.filter(every["chips"] <= np.max(cluster.n_chips))  # with those that compute prompts
        row = cheapest_chip(every if within.is_empty() else within, self.slo, "tokens_per_s_chip").row(0, named=True)
        if not row["keeps"]:
            near = f"{row['tokens_per_s_user']:.3g} tokens/s per user, the first token after {row['ttft_s']:.3g} s"
            raise InputError(
                f"slo = {self.slo}: no replica of {catalogue.llm(self.served).name} on {cluster.chip.name} keeps it; the nearest: {near}"
            )
        prompts, decoders = Fraction(row["ratio"]).limit_denominator(64).as_integer_ratio()
        cache, degrees = "bf16" if self.serving_precision == "bf16" else "fp8", {"pp": row["pp"], "attention_dp": row["attention_dp"]}
        plan = ServingPlan(row["tp"], self.serving_precision, cache, replicas=decoders, **degrees)
        side = replace(plan, tp=row["prefill_tp"], pp=1, attention_dp=row["prefill_attention_dp"], replicas=prompts) if prompts else None
        load = replace(self.load, concurrency=row["concurrency"], draft_tokens=row["draft_tokens"])
        return replace(self, plan=plan, prefill=side, load=load)


@dataclass(frozen=True, repr=False)
class Factory(Arrays):
    """An AI factory at work; arrays broadcast over the arguments of `ai_factory`."""

    work: Work = field(repr=False)  #: with the replica that was found
    power: ServerPower  #: a chip with its server [W]
    cost: OwnershipCost
    training: TrainingRun  #: as it is predicted: the whole cluster trains
    serving: Serving  #: as it is predicted: the whole cluster serves with as many replicas as fit
    training_seconds: Array  #: of a run
    training_joules: Array  #: of a run, at the meter
    usd_per_run: Array
    runs_per_year: Array  #: in the share of the hours that is training's
    usd_per_chip_hour: Array  #: of an owned hour
    usd_per_useful_chip_hour: Array  #: of an hour in which the chip works
    tokens_per_second: Array  #: output tokens of all chips while they serve
    tokens_per_year: Array  #: output tokens in the share of the hours that is serving's
    usd_per_million_tokens: Array  #: output tokens
    joules_per_token: Array  #: at the meter, while it serves
    tokens_per_watt_per_dollar: Array  #: [tokens/s/W/(USD/h)] per chip: facility watts at work, dollars of a useful hour

    @property
    def errors(self) -> dict[str, tuple[float, float]]:
        """Ends of the 80 % intervals of `training_time` and `serving_speed`, of one case."""
        run, x, most = self.training, self.serving, np.maximum(self.serving.tokens_per_second_per_chip, 1e-300)
        ends = {"training_time": (run.low / run.seconds, run.high / run.seconds), "serving_speed": (x.rate_low / most, x.rate_high / most)}
        return {name: (float(np.ravel(low)[0]), float(np.ravel(high)[0])) for name, (low, high) in ends.items()}


@takes(**_INPUTS, **_SHARES)
def ai_factory(
    cluster: Cluster, work: Work, *, chip_price: ArrayLike, server_uplift: ArrayLike, server_power_ratio: ArrayLike,
    network_usd: ArrayLike, facility_capex_usd_per_w: ArrayLike, operations_usd_per_w_year: ArrayLike, server_life_years: ArrayLike,
    wacc: ArrayLike, electricity_usd_per_kwh: ArrayLike, pue: ArrayLike, utilisation: ArrayLike, training_share: ArrayLike = 0.5,
    mfu: ArrayLike | None = None, goodput: ArrayLike | None = None, training_time: ArrayLike = 1.0, serving_speed: ArrayLike = 1.0,
) -> Factory:  # fmt: skip
    """What a cluster draws, costs, trains and serves, to first order.

    It joins `chips.training_run`, `chips.slo_frontier`, `chips.serving`, `energy.power_chain` and `ownership_cost`, which explain their
    arguments (array_like, broadcast); `factory_inputs` gives the published value and band of those that have one.

    Parameters
    ----------
    network_usd : array_like
        A chip's part of scale-out network and storage, as `fabric.bill` counts them [USD].
    utilisation, training_share : array_like
        Share of all hours in which the chips work, and share of these in which they train; in the others they serve.
    mfu, goodput : array_like, optional
        A stated MFU and share of progress of a run; if not given, those of `chips.training_run`: of the layout that is found.
    training_time, serving_speed : array_like
        Over what is predicted: 1, or draws from `Factory.errors`. A layout is searched once, whatever is drawn.

    Examples
    --------
    >>> from workbench.chips import Load
    >>> inputs = {name: cost.value for name, cost in factory_inputs("GB300").items()} | {"utilisation": 0.8}
    >>> llm = catalogue.llm("Llama-3.1-8B")
    >>> work = Work(llm, 15.6e12, "bf16", llm, None, Load(1, 1024, 1024))
    >>> answer = ai_factory(Cluster("GB300", 72), work, mfu=0.4, goodput=1.0, **inputs)
    >>> answer.usd_per_chip_hour.round(2), (answer.training_seconds / 86_400).round(1)
    (np.float64(2.33), np.float64(120.8))
    """
    chip, n, work = cluster.chip, np.asarray(cluster.n_chips, dtype=float), work.on(cluster)
    assert work.plan is not None
    run = training_run(work.trained, cluster, work.tokens, mfu=mfu, precision=work.precision, utilisation=goodput, **work.training)
    software = {name: value for name, value in work.frontier.items() if name in ("framework", "version")}
    replica = serving(work.served, cluster, work.plan, work.load, prefill=work.prefill, **software)
    rest = server_power(chip, 0.0, ratio=server_power_ratio)

    def at_work(watts: Any) -> Array:
        """With server and switches, what a chip at so many watts draws [W]; no weather, since the PUE is given."""
        return power_chain(chip, 1.0, drawn=watts, cooled_by=chip.cooling or "air", wet_bulb=0.0).it

    trains, serves = at_work(np.asarray(run.joules) / (run.chip_hours * HOUR)), at_work(replica.watts_per_chip)
    used, part = np.asarray(utilisation), np.asarray(training_share)
    power = ServerPower(rest.rated, used * (part * trains + (1 - part) * serves) + (1 - used) * rest.average)
    cost = ownership_cost(
        n_chips=n, chip_price=chip_price, power=power, pue=pue, electricity_usd_per_kwh=electricity_usd_per_kwh, wacc=wacc,
        server_life_years=server_life_years, server_uplift=server_uplift, facility_capex_usd_per_w=facility_capex_usd_per_w,
        network_share=network_usd / (np.asarray(network_usd) + np.multiply(chip_price, server_uplift)),
        operations_usd_per_w_year=operations_usd_per_w_year,
    )  # fmt: skip
    seconds, speed = run.seconds * np.asarray(training_time), replica.tokens_per_second_per_chip * np.asarray(serving_speed)
    useful, meter = cost.per_chip_hour / used, serves * np.asarray(pue)
    with np.errstate(divide="ignore"):  # a model that does not fit makes no tokens: infinitely expensive, and `serving.feasible` says why
        return Factory(
            work=work, power=power, cost=cost, training=run, serving=replica, training_seconds=seconds,
            training_joules=seconds * n * trains * np.asarray(pue), usd_per_run=seconds / HOUR * n * useful,
            runs_per_year=used * part * YEAR / seconds, usd_per_chip_hour=cost.per_chip_hour, usd_per_useful_chip_hour=useful,
            tokens_per_second=n * speed, tokens_per_year=used * (1 - part) * YEAR * n * speed, joules_per_token=meter / speed,
            usd_per_million_tokens=useful / (speed * HOUR) * 1e6, tokens_per_watt_per_dollar=speed / (meter * useful),
        )  # fmt: skip


@takes()
def factory_inputs(chip: str | Chip, **given: float | None) -> dict[str, Cost]:
    """Value and band of the inputs of `ai_factory` that were published, each with its source.

    A `given` value replaces the published one, and widens its band to include it; None does not. Raises `InputError` for a chip
    without a published price if no `chip_price` is given, and for a name that is no input.

    Examples
    --------
    >>> factory_inputs("GB300", wacc=0.12)["wacc"].ends
    (0.042, 0.12)
    """
    chip = catalogue.chip(chip)
    price, uplift = price_of(chip if chip.price else replace(chip, price=given.get("chip_price"))), server_uplift(chip)
    share = catalogue.cost(PUBLISHED["network_share"])
    network = [price.value * uplift.value * x / (1 - x) for x in (share.value, *share.ends)]
    inputs = {"chip_price": price, "server_uplift": uplift, "server_power_ratio": all_in_ratio(chip)}
    inputs["network_usd"] = replace(share, name="network_usd", value=network[0], low=network[1], high=network[2], unit="USD")
    rows = PUBLISHED | ({"pue": "pue_liquid"} if chip.cooling == "liquid" else {})
    inputs |= {name: catalogue.cost(rows.get(name, name)) for name in _INPUTS if name not in inputs}
    for name, value in given.items():
        if name not in inputs:
            raise UnknownName("input", name, inputs)
        if value is not None:
            inputs[name] = inputs[name].at(replace(_INPUTS[name], one=True)(name, value))
    return inputs
