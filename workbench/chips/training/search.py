"""All layouts of a job that fit, best first; and what each resource is worth to each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench import catalogue
from workbench.checks import COUNT, LENGTH, Rule, check_fields, takes
from workbench.chips.training.evaluate import OUT_OF_MEMORY, SHARE, Job, TrainingStep, checked_sequence, shape_of
from workbench.chips.training.plan import METHODS, OFFLOAD, REASONS, RECOMPUTE, SCHEDULES, Layout, TrainingPlan, check_words, uneven_stages
from workbench.chips.training.time import terms
from workbench.chips.training.work import Work
from workbench.errors import InputError
from workbench.fabric import Cluster
from workbench.llm import LLM
from workbench.rows import Cost
from workbench.units import GIGA

RESOURCES = ("peak", "hbm_bandwidth", "scale_up", "scale_out", "latency")  #: what `elasticities` varies
#: What is varied beside the degrees, in the order of the axes; and what a row of a search holds of its plan.
VARIED = ("micro_batch", "vp", "zero", "recompute", "sequence_parallel", "schedule", "offload", "context")
#: What layouts that were run keep to; tensor parallelism also to a scale-up domain.
MEASURED = {"schedule": ("1f1b",), "offload": ("none",), "sequence_parallel": (True,), "micro_batch": (1, 2, 4, 8), "zero": (1, 3)}
MOST = {"tp": 16, "pp": 32, "ep": 64}
SHARDED = 512  #: most ranks that weights are gathered over [llm-foundry, torchtitan]
PIECE = 4096  #: fewest tokens of a piece of a sequence that goes round between domains [NeMo]
COLUMNS = ("tp", "pp", "cp", "ep", *VARIED, "uneven", "trained", "frozen")


@dataclass(frozen=True)
class Choices:
    """What a search varies, each a tuple; parallel degrees are all divisors that the job allows.

    Examples
    --------
    >>> Choices(recompute=("full",), most_cp=1).vp[:3]
    (1, 2, 3)
    """

    vp: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 12)
    zero: tuple[int, ...] = (0, 1, 2, 3)
    recompute: tuple[str, ...] = RECOMPUTE[:3]  #: kinds by name too, as "norms+mla"
    sequence_parallel: tuple[bool, ...] = (True, False)
    schedule: tuple[str, ...] = SCHEDULES
    offload: tuple[str, ...] = OFFLOAD
    micro_batch: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    most_cp: int = 16
    uneven: bool = True  #: stages of unequal depth too; a plan that has them says so
    method: str = "full"  #: of `METHODS`: all weights are trained, or adapters of low rank
    context: tuple[str, ...] = ("ring",)  #: of context parallel ranks, or "all-to-all"
    envelope: str = "measured"  #: of what is here, what is like layouts that were run; or any, marked in the rows

    def __post_init__(self) -> None:
        whole = Rule(least=1, whole=True, apart=True)
        check_fields(self, vp=whole, micro_batch=whole, zero=Rule(least=0, most=3, whole=True, apart=True), most_cp=LENGTH)
        check_words(self, method=tuple(METHODS), envelope=("measured", "any"))


@dataclass(frozen=True)
class Search:
    """Result of `search_layouts`: a ceiling, of which real runs reached `reached`."""

    frame: pl.DataFrame = field(repr=False)  #: best first: degrees, choices, seconds with 80 % interval, MFU, memory, whether `measured`
    evaluated: int  #: layouts whose time and memory were computed
    feasible: int
    plan: TrainingPlan  #: the best
    reached: Cost  #: speed of measured runs over that of the best layout of a search, with its 80 % interval


@takes(global_batch=LENGTH, confidence=SHARE, top=LENGTH)
def search_layouts(
    llm: LLM | str | Path, cluster: Cluster, global_batch: int, *, sequence: int | None = None, precision: str = "bf16",
    framework: str = "", version: str = "", choices: Choices | None = None, confidence: float = 0.8, top: int = 100,
) -> Search:  # fmt: skip
    """The `top` layouts of a job that fit in memory, best first, among those similar to measured ones, or among all.

    The best is a ceiling: measured runs, whose layouts were chosen by hand, had `reached` of its speed.

    Raises `InputError` if no layout fits, with the memory of the smallest or the most frequent reason.

    Parameters
    ----------
    llm, cluster, global_batch, sequence, framework, version
        As `training_step`, one number each.
    choices, confidence, top : Choices; float; int
        What to vary; probability with which a layout fits in memory, at least (what is picked should run); rows of the result.

    Examples
    --------
    >>> from workbench import catalogue
    >>> few = Choices(vp=(1,), zero=(1,), recompute=("none", "full"), schedule=("1f1b",), offload=("none",), micro_batch=(1, 2))
    >>> found = search_layouts("Llama-3-8B", Cluster(catalogue.chip("H100"), 8), 64, choices=few)
    >>> found.frame["seconds"][0] == found.frame["seconds"].min()
    True
    >>> found.evaluated > found.feasible > 0
    True
    """
    LENGTH("n_chips", cluster.n_chips)
    job, options = Job.of(llm, cluster, precision, framework, version, confidence), choices or Choices()
    llm = job.llm
    length = checked_sequence(llm, sequence, one=True)
    best: list[pl.DataFrame] = []
    evaluated = feasible = 0
    reasons, bar, least = np.zeros(len(REASONS), dtype=int), np.inf, np.inf
    for plan in _plans(llm, cluster, global_batch, options, precision):
        step = job.step(plan, cluster.n_chips, global_batch, length, detail=False)
        evaluated += step.seconds.size
        if options.envelope == "measured":
            like = _spread_as_run(vars(plan), cluster, length)
            step = replace(step, feasible=step.feasible & like, seconds=np.where(like, step.seconds, np.inf))
        fits = int(step.feasible.sum())
        feasible += fits
        reasons += np.bincount(step.why.ravel(), minlength=reasons.size)
        short = step.why == OUT_OF_MEMORY
        least = min(least, float(np.min(step.memory.total, where=short, initial=np.inf)))
        if not fits:
            continue
        order = np.argsort(step.seconds, axis=None)[: min(top, fits)]
        order = order[step.seconds.flat[order] <= bar]
        if order.size:
            best.append(_rows(plan, step, order, cluster, length))
            if sum(f.height for f in best) > 4 * top:
                best = [pl.concat(best).sort("seconds").head(top)]
                bar = float(best[0]["seconds"][-1])
    if not best:
        failed = f"no layout of {llm.name} fits {np.asarray(cluster.n_chips)} {cluster.chip.name} at batch {global_batch}"
        if np.isfinite(least):
            room = job.room / GIGA
            raise InputError(f"{failed}: the smallest takes {least / GIGA:.0f} GB per chip; {room:.0f} fit with {100 * confidence:g} %")
        raise InputError(f"{failed}: {REASONS[reasons.argmax()] if reasons.any() else 'no degrees divide chips, heads and batch'}")
    frame = pl.concat(best).sort("seconds", maintain_order=True)
    same = ["tp", "pp", "vp", "cp", "ep", "micro_batch", "seconds", "memory_gb"]  # sequence parallelism of one rank changes nothing
    frame = frame.unique(same, keep="first", maintain_order=True).head(top)
    plan = TrainingPlan.of_row(frame.row(0, named=True), precision)
    return Search(frame, evaluated, feasible, plan, catalogue.cost("training_reached"))


@takes(global_batch=COUNT)
def elasticities(
    llm: LLM | str | Path, cluster: Cluster, plan: TrainingPlan, global_batch: ArrayLike, *, sequence: ArrayLike | None = None,
    framework: str = "", version: str = "",
) -> dict[str, Any]:  # fmt: skip
    """By how many percent a step gets faster with one percent more of each of `RESOURCES`, for all layouts at once.

    Derivatives of the closed form by complex step: exact to rounding. For latency, one percent less. The size of memory is no rate:
    search again with more. Whether a layout is possible, and fits, `training_step` says, whose arguments these are.
    Source: Squire, Trapp (1998), "Using Complex Variables to Estimate Derivatives of Real Functions", SIAM Review 40(1).

    Examples
    --------
    >>> from workbench import catalogue
    >>> h100 = Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR")
    >>> worth = elasticities("Llama-3-8B", h100, TrainingPlan(tp=2, recompute="full"), 256)
    >>> max(worth, key=worth.get)
    'peak'
    """
    job, n = Job.of(llm, cluster, plan.precision, framework, version), cluster.n_chips
    length = checked_sequence(job.llm, sequence)
    shape_of(n, plan, global_batch, length)
    layout, tiny, found = Layout.of(plan, n, global_batch), 1e-20, {}
    for resource in RESOURCES:
        time, _ = terms(Work.of(job.llm, layout, job.machine.scaled(resource, 1 + 1j * tiny), n, length), job.constants)
        found[resource] = -np.imag(time) / tiny / np.real(time)
    return found


def _plans(llm: LLM, cluster: Cluster, global_batch: int, options: Choices, precision: str) -> Iterator[TrainingPlan]:
    """Plans whose arrays broadcast to every combination: degrees along the first axis, everything else along the others."""
    n = int(np.asarray(cluster.n_chips))
    degrees = _degrees(llm, n, global_batch, options)
    axes: list[Any] = [np.ravel(getattr(options, name)) for name in VARIED]
    if options.envelope == "measured":
        degrees = degrees[(degrees <= [min(cluster.chip.near[0], MOST["tp"]), MOST["pp"], options.most_cp, MOST["ep"]]).all(axis=1)]
        known = [np.isin(values, MEASURED.get(name, values)) for name, values in zip(VARIED, axes, strict=True)]
        axes = [values[at] if at.any() else values for values, at in zip(axes, known, strict=True)]  # what alone is asked for stays
    shaped = [np.reshape(values, (1,) * (i + 1) + (-1,) + (1,) * (len(axes) - i - 1)) for i, values in enumerate(axes)]
    rows = max(1, 65_536 // max(math.prod(values.size for values in axes), 1))
    for start in range(0, len(degrees), rows):
        tp, pp, cp, ep = (degrees[start : start + rows, i].reshape(-1, *(1,) * len(axes)) for i in range(4))
        varied = dict(zip(VARIED, shaped, strict=True))
        uneven = uneven_stages(llm.layers, pp * varied["vp"]) & options.uneven
        yield TrainingPlan(tp=tp, pp=pp, cp=cp, ep=ep, uneven=uneven, precision=precision, **varied, **METHODS[options.method])


def _degrees(llm: LLM, n: int, global_batch: int, options: Choices) -> Any:
    """Degrees (tp, pp, cp, ep) that the chips, the model and the batch allow, a row each."""
    divisors = np.array([d for d in range(1, n + 1) if n % d == 0])
    experts = [e for e in divisors if llm.experts and llm.experts % e == 0] or [1]
    kinds = divisors[llm.heads % divisors == 0], divisors[divisors <= llm.layers], divisors[divisors <= options.most_cp], experts
    every = tp, pp, cp, ep = [axis.ravel() for axis in np.meshgrid(*kinds, indexing="ij")]
    dp = np.maximum(n // (tp * pp * cp), 1)
    return np.stack(every, axis=1)[(n % (tp * pp * cp) == 0) & (global_batch % dp == 0) & (dp * cp % ep == 0)]


def _spread_as_run(plan: Mapping[str, Any], cluster: Cluster, length: Any) -> Any:
    """Whether ranks that weights are gathered over, and pieces of a sequence that go round between domains, are such as were run."""
    zero, tp, pp, cp = (np.asarray(plan[name]) for name in ("zero", "tp", "pp", "cp"))
    few, near = cluster.n_chips / (tp * pp) <= SHARDED, tp * cp <= cluster.chip.near[0]
    return ((zero < 3) | few) & ((cp == 1) | near | (length / cp >= PIECE))


def _rows(plan: TrainingPlan, step: TrainingStep, order: Any, cluster: Cluster, length: Any) -> pl.DataFrame:
    def at(value: Any) -> Any:
        return np.broadcast_to(value, step.seconds.shape).flat[order]

    columns = {name: at(np.asarray(getattr(plan, name))) for name in COLUMNS}
    columns |= {name: at(getattr(step, name)) for name in ("seconds", "low", "high", "tokens_per_second_per_chip", "mfu", "hfu")}
    columns |= {"memory_gb": at(step.memory.total) / GIGA, "fits": at(step.memory.fits)}
    tests = [columns[name] <= most for name, most in (MOST | {"tp": min(MOST["tp"], cluster.chip.near[0])}).items()]
    tests += [np.isin(columns[name], np.array(values)) for name, values in MEASURED.items()]
    return pl.DataFrame(columns | {"measured": np.all([*tests, _spread_as_run(columns, cluster, length)], axis=0)})
