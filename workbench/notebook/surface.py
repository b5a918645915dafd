"""The cells that a kernel has run, run again with other parameters: those alone that depend on them, in a namespace of their own; and what
a page can move without a kernel: recorded results over a grid of a few parameters, and how wrong what lies between is.
"""

import ast
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from functools import cache
from itertools import product
from symtable import symtable
from typing import Any

import numpy as np

from workbench.charts import render
from workbench.errors import InputError
from workbench.notebook import runtime
from workbench.notebook.parameters import Parameter

MIME = "application/vnd.workbench.surface.v1+json"
#: Nodes of each axis, by the number of axes. The surface is compared with the notebook in the middle of each cell, where it is off most.
NODES = {1: 17, 2: 7, 3: 5, 4: 3}
FACTOR = 4.0  #: a slider spans this factor on either side of the value, within the declared range
DONE = {"check_parameters", "panel", "bake"}  #: calls that a replay leaves out: what they do was done
DRAWN, RECORDED, SAID = re.compile(r"\bcharts\.\w+\("), re.compile(r"\brecord\("), re.compile(r"\bprint\(")


@dataclass(frozen=True)
class Cell:
    """A cell, with the names of the notebook that it reads and gives."""

    source: str
    reads: frozenset[str]
    gives: frozenset[str]

    def run(self, space: dict[str, Any]) -> list[dict[str, Any]]:
        """Run it in a namespace. Returned is what it shows, as outputs of a notebook; what it raises is raised."""
        from altair import TopLevelMixin
        from IPython.display import display
        from IPython.utils.capture import capture_output

        body = ast.parse(self.source).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        with capture_output() as shown:
            exec(compile(ast.Module(body, []), "<cell>", "exec"), space)
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), space) if isinstance(last, ast.Expr) else None
            if isinstance(value, TopLevelMixin):  # as IPython would show it, without the check against the schema, which takes longest
                display(render.render(value.to_dict(validate=False))[0], raw=True)
            else:
                sys.displayhook(value)
        said = [{"output_type": "stream", "name": "stdout", "text": shown.stdout}] if shown.stdout else []
        return said + [{"output_type": "display_data", "data": o.data, "metadata": o.metadata or {}} for o in shown.outputs]


def cells(namespace: Mapping[str, Any]) -> list[Cell]:
    """Cells run since the parameters cell was last run, those with the same text once, without the ones that are no Python."""
    sources: list[str] = []
    for source in runtime.executed(namespace):
        sources = [] if runtime.of_cell(source) else [s for s in sources if s != source] + [source]
    return [cell for source in sources if (cell := _cell(source))]


@cache
def _cell(source: str) -> Cell | None:
    tree = runtime.tree(source)
    if not tree.body:
        return None
    tree.body = [s for s in tree.body if not (isinstance(s, ast.Expr) and runtime.called(s.value) in DONE)]
    gives: set[str] = set()
    reads = _read_first(tree.body, set(), gives)
    for n in ast.walk(tree):  # an item or a field that is set changes what holds it
        if isinstance(n, ast.Subscript | ast.Attribute) and not isinstance(n.ctx, ast.Load):
            gives |= {inner.id for inner in ast.walk(n.value) if isinstance(inner, ast.Name)}
    return Cell(ast.unparse(tree), frozenset(reads), frozenset(gives))


def _read_first(body: Iterable[ast.stmt], bound: set[str], gives: set[str]) -> set[str]:
    """Names that statements read before they bind them. `bound` gains those that they bind whatever happens, `gives` all of them."""
    reads: set[str] = set()
    for s in body:
        head, compound = copy(s), isinstance(s, ast.For | ast.While | ast.If | ast.With)
        blocks = [part for part in ("body", "orelse") if compound and part in s._fields]
        for part in blocks:
            setattr(head, part, [ast.Pass()] if part == "body" else [])
        table = symtable(ast.unparse(head), "<cell>", "exec")
        inner = list(table.get_children())
        for scope in inner:  # functions and comprehensions read what is global to them
            inner += scope.get_children()
        used = {n.get_name() for n in table.get_symbols() if n.is_referenced()}
        used |= {n.get_name() for scope in inner for n in scope.get_symbols() if n.is_global()}
        used |= {n.target.id for n in ast.walk(head) if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)}
        made = {n.get_name() for n in table.get_symbols() if n.is_assigned() or n.is_imported()}
        reads |= used - bound
        ends = [bound | made]
        for part in blocks:
            ends.append(bound | made)
            reads |= _read_first(getattr(s, part), ends[-1], gives)
        gives |= made
        if not isinstance(s, ast.For | ast.While):  # which may do nothing
            bound |= set.intersection(*ends[1:] or ends)
    return reads


