"""Time, memory and efficiency of a training step, for one layout or for arrays of them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue, formats
from workbench.arrays import Array, Arrays, broadcast, in_blocks, spread
from workbench.calibration.evidence import Evidence
from workbench.checks import COUNT, Rule, takes
from workbench.chips.machine import Machine
from workbench.chips.training import constants as calibration
from workbench.chips.training import memory as memory_model
from workbench.chips.training.plan import REASONS, Layout, TrainingPlan, why_not
from workbench.chips.training.time import terms
from workbench.chips.training.work import Work
from workbench.errors import UnknownName
from workbench.fabric import Cluster
from workbench.llm import LLM

SHARE = Rule(above=0, below=1, one=True)
OUT_OF_MEMORY = len(REASONS) - 1
BLOCK = 16_384  #: layouts a block: its arrays stay in the second-level cache


@dataclass(frozen=True, repr=False)
class Seconds(Arrays):
    """Time of a step with its 80 % interval [s]."""

    seconds: Array  #: of a step [s]
    low: Array  #: low end of its 80 % interval [s]
    high: Array  #: high end [s]

    @classmethod
    def of(cls, seconds: Array, half_width: float) -> Seconds:
        """With the half width of the interval of its logarithm."""
        return cls(seconds, seconds * np.exp(-half_width), seconds * np.exp(half_width))


@dataclass(frozen=True, repr=False)
class TrainingStep(Arrays):
    """A training step; arrays broadcast over plan, batch, sequence and chips. Where `feasible` is False, times are inf and rates 0."""

    feasible: NDArray[np.bool_]  #: the layout is possible and fits in memory
    why: NDArray[np.int8]  #: position in `plan.REASONS` of the rule that is broken, 0 where none
    seconds: Array  #: of a step [s]
    low: Array  #: low end of its 80 % interval [s]
    high: Array  #: high end [s]
    tokens_per_second_per_chip: Array  #: training tokens [1/s]
    mfu: Array  #: model FLOP, 3 forward passes with causal attention and the head, over the dense peak of the precision
    hfu: Array  #: the same with recomputation
    memory: memory_model.TrainingMemory  #: of a chip of the heaviest stage [B]; its `fits` is the probability that it suffices
    unlimited: Seconds  #: were memory enough: inf only where another rule is broken
    parts: dict[str, Array]  #: seconds of each part; they add up to `seconds`
    evidence: Evidence | None = field(default=None, repr=False)  #: measured runs near by

    @property
    def reason(self) -> NDArray[np.str_]:
        """Why a layout is not feasible, in words; empty where it is."""
        return np.array(REASONS)[self.why]


@takes(global_batch=COUNT, confidence=SHARE)
def training_step(
    llm: LLM | str | Path, cluster: Cluster, plan: TrainingPlan, global_batch: ArrayLike, *, sequence: ArrayLike | None = None,
    framework: str = "", version: str = "", confidence: float = 0.05, detail: bool = True,
) -> TrainingStep:  # fmt: skip
    """A step of training `llm` on the whole cluster; chips, fields of the plan, batch and sequence may be arrays and broadcast.

    A layout that is impossible, or does not fit in memory, is a result: `feasible` is False, `reason` names the rule that it breaks,
    and `unlimited` has the time of one that more memory would make possible. Raises `InputError` for a sequence beyond the context or a
    precision that the chip lacks, `UnknownName` for a framework that is none.
    Source: Narayanan et al. (2021), "Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM"; Korthikanti et al.
    (2022), "Reducing Activation Recomputation in Large Transformer Models".

    Parameters
    ----------
    llm, cluster, plan : LLM or str; Cluster; TrainingPlan
        A model, its name in the catalogue, or the path of its ``config.json``.
    global_batch, sequence : array_like
        Sequences of a step, on all chips; tokens of one, at most 8192 of the model's context if not given.
    framework, version : str
        Software, as "NeMo", "25.02". What is not given is that of the nearest measured runs, of equally near ones the newest; the interval
        is then wider. `evidence` of the result names them.
    confidence, detail : float; bool
        A layout whose memory fits with a smaller probability is not feasible: by default, runs that ran are rarely refused. False leaves
        `parts` empty, which doubles the speed of millions of layouts.

    Examples
    --------
    >>> h100 = Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR")
    >>> step = training_step("Llama-3-8B", h100, TrainingPlan(tp=[1, 2, 3], recompute="full"), 256)
    >>> step.feasible.tolist()
    [True, True, False]
    >>> str(step.reason[2])
    'tp * pp * cp does not divide the number of chips'
    """
    job = Job.of(llm, cluster, plan.precision, framework, version, confidence)
    return job.step(plan, cluster.n_chips, global_batch, checked_sequence(job.llm, sequence), detail=detail)


def checked_sequence(llm: LLM, sequence: ArrayLike | None, one: bool = False) -> Any:
    """Tokens of a sequence; raises `InputError` beyond the model's context, and for an array where `one` is wanted."""
    rule = Rule(least=1, most=llm.context, whole=True, one=one, why=f"{llm.name} has a context of {llm.context}")
    return rule("sequence", min(llm.context, 8192) if sequence is None else sequence)


