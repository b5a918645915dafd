"""Backtests, forecasts from what was known, scored on what came, with bands widened by earlier errors only; and the scoreboard: every
forecast of demand's history beside the simple models and the bars to beat.

The board is a pure function of the tables: a new disclosure is a new row there, and the next call scores it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from workbench.arrays import Array, Arrays, join, take
from workbench.checks import FINITE, LENGTH, Rule, check_fields, takes
from workbench.demand.forecast import history, trend
from workbench.demand.forecast.history import Series
from workbench.errors import InputError, UnknownName
from workbench.uncertainty.scores import coverage, crps

LEVEL, CALIBRATED = 0.8, 40  #: of the band that is widened, and how many errors of a calibrated forecaster count beside those seen
WINDOW = 8  #: steps over which the growth of other series counts
#: What was known, and how many quarters ahead -> equally likely samples of the logarithm.
Forecaster = Callable[[Series, float], Array]
MODEL = "local trend"
STEPS = 4  #: quarters ahead of the quarterly tasks
#: The last row pools every series from this origin on; sums are among them beside their parts.
FROM, POOLED = 2024.25, "every series, from origins of 2024Q1 on"
HALF_LIFE = 4.0  #: age at which a model counts half in the trend of notable models [year]
TRENDS = {f"trend, half-life {HALF_LIFE:g} years": HALF_LIFE, "log-linear": np.inf}
FIRST = {"flow": 9, "stock": 5}  #: points that the first scored forecast of a series has: those of the published runs of the same test
#: Of whom tokens, spot rents and users are forecast.
TOKENS = (
    ("Google", "all products+API"), ("Google", "customers' API"), ("OpenRouter", "routed"), ("ByteDance Doubao", "daily"),
    ("China", "national average daily"),
)  # fmt: skip
SPOT, USERS = ("A100", "H100", "H200", "B200"), (("ChatGPT", "weekly active"), ("Gemini app", "monthly active"))
#: Series that are disclosed now and then, by the kind of what they tell; what is believed of the growth of each kind before it is seen:
#: tokens as the run rate and the compute of OpenAI from 2023 on (3.1 per year, growth_rates), power as the largest sites, spot rents none:
#: who expects a traded price to move moves it at once. Counts of tokens and days of a spot market differ by a fifth.
KINDS: dict[str, tuple[trend.TrendPrior, Callable[[], list[Series]]]] = {
    "tokens": (trend.TrendPrior(growth=1.1, noise=0.2), lambda: [history.tokens(*of) for of in TOKENS]),
    "power": (trend.TrendPrior(growth=0.7), lambda: [history.active_power("CoreWeave")]),
    "rents": (trend.TrendPrior(growth=0.0, noise=0.2), lambda: [history.spot_rent(chip) for chip in SPOT]),
    "users": (trend.TrendPrior(growth=0.7), lambda: [history.users(*of) for of in USERS]),
}


@dataclass(frozen=True, repr=False)
class Backtest(Arrays):
    """Forecasts of one series by one model, and what came; leading axis k of the forecasts."""

    series: str
    model: str
    origins: Array  #: decimal years: all that was used was known by then
    targets: Array  #: decimal years: when the outcome was
    samples: Array  #: (k, n), in logarithms
    observed: Array  #: (k,), in logarithms

    def __post_init__(self) -> None:
        check_fields(self, origins=FINITE, targets=FINITE, samples=Rule(apart=True), observed=FINITE)
        shapes = {name: np.shape(getattr(self, name)) for name in ("origins", "targets", "samples", "observed")}
        if len({shape[:1] for shape in shapes.values()}) != 1 or len(shapes["samples"]) != 2:
            raise InputError(f"{self.series}: expected samples of (forecasts, n) and as many of all else, found {shapes}")

    def score(self) -> dict[str, float | int | str | None]:
        """CRPS, width of the 80 % band, coverage of the 50, 80 and 90 % bands with the interval that so few outcomes allow, bias and n."""
        if not self.observed.size:
            raise InputError(f"{self.series}: nothing to score")
        low, p10, q1, middle, q3, p90, high = np.quantile(self.samples, [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95], axis=1)
        half, eighty, most = (coverage(*ends, self.observed) for ends in ((q1, q3), (p10, p90), (low, high)))
        says = {True: "yes", False: "no", None: "too few to tell"}[most.says(0.85, 0.95)]
        return {
            "series": self.series, "model": self.model, "n": self.observed.size,
            "crps": float(crps(self.samples, self.observed).mean()), "sharpness": float(np.mean(p90 - p10)),
            "coverage_50": half.share,
            "coverage_80": eighty.share, "coverage_80_low": eighty.low, "coverage_80_high": eighty.high,
            "coverage_90": most.share, "coverage_90_low": most.low, "coverage_90_high": most.high,
            "coverage_is_85_to_95": says, "bias": float(np.mean(self.observed - middle)),
        }  # fmt: skip


def together(parts: Sequence[Backtest], series: str) -> Backtest:
    """Several backtests of one model as one. Raises `InputError` where models or numbers of samples differ."""
    if len({(p.model, p.samples.shape[1]) for p in parts}) != 1:
        raise InputError(f"{series}: expected one model and one number of samples, got {sorted({p.model for p in parts})}")
    return replace(join(parts, [p.observed.size for p in parts]), series=series)


@takes(steps=LENGTH, least=Rule(least=3, whole=True, one=True), since=FINITE)
def rolling(series: Series, forecast: Forecaster, model: str, steps: int, *, least: int = 5, since: float = -np.inf) -> Backtest:
    """Forecasts from each point from the `least`-th on, since a decimal year, of the first point `steps` quarters ahead or more."""
    t = series.times
    first = {i: int(np.searchsorted(t, t[i - 1] + steps * trend.QUARTER - 0.02)) for i in range(least, t.size)}
    pairs = [(i, j) for i, j in first.items() if j < t.size and t[i - 1] >= since]
    if not pairs:
        raise InputError(f"{series.name}: {t.size} points; expected at least {least}, and one {steps} quarters after that or more")
    before, after = np.transpose(pairs)
    origins, targets = t[before - 1], t[after]
    ahead = (targets - origins) / trend.QUARTER
    told = np.array([forecast(series.take(slice(0, i)), round(h, 6)) for i, h in zip(before, ahead, strict=True)])
    return Backtest(series.name, model, origins, targets, told, np.log(series.values[after]))


def inflate(test: Backtest, evidence: Sequence[Backtest] = ()) -> Backtest:
    """The same forecasts with bands widened (or narrowed) to what earlier errors call for: split conformal (Lei et al., 2018, JASA 113,
    section 2.2) in time (Gibbs, Candes, 2021).

    Each forecast is stretched about its median by the ceil(`LEVEL` (m + 1))-th smallest of m errors, each over its own half band. Errors
    count only if the outcome was known at the forecast's origin, be it of the same series or of others (`evidence`, in any unit);
    `CALIBRATED` errors of a calibrated forecaster count with them, so that a few outcomes do not rule.
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
    """The models to beat, from the points so far and a number of quarters ahead: last value, drift, log-linear and damped."""
    return {
        "last value": lambda past, steps: trend.last_value(np.log(past.values), steps, past.times),
        "drift": lambda past, steps: trend.drift(np.log(past.values), steps, past.times),
        "drift of two years": lambda past, steps: trend.drift(np.log(past.values[-9:]), steps, past.times[-9:]),
        "log-linear": lambda past, steps: trend.log_linear(past.times, np.log(past.values), past.times[-1] + steps * trend.QUARTER),
        "damped": lambda past, steps: trend.damped(np.log(past.values), steps, past.times),
    }


