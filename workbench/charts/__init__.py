"""Pictures: one function each, polars frame in, Altair chart out, with a title that states the finding."""

from workbench.charts.lines import lines
from workbench.charts.stacked import stacked
from workbench.charts.theme import enable
from workbench.charts.tornado import tornado
from workbench.charts.waterfall import waterfall

__all__ = ["enable", "lines", "stacked", "tornado", "waterfall"]
