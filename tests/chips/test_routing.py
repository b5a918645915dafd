import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import catalogue, chips
from workbench.errors import InputError
from workbench.fabric import Cluster

SHARES = st.floats(0, 1)


def test_ends_are_the_models_alone():
    none, all_ = (chips.routed(1.0, 10.0, 0.6, 0.9, share=s) for s in (0.0, 1.0))
    assert (none.cost, none.quality, none.saved) == (10, 0.9, 0)
    assert (all_.cost, all_.quality) == (1, 0.6)
    assert all_.saved == pytest.approx(0.9)


def test_a_cascade_pays_twice_for_what_it_escalates():
    plain, cascade = (chips.routed(1.0, 10.0, 0.6, 0.9, share=0.5, cascade=c) for c in (False, True))
    assert plain.cost == pytest.approx(5.5)
    assert cascade.cost == pytest.approx(6.0)


def test_skill_keeps_quality_until_easy_requests_are_used_up():
    # small answers 60 %, large 90 %: on 70 % of requests the small one does no worse
    shares = np.array([0.0, 0.5, 0.7, 0.9])
    found = chips.routed(1.0, 10.0, 0.6, 0.9, share=shares, skill=1.0)
    assert found.quality == pytest.approx([0.9, 0.9, 0.9, 0.7])


@given(SHARES, SHARES, SHARES, SHARES)
def test_quality_stays_between_the_models_and_skill_never_hurts(share, skill, a, b):
    low, high = sorted((a, b))
    found = chips.routed(1.0, 10.0, low, high, share=share, skill=skill)
    assert low - 1e-9 <= found.quality <= high + 1e-9
    assert found.quality >= chips.routed(1.0, 10.0, low, high, share=share).quality - 1e-9


def test_many_small_variants_share_a_replica():
    llm, cluster = catalogue.llm("Llama-3.1-8B"), Cluster(catalogue.chip("H100"), 8, "InfiniBand NDR")
    found = chips.adapters(
        llm, cluster, chips.ServingPlan(1), chips.Load(64, 1024, 256), variants=np.array([1, 10, 100]), rate=0.01, rank=16, framework="vLLM"
    )
    assert found.separate.tolist() == [1, 10, 100]
    assert found.shared[2] < 10
    assert (np.diff(found.slowdown) > 0).all()
    assert found.fits.all()


def test_bad_input():
    with pytest.raises(InputError, match=r"share = 1\.2: expected 0 or more and at most 1"):
        chips.routed(1, 10, 0.6, 0.9, share=1.2)
    with pytest.raises(InputError, match="small_cost = -1"):
        chips.routed(-1, 10, 0.6, 0.9, share=0.5)
