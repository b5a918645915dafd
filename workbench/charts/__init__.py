"""Pictures: one function each, polars frame in, Altair chart out, with a title that states the finding."""

from workbench.charts.fan import fan
from workbench.charts.heatmap import heatmap
from workbench.charts.lines import lines
from workbench.charts.runs import multiples, parallel
from workbench.charts.shares import shares
from workbench.charts.stacked import indices, stacked
from workbench.charts.theme import enable
from workbench.charts.tornado import tornado
from workbench.charts.waterfall import waterfall

__all__ = ["enable", "fan", "heatmap", "indices", "lines", "multiples", "parallel", "shares", "stacked", "tornado", "waterfall"]
