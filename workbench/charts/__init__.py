"""Pictures: one function each, polars frame in, Altair chart out, with a title that states the finding."""

from workbench.charts.heatmap import heatmap
from workbench.charts.lines import lines
from workbench.charts.multiples import multiples
from workbench.charts.parallel import parallel
from workbench.charts.stacked import stacked
from workbench.charts.theme import enable
from workbench.charts.tornado import tornado
from workbench.charts.waterfall import waterfall

__all__ = ["enable", "heatmap", "lines", "multiples", "parallel", "stacked", "tornado", "waterfall"]
