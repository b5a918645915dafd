"""From server to grid: facility power, and the money, carbon and water of its energy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InputError


def facility_power(it_power: ArrayLike, pue: ArrayLike) -> NDArray[np.float64]:
    """Power that the facility draws from the grid: IT power times PUE.

    Parameters
    ----------
    it_power : array_like
        Servers, storage and network [W].
    pue : array_like
        Power usage effectiveness, at least 1.

    Returns
    -------
    ndarray
        [W], broadcast.

    Raises
    ------
    InputError
        For a negative power or a PUE below 1.

    References
    ----------
    .. [1] ISO/IEC 30134-2:2016, power usage effectiveness.
    """
    ratio = np.asarray(pue, dtype=float)
    if not np.all(ratio >= 1):
        raise InputError(f"pue = {pue}: a facility draws at least what its servers draw, so at least 1")
    return _amount("it_power", it_power) * ratio


def electricity_cost(energy: ArrayLike, price: ArrayLike) -> NDArray[np.float64]:
    """Money for `energy` [J] at `price` [USD/J]: ``price_usd_per_kwh / units.KWH``. A price may be negative, as on spot markets.

    Returns
    -------
    ndarray
        [USD], broadcast.
    """
    return _amount("energy", energy) * np.asarray(price, dtype=float)


def location_carbon(energy: ArrayLike, carbon_intensity: ArrayLike) -> NDArray[np.float64]:
    """Location-based emissions of `energy` [J] on a grid of average `carbon_intensity` [kg/J], as CO2 equivalent.

    Returns
    -------
    ndarray
        [kg], broadcast.

    References
    ----------
    .. [1] GHG Protocol (2015), Scope 2 Guidance, location-based method.
    """
    return _amount("energy", energy) * _amount("carbon_intensity", carbon_intensity)


def water(it_energy: ArrayLike, facility_energy: ArrayLike, *, wue: ArrayLike, grid_water: ArrayLike) -> NDArray[np.float64]:
    """Water used on site and by power plants [L].

    water = it_energy * wue + facility_energy * grid_water

    Parameters
    ----------
    it_energy, facility_energy : array_like
        [J]
    wue : array_like
        Water usage effectiveness, on site, a joule of IT energy [L/J].
    grid_water : array_like
        Water that generation consumes [L/J].

    References
    ----------
    .. [1] Li et al. (2023), "Making AI Less Thirsty", section 2, arXiv:2304.03271.
    """
    on_site = _amount("it_energy", it_energy) * _amount("wue", wue)
    return on_site + _amount("facility_energy", facility_energy) * _amount("grid_water", grid_water)


def _amount(name: str, value: ArrayLike) -> NDArray[np.float64]:
    amount = np.asarray(value, dtype=float)
    if not np.all(amount >= 0):
        raise InputError(f"{name} = {value}: expected 0 or more")
    return amount
