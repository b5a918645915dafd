"""The live panel: the declared parameters as controls, beside the answer and the pictures that they give."""

from __future__ import annotations

import html
import math
import os
import shlex
import time
from pathlib import Path
from typing import Any

from workbench import catalogue, errors
from workbench.charts.render import MIME as VEGALITE
from workbench.errors import InputError
from workbench.notebook import parameters, replay, runtime
from workbench.notebook.parameters import Parameter
from workbench.notebook.replay import DRAWN, SAID, Cell

#: A slider spans this factor on either side of the value, within the declared range.
FACTOR = 4.0
STEP = 0.01  #: of a slider that moves by ratio [decades]
STYLE = "<style>.wb-stale { opacity: .35; }</style>"


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


class Panel:
    """Controls, answer and pictures; `update` is what a change of a control does."""

    def __init__(self, namespace: dict[str, Any], first: tuple[str, ...] = ()):
        import ipywidgets as w

        self.namespace, self.declared = namespace, runtime.declared_in(namespace)[0]
        self.start = {name: namespace.get(name, p.default) for name, p in self.declared.items()}
        self.values, self.moved = dict(self.start), set[str]()
        self.cells: list[Cell] = []
        self.stale: list[Cell] = []  #: cells to run again before they are seen
        self.shown: dict[Cell, list[dict[str, Any]]] = {}  #: what those that were run again show
        controls = {name: _control(p, self.start[name]) for name, p in self.declared.items()}
        self.entries = {name: entry for name, (_, entry) in controls.items()}
        for name, entry in self.entries.items():
            entry.observe(lambda change, name=name: self.update(name, change["new"]), "value")
        groups: dict[str, list[Any]] = {"Sliders": [controls[name][0] for name in first]}
        for name in (name for name in self.declared if name not in first):
            p = self.declared[name]
            title = "Names and choices" if p.type in ("str", "bool") else "Money" if "USD" in p.unit else "Quantities"
            groups.setdefault(title, []).append(controls[name][0])
        groups = {title: boxes for title, boxes in groups.items() if boxes}
        folds = w.Accordion([w.VBox(boxes) for boxes in groups.values()], titles=list(groups), selected_index=0)
        again, share = w.Button(description="Reset"), w.Button(description="Command line")
        again.on_click(lambda _: self.reset())
        self.said: Any = w.HTML("Move a control: the answer and the pictures follow.")
        share.on_click(lambda _: setattr(self.said, "value", f"<code>{html.escape(self.command())}</code>"))
        self.answer, self.pictures = w.Output(), w.VBox()
        self.results = w.VBox([self.answer, self.pictures], layout=w.Layout(flex="1 1 500px"))
        left = w.VBox([folds, w.HBox([again, share]), self.said], layout=w.Layout(flex="0 0 360px"))
        self.box = w.HBox([w.HTML(STYLE), left, self.results], layout=w.Layout(flex_flow="row wrap"))

    def update(self, name: str, entered: Any) -> None:
        """Take the value of a control, and show what follows, or why it is refused."""
        p = self.declared[name]
        value = p.from_text(entered) if isinstance(entered, str) else entered
        self.values[name] = value
        self.moved.add(name)
        self.results.add_class("wb-stale")  # what is seen is of other values, until what follows is there
        begun = time.perf_counter()
        try:
            parameters.check(self.declared, {n: self.values[n] for n in self.moved})
            outputs = self.outputs(name)
        except InputError as error:
            outputs = [_refused(str(error))]
        except Exception as error:  # of the notebook's own lines
            outputs = [_refused(errors.said(error))]
        self._show(outputs)
        self.results.remove_class("wb-stale")
        self.said.value = f"{1000 * (time.perf_counter() - begun):.0f} ms"

    def outputs(self, name: str) -> list[dict[str, Any]]:
        """The answer and the pictures with the values of the controls, of which `name` is new, as outputs of a notebook."""
        cells = replay.cells(self.namespace)
        if cells != self.cells:  # the notebook has run on: from what it holds now
            self.cells, self.stale, self.shown = cells, replay.touched(cells, self.moved), {}
            self.space = {**self.namespace, **{n: self.values[n] for n in self.moved}}
        self.space[name] = self.values[name]
        new = replay.touched(cells, {name})
        self.stale = [cell for cell in cells if cell in self.stale or cell in new]
        answer = next((cell for cell in cells if SAID.search(cell.source)), None)
        wanted = [cell for cell in self.stale if cell is answer or DRAWN.search(cell.source)]
        with replay.unpainted():
            for cell in replay.needed(self.stale, wanted):
                shown = cell.run(self.space)
                self.shown[cell] = [o for o in shown if ("text" in o and cell is answer) or VEGALITE in o.get("data", {})]
                self.stale.remove(cell)
        return [o for cell in cells for o in self.shown.get(cell, ())]

    def _show(self, outputs: list[dict[str, Any]]) -> None:
        from ipywidgets import Output

        pictures = [o for o in outputs if "data" in o]
        self.answer.outputs = tuple(o for o in outputs if "text" in o)
        if len(self.pictures.children) != len(pictures):
            self.pictures.children = [Output() for _ in pictures]
        for place, picture in zip(self.pictures.children, pictures, strict=True):
            place.outputs = (picture,)

    def reset(self) -> None:
        """Every control as the notebook ran."""
        for name in list(self.moved):
            _put(self.entries[name], self.start[name])
        self.moved.clear()
        self._show([])

    def command(self) -> str:
        """The run of the notebook that gives what the panel shows."""
        name = Path(os.environ.get("JPY_SESSION_NAME", "NOTEBOOK.ipynb"))
        shipped = name.parent.name in ("", "notebooks")
        given = [f"-p {shlex.quote(f'{n}={v}')}" for n, v in self.values.items() if v != self.start[n]]
        return " ".join(["workbench run", shlex.quote(name.stem if shipped else str(name)), *given])


