"""Backtests: forecasts from what was known, scored on what came, with bands widened by earlier errors only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench.arrays import Arrays, join
from workbench.checks import FINITE, LENGTH, Rule, check_fields, takes
from workbench.demand.forecast import trend
from workbench.demand.forecast.checks import beyond_authority
from workbench.demand.forecast.history import Series
from workbench.errors import InputError
from workbench.uncertainty.scores import coverage, crps

Array = NDArray[np.float64]
LEVEL, CALIBRATED = 0.9, 40  #: of the band that is widened, and how many errors of a calibrated forecaster count beside those seen
WINDOW = 8  #: steps over which the growth of other series counts
#: What was known, and how many of its steps ahead -> equally likely samples of the logarithm.
Forecaster = Callable[[Series, int], Array]


@dataclass(frozen=True, repr=False)
class Backtest(Arrays):
    """Forecasts of one series by one model, and what came; leading axis k of the forecasts."""

    series: str
    model: str
    origins: Array  #: decimal years: all that was used was known by then
    targets: Array  #: decimal years: when the outcome was
    samples: Array  #: (k, n), in logarithms
    observed: Array  #: (k,), in logarithms
    beyond: NDArray[np.bool_]  #: whether the horizon lies beyond the authority of the history that was used

    def __post_init__(self) -> None:
        check_fields(self, origins=FINITE, targets=FINITE, samples=Rule(apart=True), observed=FINITE)
        shapes = {name: np.shape(getattr(self, name)) for name in ("origins", "targets", "samples", "observed", "beyond")}
        if len({shape[:1] for shape in shapes.values()}) != 1 or len(shapes["samples"]) != 2:
            raise InputError(f"{self.series}: expected samples of (forecasts, n) and as many of all else, found {shapes}")

    def score(self) -> dict[str, float | int | str | None]:
        """CRPS, coverage of the 50 and 90 % bands with the interval that so few outcomes allow, bias and n."""
        if not self.observed.size:
            raise InputError(f"{self.series}: nothing to score")
        low, q1, middle, q3, high = np.quantile(self.samples, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1)
        half, most = coverage(q1, q3, self.observed), coverage(low, high, self.observed)
        says = most.says(0.85, 0.95)
        return {
            "series": self.series,
            "model": self.model,
            "n": self.observed.size,
            "crps": float(crps(self.samples, self.observed).mean()),
            "coverage_50": half.share,
            "coverage_90": most.share,
            "coverage_90_low": most.low,
            "coverage_90_high": most.high,
            "coverage_is_85_to_95": {True: "yes", False: "no", None: "too few to tell"}[says],
            "bias": float(np.mean(self.observed - middle)),
            "beyond_authority": int(self.beyond.sum()),
        }

    def frame(self) -> pl.DataFrame:
        """One row a forecast: median, 90 % band and outcome."""
        low, middle, high = np.quantile(self.samples, [0.05, 0.5, 0.95], axis=1)
        years = {"origin_year": self.origins, "target_year": self.targets}
        return pl.DataFrame(years | {"low": low, "median": middle, "high": high, "observed": self.observed})


def together(parts: Sequence[Backtest], series: str) -> Backtest:
    """Several backtests of one model as one. Raises `InputError` where models or numbers of samples differ."""
    if len({(p.model, p.samples.shape[1]) for p in parts}) != 1:
        raise InputError(f"{series}: expected one model and one number of samples, got {sorted({p.model for p in parts})}")
    return replace(join(parts, [p.observed.size for p in parts]), series=series)


@takes(steps=LENGTH, least=Rule(least=3, whole=True, one=True))
def rolling(series: Series, forecast: Forecaster, model: str, steps: int, *, least: int = 5) -> Backtest:
    """Rolling origins: at each point from the `least`-th (3 or more) on, forecast `steps` ahead from the points so far.

    The series is evenly spaced; `forecast` gets it cut at the origin, and nothing after it.

    Raises
    ------
    InputError
        For a series too short for one forecast, or unevenly spaced.
    """
    gaps = np.diff(series.times)
    if gaps.size and not np.allclose(gaps, gaps[0], atol=1e-6):
        raise InputError(f"{series.name}: not evenly spaced in time (gaps {gaps.min():.3g} to {gaps.max():.3g} years)")
    if series.values.size < least + steps:
        raise InputError(f"{series.name}: {series.values.size} points; expected at least {least} + {steps}")
    origins = np.arange(least - 1, series.values.size - steps)
    past = [series.take(slice(0, int(o) + 1)) for o in origins]
    samples = np.array([forecast(p, steps) for p in past])
    beyond = np.array([bool(beyond_authority(p.times, steps * gaps[0])) for p in past])
    came = np.log(series.values[origins + steps])
    return Backtest(series.name, model, series.times[origins], series.times[origins + steps], samples, came, beyond)


def inflate(test: Backtest, evidence: Sequence[Backtest] = ()) -> Backtest:
    """The same forecasts with bands widened (or narrowed) to what earlier errors asked for: split conformal in time [1]_.

    Each forecast is stretched about its median by the ceil(`LEVEL` (m + 1))-th smallest of m errors, each over its own half band. Errors
    count only if the outcome was known at the forecast's origin, be it of the same series or of others (`evidence`, in any unit);
    `CALIBRATED` errors of a calibrated forecaster count with them, so that a few outcomes do not rule.

    References
    ----------
    .. [1] Lei, G'Sell, Rinaldo, Tibshirani, Wasserman (2018), JASA 113, section 2.2 (split conformal); Gibbs, Candes (2021) (in time).
    """
    from scipy.special import ndtri

    tests = (test, *evidence)
    errors, known = np.concatenate([_over_band(t) for t in tests]), np.concatenate([t.targets for t in tests])
    calm = ndtri((1 + (np.arange(CALIBRATED) + 0.5) / CALIBRATED) / 2) / ndtri((1 + LEVEL) / 2)
    stretch = np.empty(test.origins.size)
    for origin in np.unique(test.origins):
        pool = np.sort(np.concatenate([errors[known <= origin + 1e-9], calm]))
        stretch[test.origins == origin] = pool[min(pool.size, int(np.ceil(LEVEL * (pool.size + 1)))) - 1]
    middle = np.median(test.samples, axis=1, keepdims=True)
    return replace(test, model=f"{test.model}, conformal", samples=middle + stretch[:, None] * (test.samples - middle))


def _over_band(test: Backtest) -> Array:
    low, middle, high = np.quantile(test.samples, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], axis=1)
    above = test.observed > middle
    half = np.where(above, high - middle, middle - low)
    error = np.abs(test.observed - middle)
    return np.divide(error, half, out=np.where(error > 0, np.inf, 0.0), where=half > 0)


def simple_models() -> dict[str, Forecaster]:
    """The models to beat: last value, drift, log-linear and damped."""

    def log_linear(past: Series, steps: int) -> Array:
        t = np.arange(past.values.size)
        return trend.log_linear(t, np.log(past.values), t[-1] + steps)

    return {
        "last value": lambda past, steps: trend.last_value(np.log(past.values), steps),
        "drift": lambda past, steps: trend.drift(np.log(past.values), steps),
        "drift of two years": lambda past, steps: trend.drift(np.log(past.values[-9:]), steps),
        "log-linear": log_linear,
        "damped": lambda past, steps: trend.damped(np.log(past.values), steps),
    }


def local_trend(panel: Sequence[Series], prior: trend.TrendPrior | None = None, *, n: int = 8192) -> Forecaster:
    """Forecaster by `trend.fit_trend` whose long-run growth is pooled with what the other series of `panel` did until the origin.

    A stock is forecast by its flow. Of the other series the mean growth over the last `WINDOW` steps, four or more, counts.
    """

    def forecast(past: Series, steps: int) -> Array:
        end = past.times[-1]
        rates = [r for s in panel if s.name != past.name and (r := _mean_growth(s, end)) is not None]
        mine = trend.pooled([r[0] for r in rates], [r[1] for r in rates], prior)
        ahead = trend.fit_trend(np.log(_flow(past)), mine).paths(steps, n)
        return np.log(past.values[-1] + np.exp(ahead).sum(axis=0)) if past.kind == "stock" else ahead[-1]

    return forecast


def _flow(series: Series) -> Array:
    return np.diff(series.values) if series.kind == "stock" else series.values


def _mean_growth(series: Series, end: float) -> tuple[float, float] | None:
    """Mean yearly growth of the flow until `end`, and its standard error; None with fewer than four steps."""
    steps = np.diff(np.log(_flow(series.take(np.flatnonzero(series.times <= end + 1e-9)))))[-WINDOW:]
    if steps.size < 4:
        return None
    return float(steps.mean() / trend.QUARTER), float(steps.std(ddof=1) / np.sqrt(steps.size) / trend.QUARTER)
