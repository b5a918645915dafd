import numpy as np
import pytest

from workbench import catalogue
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster


def test_announced_cluster_is_64_racks():
    # Microsoft Azure blog, October 2025: "more than 4,600" GB300 in NVL72 racks; 64 racks of 72 are 4,608
    cluster = Cluster("GB300", 4608, "InfiniBand XDR")
    assert repr(cluster) == "Cluster(GB300, 4608 chips, InfiniBand XDR)"
    assert cluster == Cluster(catalogue.chip("GB300"), 4608, "infiniband xdr")
    assert cluster.n_domains == 64
    assert cluster.link.bandwidth == 100e9  # 800 Gbit/s a port and direction


def test_broadcasts_and_counts_part_filled_domains():
    cluster = Cluster(catalogue.chip("GB300"), np.array([[1, 72, 73], [144, 4608, 100_000]]))
    assert cluster.n_domains.tolist() == [[1, 1, 2], [2, 64, 1389]]
    assert cluster.peak("bf16").shape == (2, 3)


@pytest.mark.parametrize("n", [0, -8, float("nan"), [8, 0], 1000.5, np.inf])
def test_bad_count(n):
    with pytest.raises(InputError, match=r"n_chips(\[1\])? = .*expected a whole number 1 or more"):
        Cluster(catalogue.chip("H100"), n)


@pytest.mark.parametrize("n", [True, "8", np.ma.masked_array([8, 16], mask=[False, True])])
def test_a_count_that_is_no_number(n):
    with pytest.raises(InputError, match=r"n_chips.*(expected a number|a masked array)"):
        Cluster(catalogue.chip("H100"), n)


def test_unknown_fabric_lists_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown link 'InfiniBand XDX'; nearest: .*InfiniBand XDR"):
        Cluster("H100", 8, "InfiniBand XDX")
    with pytest.raises(UnknownName, match="unknown chip 'H10'; nearest: H100"):
        Cluster("H10", 8)
