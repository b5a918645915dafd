"""A whole training run: from a model, a cluster and tokens to layout, days, chip-hours, energy and cost; published runs as its calls."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench import catalogue, scaling
from workbench.arrays import Array, Arrays, broadcast, spread
from workbench.calibration.forms import Asked, Form, Row, asked
from workbench.checks import LENGTH, NOT_NEGATIVE, POSITIVE, RENT, Rule, takes
from workbench.chips.serving.evaluate import Load, ServingPlan, serving
from workbench.chips.training.evaluate import checked_sequence, training_step
from workbench.chips.training.plan import TrainingPlan
from workbench.chips.training.search import Choices, search_layouts
from workbench.chips.watts import power
from workbench.errors import InputError
from workbench.fabric import Cluster, goodput, storage
from workbench.llm import LLM

#: Batch where none is given [tokens]: this times D^0.47, the exponent of the critical batch (Zhang et al., 2024, arXiv:2410.21676);
#: the factor is the median of the 14 of `published_runs.csv` that state their batch.
BATCH, GROWTH = 7.9, 0.47
CONVENTION = 0.07  #: half width of the logarithm of a stated MFU: with or without attention, of one peak or another
PARTS = 5  #: parts of two in a power of two that a job takes of its chips; the rest are spares
TEXT = ("run", "chip", "precision", "read_in_source", "source")
NUMBERS = ("n_chips", "tokens_t", "goodput_pct", "chip_hours", "days")
QUANTITIES = ("chip_hours", "days")
CHIPS = 1024  #: chips of a run that states chip-hours and not how many


@dataclass(frozen=True, repr=False)
class TrainingRun(Arrays):
    """A training run; arrays broadcast over the arguments of `training_run`."""

    flop: Array  #: training compute, 6ND [FLOP]
    useful_flop_per_s: Array  #: model FLOP per second, averaged over the run
    seconds: Array  #: duration of the run [s]
    low: Array  #: low end of its 80 % interval [s]
    high: Array  #: high end [s]
    chip_hours: Array  #: of all chips [h]
    mfu: Array  #: of 6ND, while the job runs
    utilisation: Array  #: share of the time in which it makes progress
    usd: Array  #: at `usd_per_chip_hour` [USD]
    joules: Array | None = None  #: of the chips; None without a published TDP
    memory: Array | None = None  #: of a chip of the heaviest stage [B]; None where an MFU is stated
    generation: Array | None = None  #: of `seconds`, those that all chips would generate
    plan: TrainingPlan | None = field(default=None, repr=False)  #: of the most chips, where layouts were searched


@takes(
    tokens=POSITIVE, global_batch=LENGTH, **dict.fromkeys(("mfu", "utilisation"), Rule(above=0, most=1)), split=Rule(above=0, below=1),
    evaluation=NOT_NEGATIVE, usd_per_chip_hour=RENT,
)  # fmt: skip
def training_run(
    llm: LLM | str | Path, cluster: Cluster, tokens: ArrayLike, *, plan: TrainingPlan | None = None, choices: Choices | None = None,
    mfu: ArrayLike | None = None, precision: str = "bf16", utilisation: ArrayLike | None = None, global_batch: int | None = None,
    sequence: int | None = None, framework: str = "", version: str = "", evaluation: ArrayLike = 0.0, usd_per_chip_hour: ArrayLike = 0.0,
    rollouts: tuple[ServingPlan, Load] | None = None, split: ArrayLike | None = None,
) -> TrainingRun:  # fmt: skip
    """Duration of one training run on the whole cluster.

    seconds = 6 N D (1 + evaluation / 3) / (n_chips * peak * mfu * utilisation)

    N counts the parameters that a token uses (all of a dense model; of a mixture, the shared ones and the experts it visits),
    embeddings included. MFU is model FLOP/s over the dense peak in `precision` while the job runs: that of the plan; else of the best
    layout of `search_layouts` that is similar to measured ones, times the share of it that measured runs reached.

    The interval combines those of the step, of what runs reached, and of time lost. Without a stated layout its upper end is that times
    `training_hours_beside`: published hours count restarts, ablations and slower stages.
    Source: Kaplan et al. (2020), "Scaling Laws for Neural Language Models", section 2.1 (C = 6 N D).

    Parameters
    ----------
    llm, cluster, tokens : LLM or str; Cluster; array_like
        Model to train, or its name; `n_chips` may be an array, and chips beyond a whole number of 2^k / 32 of them, for a layout that is
        searched, are spares; training tokens D.
    plan, choices : TrainingPlan; Choices, optional
        A layout (raises `InputError` where it cannot be), or what a search varies, adapters among it: `Choices(method="lora")`.
    mfu : array_like, optional
        A stated model FLOP utilisation, above 0 and at most 1, in place of a layout.
    precision : str
        Number format whose peak the MFU refers to, that of a plan if there is one. Raises `InputError` where the chip lacks it.
    utilisation : array_like, optional
        Share of the hours in which the job makes progress, above 0 and at most 1. If not given, that of `fabric.goodput` with what
        `fabric.storage` says of its checkpoints; beside a stated MFU, 1.
    global_batch, sequence, framework, version
        As `training_step`; a batch that is not given is that of published runs with as many tokens.
    evaluation, usd_per_chip_hour : array_like
        Tokens evaluated per token trained, forward alone (1 for the reference of preference tuning: both of a pair count); price [USD/h].
    rollouts : (ServingPlan, Load), optional
        Of reinforcement learning: how replicas generate the samples whose tokens, those of prompts included, are trained on. Scoring
        counts as evaluation: 2 for a reference and the policy of before. Chips do both in turn and take the sum of both times.
    split : array_like, optional
        Share of the chips that generate while the others train: the longer of G / split and T / (1 - split) counts.

    Examples
    --------
    >>> h100 = Cluster("H100", 16_384, "InfiniBand NDR")
    >>> run = training_run("Llama-3.1-405B", h100, 15.6e12, mfu=0.4, utilisation=0.9)
    >>> round(float(run.chip_hours) / 1e6, 1)  # the card of the model: 30.84 million
    29.6
    >>> found = training_run("Llama-3.1-405B", h100, 15.6e12, global_batch=2048)
    >>> bool(found.low < 30.84e6 * 3600 / 16_384 < found.high), found.plan.tp
    (True, 8)
    """
    llm = catalogue.llm(llm)
    precision = plan.precision if plan is not None else precision
    given = {"n_chips": cluster.n_chips, "tokens": tokens, "evaluation": evaluation, "usd_per_chip_hour": usd_per_chip_hour}
    given |= {k: v for k, v in (("mfu", mfu), ("utilisation", utilisation), ("split", split)) if v is not None}
    whole = broadcast(**given)
    n, peak = np.asarray(cluster.n_chips, dtype=float), cluster.peak(precision)
    flop = np.asarray(scaling.training_flop(llm.active_params, tokens))
    width, used, memory = CONVENTION, None, None
    if mfu is None:
        how = {"choices": choices, "global_batch": global_batch, "sequence": sequence, "precision": precision}
        how |= {"framework": framework, "version": version}
        shape = np.broadcast_shapes(n.shape, np.shape(tokens))
        pairs = [(int(a), float(b)) for a, b in zip(*(np.broadcast_to(x, shape).ravel() for x in (n, tokens)), strict=True)]
        known = {pair: _sped(llm, cluster, *pair, plan, how) for pair in sorted(set(pairs))}
        rate, widths, memory = (np.reshape([known[pair][i] for pair in pairs], shape) for i in range(3))
        share, width = 6 * llm.active_params * rate / peak, widths.max(initial=0.0)
        used = known[max(pairs)][3] if pairs else None
    else:
        share = np.asarray(mfu, dtype=float)
    stated = 1.0 if utilisation is None and mfu is not None else utilisation
    good = goodput(n, state=storage(llm.params, n))
    worked, *ends = (good.share, good.high, good.low) if stated is None else [np.asarray(stated, dtype=float)] * 3
    rate = peak * share * worked / (1 + np.asarray(evaluation, dtype=float) / 3)
    seconds = flop / rate
    made, generated = None, np.asarray(0.0)
    if rollouts is not None:
        replica, load = rollouts
        point = serving(llm, replace(cluster, n_chips=int(np.max(replica.chips))), replica, load)
        if not np.all(point.feasible):
            raise InputError(f"a replica that generates: {np.ravel(point.reason)[0]}")
        made = np.asarray(tokens) / (1 + np.divide(load.input_tokens, load.output_tokens)) / (point.tokens_per_second_per_chip * n)
        seconds = made + seconds if split is None else np.maximum(made / np.asarray(split), seconds / (1 - np.asarray(split)))
        generated = np.log(point.rate_high / point.tokens_per_second_per_chip)
    below, above = (np.exp(np.sqrt(width**2 + generated**2 + np.log(worked / np.maximum(end, 1e-9)) ** 2)) for end in ends)
    hours = seconds * n / 3600
    joules = hours * 3600 * power(cluster.chip, np.minimum(share, 1.0), np.minimum(share, 1.0)) if cluster.chip.tdp else None
    run = TrainingRun(
        flop=flop, useful_flop_per_s=rate, seconds=seconds, low=seconds / below,
        high=seconds * above * (1.0 if given.get("mfu") is not None or plan else catalogue.cost("training_hours_beside").ends[1]),
        chip_hours=hours, mfu=share, utilisation=worked, usd=hours * np.asarray(usd_per_chip_hour, dtype=float), joules=joules,
        memory=memory, generation=made,
    )  # fmt: skip
    return replace(spread(run, whole), plan=used)


def _sped(llm: LLM, cluster: Cluster, n: int, tokens: float, plan: TrainingPlan | None, how: dict[str, Any]) -> Any:
    """Tokens/s of all chips, the half width of its logarithm, memory of a chip [B], and the layout."""
    length = int(checked_sequence(llm, how["sequence"], one=True))
    unit = 2 ** max(int(np.log2(n)) - PARTS, 0)
    busy = n // unit * unit if plan is None else n
    odd = busy // (busy & -busy)  # times a power of two: sequences that the ranks of a job divide
    batch = how["global_batch"] or odd * 2 ** max(round(float(np.log2(BATCH * tokens**GROWTH / length / odd))), 0)
    part, same = replace(cluster, n_chips=busy), {"sequence": length} | {k: how[k] for k in ("framework", "version")}
    reached, width = 1.0, 0.0
    if plan is None:
        found = search_layouts(llm, part, batch, precision=how["precision"], choices=how["choices"], top=1, **same)
        plan, reached, width = found.plan, found.reached.value, np.log(np.divide(*found.reached.ends[::-1])) / 2
    step = training_step(llm, part, plan, batch, detail=False, **same)
    if not np.all(step.feasible):
        raise InputError(f"a plan on {busy} {cluster.chip.name} at batch {batch}: {np.ravel(step.reason)[0]}")
    own = float(np.log(step.high / step.seconds))
    return batch * length * reached / float(step.seconds), max(own, width), float(step.memory.total), plan


def ask(rows: pl.DataFrame) -> list[Asked]:
    """Chip-hours of each run and, where its chips are stated, days; its layout is searched, its MFU an outcome.

    Not told apart: layout, batch, sequence, stages, restarts, what the hours count beside the run.
    """
    found = [one for name in QUANTITIES for one in asked(rows, partial(_run, name), lambda row, name=name: [name])]  # type: ignore[misc]
    return sorted(found, key=lambda one: one.position)


def _run(quantity: str, row: Row) -> tuple[Row, Any]:
    if _from_memory(row["read_in_source"] or "", "days" if quantity == "days" else "hours"):
        raise InputError(f"{quantity} not read in its source")
    if not row["tokens_t"] or not row["chip"] or (quantity == "days" and not row["n_chips"]):
        raise InputError("tokens, chip or n_chips is not stated")
    name, n = re.sub(r"\s+", "-", row["run"] or ""), row["n_chips"] or CHIPS
    catalogue.llm(name)
    cluster = {"call": "fabric.Cluster", "arguments": {"chip": row["chip"], "n_chips": n}}
    given = {"llm": name, "cluster": cluster, "tokens": row["tokens_t"] * 1e12}
    given |= {"utilisation": row["goodput_pct"] / 100} if row["goodput_pct"] else {}
    given |= {"precision": row["precision"]} if row["precision"] else {}
    factor = 1 / 86400 if quantity == "days" else n / 3600
    return {"call": "chips.training_run", "arguments": given}, {quantity: [f"{end} * {factor:.17g}" for end in ("seconds", "low", "high")]}


def _from_memory(read: str, word: str) -> bool:
    """Whether a quantity was not read in its source: ``memory``; ``hours and tokens yes; rest memory``; ``yes; days memory``."""
    parts = read.split(";")
    recalled = [part for part in parts if part.strip().endswith("memory")]
    others = [part for part in parts if part not in recalled]
    return not others or any(word in part or ("rest" in part and not any(word in other for other in others)) for part in recalled)


FORMS: dict[str, tuple[Form, ...]] = {"runs": (Form(TEXT, NUMBERS, ask, ("chip_hours", "days")),)}
