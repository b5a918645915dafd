"""Robust regression of L = E + A / N^alpha + B / D^beta on logarithms, for many weightings of the same points at once.

The residual is r = log(exp(e) + exp(a - alpha x) + exp(b - beta y)) - log L with x = log N, y = log D, both centred: the raw problem has a
condition number of 3e11. The objective is sum_i w_i huber(r_i), as the papers have it (a sum, not a mean, which stops default tolerances
early). As r is a log-sum-exp, gradient and Hessian are sums of shares u, v, 1 - u - v times powers of x and y, so that each costs a few
products and thin matrix products for all weightings of a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BLOCK = 512  #: weightings a block: few enough for the cache, many enough to forget the cost of a call
STEPS = 60
#: A step is the last when it promises less than this share of the objective.
TOLERANCE = 1e-13


@dataclass(frozen=True)
class Points:
    """What is fitted: centred logarithms of parameters and tokens, and the logarithm of loss."""

    x: Array
    y: Array
    log_loss: Array
    x_mean: float
    y_mean: float

    def constants(self, theta: Array) -> dict[str, Array]:
        """E, A, B, alpha, beta of the law at theta, whose last axis is a, b, e, alpha, beta."""
        a, b, e, alpha, beta = np.moveaxis(theta, -1, 0)
        return {"E": np.exp(e), "A": np.exp(a + alpha * self.x_mean), "B": np.exp(b + beta * self.y_mean), "alpha": alpha, "beta": beta}


def centred(params: Array, tokens: Array, loss: Array) -> Points:
    """Points of a fit, from positive arrays."""
    x, y = np.log(params), np.log(tokens)
    return Points(x - x.mean(), y - y.mean(), np.log(loss), float(x.mean()), float(y.mean()))


def minimise(points: Points, weights: Array, start: Array, delta: float) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Minimise the weighted sum of Huber losses by a damped semismooth Newton method, block by block.

    `weights` of each point in each of k problems has shape (k, n), `start` (a, b, e, alpha, beta in centred logarithms) (5,) or (k, 5);
    at `delta` the loss turns from quadratic to linear. Returns theta (k, 5), the objective (k,) and whether each has converged.
    """
    k = weights.shape[0]
    theta, objective, converged = np.empty((k, 5)), np.empty(k), np.empty(k, dtype=bool)
    starts = np.broadcast_to(start, (k, 5))
    with np.errstate(all="ignore"):  # a step too far overflows: its value is no better, and it is taken back
        for first in range(0, k, BLOCK):
            part = slice(first, first + BLOCK)
            theta[part], objective[part], converged[part] = _block(points, weights[part], starts[part].copy(), delta)
    return theta, objective, converged


def _block(points: Points, weights: Array, theta: Array, delta: float) -> tuple[Array, Array, NDArray[np.bool_]]:
    """`minimise` for one block. Problems that have converged leave the arrays."""
    powers = _powers(points)
    done_theta, done_objective = theta.copy(), np.full(len(theta), np.inf)
    done = np.zeros(len(theta), dtype=bool)
    left = np.arange(len(theta))
    damping = np.full(len(theta), 1e-3)
    value, gradient, hessian = _expansion(points, powers, weights, theta, delta)
    safe = _reweighted(points, powers, theta[:1], delta) * weights.mean()
    for _ in range(STEPS):
        step = _solve(hessian + damping[:, None, None] * safe, gradient)
        promise = 0.5 * np.einsum("ki,ki->k", gradient, step)
        trial = theta - step
        new_value, new_gradient, new_hessian = _expansion(points, powers, weights, trial, delta)
        better = new_value <= value
        flat = np.abs(promise) <= TOLERANCE * np.maximum(value, 1e-300)
        theta = np.where(better[:, None], trial, theta)
        finished = flat & (better | (np.abs(new_value - value) <= 1e-12 * value))
        value = np.where(better, new_value, value)
        gradient = np.where(better[:, None], new_gradient, gradient)
        hessian = np.where(better[:, None, None], new_hessian, hessian)
        damping = np.where(better, np.maximum(damping * 0.1, 1e-9), np.minimum(np.maximum(damping * 10, 1e-3), 1e8))
        done_theta[left], done_objective[left] = theta, value
        done[left[finished]] = True
        keep = ~finished
        if not keep.any():
            break
        if not keep.all():
            left, theta, value, damping, weights = left[keep], theta[keep], value[keep], damping[keep], weights[keep]
            gradient, hessian = gradient[keep], hessian[keep]
    return done_theta, done_objective, done


def _powers(points: Points) -> tuple[Array, ...]:
    """Powers of x and y by which the shares are summed: of u u, v v, u v, u, v."""
    x, y, one = points.x, points.y, np.ones_like(points.x)
    return (
        np.stack([one, x, x * x], axis=1),
        np.stack([one, y, y * y], axis=1),
        np.stack([one, x, y, x * y], axis=1),
        np.stack([one, x], axis=1),
        np.stack([one, y], axis=1),
    )


