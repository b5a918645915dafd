"""What a total consists of: one bar a row, its parts side by side, the total at its end; and Sobol indices, one bar an input."""

from __future__ import annotations

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS, columns, figure, once, present
from workbench.charts.rows import GAP, Rows, name, room, value_axis
from workbench.errors import InputError

ALONE, TOGETHER = "alone (first order)", "with others (to total)"


def stacked(frame: pl.DataFrame, *, label: str, part: str, value: str, title: str, subtitle: str, unit: str) -> alt.LayerChart:
    """Stacked bars, in the order of the frame.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a bar and part.
    label, part, value : str
        Columns of the name of the bar, of the part, and of its size [unit], 0 or more; at most eight parts.
    title, subtitle : str
        The finding; its source.
    unit : str
        Of the values, as the axis shows it.

    Raises
    ------
    InputError
        For a column that is missing, sizes that are negative or not finite, a part twice in a bar, or too many parts.

    Examples
    --------
    >>> frame = pl.DataFrame({"chip": ["H100", "H100"], "part": ["capital", "power"], "cost": [1.5, 0.3]})
    >>> words = {"unit": "USD per chip-hour", "title": "Capital is most", "subtitle": "A guess"}
    >>> stacked(frame, label="chip", part="part", value="cost", **words).description
    'Capital is most. Stacked bars in USD per chip-hour: H100: 1.8, most of it capital (1.5).'
    """
    present(frame, label, part, value)
    data = frame.select(
        pl.col(label).cast(pl.String).alias("label"),
        pl.col(part).cast(pl.String).alias("part"),
        pl.col(value).cast(pl.Float64).alias("value"),
    )
    for row, number in enumerate(data["value"]):
        if number is None or not 0 <= number < float("inf"):
            raise InputError(f"column {value!r}, row {row}: {number} is no size of a part")
    once(data, "label", "part")
    names, parts = data["label"].unique(maintain_order=True).to_list(), data["part"].unique(maintain_order=True).to_list()
    color = theme.color("part", parts, "parts", title=None, sort=parts, legend=alt.Legend(columns=4))
    end = pl.col("value").cum_sum().over("label")
    data = data.with_columns(end=end.round_sig_figs(DIGITS), start=(end - pl.col("value")).clip(0).round_sig_figs(DIGITS)).with_columns(
        row=pl.col("label").map_elements(name, return_dtype=pl.String), figure=pl.col("value").map_elements(figure, return_dtype=pl.String)
    )
    totals = data.group_by("label", "row", maintain_order=True).agg(pl.col("value").sum().round_sig_figs(DIGITS).alias("total"))
    totals = totals.with_columns(text=pl.col("total").map_elements(figure, return_dtype=pl.String))
    rows = Rows([name(n) for n in names])
    ends = [(0.0, 0.0, 0.0), *((row["total"], 0.0, room(row["text"])) for row in totals.iter_rows(named=True))]
    scale = alt.Scale(domain=rows.domain(ends), nice=False, zero=False)
    axis = value_axis(unit)
    tooltip = [alt.Tooltip("label:N"), alt.Tooltip("part:N"), alt.Tooltip("figure:N", title=unit)]
    bars = alt.Chart(data).mark_bar()
    bars = bars.encode(y=rows.y, x=alt.X("start:Q", scale=scale, axis=axis), x2="end:Q", color=color, tooltip=tooltip)
    largest = [data.filter(pl.col("label") == n).sort("value", descending=True).row(0, named=True) for n in names]
    said = "; ".join(
        f"{p['label']}: {text}, most of it {p['part']} ({p['figure']})" for p, text in zip(largest, totals["text"], strict=True)
    )
    text = alt.Chart(totals).mark_text(align="left", dx=GAP)
    text = text.encode(y=rows.y, x=alt.X("total:Q", scale=scale, axis=axis), text="text:N")
    chart = alt.LayerChart(layer=[bars, text], width=rows.width, height=rows.height)
    return theme.finish(chart, title=title, subtitle=subtitle, description=f"{title}. Stacked bars in {unit}: {said}.")


def indices(frame: pl.DataFrame, *, title: str, subtitle: str, of: str = "the answer") -> alt.LayerChart:
    """Bars to the total-order index of each input, the largest on top, divided where its first-order index ends.

    Sampling errors can put an estimate below 0, or a first-order index above its total: the bar ends at that bound.

    Parameters
    ----------
    frame : polars.DataFrame
        One row an input, in the columns of `uncertainty.Indices.frame`: input, first_order, total_order.
    title, subtitle : str
        The finding; its source, or how it was found.
    of : str
        Whose variance is shared out, as the axis shows it: ``"ln(demand / supply)"``.

    Raises
    ------
    InputError
        For a column that is missing, values that cannot be drawn, or an input given twice.

    Examples
    --------
    >>> frame = pl.DataFrame({"input": ["price"], "first_order": [0.6], "total_order": [0.7]})
    >>> indices(frame, title="Price decides", subtitle="A guess", of="cost").description
    'Price decides. Stacked bars in share of the variance of cost: price: 0.7, most of it alone (first order) (0.6).'
    """
    data = columns(frame, texts={"label": "input"}, numbers={"first": "first_order", "total": "total_order"})
    data = data.sort("total", descending=True, maintain_order=True)
    whole = pl.col("total").clip(0)
    alone = pl.min_horizontal(pl.col("first").clip(0), whole)
    bars = pl.concat(
        [data.select("label", part=pl.lit(ALONE), value=alone), data.select("label", part=pl.lit(TOGETHER), value=whole - alone)]
    )
    place = {name: i for i, name in enumerate(data["label"])}
    bars = bars.sort(pl.col("label").replace_strict(place), maintain_order=True)
    unit = f"share of the variance of {of}"
    return stacked(bars, label="label", part="part", value="value", title=title, subtitle=subtitle, unit=unit)
