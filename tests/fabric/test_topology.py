import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import fabric
from workbench.errors import InputError


def counts(t):
    return tuple(int(x) for x in (t.leaf, t.spine, t.core, t.endpoint_cables, t.leaf_cables, t.spine_cables))


@pytest.mark.parametrize(
    ("n", "published"),
    [
        (2048, (64, 32, 0, 2048, 2048, 0)),
        (4096, (128, 128, 64, 4096, 4096, 4096)),
        (8192, (256, 256, 128, 8192, 8192, 8192)),
        (16384, (512, 512, 256, 16384, 16384, 16384)),
    ],
)
def test_nvidias_b200_table(n, published):
    # DGX SuperPOD B200 reference architecture, architecture page: radix 64 at 400G, three tiers above 64^2 / 2
    assert counts(fabric.fat_tree(n, 64, 50e9)) == published


def test_nvidias_h100_table():
    # DGX SuperPOD H100 reference architecture, table 4: 2 SU of 32 slots on 8 rails
    assert counts(fabric.fat_tree(512, 64, 50e9, group=32))[:2] == (16, 8)


@pytest.mark.parametrize(("units", "leaf", "spine"), [(4, 32, 18), (8, 64, 36), (18, 144, 72)])
def test_nvidias_b300_xdr_table(units, leaf, spine):
    # DGX SuperPOD B300 XDR, table 3: plain rounding up would give 16 and 32 spines
    t = fabric.fat_tree(units * 576, 144, 100e9, group=72)
    assert (t.leaf, t.spine) == (leaf, spine)


def test_two_planes_of_spectrum_x():
    # DGX SuperPOD B300, table 3: 1,024 GPUs with two ports of 400G, switches of 128 ports
    t = fabric.fat_tree(1024, 128, 50e9, planes=2)
    assert (t.leaf, t.spine, t.endpoint_cables / 2) == (32, 16, 1024)


def test_the_announced_gb300_cluster():
    # 4,608 GB300 on Quantum-X800: the 8 SU row of the B300 XDR table
    t = fabric.fat_tree(4608, 144, 100e9)
    assert t.switches == 100
    assert t.bisection == 4608 / 2 * 100e9
    assert t.endpoint_cables + t.leaf_cables + t.spine_cables == t.cables == 9216


def test_tpu_v4():
    # Jouppi et al. (2023): 4,096 chips in 64 cubes, 48 optical circuit switches
    assert fabric.optical_switches(64) == 48


def test_dragonfly_of_kim_and_others():
    assert fabric.dragonfly(8, 4, 4, 1.0).endpoints == 1056  # Kim et al. (2008), balanced, a = 8
    assert fabric.dragonfly(32, 16, 16, 1.0).endpoints == 262_656


@given(st.integers(1, 60_000), st.sampled_from([32, 64, 128, 144]), st.floats(0.25, 1.0))
def test_ports_suffice_and_counts_are_whole(n, radix, taper):
    if n > radix**3 / 4:
        return
    t = fabric.fat_tree(n, radix, 50e9, taper=taper)
    for count in (t.leaf, t.spine, t.core, t.leaf_cables):
        assert count == int(count)
    assert t.leaf * radix >= t.endpoint_cables + t.leaf_cables
    if t.tiers == 2:
        assert t.spine * radix >= t.leaf_cables
    assert t.leaf >= 1


def test_arrays_are_the_same_as_one_at_a_time():
    n = np.array([512, 4608, 20_000])
    many = fabric.fat_tree(n, 144, 100e9)
    assert many.switches.tolist() == [float(fabric.fat_tree(x, 144, 100e9).switches) for x in n]
    assert many.frame().height == 3


