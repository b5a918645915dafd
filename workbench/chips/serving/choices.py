"""What a frontier chooses among: layouts as they were published of such models on such chips, or all that engines run; and their points."""

from __future__ import annotations

import contextlib
import math
import re
from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue, formats
from workbench.arrays import Array
from workbench.chips.serving.constants import INDEX, measured_as
from workbench.chips.serving.evaluate import serving
from workbench.chips.serving.plan import Load, ServingPlan
from workbench.chips.serving.work import demand_of, multiplied_in
from workbench.errors import UnknownName
from workbench.fabric import Cluster
from workbench.llm import LLM
from workbench.units import HOUR

#: Of measured rows; parameters are 0 of a model that the catalogue lacks, and a side is replicas, tp, pp, attention_dp.
Group = namedtuple("Group", "model kind precision chip domain params sides")
_SIDE = re.compile(r"(\d+) x tp(\d+) pp(\d+) dp(\d+)")
CLASS = 5  #: groups of measurements from which on a model is a class of its own, and does not borrow layouts of others
DRAFTS = (1, 3)  #: tokens drafted a step that are tried where acceptance was published of a model of the same family


def published(llm: LLM, cluster: Cluster, precision: str) -> list[list[tuple[float, ...]]]:
    """Layouts of the model, or where fewer than `CLASS` groups were published of its kind (with experts, or without) and half to twice its
    parameters, or any; on chips of the class: with links of their own, or without, in domains no larger. Replicas beyond a domain count of
    chips with as much memory, which needed them, too; weights that a chip expands where such were published.
    """
    chip, domain, links = cluster.chip, cluster.chip.near[0], bool(cluster.chip.scaleup_bandwidth)
    rows = [g for g in catalogue.made_of(INDEX, _groups) if g.kind == ("moe" if llm.experts else "dense")]
    if not chip.runs(precision):
        rows = [g for g in rows if formats.FORMATS[g.precision].bits < 8 and not g.chip.runs(precision)]
    like = [g for g in rows if g.domain <= domain and bool(g.chip.scaleup_bandwidth) == links]
    like = like or [g for g in rows if g.sides[0][1:] == (1.0, 1.0, 1.0)]  # of parts like none: what ran on one chip
    like = [g for g in like if g.chip.hbm_bytes >= chip.hbm_bytes or all(math.prod(side[1:]) <= domain for side in g.sides)]
    own = [g for g in like if g.model == measured_as(llm)]
    sized = [g for g in like if 0.5 <= g.params / llm.params <= 2]
    return [g.sides for g in (own if len(own) >= CLASS else sized or like)]


def _groups(index: pl.DataFrame) -> list[Group]:
    """Groups of an index, once each."""
    found, known = [], catalogue.names("llms")
    unique = index.select("model", "kind", "precision", "chip", "layout").unique(maintain_order=True)
    for model, kind, precision, chip, layout in unique.iter_rows():
        with contextlib.suppress(UnknownName):  # a chip of a user's own index
            on, sides = catalogue.chip(chip), [tuple(map(float, side)) for side in _SIDE.findall(layout or "")]
            params = catalogue.llm(model).params if model in known else 0.0
            found.append(Group(model, kind, precision, on, on.near[0], params, sides))
    return found


def layouts(
    llm: LLM, cluster: Cluster, precision: str, degrees: Any, what: str, within: str, load: Load | None = None
) -> tuple[Array, NDArray[np.bool_]]:
    """Of combinations of tp, pp, attention_dp those that an engine runs (and that hold a request), and whether such were published.

    Heads split evenly over ranks, and layers over stages; groups that split the sequences share experts, so that a dense model has one. A
    replica keeps to its scale-up domain unless it was published, or spreads experts alone (wide expert parallelism).
    """
    t, p, d = (x.ravel() for x in np.meshgrid(*(np.ravel(np.asarray(x, dtype=float)) for x in degrees), indexing="ij"))
    n, at = 1 + (what != "aggregated"), int(what == "decode")  # of a published layout's sides those that are meant
    most = np.array(sorted({sides[at][1:] for sides in published(llm, cluster, precision) if len(sides) == n})).reshape(-1, 3)
    known: Any = (np.stack([t, p, d], axis=-1)[:, None] <= most).all(axis=-1).any(axis=-1)
    chips, domain = t * p * d, cluster.chip.near[0]
    heads = (llm.heads % t == 0) & ((llm.kv_lora_rank > 0) | (llm.kv_heads % t == 0) | (t % llm.kv_heads == 0))
    runs = heads & (llm.layers % p == 0) & ((d == 1) | (llm.experts > 0)) & (chips <= np.max(cluster.n_chips))
    near = (t <= domain) & ((chips <= domain) | (t * p == 1)) & ((p == 1) | (d == 1))
    good = runs & (known if within == "measured" else near | known)
    if load is not None:
        plan = ServingPlan(t, precision, pp=p, attention_dp=d)
        good &= demand_of(llm, cluster, plan, replace(load, concurrency=1)).missing_bytes <= 0
    return np.stack([t, p, d])[:, good], known[good]


