"""Time to train a model, to first order: the compute it needs over the compute it gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue, scaling
from workbench.arrays import Arrays, broadcast
from workbench.checks import POSITIVE, Rule, takes
from workbench.fabric import Cluster
from workbench.llm import LLM


@dataclass(frozen=True, repr=False)
class TrainingRun(Arrays):
    """A training run; arrays broadcast over the arguments of `training_run`."""

    flop: NDArray[np.float64]  #: training compute, 6ND [FLOP]
    useful_flop_per_s: NDArray[np.float64]  #: model FLOP a second, averaged over the run
    seconds: NDArray[np.float64]
    chip_hours: NDArray[np.float64]


@takes(tokens=POSITIVE, mfu=Rule(above=0, most=1), utilisation=Rule(above=0, most=1))
def training_run(
    llm: LLM | str | Path, cluster: Cluster, tokens: ArrayLike, *, mfu: ArrayLike, precision: str = "bf16", utilisation: ArrayLike = 1.0
) -> TrainingRun:
    """Duration of one training run on the whole cluster.

    seconds = 6 N D / (n_chips * peak * mfu * utilisation)

    N counts the parameters that a token uses (all of a dense model; of a mixture, the shared ones and the experts it visits),
    embeddings included. MFU is model FLOP/s over the dense peak in `precision` while the job runs.

    Parameters
    ----------
    llm : LLM or str
        Model to train, or its name.
    cluster : Cluster
        `n_chips` may be an array.
    tokens : array_like
        Training tokens D.
    mfu : array_like
        Model FLOP utilisation, above 0 and at most 1.
    precision : str
        Number format whose peak the MFU refers to.
    utilisation : array_like
        Share of the hours in which the job makes progress (availability and goodput), above 0 and at most 1.

    Returns
    -------
    TrainingRun

    Raises
    ------
    InputError
        For a share outside (0, 1], tokens that are not positive, or a precision the chip lacks.

    Examples
    --------
    >>> h100 = Cluster(catalogue.chip("H100"), 16_384, "InfiniBand NDR")
    >>> run = training_run("Llama-3.1-405B", h100, 15.6e12, mfu=0.4, utilisation=0.9)
    >>> round(float(run.chip_hours) / 1e6, 1)  # the card of the model: 30.84 million
    29.6

    References
    ----------
    .. [1] Kaplan et al. (2020), "Scaling Laws for Neural Language Models", section 2.1 (C = 6 N D).
    """
    broadcast(n_chips=cluster.n_chips, tokens=tokens, mfu=mfu, utilisation=utilisation)
    flop = scaling.training_flop(catalogue.llm(llm).active_params, tokens)
    rate = cluster.peak(precision) * np.asarray(mfu, dtype=float) * np.asarray(utilisation, dtype=float)
    seconds = flop / rate
    chip_hours = seconds * np.asarray(cluster.n_chips, dtype=float) / 3600
    return TrainingRun(flop=flop, useful_flop_per_s=rate, seconds=seconds, chip_hours=chip_hours)
