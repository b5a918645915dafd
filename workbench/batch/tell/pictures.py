"""Which pictures tell a sweep, and how its page holds them."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import polars as pl
from markupsafe import Markup

from workbench import charts
from workbench.batch.tell import findings
from workbench.batch.tell.outcome import Outcome
from workbench.batch.tell.words import label
from workbench.charts.render import SCHEMA, paint
from workbench.charts.runs import heatmap, multiples
from workbench.charts.varied import Varied, sample

MARKED, DRAWN = 60, 1_000  #: points of a line that are marked one by one, and that are drawn
BLOCK = 64  #: values of a block of data
PANELS, TEXTS = 9, 24  #: parameters that one picture shows, and texts that an axis does


def figure(chart: alt.LayerChart | alt.ConcatChart, store: Columns, picture: bool) -> dict[str, Any]:
    """A chart as the page holds it: its title as text that wraps, its data by column, its picture for who has no scripts."""
    spec = chart.to_dict(validate=False)
    title = spec.pop("title")
    figure = {"title": " ".join(title["text"]), "subtitle": " ".join(title["subtitle"]), "alt": spec["description"]}
    if picture:
        png = paint(spec, scale=1)
        figure |= {"picture": base64.b64encode(png).decode(), "width": struct.unpack(">I", png[16:20])[0]}
    spec["$schema"] = SCHEMA
    spec["datasets"] = {key: store.keep(rows) for key, rows in spec["datasets"].items()}
    return figure | {"spec": script(spec)}


@dataclass
class Columns:
    """Columns of the data of all charts in blocks, each kept once: charts of several results share the most."""

    blocks: list[list[Any]] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)

    def keep(self, rows: list[dict[str, Any]]) -> dict[str, list[int]]:
        """Numbers of the blocks of each column."""
        return {name: [self._number([row[name] for row in rows[i : i + BLOCK]]) for i in range(0, len(rows), BLOCK)] for name in rows[0]}

    def _number(self, block: list[Any]) -> int:
        key = json.dumps(block)
        if key not in self.known:
            self.known[key] = len(self.blocks)
            self.blocks.append(block)
        return self.known[key]


def of(sweep: Outcome, name: str) -> list[alt.LayerChart | alt.ConcatChart]:
    """The picture that fits the shape of the sweep: a line, a heat map, or small multiples."""
    axes = {f"params.{p}": str(sweep.label(p)) for p in sweep.swept}
    columns = {c: Varied.of(sweep.runs, c, text) for c, text in axes.items()}
    axes = {c: text for c, text in axes.items() if columns[c].numeric or columns[c].count <= TEXTS}
    result, unit = f"results.{name}", label(name)
    if not axes:
        return []
    by = {e.name: e for e in findings.effects(sweep, name)}
    ranked = dict(sorted(axes.items(), key=lambda a: -by[n].share if (n := a[0].removeprefix("params.")) in by else 1))
    source = f"{sweep.done.height:,} runs of {sweep.name}."
    first, top = next(iter(axes)), next(iter(ranked))
    common: dict[str, Any] = {"value": result, "unit": str(unit), "row": "run"}
    if len(sweep.swept) == 1 and columns[first].numeric:
        return [_line(sweep, name, first, axes[first])]
    if len(sweep.swept) == 1:
        return [multiples(sweep.runs, axes=axes, title=f"{name} by {first.removeprefix('params.')}", subtitle=source, **common)]
    moved = (
        f"{top.removeprefix('params.')} moves {name} most"
        if by and findings.tells(max(by.values(), key=lambda e: e.share))
        else f"No parameter alone moves {name}"
    )
    if len(sweep.swept) == 2 and len(axes) == 2:
        x, y = sorted(axes, key=lambda c: -columns[c].count)
        if columns[x].count * columns[y].count <= 2 * sweep.count:
            moved = f"{name} over {x.removeprefix('params.')} and {y.removeprefix('params.')}" if not by else moved
            return [
                heatmap(sweep.runs, x=x, y=y, value=result, x_unit=axes[x], y_unit=axes[y], unit=str(unit), title=moved, subtitle=source)
            ]
    panels = dict(list(ranked.items())[:PANELS])
    source += " The line is the median of neighbours, the band their middle four fifths. Draw a rectangle to follow its runs."
    source += " Ticks at the foot are runs that gave none." if sweep.failed.height else ""
    source += f" The {PANELS} of {len(sweep.swept)} parameters that move it most." if len(sweep.swept) > PANELS else ""
    return [multiples(sweep.runs, axes=panels, title=moved, subtitle=source, **common)]


def _line(sweep: Outcome, name: str, column: str, axis: str) -> alt.LayerChart:
    """The result along one parameter."""
    result, unit = f"results.{name}", label(name)
    good = sweep.runs.filter(pl.col(result).is_not_null()).sort(column)
    drawn = good[sample(good[result], DRAWN)]
    data = drawn.select(x=column, y=result, name=pl.lit(unit.text if len(unit.text) < 24 else ""))
    x, y = Varied.of(drawn, column, axis), Varied.of(drawn, result, name)
    subtitle = f"{good.height:,} runs of {sweep.name}."
    if drawn.height < good.height:
        subtitle += f" {drawn.height:,} of them are drawn, the lowest and the highest among them."
    if missing := sweep.runs.height - good.height:
        subtitle += f" {missing:,} runs gave none."
    title = str(findings.sentences(sweep, name)[-1].striptags()).rstrip(".")
    title = f"{name}: {title[0].lower()}{title[1:]}"
    return charts.lines(
        data,
        x="x",
        y="y",
        series="name",
        x_unit=axis,
        y_unit=str(unit),
        x_log=x.log,
        y_log=y.log,
        title=title,
        subtitle=subtitle,
        points=data if data.height <= MARKED else None,
    )


def script(value: Any) -> Markup:
    """JSON as it stands in a script element: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))
