"""Pictures: one function each, polars frame in, Altair chart out, with a title that states the finding."""

from workbench.charts.fan import fan
from workbench.charts.indices import indices
from workbench.charts.lines import lines
from workbench.charts.shares import shares
from workbench.charts.stacked import stacked
from workbench.charts.theme import enable
from workbench.charts.tornado import tornado
from workbench.charts.waterfall import waterfall

__all__ = ["enable", "fan", "indices", "lines", "shares", "stacked", "tornado", "waterfall"]
