"""What a page can move without a kernel: recorded results over a grid of a few parameters, and how wrong what lies between is."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product
from typing import Any

import numpy as np

from workbench.errors import InputError
from workbench.notebook import replay, runtime
from workbench.notebook.parameters import Parameter

MIME = "application/vnd.workbench.surface.v1+json"
#: Nodes of each axis, by the number of axes. The surface is compared with the notebook in the middle of each cell, where it is off most.
NODES = {1: 17, 2: 7, 3: 5, 4: 3}
#: A slider spans this factor on either side of the value, within the declared range.
FACTOR = 4.0


def sliders(source: str) -> list[str]:
    """The parameters that the call of `workbench.panel` in a cell names."""
    with suppress(SyntaxError, ValueError):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "panel":
                return [a.value for a in node.args[1:] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return []


def bake(namespace: Mapping[str, Any]) -> None:
    """Run the cells that the record depends on over a grid of the parameters that the panel names, and leave the results as an output."""
    declared = runtime.declared_in(namespace)[0]
    names = next(filter(None, map(sliders, runtime.executed(namespace))), [])
    run = replay.touched(replay.cells(namespace), names)
    needed = replay.needed(run, [cell for cell in run if replay.RECORDED.search(cell.source)])
    if not needed:
        return

    def at(point: Sequence[float]) -> dict[str, float]:
        values = {n: int(v) if declared[n].type == "int" else float(v) for n, v in zip(names, point, strict=True)}
        space = {**namespace, **values}
        found: dict[str, float] = {}
        with suppress(InputError):  # nothing is feasible there
            for output in (o for cell in needed for o in cell.run(space)):
                scalars = output.get("data", {}).get(runtime.RESULTS_MIME, {}).get("scalars", {})
                found |= {k: float(f"{v:.6g}") for k, v in scalars.items() if type(v) in (int, float) and math.isfinite(v)}
        return found

    axes = [_axis(declared[name], namespace[name], NODES[len(names)]) for name in names]
    with replay.unpainted():
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
