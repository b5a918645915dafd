"""Throughput against interactivity over all layouts, formats and loads, and what an objective on latency costs on each chip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench import catalogue, formats
from workbench.arrays import broadcast
from workbench.checks import COUNT, NOT_NEGATIVE, POSITIVE, PUE, Rule, check_fields, one_of, takes
from workbench.chips import watts as watts_model
from workbench.chips.machine import Machine
from workbench.chips.serving.constants import Basis
from workbench.chips.serving.evaluate import demand_of, grounds
from workbench.chips.serving.loops import Point, operate
from workbench.chips.serving.plan import Load, ServingPlan, numbers_of, why_not
from workbench.chips.serving.work import Demand
from workbench.errors import InputError
from workbench.fabric import Cluster
from workbench.llm import LLM
from workbench.units import HOUR

#: Layouts that are tried: chips of a group, and groups that share the experts.
TP, ATTENTION_DP = (1, 2, 4, 8, 16), (1, 2, 4, 8, 16, 32)
#: Requests in flight of a replica, from one to many thousands.
CONCURRENCY = tuple(np.unique(np.round(np.geomspace(1, 16_384, 85))).tolist())
#: Prefill replicas over decode replicas, where they are disaggregated.
RATIOS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
#: Formats of the weights, the narrowest first.
PRECISIONS = formats.LADDER[:0:-1]


@dataclass(frozen=True)
class SLO:
    """What is promised to a user.

    Examples
    --------
    >>> SLO(tokens_per_second=50, ttft=2.0).ttft
    2.0
    """

    tokens_per_second: float = 0.0  #: of each user, at least [1/s]
    ttft: float = np.inf  #: time to first token, at most [s]

    def __post_init__(self) -> None:
        check_fields(self, tokens_per_second=Rule(least=0, one=True), ttft=Rule(above=0, infinite=True, one=True))


@takes(
    pue=PUE,
    concurrency=Rule(least=1, apart=True),
    tp=replace(COUNT, apart=True),
    attention_dp=replace(COUNT, apart=True),
    ratios=replace(POSITIVE, apart=True),
)
def slo_frontier(
    llm: LLM | str | Path,
    clusters: Sequence[Cluster],
    load: Load,
    *,
    usd_per_chip_hour: Mapping[str, float] | None = None,
    pue: ArrayLike = 1.0,
    precisions: Sequence[str] = PRECISIONS,
    concurrency: ArrayLike = CONCURRENCY,
    tp: ArrayLike = TP,
    attention_dp: ArrayLike = ATTENTION_DP,
    ratios: ArrayLike = RATIOS,
    framework: str = "",
    version: str = "",
    every: bool = False,
) -> pl.DataFrame:
    """Operating points that no other of the chip beats in both tokens/s a chip and tokens/s a user.

    Raises `InputError` for a request beyond the context window, or a model that fits on none of the chips.

    Parameters
    ----------
    llm : LLM or str
        A model or its name.
    clusters : sequence of Cluster
        A chip and fabric each; a replica cannot have more chips than `n_chips`.
    load : Load
        Its lengths, prefix hit rate and speculation, one number each; concurrency is varied.
    usd_per_chip_hour : mapping of chip name to USD, optional
    pue : array_like
        Facility over IT power; an array gives every point once for each, with a column ``pue``.
    precisions, concurrency, tp, attention_dp, ratios
        What is varied; precisions that a chip lacks and layouts that cannot be (`plan.REASONS`) are left out, ratios of prefill to
        decode replicas apply where they are disaggregated.
    framework, version : str
        As `serving`.
    every : bool
        All points, not the frontier alone.

    Returns
    -------
    polars.DataFrame
        chip, precision, prefill (aggregated or disaggregated), ratio, tp, attention_dp, chips, concurrency, tokens_per_s_user,
        tokens_per_s_chip, ttft_s, watts_chip, joules_per_token (at the meter), usd_per_million_tokens (output tokens; null without a
        price), tokens_per_watt_per_dollar; by chip, the fastest for each user first.

    Examples
    --------
    >>> h100 = Cluster(catalogue.chip("H100"), 8, "InfiniBand NDR")
    >>> found = slo_frontier("Llama-3.1-8B", [h100], Load(1, 1024, 256), tp=[1, 2], attention_dp=1, usd_per_chip_hour={"H100": 2.0})
    >>> found["tokens_per_s_chip"].is_sorted() and found["tokens_per_s_user"].is_sorted(descending=True)
    True
    """
    llm = catalogue.llm(llm)
    one_of("precisions", precisions, formats.names("weights"))
    prices = {name: replace(NOT_NEGATIVE, one=True)(f"usd_per_chip_hour[{name}]", usd) for name, usd in (usd_per_chip_hour or {}).items()}
    for name, value in numbers_of(load).items():
        if name not in ("concurrency", "rate"):
            Rule(one=True)(name, value)
    load = replace(load, concurrency=np.ravel(concurrency)[None, :], rate=None)
    if float(np.asarray(load.input_tokens)) + float(np.asarray(load.output_tokens)) > llm.context:
        raise InputError(f"input_tokens + output_tokens exceed the context window of {llm.name}: {llm.context}")
    layout_tp, layout_dp = (x.ravel()[:, None] for x in np.meshgrid(np.ravel(tp), np.ravel(attention_dp), indexing="ij"))
    frames = []
    for cluster in clusters:
        largest, plan = replace(cluster, n_chips=np.max(cluster.n_chips)), ServingPlan(layout_tp, attention_dp=layout_dp)
        can = why_not(llm, largest, plan, load, 0.0)[:, 0] == 0
        for precision in (p for p in np.ravel(precisions).tolist() if cluster.chip.runs(p)):
            cache = "fp8" if precision != "bf16" else "bf16"
            own = ServingPlan(layout_tp[can], precision, cache, attention_dp=layout_dp[can])
            demand = demand_of(llm, cluster, own, load)
            for ratio in (0.0, *np.ravel(ratios).tolist()):
                near, c, _ = grounds(llm, cluster, own, load, framework, version, ratio > 0)
                prompt = replace(demand, replicas=ratio, concurrency=demand.concurrency / ratio) if ratio else None
                where = {
                    "chip": cluster.chip.name,
                    "precision": precision,
                    "prefill": "disaggregated" if ratio else "aggregated",
                    "ratio": ratio,
                }
                frames.append(_frame(demand, operate(demand, prompt, c), cluster, near, where, prices))
    found = pl.concat(frames) if frames else pl.DataFrame()
    if found.is_empty():
        raise InputError(f"{llm.name} fits on none of {', '.join(x.chip.name for x in clusters)} in {', '.join(precisions)}")
    if not every:
        found = found.sort("chip", "tokens_per_s_user", "tokens_per_s_chip", descending=[False, True, True])
        best = pl.col("tokens_per_s_chip").cum_max().over("chip")
        found = found.filter((pl.col("tokens_per_s_chip") >= best) & pl.struct("chip", "tokens_per_s_chip").is_first_distinct())
    found = pl.DataFrame({"pue": np.ravel(pue)}).join(found, how="cross")
    found = found.with_columns(pl.col("joules_per_token") * pl.col("pue"), pl.col("tokens_per_watt_per_dollar") / pl.col("pue"))
    return found if np.ndim(pue) else found.drop("pue")


def cheapest_chip(frontier: pl.DataFrame, slo: SLO, by: str = "usd_per_million_tokens") -> pl.DataFrame:
    """The best point of each chip (and PUE, where there are many) that keeps a promise, best first.

    Raises `InputError` if no point keeps it, with the nearest.

    Parameters
    ----------
    frontier : polars.DataFrame
        As `slo_frontier` returns it; with a promise on the time to first token, of every point.
    by : str
        usd_per_million_tokens, joules_per_token (least), tokens_per_s_chip or tokens_per_watt_per_dollar (most).

    Examples
    --------
    >>> h100, load = Cluster(catalogue.chip("H100"), 8, "InfiniBand NDR"), Load(1, 1024, 256)
    >>> found = slo_frontier("Llama-3.1-8B", [h100], load, tp=[1, 2], attention_dp=1, usd_per_chip_hour={"H100": 2.0})
    >>> cheapest_chip(found, SLO(tokens_per_second=50))["chip"].to_list()
    ['H100']
    """
    if by not in frontier.columns or frontier[by].null_count() == frontier.height:
        raise InputError(f"by = {by!r}: expected a column with values; money needs usd_per_chip_hour")
    kept = frontier.filter((pl.col("tokens_per_s_user") >= slo.tokens_per_second) & (pl.col("ttft_s") <= slo.ttft))
    if kept.is_empty():
        top = frontier["tokens_per_s_user"].max()
        soon = frontier["ttft_s"].min()
        raise InputError(f"no point keeps {slo}: the fastest gives a user {top:.3g} tokens/s, the first token comes after {soon:.3g} s")
    most = by in ("tokens_per_s_chip", "tokens_per_watt_per_dollar")
    each = ["chip", "pue"] if "pue" in kept.columns else ["chip"]
    return kept.sort(by, descending=most, nulls_last=True).unique(each, keep="first", maintain_order=True)


def break_even_price(frontier: pl.DataFrame, slo: SLO, chip: str, against: str) -> float:
    """Price of a chip-hour of `chip` at which its tokens cost what those of `against` do [USD].

    Raises `InputError` for a chip that has no point that keeps the promise.

    Examples
    --------
    >>> two = pl.DataFrame({"chip": ["A", "B"], "tokens_per_s_chip": [900.0, 300.0], "usd_per_million_tokens": [None, 2.0]})
    >>> two = two.with_columns(tokens_per_s_user=60.0, ttft_s=1.0)
    >>> break_even_price(two, SLO(tokens_per_second=50), "A", "B")  # B is paid 2.16 USD an hour, A is three times as fast
    6.48
    """
    best = cheapest_chip(frontier, slo, "tokens_per_s_chip")
    speed = dict(best.select("chip", "tokens_per_s_chip").iter_rows())
    for name in (chip, against):
        if name not in speed:
            raise InputError(f"{name} has no point that keeps {slo}; these have: {', '.join(speed)}")
    paid = cheapest_chip(frontier.filter(pl.col("chip") == against), slo)["usd_per_million_tokens"][0]
    return float(paid * speed[chip] * HOUR / 1e6)


def value_of(
    llm: LLM | str | Path, cluster: Cluster, plan: ServingPlan, load: Load, *, framework: str = "", version: str = ""
) -> dict[str, Any]:
    """By how many percent throughput grows with one percent more of a resource: peak, hbm_bandwidth, hbm (its size), for each point.

    0 where `serving` says that the point is not feasible: nothing is served. Arguments as there.

    Examples
    --------
    >>> h100 = Cluster(catalogue.chip("H100"), 8, "InfiniBand NDR")
    >>> worth = value_of("Llama-3.1-70B", h100, ServingPlan(4), Load([1, 256], 1024, 1024))
    >>> (worth["hbm_bandwidth"] > worth["peak"]).tolist()
    [True, False]
    """
    llm = catalogue.llm(llm)
    broadcast(n_chips=cluster.n_chips, **numbers_of(plan, load))
    _, c, _ = grounds(llm, cluster, plan, load, framework, version)
    machine, step = Machine.of(cluster, formats.FORMATS[plan.precision]), 1e-4
    demand = Demand.of(llm, machine, plan, load)
    can = why_not(llm, cluster, plan, load, demand.missing_bytes) == 0
    base = operate(demand, None, c).tokens_per_second

    def gain(resource: str) -> Any:
        more = operate(Demand.of(llm, machine.scaled(resource, 1 + step), plan, load), None, c).tokens_per_second
        return np.where(can, (more / base - 1) / step, 0.0)

    return {resource: gain(resource) for resource in ("peak", "hbm_bandwidth", "hbm")}


def _frame(demand: Demand, point: Point, cluster: Cluster, near: Basis, where: dict[str, Any], prices: Mapping[str, float]) -> pl.DataFrame:
    """Points that fit as rows; joules and watts of the chips alone."""
    chip, shape = cluster.chip, point.tpot.shape
    fits = np.broadcast_to((demand.fits >= 1) & (point.batch >= 0.999 * demand.concurrency), shape)
    watts = np.full(shape, np.nan)
    if chip.tdp is not None:
        compute, memory = demand.used(point.batch, demand.half_way, point.tpot)
        watts = watts_model.drawn(chip, near.origin, np.clip(compute, 0, 1), np.clip(memory, 0, 1))
    price, rate = prices.get(chip.name, np.nan), point.tokens_per_second_per_chip
    columns = {
        "tp": demand.tp,
        "attention_dp": demand.attention_dp,
        "chips": demand.chips * (1 + where["ratio"]),
        "concurrency": demand.concurrency,
        "tokens_per_s_user": 1 / point.tpot,
        "tokens_per_s_chip": rate,
        "ttft_s": point.ttft,
        "watts_chip": watts,
        "joules_per_token": watts / rate,
        "usd_per_million_tokens": price / (rate * HOUR) * 1e6,
        "tokens_per_watt_per_dollar": rate / (watts * price) if price else np.inf,
    }
    picked = {name: np.broadcast_to(value, shape)[fits] for name, value in columns.items()}
    return pl.DataFrame(picked).select(*(pl.lit(v).alias(k) for k, v in where.items()), pl.all().fill_nan(None))
