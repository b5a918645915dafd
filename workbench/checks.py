"""What comes in is what was declared, or refused by name, place, value and what was allowed.

A `Rule` says what one argument may be. `takes` declares the rules of a function, `check_fields` those of a dataclass, `broadcast` that
arrays fit together, so that no model repeats a check.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, ParamSpec, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import ArrayLike

from workbench.arrays import Array, broadcast
from workbench.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Rule:
    """What an argument may be; called with its name and value it returns the value as an array of finite numbers, or refuses it."""

    least: float = -math.inf  #: smallest that is allowed
    above: float = -math.inf  #: neither it nor what lies below is allowed
    most: float = math.inf  #: largest that is allowed
    below: float = math.inf  #: neither it nor what lies above is allowed
    whole: bool = False  #: whole numbers only
    one: bool = False  #: one number, no array; returned as a float, or an int where it is whole
    infinite: bool = False  #: an infinity within the bounds is allowed
    apart: bool = False  #: need not broadcast with the other arguments
    last: str = ""  #: what the last axis counts: it must be there, not empty, and does not broadcast with the other arguments
    unit: str = ""
    why: str = ""  #: what to say of a value out of range; the range itself is always said

    def __call__(self, name: str, value: Any) -> Any:
        if isinstance(value, np.integer):
            value = int(value)
        exact = 2**128 if self.one and self.whole else 2**53  # a seed keeps its last digit
        if not self.last and (isinstance(value, float) or (type(value) is int and abs(value) < exact)):  # the usual case, without arrays
            if not self._good(float(value)):
                raise self.refusal(name, value)
            return (int(value) if self.whole else float(value)) if self.one else np.float64(value)
        array = numeric(name, value)
        inside = array.size and not self.whole and self._good(float(array.min())) and self._good(float(array.max()))  # so is all between
        if not (inside or (good := self._good(array)).all()):
            index = np.unravel_index(int(np.argmin(good)), array.shape)
            raise self.refusal(f"{name}[{', '.join(map(str, index))}]" if array.ndim else name, array[index])
        if self.one:
            if array.ndim:
                raise InputError(f"{name}: expected one number, not an array of shape {array.shape}")
            return int(array) if self.whole else float(array)
        if self.last and 0 in (array.ndim, *array.shape[-1:]):
            raise InputError(f"{name}: expected an array whose last axis is {self.last}, one or more")
        return array

    def refusal(self, name: str, value: Any) -> InputError:
        """The error for a value out of range."""
        return InputError(f"{name} = {value:.15g}: {self.why}{'; ' if self.why else ''}expected {self}")

    def __str__(self) -> str:
        low = f"more than {self.above:g}" if self.above >= self.least and self.above > -math.inf else ""
        low = low or (f"{self.least:g} or more" if self.least > -math.inf else "")
        high = f"less than {self.below:g}" if self.below <= self.most and self.below < math.inf else ""
        high = high or (f"at most {self.most:g}" if self.most < math.inf else "")
        bounds = " and ".join(part for part in (low, high) if part)
        kind = "a whole number" if self.whole else "" if bounds else "a number" if self.infinite else "a finite number"
        return " ".join(part for part in (kind, bounds, self.unit and f"[{self.unit}]") if part)

    def _good(self, value: Any) -> Any:
        """Whether a float, or each of an array, is allowed; a side without a bound holds its infinity, if any is allowed."""
        above, below = (value > self.above) | (self.above == -math.inf), (value < self.below) | (self.below == math.inf)
        good = (self.least <= value) & (value <= self.most) & above & below & (self.infinite | (abs(value) < math.inf))
        return good & (value == np.rint(value)) if self.whole else good


#: The rules that most arguments keep to.
FINITE, POSITIVE, NOT_NEGATIVE = Rule(), Rule(above=0.0), Rule(least=0.0)
SHARE, COUNT = Rule(least=0.0, most=1.0), Rule(least=1.0, whole=True)
#: One whole number: of samples, quarters, points; the same where there may be none, as a seed.
LENGTH, WHOLE = Rule(least=1.0, whole=True, one=True), Rule(least=0.0, whole=True, one=True)
PUE = Rule(least=1.0, most=10.0, why="a facility draws at least what its servers draw")
LIFE_YEARS = Rule(above=0.0, most=100.0, unit="years")  #: more is a number in another unit: seconds, cents
STEP = Rule(above=0.0, below=1e11, one=True, unit="s")  #: of time; more is a number in another unit
RENT = Rule(least=0.0, most=1e4, unit="USD per chip-hour")
ELECTRICITY = Rule(least=-10.0, most=10.0, unit="USD/kWh")  #: below 0 on spot markets


def numeric(name: str, value: Any) -> Array:
    """`value` as floats, NaN and infinities included. Raises `InputError` for what is no number: text, truth values, masked entries."""
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(f"{name}: a masked array; fill or drop the {int(np.ma.count_masked(value))} masked entries first")
    if isinstance(value, list | tuple) and not set(map(type, value)) <= {float, int, np.float64, np.int64}:
        for entry in value:  # numpy would take a truth value among numbers for 1, and drop the mask of an entry
            numeric(name, entry)
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O" and all(isinstance(v, numbers.Real) and not isinstance(v, bool) for v in array.flat):
            array = array.astype(float)  # whole numbers beyond 64 bits, fractions
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} = {_short(value)}: expected a number or an array of numbers") from None
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name} = {_short(value)}: expected a number or an array of numbers")
    return array.astype(float, copy=False)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}\N{HORIZONTAL ELLIPSIS}"


def to_shape(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    """`value` broadcast to `shape`. Raises `InputError` naming both shapes where it does not fit."""
    try:
        return np.broadcast_to(np.asarray(value, dtype=float), shape)
    except ValueError:
        raise InputError(f"{name} of shape {np.shape(value)}: expected one that broadcasts to {shape}") from None


def takes(**rules: Rule) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: the function gets each named argument as its rule returns it, arrays that broadcast, and objects as annotated.

    An argument left at its default is not looked at. ``None`` passes where it is the default.

    Examples
    --------
    >>> @takes(watts=NOT_NEGATIVE, seconds=POSITIVE)
    ... def energy(watts, seconds):
    ...     return watts * seconds
    >>> energy(700, [1.0, 2.0]).tolist()
    [700.0, 1400.0]
    >>> energy(-1, 2.0)
    Traceback (most recent call last):
    workbench.errors.InputError: watts = -1: expected 0 or more
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        parameters = (signature := inspect.signature(function)).parameters
        more = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        needed = {name for name, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
        names, optional = list(parameters), {name for name, p in parameters.items() if p.default is None}
        assert rules.keys() <= parameters.keys(), f"{function.__name__} has no argument {rules.keys() - parameters.keys()}"
        inner = cast("Callable[..., R]", function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            given: dict[str, Any] = dict(zip(names, args, strict=False))
            given.update(kwargs)
            if len(given) < len(args) + len(kwargs) or not needed <= given.keys() or not (more or kwargs.keys() <= parameters.keys()):
                try:
                    signature.bind(*args, **kwargs)
                except TypeError as why:
                    raise InputError(f"{function.__name__}: {why}; it takes {', '.join(names)}") from None
            _objects_in(function, given)
            _apply(rules, given, optional)
            return inner(**given)

        return checked

    return declare


def check_fields(instance: Any, where: str = "", /, **rules: Rule) -> None:
    """Check the fields of a dataclass by rules, and that they broadcast; ``None`` passes where it is the default.

    Fields stay as given, but single numbers of other kinds become Python's, so that none of 32 bits is computed with. `where` precedes
    the names of fields in messages.
    """
    declared = fields(instance)
    given = {f.name: getattr(instance, f.name) for f in declared}
    _objects_in(type(instance), given, where)
    checked = dict(given)
    _apply(rules, checked, {f.name for f in declared if f.default is None}, where)
    for name, rule in rules.items():
        if rule.one and not isinstance(given[name], int if rule.whole else int | float):
            object.__setattr__(instance, name, checked[name])


def declared(owner: type) -> dict[str, tuple[Any, ...]]:
    """What a dataclass declares beside the types of its fields, as their rules and axes (`typing.Annotated`), by name."""
    return {name: getattr(hint, "__metadata__", ()) for name, hint in get_type_hints(owner, include_extras=True).items()}


MADE = {  #: calls that make our objects
    **{"Chip": "catalogue.chip('H100')", "LLM": "catalogue.llm('Llama-3.1-8B')", "Cluster": "fabric.Cluster('H100', 8)"},
    **{"TrainingPlan": "chips.TrainingPlan(tp=8)", "ServingPlan": "chips.ServingPlan(tp=8)", "Load": "chips.Load(64, 1024, 256)"},
    **{"Site": "energy.site('eastus')", "ServerPower": "energy.server_power('H100')", "Topology": "fabric.fat_tree(...)"},
}


@functools.cache
def _annotated(owner: Callable[..., Any]) -> dict[str, Any]:
    """Types of the arguments of a function, or of the fields of a class, that are no numbers, which rules are for."""
    return {name: hint for name, hint in get_type_hints(owner).items() if name != "return" and not _open(hint)}


def _open(hint: Any) -> bool:
    """Whether a type is one of numbers, or any."""
    if get_origin(hint) in (Union, UnionType):
        return any(map(_open, get_args(hint)))
    if get_origin(hint) is Sequence or (get_origin(hint) is tuple and ... in get_args(hint)):
        return _open(get_args(hint)[0])
    return hint in (..., Any, int, float, bool, complex) or (get_origin(hint) or hint) is np.ndarray


def _objects_in(owner: Callable[..., Any], given: Mapping[str, Any], where: str = "") -> None:
    """Raise `InputError` for an object of another type than is annotated, with the call that makes one."""
    for name, hint in _annotated(owner).items():
        if name in given and type(given[name]) is not hint and not _is(given[name], hint):
            text = str(owner.__annotations__.get(name, hint)).removesuffix(" | None")
            made = " or ".join(call for kind, call in MADE.items() if re.search(rf"\b{kind}\b", text))
            text = re.sub(r"Sequence\[(.*)\]", r"a sequence of \1", re.sub(r"\bstr\b", "text", text.replace(" | ", " or ")))
            raise InputError(f"{where}{name} = {_short(given[name])}: expected {text}{made and f', as {made} makes it'}")


def _is(value: Any, hint: Any) -> bool:
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return type(value) in inner or any(_is(value, one) for one in inner)
    if kind in (tuple, Sequence):  # of which text is none
        if not isinstance(value, Collection) or isinstance(value, str | Mapping) or getattr(value, "ndim", 1) == 0:
            return False
        kinds = inner if kind is tuple and ... not in inner else inner[:1] * len(value)
        return (len(value) == len(kinds) or _open(inner[0])) and all(map(_is, value, kinds))
    return _open(hint) or not isinstance(kind, type) or isinstance(value, kind)


def _apply(rules: Mapping[str, Rule], given: dict[str, Any], optional: set[str], where: str = "") -> None:
    """Replace each given argument by what its rule returns, and see that they broadcast."""
    shaped: dict[str, Any] = {}
    for name, rule in rules.items():
        if name in given and not (given[name] is None and name in optional):
            value = given[name] = rule(where + name, given[name])
            if not rule.apart and np.ndim(value):
                shaped[f"{where}{name}{rule.last and ' without its '}{rule.last}"] = value[..., 0] if rule.last else value
    if len(shaped) > 1:
        broadcast(**shaped)


def one_of(name: str, value: ArrayLike, choices: tuple[str, ...]) -> None:
    """Raise `InputError` where an entry of `value` is none of `choices`, or masked."""
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(f"{name}: a masked array; expected one of {', '.join(choices)}")
    bad = [v for v in np.ravel(np.asarray(value)).tolist() if v not in choices]
    if bad:
        raise InputError(f"{name} = {bad[0]!r}: expected one of {', '.join(choices)}")


def number(name: str, value: ArrayLike, **bounds: Any) -> Array:
    """`value` as an array of finite numbers within the bounds of a `Rule`; raises `InputError` for the first entry that is not."""
    return np.asarray(Rule(**bounds)(name, value))


def row_numbers(row: dict[str, Any], names: Sequence[str], whole: Sequence[str]) -> None:
    """Raises `InputError` for a number of a row that none can be; blanks and 0 are for the models to judge."""
    for name in names:
        least, most, kind = (1.0, 1e7, "a whole number") if name in whole else (1e-15, 1e15, "a number")
        value = row.get(name)
        if value and (not least <= value <= most or (name in whole and value % 1)):
            raise InputError(f"{name} is {value:.6g}; expected {kind} from {least:g} to {most:g}")
