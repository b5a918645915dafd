"""Horizontal bars, one a row: how parts add up (waterfall), what changes the answer most (tornado), what totals consist of (stacked)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS, columns, figure, numbers, once, present
from workbench.checks import takes
from workbench.errors import InputError
from workbench.units import significant

HEIGHT, LINE = 34, 14  #: px of a row, and of a further line of its name
GAP = 6  #: px between a bar and its text


class Rows:
    """The vertical axis of rows, top to bottom, of names as `name` returns them, and the horizontal axis below their bars."""

    def __init__(self, names: Sequence[str]):
        lines = [line.split("\n") for line in names]
        self.width = theme.WIDTH - 22 - max(theme.pixels(line) for row in lines for line in row)  #: px of the plot
        self.height = len(names) * (HEIGHT + LINE * max(0, max(map(len, lines)) - 2))
        shift = alt.ExprRef(f"-{LINE / 2} * (length(split(datum.label, '\\n')) - 1)")  # centres a name of several lines
        texts: Any = {"labelExpr": "split(datum.label, '\\n')", "labelOffset": shift, "labelLineHeight": LINE}
        axis = alt.Axis(**texts, labelPadding=8, labelLimit=0, ticks=False, title=None)
        self.y = alt.Y("row:N", sort=list(names), axis=axis).scale(paddingInner=0.28, paddingOuter=0.14)

    def look(self, unit: str, points: Sequence[tuple[float, float, float]], **more: Any) -> dict[str, Any]:
        """Scale and axis in which every point (x, left, right) has its room: x in the unit of the axis, the room on either side in px.

        With k pixels a unit, points i and j fit if k (x_i - x_j) + right_i + left_j <= width: the tightest pair sets k. The axis is a line
        with few marks, so that nothing runs through the texts.
        """
        pairs = ((high - low, right + left) for high, _, right in points for low, left, _ in points if high > low)
        k = min((max(self.width - texts, self.width / 4) / apart for apart, texts in pairs), default=self.width)
        ends = min(x - left / k for x, left, _ in points), max(x + right / k for x, _, right in points)
        scale = alt.Scale(domain=[float(f"{end:.{DIGITS}g}") for end in ends], nice=False, **more)
        return {"scale": scale, "axis": alt.Axis(title=unit, tickCount=6, grid=False, domain=True)}


def room(text: str) -> float:
    """Pixels that `text` takes beside a bar."""
    return GAP + theme.pixels(text) + 2


KINDS = {"adds": theme.BLUE, "takes away": theme.ORANGE, "total": theme.INK}


def waterfall(
    frame: pl.DataFrame, *, label: str, value: str, title: str, subtitle: str, unit: str, total_label: str = "Total"
) -> alt.LayerChart:
    """Waterfall: one bar a part in the order of the frame, each starting where the last one ended, and the total below.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a part. The rest of what all pictures take is in the package's help.
    label, value : str
        Columns of the name of the part, and of what it adds [unit]; negative for what it takes away.
    total_label : str
        Name of the last bar.

    Examples
    --------
    >>> frame = pl.DataFrame({"part": ["capital", "power"], "cost": [1.5, 0.3]})
    >>> waterfall(frame, label="part", value="cost", unit="USD per chip-hour", title="Capital is most", subtitle="A guess").description
    'Capital is most. Waterfall chart in USD per chip-hour: capital 1.5 (83 %); power 0.3 (17 %); Total 1.8.'
    """
    bars = _bars(columns(frame, texts={"label": label}, values={"value": value}), total_label)
    rows = Rows(bars["row"].to_list())
    right = bars.select(x=pl.max_horizontal("start", "end"), text="text").rows()
    points = [*((x, 0.0, 0.0) for x in (0.0, *bars["start"], *bars["end"])), *((x, 0.0, room(text)) for x, text in right)]

    base = alt.Chart(bars).encode(y=rows.y)
    blocks = base.mark_bar(cornerRadius=1.5).encode(
        x=alt.X("start:Q", **rows.look(unit, points)),
        x2=alt.X2("end:Q"),
        color=alt.Color("kind:N", legend=None).scale(domain=list(KINDS), range=list(KINDS.values())),
        tooltip=[alt.Tooltip("label:N", title="part"), alt.Tooltip("text:N", title=unit)],
    )
    joints = base.transform_filter("datum.next !== null").mark_rule(color=theme.MUTED).encode(x=alt.X("end:Q"), y2=alt.Y2("next:N"))
    texts = base.transform_calculate(right="max(datum.start, datum.end)").mark_text(align="left", dx=GAP)
    texts = texts.encode(x=alt.X("right:Q"), text=alt.Text("text:N"))
    said = "; ".join(f"{part} {text}" for part, text in bars.select("label", "text").rows())
    chart = alt.LayerChart(layer=[joints, blocks, texts], width=rows.width, height=rows.height)
    return theme.finish(chart, title, subtitle, f"Waterfall chart in {unit}: {said}.")


def _bars(parts: pl.DataFrame, total_label: str) -> pl.DataFrame:
    """One row a bar: where it starts and ends, its text, and the row that its joint leads to."""
    if total_label in parts["label"]:
        raise InputError(f"total_label {total_label!r} is also the name of a part")
    labels, values = [*parts["label"], total_label], parts["value"].to_list()
    ends = parts["value"].cum_sum().round_sig_figs(DIGITS).to_list()
    texts = [figure(value) for value in values]
    if min(values) >= 0 and ends[-1] > 0:  # a share of gains and losses together says nothing
        texts = [f"{text} ({significant(100 * value / ends[-1], 2)} %)" for text, value in zip(texts, values, strict=True)]
    names = [theme.name(label) for label in labels]
    kinds = [*("adds" if value >= 0 else "takes away" for value in values), "total"]
    places = {"row": names, "label": labels, "kind": kinds, "start": [0.0, *ends[:-1], 0.0], "end": [*ends, ends[-1]]}
    return pl.DataFrame(places | {"text": [*texts, figure(ends[-1])], "next": [*names[1:], None]})


LOW, HIGH = "input at its low end", "input at its high end"


@takes()
def tornado(
    frame: pl.DataFrame, *, label: str, low: str, high: str, base: float, low_label: str, high_label: str, title: str, subtitle: str,
    unit: str,
) -> alt.LayerChart:  # fmt: skip
    """Tornado: the answer when one parameter at a time goes to either end of its range, sorted by the swing.

    Parameters
    ----------
    frame : polars.DataFrame
        One row per parameter. The rest of what all pictures take is in the package's help.
    label, low, high : str
        Columns of the name of the parameter, and of the answer with it at the low and at the high end of its range [unit].
    base : float
        The answer with every parameter at its own value [unit].
    low_label, high_label : str
        Columns of the text at either end: the value of the parameter there, with its unit.

    Examples
    --------
    >>> frame = pl.DataFrame({"input": ["price"], "low": [1.5], "high": [2.6], "from": ["$20 k"], "to": ["$40 k"]})
    >>> words = {"unit": "USD per chip-hour", "title": "Price decides", "subtitle": "A guess"}
    >>> tornado(frame, label="input", low="low", high="high", base=2.0, low_label="from", high_label="to", **words).description
    'Price decides. Tornado chart in USD per chip-hour, base 2: price from $20 k to $40 k: 1.5 to 2.6.'
    """
    if not math.isfinite(base):
        raise InputError(f"base = {base}: expected a finite number [{unit}]")
    base = float(f"{base:.{DIGITS}g}")
    texts, ends = {"label": label, "low_text": low_label, "high_text": high_label}, (pl.lit(base), pl.col("low"), pl.col("high"))
    frame = columns(frame, texts=texts, values={"low": low, "high": high})
    answers = frame.sort(pl.max_horizontal(ends) - pl.min_horizontal(ends), descending=True, maintain_order=True).to_dicts()
    bars = [half for answer in answers for half in _halves(answer, base)]
    rows = Rows([theme.name(answer["label"]) for answer in answers])
    points = [(x, 0.0, 0.0) for bar in bars for x in (base, bar["answer"])]
    points += [(b["anchor"], *((0.0, room(b["text"])) if b["right"] else (room(b["text"]), 0.0))) for b in bars]

    chart = alt.Chart(pl.DataFrame(bars)).encode(y=rows.y)
    one = theme.chosen("end")
    blocks = (
        chart.mark_bar(cornerRadius=1.5)
        .add_params(one["pick"])
        .properties(name="halves")
        .encode(
            opacity=one["opacity"],
            x=alt.X("base:Q", **rows.look(unit, points, zero=False)),
            x2=alt.X2("answer:Q"),
            color=alt.Color("end:N", title=None).scale(domain=[LOW, HIGH], range=[theme.BLUE, theme.ORANGE]),
            tooltip=[alt.Tooltip("label:N", title="parameter"), alt.Tooltip("text:N", title="set to"), alt.Tooltip("figure:N", title=unit)],
        )
    )
    anchor = alt.X("anchor:Q", axis=None)
    on_right = chart.transform_filter("datum.right").mark_text(align="left", dx=GAP).encode(x=anchor, text=alt.Text("text:N"))
    on_left = chart.transform_filter("!datum.right").mark_text(align="right", dx=-GAP).encode(x=anchor, text=alt.Text("text:N"))
    above = alt.Axis(orient="top", values=[base], labelExpr=f"'base {figure(base)}'", title=None, grid=False, ticks=False)
    line = alt.Chart(pl.DataFrame({"base": [base]})).mark_rule(color=theme.INK, strokeWidth=1.5)
    line = line.encode(x=alt.X("base:Q", axis=above))
    said = "; ".join(f"{a['label']} from {a['low_text']} to {a['high_text']}: {figure(a['low'])} to {figure(a['high'])}" for a in answers)
    layers = alt.LayerChart(layer=[blocks, on_right, on_left, line], width=rows.width, height=rows.height).resolve_axis(x="independent")
    return theme.finish(layers, title, subtitle, f"Tornado chart in {unit}, base {figure(base)}: {said}.")


def _halves(answer: dict[str, Any], base: float) -> list[dict[str, Any]]:
    """The two bars of a parameter, the shorter last so that it is drawn on top, and where the text of each is.

    A text is outside the end of its bar. Where both ends move the answer the same way, the text of the shorter bar is on the empty side.
    """
    ends = [(LOW, answer["low"], answer["low_text"]), (HIGH, answer["high"], answer["high_text"])]
    longer, shorter = sorted(ends, key=lambda end: -abs(end[1] - base))
    on_right = longer[1] > base or (longer[1] == base and longer[0] == HIGH)
    halves = []
    for (end, value, text), right in ((longer, on_right), (shorter, not on_right)):
        of_both = {"row": theme.name(answer["label"]), "label": answer["label"], "base": base}
        anchor = max(value, base) if right else min(value, base)
        halves.append(of_both | {"end": end, "answer": value, "figure": figure(value), "text": text, "anchor": anchor, "right": right})
    return halves


ALONE, TOGETHER = "alone (first order)", "with others (to total)"


def stacked(frame: pl.DataFrame, *, label: str, part: str, value: str, title: str, subtitle: str, unit: str) -> alt.LayerChart:
    """Stacked bars, in the order of the frame.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a bar and part. The rest of what all pictures take is in the package's help.
    label, part, value : str
        Columns of the name of the bar, of the part, and of its size [unit], 0 or more.

    Examples
    --------
    >>> frame = pl.DataFrame({"chip": ["H100", "H100"], "part": ["capital", "power"], "cost": [1.5, 0.3]})
    >>> words = {"unit": "USD per chip-hour", "title": "Capital is most", "subtitle": "A guess"}
    >>> stacked(frame, label="chip", part="part", value="cost", **words).description
    'Capital is most. Stacked bars in USD per chip-hour: H100: 1.8, most of it capital (1.5).'
    """
    present(frame, label, part, value)
    sizes = numbers(frame, value, lambda v: v >= 0, "is no size of a part").alias("value")
    data = frame.select(pl.col(label).cast(pl.String).alias("label"), pl.col(part).cast(pl.String).alias("part"), sizes)
    once(data, "label", "part")
    parts = data["part"].unique(maintain_order=True).to_list()
    color = theme.color("part", parts, "parts", title=None, sort=parts, legend=alt.Legend(columns=4))
    end = pl.col("value").cum_sum().over("label")
    data = data.with_columns(end=end.round_sig_figs(DIGITS), start=(end - pl.col("value")).clip(0).round_sig_figs(DIGITS)).with_columns(
        row=pl.col("label").map_elements(theme.name, return_dtype=pl.String),
        figure=pl.col("value").map_elements(figure, return_dtype=pl.String),
    )
    totals = data.group_by("label", "row", maintain_order=True).agg(pl.col("value").sum().round_sig_figs(DIGITS).alias("total"))
    totals = totals.with_columns(text=pl.col("total").map_elements(figure, return_dtype=pl.String))
    rows = Rows(totals["row"].to_list())
    points = [(0.0, 0.0, 0.0), *((total, 0.0, room(text)) for total, text in totals.select("total", "text").rows())]
    look = rows.look(unit, points, zero=False)
    one = theme.chosen("part")
    bars = alt.Chart(data, name="parts").mark_bar().add_params(one["pick"])
    tooltip = [alt.Tooltip("label:N"), alt.Tooltip("part:N"), alt.Tooltip("figure:N", title=unit)]
    bars = bars.encode(y=rows.y, x=alt.X("start:Q", **look), x2=alt.X2("end:Q"), color=color, opacity=one["opacity"], tooltip=tooltip)
    largest = data.sort("value", descending=True, maintain_order=True).group_by("label", maintain_order=True).first()
    told = totals.join(largest, on="label", how="left", maintain_order="left").select("label", "text", "part", "figure").rows()
    said = "; ".join(f"{label}: {all_}" + f", most of it {part} ({of})" * (of != all_) for label, all_, part, of in told)
    texts = alt.Chart(totals).mark_text(align="left", dx=GAP).encode(y=rows.y, x=alt.X("total:Q", **look), text=alt.Text("text:N"))
    chart = alt.LayerChart(layer=[bars, texts], width=rows.width, height=rows.height)
    return theme.finish(chart, title, subtitle, f"Stacked bars in {unit}: {said}.")


def indices(frame: pl.DataFrame, *, title: str, subtitle: str, of: str = "the answer") -> alt.LayerChart:
    """Bars to the total-order index of each input, the largest on top, divided where its first-order index ends.

    Sampling errors can put an estimate below 0, or a first-order index above its total: the bar ends at that bound.

    Parameters
    ----------
    frame : polars.DataFrame
        One row per input, in the columns of `uncertainty.Indices.frame`: input, first_order, total_order.
    of : str
        Whose variance is shared out, as the axis shows it: ``"ln(demand / supply)"``.

    Examples
    --------
    >>> frame = pl.DataFrame({"input": ["price"], "first_order": [0.6], "total_order": [0.7]})
    >>> indices(frame, title="Price decides", subtitle="A guess", of="cost").description
    'Price decides. Stacked bars in share of the variance of cost: price: 0.7, most of it alone (first order) (0.6).'
    """
    data = columns(frame, texts={"label": "input"}, values={"first": "first_order", "total": "total_order"})
    whole = pl.col("total").clip(0)
    alone = pl.min_horizontal(pl.col("first").clip(0), whole)
    ordered, values = data.sort("total", descending=True, maintain_order=True), pl.concat_list(alone, whole - alone)
    bars = ordered.select("label", part=[ALONE, TOGETHER], value=values).explode("part", "value")
    unit = f"share of the variance of {of}"
    return stacked(bars, label="label", part="part", value="value", title=title, subtitle=subtitle, unit=unit)
