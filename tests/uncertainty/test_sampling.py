"""Samples: balanced, reproducible, correlated as asked; paths with the covariance of their process."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

from workbench.errors import InputError, UnknownName
from workbench.uncertainty import Lognormal, Normal, Path, Pert, sample
from workbench.uncertainty.sampling import evaluated
from workbench.uncertainty.sobol import Net

AB = {"a": Lognormal(1, 2), "b": Pert(0, 1, 2)}


def test_points_are_those_of_scipy_without_scrambling():
    net = Net(7, 64, 0, 1)
    from workbench.uncertainty.sobol import DIGITS, _directions

    points = np.zeros((7, 64), dtype=np.uint64)
    for i, column in enumerate(_directions(7, 6).T):
        points[:, 1 << i : 2 << i] = points[:, : 1 << i] ^ column[:, None]
    assert {tuple(p) for p in points.T / 2.0**DIGITS} == {tuple(p) for p in qmc.Sobol(7, scramble=False).random_base2(6)}
    assert net.uniforms(2, 5).shape == (3, 64)


@given(st.integers(0, 2**31), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_each_randomisation_is_a_net(seed, replicates):
    """Every dimension has one point in each of n equal cells, and pairs of the first two in each of n equal boxes."""
    points = Net(30, 256, seed, replicates).uniforms(0, 30).reshape(30, replicates, 256)
    assert ((points > 0) & (points < 1)).all()
    assert (np.sort((256 * points).astype(int), axis=-1) == np.arange(256)).all()
    boxes = (16 * points[:2]).astype(int)
    assert (np.sort(16 * boxes[0] + boxes[1], axis=-1) == np.arange(256)).all()


def test_a_point_is_uniform_over_randomisations():
    points = Net(3, 4, 5, 4096).uniforms(0, 3).reshape(3, 4096, 4)
    assert stats.kstest(points[2, :, 1], "uniform").pvalue > 0.01
    assert abs(np.corrcoef(points[0, :, 0], points[1, :, 0])[0, 1]) < 0.06


def test_samples_are_seeded_and_independent():
    first, again, other = (sample(AB, 1024, seed) for seed in (0, 0, 1))
    assert all((first[k] == again[k]).all() for k in first)
    assert (first["a"] != other["a"]).any()
    assert abs(np.corrcoef(first["a"], first["b"])[0, 1]) < 0.02


def test_random_numbers_are_common_to_scenarios():
    base = sample(AB, 256, correlation={("a", "b"): 0.5})
    more = sample({**AB, "c": Normal(0, 1), "d": Path(5)}, 256, correlation={("a", "b"): 0.5, ("b", "c"): 0.2})
    longer, repeated = sample(AB, 512, correlation={("a", "b"): 0.5}), sample(AB, 256, correlation={("a", "b"): 0.5}, replicates=3)
    fixed = sample({"a": 1.5, "b": AB["b"]}, 256)
    for name in AB:
        np.testing.assert_allclose(more[name], base[name], rtol=1e-12)
        np.testing.assert_allclose(longer[name][:256], base[name], rtol=1e-12)
        np.testing.assert_allclose(repeated[name][:256], base[name], rtol=1e-12)
    assert (fixed["b"] == sample(AB, 256)["b"]).all()
    assert (fixed["a"] == 1.5).all()


def test_kept_normals_are_not_handed_out():
    inputs = {"x": Path(3), "y": Path(3)}
    first = sample(inputs, 64, correlation={("x", "y"): 0.5})
    for draws in first.values():
        draws *= 0  # a caller may write to its samples
    again = sample(inputs, 64, correlation={("x", "y"): 0.5})
    assert again["x"].std() > 0
    assert not Net(3, 64, 0, 1).normals(0, 3).flags.writeable
    large = Net(2, 2**20, 0, 1).normals(0, 2)  # too large to be kept
    assert large.std() == pytest.approx(1, abs=1e-3)


def test_correlation_is_of_the_normal_scores():
    draws = sample({**AB, "c": Lognormal(1, 9)}, 2**14, correlation={("a", "b"): 0.6, ("c", "a"): -0.4})
    scores = stats.norm.ppf([(stats.rankdata(draws[name]) - 0.5) / 2**14 for name in "abc"])
    np.testing.assert_allclose(np.corrcoef(scores), [[1, 0.6, -0.4], [0.6, 1, 0], [-0.4, 0, 1]], atol=2e-3)
    rank = stats.spearmanr(draws["a"], draws["b"]).statistic
    assert 2 * np.sin(np.pi * rank / 6) == pytest.approx(0.6, abs=2e-3)  # Pearson 1907


def test_full_correlation_is_one_random_number():
    draws = sample({"a": Normal(0, 1), "b": Normal(0, 2)}, 64, correlation={("a", "b"): 1.0})
    np.testing.assert_allclose(draws["b"], 2 * draws["a"], rtol=1e-6)


@pytest.mark.parametrize("rho", [1.0, 0.8, 0.0, -0.5])
@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_paths_have_the_covariance_of_their_process(rho, steps):
    weights = Path(steps, rho, 0.3).weights
    t = np.arange(1, steps + 1)
    early, lag = np.minimum.outer(t, t), np.abs(np.subtract.outer(t, t))
    variance = early if rho**2 == 1 else (1 - rho ** (2.0 * early)) / (1 - rho**2)
    np.testing.assert_allclose(weights @ weights.T, 0.3**2 * rho**lag * variance, atol=1e-12)


def test_sampled_paths_follow_their_recursion():
    draws = sample({"x": Path(40, 0.9, 0.1), "y": Path(40, 0.2, 2.0)}, 2**13, correlation={("x", "y"): 0.7})
    assert draws["x"].shape == (40, 2**13)
    assert draws["x"].flags.c_contiguous  # samples last
    shocks = [np.diff(draws[name], axis=0, prepend=0) + (1 - rho) * np.vstack([np.zeros((1, 2**13)), draws[name][:-1]]) for name, rho in
              (("x", 0.9), ("y", 0.2))]  # fmt: skip
    np.testing.assert_allclose(shocks[0].std(axis=1), 0.1, rtol=0.01)
    both = [np.corrcoef(x, y)[0, 1] for x, y in zip(*shocks, strict=True)]
    np.testing.assert_allclose(both, 0.7, atol=0.02)  # at the same time, whatever their rho
    assert abs(np.corrcoef(shocks[0][3], shocks[1][4])[0, 1]) < 0.03


def test_the_first_dimensions_carry_most_of_the_variance():
    walk, growth = Path(40).weights, Path(40, 0.9).weights
    assert (walk[:, :4] ** 2).sum() > 0.9 * (walk**2).sum()
    level = np.cumsum(growth, axis=0)  # of what grows at that rate
    assert (level[:, :4] ** 2).sum() > 0.95 * (level**2).sum()


def test_a_reverting_process_does_not_depend_on_the_step():
    coarse, fine = (Path.reverting(steps, rate=0.7, volatility=0.2, step=2.0 / steps) for steps in (4, 64))
    assert (coarse.weights[-1] ** 2).sum() == pytest.approx((fine.weights[-1] ** 2).sum(), rel=1e-12)
    assert (fine.weights[-1] ** 2).sum() == pytest.approx(0.2**2 * (1 - np.exp(-2 * 0.7 * 2)) / 1.4)  # Ornstein, Uhlenbeck 1930
    assert Path.reverting(4, rate=0.0, volatility=0.2, step=0.25) == Path(4, 1.0, 0.1)


def test_bridge_paths_beat_plain_ones():
    def average(x):  # over a random walk, as an Asian option; samples are replicates of 1,024
        return np.exp(x).mean(axis=0).reshape(32, 1024).mean(axis=1)

    bridged = average(sample({"x": Path(32, 1.0, 0.05)}, 1024, replicates=32)["x"])
    plain = average(0.05 * np.cumsum(np.random.default_rng(0).standard_normal((32, 32 * 1024)), axis=0))
    assert plain.std() > 20 * bridged.std()


def test_contradicting_correlations_name_the_eigenvalue():
    three = {c: Normal(0, 1) for c in "abc"}
    with pytest.raises(InputError, match=r"contradict each other: .* 3 inputs .* smallest eigenvalue -0\.4142"):  # 1 - sqrt(2)
        sample(three, 16, correlation={("a", "b"): 1.0, ("b", "c"): 1.0})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample(AB, n=100), r"n = 100: expected a power of two \(next: 128\)"),
        (lambda: sample({}, n=0), "n = 0: expected a power of two"),
        (lambda: sample(AB, seed=-1), "seed = -1"),
        (lambda: sample(AB, replicates=0), "replicates = 0"),
        (lambda: sample({"a": "1"}), "a = '1': expected a distribution, a path or a number"),
        (lambda: sample({"a": np.nan}), "a = nan: expected a finite number"),
        (lambda: sample({"a": True}), "a = True: expected a distribution, a path or a number"),
        (lambda: sample(AB, seed=True), "seed = True"),
        (lambda: sample(AB, correlation={("a", "b"): 1.5}), "correlation of 'a' and 'b' = 1.5: expected -1 or more and at most 1"),
        (lambda: sample(AB, correlation={("a", "b"): np.nan}), "= nan: expected -1 or more and at most 1"),
        (lambda: sample(AB, correlation={("a", "b"): 0.5, ("b", "a"): 0.5}), "is given twice"),
        (lambda: sample(AB, correlation={("a", "a"): 0.5}), "expected a pair of two inputs"),
        (lambda: sample({**AB, "p": Path(3)}, correlation={("a", "p"): 0.5}), "'a' and 'p': a number has none with a path"),
        (lambda: sample({"q": Path(4), "p": Path(3)}, correlation={("q", "p"): 0.5}), "4 and 3 steps, expected equally many"),
        (lambda: Path(0), "steps = 0"),
        (lambda: Path(3, rho=1.1), "rho = 1.1"),
        (lambda: Path(3, sigma=-1), "sigma = -1"),
        (lambda: Path.reverting(3, rate=-1, volatility=1, step=1), "rate = -1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(UnknownName, match="unknown input in correlation 'chip'; nearest: chips"):
        sample({"chips": Normal(0, 1), "power": Normal(0, 1)}, correlation={("chip", "power"): 0.1})


def test_a_model_that_breaks_names_the_inputs():
    draws = sample({"a": Normal(-1, 2), "p": Path(2)}, 64)
    with (
        pytest.raises(InputError, match=r"the model gives nan in \d+ of 64 samples, as in number \d+: a = -\d.*, p = \["),
        np.errstate(all="ignore"),
    ):
        evaluated(lambda a, p: np.sqrt(a) + p, draws)
    with pytest.raises(InputError, match=r"shape \(2,\) for 64 samples"):
        evaluated(lambda a, p: p[:, 0], draws)
    assert evaluated(lambda a, p: 3.0, draws).shape == (64,)
