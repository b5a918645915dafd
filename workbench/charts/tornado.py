"""What changes the answer most: one bar a parameter, the longest on top."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS, columns, figure
from workbench.charts.rows import GAP, Rows, name, room
from workbench.errors import InputError

LOW, HIGH = "input at its low end", "input at its high end"


def tornado(
    frame: pl.DataFrame, *, label: str, low: str, high: str, base: float, low_label: str, high_label: str, title: str, subtitle: str,
    unit: str,
) -> alt.LayerChart:  # fmt: skip
    """Tornado: the answer when one parameter at a time goes to either end of its range, sorted by the swing.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a parameter. The rest of what all pictures take is in the package's help.
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
    rows = Rows([name(answer["label"]) for answer in answers])
    points = [(x, 0.0, 0.0) for bar in bars for x in (base, bar["answer"])]
    points += [(b["anchor"], *((0.0, room(b["text"])) if b["right"] else (room(b["text"]), 0.0))) for b in bars]

    chart = alt.Chart(pl.DataFrame(bars)).encode(y=rows.y)
    blocks = chart.mark_bar(cornerRadius=1.5).encode(
        x=alt.X("base:Q", **rows.look(unit, points, zero=False)),
        x2="answer:Q",
        color=alt.Color("end:N", title=None).scale(domain=[LOW, HIGH], range=[theme.BLUE, theme.ORANGE]),
        tooltip=[alt.Tooltip("label:N", title="parameter"), alt.Tooltip("text:N", title="set to"), alt.Tooltip("figure:N", title=unit)],
    )
    anchor = alt.X("anchor:Q", axis=None)
    on_right = chart.transform_filter("datum.right").mark_text(align="left", dx=GAP).encode(x=anchor, text="text:N")
    on_left = chart.transform_filter("!datum.right").mark_text(align="right", dx=-GAP).encode(x=anchor, text="text:N")
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
        of_both = {"row": name(answer["label"]), "label": answer["label"], "base": base}
        anchor = max(value, base) if right else min(value, base)
        halves.append(of_both | {"end": end, "answer": value, "figure": figure(value), "text": text, "anchor": anchor, "right": right})
    return halves
