import numpy as np
import pytest

from workbench import catalogue
from workbench.chips.machine import Exchange
from workbench.errors import InputError, UnknownName
from workbench.fabric import Cluster, tiers_of


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


@pytest.mark.parametrize(
    ("fabric", "said"),
    [
        ("NVSwitch NVL72", "of kind scale-up; what joins domains of H100: .*InfiniBand NDR.*RoCE 400G"),
        ("Optic 100G QSFP28", "of kind optic"),
        ("Spectrum-4 SN5600", "of kind switch"),
        ("ConnectX-7", "of kind nic"),
        ("ICI TPU v4", "of kind torus"),
    ],
)
def test_what_joins_no_domains_is_refused_with_the_choices(fabric, said):
    with pytest.raises(InputError, match=said):
        Cluster("H100", 512, fabric)


@pytest.mark.parametrize(
    ("fabric", "kind"),
    [
        ("Spectrum-X 800G", "RoCE"), ("RoCE 400G", "RoCE"), ("EFA v3 P5en", "EFA"), ("Slingshot 11", "Slingshot"),
        ("InfiniBand XDR", "InfiniBand"), ("GCP TCPX A3 High", "TCPX"),
    ],
)  # fmt: skip
def test_fabrics_by_their_transport(fabric, kind):
    assert tiers_of(Cluster("H100", 64, fabric))[1].kind == kind
    assert Exchange.of(Cluster("H100", 64, fabric)).transport == kind


def test_a_torus_joins_the_chips_of_a_pod_and_no_more():
    assert [int(tier.size) for tier in tiers_of(Cluster("TPU v5p", 4096, "ICI TPU v5p"))] == [4096, 1]
    with pytest.raises(InputError, match="n_chips = 17920: a torus of TPU v5p has at most 8960 chips; pods are joined by DCN TPU host"):
        tiers_of(Cluster("TPU v5p", 17920, "ICI TPU v5p"))


@pytest.mark.parametrize(
    ("given", "said"), [({"taper": 0}, "taper = 0"), ({"taper": 2}, "taper = 2"), ({"rails": -1}, "rails = -1"), ({"pod": 0}, "pod = 0")]
)
def test_a_fabric_that_cannot_be(given, said):
    with pytest.raises(InputError, match=said):
        Cluster("H100", 64, "RoCE 400G", **given)


def test_one_chip_is_said_as_one_and_too_many_are_refused():
    assert repr(Cluster("H100", 1)) == "Cluster(H100, 1 chip, InfiniBand XDR)"
    assert "2 chips" in repr(Cluster("H100", 2))
    with pytest.raises(InputError, match=r"n_chips = 1e\+30: expected a whole number 1 or more and at most 1e\+08"):
        Cluster("H100", 1e30)


def test_cards_without_links_share_a_host_and_reach_others_through_its_slot():
    l40s = Cluster("L40S", 16)
    assert (l40s.n_domains, float(l40s.bandwidth)) == (2, 31e9)  # eight to a host; a slot of PCIe 4.0 before a link of 100 GB/s
    assert float(Cluster("H100", 16).bandwidth) == 100e9
    inner, outer = tiers_of(l40s)
    assert (float(inner.size), float(outer.size), float(outer.bandwidth)) == (8, 2, 31e9)
