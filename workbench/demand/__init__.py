"""Demand for compute against its supply: what was seen, what is foretold, and how well that was done before."""

from workbench.demand.adoption import (
    LAWS,
    Adoption,
    AdoptionPrior,
    adopt,
    average_weights,
    bass,
    damped_exponential,
    fit_law,
    logistic,
    observed,
)
from workbench.demand.audits import audit, audited
from workbench.demand.backtest import Backtest, inflate, local_trend, rolling, simple_models, together
from workbench.demand.checks import Finding, SuspectData, beyond_authority, path_total
from workbench.demand.frontier import RecordPrior, Records, record_ahead, records
from workbench.demand.history import Series, capex, chip_stock, disclosed, notable_models, total, year
from workbench.demand.scores import scoreboard
from workbench.demand.trend import (
    Trend,
    TrendPrior,
    fit_trend,
    growth_rate,
    log_linear,
    pooled,
    shock_correlation,
    stock_paths,
)

__all__ = [
    "LAWS",
    "Adoption",
    "AdoptionPrior",
    "Backtest",
    "Finding",
    "RecordPrior",
    "Records",
    "Series",
    "SuspectData",
    "Trend",
    "TrendPrior",
    "adopt",
    "audit",
    "audited",
    "average_weights",
    "bass",
    "beyond_authority",
    "capex",
    "chip_stock",
    "damped_exponential",
    "disclosed",
    "fit_law",
    "fit_trend",
    "growth_rate",
    "inflate",
    "local_trend",
    "log_linear",
    "logistic",
    "notable_models",
    "observed",
    "path_total",
    "pooled",
    "record_ahead",
    "records",
    "rolling",
    "scoreboard",
    "shock_correlation",
    "simple_models",
    "stock_paths",
    "together",
    "total",
    "year",
]
