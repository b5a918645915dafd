"""What the answer depends on: one input at a time, and Sobol indices of inputs or of groups of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench.arrays import Array, Arrays
from workbench.checks import WHOLE, Rule, takes
from workbench.errors import InputError, UnknownName
from workbench.uncertainty.sampling import Input, Pairs, correlation_matrix, evaluated, numbers_of, sample
from workbench.uncertainty.sobol import SIZE

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
    found = LIMIT("the model's result", numbers_of("the model's result", model(**moved)))
    if found.shape not in ((), (1,), (n,)):
        raise InputError(f"the model gives an array of shape {found.shape} for arguments of shape ({n},): expected the same")
    result = np.broadcast_to(found, n)
    return {name: (float(result[2 * i]), float(result[2 * i + 1])) for i, name in enumerate(ranges)}


@dataclass(frozen=True, repr=False)
class Indices(Arrays):
    """Sobol indices: share of the variance of each output that a group of inputs explains alone, and with all its interactions."""

    groups: tuple[str, ...]  #: names
    first: Array  #: shape (groups, ...): what would vanish, on average, if the group were known
    total: Array  #: shape (groups, ...): what would be left, on average, if all but the group were known
    variance: Array  #: shape (...), of the output, in its unit squared

    def frame(self) -> pl.DataFrame:
        """One row per group, the largest total index first: input, first_order, total_order; of one output."""
        if self.variance.ndim:
            raise InputError(f"indices of outputs of shape {self.variance.shape}: a frame shows one; give a model with one output")
        table = pl.DataFrame({"input": self.groups, "first_order": self.first, "total_order": self.total})
        return table.sort("total_order", descending=True, maintain_order=True)


@takes(n=SIZE, seed=WHOLE)
def sobol_indices(
    model: Callable[..., ArrayLike], inputs: Mapping[str, Input], n: int = 4096, seed: int = 0, *,
    groups: Mapping[str, Sequence[str]] | None = None, correlation: Pairs | None = None,
) -> Indices:  # fmt: skip
    """First- and total-order Sobol indices; inputs that are correlated are sampled together as one group.

    S = V[E(y | group)] / V(y); ST = E[V(y | all but the group)] / V(y); 0 where an output does not vary; n (groups + 2) evaluations.
    [Sobol' (2001), Math. Comput. Simul. 55; Saltelli et al. (2010), Comput. Phys. Commun. 181, table 2 (b) and (f)]

    Raises `UnknownName` for a group that names no input; `InputError` for groups that overlap or share a name with another input,
    correlations across groups, and a model that is not finite.

    Parameters
    ----------
    model : callable
        Takes the names of `inputs` as keyword arrays with samples on the last axis; one call a group and two more.
    inputs, n, seed
        As `sample`; a path is one input.
    groups : mapping of name to inputs, optional
        Each input in at most one; inputs in none are groups of one.
    correlation : optional
        As `sample`; between inputs of one group only, because the variance of correlated inputs cannot be shared out between groups.

    Examples
    --------
    >>> from workbench.uncertainty import Normal
    >>> found = sobol_indices(lambda a, b: a + b, {"a": Normal(-1, 1), "b": Normal(-3, 3)}, n=1024)
    >>> found.total.round(2).tolist()
    [0.1, 0.9]
    """
    together = _partition(list(inputs), groups or {})
    owner = {name: group for group, members in together.items() for name in members}
    correlation = correlation or {}
    for i, j in np.argwhere(np.triu(correlation_matrix(list(inputs), correlation), 1)):
        one, other = list(inputs)[i], list(inputs)[j]
        if owner[one] != owner[other]:
            raise InputError(f"correlation of {one!r} and {other!r}, which are in different groups: put them into one of `groups`")
    twice = {f"{copy} {name}": d for copy in "AB" for name, d in inputs.items()}
    pairs = {(f"{copy} {one}", f"{copy} {other}"): r for copy in "AB" for (one, other), r in correlation.items()}
    draws = sample(twice, n, seed, correlation=pairs)
    a, b = ({name: draws[f"{copy} {name}"] for name in inputs} for copy in "AB")
    f_a, f_b = evaluated(model, a), evaluated(model, b)
    f_ab = np.stack([evaluated(model, a | {name: b[name] for name in members}) for members in together.values()])
    both = np.concatenate([f_a, f_b], axis=-1)
    variance, mean = both.var(axis=-1), both.mean(axis=-1, keepdims=True)
    spread = np.where(np.ptp(both, axis=-1) > 0, variance, np.inf)
    first = ((f_b - mean) * (f_ab - f_a)).mean(axis=-1) / spread
    return Indices(tuple(together), first, ((f_ab - f_a) ** 2).mean(axis=-1) / (2 * spread), np.asarray(variance))


def _partition(names: list[str], groups: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """`groups`, and each input that is in none alone, in the order of `names`."""
    owner: dict[str, str] = {}
    for group, members in groups.items():
        if isinstance(members, str | int | float) or not members:
            raise InputError(f"group {group!r} = {members!r}: expected a sequence of one or more inputs")
        for name in members:
            if name not in names:
                raise UnknownName(f"input in group {group!r}", name, names)
            if name in owner:
                raise InputError(f"groups overlap: {name!r} is in {owner[name]!r} and in {group!r}")
            owner[name] = group
    for name in names:
        if name not in owner and name in groups:
            raise InputError(f"group {name!r} has the name of an input that is not in it")
    return {owner.get(name, name): tuple(groups[owner[name]]) if name in owner else (name,) for name in names}
