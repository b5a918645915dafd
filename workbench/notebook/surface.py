"""What a page can move without a kernel: recorded results over a grid of a few parameters, and how wrong what lies between is."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product
from typing import Any

import numpy as np

from workbench.errors import InputError
from workbench.notebook import replay, runtime
from workbench.notebook.panel import span
from workbench.notebook.parameters import Parameter

MIME = "application/vnd.workbench.surface.v1+json"
#: Nodes of each axis, by the number of axes. The surface is compared with the notebook in the middle of each cell, where it is off most.
NODES = {1: 17, 2: 7, 3: 5, 4: 3}
#: Error beyond which a result is no surface, the share by which the largest one seen is raised, and most results.
WORST, MARGIN, MOST = 0.1, 1.25, 8


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
                found |= {k: v for k, v in scalars.items() if type(v) in (int, float)}
        return found

    axes = [_axis(declared[name], namespace[name], NODES[len(names)]) for name in names]
    with replay.unpainted():
        grid = [at(point) for point in product(*(axis["nodes"] for axis in axes))]
        tried = np.array([*product(*map(_middles, axes))])
        seen = [at(point) for point in tried]
    recorded = dict.fromkeys(name for found in grid for name in found if name not in names)
    results = [r for name in recorded if (r := _result(name, axes, grid, tried, seen))][:MOST]
    if results:
        from IPython.display import display

        display({MIME: {"axes": axes, "results": results, "tried": len(tried)}, "text/plain": f"{len(results)} surfaces"}, raw=True)


def _axis(p: Parameter, value: float, n: int) -> dict[str, Any]:
    """`n` nodes over the span of a slider, the notebook's own value among them."""
    low, high, log = span(p, value)
    nodes = (np.geomspace if log else np.linspace)(low, high, n)
    nodes[1 + int(np.argmin(np.abs(nodes[1:-1] - value)))] = value
    nodes = np.unique(np.round(nodes) if p.type == "int" else [float(f"{x:.6g}") for x in nodes])
    about = {"name": p.name, "meaning": p.meaning, "unit": p.shown_unit, "log": log, "whole": p.type == "int", "value": value}
    return about | {"nodes": nodes.tolist()}


def _middles(axis: Mapping[str, Any]) -> list[float]:
    """Values in the middle between the nodes of an axis."""
    nodes = np.array(axis["nodes"])
    middles = np.sqrt(nodes[1:] * nodes[:-1]) if axis["log"] else (nodes[1:] + nodes[:-1]) / 2
    return list((np.round(middles) if axis["whole"] else middles).tolist())


def _result(
    name: str, axes: list[dict[str, Any]], grid: list[dict[str, float]], tried: Any, seen: list[dict[str, float]]
) -> dict[str, Any] | None:
    """The surface of a result, by ratio where it is positive, and its largest error; none where it does not move, or has steps."""
    from scipy.interpolate import RegularGridInterpolator

    values, truth = (np.array([found.get(name, np.nan) for found in where], dtype=float) for where in (grid, seen))
    low, high = np.nanmin(values), np.nanmax(values)
    if not high - low > 1e-6 * max(abs(low), abs(high)):
        return None
    log = bool(low > 0)
    nodes = [np.log(axis["nodes"]) if axis["log"] else np.array(axis["nodes"]) for axis in axes]
    surface = (np.log(values) if log else values).reshape([len(n) for n in nodes])
    at = np.transpose([np.log(u) if axis["log"] else u for axis, u in zip(axes, tried.T, strict=True)])
    found = RegularGridInterpolator(nodes, surface, bounds_error=False, fill_value=None)(at)
    off = np.abs(np.exp(found) / truth - 1) if log else np.abs(found - truth) / (high - low)
    error = MARGIN * float(np.nanmax(off)) if np.isfinite(off).any() else np.inf
    if error > WORST:
        return None
    rounded = [None if np.isnan(v) else float(f"{v:.6g}") for v in values]
    return {"name": name, "log": log, "error": max(1e-5, float(f"{error:.2g}")), "values": rounded}
