"""The live panel: the declared parameters as controls, beside the answer and the pictures that they give."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from ipywidgets import HBox, Layout, Output, VBox

from workbench import catalogue, errors
from workbench.charts.render import MIME as VEGALITE
from workbench.errors import InputError
from workbench.notebook import parameters, runtime, surface
from workbench.notebook.parameters import Parameter
from workbench.notebook.surface import DRAWN, SAID, Cell, span


def panel(namespace: dict[str, Any], *sliders: str) -> None:
    """Show the parameters of the running notebook as controls that recompute its answer and pictures: ``panel(globals())``, second cell.

    A change runs again, in a namespace of its own, the cells below that depend on it. Nothing is shown, and nothing takes time, where no
    user is there: under papermill, in a sweep, under nbval.

    Parameters
    ----------
    namespace : dict
        ``globals()`` of the notebook, whose parameters cell has run.
    *sliders : str
        One to four numbers among the parameters that come first, and that the published page can move as well.

    Raises
    ------
    InputError
        For a name that is no number among the parameters, or more than four.

    Examples
    --------
    >>> cell = "n_chips: int = 8  # [chips] how many, 1..100"
    >>> panel({"In": ["", cell, "panel(globals())"], "n_chips": 8}, "n_chips")
    >>> panel({"In": ["", cell, "panel(globals())"], "n_chips": 8}, "chips")
    Traceback (most recent call last):
    workbench.errors.InputError: slider 'chips': expected one of the numbers among the parameters: n_chips
    """
    declared, _ = runtime.declared_in(namespace)
    numbers = [name for name, p in declared.items() if p.type in ("int", "float") and namespace.get(name, p.default) is not None]
    for name in sliders:
        if name not in numbers:
            raise InputError(f"slider {name!r}: expected one of the numbers among the parameters: {', '.join(numbers)}")
    if len(sliders) > 4:
        raise InputError(f"{len(sliders)} sliders: expected at most 4")
    if runtime.watched():
        from IPython.display import display

        display(Panel(namespace, sliders).box)


class Panel(anywidget.AnyWidget):
    """Controls, answer and pictures; `update` is what a change of a control does."""

    _esm = Path(__file__).parent / "templates" / "panel.js"
    parameters: Any = traitlets.List().tag(sync=True)

    def __init__(self, namespace: dict[str, Any], first: tuple[str, ...] = ()):
        self.namespace, self.declared = namespace, runtime.declared_in(namespace)[0]
        self.start = {name: namespace.get(name, p.default) for name, p in self.declared.items()}
        ordered = [*first, *(name for name in self.declared if name not in first)]
        super().__init__(parameters=[_control(self.declared[name], self.start[name], name in first) for name in ordered])
        self.answer, self.pictures = Output(), VBox()
        self.results = VBox([self.answer, self.pictures], layout=Layout(flex="1 1 500px"))
        self.layout = Layout(flex="0 0 340px")
        self.box = HBox([self, self.results], layout=Layout(flex_flow="row wrap"))
        self.update("", "")
        self.on_msg(lambda _, change, buffers: self.update(**change))

    def update(self, name: str, text: str) -> None:
        """Take what a control says, and show what follows, or why it is refused; of no control, all as the notebook ran."""
        begun = time.perf_counter()
        if not name:
            self.values, self.cells = dict(self.start), list[Cell]()
            self.moved, self.shown = set[str](), dict[Cell, list[dict[str, Any]]]()
            self._show([])
        else:
            self.values[name] = self.declared[name].from_text(text)
            self.moved.add(name)
            try:
                parameters.check(self.declared, {n: self.values[n] for n in self.moved}, self.values)
                for outputs in self._outputs():
                    self._show(outputs)
            except Exception as error:  # a refusal, or of the notebook's own lines
                said = str(error) if isinstance(error, InputError) else errors.said(error)
                self._show([({"output_type": "stream", "name": "stderr", "text": f"{said}\n"}, False)])
        self.send({"said": f"{1000 * (time.perf_counter() - begun):.0f} ms", "command": self.command()})

    def _show(self, outputs: list[tuple[dict[str, Any], bool]]) -> None:
        """Put outputs in their places, grey where they are of other values until what follows is there."""
        pictures = [(o, stale) for o, stale in outputs if "data" in o]
        if (n := len(self.pictures.children)) != len(pictures):
            self.pictures.children = [*self.pictures.children[: len(pictures)], *(Output() for _ in pictures[n:])]
        said = [(o, stale) for o, stale in outputs if "text" in o]
        shown = [(tuple(o for o, _ in said), any(stale for _, stale in said)), *(((o,), stale) for o, stale in pictures)]
        for place, (what, stale) in zip((self.answer, *self.pictures.children), shown, strict=True):
            place.outputs = what
            (place.add_class if stale else place.remove_class)("wb-stale")

    def _outputs(self) -> Iterator[list[tuple[dict[str, Any], bool]]]:
        """The answer and the pictures with the values of the controls, as outputs of a notebook, and whether they are of earlier values."""
        cells = surface.cells(self.namespace)
        if cells != self.cells:  # the notebook has run on: from what it holds now
            self.cells, self.stale, self.shown, self.space = cells, list[Cell](), {}, dict(self.namespace)
        new = surface.touched(cells, {n for n in self.moved if self.space.get(n) != self.values[n]})
        self.space |= {n: self.values[n] for n in self.moved}
        self.stale = [cell for cell in cells if cell in self.stale or cell in new]
        answer = next((cell for cell in cells if SAID.search(cell.source)), None)
        drawn = [cell for cell in self.stale if cell is answer or DRAWN.search(cell.source)]
        wanted = drawn or [cell for cell in new if SAID.search(cell.source)]  # what is only told
        for cell in surface.needed(self.stale, wanted):
            if cell in wanted:
                yield [(o, c in self.stale) for c in cells for o in self.shown.get(c, ())]
            with surface.unpainted():
                shown = cell.run(self.space)
            told = cell is answer or (cell in wanted and not drawn)
            self.shown[cell] = [o for o in shown if ("text" in o and told) or VEGALITE in o.get("data", {})]
            self.stale.remove(cell)
        yield [(o, c in self.stale) for c in cells for o in self.shown.get(c, ())]

    def command(self) -> str:
        """The run of the notebook that gives what the panel shows."""
        name = Path(os.environ.get("JPY_SESSION_NAME", "NOTEBOOK.ipynb"))
        shipped = name.parent.name in ("", "notebooks")
        given = [f"-p {shlex.quote(f'{n}={v}')}" for n, v in self.values.items() if v != self.start[n]]
        return " ".join(["workbench run", shlex.quote(name.stem if shipped else str(name)), *given])


def _control(p: Parameter, value: Any, first: bool) -> dict[str, Any]:
    """What the control of a parameter shows."""
    number = p.type in ("int", "float")
    group = "Sliders" if first else "Names and choices" if not number else "Money" if "USD" in p.unit else "Quantities"
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    about: dict[str, Any] = {"text": text, "rule": p.allowed, "shown_unit": p.shown_unit}
    about |= {"names": catalogue.names(p.table) if p.table else list(p.choices), "closed": bool(p.choices) and not p.optional}
    ends = span(p, value) if number and value is not None else (0.0, 0.0, False)
    return asdict(p) | about | {"group": group, "span": ends if ends[0] < ends[1] else None}
