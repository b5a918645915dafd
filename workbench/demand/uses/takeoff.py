"""The largest training run by the published Full Takeoff Model, up to the time when it begins to automate work.

Until then the model is an economy whose shares of compute, and of compute for training, grow at given rates, with hardware and software
that research improves; labour does all tasks but one, which compute has always done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import Array, Arrays, broadcast
from workbench.checks import POSITIVE, Rule, number
from workbench.errors import InputError, UnknownName

Parameters = Mapping[str, Array]

PRESETS = ("conservative", "best_guess", "aggressive")
START, STEP, INVESTED = 2022.0, 0.1, 0.2  #: first year; step [yr]; share of the product that becomes capital

#: What parameters may be, by the first of these that their names hold; all others are above 0.
_RULES = {
    "initial_capital_growth": POSITIVE, "growth": Rule(), "substitution": Rule(most=1), "share": Rule(above=0, below=1),
    "frac": Rule(above=0, below=1), "compute_depreciation": Rule(least=0, below=1), "software_ceiling": Rule(above=1),
    "hardware_delay": Rule(least=0, one=True),
}  # fmt: skip

#: What has a share of the compute, the capital and the labour, and is not goods.
_RESEARCH = ("capital_hardware_rnd", "labour_hardware_rnd", "compute_hardware_rnd", "labour_software_rnd", "compute_software_rnd")
_APART = {
    "capital": ("capital_hardware_rnd",), "labour": ("labour_hardware_rnd", "labour_software_rnd"),
    "compute": ("compute_hardware_rnd", "compute_software_rnd", "compute_training"),
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Takeoff(Arrays):
    """Path of the model, years on the first axis; futures, where there are any, on the last."""

    year: Array  #: decimal year
    largest_run: Array  #: in FLOP of 2022's software
    software: Array  #: over 2022
    hardware_per_usd: Array  #: that can be bought [FLOP/USD]
    spend: Array  #: on the largest run [USD]
    automates: NDArray[np.bool_]  #: the largest run could automate a first task: from here on the path is too low

    def at(self, year: ArrayLike) -> Array:
        """Largest run of years [FLOP], between steps by its logarithm. Raises `InputError` for a year outside the path."""
        from scipy.interpolate import make_interp_spline

        first, last = self.year[[0, -1]]
        t = number("year", year, least=first, most=last + 1e-9, why=f"the path runs from {first:g} to {last:g}")
        return np.exp(make_interp_spline(self.year, np.log(self.largest_run), k=1)(t))


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

    Examples
    --------
    >>> print(f"{takeoff(until=2027.0).at(2026):.2e}")
    3.44e+26

    References
    ----------
    .. [1] Davidson (2023), "What a compute-centric framework says about takeoff speeds", Open Philanthropy; code at epoch-research/ftm.
    """
    p = _parameters(preset, parameters)
    until, shape = Rule(above=START, one=True)("until", until), broadcast(**p)
    economy = _Economy(p)
    path = [economy.now(0)]
    for i in range(1, round((until - START) / STEP) + 1):
        economy.learn()
        economy.invest(i)
        path.append(economy.now(i))
        economy.produce(before=path[-2][0])
    year, *columns = zip(*path, strict=True)
    runs, software, buyable, spend = (np.stack([np.broadcast_to(x, shape) for x in column]) for column in columns)
    gap = p["flop_gap_training"] ** 1.5 * np.maximum(p["goods_vs_rnd_requirements_training"], 1.0)
    easiest = p["full_automation_requirements_training"] / gap
    return Takeoff(np.array(year), runs, software, buyable, spend, runs * p["runtime_training_max_tradeoff"] > easiest)


