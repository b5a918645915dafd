"""Published results as calls: each row of a file of cases names a public function, its arguments, and what should come out.

``call`` is a public name of a model's face (``scaling.optimal_allocation``), ``arguments`` its arguments as JSON: an object by name, or a
list by position. An object of the form {"call": ..., "arguments": ..., "read": ...} among them stands for what that call gives; a call that
begins with a dot (``.loss``) is a public method of the argument ``self``. ``read`` says what of the result is compared: attributes, entries
and keys, and a factor for its unit (``params``, ``[0]``, ``["crps"][0]``, ``mtbf / 3600``). A prediction holds if it lies within
rtol x |expected| + atol of ``expected``.
"""

from __future__ import annotations

import importlib
import json
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench import tables
from workbench.errors import DataError, InputError, UnknownName, WorkbenchError, said
from workbench.validation.report import ODD, Prediction

TEXT = ("id", "call", "arguments", "read", "expected", "rtol", "atol", "source", "note")
NUMBERS = ()
MEASURED = ("expected", "rtol", "atol")
#: Packages whose public names a case may call.
FACES = ("catalogue", "scaling", "fabric", "chips", "energy", "fleet", "demand")
STEP = re.compile(r'\.?([a-zA-Z]\w*)|\[(-?\d+)\]|\["([^"]*)"\]')
FACTOR = re.compile(r"\s*([*/])\s*(\d+\.?\d*(?:[eE][-+]?\d+)?)")
BY = {"*": operator.mul, "/": operator.truediv}


def shipped(kind: str) -> Path:
    """The file of cases of a kind; of ``cases`` the folder with all of them."""
    return tables.DATA / "cases" / ("" if kind == "cases" else f"{kind}.csv")


def read(path: str | Path) -> pl.DataFrame:
    """A file of cases, or all files of a folder, as text, with the name of its file in a column. Raises `DataError`."""
    path = Path(path)
    frames = []
    for file in sorted(path.glob("*.csv")) if path.is_dir() else [path]:
        frame = tables.read_text(file)
        if missing := [column for column in TEXT if column not in frame.columns]:
            raise DataError(file, f"no column {missing[0]}; a file of cases has {', '.join(TEXT)}", column=missing[0])
        frames.append(frame.select(TEXT).with_columns(file=pl.lit(file.stem)))
    return pl.concat(frames)


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """What the call of each row gives, or why it gives nothing."""
    made: dict[str, Any] = {}  # what nested calls gave: several rows ask the same
    found = []
    for position, row in enumerate(rows.iter_rows(named=True)):
        try:
            found.append(Prediction(position, "expected", _number(_result(_case(row), made))))
        except WorkbenchError as error:
            found.append(Prediction(position, "expected", skipped=str(error)))
        except ODD as error:
            found.append(Prediction(position, "expected", skipped=f"{row['call']}: {said(error)}"))
    return found


def measured(row: dict[str, Any], prediction: Prediction) -> tuple[float | None, float | None]:
    """The published value, and the absolute error that the case allows."""
    expected, rtol, atol = (float(row[column] or default) for column, default in (("expected", "nan"), ("rtol", 0), ("atol", 0)))
    return expected, rtol * abs(expected) + atol


def expression(row: dict[str, Any]) -> str:
    """The call of a row as Python: ``scaling.optimal_allocation(compute=1e+24, law='Llama 3').params``."""
    return _said(_case(row))


def _case(row: dict[str, Any]) -> dict[str, Any]:
    """Call, arguments and read of a row. Raises `InputError` for arguments that are no JSON."""
    try:
        arguments = json.loads(row["arguments"] or "{}", parse_constant=_refused)
    except ValueError as error:
        raise InputError(f"arguments are no JSON: {error}") from None
    return {"call": row["call"] or "", "arguments": arguments, "read": row["read"] or ""}


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _is_call(value: Any) -> bool:
    return isinstance(value, dict) and "call" in value and value.keys() <= {"call", "arguments", "read"}


def _result(case: dict[str, Any], made: dict[str, Any]) -> Any:
    """What a call gives, read."""
    call, arguments = case["call"], _value(case.get("arguments", {}), made)
    if not isinstance(arguments, dict | list):
        raise InputError(f"arguments = {json.dumps(arguments):.60}: expected an object by name, or a list by position")
    positional, named = (arguments, {}) if isinstance(arguments, list) else ([], dict(arguments))
    function = _method(call[1:], named.pop("self", None)) if str(call).startswith(".") else _public(call)
    return _read(function(*positional, **named), case.get("read", ""))


def _value(value: Any, made: dict[str, Any]) -> Any:
    """An argument with what stands for objects in it made."""
    if _is_call(value):
        key = json.dumps(value, sort_keys=True)
        if key not in made:
            made[key] = _result(value, made)
        return made[key]
    if isinstance(value, dict):
        return {name: _value(one, made) for name, one in value.items()}
    return [_value(one, made) for one in value] if isinstance(value, list) else value


def _public(call: Any) -> Callable[..., Any]:
    face, _, name = str(call).partition(".")
    module = importlib.import_module(f"workbench.{face}") if face in FACES else None
    if module is None or name not in module.__all__ or not callable(getattr(module, name)):
        public = [f"{one}.{n}" for one in FACES for n in importlib.import_module(f"workbench.{one}").__all__]
        raise UnknownName("public function", call, public)
    function: Callable[..., Any] = getattr(module, name)
    return function


def _method(name: str, own: Any) -> Callable[..., Any]:
    """A public method of an object that one of our calls made."""
    function = getattr(own, name, None) if type(own).__module__.startswith("workbench.") and not name.startswith("_") else None
    if not callable(function):
        raise InputError(f".{name}: no public method of self, which is of type {type(own).__name__}")
    return function


def _steps(read: Any) -> tuple[list[re.Match[str]], re.Match[str] | None]:
    """The steps of a ``read`` and its factor. Raises `InputError` for other text."""
    text, steps = str(read).strip(), []
    while match := STEP.match(text):
        steps.append(match)
        text = text[match.end() :]
    factor = FACTOR.fullmatch(text)
    if text and not factor:
        raise InputError(f'read = {read!r}: expected attributes, [0] or ["key"], and a factor as * 1e-6 or / 3600; not {text!r}')
    return steps, factor


def _read(value: Any, read: Any) -> Any:
    steps, factor = _steps(read)
    for name, index, key in (step.groups() for step in steps):
        value = getattr(value, name) if name else value[int(index) if index else key]
    return BY[factor[1]](value, float(factor[2])) if factor else value


def _number(value: Any) -> float:
    if isinstance(value, str | bytes) or np.size(value) != 1 or callable(value):
        raise InputError(f"the result is {type(value).__name__} of shape {np.shape(value)}, not one number: say in read which")
    return float(np.asarray(value, dtype=float).item())


def _said(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_said, value))}]"
    if not isinstance(value, dict):
        return repr(value)
    if not _is_call(value):
        return f"{{{', '.join(f'{name!r}: {_said(one)}' for name, one in value.items())}}}"
    call, arguments = value["call"], value.get("arguments", {})
    given = [*map(_said, arguments)] if isinstance(arguments, list) else [f"{k}={_said(v)}" for k, v in arguments.items() if k != "self"]
    steps, factor = _steps(value.get("read", ""))
    own = _said(arguments["self"]) if call.startswith(".") else ""
    path = "".join(f".{step[1]}" if step[1] else step[0] for step in steps)
    return f"{own}{call}({', '.join(given)}){path}{factor[0].rstrip() if factor else ''}"
