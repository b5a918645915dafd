"""Measured rows as calls: what a file of a kind holds, what is asked of the models for each row, and what is fitted to them.

A row becomes the arguments of a public function and nothing else. The call is plain data, as a file of cases has it:
``{"call": "chips.serving", "arguments": {...}}``, with calls among the arguments for what is no plain value.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench import catalogue, errors
from workbench.errors import InputError
from workbench.llm import LLM

Row = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What is asked for one measured figure: a call of a public function, and what of its result is compared."""

    position: int  #: row of the file, from 0
    quantity: str  #: column that holds what was measured
    call: dict[str, Any] | None = None  #: call and arguments; None where nothing can be asked
    read: str = ""  #: of the result, the prediction in the unit of the column: ``tpot * 1000``
    low: str = ""  #: of the result, the ends of the 80 % interval; empty where it has none
    high: str = ""
    skipped: str | None = None  #: why nothing can be asked


@dataclass(frozen=True)
class Form:
    """A form of file of measured rows; a kind may have several, told apart by their columns."""

    text: tuple[str, ...]  #: columns it needs; blanks are allowed
    numbers: tuple[str, ...]
    ask: Callable[[pl.DataFrame], list[Asked]]  #: sees none of the `measured` columns
    measured: tuple[str, ...]  #: columns of what was measured
    optional: tuple[str, ...] = ()  #: of `text` and `numbers`, those that may be missing
    value: Callable[[dict[str, Any], str], float | None] = lambda row, quantity: row[quantity]  #: what was measured, of a row
    tolerance: Callable[[dict[str, Any]], float | None] = lambda row: None  #: error that a row allows, where it says
    read: Callable[[Path], pl.DataFrame | None] | None = None  #: of files that are no CSV; None for a file that it does not know
    standard: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows  #: as the forms of a kind that are fitted together have them
    calibrate: Callable[[pl.DataFrame], dict[str, pl.DataFrame]] | None = None  #: all that ships of fits to such a file
    #: Positions of each group of rows, and the tables that are fitted to the other rows; None where they are too few.
    folds: Callable[[pl.DataFrame, NDArray[Any]], Iterator[tuple[NDArray[np.intp], dict[str, pl.DataFrame] | None]]] | None = None
    groups: Callable[[pl.DataFrame, str], NDArray[Any]] = lambda rows, column: rows[column].cast(pl.String).fill_null("").to_numpy()
    leave_out: tuple[str, ...] = ()  #: what may be left out beside columns


def asked(rows: pl.DataFrame, read: Callable[[Row], tuple[Row, Any]], expected: Callable[[Row], Iterable[str]]) -> list[Asked]:
    """What `read` makes of each row, a call and what of its result is read by quantity, or why it cannot."""
    found = []
    for position, row in enumerate(rows.iter_rows(named=True)):
        try:
            what, reads = read(row)
            found += [Asked(position, quantity, what, *paths) for quantity, paths in reads.items()]
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:  # ours among them
            why = str(error) if isinstance(error, InputError) else errors.said(error)
            found += [Asked(position, quantity, skipped=why) for quantity in expected(row)]
    return found


def said(llm: LLM) -> Any:
    """A model as an argument: its name in the catalogue, or all that is not as by default."""
    if llm.name in catalogue.names("llms") and catalogue.llm(llm.name) == llm:
        return llm.name
    own = {f.name: getattr(llm, f.name) for f in fields(llm) if getattr(llm, f.name) != f.default}
    return {"call": "catalogue.LLM", "arguments": own}