def local_trend(panel: Sequence[Series], prior: trend.TrendPrior | None = None, *, n: int = 8192) -> Forecaster:
    """Forecaster by `trend.fit_trend`: until the origin the other series of `panel` tell the long-run growth, and how much growth varies.

    A stock is forecast by its flow. Of the other series the mean growth over the last `WINDOW` steps, four or more, counts.
    """

    def forecast(past: Series, steps: float) -> Array:
        end, steps = past.times[-1], max(round(steps), 1)
        flows = [_log_flow(s.take(np.flatnonzero(s.times <= end + 1e-9))) for s in panel if s.name != past.name]
        others = [y for y in flows if y.size > 4]
        rates = [np.diff(y)[-WINDOW:] / trend.QUARTER for y in others]
        mine = trend.pooled([r.mean() for r in rates], [r.std(ddof=1) / np.sqrt(r.size) for r in rates], prior)
        grown = past.kind == "stock" and len(past.rows) > 3  # of fewer points no flow has a trend
        logs = _log_flow(past) if grown else trend.on_quarters(past.times, np.log(past.values))
        ahead = trend.fit_trend(logs, mine, others).paths(steps, n)
        return np.log(past.values[-1] + np.exp(ahead).sum(axis=0)) if grown else ahead[-1]

    return forecast


