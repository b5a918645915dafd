"""Reinforcement learning as generation plus training, to first order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Arrays, spread
from workbench.checks import NOT_NEGATIVE, POSITIVE, takes
from workbench.chips.serving.evaluate import serving
from workbench.chips.serving.plan import Load, ServingPlan
from workbench.chips.training.run import TrainingRun, training_run
from workbench.errors import InputError
from workbench.fabric import Cluster
from workbench.llm import LLM

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class ReinforcedRun(Arrays):
    """Reinforcement learning on chips that generate and train in turn, or on two parts of them."""

    seconds: Array
    low: Array  #: ends of the 80 % interval [s]
    high: Array
    generation: Array  #: seconds that all chips would generate
    chip_hours: Array
    usd: Array
    share: Array  #: of the chips that generate while the others train
    training: TrainingRun | None = None  #: on all chips


@takes(tokens=POSITIVE, usd_per_chip_hour=NOT_NEGATIVE)
def reinforced_run(
    llm: LLM | str | Path,
    cluster: Cluster,
    tokens: ArrayLike,
    load: Load,
    serving_plan: ServingPlan,
    *,
    split: float | None = None,
    usd_per_chip_hour: ArrayLike = 0.0,
    **training: Any,
) -> ReinforcedRun:
    """Time of learning from `tokens` that the model itself generates.

    Every sample is generated, scored by a reference and the policy of before (forward passes), and trained on with its prompt. Chips that
    do both take the sum of both times; of split ones the longer part counts: max(G / share, T / (1 - share)).

    Parameters
    ----------
    llm, cluster
        As `training_run`.
    tokens : array_like
        Generated in the whole run.
    load, serving_plan : Load, ServingPlan
        How replicas generate: samples at once, tokens of prompts and of outputs.
    split : float, optional
        Share of the chips that generate, above 0 and below 1; all do both in turn if not given.
    usd_per_chip_hour : array_like
        Price of a chip [USD/h].
    **training
        Other arguments of `training_run`, as `choices`.

    Examples
    --------
    >>> eight, load, replica = Cluster("H100", 8), Load(64, 512, 4096), ServingPlan(1, "bf16")
    >>> shared, apart = (reinforced_run("Llama-3.1-8B", eight, 1e9, load, replica, split=s) for s in (None, 0.5))
    >>> bool(shared.seconds <= apart.seconds)
    True
    """
    if split is not None and not 0 < split < 1:
        raise InputError(f"split = {split!r}: expected more than 0 and less than 1")
    replica = int(np.max(np.multiply(serving_plan.tp, serving_plan.pp)))
    point = serving(llm, Cluster(cluster.chip, replica, cluster.fabric), serving_plan, load)
    if not np.all(point.feasible):
        raise InputError(f"a replica that generates: {np.ravel(point.reason)[0]}")
    n, made = np.asarray(cluster.n_chips, dtype=float), np.asarray(tokens, dtype=float)
    trained = made * (1 + np.asarray(load.input_tokens, dtype=float) / np.asarray(load.output_tokens, dtype=float))
    run = training_run(llm, cluster, trained, **{"evaluation": 2.0, **training})
    generation = made / (point.tokens_per_second_per_chip * n)
    share = generation / (generation + run.seconds) if split is None else np.asarray(split)
    seconds = np.maximum(generation / share, run.seconds / (1 - share))
    half = np.hypot(np.log(run.high / run.seconds), np.log(point.rate_high / point.tokens_per_second_per_chip))
    hours = seconds * n / 3600
    low, high = seconds * np.exp(-half), seconds * np.exp(half)
    usd = hours * np.asarray(usd_per_chip_hour, dtype=float)
    return replace(spread(ReinforcedRun(seconds, low, high, generation, hours, usd, share), np.shape(usd)), training=run)
