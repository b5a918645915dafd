"""Compute for training and research: the largest run and what caps it, laboratories, research around the runs, roll-outs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Array, Arrays, broadcast
from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, SHARE, Rule, takes
from workbench.errors import InputError
from workbench.rows import H100E
from workbench.units import DAY, HOUR, YEAR

#: Tokens per parameter and FLOP per parameter and token of a compute-optimal dense run (Hoffmann et al., 2022).
TOKENS_PER_PARAMETER, FLOP_PER_PARAMETER_TOKEN = 20.0, 6.0
#: Largest dense model whose layers and batch are published: Llama 3.1-405B [parameters], [layers], [tokens a batch].
LLAMA = (4.05e11, 126.0, 16e6)


@dataclass(frozen=True, repr=False)
class FrontierRun(Arrays):
    """Largest training run, and what holds it there; arrays broadcast."""

    flop: Array  #: [FLOP]
    binds: NDArray[np.str_]  #: name of the cap that is smallest


def frontier_run(caps: Mapping[str, ArrayLike]) -> FrontierRun:
    """The largest run that every cap [FLOP] allows: trend, chips, power, data, latency, money."""
    if not caps:
        raise InputError("caps: expected at least one")
    given = {f"caps[{name}]": Rule(above=0, infinite=True)(f"caps[{name}]", value) for name, value in caps.items()}
    broadcast(**given)
    stacked = np.stack(np.broadcast_arrays(*given.values()))
    return FrontierRun(stacked.min(axis=0), np.array(list(caps))[stacked.argmin(axis=0)])


@takes(h100e=NOT_NEGATIVE, share=SHARE, mfu=SHARE, seconds=NOT_NEGATIVE)
def chips_cap(h100e: ArrayLike, *, share: ArrayLike, mfu: ArrayLike, seconds: ArrayLike) -> Array:
    """FLOP of a run on a `share` of a stock of H100-equivalents for `seconds`, in fp8 at `mfu`."""
    return np.asarray(np.prod(np.broadcast_arrays(h100e, share, mfu, seconds), axis=0) * H100E)


@takes(power=NOT_NEGATIVE, chip_power=POSITIVE, peak=POSITIVE, mfu=SHARE, seconds=NOT_NEGATIVE)
def power_cap(power: ArrayLike, *, chip_power: ArrayLike, peak: ArrayLike, mfu: ArrayLike, seconds: ArrayLike) -> Array:
    """FLOP of a run that `power` can feed: power / chip_power x peak x mfu x seconds.

    Parameters
    ----------
    power : array_like
        At the meter [W].
    chip_power : array_like
        Of a chip with its server, network and cooling, at the meter [W].
    peak, mfu, seconds : array_like
        Of the chip [FLOP/s]; share of it; length of the run [s].

    Examples
    --------
    A gigawatt for 300 days, on chips that take 425 W each with all that belongs to them:

    >>> print(f"{power_cap(1e9, chip_power=425.0, peak=989e12, mfu=0.4, seconds=300 * DAY):.1e}")
    2.4e+28
    """
    return np.asarray(np.divide(power, chip_power) * np.prod(np.broadcast_arrays(peak, mfu, seconds), axis=0))


@takes(tokens=NOT_NEGATIVE)
def data_cap(tokens: ArrayLike) -> Array:
    """FLOP of a compute-optimal run on so many tokens, 0 or more: 6 N D at D = 20 N, so 0.3 D^2.

    Examples
    --------
    >>> print(f"{data_cap(1.5e13):.2g}")
    6.7e+25

    References
    ----------
    .. [1] Hoffmann et al. (2022), "Training Compute-Optimal Large Language Models", arXiv:2203.15556.
    """
    return np.asarray(FLOP_PER_PARAMETER_TOKEN / TOKENS_PER_PARAMETER * np.asarray(tokens, dtype=float) ** 2)


@takes(seconds=POSITIVE, layer_latency=POSITIVE, batch_exponent=FINITE, depth_exponent=FINITE)
def latency_wall(
    *, seconds: ArrayLike = 90 * DAY, layer_latency: ArrayLike = 1e-4, batch_exponent: ArrayLike = 1 / 3, depth_exponent: ArrayLike = 1 / 3
) -> Array:
    """FLOP beyond which the sequential steps of a run take longer than it may last, however many chips there are.

    Steps D / B of L layers each take (D / B) L tau; D = 20 N, and layers and the batch that still helps grow as powers of N from those of
    Llama 3.1-405B. With C = 6 N D, C = 120 N0^2 (T B0 / (20 N0 L0 tau))^(2 / (1 + depth - batch)).

    Parameters
    ----------
    seconds : array_like
        Longest run [s].
    layer_latency : array_like
        Of a layer in a step, forward and backward [s]: four all-reduces of small messages of 10 to 40 microseconds each.
    batch_exponent, depth_exponent : array_like
        Of the batch and of the layers in N.

    Examples
    --------
    >>> print(f"{latency_wall():.1e}")
    2.9e+31

    References
    ----------
    .. [1] Erdil, Schneider-Joseph (2024), "Data movement limits to frontier model training", arXiv:2411.01137.
    """
    n0, layers, batch = LLAMA
    t, tau, b, d = map(np.asarray, (seconds, layer_latency, batch_exponent, depth_exponent))
    if not np.all(1 + d - b > 0):
        raise InputError(f"batch_exponent = {b}, depth_exponent = {d}: expected batch_exponent < 1 + depth_exponent")
    growth = t * batch / (TOKENS_PER_PARAMETER * n0 * layers * tau)
    return np.asarray(FLOP_PER_PARAMETER_TOKEN * TOKENS_PER_PARAMETER * n0**2 * growth ** (2 / (1 + d - b)))


@takes(budget=NOT_NEGATIVE, usd_per_h100e_hour=POSITIVE, mfu=SHARE)
def money_cap(budget: ArrayLike, *, usd_per_h100e_hour: ArrayLike, mfu: ArrayLike) -> Array:
    """FLOP that a budget [USD] buys at a price of an H100-equivalent hour."""
    return chips_cap(np.divide(budget, usd_per_h100e_hour), share=1.0, mfu=mfu, seconds=HOUR)


@dataclass(frozen=True, repr=False)
class TrainingDemand(Arrays):
    """Compute of all laboratories for training and research [H100e, busy all the time]; arrays broadcast."""

    final: Array  #: final training runs [H100e]
    experiments: Array  #: research that computes as training does [H100e]
    rollouts: Array  #: research that decodes: roll-outs of reinforcement learning [H100e]


@takes(
    **dict.fromkeys(("run_flop", "labs", "runs_per_year"), NOT_NEGATIVE), **dict.fromkeys(("final_share", "mfu"), Rule(above=0, most=1)),
    rollout_share=SHARE, follower=Rule(above=0, below=1),
)  # fmt: skip
def training_demand(
    run_flop: ArrayLike, *, labs: ArrayLike, runs_per_year: ArrayLike, final_share: ArrayLike, rollout_share: ArrayLike, mfu: ArrayLike,
    follower: ArrayLike = 0.4,
) -> TrainingDemand:  # fmt: skip
    """Compute of research and training: final runs over their share of research.

    Research = final / final_share; `rollout_share` of it are roll-outs, the rest experiments and final runs. Each of the laboratories
    trains `runs_per_year` runs, the first of `run_flop`, the next of `follower` times the one before, at `mfu` of the fp8 peak.
    """
    n, cadence, share, rolled, use, next_ = map(np.asarray, (labs, runs_per_year, final_share, rollout_share, mfu, follower))
    if not np.all(rolled + share <= 1 + 1e-12):
        raise InputError(f"final_share = {final_share}, rollout_share = {rollout_share}: expected both at most 1 together")
    all_labs = (1 - next_**n) / (1 - next_)
    final = np.asarray(run_flop) * all_labs * cadence / YEAR / (use * H100E)
    research = final / share
    return TrainingDemand(*np.broadcast_arrays(final, research * (1 - share - rolled), research * rolled))


@takes(training_exponent=NOT_NEGATIVE, inference_exponent=NOT_NEGATIVE)
def equal_marginal(training_exponent: ArrayLike, inference_exponent: ArrayLike) -> Array:
    """Share of compute for training where a dollar gains as much in either: alpha_T / (alpha_T + alpha_I).

    Capability rises by alpha log compute of each; at one order of magnitude of one for one of the other spend is equal [1]_. Exponents are
    points of capability per decade of compute, 0 or more, not both 0.

    Examples
    --------
    >>> float(equal_marginal(1.0, 3.0))
    0.25

    References
    ----------
    .. [1] Epoch AI (2024), "Optimally allocating compute between inference and training".
    """
    a, b = np.asarray(training_exponent), np.asarray(inference_exponent)
    if not np.all(a + b > 0):
        raise InputError("training_exponent, inference_exponent: expected not both 0")
    return np.asarray(a / (a + b))
