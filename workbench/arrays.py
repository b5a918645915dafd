"""Records of arrays: frozen dataclasses whose fields are numbers or arrays that broadcast.

`Arrays` gives a record its short repr and its frame; `take` picks rows of one, `join` makes one of several, `in_blocks` works on long
arrays in pieces that stay in cache; `broadcast` says what does not fit together.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InputError

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")
Array = NDArray[np.float64]
FIELDS, LONG = 10, 60  #: what the one line of a record shows: so many fields, of so many letters


def broadcast(**named: ArrayLike) -> tuple[int, ...]:
    """Shape to which arrays broadcast. Raises `InputError` naming the first two whose shapes do not fit together."""
    shapes = {name: np.shape(value) for name, value in named.items()}
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        pass
    for i, (name, shape) in enumerate(shapes.items()):
        for other, others in list(shapes.items())[:i]:
            if any(a != b and 1 not in (a, b) for a, b in zip(shape[::-1], others[::-1], strict=False)):
                raise InputError(f"{other} of shape {others} and {name} of shape {shape} do not broadcast") from None
    raise AssertionError(shapes)


class Arrays:
    """A record of arrays. Declare it with ``@dataclass(frozen=True, repr=False)``.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, repr=False)
    ... class Trip(Arrays):
    ...     km: Any
    ...     hours: Any
    >>> Trip(np.arange(4.0), 2.0)
    Trip(km=0 to 3 (4,), hours=2)
    >>> Trip(np.arange(4.0), 2.0).frame().shape
    (4, 2)
    """

    def __repr__(self) -> str:
        shown = [(n, short(v), type(v).__name__) for n, v in _items(self) if v is not None]
        parts = [f"{n}={text if len(text) <= LONG and text.isprintable() else f'{kind}(...)'}" for n, text, kind in shown]
        return f"{type(self).__name__}({', '.join([*parts[:FIELDS], *['...'] * (len(parts) > FIELDS)])})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """As IPython shows it: a field per line, with its unit and what it is."""
        source = "".join(inspect.getsource(c) for c in type(self).__mro__ if is_dataclass(c))
        said = dict(re.findall(r"^    (\w+): .*?  #: (.+)$", source, re.MULTILINE))
        rows = [(name, short(value), said.get(name, "")) for name, value in _items(self)]
        wide = max(len(name) for name, *_ in rows)
        printer.text("\n  ".join([type(self).__name__, *(f"{n:<{wide}}  {v:<24}  {w}".rstrip() for n, v, w in rows)]))

    def frame(self) -> pl.DataFrame:
        """One row per entry, in C order: every field that holds numbers, truth values or text, broadcast."""
        import polars as pl

        columns = {n: np.asarray(v) for n, v in _items(self) if not is_dataclass(v) and np.asarray(v).dtype.kind in "biufUS"}
        shape = np.broadcast_shapes(*(v.shape for v in columns.values()))
        return pl.DataFrame({n: np.broadcast_to(v, shape).ravel() for n, v in columns.items()})


def take(record: T, at: Any) -> T:
    """The entries `at` along the first axis of every array of a record, of records, mappings and lists inside it too; numbers stay."""
    return _map(lambda value: value[at] if np.ndim(value) else value, record)


def spread(record: T, shape: tuple[int, ...]) -> T:
    """Every number and array of a record broadcast to `shape`."""
    return _map(lambda value: value if np.shape(value) == shape else np.broadcast_to(value, shape), record)


def join(records: Sequence[T], sizes: Sequence[int]) -> T:
    """Records of arrays one after the other along the first axis; what does not vary in one of them is repeated `sizes` times."""

    def joined(*values: Any) -> Any:
        rest = np.broadcast_shapes(*(np.shape(v)[1:] for v in values))
        return np.concatenate([np.broadcast_to(v, (size, *rest)) for v, size in zip(values, sizes, strict=True)])

    return _map(joined, *records)


def in_blocks(function: Callable[..., T], rows: int, shape: tuple[int, ...], **arrays: Any) -> T:
    """``function(**arrays)``, which broadcast to `shape`, called for `rows` entries of the first axis at a time, and joined."""
    if not shape or shape[0] <= rows:
        return function(**arrays)
    starts = range(0, shape[0], rows)

    def cut(value: Any, start: int) -> Any:
        return value[start : start + rows] if np.ndim(value) == len(shape) and np.shape(value)[0] > 1 else value

    parts = [function(**{name: cut(value, start) for name, value in arrays.items()}) for start in starts]
    return join(parts, [min(rows, shape[0] - start) for start in starts])


def first_true(tests: Sequence[Any]) -> Any:
    """Position of the first test that holds, from 1; 0 where none does. They broadcast."""
    found = np.zeros(np.broadcast_shapes(*(np.shape(test) for test in tests)), dtype=np.int8)
    for code in range(len(tests), 0, -1):
        if np.any(tests[code - 1]):
            found = np.where(tests[code - 1], np.int8(code), found)
    return found


def _map(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """`function` of the same place of every record."""
    if isinstance(first, str) or first is None:
        return first
    if is_dataclass(first) and not isinstance(first, type):
        return replace(first, **{f.name: _map(function, *(getattr(r, f.name) for r in (first, *others))) for f in fields(first)})
    if isinstance(first, Mapping):
        return {key: _map(function, *(r[key] for r in (first, *others))) for key in first}
    if isinstance(first, list | tuple):
        return type(first)(_map(function, *entries) for entries in zip(first, *others, strict=True))
    return function(first, *others)


def _items(record: Any) -> list[tuple[str, Any]]:
    return [(f.name, getattr(record, f.name)) for f in fields(record) if f.repr]


def short(value: Any) -> str:
    """`value` as a record shows it: of more than three entries their range and shape."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return ", ".join(map(short, value)).join("[]" if isinstance(value, list) else "()")
    if not isinstance(value, np.ndarray | np.generic | float):
        return repr(value)
    array = np.asarray(value)
    text = (lambda v: f"{v:.6g}") if array.dtype.kind == "f" else str
    if array.size <= 3:
        return ", ".join(map(text, array.ravel().tolist())).join("[]" if array.ndim else ("", ""))
    if array.dtype.kind in "biuf":
        return f"{text(array.min())} to {text(array.max())} {array.shape}"
    return f"{array.ravel()[0]!s}, ... {array.shape}"