def shape_of(n_chips: ArrayLike, plan: TrainingPlan, global_batch: ArrayLike, sequence: ArrayLike) -> tuple[int, ...]:
    """Shape of what follows from all of them. Raises `InputError` where they do not broadcast."""
    varied = {f.name: getattr(plan, f.name) for f in fields(plan)}
    return broadcast(n_chips=n_chips, global_batch=global_batch, sequence=sequence, **varied)


@dataclass(frozen=True)
class Job:
    """What stays the same from layout to layout: the model, what it runs on, and the constants of that."""

    llm: LLM
    machine: Machine
    constants: dict[str, Any]  #: of time
    memory: dict[str, Any]  #: of memory
    half_width: float  #: of the 80 % interval of the logarithm of time
    memory_half_width: float  #: and of memory
    evidence: Evidence
    room: float  #: what memory may be predicted [B]

    @classmethod
    def of(cls, llm: LLM | str | Path, cluster: Cluster, precision: str, framework: str, version: str, confidence: float = 0.05) -> Job:
        """Look everything up. Raises `InputError` for a precision that the chip lacks, `UnknownName` for a framework."""
        llm, number = catalogue.llm(llm), formats.named(precision, "training")
        machine = Machine.of(cluster, number)
        if framework and framework not in calibration.frameworks():
            raise UnknownName("training framework", framework, calibration.frameworks())
        near = calibration.resolve(calibration.Origin.of(llm, machine.chip.name, number.training, framework, version))
        widths = near.half_width, memory_model.half_width(framework)
        room = float(memory_model.most(machine.memory, widths[1], confidence))
        of_memory = replace(near.origin, version=version)  # of a version only where it is said: not of the newest that was measured
        held = memory_model.constants(memory_model.POOL.of(of_memory), *memory_model.habits(of_memory))
        return cls(llm, machine, calibration.POOL.of(near.origin), held, *widths, near.evidence, room)

    def step(
        self, plan: TrainingPlan, n_chips: ArrayLike, global_batch: ArrayLike, sequence: ArrayLike, *, detail: bool = True
    ) -> TrainingStep:
        """`training_step` without its checks, in blocks along the first axis; without `detail` parts are empty."""
        shape = shape_of(n_chips, plan, global_batch, sequence)
        rows = max(1, BLOCK // max(1, int(np.prod(shape[1:]))))
        given = {"n_chips": n_chips, "global_batch": global_batch, "sequence": sequence}
        given = {name: np.asarray(value, dtype=float) for name, value in given.items()}
        layouts: dict[str, Any] = {}  # one block takes the plan as it is
        if shape and shape[0] > rows:
            layouts = {f.name: np.asarray(getattr(plan, f.name)) for f in fields(plan) if f.name != "precision"}
        return replace(in_blocks(partial(self._block, plan, detail), rows, shape, **given, **layouts), evidence=self.evidence)

    def _block(self, plan: TrainingPlan, detail: bool, n_chips: Any, global_batch: Any, sequence: Any, **part: Any) -> TrainingStep:
        llm, plan = self.llm, replace(plan, **part) if part else plan
        layout = Layout.of(plan, n_chips, global_batch)
        why = why_not(llm, n_chips, plan, layout, global_batch, sequence)
        used = memory_model.memory(llm, layout, sequence, self.memory)
        used = replace(used, half_width=self.memory_half_width, room=self.machine.memory)
        why = np.where((why == 0) & (used.total > self.room), np.int8(OUT_OF_MEMORY), why)
        work = Work.of(llm, layout, self.machine, n_chips, sequence)
        took, parts = terms(work, self.constants)
        time = np.where(why == 0, took, np.inf)
        rate = global_batch * sequence / (time * n_chips)
        forward = llm.forward_flop_per_token(sequence / 2)
        step = TrainingStep(
            feasible=why == 0, why=why, **vars(Seconds.of(time, self.half_width)), tokens_per_second_per_chip=rate,
            mfu=rate * 3 * forward / self.machine.peak, hfu=rate * (3 + layout.full) * forward / self.machine.peak, memory=used,
            unlimited=Seconds.of(np.where((why == 0) | (why == OUT_OF_MEMORY), took, np.inf), self.half_width),
            parts=parts() if detail else {},
        )  # fmt: skip
        return spread(step, np.broadcast_shapes(why.shape, np.shape(took), np.shape(global_batch)))
