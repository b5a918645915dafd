"""What to train, and what it gains: the best size and data for a budget or a quality, under any law and for arrays of everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Array, Arrays
from workbench.catalogue import cost as fact
from workbench.checks import FINITE, NOT_NEGATIVE, POSITIVE, Rule, takes
from workbench.errors import InputError
from workbench.scaling.laws import FIVE, AdditiveLaw, Law, RepeatedDataLaw, laws, saturating
from workbench.scaling.laws import law as law_of

GOLDEN = (np.sqrt(5) - 1) / 2
STEPS = 60  #: of golden sections: from six decades to 1e-12 of one
WIDE = 8.0  #: half width of a search in log N around its start


@dataclass(frozen=True, repr=False)
class Allocation(Arrays):
    """The compute-optimal model of a budget; arrays broadcast."""

    compute: Array  #: [FLOP], by the definition of the law
    params: Array  #: as the law counts them
    tokens: Array  #: of training
    loss: Array  #: [nats per token]; infinite for a law of size alone, which knows no loss
    tokens_per_param: Array
    extrapolated: NDArray[np.bool_]  #: outside the compute that the law was fitted on
    decades: Array  #: by how many decades


@dataclass(frozen=True, repr=False)
class Constrained(Arrays):
    """The best model where different tokens run out; arrays broadcast."""

    compute: Array  #: [FLOP]
    unique_tokens: Array
    params: Array  #: as the law counts them
    tokens: Array  #: seen in training, repeats included
    epochs: Array
    loss: Array  #: [nats per token]
    loss_unconstrained: Array  #: what as much new data would have reached [nats per token]


@dataclass(frozen=True, repr=False)
class Served(Arrays):
    """The model of least cost over training and serving; arrays broadcast."""

    params: Array  #: as the law counts them
    tokens: Array  #: of training
    loss: Array  #: [nats per token]
    training_cost: Array  #: in the unit of the prices; FLOP where none are given
    serving_cost: Array  #: as `training_cost`
    cost: Array  #: both
    saved: Array  #: share of the cost of the compute-optimal model of the same loss
    feasible: NDArray[np.bool_]  #: some size reaches the loss


@takes(compute=POSITIVE)
def optimal_allocation(compute: ArrayLike, law: Law | str) -> Allocation:
    """Parameters and tokens of least loss for a budget of training compute [FLOP].

    The constants of the law may be arrays too: shapes broadcast, as (4000, 1) laws with 100 budgets.

    Examples
    --------
    >>> best = optimal_allocation([1e24, 1e26], "Besiroglu Huber")
    >>> (best.params / 1e9).round().tolist(), best.tokens_per_param.round(1).tolist()
    ([97.0, 1036.0], [17.6, 15.5])
    """
    one, c = law_of(law), np.asarray(compute, dtype=float)
    n, d = one.allocation(c)
    loss = np.full(n.shape, np.inf) if type(one).loss is Law.loss else one.loss(n, d)
    decades = one.decades_outside(c)
    return Allocation(c, n, d, loss, d / n, decades > 0, decades)


@takes(compute=POSITIVE, unique_tokens=POSITIVE)
def data_constrained_optimum(compute: ArrayLike, unique_tokens: ArrayLike, law: RepeatedDataLaw | str) -> Constrained:
    """Best size and number of epochs where only `unique_tokens` different tokens exist, at compute C = 6 N D [FLOP]; arrays broadcast.

    With alpha = beta the epochs depend on compute / unique_tokens^2 alone. [Muennighoff et al. (2023), section 5]

    Examples
    --------
    >>> data_constrained_optimum([1e20, 1e22], 25e9, "Muennighoff").epochs.round(2).tolist()
    [1.0, 9.49]
    """
    one = law_of(law)
    c, u = (np.asarray(x, dtype=float) for x in np.broadcast_arrays(compute, unique_tokens))
    free_n, free_d = one.allocation(c)
    e, a, b, alpha, beta, r_d, r_n = one.fitting(*FIVE, "r_d", "r_n")
    enough = one.params_for(u)

    def at(log_n: Array) -> Array:  # law.loss_repeated, of arguments that are known to be good
        n = np.exp(log_n)
        return e + a * saturating(n, enough, r_n) ** -alpha + b * saturating(c / (6 * n), u, r_d) ** -beta

    n = np.where(free_d <= u, free_n, np.exp(_least(at, np.log(free_n))))
    d = c / (6 * n)
    return Constrained(c, u, n, d, d / np.minimum(u, d), one.loss_repeated(n, d, u), one.loss(free_n, free_d))


@takes(tokens_served=NOT_NEGATIVE, loss=POSITIVE)
def inference_aware_optimum(
    tokens_served: ArrayLike, law: AdditiveLaw | str, *, loss: ArrayLike,
    prices: tuple[ArrayLike, ArrayLike] = (1.0, 1.0), mfus: tuple[ArrayLike, ArrayLike] = (1.0, 1.0),
) -> Served:  # fmt: skip
    """Size that reaches a loss at the least cost of training and serving together; not `feasible`, at infinite cost, where none does.

    min over N of 6 N D(N) p_t / mfu_t + 2 N T p_i / mfu_i with D(N) from L(N, D) = loss [Sardana et al. (2023), "Beyond
    Chinchilla-Optimal", equations 2 and 6]

    Parameters
    ----------
    tokens_served : array_like
        Tokens T over the model's life, prompts included.
    law : AdditiveLaw or str
    loss : array_like
        Quality to reach [nats per token].
    prices : (training, serving), array_like
        Of a FLOP at peak: USD per chip-hour over the chip's FLOP per hour; 1 counts FLOP.
    mfus : (training, serving), array_like
        Share of the peak that each reaches.

    Examples
    --------
    >>> best = inference_aware_optimum([0, 1e13, 1e15], "Besiroglu Huber", loss=2.0, mfus=(0.4, 0.2))
    >>> (best.params / 1e9).round(1).tolist()
    [47.0, 17.1, 9.1]
    """
    paid = _pair("prices", prices, POSITIVE) | _pair("mfus", mfus, Rule(above=0, most=1))
    given = law_of(law).fitting(*FIVE, loss=loss, tokens_served=tokens_served, **paid)
    e, a, b, alpha, beta, target, served, *paid_and_reached = given
    shape = np.broadcast_shapes(*map(np.shape, given))
    train_price, serve_price = (paid_and_reached[i] / paid_and_reached[i + 2] for i in (0, 1))

    # the compute-optimal model of the same loss: both terms of the law in the ratio beta : alpha
    feasible = target > e
    room = np.where(feasible, target - e, 1.0)
    n_ref = (a * (alpha + beta) / (beta * room)) ** (1 / alpha)

    def tokens(n: Array) -> Array:
        left = room - a * n**-alpha
        with np.errstate(divide="ignore", over="ignore"):
            return np.where(left > 0, (b / np.where(left > 0, left, 1.0)) ** (1 / beta), np.inf)

    def cost(log_n: Array) -> Array:
        n = np.exp(log_n)
        return n * (6 * tokens(n) * train_price + 2 * served * serve_price)

    n = np.exp(_least(cost, np.broadcast_to(np.log(n_ref), shape), larger=True))
    d = tokens(n)
    reference = cost(np.log(n_ref))
    feasible = np.broadcast_to(feasible, shape) & np.isfinite(d)
    training, serving = (np.where(feasible, x, np.inf) for x in (6 * n * d * train_price, 2 * n * served * serve_price))
    with np.errstate(invalid="ignore"):
        saved = np.where(feasible & np.isfinite(reference), 1 - (training + serving) / reference, 0.0)
    params, data = (np.where(feasible, x, 0.0) for x in (n, d))
    return Served(params, data, np.broadcast_to(target, shape), training, serving, training + serving, saved, feasible)


@takes(compute=POSITIVE)
def law_spread(compute: ArrayLike, names: Sequence[str] | None = None) -> pl.DataFrame:
    """The same decision under every law of those `names`, or all: one row a law and budget [FLOP], as the laws define N and C.

    Columns: law, counts, compute, params, tokens, tokens_per_param, loss (null for laws of size alone), extrapolated, decades.

    Examples
    --------
    >>> law_spread(1e26, ["Besiroglu Huber", "Llama 3"])["params"].round_sig_figs(3).to_list()
    [1040000000000.0, 954000000000.0]
    """
    found = []
    for name in laws() if names is None else names:
        frame = optimal_allocation(np.ravel(compute), name).frame()
        found.append(frame.with_columns(law=pl.lit(name), counts=pl.lit(law_of(name).counts)))
    columns = ["law", "counts", "compute", "params", "tokens", "tokens_per_param", "loss", "extrapolated", "decades"]
    return pl.concat(found).select(columns).with_columns(loss=pl.when(pl.col("loss").is_finite()).then("loss"))


@takes(compute_ratio=POSITIVE, years=FINITE, k=NOT_NEGATIVE, progress=NOT_NEGATIVE)
def capability_gain(
    compute_ratio: ArrayLike, years: ArrayLike = 0.0, k: ArrayLike | None = None, progress: ArrayLike | None = None
) -> Array:
    """Gain on the Epoch Capabilities Index from more compute and from later algorithms: k ln(ratio) + progress years, broadcast.

    In points of the index: Winogrande's difficulty is 0, its slope 1. [Epoch AI, benchmark-stitching: C = k ln(FLOP) + b(t)]

    Parameters
    ----------
    compute_ratio : array_like
        Training compute over that of the reference model.
    years : array_like
        Years by which it came later; below 0 where it came earlier.
    k : array_like, optional
        Index points per e-fold of compute; the mean of three families if not given (LLaMA alone: .176).
    progress : array_like, optional
        Index points per year at equal compute.

    Examples
    --------
    >>> capability_gain([1, 10, 100]).round(2).tolist()
    [0.0, 0.39, 0.78]
    """
    slope = fact("capability_per_efold").value if k is None else k
    rate = fact("capability_per_year").value if progress is None else progress
    return np.asarray(np.multiply(slope, np.log(compute_ratio)) + np.multiply(rate, years))


def _pair(name: str, values: tuple[ArrayLike, ArrayLike], rule: Rule) -> dict[str, Array]:
    if len(values) != 2:
        raise InputError(f"{name} = {values}: expected (training, serving)")
    return {f"{name}[{i}]": np.asarray(rule(f"{name}[{i}]", value)) for i, value in enumerate(values)}


def _least(f: Callable[[Array], Array], start: Array, larger: bool = False) -> Array:
    """Argument of least `f`, unimodal, within `WIDE` of `start`: golden sections for all entries at once.

    Between equal values, as where both are infinite, the search goes on to the `larger` side, or to the smaller.
    scipy's find_minimum takes twice as long for 2,000 entries and ends no lower.
    """
    low, high = start - WIDE, start + WIDE
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    f_left, f_right = f(left), f(right)
    for _ in range(STEPS):
        go_left = f_left < f_right if larger else f_left <= f_right
        low, high = np.where(go_left, low, left), np.where(go_left, right, high)
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        f_left, f_right = f(left), f(right)
    return np.asarray((low + high) / 2)
