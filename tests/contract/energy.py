"""Cases of the contract: workbench.energy."""

import numpy as np

from contract.harness import Case, series
from workbench import catalogue, energy
from workbench.energy.carbon import Carbon
from workbench.energy.grid import Site
from workbench.units import HOUR

H100 = catalogue.chip("H100")
ZERO, SIGNED = ("zero",), ("zero", "negative")
FIGURES = {
    "electricity_usd_per_kwh": (0.05, 0.08, 0.2),
    "carbon_g_per_kwh": (50, 300, 700),
    "pue": (1.0, 1.2, 1.5),
    "wue_l_per_kwh": (0.1, 0.3, 1),
    "grid_water_l_per_kwh": (1, 2, 3),
    "marginal_carbon_g_per_kwh": (40, 400, 700),
    "carbon_free_share": (0.1, 0.5, 1.0),
    "demand_usd_per_kw": (1, 5, 10),
}
HOURLY = {name: values for name, values in FIGURES.items() if name != "demand_usd_per_kw"}
FIGURES_ALLOWED = dict.fromkeys(set(FIGURES) - {"pue"}, ZERO) | {"electricity_usd_per_kwh": SIGNED}


def middle(arrays):
    """The second value of each."""
    return {name: values[1] for name, values in arrays.items()}


def bill(it_power, step, carbon_usd_per_t, **figures):
    site = Site("x", **{"electricity_usd_per_kwh": [0.1] * 4, "carbon_g_per_kwh": 400, "pue": 1.2, "wue_l_per_kwh": 0.1} | figures)
    return energy.energy_bill(site, series(it_power, 2e6, 0.0, 1e6), step=step, carbon_usd_per_t=carbon_usd_per_t)


def one_share(price, share, **given):
    """The share as an axis of its own is the last of the result."""
    found = energy.curtailment(series(price, 2.0, 9.0, 1.0), share, **given)
    return [a[..., 0] if a.shape[-1] == 1 else a for a in (found.saved, found.lost, found.threshold)]


def moved(load, share, capacity, limit, carbon_usd_per_t):
    """Two regions, of which one is full and dirty; the work stands in the first."""
    sites = [Site("a", 0.1, 500, 1.2), Site("b", [0.05, 0.2], 20, 1.1)]
    load = series(load, 0.0)
    load = series(load, load) if np.asarray(load).dtype != bool else load
    found = energy.move_load(
        sites,
        load,
        share=share,
        capacity=[[10.0], [capacity]],
        round_trip=[[0, 0.1], [0.1, 0]],
        limit=limit,
        carbon_usd_per_t=carbon_usd_per_t,
    )
    return [found.saved, found.carbon_saved.kg, found.moved]


