"""Correlated inputs: a Gaussian copula from named pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.checks import Rule
from workbench.errors import InputError, UnknownName

Array = NDArray[np.float64]
Pairs = Mapping[tuple[str, str], float]
SLACK = 1e-8  #: by which an eigenvalue may fall below 0 through rounding


def correlation_matrix(names: Sequence[str], correlation: Pairs) -> Array:
    """`correlation` of the normal scores as a matrix in the order of `names`; pairs that are not named are independent.

    Raises `UnknownName` for a pair that names no input, `InputError` for a number outside [-1, 1], a pair that is none or is given twice,
    and correlations that no joint distribution has.
    """
    place = {name: i for i, name in enumerate(names)}
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
    if (smallest := float(np.linalg.eigvalsh(matrix).min(initial=0.0))) < -SLACK:
        raise InputError(
            f"the correlations contradict each other: the matrix of {len(names)} inputs is not positive semi-definite, "
            f"smallest eigenvalue {smallest:.4g}"
        )
    return matrix


def factor(matrix: Array) -> Array:
    """Lower triangular L with L L' = `matrix`, which may be singular: the first inputs stay as they are when others follow."""
    value, vector = np.linalg.eigh(matrix)
    upper = np.asarray(np.linalg.qr((vector * np.sqrt(np.maximum(value, 0.0))).T, mode="r"))
    return np.asarray(upper.T * np.where(np.diag(upper) < 0, -1.0, 1.0))
