"""Pictures: one function each, polars frame in, Altair chart out, with a title that states the finding.

What all of them take is said here:

frame : polars.DataFrame
    One row or more. Its columns are given by name: those of numbers finite, above 0 on a logarithmic axis, of positions numbers or dates.
title, subtitle : str
    The finding; its source, or how it was found.
unit, x_unit, y_unit : str
    What an axis shows, with unit: ``"USD per chip-hour"``.

They raise `InputError` for a column that is missing, numbers that cannot be drawn, a row that is given twice, a frame without rows, and
more than eight series, which a picture does not tell apart.
"""

from workbench.charts.bars import indices, stacked, tornado, waterfall
from workbench.charts.curves import fan, lines, shares

__all__ = ["fan", "indices", "lines", "shares", "stacked", "tornado", "waterfall"]
