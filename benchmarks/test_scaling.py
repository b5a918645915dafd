"""Fits and optima of scaling laws against the ways of the field, on the same points in the same run, one thread.

The points are external (`catalogue.external`); the peer `chinchilla` is timed where it is installed (`pip install chinchilla`).
"""

import itertools
import tempfile

import numpy as np
import pytest

from workbench import catalogue, scaling
from workbench.errors import DataError


@pytest.fixture(scope="module")
def points():
    try:
        frame = scaling.chinchilla_points(str(catalogue.external("chinchilla-points", download=False)))
    except DataError as error:
        pytest.skip(f"needs external data: {error}")
    return tuple(frame[c].to_numpy() for c in ("params", "tokens", "loss"))


def huber(points):
    """Weighted Huber losses of log residuals and their gradient in e, a, b, alpha, beta."""
    x, y, log_loss = np.log(points)

    def objective(t, w):
        logs = np.stack([np.full_like(x, t[0]), t[1] - t[3] * x, t[2] - t[4] * y])
        top = logs.max(axis=0)
        terms = np.exp(logs - top)
        total = terms.sum(axis=0)
        e, u, v = terms / total
        r = top + np.log(total) - log_loss
        clipped = np.clip(r, -1e-3, 1e-3)
        slope = w * clipped
        return slope @ (r - 0.5 * clipped), np.array([slope @ e, slope @ u, slope @ v, -(slope * u) @ x, -(slope * v) @ y])

    return objective


@pytest.mark.benchmark(group="one fit of the 240 Chinchilla points")
def test_fit(benchmark, points):
    found = benchmark(scaling.fit, *points)
    benchmark.extra_info["objective"] = f"{found.objective:.10e}"
    assert found.objective <= 1.01827402e-3


@pytest.mark.benchmark(group="one fit of the 240 Chinchilla points")
def test_grid_of_starts(benchmark, points):
    """Every 90th of the paper's 4,500 starts by scipy's L-BFGS-B with an analytic gradient; the time is scaled to all."""
    from scipy.optimize import minimize

    best, ones = scaling.fit(*points), np.ones(points[0].size)
    axes = (np.arange(-1, 1.01, 0.5), np.arange(0, 25.1, 5), np.arange(0, 25.1, 5), np.arange(0, 2.01, 0.5), np.arange(0, 2.01, 0.5))
    starts = list(itertools.product(*axes))
    benchmark.extra_info["cases"] = len(starts[::90]) / len(starts)
    run = lambda: [minimize(huber(points), s, (ones,), jac=True, method="L-BFGS-B").fun for s in starts[::90]]  # noqa: E731
    found = np.array(benchmark.pedantic(run, rounds=3))
    benchmark.extra_info["missed"] = f"{np.mean(found > best.objective * (1 + 1e-4)):.2f}"


@pytest.mark.benchmark(group="one fit of the 240 Chinchilla points")
def test_peer_chinchilla_of_243_starts(benchmark, points):
    peer = pytest.importorskip("chinchilla", reason="pip install chinchilla")
    from chinchilla._metrics import log_huber

    ends = {"e": (-1, 1), "a": (0, 25), "b": (0, 25), "alpha": (0, 2), "beta": (0, 2)}
    grid = {name: np.linspace(low, high, 3) for name, (low, high) in ends.items()}

    def run():
        with tempfile.TemporaryDirectory() as folder:
            cc = peer.Chinchilla(folder, param_grid=grid, loss_fn=lambda y, p: log_huber(y, p, delta=1e-3), log_level=40)
            for n, d, loss in zip(*points, strict=True):
                cc.append(N=n, D=d, loss=loss)
            cc.fit(parallel=False)
            return cc

    cc = benchmark.pedantic(run, rounds=1)
    law = scaling.AdditiveLaw(name="peer", E=cc.E, A=cc.A, B=cc.B, alpha=cc.alpha, beta=cc.beta)
    r = np.abs(np.log(law.loss(points[0], points[1]) / points[2]))
    benchmark.extra_info["objective"] = f"{np.where(r <= 1e-3, r * r / 2, 1e-3 * (r - 5e-4)).sum():.10e}"


@pytest.mark.benchmark(group="bootstrap refits")
def test_bootstrap_of_4000(benchmark, points):
    benchmark.extra_info["cases"] = 4000
    refits = benchmark(scaling.bootstrap, *points)
    assert refits.converged == 1


@pytest.mark.benchmark(group="bootstrap refits")
def test_a_loop_over_single_fits(benchmark, points):
    """The same refits one at a time: scipy's BFGS from the optimum, analytic gradient."""
    from scipy.optimize import minimize

    best, n = scaling.fit(*points), points[0].size
    start = np.array([np.log(best.E), np.log(best.A), np.log(best.B), best.alpha, best.beta])
    drawn = np.random.RandomState(42).randint(0, n, (40, n))
    weights = [np.bincount(row, minlength=n).astype(float) for row in drawn]
    benchmark.extra_info["cases"] = 40
    benchmark.pedantic(lambda: [minimize(huber(points), start, (w,), jac=True, method="BFGS") for w in weights], rounds=3)


LAWS = {
    k: getattr(scaling.law("Besiroglu Huber"), k) * np.random.default_rng(0).uniform(0.95, 1.05, (4000, 1))
    for k in ("E", "A", "B", "alpha", "beta")
}
BUDGETS = np.geomspace(1e20, 1e27, 100)


@pytest.mark.benchmark(group="compute-optimal models, 4,000 laws by 100 budgets")
def test_one_call(benchmark):
    law = scaling.AdditiveLaw(name="many", **LAWS)
    benchmark.extra_info["cases"] = 400_000
    assert benchmark(scaling.optimal_allocation, BUDGETS, law).loss.shape == (4000, 100)


@pytest.mark.benchmark(group="compute-optimal models, 4,000 laws by 100 budgets")
def test_scipy_one_at_a_time(benchmark):
    from scipy.optimize import minimize_scalar

    def one(i, c):
        e, a, b, alpha, beta = (float(LAWS[k][i, 0]) for k in ("E", "A", "B", "alpha", "beta"))
        return minimize_scalar(
            lambda n: e + a * np.exp(-alpha * n) + b * (c / 6 * np.exp(-n)) ** -beta, bounds=(10, 40), method="bounded"
        ).x

    benchmark.extra_info["cases"] = 400
    benchmark.pedantic(lambda: [one(i, c) for i in range(4) for c in BUDGETS], rounds=3)
