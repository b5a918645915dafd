"""Parameters that a notebook declares, and the check of values against them.

The first code cell of a notebook, tagged ``parameters``, holds one declaration a line::

    n_chips: int = 4608           # [chips] accelerators in the cluster, 1..1000000
    chip: str = "GB300"           # [name] accelerator, in chips
    precision: str = "fp8"        # [-] number format, bf16 | fp8 | fp4
    price_usd: float | None = None  # [USD] price of a chip (None: from the catalogue), 10..1000000

that is ``name: type = default  # [unit] meaning, range``; a ``float | str`` is a number or the path of a file. A range is
``low..high`` (either end may be left out), a list of choices ``a | b | c``, or ``in TABLE``: any key of that table of the catalogue.
``bf16 | fp4 on chip``, ``in links on chip``, ``1..9 on chip``: a format, a fabric or a price that the chip so named must have.
"""

import ast
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench import files
from workbench.errors import InputError, UnknownName, hint

TYPES = {"int": int, "float": float, "str": str, "bool": bool}

_COMMENT = re.compile(r"#\s*\[(?P<unit>[^\]]*)\]\s*(?P<meaning>.+)$")
_NUMBER = r"[-+]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"^(?P<low>{_NUMBER})?\s*\.\.\s*(?P<high>{_NUMBER})?$")


