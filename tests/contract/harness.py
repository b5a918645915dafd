"""What every public model function promises of its arguments, and the one test that holds them to it.

A `Case` names a function, arguments that are valid, and for each numeric argument which odd inputs mean something. Everything else must be
an `InputError` that names the argument.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pytest

from workbench.errors import InputError

#: Odd inputs, each what an argument's value is replaced by, alone and as the second of three entries.
ODD: dict[str, Callable[[Any], Any]] = {
    "negative": lambda value: -abs(value) if value else -1.0,
    "zero": lambda value: 0.0,
    "nan": lambda value: np.nan,
    "infinite": lambda value: np.inf,
    "minus infinite": lambda value: -np.inf,
    "fraction": lambda value: np.floor(value) + 0.5,  # of arguments that take whole numbers only
}
#: Inputs that no numeric argument takes.
WRONG: dict[str, Callable[[Any], Any]] = {
    "boolean": lambda value: True,
    "boolean array": lambda value: np.array([True, False]),
    "string": lambda value: str(value),
    "word": lambda value: "many",
    "masked": lambda value: np.ma.masked_array([value, value], mask=[False, True]),
    "complex": lambda value: complex(value, 1.0),
    "list of text": lambda value: [str(value), "x"],
}
ARRAYS = ("array", "mixed", "grid", "list", "empty", "not broadcasting", "read-only", "integer")
KINDS = (*ARRAYS, *ODD, *WRONG)


@dataclass(frozen=True)
class Case:
    """A public function and valid arguments."""

    name: str  #: as a user writes it: "fabric.goodput"
    call: Callable[..., Any]
    base: Mapping[str, Any]  #: valid arguments, all by name, one number each
    arrays: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)  #: arguments that may be arrays, three valid values each
    numbers: tuple[str, ...] = ()  #: numeric arguments that take one number only
    whole: tuple[str, ...] = ()  #: of both, those that take whole numbers only
    allow: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  #: argument -> odd inputs (keys of `ODD`) that mean something
    grid: bool = True  #: False: not every pair of arguments may be crossed, so that only one argument varies at a time
    read: Callable[[Any], Any] = lambda result: result  #: what of the result is compared
    last: bool = False  #: the arguments' axes are the result's last ones, not its first
    rtol: float = 1e-12

    def __call__(self, **changed: Any) -> dict[str, Any]:
        """Leaves of the result by their place."""
        return dict(leaves(self.read(self.call(**{**self.base, **changed}))))


def leaves(value: Any, place: str = "") -> Any:
    """Every array or number in a result; text and objects are left out."""
    if isinstance(value, pl.DataFrame):
        for column in value.columns:
            if value[column].dtype.is_numeric():
                yield f"{place}[{column}]", value[column].to_numpy()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for f in dataclasses.fields(value):
            yield from leaves(getattr(value, f.name), f"{place}.{f.name}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{place}[{key}]")
    elif isinstance(value, tuple | list) and not all(isinstance(v, int | float) for v in value):
        for i, inner in enumerate(value):
            yield from leaves(inner, f"{place}[{i}]")
    elif isinstance(value, np.ndarray | np.generic | int | float | list | tuple):
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            yield place, array.astype(float)


def series(value: Any, *rest: float) -> Any:
    """`value` and then `rest` along a last axis: for arguments that are series. What no array of numbers can hold is left as it is."""
    if isinstance(value, np.ma.MaskedArray) or np.asarray(value).dtype == bool:
        return value
    return np.stack(np.broadcast_arrays(value, *rest), axis=-1)


def kinds_of(case: Case) -> list[str]:
    """The kinds of input that a function can be given."""
    numeric = bool(case.arrays or case.numbers)
    kinds = [k for k in KINDS if numeric and (k not in ARRAYS or case.arrays or k == "integer")]
    pairs = len(case.arrays) > 1
    left_out = {"fraction": not case.whole, "not broadcasting": not pairs, **dict.fromkeys(("mixed", "grid"), not (pairs and case.grid))}
    return [k for k in kinds if not left_out.get(k)]


def check(case: Case, kind: str) -> int:
    """Hold a function to one kind of input; the number of calls that were looked at."""
    if kind in ARRAYS:
        return _ARRAYS[kind](case)
    looked = 0
    for name in (*case.arrays, *case.numbers):
        value = case.base[name]
        if kind == "fraction" and name not in case.whole:
            continue
        odd = (ODD | WRONG)[kind](value)
        inputs = [odd]
        if kind in ODD and name in case.arrays:
            inputs.append(np.array([value, odd, value], dtype=float))
        for given in inputs:
            looked += 1
            if kind in case.allow.get(name, ()):
                _no_nan(case(**{name: given}), f"{case.name}({name}={given!r})", but=kind == "nan")
            else:
                _refused(case, name, given)
    return looked


def _refused(case: Case, name: str, given: Any) -> None:
    with np.errstate(all="ignore"):
        try:
            result = case.call(**{**case.base, name: given})
        except InputError as error:
            if not re.search(rf"\b{re.escape(name)}\b", str(error)):
                pytest.fail(f"{case.name}({name}={given!r}) is refused without naming {name}: {error}")
            return
        except Exception as error:
            pytest.fail(f"{case.name}({name}={given!r}) raises {type(error).__name__}: {error}")
    pytest.fail(f"{case.name}({name}={given!r}) is accepted: {str(result)[:200]}")


def _no_nan(found: Mapping[str, Any], what: str, but: bool = False) -> None:
    for place, array in found.items():
        assert but or not np.isnan(array).any(), f"{what}{place} holds NaN"


def _same_as_loop(case: Case, given: Mapping[str, Any]) -> None:
    """The call with arrays gives what a loop over their entries gives, at every place."""
    whole = case(**given)
    _no_nan(whole, f"{case.name}({given})")
    shape = np.broadcast_shapes(*(np.shape(v) for v in given.values()))
    for index in itertools.product(*map(range, shape)):
        single = case(**{name: np.broadcast_to(np.asarray(v), shape)[index].item() for name, v in given.items()})
        assert single.keys() == whole.keys(), f"{case.name}: other fields for arrays than for numbers"
        for place, one in single.items():
            array = whole[place]
            full = (*one.shape, *shape) if case.last else (*shape, *one.shape)
            at = (..., *index) if case.last else index
            try:
                entry = np.broadcast_to(array, full)[at]
            except ValueError:
                pytest.fail(f"{case.name}{place}: shape {array.shape} for arguments of shape {shape}, whose entry has {one.shape}")
            np.testing.assert_allclose(entry, one, rtol=case.rtol, atol=0, err_msg=f"{case.name}{place} at {index} of {given}")


def _array(case: Case) -> int:
    for name, values in case.arrays.items():
        _same_as_loop(case, {name: np.array(values, dtype=float)})
    return len(case.arrays)


def _mixed(case: Case) -> int:
    """All arguments but the first as arrays of three."""
    names = list(case.arrays)[1:]
    _same_as_loop(case, {name: np.array(case.arrays[name], dtype=float) for name in names})
    return 1


def _grid(case: Case) -> int:
    """The first argument along one axis, the others along another."""
    first, *others = case.arrays
    given = {first: np.array(case.arrays[first][:2], dtype=float)[:, None]}
    _same_as_loop(case, given | {name: np.array(case.arrays[name], dtype=float) for name in others})
    return 1


def _list(case: Case) -> int:
    for name, values in case.arrays.items():
        plain, array = case(**{name: list(values)}), case(**{name: np.array(values, dtype=float)})
        for place, value in array.items():
            np.testing.assert_array_equal(plain[place], value, err_msg=f"{case.name}{place}: a list is not taken as an array")
    return len(case.arrays)


def _empty(case: Case) -> int:
    for name in case.arrays:
        try:
            found = case(**{name: np.empty(0)})
        except InputError as error:
            pytest.fail(f"{case.name}({name}=[]) is refused: {error}")
        assert not found or any(array.size == 0 for array in found.values()), f"{case.name}({name}=[]) returns {found}"
    return len(case.arrays)


def _not_broadcasting(case: Case) -> int:
    pairs = list(itertools.pairwise(case.arrays))
    for a, b in pairs:
        given = {a: np.array(case.arrays[a], dtype=float), b: np.array([*case.arrays[b], case.arrays[b][0]], dtype=float)}
        try:
            case.call(**{**case.base, **given})
        except InputError as error:
            if not ("(3," in str(error) and "(4," in str(error)):
                pytest.fail(f"{case.name}({a}, {b}) does not name both shapes: {error}")
        except Exception as error:
            pytest.fail(f"{case.name} with {a} of shape (3,) and {b} of shape (4,) raises {type(error).__name__}: {error}")
        else:
            pytest.fail(f"{case.name} takes {a} of shape (3,) with {b} of shape (4,)")
    return len(pairs)


def _read_only(case: Case) -> int:
    """Arrays that cannot be written give the same, and what can be written is not."""
    names = list(case.arrays) if case.grid else list(case.arrays)[:1]
    given = {name: np.array(case.arrays[name], dtype=float) for name in names}
    before = {name: value.copy() for name, value in given.items()}
    writable = case(**given)
    for name, value in given.items():
        np.testing.assert_array_equal(value, before[name], err_msg=f"{case.name} changes {name}")
        value.flags.writeable = False
    for place, value in case(**given).items():
        np.testing.assert_array_equal(value, writable[place], err_msg=f"{case.name}{place}")
    return len(names)


def _integer(case: Case) -> int:
    looked = 0
    for name in (*case.arrays, *case.numbers):
        value = case.base[name]
        if not np.isfinite(value) or value != round(value) or abs(value) > 2**53:
            continue
        looked += 1
        for whole in (int(value), np.int64(value), np.float32(value)) if abs(value) < 2**24 else (int(value), np.int64(value)):
            found, expected = case(**{name: whole}), case(**{name: float(value)})
            for place, array in expected.items():
                np.testing.assert_array_equal(found[place], array, err_msg=f"{case.name}{place} for {name} = {whole!r}")
    return looked


_ARRAYS = {
    "array": _array,
    "mixed": _mixed,
    "grid": _grid,
    "list": _list,
    "empty": _empty,
    "not broadcasting": _not_broadcasting,
    "read-only": _read_only,
    "integer": _integer,
}
