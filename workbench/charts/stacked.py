"""What a total consists of: one bar a row, its parts side by side, the total at its end."""

from __future__ import annotations

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.frames import DIGITS, figure
from workbench.charts.rows import GAP, Rows, name, room, value_axis
from workbench.errors import InputError


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
    for column in (label, part, value):
        if column not in frame.columns:
            raise InputError(f"the frame has no column {column!r}; it has {', '.join(frame.columns) or 'none'}")
    if frame.is_empty():
        raise InputError("the frame has no rows: there is nothing to draw")
    data = frame.select(
        pl.col(label).cast(pl.String).alias("label"),
        pl.col(part).cast(pl.String).alias("part"),
        pl.col(value).cast(pl.Float64).alias("value"),
    )
    for row, number in enumerate(data["value"]):
        if number is None or not 0 <= number < float("inf"):
            raise InputError(f"column {value!r}, row {row}: {number} is no size of a part")
    if (twice := data.select("label", "part").is_duplicated()).any():
        raise InputError(f"{data.filter(twice).row(0)[:2]} is given twice")
    names, parts = data["label"].unique(maintain_order=True).to_list(), data["part"].unique(maintain_order=True).to_list()
    if len(parts) > len(theme.PALETTE):
        raise InputError(f"{len(parts)} parts: a picture tells {len(theme.PALETTE)} apart")
    end = pl.col("value").cum_sum().over("label")
    data = data.with_columns(end=end.round_sig_figs(DIGITS), start=(end - pl.col("value")).clip(0).round_sig_figs(DIGITS)).with_columns(
        row=pl.col("label").map_elements(name, return_dtype=pl.String), figure=pl.col("value").map_elements(figure, return_dtype=pl.String)
    )
    totals = data.group_by("label", maintain_order=True).agg(
        pl.col("value").sum().round_sig_figs(DIGITS).alias("total"), pl.col("row").first()
    )
    totals = totals.with_columns(text=pl.col("total").map_elements(figure, return_dtype=pl.String))
    rows = Rows([name(n) for n in names])
    ends = [(0.0, 0.0, 0.0), *((row["total"], 0.0, room(row["text"])) for row in totals.iter_rows(named=True))]
    scale = alt.Scale(domain=rows.domain(ends), nice=False, zero=False)
    color = alt.Color("part:N", title=None, sort=parts, legend=alt.Legend(columns=4)).scale(domain=parts, range=theme.PALETTE[: len(parts)])
    bars = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            y=rows.y,
            x=alt.X("start:Q", scale=scale, axis=value_axis(unit)),
            x2="end:Q",
            color=color,
            tooltip=[alt.Tooltip("label:N"), alt.Tooltip("part:N"), alt.Tooltip("figure:N", title=unit)],
        )
    )
    said = "; ".join(
        f"{n}: {figure(float(totals.filter(pl.col('label') == n)['total'][0]))}, most of it {_largest(data.filter(pl.col('label') == n))}"
        for n in names
    )
    text = (
        alt.Chart(totals)
        .mark_text(align="left", dx=GAP)
        .encode(y=rows.y, x=alt.X("total:Q", scale=scale, axis=value_axis(unit)), text="text:N")
    )
    chart = alt.LayerChart(layer=[bars, text], width=rows.width, height=rows.height)
    return theme.finish(chart, title=title, subtitle=subtitle, description=f"{title}. Stacked bars in {unit}: {said}.")


def _largest(bar: pl.DataFrame) -> str:
    top = bar.sort("value", descending=True).row(0, named=True)
    return f"{top['part']} ({top['figure']})"
