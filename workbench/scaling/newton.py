"""Robust regression of L = E + A / N^alpha + B / D^beta on logarithms, for many weightings of the same points at once.

The residual is r = log(exp(e) + exp(a - alpha x) + exp(b - beta y)) - log L with x = log N, y = log D, both centred: the raw problem has a
condition number of 3e11. The objective is sum_i w_i huber(r_i), as the papers have it (a sum, not a mean, which stops default tolerances
early). As r is a log-sum-exp, gradient and Hessian are sums of the shares of its three terms times powers of x and y, so that each costs a
few products and thin matrix products for all weightings of a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.arrays import Array

BLOCK = 512  #: weightings a block: few enough for the cache, many enough to forget the cost of a call
STEPS = 60
TOLERANCE = 1e-13  #: a step is the last when its expected gain is less than this share of the objective
#: Derivatives of the logarithms of E and of both power laws by a, b, e, alpha, beta, as coefficients of 1, x, y.
E, U, V = (np.zeros((3, 5)) for _ in range(3))
E[0, 2] = U[0, 0] = V[0, 1] = 1
U[1, 3] = V[2, 4] = -1
POWERS = np.triu_indices(3)  #: which two of 1, x, y are multiplied; the first three are 1, x, y themselves
OF = E, U - E, V - E  #: dr as coefficients of 1, u, v: the share of E is 1 - u - v


def _product(one: Array, other: Array) -> Array:
    """Of two derivatives, symmetric, as coefficients of 1, x, y, x x, x y, y y in the order of `POWERS`, shape (6, 25)."""
    both = np.einsum("pa,qb->pqab", one, other)
    both = both + both.swapaxes(2, 3)
    return np.array([(both[p, q] + (p < q) * both[q, p]).ravel() / 2 for p, q in zip(*POWERS, strict=True)])


#: dr dr' as coefficients of 1, u, v, u u, u v, v v, and the sum of squares by share as those of 1, u, v.
SQUARE = [(1 + (i < j)) * _product(OF[i], OF[j]) for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))]
SPREAD = _product(E, E), _product(U, U) - _product(E, E), _product(V, V) - _product(E, E)


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
    one_x_y = np.stack([np.ones_like(points.x), points.x, points.y], axis=1)
    powers = one_x_y[:, POWERS[0]] * one_x_y[:, POWERS[1]]  # by which the shares are summed
    k = len(theta)
    done_theta, done_objective, done = theta.copy(), np.full(k, np.inf), np.zeros(k, dtype=bool)
    left, damping = np.arange(k), np.full(k, 1e-3)
    value, gradient, hessian = _expansion(points, powers, weights, theta, delta)
    u, v, r = _shares(points, theta[:1])  # of reweighted least squares with equal weights: definite, the measure of a damped step
    safe = _quadratic(powers, np.minimum(1.0, delta / np.maximum(np.abs(r), 1e-300)), u, v) * weights.mean()
    for _ in range(STEPS):
        step = _solve(hessian + damping[:, None, None] * safe, gradient)
        gain = 0.5 * np.einsum("ki,ki->k", gradient, step)
        trial = theta - step
        new_value, new_gradient, new_hessian = _expansion(points, powers, weights, trial, delta)
        better = new_value <= value
        flat = np.abs(gain) <= TOLERANCE * np.maximum(value, 1e-300)
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


def _shares(points: Points, theta: Array) -> tuple[Array, Array, Array]:
    """Shares u, v of the two power laws in the predicted loss, and the residual r."""
    a, b, e, alpha, beta = theta.T[:, :, None]
    u, v = np.exp(a - alpha * points.x), np.exp(b - beta * points.y)
    total = u + v
    total += np.exp(e)
    r = np.log(total)
    r -= points.log_loss
    np.divide(1.0, total, out=total)
    u *= total
    v *= total
    return u, v, r


def _expansion(points: Points, powers: Array, weights: Array, theta: Array, delta: float) -> tuple[Array, Array, Array]:
    """Objective, gradient and generalised Hessian at each theta: sums of w slope dr, and of w (curve dr dr' + slope d2r)."""
    u, v, r = _shares(points, theta)
    slope = np.clip(r, -delta, delta)
    curve = slope == r
    value = np.einsum("ki,ki,ki->k", weights, slope, r - 0.5 * slope)  # r^2 / 2 inside, delta (|r| - delta / 2) outside
    slope *= weights
    shifted = weights * curve
    shifted -= slope  # d2r is the spread of the three derivatives: the sum of their squares by share, less dr dr'
    hessian = _quadratic(powers, shifted, u, v)
    gradient = np.zeros_like(theta)
    for product, of, squared in zip((slope, slope * u, slope * v), OF, SPREAD, strict=True):
        moments = product @ powers
        gradient += moments[:, :3] @ of
        hessian += (moments @ squared).reshape(-1, 5, 5)
    return value, gradient, hessian


def _quadratic(powers: Array, c: Array, u: Array, v: Array) -> Array:
    """sum c dr dr', symmetric 5 x 5."""
    cu, cv = c * u, c * v
    products = zip((c, cu, cv, cu * u, cu * v, cv * v), SQUARE, strict=True)
    return sum((product @ powers @ square for product, square in products), np.zeros((len(c), 25))).reshape(-1, 5, 5)


def _solve(matrices: Array, vectors: Array) -> Array:
    """Solutions of k systems, scaled by their diagonals; a singular one takes a small step along the gradient."""
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diagonal(matrices, axis1=1, axis2=2)), 1e-300))
    scaled = matrices * scale[:, :, None] * scale[:, None, :]
    try:
        step = np.linalg.solve(scaled, (vectors * scale)[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        step = np.linalg.solve(scaled + 1e-9 * np.eye(5), (vectors * scale)[:, :, None])[:, :, 0]
    return step * scale