def _log_flow(series: Series) -> Array:
    return np.asarray(np.log(np.diff(series.values) if series.kind == "stock" else series.values))


def quarterly(prior: trend.TrendPrior | None = None) -> dict[str, list[Backtest]]:
    """Backtests of capital expenditure and chips by task: the local trend with and without conformal bands, then the simple models."""
    companies = [history.capex(c) for c in history.reporting()]
    vendors = [history.chip_stock(v) for v in history.vendors()]
    long = [v for v in vendors if v.values.size >= FIRST["stock"] + STEPS]
    mine = local_trend([*companies, *vendors], prior)
    evidence = {s.name: rolling(s, mine, MODEL, STEPS) for s in (*companies, *long)}  # only parts: the whole tells the same story

    def tests(series: Series) -> list[Backtest]:
        first, raw = FIRST[series.kind], evidence.get(series.name) or rolling(series, mine, MODEL, STEPS)
        ours = (raw, inflate(raw, [e for name, e in evidence.items() if name != series.name]))
        simple = [rolling(series, forecast, name, STEPS, least=first) for name, forecast in simple_models().items()]
        return [*(take(test, test.origins >= series.times[first - 1] - 1e-9) for test in ours), *simple]

    parts = {"capex of each company, 4 quarters ahead": companies, "chips of each vendor, 4 quarters ahead": long}
    return {
        "capex of four, 4 quarters ahead": tests(history.capex()),
        "AI chip stock, 4 quarters ahead": tests(history.chip_stock()),
        **{task: [together(models, task) for models in zip(*map(tests, group), strict=True)] for task, group in parts.items()},
    }


def records() -> list[Backtest]:
    """Backtests of the largest training run at the end of each year from 2017 on, forecast at the end of the year before [log10]."""
    seen = history.notable_models()
    start, last = int(seen.times.min()) + 1, int(seen.times.max())
    ends = {y: trend.records(seen.times, seen.values, float(y)) for y in range(start, last + 1)}
    level = np.array([found.levels[-1] for found in ends.values()])  # the record at the end of each year
    models: dict[str, Callable[[int], Array]] = {
        "compound Poisson": lambda y: trend.record_ahead(ends[y], 1.0),
        "last value": lambda y: trend.last_value(level[: y - start + 1], 1),
        "drift": lambda y: trend.drift(level[: y - start + 1], 1),
        "log-linear": lambda y: trend.log_linear(np.arange(y - start + 1), level[: y - start + 1], y - start + 1),
    }
    years = range(2016, last)
    origins, came = np.array(years, dtype=float), level[2017 - start :]
    samples = {name: np.array([forecast(y) for y in years]) for name, forecast in models.items()}
    return [Backtest("frontier record", name, origins, origins + 1, told, came) for name, told in samples.items()]


def _by_trend(old: Series, new: Series, origin: float, name: str) -> Backtest:
    """Each new model's training compute by a trend over the old ones [log10]."""
    samples = trend.log_linear(old.times, np.log10(old.values), new.times, half_life=TRENDS[name])
    return Backtest("notable models", name, np.full(new.times.size, origin), new.times, samples, np.log10(new.values))


def notable(most_rank: int | None = 10) -> list[Backtest]:
    """Backtests from 2017 on of each notable model's training compute by a trend over the models of the years before its own [log10].

    Of models that ranked so or better at release; None: of every row of the table, whose choice of rows changes in 2018 and 2025.
    """
    seen = history.notable_models(most_rank=most_rank)
    year = np.floor(seen.times)
    cuts = [(y, *(seen.take(np.flatnonzero(which)) for which in (year < y, year == y))) for y in np.unique(year[year >= 2017])]
    recent, plain = (together([_by_trend(old, new, y, name) for y, old, new in cuts], "notable models") for name in TRENDS)
    return [inflate(recent), recent, plain]


