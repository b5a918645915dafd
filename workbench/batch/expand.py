"""From what a user asks for to the parameter sets of a sweep: grids, lists that advance together, Sobol samples; checked before any run.

On the command line a parameter is written ``NAME=VALUES``, where VALUES is

- ``a,b,c``: those values. As in CSV, a value with a comma is put in double quotes, and a quote inside is doubled: ``'x="a,b",c'``;
- ``low:high:n``, ``low:high:n:log``: n numbers from low to high, evenly spaced or evenly spaced in their logarithm;
- ``low:high``, ``low:high:log``: a range to sample (``--samples``). An end left out is the declared one: ``low:``, ``:high``, ``:``.

In YAML a parameter has a value, a list of values, or a range as ``{low: 1, high: 8, n: 4, log: true}``; text is written as it is.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench import tables
from workbench.errors import InputError
from workbench.notebook import parameters, run
from workbench.notebook.parameters import Parameter, ParameterError

_RANGE = re.compile(r"(?P<low>[^:,]*):(?P<high>[^:,]*?)(?::(?P<n>\d{1,999}))?(?P<log>:log)?")
_FIELD = re.compile(r'(?:\A|,)(?:"((?:[^"]|"")*)"(?=,|\Z)|([^,]*))')


@dataclass(frozen=True)
class Notebook:
    """A notebook to sweep: its cells without outputs, and what it declares."""

    name: str
    text: str  #: nbformat JSON
    sha256: str  #: of the cells' kinds, sources and tags: outputs do not change what a run does
    declared: dict[str, Parameter]
    kernel: str  #: its own
    seconds: float | None  #: sum of the times that its cells took when it was last executed, if it says so
    code_and_data: str  #: hash of what it calls and reads: see `tables.code_and_data`


@dataclass(frozen=True)
class Plan:
    """The parameter sets of a sweep."""

    notebook: Notebook
    swept: tuple[str, ...]  #: parameters that take more than one value
    sets: dict[str, dict[str, Any]]  #: by key; what each run sets, the rest stays as declared

    def __len__(self) -> int:
        return len(self.sets)

    def __repr__(self) -> str:
        return f"Plan({self.notebook.name}: {len(self):,} runs over {', '.join(self.swept) or 'nothing'})"


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`: `n` of them, or, where `n` is None, a range to sample."""

    low: Any
    high: Any
    n: int | None = None
    log: bool = False

    def values(self, whole: bool) -> list[float]:
        n = self.n or 1
        return [self.low, *self._numbers((i / (n - 1) for i in range(1, n - 1)), whole), self.high][:n]

    def sampled(self, shares: Iterable[float], whole: bool) -> list[float]:
        """Numbers at those shares of the range; each whole number of a linear range has the same share."""
        if whole and not self.log:
            return [min(math.floor(self.low + share * (self.high - self.low + 1)), self.high) for share in shares]
        return self._numbers(shares, whole)

    def _numbers(self, shares: Iterable[float], whole: bool) -> list[float]:
        low, high = self.low, self.high
        found = (float(low * (high / low) ** share if self.log else low + (high - low) * share) for share in shares)
        return [round(value) if whole else float(f"{value:.12g}") for value in found]


Asked = list[Any] | Range
Grid = str | Path | Mapping[str, Any] | None  #: a YAML file, or what it would hold


def _size(asked: Asked) -> int:
    """How many values; `len` knows no number of more than 64 bits."""
    return (asked.n or 1) if isinstance(asked, Range) else len(asked)


