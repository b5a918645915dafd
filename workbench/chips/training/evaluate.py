"""Time, memory and efficiency of a training step, for one layout or for arrays of them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import broadcast
from workbench.catalogue import LLM, Chip
from workbench.checks import COUNT, Rule, takes
from workbench.chips.exchange import Exchange
from workbench.chips.training import constants as calibration
from workbench.chips.training import memory as memory_model
from workbench.chips.training.constants import Origin
from workbench.chips.training.memory import TrainingMemory
from workbench.chips.training.plan import PRECISIONS, REASONS, Layout, TrainingPlan, why_not
from workbench.chips.training.shape import Shape
from workbench.chips.training.time import PARTS, seconds, seconds_and_parts
from workbench.chips.training.work import Work
from workbench.fabric import Cluster

Array = NDArray[np.float64]
#: Share of device memory that a job may take.
MEMORY_SHARE = 0.95
OUT_OF_MEMORY = len(REASONS) - 1
BLOCK = 16_384  #: layouts a block: its arrays stay in the second-level cache


@dataclass(frozen=True)
class TrainingStep:
    """A training step; arrays broadcast over plan, batch, sequence and chips. Where `feasible` is False, times are inf and rates 0."""

    feasible: NDArray[np.bool_]
    why: NDArray[np.int8]  #: position in `plan.REASONS` of the rule that is broken, 0 where none
    seconds: Array
    low: Array  #: ends of the 80 % interval [s]
    high: Array
    tokens_per_second_per_chip: Array
    mfu: Array  #: model FLOP, 3 forward passes with causal attention and the head, over the dense peak of the precision
    hfu: Array  #: with what is computed again
    memory: TrainingMemory
    parts: dict[str, Array]  #: seconds of each part; they add up to `seconds`

    @property
    def reason(self) -> NDArray[np.str_]:
        """Why a layout is not feasible, in words."""
        return np.array(REASONS)[self.why]

    def frame(self) -> pl.DataFrame:
        """One row a part: layout, part, seconds, share of the step."""
        shape = np.shape(self.seconds)
        total = np.ravel(self.seconds)
        rows = []
        for name in PARTS:
            value = np.broadcast_to(self.parts[name], shape).ravel()
            rows.append(
                pl.DataFrame({"layout": np.arange(total.size), "part": [name] * total.size, "seconds": value, "share": value / total})
            )
        return pl.concat(rows).sort("layout", maintain_order=True)


@takes(batch=COUNT)
def training_step(
    llm: LLM,
    cluster: Cluster,
    plan: TrainingPlan,
    batch: ArrayLike,
    *,
    sequence: ArrayLike | None = None,
    stack: str = "",
    release: str = "",
    detail: bool = True,
) -> TrainingStep:
    """A step of training `llm` on the whole cluster; chips, fields of the plan, batch and sequence may be arrays and broadcast.

    A layout that cannot be, or does not fit, is a result: `feasible` is False, and `reason` names the rule that it breaks.

    Parameters
    ----------
    llm : LLM
    cluster : Cluster
    plan : TrainingPlan
    batch : array_like
        Sequences of a step, on all chips.
    sequence : array_like, optional
        Tokens of a sequence; at most 8192 of the model's context if not given.
    stack, release : str
        Software whose constants are taken (see `stacks`); the mean of all measured ones if not given, with a wider interval.
    detail : bool
        False leaves `parts` empty, which doubles the speed of millions of layouts.

    Returns
    -------
    TrainingStep

    Raises
    ------
    InputError
        For a batch or sequence that is no whole number from 1, a sequence beyond the context, a precision that the chip lacks.

    References
    ----------
    .. [1] Narayanan et al. (2021), "Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM".
    .. [2] Korthikanti et al. (2022), "Reducing Activation Recomputation in Large Transformer Models".
    """
    length = checked_sequence(llm, sequence)
    return evaluate(llm, cluster, plan, batch, length, origin_of(llm, cluster, plan, stack, release), detail=detail)


@takes(batch=COUNT)
def training_memory(
    llm: LLM, cluster: Cluster, plan: TrainingPlan, batch: ArrayLike, *, sequence: ArrayLike | None = None, stack: str = ""
) -> TrainingMemory:
    """Memory of a chip of the heaviest stage [B], part by part; arguments as `training_step`, which says whether the layout can be."""
    length = checked_sequence(llm, sequence)
    shape_of(cluster, plan, batch, length)
    layout = Layout.of(plan, cluster.n_chips, batch)
    return memory_model.memory(Shape.of(llm), layout, length, memory_model.constants(stack))


def shape_of(cluster: Cluster, plan: TrainingPlan, batch: ArrayLike, sequence: ArrayLike) -> tuple[int, ...]:
    """Shape of what follows from all of them. Raises `InputError` where they do not broadcast."""
    return broadcast(n_chips=cluster.n_chips, batch=batch, sequence=sequence, **{f.name: getattr(plan, f.name) for f in fields(plan)})


def origin_of(llm: LLM, cluster: Cluster, plan: TrainingPlan, stack: str, release: str) -> Origin:
    """What the constants are looked up by. Raises `InputError` for a precision that the chip lacks, `UnknownName` for a stack."""
    cluster.chip.peak(PRECISIONS[plan.precision])
    precision = "bf16" if plan.precision == "fp16" else plan.precision
    origin = Origin(chip=cluster.chip.name, precision=precision, stack=stack, release=release, mixture=bool(llm.experts))
    calibration.constants(origin)
    return origin


def evaluate(
    llm: LLM,
    cluster: Cluster,
    plan: TrainingPlan,
    batch: ArrayLike,
    sequence: ArrayLike,
    origin: Origin,
    exchange: Exchange | None = None,
    constants: dict[str, Any] | None = None,
    detail: bool = True,
) -> TrainingStep:
    """`training_step` without its checks, in blocks along the first axis; without `detail` parts are empty."""
    shape = shape_of(cluster, plan, batch, sequence)
    values = {f.name: np.asarray(getattr(plan, f.name)) for f in fields(plan) if f.name != "precision"}
    job = [np.asarray(x, dtype=float) for x in (cluster.n_chips, batch, sequence)]
    block = partial(
        _block,
        llm,
        cluster.chip,
        origin,
        exchange or Exchange.of(cluster),
        constants or calibration.constants(origin),
        memory_model.constants(origin.stack),
        calibration.half_width(origin),
        detail,
    )
    rows = max(1, BLOCK // max(1, int(np.prod(shape[1:])))) if shape else 1
    if not shape or shape[0] <= rows:
        return block(plan, *job)
    blocks = []
    for start in range(0, shape[0], rows):
        part: dict[str, Any] = {name: _cut(v, len(shape), start, rows) for name, v in values.items()}
        blocks.append(block(replace(plan, **part), *(_cut(v, len(shape), start, rows) for v in job)))
    return _joined(blocks, shape, rows)


def checked_sequence(llm: LLM, sequence: ArrayLike | None, one: bool = False) -> Any:
    """Tokens of a sequence; raises `InputError` beyond the model's context, and for an array where `one` is wanted."""
    rule = Rule(least=1, most=llm.context, whole=True, one=one, why=f"{llm.name} has a context of {llm.context}")
    return rule("sequence", min(llm.context, 8192) if sequence is None else sequence)