def _shares(points: Points, theta: Array) -> tuple[Array, Array, Array]:
    """Shares u, v of the two power laws in the predicted loss, and the residual r."""
    a, b, e, alpha, beta = (theta[:, i : i + 1] for i in range(5))
    u = np.exp(a - alpha * points.x)
    v = np.exp(b - beta * points.y)
    total = u + v
    total += np.exp(e)
    r = np.log(total)
    r -= points.log_loss
    np.divide(1.0, total, out=total)
    u *= total
    v *= total
    return u, v, r


def _expansion(points: Points, powers: tuple[Array, ...], weights: Array, theta: Array, delta: float) -> tuple[Array, Array, Array]:
    """Objective, gradient and generalised Hessian at each theta."""
    u, v, r = _shares(points, theta)
    slope = np.clip(r, -delta, delta)
    curve = slope == r
    value = np.einsum("ki,ki,ki->k", weights, slope, r - 0.5 * slope)  # r^2 / 2 inside, delta (|r| - delta / 2) outside
    slope *= weights
    shifted = weights * curve
    shifted -= slope
    gradient = _gradient(powers, slope, u, v)
    hessian = _quadratic(powers, shifted, u, v)
    _add_linear(powers, hessian, slope, u, v)
    return value, gradient, hessian


def _reweighted(points: Points, powers: tuple[Array, ...], theta: Array, delta: float) -> Array:
    """Hessian of the reweighted least squares with equal weights: positive definite, the measure of a damped step."""
    u, v, r = _shares(points, theta)
    return _quadratic(powers, np.minimum(1.0, delta / np.maximum(np.abs(r), 1e-300)), u, v)


def _gradient(powers: tuple[Array, ...], c: Array, u: Array, v: Array) -> Array:
    """sum c dr, over a, b, e, alpha, beta."""
    cu, cv = (c * u) @ powers[3], (c * v) @ powers[4]
    return np.stack([cu[:, 0], cv[:, 0], c.sum(axis=1) - cu[:, 0] - cv[:, 0], -cu[:, 1], -cv[:, 1]], axis=1)


def _quadratic(powers: tuple[Array, ...], c: Array, u: Array, v: Array) -> Array:
    """sum c dr dr', symmetric 5 x 5."""
    cu, cv = c * u, c * v
    suv = (cu * v) @ powers[2]
    su, sv, s = cu @ powers[3], cv @ powers[4], c.sum(axis=1)
    cu *= u
    cv *= v
    suu, svv = cu @ powers[0], cv @ powers[1]
    # the share of E is w = 1 - u - v
    uw, uwx = su[:, 0] - suu[:, 0] - suv[:, 0], su[:, 1] - suu[:, 1] - suv[:, 1]
    vw, vwy = sv[:, 0] - svv[:, 0] - suv[:, 0], sv[:, 1] - svv[:, 1] - suv[:, 2]
    ww = s - su[:, 0] - sv[:, 0] - uw - vw
    h = np.empty((len(c), 5, 5))
    h[:, 0, 0], h[:, 0, 1], h[:, 0, 2], h[:, 0, 3], h[:, 0, 4] = suu[:, 0], suv[:, 0], uw, -suu[:, 1], -suv[:, 2]
    h[:, 1, 1], h[:, 1, 2], h[:, 1, 3], h[:, 1, 4] = svv[:, 0], vw, -suv[:, 1], -svv[:, 1]
    h[:, 2, 2], h[:, 2, 3], h[:, 2, 4] = ww, -uwx, -vwy
    h[:, 3, 3], h[:, 3, 4], h[:, 4, 4] = suu[:, 2], suv[:, 3], svv[:, 2]
    for i in range(5):
        for j in range(i):
            h[:, i, j] = h[:, j, i]
    return h


def _add_linear(powers: tuple[Array, ...], h: Array, c: Array, u: Array, v: Array) -> None:
    """Add sum c (d2r + dr dr'): the shares themselves, on the diagonal blocks of u, v and E."""
    su, sv = (c * u) @ powers[0], (c * v) @ powers[1]
    h[:, 0, 0] += su[:, 0]
    h[:, 0, 3] -= su[:, 1]
    h[:, 3, 0] -= su[:, 1]
    h[:, 3, 3] += su[:, 2]
    h[:, 1, 1] += sv[:, 0]
    h[:, 1, 4] -= sv[:, 1]
    h[:, 4, 1] -= sv[:, 1]
    h[:, 4, 4] += sv[:, 2]
    h[:, 2, 2] += c.sum(axis=1) - su[:, 0] - sv[:, 0]


def _solve(matrices: Array, vectors: Array) -> Array:
    """Solutions of k systems, scaled by their diagonals; a singular one takes a small step along the gradient."""
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diagonal(matrices, axis1=1, axis2=2)), 1e-300))
    scaled = matrices * scale[:, :, None] * scale[:, None, :]
    try:
        step = np.linalg.solve(scaled, (vectors * scale)[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        step = np.linalg.solve(scaled + 1e-9 * np.eye(5), (vectors * scale)[:, :, None])[:, :, 0]
    return step * scale