def _parameters(preset: str, given: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """Those of a preset, with what is given in their place, checked."""
    if preset not in PRESETS:
        raise UnknownName("preset", preset, PRESETS)
    table = catalogue.table("takeoff_presets")
    p = {name: np.asarray(value, dtype=float) for name, value in table.select("parameter", preset).iter_rows()}
    if unknown := set(given) - set(p):
        raise UnknownName("parameter", sorted(unknown)[0], p)
    for name, value in given.items():
        p[name] = np.asarray(next((rule for key, rule in _RULES.items() if key in name), POSITIVE)(name, value))
        if "substitution" in name and not p[name].all():
            raise InputError(f"{name} = {value}: the form has no value at 0; expected a little above or below")
    return p


class _Economy:
    """The state of one step; stocks and products in the units of the table, or over those of the first year."""

    def __init__(self, p: Parameters) -> None:
        self.p, self.software = p, np.ones(())
        self.productivity = self.labour = self.software
        self.inputs: dict[str, Array] = dict.fromkeys(("hardware", "software"), self.software)  # of research
        self.run = p["initial_biggest_training_run"]
        self.buyable = p["initial_buyable_hardware_performance"]
        self.stock = self.first_stock = p["initial_hardware_production"] * p["ratio_hardware_to_initial_hardware_production"]
        self.share = {n: p[f"initial_frac_{n.split('_', 1)[1]}"] for n in _RESEARCH}
        self.share |= {
            "compute_training": self.run / self.stock,
            "gwp_compute": p["initial_hardware_production"] / self.buyable / p["initial_gwp"],
        }
        self.first = dict(self.share)
        self.capital = self.first_capital = p["initial_gwp"] * INVESTED / np.expm1(p["initial_capital_growth"])
        self.gwp, self.spend = p["initial_gwp"], self.run / self.buyable
        # cumulative research in units of the first year's, after the penalty
        penalty = p["rnd_parallelization_penalty"]
        self.known = {kind: 1 / p[f"ratio_initial_to_cumulative_input_{kind}_rnd"] / penalty for kind in self.inputs}
        self.lag = int(np.round(p["hardware_delay"] / STEP))
        gain = (1 + STEP / self.known["hardware"]) ** (p["hardware_returns"] / penalty)
        self.designed = [self.buyable * gain**self.lag]
        if not np.all(p["hardware_performance_ceiling"] > self.designed[0]):
            best = np.max(self.designed[0])
            raise InputError(f"hardware_performance_ceiling: expected more than the {best:.4g} FLOP/USD designed in {START:g}")

    def now(self, i: int) -> tuple[float, Array, Array, Array, Array]:
        """Year of step `i`, largest run, software, hardware that can be bought, spend on the run."""
        return START + i * STEP, self.run, self.software, self.buyable, self.spend

    def learn(self) -> None:
        """Hardware that can be designed, and software, from the research of the step before."""
        p, ceiling = self.p, self.p["hardware_performance_ceiling"]
        room = np.log(ceiling / self.designed[-1]) / np.log(ceiling / self.designed[0])
        self.designed.append(np.minimum(self.designed[-1] * self._gain("hardware", room), ceiling))
        room = 1 - np.log(self.software) / np.log(p["software_ceiling"])
        self.software = np.minimum(self.software * self._gain("software", room), p["software_ceiling"])

    def _gain(self, kind: str, room: Array) -> Array:
        """Growth of performance in a step, as far as there is room up to its ceiling."""
        penalty = self.p["rnd_parallelization_penalty"]
        before, self.known[kind] = self.known[kind], self.known[kind] + self.inputs[kind] ** penalty * STEP
        return np.asarray((self.known[kind] / before) ** (self.p[f"{kind}_returns"] / penalty * room))

    def invest(self, i: int) -> None:
        """In step `i` shares grow towards their ceilings, hardware is bought, capital and labour grow; and the largest run."""
        p, share = self.p, self.share
        waits = self.spend > p["money_cap_training_before_wakeup"]
        for name in share:
            more = np.minimum(share[name] * np.exp(STEP * p[f"frac_{name}_growth"]), p[f"frac_{name}_ceiling"])
            share[name] = np.where(waits, share[name], more) if name == "compute_training" else more
        ready = i - self.lag
        self.buyable = self.designed[ready] if ready >= 0 else self.designed[0] * (self.designed[1] / self.designed[0]) ** ready
        self.stock = self.stock * (1 - p["compute_depreciation"]) ** STEP + self.gwp * share["gwp_compute"] * STEP * self.buyable
        self.capital = self.capital + self.gwp * INVESTED * STEP
        self.labour = self.labour * np.exp(p["labour_growth"] * STEP)
        self.productivity = self.productivity * np.exp(p["tfp_growth"] * STEP)
        self.run = self.stock * self.software * share["compute_training"]
        self.spend = self.run / (self.software * self.buyable)

    def produce(self, before: float) -> None:
        """World product of goods, and what research puts in, from what training leaves."""
        p, first = self.p, self.first
        left = {k: (1 - sum(self.share[n] for n in v)) / (1 - sum(first[n] for n in v)) for k, v in _APART.items()}
        if not all(np.all(part > 0) for part in left.values()):
            raise InputError(f"research and training take all there is by {before + STEP:.1f}: expected smaller frac_..._ceiling")
        compute, capital = self.stock * self.software / self.first_stock, self.capital / self.first_capital
        over = {name: self.share[name] / first[name] for name in _RESEARCH}

        def thought(compute_share: Array | float, labour_share: Array | float, of: str) -> Array:
            return _ces(
                compute * compute_share, self.labour * labour_share, p[f"initial_compute_share_{of}"], p[f"labour_substitution_{of}"]
            )

        made = _ces(
            thought(left["compute"], left["labour"], "goods"), capital * left["capital"],
            p["initial_cognitive_share_goods"], p["capital_substitution_goods"],
        )  # fmt: skip
        self.gwp = p["initial_gwp"] * self.productivity * made
        designing = _ces(
            thought(over["compute_hardware_rnd"], over["labour_hardware_rnd"], "rnd"), capital * over["capital_hardware_rnd"],
            p["initial_cognitive_share_hardware_rnd"], p["capital_substitution_rnd"] * p["rnd_parallelization_penalty"],
        )  # fmt: skip
        tried = (self.stock / self.first_stock) ** p["compute_software_rnd_experiments_efficiency"]
        programming = _ces(
            tried, thought(over["compute_software_rnd"], over["labour_software_rnd"], "rnd"),
            p["initial_experiment_share_software_rnd"], p["research_experiments_substitution_software"],
        )  # fmt: skip
        self.inputs = {"hardware": self.productivity * designing, "software": self.productivity * programming}


def _ces(a: ArrayLike, b: ArrayLike, share: Array, rho: Array) -> Array:
    """Output over that of the first year at a constant elasticity of substitution, from two inputs over theirs."""
    return np.asarray((share * np.asarray(a) ** rho + (1 - share) * np.asarray(b) ** rho) ** (1 / rho))