def _block(
    llm: LLM,
    chip: Chip,
    origin: Origin,
    exchange: Exchange,
    c: Any,
    kept: Any,
    width: float,
    detail: bool,
    plan: TrainingPlan,
    n: Array,
    batch: Array,
    sequence: Array,
) -> TrainingStep:
    shape, layout = Shape.of(llm), Layout.of(plan, n, batch)
    why = why_not(llm, n, plan, layout, batch, sequence)
    used = memory_model.memory(shape, layout, sequence, kept)
    why = np.where((why == 0) & (used.total > MEMORY_SHARE * chip.hbm_bytes), np.int8(OUT_OF_MEMORY), why)
    work = Work.of(shape, layout, chip, origin.precision, exchange, n, sequence)
    took, parts = seconds_and_parts(work, c) if detail else (seconds(work, c), {})
    whole = np.broadcast_shapes(why.shape, np.shape(took), np.shape(batch))
    why = np.broadcast_to(why, whole)
    feasible = why == 0
    time = np.where(feasible, took, np.inf)
    tokens = batch * sequence
    forward = llm.forward_flop_per_token(sequence / 2)
    again = layout.full * forward
    rate = tokens / (time * n)
    peak = chip.peak(PRECISIONS[plan.precision])
    return TrainingStep(
        feasible=feasible,
        why=why,
        seconds=time,
        low=time * np.exp(-width),
        high=time * np.exp(width),
        tokens_per_second_per_chip=rate,
        mfu=rate * 3 * forward / peak,
        hfu=rate * (3 * forward + again) / peak,
        memory=used,
        parts={name: np.broadcast_to(value, whole) for name, value in parts.items()},
    )


def _cut(value: NDArray[Any], dims: int, start: int, rows: int) -> NDArray[Any]:
    """The block of an array along the first of `dims` axes; what does not vary along it stays as it is."""
    return value[start : start + rows] if value.ndim == dims and value.shape[0] > 1 else value


def _joined(blocks: list[TrainingStep], shape: tuple[int, ...], rows: int) -> TrainingStep:
    def join(pick: Any) -> Any:
        cut = [min(rows, shape[0] - i * rows) for i in range(len(blocks))]
        return np.concatenate([np.broadcast_to(pick(b), (k, *shape[1:])) for b, k in zip(blocks, cut, strict=True)])

    arrays = {f.name: join(lambda b, f=f: getattr(b, f.name)) for f in fields(TrainingStep) if f.name not in ("memory", "parts")}
    used = TrainingMemory(**{f.name: join(lambda b, f=f: getattr(b.memory, f.name)) for f in fields(TrainingMemory)})
    return TrainingStep(**arrays, memory=used, parts={name: join(lambda b, name=name: b.parts[name]) for name in blocks[0].parts})
