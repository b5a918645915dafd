"""How a whole is shared over time: areas on top of each other, from 0 to at most 1."""

from __future__ import annotations

import altair as alt
import polars as pl

from workbench.charts import theme
from workbench.charts.axes import HEIGHT, Axis, checked
from workbench.charts.frames import DIGITS, once
from workbench.charts.rows import pixels
from workbench.errors import InputError


def shares(frame: pl.DataFrame, *, x: str, part: str, value: str, x_unit: str, y_unit: str, title: str, subtitle: str) -> alt.LayerChart:
    """Stacked areas of shares over time, in the order of the frame: the probability that each constraint binds, by quarter.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a place and part; each part at each place. The rest of what all pictures take is in the package's help.
    x, part, value : str
        Columns of the position, of the name of the part, and of its share, 0 to 1. Shares at a place add up to at most 1; what is missing
        to it stays white.

    Examples
    --------
    >>> frame = pl.DataFrame({"year": [2027, 2028], "limit": ["power", "power"], "share": [0.3, 0.5]})
    >>> words = {"x_unit": "year", "y_unit": "share of futures", "title": "Power binds", "subtitle": "A guess"}
    >>> shares(frame, x="year", part="limit", value="share", **words).description
    'Power binds. Areas of share of futures over year, from first to last: power 30 % to 50 %.'
    """
    data = checked(frame, [x, value], part, {})
    parts = data[part].unique(maintain_order=True).to_list()
    columns = max(1, int(theme.WIDTH // (max(map(pixels, parts)) + 34)))  # with the square and the gap beside it
    color = theme.color(part, parts, "parts", title=None, sort=parts, legend=alt.Legend(columns=columns, labelLimit=0))
    for at in data.filter(~pl.col(value).is_between(0, 1)).iter_rows(named=True):
        raise InputError(f"{at[part]} at {x} = {at[x]}: {at[value]} is no share from 0 to 1")
    once(data, part, x)
    places = data[x].n_unique()
    for given in data.group_by(part, maintain_order=True).len().filter(pl.col("len") < places).iter_rows(named=True):
        raise InputError(f"{given[part]}: a share at {given['len']} of {places} places; expected one at each")
    for at in data.group_by(x, maintain_order=True).agg(pl.col(value).sum()).filter(pl.col(value) > 1 + 1e-4).iter_rows(named=True):
        raise InputError(f"shares at {x} = {at[x]} add up to {at[value]:.6g}: expected at most 1")
    data = data.sort(x, pl.col(part).cast(pl.Enum(parts)), maintain_order=True)
    end = pl.col(value).cum_sum().over(x)
    data = data.with_columns(end=end.round_sig_figs(DIGITS), start=(end - pl.col(value)).clip(0).round_sig_figs(DIGITS))

    one = theme.chosen(part)
    areas = alt.Chart(data, name="parts").mark_area(stroke="white", strokeWidth=0.8).add_params(one["pick"])
    areas = areas.encode(
        x=alt.X(f"{x}:Q", title=x_unit, **Axis([data[x]]).look),
        y=alt.Y("start:Q", title=y_unit, scale=alt.Scale(domain=[0, 1], nice=False), axis=alt.Axis(format=".0%", tickCount=5)),
        y2="end:Q",
        color=color,
        opacity=one["opacity"],
        tooltip=[alt.Tooltip(f"{part}:N"), alt.Tooltip(f"{x}:Q", title=x_unit, format=".6~g"), alt.Tooltip(f"{value}:Q", format=".1%")],
    )
    ends = data.group_by(part, maintain_order=True).agg(pl.col(value).first().alias("first"), pl.col(value).last())
    said = "; ".join(f"{row[part]} {100 * row['first']:.3g} % to {100 * row[value]:.3g} %" for row in ends.iter_rows(named=True))
    chart = alt.LayerChart(layer=[areas], width=theme.WIDTH - 74, height=HEIGHT)
    return theme.finish(chart, title, subtitle, f"Areas of {y_unit} over {x_unit}, from first to last: {said}.")
