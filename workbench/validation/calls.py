"""Calls of public functions as plain data: what they give, and how they are written in Python.

A call is {"call": ..., "arguments": ..., "read": ...}. ``call`` is a public name of a model's face (``scaling.optimal_allocation``),
``arguments`` its arguments, an object by name or a list by position; such an object among them means what that call gives, and a call
that begins with a dot (``.loss``) is a public method of the argument ``self``. ``read`` says what of the result is wanted: attributes,
entries and keys, and a factor for its unit (``params``, ``[0]``, ``["crps"][0]``, ``mtbf / 3600``).
"""

import importlib
import json
import operator
import re
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from workbench.errors import InputError, UnknownName

FACES = ("catalogue", "scaling", "fabric", "chips", "energy", "fleet", "demand")  #: packages whose public names may be called
STEP = re.compile(r'\.?([a-zA-Z]\w*)|\[(-?\d+)\]|\["([^"]*)"\]')
FACTOR = re.compile(r"\s*([*/])\s*(\d+\.?\d*(?:[eE][-+]?\d+)?)")
BY = {"*": operator.mul, "/": operator.truediv}


def _is_call(value: Any) -> bool:
    return isinstance(value, dict) and "call" in value and value.keys() <= {"call", "arguments", "read"}


def value(given: Any, made: dict[str, Any]) -> Any:
    """What a call gives, or an argument with the calls in it made; `made` keeps what they gave, for the next that asks the same."""
    if isinstance(given, list):
        return [value(one, made) for one in given]
    if not _is_call(given):
        return {name: value(one, made) for name, one in given.items()} if isinstance(given, dict) else given
    key = json.dumps(given, sort_keys=True)
    if key not in made:
        call, arguments = given["call"], value(given.get("arguments", {}), made)
        if not isinstance(arguments, dict | list):
            raise InputError(f"arguments = {json.dumps(arguments):.60}: expected an object by name, or a list by position")
        positional, named = (arguments, {}) if isinstance(arguments, list) else ([], dict(arguments))
        function = _method(call[1:], named.pop("self", None)) if str(call).startswith(".") else public(call)
        made[key] = read(function(*positional, **named), given.get("read", ""))
    return made[key]


def public(call: Any) -> Callable[..., Any]:
    """The public function of a name such as ``chips.serving``. Raises `UnknownName`."""
    face, _, name = str(call).partition(".")
    module = importlib.import_module(f"workbench.{face}") if face in FACES else None
    if module is None or name not in module.__all__ or not callable(getattr(module, name)):
        public = [f"{one}.{n}" for one in FACES for n in importlib.import_module(f"workbench.{one}").__all__]
        raise UnknownName("public function", call, public)
    return cast("Callable[..., Any]", getattr(module, name))


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


def read(value: Any, path: Any) -> Any:
    """Attributes, entries and keys of a result, times its factor."""
    steps, factor = _steps(path)
    for name, index, key in (step.groups() for step in steps):
        value = getattr(value, name) if name else value[int(index) if index else key]
    return BY[factor[1]](value, float(factor[2])) if factor else value


def number(value: Any) -> float:
    """A result as one number. Raises `InputError` for one that is none, or several."""
    if isinstance(value, str | bytes) or np.size(value) != 1 or callable(value):
        raise InputError(f"the result is {type(value).__name__} of shape {np.shape(value)}, not one number: say in read which")
    return float(np.asarray(value, dtype=float).item())


def in_python(value: Any) -> str:
    """A call, or another value, as Python: ``scaling.optimal_allocation(compute=1e+24, law='Llama 3').params``."""
    if isinstance(value, list):
        return f"[{', '.join(map(in_python, value))}]"
    if not isinstance(value, dict):
        return repr(value).replace("inf", "np.inf") if isinstance(value, float) else repr(value)
    if not _is_call(value):
        return f"{{{', '.join(f'{name!r}: {in_python(one)}' for name, one in value.items())}}}"
    call, args = value["call"], value.get("arguments", {})
    by_name, by_place = args.items() if isinstance(args, dict) else (), args if isinstance(args, list) else ()
    given = [*map(in_python, by_place), *(f"{name}={in_python(one)}" for name, one in by_name if name != "self")]
    steps, factor = _steps(value.get("read", ""))
    own = in_python(args["self"]) if call.startswith(".") else ""
    path = "".join(f".{step[1]}" if step[1] else step[0] for step in steps)
    return f"{own}{call}({', '.join(given)}){path}{factor[0].rstrip() if factor else ''}"