def real_time(most_rank: int | None = 10) -> list[Backtest]:
    """Fit on the snapshot of June 2025, score on the models that came after it, as the newest snapshot holds them [log10]."""
    old, new = history.notable_models(vintage="2025-06", most_rank=most_rank), history.notable_models(most_rank=most_rank)
    end = history.year("2025-07-01")
    new, old = new.take(np.flatnonzero(new.times >= end)), old.take(np.flatnonzero(old.times < end))
    return [_by_trend(old, new, end, name) for name in TRENDS]


def disclosed(kind: str, *, steps: int = 2) -> list[Backtest]:
    """Backtests of series that are disclosed now and then: from each third point on, the first `steps` quarters later or more [ln].

    The local trend on a grid of quarters, with bands as wide as errors of the other series call for as well, then the simple models.
    """
    prior, series = KINDS[kind]
    models = {MODEL: local_trend((), prior)} | simple_models()
    seen = [s for s in series() if s.times[-1] >= max(s.times[2], 2024.0) + steps * trend.QUARTER - 0.02]
    raw = {name: [rolling(s, f, name, steps, least=3, since=2024.0) for s in seen] for name, f in models.items()}
    mine, *simple = raw.values()
    return [together(tests, kind) for tests in (mine, [inflate(t, [e for e in mine if e is not t]) for t in mine], *simple)]


#: What the board holds beside the quarterly tasks, the unit of its scores, and how it is tested.
TESTS: dict[str, tuple[str, Callable[[], list[Backtest]]]] = {
    "frontier record, 1 year ahead": ("log10", records), "notable models, 1 year ahead": ("log10", notable),
    "notable models of any rank, 1 year ahead": ("log10", lambda: notable(most_rank=None)),
    "notable models, vintage of June 2025": ("log10", real_time),
    "notable models of any rank, vintage of June 2025": ("log10", lambda: real_time(most_rank=None)),
    **{f"{kind}, two quarters or more ahead": ("ln", partial(disclosed, kind)) for kind in KINDS},
}  # fmt: skip


def scoreboard(*names: str) -> pl.DataFrame:
    """Every test by every model: CRPS, coverage with the interval that n allows, bias and n.

    Parameters
    ----------
    *names : str
        Tests of `TESTS`; by default these and all quarterly tasks, of capital expenditure and chips.

    Returns
    -------
    polars.DataFrame
        Columns test, series, model, n, crps, unit, sharpness, coverage_50, coverage_80, coverage_90 (with its 90 % interval low
        and high), coverage_is_85_to_95 (yes, no, too few to tell), bias (outcome less median),
        crps_beyond (over that of the first model of the test, with its standard error). Of all tests, a last row pools every series.

    Raises
    ------
    UnknownName
        For a test that the board does not have.

    Examples
    --------
    >>> scoreboard("notable models, 1 year ahead").select("model", "n").rows()[1]
    ('trend, half-life 4 years', 68)
    """
    tests: dict[str, tuple[str, list[Backtest]]] = {} if names else {task: ("ln", tests) for task, tests in quarterly().items()}
    for name in names or TESTS:
        if not isinstance(name, str) or name not in TESTS:
            raise UnknownName("test of the scoreboard", name, TESTS)
        tests[name] = TESTS[name][0], TESTS[name][1]()
    if not names:
        ours = [models[0] for unit, models in tests.values() if unit == "ln"]
        tests[POOLED] = "ln", [together([take(t, t.origins >= FROM - 1e-9) for t in ours], "every series")]
    rows = [{"test": task, **m.score(), "unit": unit, **_beyond(m, models[0])} for task, (unit, models) in tests.items() for m in models]
    return pl.DataFrame(rows)


def _beyond(test: Backtest, ours: Backtest) -> dict[str, float]:
    """CRPS of a model less that of the first of its test on the same outcomes, and the standard error as if these were independent."""
    less = crps(test.samples, test.observed) - crps(ours.samples, ours.observed)
    error = float(less.std(ddof=1) / np.sqrt(less.size)) if less.size > 1 else np.nan
    return {"crps_beyond": float(less.mean()), "crps_beyond_error": error}
