"""Correlated inputs: a Gaussian copula from named pairs or a matrix, and the nearest matrix where they contradict each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.checks import FINITE, Rule
from workbench.errors import InputError, UnknownName

Array = NDArray[np.float64]
Pairs = Mapping[tuple[str, str], float]
SLACK = 1e-8  #: by which an eigenvalue may fall below 0 through rounding
MET, MOST = 1e-10, 10_000  #: relative difference of two projections that have met; iterations until then


class NotACorrelation(InputError):
    """Correlations that no joint distribution has, with the smallest eigenvalue and the nearest matrix that one has."""

    def __init__(self, names: Sequence[str], matrix: Array, smallest: float):
        self.names, self.smallest, self.nearest = tuple(names), smallest, nearest_correlation(matrix)
        moved = np.abs(np.triu(self.nearest - matrix))
        changes = [
            f"{names[i]}, {names[j]}: {matrix[i, j]:g} -> {self.nearest[i, j]:.4f}"
            for i, j in np.argwhere(moved > 5e-5)[np.argsort(-moved[moved > 5e-5], kind="stable")][:6]
        ]
        super().__init__(
            f"the correlations contradict each other: the matrix of {len(names)} inputs is not positive semi-definite, "
            f"smallest eigenvalue {smallest:.4g}; the nearest that is (nearest_correlation): {'; '.join(changes)}"
        )


def nearest_correlation(matrix: ArrayLike) -> Array:
    """Correlation matrix nearest to the symmetric `matrix` in the Frobenius norm, positive semi-definite to rounding.

    Alternating projections on the positive semi-definite matrices and on those with a unit diagonal, with Dykstra's correction [1]_.

    References
    ----------
    .. [1] Higham (2002), "Computing the nearest correlation matrix", IMA J. Numer. Anal. 22, algorithm 3.3.
    """
    unit = _symmetric(matrix)  # corr_nearest of statsmodels takes 300 times as long for six inputs, and stops short of the end
    correction = np.zeros_like(unit)
    for _ in range(MOST):
        shifted = unit - correction
        value, vector = np.linalg.eigh(shifted)
        definite = (vector * np.maximum(value, 0.0)) @ vector.T
        correction = definite - shifted
        unit = definite.copy()
        np.fill_diagonal(unit, 1.0)
        if np.linalg.norm(unit - definite) <= MET * np.linalg.norm(unit):
            return unit
    raise InputError(f"nearest_correlation: the projections did not meet within {MOST} iterations")


def correlation_matrix(names: Sequence[str], correlation: Pairs | ArrayLike) -> Array:
    """`correlation` of the normal scores as a matrix in the order of `names`, checked.

    Parameters
    ----------
    names : sequence of str
    correlation : mapping of (name, name) to number, or array_like of shape (k, k)
        Pairs that are not named are independent.

    Raises
    ------
    UnknownName
        For a pair that names no input.
    NotACorrelation
        For a matrix that is not positive semi-definite.
    InputError
        For a number outside [-1, 1], a pair given twice, a matrix of another shape, asymmetric or without a unit diagonal.
    """
    place = {name: i for i, name in enumerate(names)}
    if isinstance(correlation, Mapping):
        matrix, seen = np.eye(len(place)), set()
        for pair, value in correlation.items():
            if not (isinstance(pair, tuple) and len(pair) == 2 and pair[0] != pair[1]):
                raise InputError(f"correlation names {pair!r}: expected a pair of two inputs")
            for name in pair:
                if name not in place:
                    raise UnknownName("input in correlation", name, place)
            if frozenset(pair) in seen:
                raise InputError(f"correlation of {pair[0]!r} and {pair[1]!r} is given twice")
            seen.add(frozenset(pair))
            i, j = place[pair[0]], place[pair[1]]
            matrix[i, j] = matrix[j, i] = Rule(least=-1, most=1, one=True)(f"correlation of {pair[0]!r} and {pair[1]!r}", value)
    else:
        matrix = _symmetric(correlation)
        if matrix.shape[0] != len(place):
            raise InputError(f"correlation: a matrix of {matrix.shape[0]} rows for {len(place)} inputs: {', '.join(names)}")
        for i, j in np.argwhere(np.abs(matrix) > 1):
            raise InputError(f"correlation of {names[i]!r} and {names[j]!r} = {matrix[i, j]}: expected -1 to 1")
        if np.any(np.diag(matrix) != 1):
            raise InputError(f"correlation: diagonal {np.diag(matrix)}: expected 1")
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if smallest < -SLACK:
        raise NotACorrelation(list(names), matrix, smallest)
    return matrix


def factor(matrix: Array) -> Array:
    """Lower triangular L with L L' = `matrix`, which may be singular: the first inputs stay as they are when others follow."""
    value, vector = np.linalg.eigh(matrix)
    upper = np.asarray(np.linalg.qr((vector * np.sqrt(np.maximum(value, 0.0))).T, mode="r"))
    return np.asarray(upper.T * np.where(np.diag(upper) < 0, -1.0, 1.0))


def _symmetric(matrix: ArrayLike) -> Array:
    m = FINITE("matrix", matrix)
    if not (m.ndim == 2 and m.shape[0] == m.shape[1] > 0 and np.allclose(m, m.T, rtol=0, atol=1e-12)):
        raise InputError(f"matrix of shape {m.shape}: expected a square, symmetric matrix")
    return np.asarray(m)