MOVES = {"load": (1.0, 3.0, 5.0), "share": (0.1, 0.5, 1.0), "carbon_usd_per_t": (0, 50, 100)}
CASES: list[Case] = [
    Case("energy.Carbon", lambda kg: Carbon("location", kg), {"kg": 3.0}, {"kg": (1.0, 2.0, 5.0)}, allow={"kg": SIGNED}),
    Case(
        "energy.embodied_carbon",
        energy.embodied_carbon,
        {"kg": 150.0, "seconds": 1e6, "life_years": 3.0, "share_used": 0.8},
        {"kg": (100, 150, 200), "seconds": (1e5, 1e6, 1e7), "life_years": (3, 6, 9), "share_used": (0.5, 0.8, 1.0)},
        allow={"kg": ZERO, "seconds": ZERO},
    ),
    Case(
        "energy.power_chain",
        lambda **given: energy.power_chain(H100, cooled_by="air", **given),
        {"n_chips": 8.0, "drawn": 600.0, "wet_bulb": 25.0, "switches": 0.03},
        {"n_chips": (1, 8, 64), "drawn": (300, 600, 700), "wet_bulb": (10, 22, 30), "switches": (0, 0.03, 0.1)},
        allow={"n_chips": ZERO, "drawn": ZERO, "switches": ZERO, "wet_bulb": SIGNED},
    ),
    Case(
        "energy.Cooling.pue",
        lambda **given: energy.COOLINGS["air"].pue(**given),
        {"wet_bulb": 22.0, "load": 0.8},
        {"wet_bulb": (10, 22, 30), "load": (0.5, 0.8, 1)},
        allow={"wet_bulb": SIGNED},
    ),
    Case(
        "energy.curtailment",
        lambda electricity_usd_per_kwh, **given: energy.curtailment(series(electricity_usd_per_kwh, 2.0, 9.0, 1.0), [0.1, 0.5], **given),
        {"electricity_usd_per_kwh": 5.0, "work_usd_per_kwh": 1.0, "idle_power": 0.5},
        {"electricity_usd_per_kwh": (1, 5, 10), "work_usd_per_kwh": (0, 1, 2), "idle_power": (0, 0.5, 1)},
        allow={"electricity_usd_per_kwh": SIGNED, "work_usd_per_kwh": ZERO, "idle_power": ZERO},
    ),
    Case(
        "energy.carbon_free",
        lambda **given: energy.carbon_free(**{name: series(value, 0.5, 0.9) for name, value in given.items()}),
        {"load": 5.0, "bought": 4.0, "grid_share": 0.3},
        {"load": (1, 5, 10), "bought": (0, 4, 9), "grid_share": (0, 0.3, 1)},
        allow={"load": ZERO, "bought": ZERO, "grid_share": ZERO},
    ),
    Case(
        "energy.move_load",
        moved,
        middle(MOVES) | {"capacity": 2.0, "limit": 0.2},
        MOVES,
        ("capacity", "limit"),
        allow=dict.fromkeys(MOVES, ZERO) | {"capacity": ("zero", "infinite"), "limit": ("zero", "infinite")},
        rtol=1e-9,
    ),
    Case("energy.curtailment", one_share, {"price": 5.0, "share": 0.3}, {"share": (0.1, 0.3, 1.0)}, allow={"share": ZERO}),
    Case(
        "energy.curtailment",
        lambda **given: one_share(deferred=True, **given),
        {"price": 5.0, "share": 0.3},
        {"share": (0.1, 0.3, 0.9)},
        allow={"share": ZERO},
    ),
    *(
        Case(
            f"energy.{make.__name__}",
            lambda make=make, name=name, **figures: make(name, **figures),
            middle(FIGURES),
            HOURLY,
            ("demand_usd_per_kw",),
            allow=FIGURES_ALLOWED,
        )
        for make, name in ((Site, "x"), (energy.site, "eastus"))
    ),
    Case(
        "energy.energy_bill",
        bill,
        {"it_power": 1e6, "step": HOUR, "carbon_usd_per_t": 50.0},
        {"it_power": (1e6, 2e6, 0), "carbon_usd_per_t": (0, 50, 100)},
        ("step",),
        allow={"it_power": ZERO, "carbon_usd_per_t": ZERO},
    ),
    Case(
        "energy.energy_bill",
        lambda **figures: bill(1e6, HOUR, 50.0, **figures),
        middle(FIGURES),
        {"demand_usd_per_kw": FIGURES["demand_usd_per_kw"]},
        tuple(HOURLY),
        allow=FIGURES_ALLOWED,
    ),
    Case(
        "energy.energy_bill",
        lambda **figures: bill(1e6, HOUR, 50.0, **{name: series(value) for name, value in figures.items()}),
        middle(HOURLY),
        HOURLY,
        allow=FIGURES_ALLOWED,
    ),
    Case(
        "energy.ServerPower",
        energy.ServerPower,
        {"rated": 900.0, "average": 700.0},
        {"rated": (800, 900, 1000), "average": (600, 700, 0)},
        allow={"rated": ZERO, "average": ZERO},
    ),
    Case(
        "energy.server_power",
        lambda **given: energy.server_power(H100, **given),
        {"utilisation": 0.5, "ratio": 2.0, "busy_share": 0.8, "idle_share": 0.3},
        {"utilisation": (0, 0.5, 1), "ratio": (1, 1.5, 2), "busy_share": (0.7, 0.8, 1), "idle_share": (0, 0.3, 0.4)},
        allow={"utilisation": ZERO, "idle_share": ZERO},
    ),
]
#: Functions that take no number, and why they are not in the table.
WITHOUT: dict[str, str] = {"sites": "takes names only"}
