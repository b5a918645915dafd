"""Pictures: one function each, polars frame in, Altair chart out, with a title that states the finding."""

from workbench.charts.fan import fan
from workbench.charts.lines import lines
from workbench.charts.shares import shares
from workbench.charts.stacked import indices, stacked
from workbench.charts.tornado import tornado
from workbench.charts.waterfall import waterfall

__all__ = ["fan", "indices", "lines", "shares", "stacked", "tornado", "waterfall"]
