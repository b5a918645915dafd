"""Numbers that come in: finite, in range, or refused by name, place and value."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InputError


def number(
    name: str,
    value: ArrayLike,
    *,
    least: float = -np.inf,
    above: float = -np.inf,
    most: float = np.inf,
    below: float = np.inf,
    why: str = "",
) -> NDArray[np.float64]:
    """`value` as an array of finite numbers within bounds.

    Parameters
    ----------
    name : str
        What it is called where it is given.
    value : array_like
    least, most : float
        Smallest and largest that is allowed.
    above, below : float
        Neither it nor what lies beyond is allowed.
    why : str
        What to say of a value out of range; the range itself is always said.

    Raises
    ------
    InputError
        For what is not a number, not finite or out of range: the first such entry, with its index.
    """
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{name} = {value!r}: expected a number or an array of numbers") from None
    good = np.isfinite(array) & (array >= least) & (array > above) & (array <= most) & (array < below)
    if not good.all():
        index = np.unravel_index(int(np.argmin(good)), array.shape)
        place = f"[{', '.join(map(str, index))}]" if array.ndim else ""
        raise InputError(f"{name}{place} = {array[index]:.15g}: {why}{'; ' if why else ''}expected {_range(least, above, most, below)}")
    return array


def share(name: str, value: ArrayLike, *, above: float = -np.inf) -> NDArray[np.float64]:
    """`value` as an array of shares from 0 to 1, or `above` a bound; else as `number`."""
    return number(name, value, least=0.0, above=above, most=1.0)


def pue(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """`value` as an array of power usage effectiveness, at least 1; else as `number`."""
    return number(name, value, least=1.0, why="a facility draws at least what its servers draw")


def _range(least: float, above: float, most: float, below: float) -> str:
    low = f"more than {above:g}" if above >= least and above > -np.inf else f"{least:g} or more" if least > -np.inf else ""
    high = f"less than {below:g}" if below <= most and below < np.inf else f"at most {most:g}" if most < np.inf else ""
    return " and ".join(part for part in (low, high) if part) or "a finite number"
