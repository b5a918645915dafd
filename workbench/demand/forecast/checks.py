"""Checks for the errors that figures of this field are full of: tenfold units, two definitions in one series, counts that fall.

Each check takes what it compares and returns findings, empty where all is well; `refuse` turns findings into an error that names the rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.checks import NOT_NEGATIVE, Rule, takes
from workbench.errors import InputError

#: A value this many times off its neighbours is taken for a slip of the unit: between 10 and what growth does in a step.
SLIP = 4.0

_ONE = Rule(one=True)


class SuspectData(InputError):
    """Figures that contradict each other; `findings` names the rows."""

    def __init__(self, name: str, findings: Sequence[Finding]):
        self.findings = tuple(findings)
        super().__init__(f"{name}: " + "; ".join(f"{f.row}: {f.reason}" for f in findings))


@dataclass(frozen=True)
class Finding:
    """A row that contradicts others."""

    check: str
    row: str
    reason: str


def refuse(name: str, found: Sequence[Finding]) -> None:
    """Raise `SuspectData` naming every row found."""
    if found:
        raise SuspectData(name, found)


def one_value(rows: Sequence[str], times: ArrayLike) -> list[Finding]:
    """A time that comes twice in one series: two definitions, or two sources, were chained."""
    seen: dict[float, str] = {}
    found = []
    for row, t in zip(rows, np.asarray(times, dtype=float).tolist(), strict=True):
        if t in seen:
            found.append(Finding("one value a time", row, f"the series already has {seen[t]!r} at that time; keep one definition"))
        seen.setdefault(t, row)
    return found


def tenfold(rows: Sequence[str], times: ArrayLike, values: ArrayLike) -> list[Finding]:
    """Values that stand tenfold off their neighbours, as slips of a unit or of a translation do.

    A value between two others is a slip where it lies more than `SLIP` times above both or below both. The first and the last have one
    neighbour: there it counts only within a season, .3 years, beyond what the fastest growth elsewhere in the series does in that time.
    """
    t, y = np.asarray(times, dtype=float), np.log(positive(rows, values))
    if t.size < 3:
        return []
    rate = np.abs(np.diff(y)) / np.maximum(np.diff(t), 1e-3)
    suspect: list[tuple[float, int, float]] = []
    for i in range(t.size):
        if 0 < i < t.size - 1:
            off = max(y[i] - max(y[i - 1], y[i + 1]), min(y[i - 1], y[i + 1]) - y[i])
            like = y[i - 1] + (y[i + 1] - y[i - 1]) * (t[i] - t[i - 1]) / (t[i + 1] - t[i - 1])
        else:
            step, j = (0, 1) if i == 0 else (t.size - 2, t.size - 2)
            others = np.delete(rate, step)
            off = abs(y[i] - y[j]) - others.max() * abs(t[i] - t[j]) if abs(t[i] - t[j]) <= 0.3 else 0.0
            like = y[j]
        if off > np.log(SLIP):
            suspect.append((off, i, like))
    if not suspect:
        return []
    # the worst first: beside it, its right neighbours look wrong as well; an end only where nothing between two others is
    _, i, like = max(suspect, key=lambda s: (0 < s[1] < t.size - 1, s))
    times, side = np.exp(abs(y[i] - like)), "above" if y[i] > like else "below"
    reason = f"{np.exp(y[i]):.4g} is {times:.3g} times {side} its neighbours' {np.exp(like):.4g}: a unit or a translation slipped"
    rest = [k for k in range(t.size) if k != i]
    return [Finding("tenfold", rows[i], reason), *tenfold([rows[k] for k in rest], t[rest], np.exp(y[rest]))]


def never_falls(rows: Sequence[str], times: ArrayLike, values: ArrayLike) -> list[Finding]:
    """A cumulative count that falls."""
    y = positive(rows, values)
    order = np.argsort(np.asarray(times, dtype=float), kind="stable")
    return [
        Finding("never falls", rows[j], f"{y[j]:.4g} is below the {y[i]:.4g} of {rows[i]!r}, yet both count all so far")
        for i, j in itertools.pairwise(order.tolist())
        if y[j] < y[i]
    ]


@takes(times=Rule(apart=True), horizon=NOT_NEGATIVE)
def beyond_authority(times: ArrayLike, horizon: ArrayLike) -> NDArray[np.bool_]:
    """Whether a horizon [years] lies beyond what a history carries: more than half of its own length."""
    t, h = np.asarray(times, dtype=float), np.asarray(horizon, dtype=float)
    return np.asarray(h > (t.max() - t.min()) / 2 if t.size else np.ones(h.shape, dtype=bool))


def positive(rows: Sequence[str], values: ArrayLike) -> NDArray[np.float64]:
    """Values as an array. Raises `InputError` naming the row of one that is not above 0 and finite."""
    y = np.asarray(values, dtype=float)
    for row, v in zip(rows, y.tolist(), strict=True):
        if not (v > 0 and np.isfinite(v)):
            raise InputError(f"{row}: {v:g}: expected more than 0, and finite")
    return y
