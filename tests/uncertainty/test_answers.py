"""Bands, probabilities and sensitivities, on functions with known answers and on models of the fleet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench import catalogue, energy, fleet, uncertainty
from workbench.errors import InputError, UnknownName
from workbench.uncertainty import Lognormal, Normal, Path, Pert, Uniform, one_at_a_time, sample, sobol_indices
from workbench.uncertainty.sampling import evaluated
from workbench.uncertainty.summaries import bands

STANDARD = Normal(*stats.norm.ppf([0.05, 0.95]))
TURN = {c: Uniform(-np.pi, np.pi) for c in "abc"}


def ishigami(a, b, c):
    return np.sin(a) + 7 * np.sin(b) ** 2 + 0.1 * c**4 * np.sin(a)


def test_ishigami():
    # Saltelli et al. (2010), table 3, from Ishigami, Homma (1990): S = .314, .442, 0; ST = .558, .442, .244
    found = sobol_indices(ishigami, TURN, n=2**13)
    np.testing.assert_allclose(found.first, [0.3139, 0.4424, 0.0], atol=5e-3)
    np.testing.assert_allclose(found.total, [0.5576, 0.4424, 0.2437], atol=5e-3)
    assert found.variance == pytest.approx(0.5 + 49 / 8 + 0.1 * np.pi**4 / 5 + 0.01 * np.pi**8 / 18, rel=1e-3)
    assert found.frame()["input"].to_list() == ["a", "b", "c"]


def test_a_group_holds_the_interactions_of_its_members():
    found = sobol_indices(ishigami, TURN, n=2**13, groups={"a and c": ["a", "c"]})
    assert found.groups == ("a and c", "b")
    np.testing.assert_allclose(found.first, [0.5576, 0.4424], atol=5e-3)
    np.testing.assert_allclose(found.total, found.first, atol=5e-3)


def test_correlated_inputs_as_a_group():
    """y = a + b + c with a, b of correlation r: the group explains (2 + 2 r) / (3 + 2 r) of the variance."""
    found = sobol_indices(lambda a, b, c: a + b + c, {c: STANDARD for c in "abc"}, groups={
        "ab": ["a", "b"]}, correlation={("a", "b"): 0.6})  # fmt: skip
    np.testing.assert_allclose(found.first, [3.2 / 4.2, 1 / 4.2], atol=3e-3)
    np.testing.assert_allclose(found.total, [3.2 / 4.2, 1 / 4.2], atol=3e-3)


def test_indices_of_several_outputs_and_of_paths():
    """Level after t steps of a walk plus a number: the walk explains t s^2 / (t s^2 + 1); a constant output hangs on nothing."""
    inputs = {"x": Path(8, 1.0, 0.5), "c": STANDARD}
    found = sobol_indices(lambda x, c: np.vstack([x + c, np.ones_like(c)]), inputs)
    t = np.arange(1, 9) / 4
    np.testing.assert_allclose(found.first[0, :8], t / (t + 1), atol=0.01)
    np.testing.assert_allclose(found.total[1, :8], 1 / (t + 1), atol=0.01)
    assert (found.first[:, 8] == 0).all()
    assert (found.total[:, 8] == 0).all()
    with pytest.raises(InputError, match="a frame shows one"):
        found.frame()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"groups": {"x": ["a", "b"], "y": ["b", "c"]}}, "groups overlap: 'b' is in 'x' and in 'y'"),
        ({"groups": {"x": "ab"}}, "expected a sequence"),
        ({"groups": {"c": ["a", "b"]}}, "group 'c' has the name of an input"),
        ({"correlation": {("a", "b"): 0.5}}, "correlation of 'a' and 'b', which are in different groups"),
        ({"n": 100}, "power of two"),
    ],
)
def test_bad_groups(changed, message):
    with pytest.raises(InputError, match=message):
        sobol_indices(ishigami, TURN, **changed)


def test_a_group_of_unknown_inputs():
    with pytest.raises(UnknownName, match="unknown input in group 'x' 'd'"):
        sobol_indices(ishigami, TURN, groups={"x": ["d"]})


def test_indices_of_a_model_that_breaks():
    with pytest.raises(InputError, match="the model gives nan in"), np.errstate(invalid="ignore"):
        sobol_indices(lambda a, b, c: np.sqrt(a), TURN)


def owning(chip_price, electricity_usd_per_kwh, pue, wacc, server_life):
    return fleet.ownership_cost(
        n_chips=4608, chip_price=chip_price, power=energy.server_power(catalogue.chip("GB300"), 0.7), pue=pue,
        electricity_usd_per_kwh=electricity_usd_per_kwh, wacc=wacc, server_life_years=server_life, server_uplift=1.15,
    ).per_chip_hour  # fmt: skip


OWNING = {
    "chip_price": Lognormal(30_000, 55_000),
    "electricity_usd_per_kwh": Lognormal(0.04, 0.12),
    "pue": Pert(1.05, 1.2, 1.5),
    "wacc": Pert(0.02, 0.09, 0.16),
    "server_life": Pert(3, 5, 7),
}


def exceeding(values, threshold, replicates):
    """Probability that values exceed a threshold, and the standard error that the spread of the replicates shows."""
    means = np.reshape(values > threshold, (replicates, -1)).mean(axis=1)
    return means.mean(), means.std(ddof=1) / np.sqrt(replicates)


def test_a_model_of_the_fleet_in_every_future():
    draws = sample(OWNING, 1024, correlation={("electricity_usd_per_kwh", "wacc"): 0.3}, replicates=4)
    cost = evaluated(owning, draws)
    one = {name: x[17] for name, x in draws.items()}
    assert cost[17] == pytest.approx(float(owning(**one)), rel=1e-12)
    again = evaluated(owning, sample(OWNING, 2**14, 9, correlation={("electricity_usd_per_kwh", "wacc"): 0.3}, replicates=4))
    (dear, error), (surely, _) = (exceeding(x, 1.1 * again.mean(), 4) for x in (cost, again))
    assert abs(dear - surely) < 6 * error
    assert cost.mean() == pytest.approx(again.mean(), rel=1e-3)
    indices = sobol_indices(owning, OWNING, n=1024).frame()
    assert set(indices["input"][:2]) == {"chip_price", "server_life"}  # of an owned chip-hour, most is capital
    assert 0.95 < indices["first_order"].sum() < 1.02


def test_pooling_in_every_future():
    """Servers for two loads, apart and together: pooling never asks for more, in no future."""

    def saved(load, peak, wait):
        apart = fleet.servers_needed(load, wait) + fleet.servers_needed(peak * load, wait)
        return 1 - np.minimum(apart, fleet.servers_needed((1 + peak) * load, wait)) / np.maximum(apart, 1)

    inputs = {"load": Lognormal(50, 800), "peak": Uniform(0.2, 3.0), "wait": Uniform(0.05, 0.5)}
    share = evaluated(saved, sample(inputs, 2048, replicates=2))
    assert (share >= 0).all()
    assert np.mean(share > 0.02) > 0.3
    assert sobol_indices(saved, inputs, n=512).frame()["input"][0] == "load"  # small fleets gain most


def test_bands_of_any_shape():
    x = np.random.default_rng(0).normal(size=(3, 5, 4001))
    found = bands(x, levels=(0.5, 0.9))
    assert (found.median.shape, found.low.shape) == ((3, 5), (2, 3, 5))
    assert (found.low[1, 2, 3], found.high[1, 2, 3]) == pytest.approx(uncertainty.band(x[2, 3], 0.9))
    frame = found.frame(region=["x", "y", "z"], quarter=range(5))
    assert frame.columns == ["region", "quarter", "level", "low", "median", "high"]
    assert frame.row(2 * 5 + 3, named=True) == {
        "region": "z", "quarter": 3, "level": 0.5, "low": found.low[0, 2, 3], "median": found.median[2, 3], "high": found.high[0, 2, 3],
    }  # fmt: skip
    with pytest.raises(InputError, match="labels"):
        found.frame(quarter=range(5))


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20))
def test_bands_are_nested(values):
    found = bands(values, levels=(0.5, 0.8, 0.95))
    assert (np.diff(found.low) <= 1e-12).all()
    assert (np.diff(found.high) >= -1e-12).all()
    assert found.low[0] <= found.median <= found.high[0]


def test_band():
    assert uncertainty.band(np.arange(101), 0.8) == pytest.approx((10, 90))


def test_standard_errors_hold():
    """Over many seeds the error is as large as the standard error says: t-distributed with replicates - 1 degrees."""
    errors = []
    for seed in range(200):
        x = sample({"a": STANDARD, "b": STANDARD}, 32, seed, replicates=8)
        found, error = exceeding(x["a"] + x["b"], 1.0, 8)
        errors.append((found - stats.norm.sf(1 / np.sqrt(2))) / max(error, 1e-9))
    assert np.mean(np.abs(errors) < stats.t.ppf(0.95, 7)) == pytest.approx(0.9, abs=0.06)


def demand_over_supply(**x):
    return x["users"] * x["tasks"] * x["tokens"] * x["params"] / (x["software"] * x["chips"] * x["power"] * x["utilisation"])


FACTORS = {
    "tokens": Lognormal(0.4, 2.5), "params": Lognormal(0.4, 2.5), "tasks": Lognormal(0.5, 2), "users": Lognormal(0.6, 1.6),
    "software": Lognormal(0.6, 1.7), "utilisation": Lognormal(0.7, 1.4), "chips": Lognormal(0.8, 1.25), "power": Lognormal(0.8, 1.3),
}  # fmt: skip
TOKENS = stats.lognorm(np.log(2.5) / stats.norm.ppf(0.95))  # the first of them, for its distribution function


def test_sobol_points_beat_monte_carlo():
    truth = sum((1 if i < 4 else -1) * np.log(d.p5 * d.p95) / 2 for i, d in enumerate(FACTORS.values()))
    sobol = sample(FACTORS, 1024, replicates=64)
    u = np.random.default_rng(0).random((len(FACTORS), 64 * 1024))
    chance = {name: d.quantile(p) for (name, d), p in zip(FACTORS.items(), u, strict=True)}

    def error(model, draws):
        """Of the mean of 1,024 samples, and the mean of all."""
        means = np.reshape(model(**draws), (64, 1024)).mean(axis=1)
        return means.std(), means.mean()

    def logarithm(**x):
        return np.log(demand_over_supply(**x))

    def shortage(**x):
        return demand_over_supply(**x) > 1

    def smooth(**x):
        return 1 - TOKENS.cdf(1 / demand_over_supply(**x | {"tokens": 1.0}))

    assert error(logarithm, chance)[0] > 30 * error(logarithm, sobol)[0]
    assert error(logarithm, sobol)[1] == pytest.approx(truth, abs=1e-3)
    plain = error(shortage, chance)[0]
    assert plain / error(smooth, sobol)[0] > 2 * plain / error(shortage, sobol)[0] > 2
    assert error(smooth, sobol)[1] == pytest.approx(error(shortage, sobol)[1], abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uncertainty.band([1, 2], 1.5), "level = 1.5"),
        (lambda: bands([1, 2], [0.5, 1.0]), r"levels\[1\] = 1: expected more than 0 and less than 1"),
        (lambda: uncertainty.band([1, np.nan]), r"values\[1\] = nan"),
        (lambda: uncertainty.band([]), "last axis is samples, one or more"),
        (lambda: bands([]), "last axis is samples, one or more"),
        (lambda: bands(np.ma.masked_array([1.0, 2.0], mask=[False, True])), "values: a masked array"),
        (lambda: bands([1.0, np.nan]), r"values\[1\] = nan: expected a finite number"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 10))
def test_one_at_a_time_equals_single_calls(a, b, spread):
    def model(a, b):
        return a**2 + 3 * b

    ranges = {"a": (a, a + spread), "b": (b - spread, b)}
    swings = one_at_a_time(model, {"a": a, "b": b}, ranges)
    assert swings["a"] == pytest.approx((model(a, b), model(a + spread, b)))
    assert swings["b"] == pytest.approx((model(a, b - spread), model(a, b)))


@pytest.mark.parametrize(
    ("base", "ends", "message"),
    [
        (1.0, {"c": (0, 1)}, "ranges names 'c'"),
        (np.nan, {"b": (0, 1)}, "a = nan: expected a number"),
        (1.0, {"a": (0, np.nan)}, r"range of a\[1\] = nan"),
        (1.0, {"a": (0, 1, 2)}, r"range of a = \(0, 1, 2\): expected \(low, high\)"),
        (-1.0, {"b": (0, 1)}, r"the model's result\[0\] = nan"),
    ],
)
def test_one_at_a_time_with_what_is_no_input(base, ends, message):
    with pytest.raises(InputError, match=message), np.errstate(invalid="ignore"):
        one_at_a_time(lambda a, b: np.sqrt(a) + b, {"a": base, "b": 1.0}, ends)