def workers(
    llm: LLM, cluster: Cluster, precision: str, decode: Array, prefill: Array, ratios: Any
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Prefill and decode workers in these ratios, as few as may be; whether such pairs were published: axes of decode, prefill, ratios."""
    p, d = np.array([(0, 1), *(Fraction(r).limit_denominator(64).as_integer_ratio() for r in np.ravel(ratios).tolist())], dtype=float)[1:].T
    together = [sides for sides in published(llm, cluster, precision) if len(sides) == 2]
    pairs, known = {(b[1:], a[1:]) for a, b in together}, [a[0] / b[0] for a, b in together]
    both = [[(tuple(x), tuple(y)) in pairs for y in prefill.T.tolist()] for x in decode.T.tolist()]
    around = (p >= d * min(known, default=np.inf)) & (p <= d * max(known, default=0.0))
    return np.maximum(p, 1.0), d, np.array(both, dtype=bool).reshape(decode.shape[1], prefill.shape[1], 1) & around


def speculative(llm: LLM, load: Load, draft_tokens: Any, within: str) -> Load:
    """The load with tokens drafted a step that are tried, the first of five axes: where acceptance was published of the model's family."""
    if draft_tokens is None and within == "any" and not np.any(load.draft_tokens):
        family = catalogue.table("acceptance").filter(pl.col("model").str.split("-").list.first() == llm.name.split("-")[0])
        draft_tokens = [0, *(d for d in DRAFTS if d in family["draft_tokens"])]
    return replace(load, draft_tokens=1.0 * np.reshape(load.draft_tokens if draft_tokens is None else draft_tokens, (-1, 1, 1, 1, 1)))


@dataclass(frozen=True)
class Asked:
    """What is asked of every chip: a model, a load whose requests in flight and drafted tokens vary, and how the answers are read."""

    llm: LLM
    load: Load
    concurrency: Any
    confidence: float
    within: str
    framework: str
    version: str
    prices: Mapping[str, float]
    every: bool  #: or those alone that no other beats

    @property
    def z(self) -> float:
        """Half widths of an interval to the careful side."""
        return NormalDist().inv_cdf(self.confidence) / NormalDist().inv_cdf(0.9)

    def serve(self, cluster: Cluster, plan: ServingPlan, concurrency: Any, prefill: ServingPlan | None = None) -> Any:
        """Axes: drafted tokens, layouts, requests in flight, layouts of prefill, ratios."""
        load = replace(self.load, concurrency=concurrency)
        whole = replace(cluster, n_chips=1_000_000)  # chips of all workers are no limit: a replica keeps to those of its cluster
        return serving(self.llm, whole, plan, load, prefill=prefill, framework=self.framework, version=self.version)

    def points(self, cluster: Cluster, precision: str, own: Any, pool: Any = None, ratios: Any = ()) -> pl.DataFrame | None:
        """Replicas with as many requests as decode at once: that work on prompts as well, or beside prefill workers on chips of a pool."""
        (degrees, known), (chip, sides) = own, pool or (cluster, np.ones((3, 1)))
        if pool and self.within == "any" and chip.chip == cluster.chip and sides.size:
            # of as many chips those that work on a prompt fastest beat the others
            side = ServingPlan(sides[0][:, None], precision, attention_dp=sides[2][:, None])
            prompt = np.ravel(self.serve(chip, side, 1.0, side).prompt[0])
            order = np.lexsort((prompt, side.chips[:, 0]))
            sides = sides[:, np.sort(order[np.unique(side.chips[order, 0], return_index=True)[1]])]
        alone = np.zeros(1), np.ones(1), known[:, None, None]
        p, d, held = workers(self.llm, cluster, precision, degrees, sides, ratios) if pool else alone
        if not (degrees.size and sides.size and p.size):
            return None
        (tp, pp, dp), each, held = degrees[:, :, None, None, None], self.concurrency[:, None, None], held[:, None]
        cache = "bf16" if precision == "bf16" else "fp8"
        plan = ServingPlan(tp, precision, cache, pp=pp, attention_dp=dp, replicas=d)
        side = ServingPlan(sides[0][:, None], precision, cache, attention_dp=sides[2][:, None], replicas=np.maximum(p, 1))
        point = self.serve(cluster, plan, each * d, side if pool else None)
        rate, ttft, watts, share = point.tokens_per_second_per_chip, point.ttft, point.watts_per_chip, np.zeros(1)
        chips = plan.chips + side.chips if pool else plan.chips
        all_in = pool is not None or point.batch >= 0.999 * each  # beside prefill workers some requests are prompts
        good = point.feasible & all_in & (held | (self.within == "any"))
        if chip.chip != cluster.chip:  # prompts on another chip: its times, and the slower of both sides
            other, output = self.serve(chip, replace(side, replicas=d), each * d, side), float(np.asarray(self.load.output_tokens))
            good, ttft, share = good & other.feasible, other.ttft, side.chips / chips
            rate = np.minimum(d * each * output / (ttft + output * point.tpot), p * output / other.prompt) / chips
            watts = None if watts is None or other.watts_per_chip is None else (1 - share) * watts + share * other.watts_per_chip
        if pool:
            good = good & _unbeaten(np.where(good, rate, 0.0), np.where(good, ttft, np.inf))
        where, z = np.nonzero(good), self.z
        if not self.every:
            ends = point.tpot, point.tpot_high, rate, point.rate_high, point.tokens_per_second_per_chip
            tpot, slow, most, few, own = (np.broadcast_to(x, good.shape)[where][:, None] for x in ends)
            kept = _unbeaten(most * (own / few) ** z, tpot * (slow / tpot) ** z)[:, 0]
            where = tuple(axis[kept] for axis in where)
        if not where[0].size:
            return None
        prices = [self.prices.get(x.chip.name, np.nan) for x in (cluster, chip)]
        said = {"chip": cluster.chip.name, "precision": precision, "prefill": "disaggregated" if pool else "aggregated"}
        software = {name: getattr(self, name) or point.evidence.index.cell(point.evidence, name) for name in ("framework", "version")}
        said |= {"prefill_chip": chip.chip.name, **software}
        said |= {"evidence_rows": point.evidence.rows, "evidence_distance": point.evidence.distance}
        columns = {
            **{"prefill_tp": side.tp if pool else tp, "prefill_attention_dp": side.attention_dp if pool else dp, "ratio": p / d},
            **{"tp": tp, "pp": pp, "attention_dp": dp, "chips": chips, "concurrency": each * d, "extrapolated": ~held},
            **{"draft_tokens": self.load.draft_tokens, "watts_chip": np.nan if watts is None else watts},
            **{"tpot": point.tpot, "rate": rate, "ttft": ttft, "usd": prices[0] + share * (prices[1] - prices[0]) if pool else prices[0]},
            **{"slow": point.tpot_high, "few": point.rate_high, "late": point.ttft_high, "soon": point.ttft},
            "own": point.tokens_per_second_per_chip,
        }
        frame = pl.DataFrame({name: np.broadcast_to(value, good.shape)[where] for name, value in columns.items()})
        return self.priced(frame.select(*(pl.lit(value).alias(name) for name, value in said.items()), pl.all()))

    def priced(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Speeds, times, money and energy at the confidence asked for: so many half widths of the intervals to the careful side."""
        z, c = self.z, pl.col
        slow, few, late = c("slow") / c("tpot"), c("few") / c("own"), c("late") / c("soon")
        user, rate, ttft, usd = 1 / (c("tpot") * slow**z), c("rate") / few**z, c("ttft") * late**z, c("usd")
        ends, speeds = (("", 0), ("_low", z - 1), ("_high", z + 1)), (("user", user, slow), ("chip", rate, few))
        made = {
            **{f"tokens_per_s_{x}{end}": v * w**n for x, v, w in speeds for end, n in ends},
            **{"ttft_s": ttft, "e2e_s": ttft + max(float(np.asarray(self.load.output_tokens)) - 1, 0.0) / user},
            **{"joules_per_token": c("watts_chip") / rate, "usd_per_million_tokens": usd / (rate * HOUR) * 1e6},
            "tokens_per_watt_per_dollar": rate / (c("watts_chip") * usd),
        }
        used = ("tpot", "rate", "ttft", "usd", "slow", "few", "late", "own", "soon")
        return frame.with_columns(**made).drop(used).with_columns(pl.col(pl.Float64).fill_nan(None))

    def why(self, cluster: Cluster, tried: Sequence[str], degrees: Any) -> str:
        """Why no point of a chip can be."""
        if not tried:
            known = ", ".join(p for p in formats.names("weights") if cluster.chip.runs(multiplied_in(cluster.chip, p)))
            return f"it runs none of precisions; those that it runs: {known}"
        tp, pp, dp = layouts(self.llm, cluster, tried[0], degrees, "aggregated", self.within)[0][:, :, None, None, None]
        if not tp.size:
            most = f"{np.max(cluster.n_chips):g} {'chip' if np.max(cluster.n_chips) == 1 else 'chips'}"
            return f"no published layout that engines run has {most} or fewer; within='any' tries others"
        reason = self.serve(cluster, ServingPlan(tp, tried[0], pp=pp, attention_dp=dp), 1.0).reason.ravel()[-1]
        return f"{reason}{'; within=' + repr('any') + ' tries others' if self.within == 'measured' else ''}"


def _unbeaten(rate: Any, ttft: Any) -> Any:
    """Points that no other prefill workers (the last two axes) of the same decode workers and requests beat in both rate and TTFT."""
    flat = (*rate.shape[:-2], -1)
    order = np.argsort(-rate.reshape(flat), axis=-1, kind="stable")
    soon = np.take_along_axis(ttft.reshape(flat), order, -1)
    first = np.minimum.accumulate(np.insert(soon[..., :-1], 0, np.inf, axis=-1), axis=-1) > soon
    return np.take_along_axis(first, np.argsort(order, axis=-1), -1).reshape(rate.shape)