def plan(
    notebook: str | Path, parameters: Mapping[str, str] | None = None, *, grid: Grid = None, zip: Iterable[Iterable[str]] = (),
    samples: int | None = None, seed: int = 0, max_runs: int = 10_000,
) -> Plan:  # fmt: skip
    """Expand and check the parameter sets of a sweep. No kernel is started, nothing is written.

    Raises `ParameterError` with every parameter that is not declared, of the wrong type or out of range, or that cannot be read;
    `InputError` for a notebook that is missing, is none, or has no parameters cell, and for a grid that is too large or cannot be read.

    Parameters
    ----------
    notebook : str or path
        Path of a notebook, or name of a shipped one.
    parameters : mapping of str to str
        Values by name as on the command line (see the module).
    grid : path or mapping
        YAML file, or what it would hold; added to `parameters`.
    zip : iterable of groups of names
        Parameters of a group advance together, the first with the first, instead of each with each.
    samples : int
        Points of a scrambled Sobol sequence over the ranges to sample, or, where none is given, over the declared range of every number
        that is not set; each point with each set of the grid.
    seed : int
        Seed of the scrambling.
    max_runs : int
        A larger grid is refused, and not expanded.

    Examples
    --------
    >>> plan("ai_factory", {"n_chips": "1000,2000", "pue": "1.1:1.3:3"})
    Plan(ai_factory: 6 runs over n_chips, pue)
    """
    source = read(notebook)
    asked, problems = _asked(source.declared, parameters or {}, grid)
    groups = [tuple(group) for group in zip]
    if samples is not None and samples < 1:
        problems.append(f"samples = {samples}: expected a whole number of at least 1")
    if samples and not any(isinstance(a, Range) and a.n is None for a in asked.values()):
        free = [p for p in source.declared.values() if p.name not in asked and p.type in ("int", "float")]
        asked |= {p.name: Range(p.low, p.high) for p in free if p.low is not None and p.high is not None}
    sampled = {name: a for name, a in asked.items() if isinstance(a, Range) and a.n is None}
    listed = {name: a for name, a in asked.items() if name not in sampled}
    problems += _zip_problems(groups, listed)
    if sampled and not samples:
        problems += [f"{n} = {a.low}:{a.high}: a range to sample; give --samples N, or low:high:n for a grid" for n, a in sampled.items()]
    if samples and not sampled:
        problems.append("samples: nothing to sample; give a range as NAME=low:high")
    if problems:
        raise ParameterError(problems)

    axes = [*groups, *((name,) for name in listed if not any(name in group for group in groups))]
    count = math.prod(_size(listed[axis[0]]) for axis in axes) * (samples or 1)
    if count > max_runs:
        sizes = [f"{_size(listed[a[0]]):,} of {' with '.join(a)}" for a in axes if _size(listed[a[0]]) > 1]
        sizes += [f"{samples:,} samples"] if samples else []
        raise InputError(f"{count:,} runs ({' x '.join(sizes)}) are more than the {max_runs:,} that --max-runs allows")
    values = {n: a.values(source.declared[n].type == "int") if isinstance(a, Range) else a for n, a in listed.items()}
    columns = [[*_points(source.declared, {name: values[name] for name in axis})] for axis in axes]
    columns.append([*_points(source.declared, _sampled(source.declared, sampled, samples or 1, seed))])
    found: dict[str, dict[str, Any]] = {}
    for point in itertools.product(*columns):
        joined = {name: value for part in point for name, value in part.items()}
        chosen = {name: joined[name] for name in asked}
        found.setdefault(_key(source, chosen), chosen)
    swept = tuple(name for name in asked if len({json.dumps(chosen[name]) for chosen in found.values()}) > 1)
    return Plan(source, swept, found)


def read(notebook: str | Path) -> Notebook:
    """The notebook at that path, or the shipped one of that name. Raises `InputError` as `plan`."""
    path = run.find(notebook)
    content = parameters.read(path)
    if (form := content.get("nbformat")) != 4 or not isinstance(content.get("nbformat_minor"), int):
        raise InputError(f"{path}: a notebook of format {form}; expected 4: `jupyter nbconvert --to notebook` converts it")
    declared = parameters.of_cells(content["cells"], path)
    cells = [[c["cell_type"], "".join(c["source"]), c.get("metadata", {}).get("tags", [])] for c in content["cells"]]
    spans = []
    for cell in content["cells"]:
        times = cell.setdefault("metadata", {}).pop("execution", {})
        with suppress(KeyError, TypeError, ValueError):  # it need not say
            start, end = (datetime.fromisoformat(times[key]) for key in ("iopub.execute_input", "shell.execute_reply"))
            spans.append((end - start).total_seconds())
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    digest = hashlib.sha256(json.dumps(cells).encode()).hexdigest()
    text = json.dumps(content, indent=1, ensure_ascii=False)
    return Notebook(path.stem, text, digest, declared, run.own_kernel(content), sum(spans) or None, tables.code_and_data())


def _key(notebook: Notebook, chosen: Mapping[str, Any]) -> str:
    """Name of a run: a hash of its cells and parameters. A value set to its default is the default."""
    full = {p.name: p.default for p in notebook.declared.values()} | dict(chosen)
    full = {name: float(v) if notebook.declared[name].type == "float" and v is not None else v for name, v in full.items()}
    return hashlib.sha256(json.dumps([notebook.sha256, full], sort_keys=True).encode()).hexdigest()[:20]


def _asked(declared: Mapping[str, Parameter], texts: Mapping[str, str], grid: Grid) -> tuple[dict[str, Asked], list[str]]:
    """What was asked for, by name, and every problem of it."""
    given = grid if isinstance(grid, Mapping) else _yaml(grid) if grid is not None else {}
    asked: dict[str, Asked] = {}
    problems = [f"{name}: given twice, as a parameter and in the grid" for name in given if name in texts]
    for name, value, read_as in [*((*t, _from_text) for t in texts.items()), *((*g, _from_yaml) for g in given.items())]:
        if name not in declared:
            problems.append(parameters.undeclared(name, declared))
            continue
        try:
            one = read_as(declared[name], value)
            problems += _range_problems(declared[name], one) if isinstance(one, Range) else _list_problems(declared[name], one)
            asked[name] = one
        except InputError as error:
            problems.append(str(error))
    return asked, problems


def _from_text(parameter: Parameter, text: str) -> Asked:
    if parameter.type in ("int", "float") and (match := _RANGE.fullmatch(text)):
        ends = [parameter.from_text(match[end].strip()) if match[end].strip() else getattr(parameter, end) for end in ("low", "high")]
        return Range(ends[0], ends[1], n=int(match["n"]) if match["n"] else None, log=bool(match["log"]))
    if parameter.type in ("int", "float") and ":" in text:
        raise InputError(f"{parameter.name} = {text!r}: expected values with commas, low:high:n with n a whole number, or low:high:n:log")
    fields = (field[2] if field[1] is None else field[1].replace('""', '"') for field in _FIELD.finditer(text))
    return [parameter.from_text(field) for field in fields]


