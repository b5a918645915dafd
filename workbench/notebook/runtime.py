"""What a notebook calls: the check of its parameters, and the record of its results."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Mapping
from typing import Any

from workbench.errors import InputError
from workbench.notebook import parameters
from workbench.notebook.parameters import Parameter

RESULTS_MIME = "application/vnd.workbench.results.v1+json"  #: MIME type of the results stored in an executed notebook
DIGITS = 9  #: digits kept of a recorded number: enough for any use, few enough to be the same on every machine


def check_parameters(namespace: Mapping[str, Any]) -> None:
    """Check the parameters of the running notebook: call it as ``check_parameters(globals())`` in the second cell.

    It finds the parameters cell, and what papermill injected after it, among the cells that the kernel has run, and raises
    `ParameterError` naming each parameter that is not declared, of the wrong type or out of range.

    Examples
    --------
    >>> cell = "n_chips: int = 8  # [chips] how many, 1..100"
    >>> check_parameters({"In": ["", cell, "check_parameters(globals())"], "n_chips": 800})
    Traceback (most recent call last):
    workbench.notebook.parameters.ParameterError: another cell sets n_chips = 800: expected a whole number from 1 to 100 [chips] (how many)
    """
    declared, injected = declared_in(namespace)
    problems = []
    for name in dict.fromkeys([*declared, *injected]):
        if name in namespace:
            who = "papermill or the command line" if name in injected else "another cell"
            try:
                parameters.check(declared, {name: namespace[name]}, namespace)
            except parameters.ParameterError as error:
                problems.append(f"{who} sets {error}")
    if problems:
        raise parameters.ParameterError(problems)


def declared_in(namespace: Mapping[str, Any]) -> tuple[dict[str, Parameter], list[str]]:
    """Parameters of the notebook that runs, and the names that papermill has set. Raises `InputError` where no parameters cell has run."""
    declared, injected = dict[str, Parameter](), list[str]()
    for source in executed(namespace):
        if found := of_cell(source):
            declared, injected = found, []
        elif source.startswith("# Parameters\n"):
            assigned = (s for s in ast.parse(source).body if isinstance(s, ast.Assign))
            injected += [t.id for s in assigned for t in s.targets if isinstance(t, ast.Name)]
    if not declared:
        raise InputError("no parameters cell has run: run the cell tagged 'parameters' first")
    return declared, injected


def watched() -> bool:
    """Whether the running cell was sent by a front end with a user: runners allow no input."""
    from IPython import get_ipython

    parent: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
    return bool(parent.get("content", {}).get("allow_stdin"))


def executed(namespace: Mapping[str, Any]) -> list[str]:
    """Sources of the cells run so far: the history, or, where a runner keeps none (nbval), what the kernel keeps for tracebacks."""
    history = [source for source in namespace.get("In", []) if source]
    if len(history) > 1:  # the running cell itself is always there
        return history
    return ["".join(linecache.getlines(name)) for name in list(linecache.cache) if "ipykernel" in name]


def record(**results: Any) -> dict[str, Any]:
    """Store named results in the notebook, where a sweep collects them, and return them.

    Parameters
    ----------
    **results : number, text, bool, None or polars.DataFrame
        Scalars and frames by name. Numbers are stored with nine significant digits.

    Raises
    ------
    InputError
        For a value that is neither a scalar nor a frame, naming it.

    Examples
    --------
    >>> record(usd_per_chip_hour=2.33, training_days=119)
    {'usd_per_chip_hour': 2.33, 'training_days': 119}
    """
    scalars, frames = dict[str, Any](), dict[str, Any]()
    for name, value in results.items():
        if hasattr(value, "to_dicts") and hasattr(value, "columns"):
            frames[name] = {"columns": list(value.columns), "rows": [[_plain(name, v) for v in row] for row in value.rows()]}
        else:
            scalars[name] = _plain(name, value)
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is not None:
        text = f"recorded {len(scalars)} values and {len(frames)} frames: {', '.join(results)}"
        display({RESULTS_MIME: {"scalars": scalars, "frames": frames}, "text/plain": text}, raw=True)
    return results


def _plain(name: str, value: Any) -> Any:
    """`value` as JSON holds it, numbers rounded."""
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        value = value.item()
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    raise InputError(f"cannot record {name} = {type(value).__name__}: expected a number, text, bool, None or a polars frame")


def of_cell(source: str) -> dict[str, Parameter] | None:
    """Parameters that a cell declares, or None if it is no parameters cell."""
    statements = tree(source).body
    declares = statements and all(isinstance(s, ast.AnnAssign) for s in statements) and "# [" in source
    return parameters.declared(source) if declares else None


def tree(source: str) -> ast.Module:
    """What a cell says; nothing of one with magics."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def called(node: ast.AST) -> str:
    """Name of the function or method that is called there."""
    return ast.unparse(node.func).split(".")[-1] if isinstance(node, ast.Call) else ""


def calls(source: str, name: str) -> list[ast.Call]:
    """Calls of that name in a cell."""
    return [node for node in ast.walk(tree(source)) if isinstance(node, ast.Call) and called(node) == name]
