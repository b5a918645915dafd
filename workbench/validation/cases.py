"""Published results as calls: each row of a file of cases names a public function, its arguments, and what should come out.

``call``, ``arguments`` and ``read`` are those of `workbench.validation.calls`, the arguments as JSON. A prediction holds if it lies within
rtol x |expected| + atol of ``expected``.
"""

import json
from pathlib import Path
from typing import Any

import polars as pl

from workbench import tables
from workbench.calibration.forms import Asked, Form, Row, asked
from workbench.errors import DataError, InputError

TEXT = ("id", "call", "arguments", "read", "expected", "rtol", "atol", "source", "note")
MEASURED = ("expected", "rtol", "atol")


def shipped(kind: str) -> Path:
    """The file of cases of a kind; of ``cases`` the folder with all of them."""
    return tables.DATA / "cases" / ("" if kind == "cases" else f"{kind}.csv")


def read(path: Path) -> pl.DataFrame:
    """A file of cases, or all files of a folder, as text, with the name of its file in a column. Raises `DataError`."""
    frames = []
    for file in sorted(path.glob("*.csv")) if path.is_dir() else [path]:
        frame = tables.read_text(file)
        if missing := [column for column in TEXT if column not in frame.columns]:
            raise DataError(file, f"no column {missing[0]}; a file of cases has {', '.join(TEXT)}", column=missing[0])
        frames.append(frame.select(TEXT).with_columns(file=pl.lit(file.stem)))
    return pl.concat(frames)


def ask(rows: pl.DataFrame) -> list[Asked]:
    """The call of each row, or why it is none."""
    return asked(rows, _call, lambda row: ["expected"])


def _call(row: Row) -> tuple[Row, Any]:
    try:
        arguments = json.loads(row["arguments"] or "{}", parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise InputError(f"arguments are no JSON: {error}") from None
    return {"call": row["call"] or "", "arguments": arguments}, {"expected": (row["read"] or "",)}


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _tolerance(row: dict[str, Any]) -> float:
    """The absolute error that the case allows."""
    expected, rtol, atol = (float(row[column] or default) for column, default in (("expected", "nan"), ("rtol", 0), ("atol", 0)))
    return rtol * abs(expected) + atol


FORM = Form(TEXT, (), ask, MEASURED, value=lambda row, _: float(row["expected"] or "nan"), tolerance=_tolerance, read=read)
FORMS = dict.fromkeys(("cases", "energy", "demand", "scaling", "topology"), (FORM,))
