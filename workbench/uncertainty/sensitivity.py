"""What the answer hangs on: one input at a time, and Sobol indices of inputs or of groups of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InputError


def one_at_a_time(
    model: Callable[..., NDArray[np.float64]], base: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Result of `model` with each argument in turn at the low and the high end of its range, the others at `base`.

    All cases are one call: every argument becomes an array of 2k entries.

    Parameters
    ----------
    model : callable
        Takes the names of `base` as keyword arrays and returns an array of the same length.
    base : mapping of name to number
    ranges : mapping of name to (low, high)
        Arguments to move; each must be in `base`.

    Returns
    -------
    dict of name to (result at low, result at high)

    Raises
    ------
    InputError
        For a range of an argument that `base` lacks.
    """
    for name in ranges:
        if name not in base:
            raise InputError(f"ranges names {name!r}, which is not an argument in base: {', '.join(base)}")
    moved = {name: np.full(2 * len(ranges), value, dtype=float) for name, value in base.items()}
    for i, (name, ends) in enumerate(ranges.items()):
        moved[name][2 * i : 2 * i + 2] = ends
    result = np.broadcast_to(model(**moved), (2 * len(ranges),))
    return {name: (float(result[2 * i]), float(result[2 * i + 1])) for i, name in enumerate(ranges)}
