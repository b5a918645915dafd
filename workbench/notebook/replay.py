"""The cells that a kernel has run, run again with other parameters: those alone that depend on them, in a namespace of their own."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from workbench.charts import render
from workbench.notebook.runtime import executed, of_cell

#: Calls that a replay leaves out: what they do was done.
DONE = {"check_parameters", "panel", "bake"}
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
    for source in executed(namespace):
        sources = [] if of_cell(source) else [s for s in sources if s != source] + [source]
    return [cell for source in sources if (cell := _cell(source))]


def _cell(source: str) -> Cell | None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # magics
        return None
    tree.body = [s for s in tree.body if not (isinstance(s, ast.Expr) and _called(s.value) in DONE)]
    nodes = list(ast.walk(tree))
    reads = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    gives = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    gives |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    gives |= {(n.asname or n.name).split(".")[0] for n in nodes if isinstance(n, ast.alias)}
    for n in nodes:  # an item or a field that is set changes what holds it
        if isinstance(n, ast.Subscript | ast.Attribute) and not isinstance(n.ctx, ast.Load):
            gives |= {inner.id for inner in ast.walk(n.value) if isinstance(inner, ast.Name)}
    return Cell(ast.unparse(tree), frozenset(reads), frozenset(gives))


def _called(node: ast.expr) -> str:
    return ast.unparse(node.func).split(".")[-1] if isinstance(node, ast.Call) else ""


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
    asked: set[str] = set()
    found = []
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
