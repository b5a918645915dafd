"""A cost waterfall: how the parts add up to the total."""

from __future__ import annotations

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS, columns, figure
from workbench.charts.rows import GAP, Rows, name, room
from workbench.errors import InputError
from workbench.units import significant

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
        x2="end:Q",
        color=alt.Color("kind:N", legend=None).scale(domain=list(KINDS), range=list(KINDS.values())),
        tooltip=[alt.Tooltip("label:N", title="part"), alt.Tooltip("text:N", title=unit)],
    )
    joints = base.transform_filter("datum.next !== null").mark_rule(color=theme.MUTED).encode(x="end:Q", y2="next:N")
    texts = base.transform_calculate(right="max(datum.start, datum.end)").mark_text(align="left", dx=GAP)
    texts = texts.encode(x="right:Q", text="text:N")
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
    names = [name(label) for label in labels]
    return pl.DataFrame(
        {
            "row": names,
            "label": labels,
            "kind": [*("adds" if value >= 0 else "takes away" for value in values), "total"],
            "start": [0.0, *ends[:-1], 0.0],
            "end": [*ends, ends[-1]],
            "text": [*texts, figure(ends[-1])],
            "next": [*names[1:], None],
        }
    )
