"""What to train: the best size, data, epochs and precision for a budget or a quality, under any law and for arrays of everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import broadcast
from workbench.checks import NOT_NEGATIVE, POSITIVE, Rule, takes
from workbench.errors import InputError
from workbench.scaling.laws import AdditiveLaw, Law, PrecisionLaw, RepeatedDataLaw, law, laws, saturating

Array = NDArray[np.float64]
GOLDEN = (np.sqrt(5) - 1) / 2
STEPS = 60  #: of golden sections: from six decades to 1e-12 of one
WIDE = 8.0  #: half width of a search in log N around its start


class _Result:
    """Results of arrays that broadcast, as a frame with one row a case."""

    def frame(self) -> pl.DataFrame:
        """One row a case, one column a field."""
        values = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]
        shape = np.broadcast_shapes(*(v.shape for v in values.values()))
        return pl.DataFrame({name: np.broadcast_to(v, shape).ravel() for name, v in values.items()})


@dataclass(frozen=True)
class Allocation(_Result):
    """The compute-optimal model of a budget; arrays broadcast."""

    compute: Array  #: [FLOP], by the definition of the law
    params: Array  #: as the law counts them
    tokens: Array
    loss: Array  #: [nats a token]; infinite for a law of size alone, which knows no loss
    tokens_per_param: Array
    extrapolated: NDArray[np.bool_]  #: outside the compute that the law was fitted on
    decades: Array  #: by how many decades


@dataclass(frozen=True)
class Constrained(_Result):
    """The best model where different tokens run out; arrays broadcast."""

    compute: Array
    unique_tokens: Array
    params: Array
    tokens: Array  #: seen in training, repeats included
    epochs: Array
    loss: Array
    loss_unconstrained: Array  #: what as much new data would have reached


@dataclass(frozen=True)
class Served(_Result):
    """The model of least cost over training and serving; arrays broadcast."""

    params: Array
    tokens: Array
    bits: Array  #: precision of training
    epochs: Array
    loss: Array
    training_cost: Array  #: in the unit of the prices; FLOP where none are given
    serving_cost: Array
    cost: Array
    saved: Array  #: share of the cost of the compute-optimal model of the same loss
    feasible: NDArray[np.bool_]  #: some size reaches the loss


def loss(params: ArrayLike, tokens: ArrayLike, law: Law) -> Array:
    """Loss of a model [nats a token] under a law, broadcast."""
    return law.loss(params, tokens)


@takes(compute=POSITIVE)
def optimal_allocation(compute: ArrayLike, law: Law) -> Allocation:
    """Parameters and tokens of least loss for a budget of training compute.

    Parameters
    ----------
    compute : array_like
        [FLOP]
    law : Law
        Its constants may be arrays too: shapes broadcast, as (4000, 1) laws with 100 budgets.

    Returns
    -------
    Allocation

    Raises
    ------
    InputError
        For compute that is not positive.
    """
    c = np.asarray(compute, dtype=float)
    n, d = law.allocation(c)
    known = _knows_loss(law)
    decades = law.decades_outside(c)
    return Allocation(
        compute=c,
        params=n,
        tokens=d,
        loss=law.loss(n, d) if known else np.full(n.shape, np.inf),
        tokens_per_param=d / n,
        extrapolated=decades > 0,
        decades=decades,
    )


@takes(compute=POSITIVE, params=POSITIVE)
def isoflop(compute: ArrayLike, params: ArrayLike, law: Law) -> Array:
    """Loss of models of `params` trained on all of `compute` [nats a token]: an isoFLOP curve, broadcast."""
    n, c = np.asarray(params, dtype=float), np.asarray(compute, dtype=float)
    return law.loss(n, c / (6 * n))


@takes(compute=POSITIVE, unique_tokens=POSITIVE)
def data_constrained_optimum(compute: ArrayLike, unique_tokens: ArrayLike, law: RepeatedDataLaw) -> Constrained:
    """Best size and number of epochs where only `unique_tokens` different tokens exist.

    With alpha = beta the epochs depend on compute / unique_tokens^2 alone.

    Parameters
    ----------
    compute : array_like
        [FLOP], C = 6 N D.
    unique_tokens : array_like
    law : RepeatedDataLaw

    References
    ----------
    .. [1] Muennighoff et al. (2023), section 5.
    """
    c, u = (np.asarray(x, dtype=float) for x in np.broadcast_arrays(compute, unique_tokens))
    free_n, free_d = law.allocation(c)

    e, a, b, alpha, beta = law.constants()
    enough, r_d, r_n = law.params_for(u), np.asarray(law.r_d, dtype=float), np.asarray(law.r_n, dtype=float)

    def at(log_n: Array) -> Array:  # law.loss_repeated, of arguments that are known to be good
        n = np.exp(log_n)
        return e + a * saturating(n, enough, r_n) ** -alpha + b * saturating(c / (6 * n), u, r_d) ** -beta

    n = np.where(free_d <= u, free_n, np.exp(_least(at, np.log(free_n))))
    d = c / (6 * n)
    return Constrained(
        compute=c,
        unique_tokens=u,
        params=n,
        tokens=d,
        epochs=d / np.minimum(u, d),
        loss=law.loss_repeated(n, d, u),
        loss_unconstrained=law.loss(free_n, free_d),
    )


def inference_aware_optimum(
    tokens_served: ArrayLike,
    law: AdditiveLaw,
    *,
    loss: ArrayLike,
    prices: tuple[ArrayLike, ArrayLike] = (1.0, 1.0),
    mfus: tuple[ArrayLike, ArrayLike] = (1.0, 1.0),
) -> Served:
    """Size that reaches a loss at the least cost of training and serving together.

    min over N of 6 N D(N) p_t / mfu_t + 2 N T p_i / mfu_i with D(N) from L(N, D) = loss

    Parameters
    ----------
    tokens_served : array_like
        Tokens T over the model's life, prompts included.
    law : AdditiveLaw
    loss : array_like
        Quality that is asked for [nats a token].
    prices : (training, serving), array_like
        Of a FLOP at peak: USD a chip-hour over the chip's FLOP an hour; 1 counts FLOP.
    mfus : (training, serving), array_like
        Share of the peak that each reaches.

    Returns
    -------
    Served

    References
    ----------
    .. [1] Sardana et al. (2023), "Beyond Chinchilla-Optimal", equations 2 and 6.
    """
    return joint_optimum(law, loss=loss, tokens_served=tokens_served, prices=prices, mfus=mfus)


@takes(loss=POSITIVE, tokens_served=NOT_NEGATIVE, unique_tokens=POSITIVE, bits=POSITIVE, serving_bits=POSITIVE)
def joint_optimum(
    law: AdditiveLaw,
    *,
    loss: ArrayLike,
    tokens_served: ArrayLike = 0.0,
    unique_tokens: ArrayLike | None = None,
    bits: ArrayLike = 16.0,
    serving_bits: ArrayLike = 16.0,
    precision: PrecisionLaw | None = None,
    prices: tuple[ArrayLike, ArrayLike] = (1.0, 1.0),
    mfus: tuple[ArrayLike, ArrayLike] = (1.0, 1.0),
) -> Served:
    """Size, data, epochs and precision that reach a loss at the least cost of training and serving: one problem.

    min over N of 6 N D bits/16 p_t/mfu_t + 2 N T serving_bits/16 p_i/mfu_i, with D from the law at N times the effective share of
    `precision` at `bits`, and with repeats where `unique_tokens` run out.

    Parameters
    ----------
    law : AdditiveLaw
        A `RepeatedDataLaw` where `unique_tokens` are given.
    loss : array_like
        Quality that is asked for [nats a token].
    tokens_served : array_like
    unique_tokens : array_like, optional
        Different tokens that exist.
    bits, serving_bits : array_like
        Precision of training and serving; a FLOP costs in proportion. An axis of bits and the least cost along it give the best one.
    precision : PrecisionLaw, optional
        What low precision costs in effective parameters; nothing if not given.
    prices, mfus : pair of array_like
        As `inference_aware_optimum`.

    Returns
    -------
    Served
        Not `feasible`, with infinite cost, where no size reaches the loss.

    Raises
    ------
    InputError
        For numbers that are not positive, or unique tokens with a law that does not know repeats.
    """
    target, width, serve_width, served = (np.asarray(x, dtype=float) for x in (loss, bits, serving_bits, tokens_served))
    if unique_tokens is not None and not isinstance(law, RepeatedDataLaw):
        raise InputError(f"{law.name} does not know what repeated tokens are worth: take a RepeatedDataLaw, as Muennighoff")
    paid, reached = _pair("prices", prices, POSITIVE), _pair("mfus", mfus, Rule(above=0, most=1))
    unique = None if unique_tokens is None else np.asarray(unique_tokens, dtype=float)
    shaped = {"loss": target, "tokens_served": served, "bits": width, "serving_bits": serve_width} | paid | reached
    shaped |= {} if unique is None else {"unique_tokens": unique}
    broadcast(**shaped)
    e, a, b, alpha, beta = law.constants(**shaped)
    train_price, serve_price = (p / u * w / 16 for p, u, w in zip(paid.values(), reached.values(), (width, serve_width), strict=True))
    share = np.ones_like(width) if precision is None else precision.effective_share(width)

    enough = None if unique is None else law.params_for(unique)  # type: ignore[attr-defined]
    r_n = np.asarray(getattr(law, "r_n", 1.0), dtype=float)

    # the compute-optimal model of the same loss: both terms of the law in the ratio beta : alpha
    gap = target - e
    feasible = gap > 0
    room = np.where(feasible, gap, 1.0)
    n_ref = (a * (alpha + beta) / (beta * room)) ** (1 / alpha) / share
    d_ref = (b * (alpha + beta) / (alpha * room)) ** (1 / beta)
    shape = np.broadcast_shapes(
        n_ref.shape, d_ref.shape, served.shape, train_price.shape, serve_price.shape, () if unique is None else unique.shape
    )

    def tokens(n: Array) -> Array:
        n_eff = n * share if enough is None else saturating(n * share, enough, r_n)
        left = room - a * n_eff**-alpha
        with np.errstate(divide="ignore", over="ignore"):
            new = np.where(left > 0, (b / np.where(left > 0, left, 1.0)) ** (1 / beta), np.inf)
        return new if unique is None else _seen(law, new, unique)

    def cost(log_n: Array) -> Array:
        n = np.exp(log_n)
        return n * (6 * tokens(n) * train_price + 2 * served * serve_price)

    start = np.broadcast_to(np.log(n_ref), shape)
    n = np.exp(_least(cost, start, finite_first=True))
    d = tokens(n)
    training, serving = 6 * n * d * train_price, 2 * n * served * serve_price
    reference = n_ref * (6 * tokens(n_ref) * train_price + 2 * served * serve_price)
    feasible = np.broadcast_to(feasible, shape) & np.isfinite(training)
    with np.errstate(invalid="ignore"):
        saved = np.where(feasible & np.isfinite(reference), 1 - (training + serving) / reference, 0.0)
    infinite = np.full(shape, np.inf)
    return Served(
        params=np.where(feasible, n, 0.0),
        tokens=np.where(feasible, d, 0.0),
        bits=np.broadcast_to(width, shape),
        epochs=np.where(feasible, 1.0 if unique is None else np.maximum(d / unique, 1.0), 0.0),
        loss=np.broadcast_to(target, shape),
        training_cost=np.where(feasible, training, infinite),
        serving_cost=np.where(feasible, serving, infinite),
        cost=np.where(feasible, training + serving, infinite),
        saved=saved,
        feasible=feasible,
    )


@takes(compute=POSITIVE)
def law_spread(compute: ArrayLike, names: Sequence[str] | None = None) -> pl.DataFrame:
    """The same decision under every law: one row a law and budget, as the laws define N and C.

    Parameters
    ----------
    compute : array_like
        [FLOP]
    names : sequence of str, optional
        Laws; all that are available if not given.

    Returns
    -------
    polars.DataFrame
        law, counts, compute, params, tokens, tokens_per_param, loss (null for laws of size alone), extrapolated, decades.
    """
    c = np.ravel(compute)
    frames = []
    for name in laws() if names is None else names:
        one = law(name)
        frame = optimal_allocation(c, one).frame()
        frames.append(frame.with_columns(law=pl.lit(name), counts=pl.lit(one.counts)))
    columns = ["law", "counts", "compute", "params", "tokens", "tokens_per_param", "loss", "extrapolated", "decades"]
    return pl.concat(frames).select(columns).with_columns(loss=pl.when(pl.col("loss").is_finite()).then("loss"))


@takes(budgets=Rule(above=0, apart=True), factor=Rule(above=1, one=True), points=Rule(least=3, whole=True, one=True), compute=POSITIVE)
def approach_2_bias(law: AdditiveLaw, budgets: ArrayLike, factor: float, points: int, compute: ArrayLike) -> Array:
    """Relative error of the tokens that approach 2 extrapolates to `compute`, on a noise-free surface.

    Parabolas of loss on log D over `points` log-spaced tokens within a `factor` of the optimum at each budget, and a power law through
    their vertices. The exponent comes out exactly; the intercept is biased unless alpha = beta.

    References
    ----------
    .. [1] Open Athena, scaling-law-analysis (2026), extrapolation error of isoFLOP parabolas.
    """
    c = np.ravel(budgets)
    if np.unique(c).size < 2:
        raise InputError(f"budgets = {budgets}: a power law needs two different ones")
    _, best = law.allocation(c)
    d = best[:, None] * np.exp(np.linspace(-np.log(factor), np.log(factor), points))
    losses = law.loss(c[:, None] / (6 * d), d)
    x = np.log10(d)
    vertices = [-q[1] / (2 * q[0]) for q in (np.polyfit(xi, li, 2) for xi, li in zip(x, losses, strict=True))]
    slope, intercept = np.polyfit(np.log10(c), vertices, 1)
    return np.asarray(10 ** (slope * np.log10(compute) + intercept) / law.allocation(compute)[1] - 1)


def _seen(law: Any, new: Array, unique: Array) -> Array:
    """Tokens to be seen, repeats included, that do what `new` different ones would; infinite if repeats never do."""
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = new / unique - 1
        worth = np.clip(1 - excess / law.r_d, 0.0, None)
        repeated = unique * (1 - law.r_d * np.log(np.where(worth > 0, worth, 1.0)))
    return np.where(excess <= 0, new, np.where(worth > 0, repeated, np.inf))


def _pair(name: str, values: tuple[ArrayLike, ArrayLike], rule: Rule) -> dict[str, Array]:
    if len(values) != 2:
        raise InputError(f"{name} = {values}: expected (training, serving)")
    return {f"{name}[{i}]": np.asarray(rule(f"{name}[{i}]", value)) for i, value in enumerate(values)}


def _knows_loss(law: Law) -> bool:
    return type(law).loss is not Law.loss


def _least(f: Callable[[Array], Array], start: Array, finite_first: bool = False) -> Array:
    """Argument of least `f`, unimodal, within `WIDE` of `start`: golden sections for all entries at once.

    With `finite_first`, where both trial values are infinite the search goes on to the right, where larger models reach the loss.
    """
    low, high = start - WIDE, start + WIDE
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    f_left, f_right = f(left), f(right)
    for _ in range(STEPS):
        go_left = f_left < f_right if finite_first else f_left <= f_right
        low, high = np.where(go_left, low, left), np.where(go_left, right, high)
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        f_left, f_right = f(left), f(right)
    return np.asarray((low + high) / 2)
