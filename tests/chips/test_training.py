import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import catalogue
from workbench.chips import training_run
from workbench.errors import InputError
from workbench.fabric import Cluster


@pytest.fixture(scope="module")
def llama():
    return catalogue.llm("Llama-3.1-405B")


def cluster(n, chip="H100"):
    return Cluster(catalogue.chip(chip), n, "InfiniBand NDR")


def test_llama_3_405b_took_the_gpu_hours_its_card_prints(llama):
    # Llama 3.1 model card: 30.84 M H100 hours. The Llama 3 paper: 15.6 T tokens (section 1), 38-43 % bf16 MFU (table 4),
    # "higher than 90 % effective training time" (section 3.3.4).
    run = training_run(llama, cluster(16_384), 15.6e12, mfu=0.40, utilisation=0.9)
    assert run.chip_hours == pytest.approx(30.84e6, rel=0.05)
    assert run.flop == pytest.approx(3.8e25, rel=0.01)  # the paper's section 3.2.1: "3.8 x 10^25 FLOPs"


def test_gpt3_compute(llama):
    gpt3 = catalogue.llm("GPT-3-175B")
    assert training_run(gpt3, cluster(1024), 300e9, mfu=0.5).flop == pytest.approx(3.14e23, rel=0.01)  # Brown et al. 2020, table D.1


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(1, 10**6), st.floats(1e9, 1e14))
def test_time_is_inverse_to_what_it_gets(llama, mfu, utilisation, n, tokens):
    one = training_run(llama, cluster(n), tokens, mfu=mfu, utilisation=utilisation)
    assert training_run(llama, cluster(2 * n), tokens, mfu=mfu, utilisation=utilisation).seconds == pytest.approx(one.seconds / 2)
    assert training_run(llama, cluster(n), 2 * tokens, mfu=mfu, utilisation=utilisation).seconds == pytest.approx(one.seconds * 2)
    assert one.seconds * one.useful_flop_per_s == pytest.approx(one.flop)


def test_broadcasting_equals_single_calls(llama):
    n, mfu = np.array([[8], [64]]), np.array([0.3, 0.4, 0.5])
    grid = training_run(llama, cluster(n), 1e12, mfu=mfu).seconds
    assert grid.shape == (2, 3)
    assert grid[1, 2] == pytest.approx(float(training_run(llama, cluster(64), 1e12, mfu=0.5).seconds))


@pytest.mark.parametrize(("name", "value"), [("mfu", 0), ("mfu", 1.2), ("mfu", float("nan")), ("utilisation", -0.1)])
def test_bad_share(llama, name, value):
    with pytest.raises(InputError, match=f"{name} = .*expected more than 0 and at most 1"):
        training_run(llama, cluster(8), 1e12, **({"mfu": 0.4} | {name: value}))


def test_precision_the_chip_lacks(llama):
    with pytest.raises(InputError, match=r"A100 has no fp8 peak; it has .*bf16"):
        training_run(llama, cluster(8, "A100"), 1e12, mfu=0.4, precision="fp8")
