"""What an uncertain answer hangs on: Sobol indices, one bar an input."""

from __future__ import annotations

import altair as alt
import polars as pl

from workbench.charts.frames import columns
from workbench.charts.stacked import stacked

ALONE, TOGETHER = "alone (first order)", "with others (to total)"


def indices(
    frame: pl.DataFrame,
    *,
    title: str,
    subtitle: str,
    label: str = "input",
    first: str = "first_order",
    total: str = "total_order",
    of: str = "the answer",
) -> alt.LayerChart:
    """Bars to the total-order index of each input, the largest on top, divided where its first-order index ends.

    Sampling errors can put an estimate below 0, or a first-order index above its total: the bar ends at that bound.

    Parameters
    ----------
    frame : polars.DataFrame
        One row an input, as `uncertainty.Indices.frame` gives it.
    title, subtitle : str
        The finding; its source, or how it was found.
    label, first, total : str
        Columns of the name of the input and of its indices.
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
    data = columns(frame, texts={"label": label}, numbers={"first": first, "total": total}).sort(
        "total", descending=True, maintain_order=True
    )
    whole = pl.col("total").clip(0)
    alone = pl.min_horizontal(pl.col("first").clip(0), whole)
    bars = pl.concat(
        [data.select("label", part=pl.lit(ALONE), value=alone), data.select("label", part=pl.lit(TOGETHER), value=whole - alone)]
    )
    place = {name: i for i, name in enumerate(data["label"])}
    bars = bars.sort(pl.col("label").replace_strict(place), maintain_order=True)
    unit = f"share of the variance of {of}"
    return stacked(bars, label="label", part="part", value="value", title=title, subtitle=subtitle, unit=unit)
