"""Throughput against interactivity over all layouts, formats and loads, and what an objective on latency costs on each chip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench import catalogue, formats
from workbench.calibration.evidence import beyond
from workbench.checks import COUNT, NOT_NEGATIVE, POSITIVE, PUE, RENT, Rule, check_fields, one_of, takes
from workbench.chips.serving.choices import Asked, layouts, speculative
from workbench.chips.serving.plan import Load, numbers_of
from workbench.chips.serving.work import multiplied_in
from workbench.errors import InputError
from workbench.fabric import Cluster
from workbench.llm import LLM

#: Layouts that are tried: chips of a tensor-parallel group, stages, and groups that share the experts.
TP, PP, ATTENTION_DP = (1, 2, 4, 8, 16), (1, 2, 4, 8), (1, 2, 4, 8, 16, 32)
CONCURRENCY = tuple(np.unique(np.round(np.geomspace(1, 16_384, 85))).tolist())  #: of a replica
RATIOS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)  #: prefill workers over decode workers, where they are disaggregated
PRECISIONS = formats.LADDER[:0:-1]  #: formats of the weights, the narrowest first


@dataclass(frozen=True)
class SLO:
    """Service-level objective (SLO) of a user, met by so many percent of the requests.

    Times of requests spread as measured ones did: rows ``ttft_spread`` and ``tpot_spread`` of the costs.

    Examples
    --------
    >>> SLO(tokens_per_second=50, ttft=2.0).ttft
    2.0
    """

    tokens_per_second: float = 0.0  #: of each user, at least: one over the time per output token [1/s]
    ttft: float = np.inf  #: time to first token, at most [s]
    e2e: float = np.inf  #: end-to-end latency of a request, at most [s]
    percentile: float = 50.0  #: of the requests [%]

    def __post_init__(self) -> None:
        time = Rule(above=0, infinite=True, one=True)
        check_fields(self, tokens_per_second=Rule(least=0, one=True), ttft=time, e2e=time, percentile=Rule(least=50, below=100, one=True))

    def kept(self) -> tuple[pl.Expr, pl.Expr]:
        """By what factor a point misses the SLO: 1 or less where it meets all of it; the probability that it reaches the speed."""
        z = NormalDist().inv_cdf(self.percentile / 100)
        first, token = (float(np.exp(z * catalogue.cost(name).value)) for name in ("ttft_spread", "tpot_spread"))
        missed = [self.tokens_per_second * token / pl.col("tokens_per_s_user"), pl.col("ttft_s") * first / self.ttft]
        if np.isfinite(self.e2e):
            missed.append((pl.col("ttft_s") * first + (pl.col("e2e_s") - pl.col("ttft_s")) * token) / self.e2e)
        low, high = (pl.col(f"tokens_per_s_user_{end}").log() for end in ("low", "high"))
        away = (2 * float(np.log(max(self.tokens_per_second, 1e-9) * token)) - low - high) / (high - low)
        return pl.max_horizontal(missed), beyond(away)


@takes(
    pue=PUE, concurrency=Rule(least=1, apart=True), **dict.fromkeys(("tp", "pp", "attention_dp"), replace(COUNT, apart=True)),
    ratios=replace(POSITIVE, apart=True), draft_tokens=replace(NOT_NEGATIVE, apart=True), confidence=Rule(above=0, below=1, one=True),
)  # fmt: skip
def slo_frontier(
    llm: LLM | str | Path, clusters: Cluster | Sequence[Cluster], load: Load, *, usd_per_chip_hour: Mapping[str, float] | None = None,
    pue: ArrayLike = 1.0, precisions: Sequence[str] = PRECISIONS, concurrency: ArrayLike | None = None, tp: ArrayLike = TP,
    pp: ArrayLike = PP, attention_dp: ArrayLike = ATTENTION_DP, ratios: ArrayLike = RATIOS, draft_tokens: ArrayLike | None = None,
    prefill: Sequence[Cluster] = (), within: str = "measured", confidence: float = 0.5, framework: str = "", version: str = "",
    every: bool = False,
) -> pl.DataFrame:  # fmt: skip
    """Operating points that no other of the chip beats in both tokens/s per chip and tokens/s per user.

    Every point is the answer of `serving`. Raises `InputError` for a request beyond the context window, and where a model runs on none of
    the chips, with the rule for each.

    Parameters
    ----------
    llm, framework, version
        As `serving`.
    clusters : Cluster or sequence of Cluster
        A chip and fabric each; a replica cannot have more chips than `n_chips`.
    load : Load
        Its lengths, prefix hit rate and speculation, one number each; concurrency is varied.
    usd_per_chip_hour : mapping of chip name to USD, optional
    pue : array_like
        Facility over IT power; an array gives every point once for each, with a column ``pue``.
    precisions, concurrency, tp, pp, attention_dp, ratios
        What is varied: formats that the chip runs or expands (those of less than eight bits), the concurrency of a replica (by default
        85, from 1 to 16,384), layouts that engines run, and for disaggregated serving prefill over decode workers.
    draft_tokens : array_like, optional
        Tokens drafted per step, accepted at the rate of the load. Default: those of the load, or with ``within="any"`` and none there 0
        and, where acceptance was published of a model of the family, 1 and 3 at that rate.
    prefill : sequence of Cluster
        Chips that may also work on prompts for those of `clusters`, where disaggregated.
    within : str
        ``"measured"``: layouts as published for the model or similar ones on such chips; ``"any"``: all, with extrapolated ones marked.
    confidence : float
        Probability with which speeds, times and rates are reached: 0.5 is the expectation; above it wide intervals lose.
    every : bool
        All points, not the frontier alone; of prefill workers for the same decode workers those that no others beat in rate and TTFT.

    Returns
    -------
    polars.DataFrame
        chip, precision, prefill (aggregated or disaggregated), prefill_chip, prefill_tp, prefill_attention_dp, ratio, tp, pp, attention_dp,
        chips, concurrency, draft_tokens, tokens_per_s_user and tokens_per_s_chip (each with the ends of its 80 % interval, ``_low`` and
        ``_high``), ttft_s, e2e_s, watts_chip, joules_per_token (at the meter), usd_per_million_tokens (of output; null without a price),
        tokens_per_watt_per_dollar, extrapolated, framework and version (of the measured system that a chip rests on: chips that rest on
        software of other years differ in it, too), evidence_rows, evidence_distance; by chip, the fastest for each user first.

    Examples
    --------
    >>> h100 = Cluster(catalogue.chip("H100"), 8, "InfiniBand NDR")
    >>> found = slo_frontier("Llama-3.1-8B", [h100], Load(1, 1024, 256), tp=[1, 2], attention_dp=1, usd_per_chip_hour={"H100": 2.0})
    >>> found["tokens_per_s_chip"].is_sorted() and found["tokens_per_s_user"].is_sorted(descending=True)
    True
    """
    llm = catalogue.llm(llm)
    one_of("precisions", precisions, formats.names("weights"))
    one_of("within", [within], ("measured", "any"))
    if not (clusters := [clusters] if isinstance(clusters, Cluster) else list(clusters)):
        raise InputError("clusters: none given; expected one or more, as fabric.Cluster('H100', 8) makes them")
    asked_of, prices = {x.chip.name for x in (*clusters, *prefill)}, {}
    for name, usd in (usd_per_chip_hour or {}).items():
        prices[name if name in asked_of else catalogue.chip(name).name] = replace(RENT, one=True)(f"usd_per_chip_hour[{name}]", usd)
    for name, value in numbers_of(load).items():
        if name not in ("concurrency", "rate"):
            Rule(one=True)(name, value)
    if float(np.asarray(load.input_tokens)) + float(np.asarray(load.output_tokens)) > llm.context:
        raise InputError(f"input_tokens + output_tokens exceed the context window of {llm.name}: {llm.context}")
    load = speculative(llm, replace(load, rate=None), draft_tokens, within)
    loads = np.ravel(CONCURRENCY if concurrency is None else concurrency)
    asked = Asked(llm, load, loads, confidence, within, framework, version, prices, every)
    frames: list[pl.DataFrame] = []
    lacks = {}
    for cluster in clusters:
        tried = [p for p in np.ravel(precisions).tolist() if cluster.chip.runs(multiplied_in(cluster.chip, p))]
        parts = []
        for p in tried:
            own, decode = (layouts(llm, cluster, p, (tp, pp, attention_dp), what, within, load) for what in ("aggregated", "decode"))
            beside = [x for x in (cluster, *prefill) if x.chip.runs(multiplied_in(x.chip, p))]
            pools = [(x, layouts(llm, x, p, (tp, 1, attention_dp), "prefill", within, load)[0]) for x in beside]
            parts += [asked.points(cluster, p, own), *(asked.points(cluster, p, decode, pool, ratios) for pool in pools)]
        frames += [part for part in parts if part is not None]
        if all(part is None for part in parts):
            lacks[cluster.chip.name] = asked.why(cluster, tried, (tp, pp, attention_dp))
    if not frames:
        raise InputError(f"{llm.name} fits on none of {'; '.join(f'{name}: {why}' for name, why in lacks.items())}")
    found = pl.concat(frames)
    if not every:
        found = found.sort("chip", "tokens_per_s_user", "tokens_per_s_chip", descending=[False, True, True])
        best = pl.col("tokens_per_s_chip").cum_max().over("chip")
        found = found.filter((pl.col("tokens_per_s_chip") >= best) & pl.struct("chip", "tokens_per_s_chip").is_first_distinct())
    found = pl.DataFrame({"pue": np.ravel(pue)}).join(found, how="cross")
    found = found.with_columns(pl.col("joules_per_token") * pl.col("pue"), pl.col("tokens_per_watt_per_dollar") / pl.col("pue"))
    return found if np.ndim(pue) else found.drop("pue")


@takes()
def cheapest_chip(frontier: pl.DataFrame, slo: SLO, by: str = "usd_per_million_tokens") -> pl.DataFrame:
    """The best point of each chip (and PUE, where there are many) that meets the SLO, best first.

    For a chip that does not meet it, the nearest point: there the column ``keeps`` is False, ``short`` is the factor by which it falls
    short, and ``probability`` how likely it reaches the speed all the same.

    Parameters
    ----------
    frontier : polars.DataFrame
        As `slo_frontier` returns it; with a bound on the time to first token, of every point.
    by : str
        usd_per_million_tokens, joules_per_token (least), tokens_per_s_chip or tokens_per_watt_per_dollar (most).

    Examples
    --------
    >>> h100, load = Cluster(catalogue.chip("H100"), 8, "InfiniBand NDR"), Load(1, 1024, 256)
    >>> found = slo_frontier("Llama-3.1-8B", [h100], load, tp=[1, 2], attention_dp=1, usd_per_chip_hour={"H100": 2.0})
    >>> cheapest_chip(found, SLO(tokens_per_second=50)).select("chip", "keeps").rows()
    [('H100', True)]
    """
    if by not in frontier.columns or frontier[by].null_count() == frontier.height:
        raise InputError(f"by = {by!r}: expected a column with values; money needs usd_per_chip_hour")
    most = by in ("tokens_per_s_chip", "tokens_per_watt_per_dollar")
    each = ["chip", "pue"] if "pue" in frontier.columns else ["chip"]
    short, probability = slo.kept()
    found = frontier.with_columns(short=short, probability=probability).with_columns(keeps=pl.col("short") <= 1)
    kept = found.filter("keeps").sort(by, descending=most, nulls_last=True).unique(each, keep="first", maintain_order=True)
    others = found.join(kept, on=each, how="anti").sort("short", by, descending=[False, most], nulls_last=True)
    return pl.concat([kept, others.unique(each, keep="first", maintain_order=True)])