class ParameterError(InputError):
    """Parameters that do not fit their declarations: every problem, one per line."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        super().__init__("\n".join(problems))


class _Misfit(InputError):
    """A value that its own declaration does not allow."""


@dataclass(frozen=True)
class Parameter:
    """One declared parameter of a notebook."""

    name: str
    type: str
    optional: bool  #: None is allowed
    default: Any
    unit: str
    meaning: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    table: str | None = None  #: table of the catalogue whose keys are allowed
    file: bool = False  #: the path of a file may replace a number, as ``float | str`` says
    on: str = ""  #: the parameter that names the chip which the value must go with

    @property
    def shown_unit(self) -> str:
        """The unit as a reader sees it: none of a plain number, of words and of names."""
        return "" if self.unit in ("-", "1", "name", "names") else self.unit

    @property
    def allowed(self) -> str:
        """What values are allowed, in words."""
        kind = {"int": "a whole number", "float": "a number", "str": "text", "bool": "True or False"}[self.type]
        if self.choices:
            kind = f"one of {', '.join(self.choices)}"
        elif self.table:
            kind = f"a name in the table {self.table}"
        elif self.low is not None or self.high is not None:
            low, high = (None if end is None else f"{end:,.12g}" for end in (self.low, self.high))
            kind += f" from {low} to {high}" if low and high else f" of at least {low}" if low else f" of at most {high}"
        kind += f" [{self.shown_unit}]" if self.shown_unit else ""
        kind += " or the path of a file" if self.file else ""
        return f"{kind} or None" if self.optional else kind

    def problem(self, value: Any) -> str | None:
        """Why `value` is refused, or None if it is fine."""
        if value is None and self.optional:
            return None
        if self.file and isinstance(value, str) and Path(value).is_file():
            return None
        number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
        whole, text, truth = number and float(value).is_integer(), isinstance(value, str), isinstance(value, bool)
        fits = {"int": whole, "float": number, "str": text, "bool": truth}[self.type]
        if fits and number:
            fits = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        if fits and self.choices:
            fits = str(value) in self.choices
        if not fits:
            return f"{self.name} = {value!r}: expected {self.allowed} ({self.meaning})"
        if self.table:
            from workbench import catalogue

            try:
                taken = {"llms": catalogue.llm, "chips": catalogue.chip}  # by more than the names of rows
                taken[self.table](value) if self.table in taken else catalogue.key_of(self.table, str(value))
            except (UnknownName, InputError) as error:
                return f"{self.name} = {value!r}: {error}"
        return None

    def from_text(self, text: str) -> Any:
        """`text` as the declared type, or unchanged where it is not of that type (the check then says so)."""
        if self.optional and text.strip().lower() in ("none", "null"):
            return None
        try:
            if self.type == "int":
                number = float(text)
                return int(text) if text.strip().lstrip("+-").isdigit() else int(number) if number.is_integer() else number
            if self.type == "float":
                return float(text)
        except (ValueError, OverflowError):
            return text
        if self.type == "bool":
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text.strip().lower(), text)
        return text


@lru_cache(maxsize=64)
def declared(source: str) -> dict[str, Parameter]:
    """Parameters declared by the source text of a parameters cell. Raises `ParameterError` for a line that is no declaration.

    Examples
    --------
    >>> found = declared("n_chips: int = 4608  # [chips] accelerators in the cluster, 1..1000000")
    >>> found["n_chips"].allowed, found["n_chips"].meaning
    ('a whole number from 1 to 1,000,000 [chips]', 'accelerators in the cluster')
    """
    parameters, problems = {}, []
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
        statements = ast.parse(source).body
    except (SyntaxError, tokenize.TokenError, ValueError, MemoryError, RecursionError) as error:  # as Python says of what it cannot read
        raise ParameterError([f"not Python: {error}"]) from None
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    for node in statements:
        line = ast.get_source_segment(source, node) or ""
        try:
            parameter = _declaration(node, comments.get(node.end_lineno or node.lineno, ""))
            parameters[parameter.name] = parameter
        except InputError as error:
            where = f"line {node.lineno}"
            problems.append(f"{where} of the parameters cell sets {error}" if isinstance(error, _Misfit) else f"{where}, {line!r}: {error}")
    if problems:
        raise ParameterError(problems)
    return parameters


def of_notebook(path: str | Path) -> dict[str, Parameter]:
    """Parameters declared in the cell tagged ``parameters`` of the notebook at `path`."""
    return of_cells(read(path)["cells"], path)


def of_cells(cells: Iterable[Mapping[str, Any]], path: object) -> dict[str, Parameter]:
    """The same of the cells of a notebook; `path` is for messages."""
    for cell in cells:
        if cell["cell_type"] == "code" and "parameters" in cell.get("metadata", {}).get("tags", []):
            try:
                return declared("".join(cell["source"]))
            except InputError as error:
                raise InputError(f"{path}: the parameters cell cannot be read: {error}") from None
    raise InputError(f"{path}: no code cell is tagged 'parameters'")


def read(path: str | Path) -> dict[str, Any]:
    """The notebook at `path` as its JSON says it, without nbformat, which takes 0.8 s. Raises `InputError` for what is none."""
    data, content = stored_bytes(path), None
    with suppress(ValueError, RecursionError):
        content = json.loads(data.decode("utf8"))
    if not (isinstance(content, dict) and isinstance(content.get("cells"), list) and isinstance(content.get("metadata", {}), dict)):
        raise InputError(f"{path}: not a notebook (expected nbformat JSON with cells)")
    for number, cell in enumerate(content["cells"], 1):
        if not _is_cell(cell):
            raise InputError(f"{path}: not a notebook (cell {number} is no cell: expected cell_type, source and metadata)")
    return content


def stored_bytes(path: str | Path) -> bytes:
    """The file at a path or an address. Raises `InputError` where it cannot be read."""
    try:
        return files.read(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such notebook") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _is_cell(cell: Any) -> bool:
    if not (isinstance(cell, dict) and isinstance(cell.get("cell_type"), str) and isinstance(metadata := cell.get("metadata", {}), dict)):
        return False
    source, tags = cell.get("source"), metadata.get("tags", [])
    lines = source if isinstance(source, list) else [source]
    return isinstance(tags, list) and all(isinstance(text, str) for text in (*lines, *tags))


def check(parameters: Mapping[str, Parameter], values: Mapping[str, Any], among: Mapping[str, Any] | None = None) -> None:
    """Raise `ParameterError`, naming what of `values` is not declared, of the wrong type, out of range, or not for the chip `among` all."""
    found = [parameters[n].problem(value) if n in parameters else undeclared(n, parameters) for n, value in values.items()]
    problems = [problem for problem in found if problem is not None]
    said = {name: (among or values).get(name, p.default) for name, p in parameters.items()}
    pairs = (p for name, p in parameters.items() if p.on in said and (among is None or name in values))
    if problems := problems or [why for p in pairs if (why := _amiss(p, said[p.name], said[p.on]))]:
        raise ParameterError(problems)


def _amiss(parameter: Parameter, value: Any, chip: str) -> str | None:
    """Why a format, a fabric or no price of its own does not go with a chip, or None."""
    from workbench import catalogue
    from workbench.fabric import Cluster

    found = catalogue.chip(chip)
    if parameter.choices and not found.runs(value):
        others = " or ".join(filter(found.runs, parameter.choices)) or f"another {parameter.on}"
        return f"{parameter.name} = {value!r}: {found.name} has no {value} peak; set {parameter.name} to {others}"
    if value is None and found.price is None:
        return f"{parameter.name} = None: {found.name} has no published price; give {parameter.name}"
    try:
        _ = parameter.table != "links" or Cluster(found, 1, value)
    except InputError as error:
        return str(error)
    return None


def undeclared(name: object, parameters: Mapping[str, Parameter]) -> str:
    """What is wrong with a name that is not among the declared ones."""
    return f"{name}: the notebook declares no such parameter; {hint(name, parameters, 'declared')}"


def from_text(parameters: Mapping[str, Parameter], texts: Mapping[str, str]) -> dict[str, Any]:
    """Values of a command line as their declared types, checked."""
    values = {name: parameters[name].from_text(text) if name in parameters else text for name, text in texts.items()}
    check(parameters, values)
    return values


def _declaration(node: ast.stmt, comment: str) -> Parameter:
    if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None):
        raise InputError("expected 'name: type = default  # [unit] meaning, range'")
    words = ast.unparse(node.annotation).replace(" ", "").split("|")
    optional = "None" in words
    file = "str" in words and not {"int", "float"}.isdisjoint(words)
    kinds = [w for w in words if w != "None" and not (file and w == "str")]
    if len(kinds) != 1 or kinds[0] not in TYPES:
        raise InputError(f"type {ast.unparse(node.annotation)} is not one of {', '.join(TYPES)} (with '| None' if it may be absent)")
    match = _COMMENT.search(comment)
    if not match:
        raise InputError("the comment is not '# [unit] meaning, range'")
    try:
        default = ast.literal_eval(node.value)
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise InputError("the default is not a plain value") from None
    head, _, tail = match["meaning"].rpartition(",")
    limits = _limits(tail.strip()) if head else None
    unit, meaning = match["unit"].strip(), (head if limits else match["meaning"]).strip()
    parameter = Parameter(node.target.id, kinds[0], optional, default, unit, meaning, file=file, **(limits or {}))
    if problem := parameter.problem(default):
        raise _Misfit(problem)
    return parameter


def _limits(text: str) -> dict[str, Any] | None:
    """The range at the end of a comment, or None if `text` is part of the meaning."""
    if (pair := re.fullmatch(r"(.+) on (\w+)", text)) and (limits := _limits(pair[1])):
        return limits | {"on": pair[2]}
    if match := _RANGE.match(text):
        low, high = (float(match[end]) if match[end] else None for end in ("low", "high"))
        return None if low is None and high is None else {"low": low, "high": high}
    if re.fullmatch(r"[\d_.eE+-]*\.\.[\d_.eE+-]*", text):
        raise InputError(f"{text!r} is no range: expected low..high")
    if text.startswith("in ") and text[3:].strip().isidentifier():
        from workbench import tables

        table = text[3:].strip()
        if table not in tables.table_names():
            raise UnknownName("table", table, tables.table_names())
        return {"table": table}
    if "|" in text:
        return {"choices": tuple(choice.strip() for choice in text.split("|"))}
    return None