def test_tapering_saves_spines_and_bisection():
    full, half = (fabric.fat_tree(4608, 144, 100e9, taper=x) for x in (1.0, 0.5))
    assert half.switches < full.switches
    assert half.bisection == full.bisection / 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: fabric.fat_tree(100_000, 64, 50e9), "radix = 64 joins 65,536 endpoints in three tiers; 100,000 need 74 ports"),
        (lambda: fabric.fat_tree(100, 63, 50e9), "an even number"),
        (lambda: fabric.fat_tree(0, 64, 50e9), "endpoints = 0"),
        (lambda: fabric.fat_tree(100, 64, 50e9, taper=1.5), "taper = 1.5"),
        (lambda: fabric.fat_tree([100, 300_000], 64, 50e9), "radix = 64 joins 65,536 endpoints in three tiers; 300,000 need 108 ports"),
        (lambda: fabric.fat_tree(4608.5, 64, 50e9), "endpoints = 4608.5: expected a whole number"),
        (lambda: fabric.fat_tree(np.inf, 64, 50e9), "endpoints = inf"),
        (lambda: fabric.fat_tree(100, 1e30, 50e9), r"radix = 1e\+30: expected a whole number 2 or more and at most 65536"),
        (lambda: fabric.fat_tree(100, 64, 50e9, taper=[0.5, 1e-3]), "taper = 0.001: more than one leaf, and none would have an uplink"),
        (lambda: fabric.fat_tree([1, 2, 3], [64, 64, 64, 128], 50e9), r"endpoints of shape \(3,\) and radix of shape \(4,\)"),
        (lambda: fabric.fat_tree(100, 64, 50e9).optics(1.5), "copper_endpoints = 1.5"),
        (lambda: fabric.dragonfly(0, 1, 1, 1.0), "routers_per_group = 0: expected a whole number 1 or more"),
        (lambda: fabric.dragonfly(8, 4, 4, -1e11), r"link_bandwidth = -100000000000: expected more than 0"),
    ],
)
def test_bad_input_is_named(wrong, said):
    with pytest.raises(InputError, match=said):
        wrong()


PRICES = {"switch_usd": 5e4, "optic_usd": 1000, "cable_usd": 50, "nic_usd": 1500, "switch_watts": 3000}


def test_slingshot_is_the_dragonfly_of_its_paper():
    # De Sensi et al. (2020), section II: 545 groups of 32 switches and 512 endpoints
    assert fabric.dragonfly(32, 16, 17, 25e9).endpoints == 279_040
    with pytest.raises(InputError, match="reach 279,040"):
        fabric.dragonfly(32, 16, 17, 25e9, endpoints=300_000)


@given(st.integers(1, 5000))
def test_a_bill_follows_the_topology_of_its_fabric(hosts):
    n = hosts * 4
    flat = fabric.bill(fabric.Cluster("GH200", n, "Slingshot 11"), **PRICES)
    tree = fabric.bill(fabric.fat_tree(n, 64, 25e9), **PRICES)
    net = flat.topology
    for count in (net.leaf, net.leaf_cables, net.spine_cables):
        assert count == int(count)
    assert net.switches * 64 >= n + 2 * (net.leaf_cables + net.spine_cables)  # ports suffice
    if tree.topology.tiers == 3:
        assert net.optics() < tree.topology.optics()  # local links are copper
    torus = fabric.bill(fabric.Cluster("TPU v5p", n, "ICI TPU v5p"), **PRICES)
    assert torus.topology.switches == torus.usd["nics"] == 0
    assert torus.topology.circuits == (48 if n >= 64 else 0)


def test_bills_know_rails_taper_and_pods_without_a_known_cabling():
    full, thin, half = (fabric.bill(fabric.Cluster("H100", 2048, "InfiniBand NDR", **how), **PRICES).topology for how in (
        {}, {"taper": 0.5}, {"rails": 0.5}))  # fmt: skip
    assert counts(full) == counts(fabric.fat_tree(2048, 64, 50e9))
    assert thin.spine < full.spine
    assert half.endpoints == 1024
    with pytest.raises(InputError, match="found in no publication"):
        fabric.bill(fabric.Cluster("TPU v5e", 256, "ICI TPU v5e"), **PRICES)
