"""The largest training run by the published Full Takeoff Model, up to the time when it begins to automate work.

Until then the model is an economy whose shares of compute, and of compute for training, grow at given rates, with hardware and software
that research improves; labour does all tasks but one, which compute has always done.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import broadcast
from workbench.checks import POSITIVE, Rule, number
from workbench.errors import InputError, UnknownName

Array = NDArray[np.float64]

PRESETS = ("conservative", "best_guess", "aggressive")
START, STEP, INVESTED = 2022.0, 0.1, 0.2  #: first year; step [yr]; share of the product that becomes capital

#: What parameters may be, by the first of these that their names hold; all others are above 0.
_RULES = {
    "initial_capital_growth": POSITIVE, "growth": Rule(), "substitution": Rule(most=1), "share": Rule(above=0, below=1),
    "frac": Rule(above=0, below=1), "compute_depreciation": Rule(least=0, below=1), "software_ceiling": Rule(above=1),
    "hardware_delay": Rule(least=0, one=True),
}  # fmt: skip


@dataclass(frozen=True)
class Takeoff:
    """Path of the model, years on the first axis."""

    year: Array
    largest_run: Array  #: in FLOP of 2022's software
    software: Array  #: over 2022
    hardware_per_usd: Array  #: that can be bought [FLOP/USD]
    spend: Array  #: on the largest run [USD]
    automates: NDArray[np.bool_]  #: the largest run could automate a first task: from here on the path is too low

    def frame(self) -> pl.DataFrame:
        """One row a step."""
        return (
            pl.DataFrame({name: getattr(self, name).ravel() for name in self.__dataclass_fields__})
            if self.largest_run.ndim == 1
            else pl.DataFrame()
        )

    def at(self, year: ArrayLike) -> Array:
        """Largest run of years [FLOP], between steps by its logarithm. Raises `InputError` for a year outside the path."""
        first, last = self.year[[0, -1]]
        t = number("year", year, least=first, most=last + 1e-9, why=f"the path runs from {first:g} to {last:g}")
        i = np.minimum(((t - first) / STEP).astype(int), self.year.size - 2)
        part = np.reshape((t - self.year[i]) / STEP, t.shape + (1,) * (self.largest_run.ndim - 1))
        return np.asarray(np.exp((1 - part) * np.log(self.largest_run[i]) + part * np.log(self.largest_run[i + 1])))


def takeoff(preset: str = "best_guess", until: float = 2035.0, **parameters: ArrayLike) -> Takeoff:
    """Path of the Full Takeoff Model without automation.

    Parameters
    ----------
    preset : str
        One of `PRESETS`.
    until : float
        Last year.
    **parameters : array_like
        In the place of those of the preset, by their names in the table ``takeoff_presets``; they broadcast, but for
        ``hardware_delay``, which is one number.

    Raises
    ------
    UnknownName
        For a preset or a parameter that the model does not have.
    InputError
        For a parameter out of range, or shares that leave nothing for the rest of the economy.

    References
    ----------
    .. [1] Davidson (2023), "What a compute-centric framework says about takeoff speeds", Open Philanthropy; code at epoch-research/ftm.
    """
    if preset not in PRESETS:
        raise UnknownName("preset", preset, PRESETS)
    table = catalogue.table("takeoff_presets")
    p = {name: np.asarray(value, dtype=float) for name, value in table.select("parameter", preset).iter_rows()}
    if unknown := set(parameters) - set(p):
        raise UnknownName("parameter", sorted(unknown)[0], p)
    for name, value in parameters.items():
        p[name] = np.asarray(next((rule for key, rule in _RULES.items() if key in name), POSITIVE)(name, value))
        if "substitution" in name and not p[name].all():
            raise InputError(f"{name} = {value}: the form has no value at 0; expected a little above or below")
    until = Rule(above=START, one=True)("until", until)
    shape = broadcast(**p)
    penalty = p["rnd_parallelization_penalty"]
    names = ("capital_hardware_rnd", "labour_hardware_rnd", "compute_hardware_rnd", "labour_software_rnd", "compute_software_rnd")
    share = {n: p[f"initial_frac_{n.split('_', 1)[1]}"] for n in names}
    stock = p["initial_hardware_production"] * p["ratio_hardware_to_initial_hardware_production"]
    first_stock, hardware, buyable = stock, p["initial_buyable_hardware_performance"], p["initial_buyable_hardware_performance"]
    share |= {
        "compute_training": p["initial_biggest_training_run"] / stock,
        "gwp_compute": p["initial_hardware_production"] / hardware / p["initial_gwp"],
    }
    first = dict(share)
    software = tfp = labour = inputs_hardware = inputs_software = np.ones(())
    capital = first_capital = p["initial_gwp"] * INVESTED / np.expm1(p["initial_capital_growth"])
    gwp, spend = p["initial_gwp"], p["initial_biggest_training_run"] / buyable
    # cumulative research in units of the first year's, after the penalty
    known = {kind: 1 / p[f"ratio_initial_to_cumulative_input_{kind}_rnd"] / penalty for kind in ("hardware", "software")}
    gain = (1 + STEP / known["hardware"]) ** (p["hardware_returns"] / penalty)
    lag = int(np.round(p["hardware_delay"] / STEP))
    designed = [hardware * gain**lag]
    if not np.all(p["hardware_performance_ceiling"] > designed[0]):
        raise InputError(f"hardware_performance_ceiling: expected more than the {np.max(designed[0]):.4g} FLOP/USD designed in {START:g}")
    path = [(START, p["initial_biggest_training_run"], software, buyable, spend)]
    for i in range(1, round((until - START) / STEP) + 1):
        room = np.log(p["hardware_performance_ceiling"] / designed[-1]) / np.log(p["hardware_performance_ceiling"] / designed[0])
        grown, known["hardware"] = _learn(known["hardware"], inputs_hardware**penalty, p["hardware_returns"] / penalty * room)
        designed.append(np.minimum(designed[-1] * grown, p["hardware_performance_ceiling"]))
        room = 1 - np.log(software) / np.log(p["software_ceiling"])
        grown, known["software"] = _learn(known["software"], inputs_software**penalty, p["software_returns"] / penalty * room)
        software = np.minimum(software * grown, p["software_ceiling"])
        waits = spend > p["money_cap_training_before_wakeup"]
        for name in share:
            more = np.minimum(share[name] * np.exp(STEP * p[f"frac_{name}_growth"]), p[f"frac_{name}_ceiling"])
            share[name] = np.where(waits, share[name], more) if name == "compute_training" else more
        buyable = designed[i - lag] if i >= lag else designed[0] * (designed[1] / designed[0]) ** (i - lag)
        stock = stock * (1 - p["compute_depreciation"]) ** STEP + gwp * share["gwp_compute"] * STEP * buyable
        compute = stock * software
        capital = capital + gwp * INVESTED * STEP
        labour, tfp = labour * np.exp(p["labour_growth"] * STEP), tfp * np.exp(p["tfp_growth"] * STEP)
        run = compute * share["compute_training"]
        spend = run / (software * buyable)
        rest = {
            "capital": ("capital_hardware_rnd",),
            "labour": ("labour_hardware_rnd", "labour_software_rnd"),
            "compute": ("compute_hardware_rnd", "compute_software_rnd", "compute_training"),
        }
        left = {k: (1 - sum(share[n] for n in v)) / (1 - sum(first[n] for n in v)) for k, v in rest.items()}
        if not all(np.all(part > 0) for part in left.values()):
            raise InputError(f"research and training take all there is by {path[-1][0] + STEP:.1f}: expected smaller frac_..._ceiling")
        c, k = compute / first_stock, capital / first_capital
        over = {name: share[name] / first[name] for name in names}
        thought = _ces(c * left["compute"], labour * left["labour"], p["initial_compute_share_goods"], p["labour_substitution_goods"])
        made = _ces(thought, k * left["capital"], p["initial_cognitive_share_goods"], p["capital_substitution_goods"])
        gwp = p["initial_gwp"] * tfp * made
        inner, outer = p["labour_substitution_rnd"], p["capital_substitution_rnd"] * penalty
        thought = _ces(c * over["compute_hardware_rnd"], labour * over["labour_hardware_rnd"], p["initial_compute_share_rnd"], inner)
        inputs_hardware = tfp * _ces(thought, k * over["capital_hardware_rnd"], p["initial_cognitive_share_hardware_rnd"], outer)
        thought = _ces(c * over["compute_software_rnd"], labour * over["labour_software_rnd"], p["initial_compute_share_rnd"], inner)
        tried = (stock / first_stock) ** p["compute_software_rnd_experiments_efficiency"]
        experiments = p["initial_experiment_share_software_rnd"]
        inputs_software = tfp * _ces(tried, thought, experiments, p["research_experiments_substitution_software"])
        path.append((START + i * STEP, run, software, buyable, spend))
    year, runs, soft, per_usd, spent = (
        np.stack([np.broadcast_to(x, () if j == 0 else shape) for x in column]) for j, column in enumerate(zip(*path, strict=True))
    )
    easiest = (
        p["full_automation_requirements_training"]
        / p["flop_gap_training"] ** 1.5
        / np.maximum(p["goods_vs_rnd_requirements_training"], 1.0)
    )
    return Takeoff(year, runs, soft, per_usd, spent, runs * p["runtime_training_max_tradeoff"] > easiest)


def _learn(known: Array, inputs: Array, exponent: Array) -> tuple[Array, Array]:
    """Growth of performance in a step, and cumulative research after it."""
    after = known + inputs * STEP
    return (after / known) ** exponent, after


def _ces(a: ArrayLike, b: ArrayLike, share: Array, rho: Array) -> Array:
    """Output over that of the first year at a constant elasticity of substitution, from two inputs over theirs."""
    return np.asarray((share * np.asarray(a) ** rho + (1 - share) * np.asarray(b) ** rho) ** (1 / rho))