def _refused(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stderr", "text": f"{text}\n"}


def _put(entry: Any, value: Any) -> None:
    """Set a control, of text or of its value's own type."""
    text = "None" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)
    entry.value = text if isinstance(entry.value, str) else value


def _control(p: Parameter, value: Any) -> tuple[Any, Any]:
    """What is seen of a parameter, and the widget whose value is its value."""
    import ipywidgets as w

    wide, number = {"layout": w.Layout(width="190px")}, p.type in ("int", "float")
    short = {"layout": w.Layout(width="100px")} if number else wide
    if p.type == "bool":
        entry: Any = w.Checkbox(value=value, indent=False)
    elif p.choices and not p.optional:
        entry = w.Dropdown(options=p.choices, value=str(value), **wide)
    elif p.table:
        entry = w.Combobox(options=catalogue.names(p.table), continuous_update=False, **wide)
    elif p.optional or p.type == "str" or (p.type == "float" and value and not 1e-3 <= abs(value) < 1e6):
        entry = w.Text(continuous_update=False, **short)
    else:
        entry = (w.IntText if p.type == "int" else w.FloatText)(**short)
    _put(entry, value)
    slider = _slider(p, value, entry) if number and value is not None else []
    head = w.HTML(f"<div style='line-height:1.3'><b>{html.escape(p.name)}</b> {html.escape(p.meaning)}</div>")
    return w.VBox([head, w.HBox([*slider, entry, w.Label(p.shown_unit)])]), entry


def _slider(p: Parameter, value: float, entry: Any) -> list[Any]:
    """A slider beside the number, over its `span`, with a step that meets the value; none where the span is a point."""
    import ipywidgets as w

    low, high, log = span(p, value)
    if not low < high:
        return []
    wide: dict[str, Any] = {"readout": False, "layout": w.Layout(width="150px")}
    if log:
        at, ends = math.log10(value), (math.log10(low), math.log10(high))
        down, up = (int(abs(end - at) / STEP) * STEP for end in ends)
        slider = w.FloatLogSlider(value, base=10, min=at - down, max=at + up, step=STEP, **wide)
    else:
        slider = w.FloatSlider(value, min=low, max=high, step=((value - low) or (high - low)) / 100, **wide)

    def follow(change: dict[str, Any]) -> None:
        rounded = float(f"{change['new']:.3g}")
        near = math.isclose(change["new"], value, rel_tol=1e-6)  # a slider says so when it is first seen
        _put(entry, value if near else round(rounded) if p.type == "int" else rounded)

    slider.observe(follow, "value")
    return [slider]


def span(p: Parameter, value: float) -> tuple[float, float, bool]:
    """Ends of a slider of a parameter, and whether it moves by ratio: `FACTOR` on either side, within what is declared."""
    low, high = (end if end is not None else math.copysign(math.inf, sign) for end, sign in ((p.low, -1), (p.high, 1)))
    if value > 0:
        low, high = max(low, value / FACTOR), min(high, value * FACTOR)
    else:
        low, high = max(low, -1.0), min(high, 1.0)
    return low, high, low > 0 and high / low > FACTOR