def _from_yaml(parameter: Parameter, value: Any) -> Asked:
    if isinstance(value, Mapping):
        unknown = value.keys() - {"low", "high", "n", "log"}
        n, log = value.get("n"), value.get("log", False)
        if parameter.type not in ("int", "float") or unknown or not isinstance(log, bool) or not (n is None or type(n) is int):
            raise InputError(f"{parameter.name} = {value}: expected a value, a list of values, or for a number {{low, high, n, log}}")
        ends = [_number_in_yaml(parameter, value.get(end, getattr(parameter, end))) for end in ("low", "high")]
        return Range(ends[0], ends[1], n=n, log=log)
    return [_number_in_yaml(parameter, v) for v in (value if isinstance(value, list) else [value])]


def _number_in_yaml(parameter: Parameter, value: Any) -> Any:
    """YAML 1.1 takes ``1e9`` for text: a number is meant where the notebook declares one."""
    return parameter.from_text(value) if isinstance(value, str) and parameter.type in ("int", "float") else value


def _list_problems(parameter: Parameter, values: list[Any]) -> list[str]:
    problems = [] if values else [f"{parameter.name}: no values"]
    for value in values:
        if (problem := parameter.problem(value)) is not None:
            problems.append(f"{problem}; text is put in quotes" if parameter.type == "str" and not isinstance(value, str) else problem)
        elif isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            problems.append(f"{parameter.name} = {value!r}: not valid Unicode")
    return problems


def _range_problems(parameter: Parameter, given: Range) -> list[str]:
    shown = f"{parameter.name} = {given.low}:{given.high}"
    if given.low is None or given.high is None:
        return [f"{shown}: the notebook declares no such end of the range; give both"]
    problems = [p for p in (parameter.problem(given.low), parameter.problem(given.high)) if p]
    if problems:
        return problems
    if given.low > given.high or (given.n is not None and given.n > 1 and given.low == given.high):
        return [f"{shown}: expected low:high with low below high"]
    if given.n is not None and given.n < 1:
        return [f"{shown}:{given.n}: expected at least 1 value"]
    if given.log and given.low <= 0:
        return [f"{shown}: a logarithmic range starts above 0"]
    if parameter.type == "int" and given.n and given.n > (there := int(given.high - given.low + 1)):
        return [f"{shown}:{given.n}: there are only {there} whole numbers from {given.low} to {given.high}"]
    return []


def _zip_problems(groups: list[tuple[str, ...]], listed: Mapping[str, Asked]) -> list[str]:
    problems = []
    names = [name for group in groups for name in group]
    for group in groups:
        if len(group) < 2:
            problems.append(f"zip {','.join(group)}: expected two names or more")
        elif missing := [name for name in group if name not in listed]:
            problems.append(f"zip {','.join(group)}: no list of values for {', '.join(missing)}")
        elif len({_size(listed[name]) for name in group}) > 1:
            sizes = ", ".join(f"{_size(listed[name]):,} of {name}" for name in group)
            problems.append(f"zip {','.join(group)}: lists of different lengths: {sizes}")
    return problems + [f"zip: {name} is named more than once" for name in dict.fromkeys(names) if names.count(name) > 1]


def _points(declared: Mapping[str, Parameter], columns: Mapping[str, Iterable[Any]]) -> Iterator[dict[str, Any]]:
    """The points of an axis, whose parameters advance together, as their declared types: 3.0 as an int is 3; one empty point if none."""
    types = {name: {"int": int, "float": float}.get(declared[name].type) for name in columns}
    for point in zip(*columns.values(), strict=True) if columns else [()]:
        yield {name: of(x) if (of := types[name]) and x is not None else x for name, x in zip(columns, point, strict=True)}


def _sampled(declared: Mapping[str, Parameter], ranges: Mapping[str, Range], n: int, seed: int) -> dict[str, list[float]]:
    """Points of a scrambled Sobol sequence over the ranges."""
    if not ranges:
        return {}
    from workbench import uncertainty

    shares = uncertainty.sample(dict.fromkeys(ranges, uncertainty.Uniform(0.0, 1.0)), 1 << (n - 1).bit_length(), seed)
    return {name: r.sampled(shares[name][:n].tolist(), declared[name].type == "int") for name, r in ranges.items()}


def _yaml(path: str | Path) -> Mapping[str, Any]:
    import yaml

    try:
        text = Path(path).read_text(encoding="utf8")
        content = yaml.safe_load(text)
        names = [key.value for key, _ in getattr(yaml.compose(text, yaml.SafeLoader), "value", [])] if isinstance(content, Mapping) else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:  # a month 13, a number without end
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: expected a mapping of parameters to values")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise InputError(f"{path}: {', '.join(map(str, twice))} given more than once")
    return content
