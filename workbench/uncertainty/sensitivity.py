"""What the answer depends on: one input at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from workbench.arrays import Array
from workbench.checks import Rule, takes
from workbench.errors import InputError

LIMIT = Rule(infinite=True)  #: an argument of a model: an infinity may be a limit that there is not


@takes()
def one_at_a_time(
    model: Callable[..., Array], base: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Result of `model` at (low, high) of each argument in `ranges` in turn, the others at `base`.

    All cases are one call: `model` takes the names of `base` as keyword arrays of 2k entries, and returns an array of the same length.
    Raises `InputError` for a range of an argument that `base` lacks, what is no number, and a result that is none or has another shape.

    Examples
    --------
    >>> one_at_a_time(lambda price, life: price / life, {"price": 40.0, "life": 5.0}, {"price": (30, 50), "life": (4, 8)})
    {'price': (6.0, 10.0), 'life': (10.0, 5.0)}
    """
    for name in ranges:
        if name not in base:
            raise InputError(f"ranges names {name!r}, which is not an argument in base: {', '.join(base)}")
    n = 2 * len(ranges)
    moved = {name: np.full(n, replace(LIMIT, one=True)(name, value)) for name, value in base.items()}
    for i, (name, ends) in enumerate(ranges.items()):
        pair = LIMIT(f"range of {name}", ends)
        if np.shape(pair) != (2,):
            raise InputError(f"range of {name} = {ends!r}: expected (low, high)")
        moved[name][2 * i : 2 * i + 2] = pair
    given = model(**moved)
    if isinstance(given, np.ndarray) and given.dtype.kind == "b":
        given = given.astype(float)  # what is true counts 1
    found = LIMIT("the model's result", given)
    if found.shape not in ((), (1,), (n,)):
        raise InputError(f"the model gives an array of shape {found.shape} for arguments of shape ({n},): expected the same")
    result = np.broadcast_to(found, n)
    return {name: (float(result[2 * i]), float(result[2 * i + 1])) for i, name in enumerate(ranges)}