def touched(run: Iterable[Cell], names: Iterable[str]) -> list[Cell]:
    """The cells that read one of `names`, or what such a cell gives."""
    stale, found = set(names), []
    for cell in run:
        if cell.reads & stale:
            stale |= cell.gives
            found.append(cell)
    return found


def needed(run: list[Cell], wanted: list[Cell]) -> list[Cell]:
    """The wanted cells, and those that give what they read."""
    asked, found = set[str](), []
    for cell in reversed(run):
        if cell in wanted or cell.gives & asked:
            asked |= cell.reads
            found.append(cell)
    return found[::-1]


@contextmanager
def unpainted() -> Iterator[None]:
    """Charts leave without their picture and Altair's check of each part, which take most of their time."""
    from altair.utils.schemapi import debug_mode

    painter, render.painter = render.painter, None
    try:
        with debug_mode(False):
            yield
    finally:
        render.painter = painter


def sliders(source: str) -> list[str]:
    """The parameters that the call of `workbench.panel` in a cell names."""
    arguments = [argument for call in runtime.calls(source, "panel") for argument in call.args[1:]]
    return [a.value for a in arguments if isinstance(a, ast.Constant) and isinstance(a.value, str)]


def bake(namespace: Mapping[str, Any]) -> None:
    """Run the cells that the record depends on over a grid of the parameters that the panel names, and leave the results as an output."""
    declared = runtime.declared_in(namespace)[0]
    names = next(filter(None, map(sliders, runtime.executed(namespace))), [])
    run = touched(cells(namespace), names)
    wanted = needed(run, [cell for cell in run if RECORDED.search(cell.source)])
    if not wanted:
        return

    def at(point: Sequence[float]) -> dict[str, float]:
        values = {n: int(v) if declared[n].type == "int" else float(v) for n, v in zip(names, point, strict=True)}
        space = {**namespace, **values}
        found: dict[str, float] = {}
        with suppress(InputError):  # nothing is feasible there
            for output in (o for cell in wanted for o in cell.run(space)):
                scalars = output.get("data", {}).get(runtime.RESULTS_MIME, {}).get("scalars", {})
                found |= {k: float(f"{v:.6g}") for k, v in scalars.items() if type(v) in (int, float) and math.isfinite(v)}
        return found

    axes = [_axis(declared[name], namespace[name], NODES[len(names)]) for name in names]
    with unpainted():
        grid = [at(point) for point in product(*(axis["nodes"] for axis in axes))]
        seen = [at(point) for point in product(*(axis["middles"] for axis in axes))]
    recorded = dict.fromkeys(name for found in grid for name in found if name not in names)
    results = {name: [[found.get(name) for found in runs] for runs in (grid, seen)] for name in recorded}
    from IPython.display import display

    display({MIME: {"axes": axes, "results": results}, "text/plain": f"{len(results)} surfaces"}, raw=True)


def _axis(p: Parameter, value: float, n: int) -> dict[str, Any]:
    """`n` nodes over the span of a slider, the notebook's own value among them, and the middles between them."""
    low, high, log = span(p, value)
    nodes = (np.geomspace if log else np.linspace)(low, high, n)
    nodes[1 + int(np.argmin(np.abs(nodes[1:-1] - value)))] = value
    nodes = np.unique(np.round(nodes) if p.type == "int" else [float(f"{x:.6g}") for x in nodes])
    middles = np.sqrt(nodes[1:] * nodes[:-1]) if log else (nodes[1:] + nodes[:-1]) / 2
    at = {"nodes": nodes.tolist(), "middles": (np.round(middles) if p.type == "int" else middles).tolist()}
    return at | {"name": p.name, "meaning": p.meaning, "unit": p.shown_unit, "log": log, "whole": p.type == "int", "value": value}


def span(p: Parameter, value: float) -> tuple[float, float, bool]:
    """Ends of a slider of a parameter, and whether it moves by ratio: `FACTOR` on either side, within what is declared."""
    low, high = (end if end is not None else math.copysign(math.inf, sign) for end, sign in ((p.low, -1), (p.high, 1)))
    if value > 0:
        low, high = max(low, value / FACTOR), min(high, value * FACTOR)
    else:
        low, high = max(low, -1.0), min(high, 1.0)
    return low, high, low > 0 and high / low > FACTOR
