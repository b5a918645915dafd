"""What was measured near by, and the interval of a prediction that rests on it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue
from workbench.arrays import Array
from workbench.errors import InputError

MOST = 4096  #: answers that an index keeps
SLIGHT = 0.1  #: weighted difference up to which the nearest are only chosen by it
OWN = "own run"  #: who measured what one measured oneself
Grade = Callable[[str, NDArray[Any]], Array]


def half_width(table: str, near: Sequence[str], missing: Sequence[str] = ()) -> float:
    """Half width of the 80 % interval of the logarithm of what is predicted, as rows that were left out showed it.

    `table` holds errors by case. Of the cases `near` the first that it has counts; those of the `missing` that it has may widen it.
    """
    widths = catalogue.made_of(table, _widths)
    known = [case for case in near if case in widths][:1]
    if not known:
        raise InputError(f"{table}: no case {' or '.join(map(repr, near))}; it has {', '.join(widths)}")
    return max(widths[case] for case in (*known, *(case for case in missing if case in widths)))


def beyond(half_widths: Any) -> Any:
    """Probability that what is measured lies so many half widths of the 80 % interval, or more, to one side of what is predicted.

    Errors of left-out rows of serving have the tails of Student's t with three degrees of freedom: 5 % lie beyond 1.5 half widths, 0.5 %
    beyond 4, where a normal distribution has 2.7 and 0.00001 %.
    """
    x = half_widths * (1.6377443536962102 / math.sqrt(3))  # 10 % lie beyond the first
    return 0.5 - (x / (1 + x * x) + np.arctan(x)) / np.pi


def _widths(errors: pl.DataFrame) -> dict[str, float]:
    return dict(zip(errors["case"].to_list(), errors["half_width"].to_list(), strict=True))


@dataclass(frozen=True, eq=False)
class Evidence:
    """The measured rows that an answer rests on."""

    rows: int  #: that agree in everything that was asked
    distance: float  #: of the nearest: the weights of what differs, added up
    differs: tuple[str, ...]  #: in what the nearest differ
    index: Index = field(repr=False)
    order: NDArray[np.intp] = field(repr=False)  #: groups of rows of the index, the nearest first
    nearby: Any = 0.0  #: share of the shift that rows near by have in common that an answer takes: 1 beside them, 0 far away

    @property
    def near(self) -> pl.DataFrame:
        """The nearest five groups of rows: what they were measured on, how many, by whom and when."""
        return self.index.frame[self.order[:5]]

    def said(self) -> str:
        """In words: how many rows agree, the nearest group, and in what it differs."""
        row = next(self.near.iter_rows(named=True), {})
        nearest = [f"{value} rows" if name == "rows" else str(value) for name, value in row.items() if value and name != "as_of"]
        differs = f"; it differs in {', '.join(self.differs)}" if self.differs else ""
        shifted = f"; rows near by shift times, at most by {np.max(self.nearby):.0%} of what they show" if np.any(self.nearby) else ""
        return f"{self.rows} measured rows agree; the nearest group: {', '.join(nearest) or 'none'}{differs}{shifted}"


class Index:
    """Groups of measured rows by what a user can name, with their number, source and date; `nearest` finds those an answer rests on."""

    def __init__(self, frame: pl.DataFrame, system: Sequence[str] = ()) -> None:
        """Where `system` names the columns that tell systems apart, four times as many rows count before the newest; one's own first."""
        self.frame = frame
        text = frame.select(pl.col(pl.String).fill_null(""))
        self._cells = {name: np.array(text[name].to_list(), dtype=object) for name in text.columns}
        rows, theirs = frame["rows"].to_numpy(), self._cells.get("measured_by", np.full(frame.height, OWN)) != OWN
        many = frame.select(pl.col("rows").sum().over(system)).to_series().to_numpy() if system else np.ones(rows.size)
        self._newest = np.lexsort((-rows, -np.array(ranks(self._cells["date"]), dtype=int), -np.round(np.log(many) / np.log(4)), theirs))
        self._found: dict[Any, Evidence] = {}

    def nearest(
        self, said: Mapping[str, str], weights: Mapping[str, float], grades: Mapping[str, Grade] = MappingProxyType({})
    ) -> Evidence:
        """Where the weighted difference from what was said is least; of equally near ones the newest. What is blank was not said.

        A feature differs by 1 or 0, or by what its grade says of (said, cells of the index), from 0 to 1.
        """
        key = (*said.items(), *weights.items())
        if key not in self._found:
            if len(self._found) >= MOST:
                self._found.clear()
            parts = {
                name: weight * (grades[name](said[name], self._cells[name]) if name in grades else self._cells[name] != said[name])
                for name, weight in weights.items()
                if said.get(name)
            }
            away = np.round(np.sum([*parts.values(), np.zeros(self.frame.height)], axis=0), 9)
            order = self._newest[np.argsort(away[self._newest], kind="stable")]
            first = order[:1]
            differs = tuple(name for name, part in parts.items() if first.size and part[first[0]] > SLIGHT)
            rows = int(self.frame["rows"].to_numpy()[away == 0].sum())
            self._found[key] = Evidence(rows, float(away[first].sum()) if first.size else np.inf, differs, self, order)
        return self._found[key]

    def cell(self, evidence: Evidence, column: str) -> str:
        """What the nearest group has in a column; empty where there is no group."""
        return str(self._cells[column][evidence.order[0]]) if evidence.order.size else ""


def ranks(texts: Iterable[str]) -> list[int]:
    """Order of versions or dates, as people write them: 0.9 before 0.19; a blank is the oldest."""
    keys = [[int(part) for part in re.findall(r"\d+", text)] for text in texts]
    place = {tuple(key): i for i, key in enumerate(sorted(keys))}
    return [place[tuple(key)] for key in keys]
