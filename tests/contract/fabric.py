"""Cases of the contract: workbench.fabric."""

from dataclasses import replace

from contract.harness import Case
from workbench import fabric
from workbench.fabric.goodput import optimal_interval
from workbench.fabric.wan import round_trip

H100 = fabric.Cluster("H100", 64, "InfiniBand NDR")
TREE = fabric.fat_tree(4608, 144, 100e9)
SITES = {
    "gradient_bytes": 8e11,
    "step_seconds": 8.0,
    "sites": 2,
    "bandwidth": 1e12,
    "distance": 1e6,
    "overlap": 0.25,
    "every": 4,
    "window": 1e9,
}
SITES_MANY = {
    "gradient_bytes": (1e11, 8e11, 1e13), "step_seconds": (1.0, 8.0, 30.0), "sites": (1, 2, 8), "bandwidth": (1e9, 1e12, 1e13),
    "distance": (0, 1e6, 5e6), "overlap": (0, 0.25, 1), "every": (1, 4, 500), "window": (1e6, 1e9, 1e12),
}  # fmt: skip
SITES_ALLOW = {"distance": ("zero",), "overlap": ("zero",), "bandwidth": ("infinite",), "window": ("infinite",)}
PRICES = {
    "switch_usd": 5e4,
    "optic_usd": 1e3,
    "cable_usd": 50.0,
    "nic_usd": 1500.0,
    "switch_watts": 3e3,
    "nic_watts": 30.0,
}


def of_sites(name, *arguments, **base):
    """A function of several sites."""
    base = base | {a: SITES[a] for a in arguments}
    many = {a: (0.01, 0.02, 0.1) if a == "loss" else SITES_MANY[a] for a in base}
    whole = tuple(a for a in ("sites", "every") if a in base)
    return Case(f"fabric.{name}", getattr(fabric, name), base, many, whole=whole, allow={a: k for a, k in SITES_ALLOW.items() if a in base})


