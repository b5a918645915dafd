"""In-house chips: how much of one's own work must move before designing a chip pays, as a distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.arrays import Arrays
from workbench.checks import FINITE, NOT_NEGATIVE, SHARE, Rule, takes


@dataclass(frozen=True, repr=False)
class InHouse(Arrays):
    """Whether a chip of one's own pays; arrays broadcast over the arguments of `in_house_chip`."""

    saving_per_chip: NDArray[np.float64]  #: present value at launch of one chip against the merchant work it replaces [USD]
    break_even_chips: NDArray[np.float64]  #: chips at which it pays; inf where each one loses
    break_even_spend: NDArray[np.float64]  #: merchant spend on the same work at that volume [USD]
    net_present_value: NDArray[np.float64]  #: of the programme at the planned volume, at the time of the decision [USD]
    concession: NDArray[np.float64]  #: of that, what the vendor's answer in price on the rest of the fleet brings [USD]

    @property
    def pays(self) -> NDArray[np.bool_]:
        """Whether the programme is worth more than nothing."""
        return self.net_present_value > 0


@takes(
    **dict.fromkeys(("nre", "unit_cost", "merchant_price", "relative_performance", "volume", "lead_years", "price_decline"), NOT_NEGATIVE),
    **dict.fromkeys(("respin_share", "respin_years", "port_cost", "merchant_fleet"), NOT_NEGATIVE),
    **dict.fromkeys(("movable_share", "respin_probability", "price_response"), SHARE),
    rate=Rule(least=0.0, most=10.0),
    running_saving=FINITE,
    life_years=Rule(least=0.0, most=100.0, unit="years"),
)
def in_house_chip(
    *,
    nre: ArrayLike,
    unit_cost: ArrayLike,
    merchant_price: ArrayLike,
    relative_performance: ArrayLike,
    volume: ArrayLike,
    movable_share: ArrayLike,
    lead_years: ArrayLike,
    price_decline: ArrayLike,
    rate: ArrayLike,
    respin_probability: ArrayLike = 0.0,
    respin_share: ArrayLike = 0.3,
    respin_years: ArrayLike = 0.5,
    port_cost: ArrayLike = 0.0,
    running_saving: ArrayLike = 0.0,
    life_years: ArrayLike = 5.0,
    merchant_fleet: ArrayLike = 0.0,
    price_response: ArrayLike = 0.0,
) -> InHouse:
    """Break-even volume and value of designing a chip, against buying merchant chips for the same work.

    A chip of one's own that comes `lead_years` late (and later after a respin) meets merchant chips whose price for the same work has
    fallen by then: saving = merchant_price relative_performance e^(-price_decline lead) - unit_cost + running savings over its life;
    break-even volume = NRE with interest / saving; only `movable_share` of the volume wanted can be moved. The vendor may answer with a
    lower price on the rest of the fleet.

    Parameters
    ----------
    nre : array_like
        Design up to production, without respins [USD].
    unit_cost : array_like
        Cost of one chip of one's own, packaged and tested [USD].
    merchant_price : array_like
        Price today of the merchant chip that does the work of one [USD].
    relative_performance : array_like
        Work of one's own chip over that of the merchant chip that is sold today, on the work that moves.
    volume : array_like
        Chips wanted over the life of the design.
    movable_share : array_like
        Share of that work which software can move, 0 to 1.
    lead_years : array_like
        From decision to volume.
    price_decline : array_like
        Decline a year of the merchant price of the same work, continuous (.32 for 27 % a year, 1 for 63 %), 0 or more.
    rate : array_like
        Discount rate a year, as `annuity` takes it, 0 to 10.
    respin_probability, respin_share, respin_years : array_like
        Of one more spin of the mask, its cost over the NRE, and the delay it brings.
    port_cost : array_like
        Moving software to it, once [USD].
    running_saving : array_like
        Power and networking saved a chip and year [USD]; negative where it draws more.
    life_years : array_like
        Of the chip.
    merchant_fleet : array_like
        Spend a year on merchant chips that stay [USD].
    price_response : array_like
        Share by which the vendor lowers the price of that, for as long as the chip lives.

    References
    ----------
    .. [1] Dixit, Pindyck (1994), "Investment under Uncertainty", chapter 6, for the value of the threat alone.

    Examples
    --------
    >>> own = in_house_chip(nre=6e8, unit_cost=12e3, merchant_price=37.5e3, relative_performance=0.8, volume=[1e5, 3e5], movable_share=0.6,
    ...                     lead_years=2, price_decline=0.2, rate=0.07)
    >>> own.break_even_chips.round(), own.pays
    (array([84707., 84707.]), array([False,  True]))
    """
    r, years, decline, late = map(np.asarray, (np.log1p(rate), life_years, price_decline, lead_years))
    design, port, unit, yearly = map(np.asarray, (nre, port_cost, unit_cost, running_saving))
    lead = late + np.multiply(respin_probability, respin_years)
    life = np.where(r > 0, -np.expm1(-r * years) / np.where(r > 0, r, 1.0), years)
    replaced = np.multiply(merchant_price, relative_performance) * np.exp(-decline * lead)
    saving = replaced - unit + yearly * life
    once = design * (1 + np.multiply(respin_probability, respin_share)) + port
    at_launch = once * np.exp(r * lead)  # money spent at the decision, with interest
    concession = np.multiply(merchant_fleet, price_response) * life * np.exp(-r * lead)
    moved = np.multiply(volume, movable_share)
    owed = np.maximum(at_launch - concession * np.exp(r * lead), 0.0)
    chips = np.where(owed == 0, 0.0, np.where(saving > 0, owed / np.where(saving > 0, saving, 1.0), np.inf))
    chips = np.where(np.greater(movable_share, 0), chips, np.where(owed == 0, 0.0, np.inf))
    value = moved * saving * np.exp(-r * lead) - once + concession
    shape = np.broadcast_shapes(saving.shape, value.shape, chips.shape)
    fill = np.ones(shape)
    spend = np.where(np.isinf(chips), np.inf, np.where(np.isinf(chips), 0.0, chips) * replaced)  # inf, though replaced were 0
    return InHouse(saving * fill, chips * fill, spend * fill, value * fill, concession * fill)
