import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import catalogue
from workbench.chips import Load, ServingPlan, serving
from workbench.errors import InputError
from workbench.fabric import Cluster

H100 = Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR")


@pytest.fixture(scope="module")
def llama():
    return catalogue.llm("Llama-3.1-70B")


def test_one_user_and_long_output_is_bandwidth_bound(llama):
    # 70.6 G weights but the input embedding at one byte over 4 chips of 3.35 TB/s: about 5.2 ms
    point = serving(llama, H100, ServingPlan(4, "fp8", "fp8"), Load(1, 16, 4096))
    weights = llama.params - llama.vocab * llama.hidden
    kv = llama.kv_bytes(16 + 2048, 1)
    assert point.tpot == pytest.approx((weights + kv) / (4 * 3.35e12), rel=1e-9)


def test_model_that_does_not_fit_is_a_result_with_the_missing_bytes(llama):
    point = serving(llama, H100, ServingPlan(1, "bf16", "bf16"), Load(8, 1024, 128))
    assert not point.feasible
    assert point.tokens_per_second == 0
    assert point.tpot == np.inf
    # 141.1 GB of weights and 0.4 GB of cache against 0.9 * 80 - 2 GB
    assert point.missing_bytes == pytest.approx(141.1e9 + 0.38e9 - 70e9, rel=0.01)


def test_cache_limits_the_batch(llama):
    point = serving(llama, H100, ServingPlan(4, "fp8", "bf16"), Load([16, 10_000], 4096, 1024))
    assert point.batch[0] == 16
    assert point.batch[1] == np.floor((4 * (0.9 * 80e9 - 2e9) - llama.params) / llama.kv_bytes(5120, 2))


def test_mixture_reads_only_the_experts_its_batch_touches():
    mixtral = catalogue.llm("Mixtral-8x7B")
    one, many = (serving(mixtral, H100, ServingPlan(8, "fp8", "fp8"), Load(b, 16, 16)).tpot for b in (1, 64))
    assert one < 0.45 * many  # 2 of 8 experts against all of them


@given(st.integers(1, 512), st.integers(1, 8192), st.integers(2, 2048), st.floats(0.05, 1.0))
def test_limits(llama, users, s_in, s_out, efficiency):
    plan = ServingPlan(8, "fp8", "fp8")
    few, more = (serving(llama, H100, plan, Load(n, s_in, s_out), efficiency=efficiency) for n in (users, users + 1))
    assert more.tpot >= few.tpot * (1 - 1e-12)  # never faster for each with more users
    assert more.tokens_per_second >= few.tokens_per_second * (1 - 1e-12)  # nor slower for all of them
    assert few.tokens_per_second < few.batch / few.tpot  # its own prompt takes time too
    ideal = serving(llama, H100, plan, Load(users, s_in, s_out))
    assert few.tpot == pytest.approx(float(ideal.tpot / efficiency))


def test_broadcasting_equals_single_calls(llama):
    chips, users = np.array([[2], [4], [8]]), np.array([1, 16, 256, 4096])
    grid = serving(llama, H100, ServingPlan(chips, "fp8"), Load(users, 1024, 256))
    assert grid.tpot.shape == (3, 4)
    single = serving(llama, H100, ServingPlan(8, "fp8"), Load(256, 1024, 256))
    assert grid.tokens_per_second_per_chip[2, 2] == pytest.approx(float(single.tokens_per_second_per_chip))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda llm: serving(llm, H100, ServingPlan(128), Load(1, 1, 1)), "cannot have more chips than the cluster"),
        (lambda llm: serving(llm, H100, ServingPlan(8), Load(1, 130_000, 2_000)), "context window of Llama-3.1-70B: 131072"),
        (lambda llm: serving(llm, H100, ServingPlan(8), Load(1, 1, 1), efficiency=1.5), "efficiency = 1.5"),
        (lambda llm: serving(llm, H100, ServingPlan(8, "fp4"), Load(1, 1, 1)), "H100 has no fp4 peak"),
        (lambda llm: ServingPlan(8, "fp7"), "precision = 'fp7': expected one of bf16, fp8, fp4, int8"),
        (lambda llm: Load(0, 1, 1), "concurrency = 0: expected at least 1"),
        (lambda llm: Load(1, 1, 0), "output_tokens = 0: expected at least 1"),
    ],
)
def test_bad_input(llama, call, reason):
    with pytest.raises(InputError, match=reason):
        call(llama)