CASES = [
    Case(
        "fabric.Cluster",
        lambda n_chips: fabric.Cluster(H100.chip, n_chips),
        {"n_chips": 64},
        {"n_chips": (1, 64, 100)},
        whole=("n_chips",),
        read=lambda c: {"domains": c.n_domains, "peak": c.peak("bf16")},
    ),
    Case(
        "fabric.latency",
        fabric.latency,
        {"latitude": 52.0, "longitude": 21.0, "to_latitude": 39.0, "to_longitude": -77.0},
        {"latitude": (-30, 52, 5), "longitude": (-100, 21, 150), "to_latitude": (-80, 39, 70), "to_longitude": (-77, 3, 179)},
        allow={name: ("zero", "negative") for name in ("latitude", "longitude", "to_latitude", "to_longitude")},
    ),
    Case(
        "fabric.tiers_of",
        lambda n_chips: fabric.tiers_of(H100, n_chips),
        {"n_chips": 16},
        {"n_chips": (4, 16, 64)},
        whole=("n_chips",),
    ),
    Case(
        "fabric.Tier",
        fabric.Tier,
        {"size": 8, "bandwidth": 45e10},
        {"size": (1, 8, 72), "bandwidth": (1e9, 45e9, 45e10)},
        whole=("size",),
        read=lambda tier: replace(fabric.collective_time("all_reduce", 1e6, [tier]), evidence=None),  # it is that of the largest
    ),
    Case(
        "fabric.collective_time",
        lambda message_bytes, size, bandwidth: fabric.collective_time(
            "all_gather", message_bytes, [fabric.Tier(8, 45e10, "scale-up", "H100"), fabric.Tier(size, bandwidth, "InfiniBand")]
        ),
        {"message_bytes": 1e6, "size": 4, "bandwidth": 5e10},
        {"message_bytes": (8, 1e6, 1e10), "size": (1, 4, 100), "bandwidth": (1e10, 5e10, 1e11)},
        whole=("size",),
        read=lambda time: replace(time, evidence=None),
    ),
    Case(
        "fabric.fat_tree",
        fabric.fat_tree,
        {"endpoints": 4608, "radix": 144, "port_bandwidth": 1e11, "planes": 1, "group": 32, "taper": 1.0},
        {
            "endpoints": (1, 4608, 20_000),
            "radix": (64, 128, 144),
            "port_bandwidth": (1e10, 5e10, 1e11),
            "planes": (1, 2, 4),
            "group": (0, 32, 256),
            "taper": (0.25, 0.7, 1),
        },
        whole=("endpoints", "radix", "planes", "group"),
        allow={"group": ("zero",)},
    ),
    Case("fabric.optics", TREE.optics, {"copper_endpoints": 0.5}, {"copper_endpoints": (0, 0.5, 1)}, allow={"copper_endpoints": ("zero",)}),
    Case(
        "fabric.dragonfly",
        fabric.dragonfly,
        {"routers_per_group": 8, "hosts_per_router": 4, "global_links": 4, "link_bandwidth": 25e9},
        {"routers_per_group": (1, 8, 32), "hosts_per_router": (1, 4, 16), "global_links": (1, 4, 16), "link_bandwidth": (1e9, 25e9, 1e11)},
        whole=("routers_per_group", "hosts_per_router", "global_links"),
    ),
    Case(
        "fabric.optical_switches",
        fabric.optical_switches,
        {"cubes": 64, "side": 4, "faces": 6},
        {"cubes": (1, 64, 100), "side": (1, 3, 4), "faces": (3, 6, 7)},
        whole=("cubes", "side", "faces"),
    ),
    Case(
        "fabric.bill",
        lambda **prices: fabric.bill(TREE, **prices),
        {**PRICES, "copper_endpoints": 0.5},
        {**{name: (0, price, 2 * price) for name, price in PRICES.items()}, "copper_endpoints": (0, 0.5, 1)},
        allow=dict.fromkeys((*PRICES, "copper_endpoints"), ("zero",)),
    ),
    Case(
        "fabric.usd_per_bandwidth",
        fabric.bill(TREE, **PRICES).usd_per_bandwidth,
        {"bandwidth": 1e12},
        {"bandwidth": (1e9, 1e12, 1e15)},
    ),
    Case(
        "fabric.optimal_interval",
        optimal_interval,
        {"checkpoint": 30, "mtbf": 1e4},
        {"checkpoint": (1, 30, 600), "mtbf": (10, 1e3, 1e5)},
    ),
    Case(
        "fabric.storage",
        fabric.storage,
        {
            "params": 8e9,
            "n_chips": 64,
            "bytes_per_param": 14,
            "tokens_per_second": 1e6,
            "bytes_per_token": 4,
            "data_bytes": 1e12,
            "kept": 3,
        },
        {
            "params": (1e9, 8e9, 1e12), "n_chips": (1, 64, 1000), "bytes_per_param": (2, 14, 18), "tokens_per_second": (0, 1e6, 1e9),
            "bytes_per_token": (2, 4, 1e3), "data_bytes": (0, 1e12, 1e15), "kept": (1, 3, 20),
        },
        whole=("n_chips", "kept"),
        allow={"tokens_per_second": ("zero",), "data_bytes": ("zero",)},
    ),
    Case(
        "fabric.Resilience",
        fabric.Resilience,
        {"detection": 60, "partial": 0.5, "slowdown": 0.1, "corruption_rate": 0.1, "maintenance": 0.1},
        {
            "detection": (0, 60, 600), "partial": (0.1, 0.5, 1), "slowdown": (0, 0.1, 0.5), "corruption_rate": (0, 0.1, 1),
            "maintenance": (0, 0.1, 0.5),
        },
        allow={name: ("zero",) for name in ("detection", "slowdown", "corruption_rate", "maintenance")},
        read=lambda how: fabric.goodput(16_384, resilience=how),
    ),
    Case(
        "fabric.goodput",
        fabric.goodput,
        {
            "n_chips": 16_384,
            "checkpoint": 30,
            "restart": 600,
            "failure_rate": 0.1,
            "interval": 600,
        },
        {
            "n_chips": (8, 16_384, 1e6),
            "checkpoint": (1, 30, 600),
            "restart": (0, 600, 3600),
            "failure_rate": (0, 0.1, 1),
            "interval": (60, 600, 6000),
        },
        allow=dict.fromkeys(("restart", "failure_rate"), ("zero",)),
    ),
    Case("fabric.round_trip", round_trip, {"distance": 1e6}, {"distance": (0, 1e3, 1e6)}, allow={"distance": ("zero",)}),
    of_sites("across_sites", *SITES),
    of_sites("bandwidth_for", "gradient_bytes", "step_seconds", "sites", "distance", "overlap", "every", loss=0.02),
]  # fmt: skip
#: Functions that take no number, and why they are not in the table.
WITHOUT: dict[str, str] = {}
