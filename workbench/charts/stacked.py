"""What a total consists of: one bar a row, its parts side by side, the total at its end; and Sobol indices, one bar an input."""

from __future__ import annotations

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS, columns, figure, numbers, once, present
from workbench.charts.rows import GAP, Rows, name, room

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
        row=pl.col("label").map_elements(name, return_dtype=pl.String), figure=pl.col("value").map_elements(figure, return_dtype=pl.String)
    )
    totals = data.group_by("label", "row", maintain_order=True).agg(pl.col("value").sum().round_sig_figs(DIGITS).alias("total"))
    totals = totals.with_columns(text=pl.col("total").map_elements(figure, return_dtype=pl.String))
    rows = Rows(totals["row"].to_list())
    look = rows.look(
        unit, [(0.0, 0.0, 0.0), *((total, 0.0, room(text)) for total, text in totals.select("total", "text").rows())], zero=False
    )
    one = theme.chosen("part")
    bars = alt.Chart(data, name="parts").mark_bar().add_params(one["pick"])
    tooltip = [alt.Tooltip("label:N"), alt.Tooltip("part:N"), alt.Tooltip("figure:N", title=unit)]
    bars = bars.encode(y=rows.y, x=alt.X("start:Q", **look), x2="end:Q", color=color, opacity=one["opacity"], tooltip=tooltip)
    largest = data.sort("value", descending=True, maintain_order=True).group_by("label", maintain_order=True).first()
    told = totals.join(largest, on="label", how="left", maintain_order="left").select("label", "text", "part", "figure").rows()
    said = "; ".join(f"{label}: {text}, most of it {part} ({figure})" for label, text, part, figure in told)
    text = alt.Chart(totals).mark_text(align="left", dx=GAP)
    chart = alt.LayerChart(
        layer=[bars, text.encode(y=rows.y, x=alt.X("total:Q", **look), text="text:N")], width=rows.width, height=rows.height
    )
    return theme.finish(chart, title, subtitle, f"Stacked bars in {unit}: {said}.")


def indices(frame: pl.DataFrame, *, title: str, subtitle: str, of: str = "the answer") -> alt.LayerChart:
    """Bars to the total-order index of each input, the largest on top, divided where its first-order index ends.

    Sampling errors can put an estimate below 0, or a first-order index above its total: the bar ends at that bound.

    Parameters
    ----------
    frame : polars.DataFrame
        One row an input, in the columns of `uncertainty.Indices.frame`: input, first_order, total_order.
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
    bars = data.sort("total", descending=True, maintain_order=True).select(
        "label", part=[ALONE, TOGETHER], value=pl.concat_list(alone, whole - alone)
    )
    unit = f"share of the variance of {of}"
    return stacked(bars.explode("part", "value"), label="label", part="part", value="value", title=title, subtitle=subtitle, unit=unit)
