import numpy as np
import pytest

from workbench import catalogue, scaling
from workbench.errors import DataError


@pytest.fixture(scope="session")
def chinchilla():
    """The 240 points of Besiroglu et al. (2024), where they are at hand: they are not ours to ship."""
    try:
        frame = scaling.chinchilla_points(str(catalogue.external("chinchilla-points", download=False)))
    except DataError as error:
        pytest.skip(f"needs external data: {error}")
    return tuple(frame[c].to_numpy() for c in ("params", "tokens", "loss"))


@pytest.fixture(scope="session")
def truth():
    """A law to find again."""
    return scaling.AdditiveLaw(name="truth", E=1.7, A=400.0, B=1500.0, alpha=0.34, beta=0.33)


@pytest.fixture(scope="session")
def runs():
    """A maker of training runs that follow a law, with noise in the logarithm of loss."""

    def make(law, n=60, noise=0.0, seed=0):
        rng = np.random.default_rng(seed)
        params, tokens = np.exp(rng.uniform(np.log(5e7), np.log(2e10), n)), np.exp(rng.uniform(np.log(1e9), np.log(5e11), n))
        return params, tokens, law.loss(params, tokens) * np.exp(noise * rng.standard_normal(n))

    return make
