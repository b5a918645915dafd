"""Units at the edges: the workbench computes in SI base units and USD.

Multiply to come in, divide to go out: ``0.08 / KWH`` is 0.08 USD/kWh in USD/J, ``seconds / DAY`` are days.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

KILO, MEGA, GIGA, TERA, PETA, EXA, ZETTA = 1e3, 1e6, 1e9, 1e12, 1e15, 1e18, 1e21
MILLI, MICRO = 1e-3, 1e-6
MEBI = 2.0**20  #: bytes in a MiB, in which drivers report memory

HOUR = 3600.0
DAY = 24 * HOUR
YEAR = 8766 * HOUR  #: Julian year, 365.25 days

WH = 3600.0  #: J
KWH = 1e3 * WH
GWH = 1e9 * WH

GRAM = 1e-3  #: kg
TONNE = 1e3  #: kg
GBIT = 1e9 / 8  #: bytes

PREFIXES = ((1e24, "Y"), (1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def great_circle(latitude: ArrayLike, longitude: ArrayLike, to_latitude: ArrayLike, to_longitude: ArrayLike) -> NDArray[np.float64]:
    """Distance over the ground between two places given in degrees [m]; arrays broadcast (haversine, mean radius of the Earth).

    Examples
    --------
    >>> float(great_circle(51.5, -0.13, 40.71, -74.01).round(-4))  # London to New York
    5570000.0
    """
    a, b, west, east = (np.radians(np.asarray(x, dtype=float)) for x in (latitude, to_latitude, longitude, to_longitude))
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin((east - west) / 2) ** 2
    return np.asarray(2 * 6_371_009.0 * np.arcsin(np.sqrt(np.minimum(half, 1.0))))


def human(value: float, unit: str = "", digits: int = 3) -> str:
    """`value` with an SI prefix and `digits` significant digits: ``human(6.9e18, "FLOP/s")`` is ``'6.9 EFLOP/s'``.

    Values below 1 are printed without a prefix.

    Examples
    --------
    >>> human(11_520_000, "W")
    '11.5 MW'
    >>> human(0.05, "USD")
    '0.05 USD'
    """
    if not np.isfinite(float(value)):  # a whole number may be larger than 64 bits
        return f"{float(value)} {unit}".rstrip()
    number, prefix = _scaled(value, PREFIXES, digits)
    return f"{number} {prefix}{unit}".rstrip()


def count(value: float, digits: int = 3) -> str:
    """A large number as people say it: ``count(405.9e9)`` is ``'406 billion'``.

    Examples
    --------
    >>> count(405.9e9), count(15.6e12), count(950)
    ('406 billion', '15.6 trillion', '950')
    """
    scales = ((1e15, " quadrillion"), (1e12, " trillion"), (1e9, " billion"), (1e6, " million"))
    return "".join(_scaled(value, scales, digits))


def usd(value: float, digits: int = 3) -> str:
    """A sum of money as people write it: ``usd(98_300_000)`` is ``'$98.3 M'``.

    Examples
    --------
    >>> usd(2.4512), usd(1.2e9), usd(-350e3)
    ('$2.45', '$1.2 bn', '-$350 k')
    """
    number, suffix = _scaled(abs(value), ((1e12, " tn"), (1e9, " bn"), (1e6, " M"), (1e3, " k")), digits)
    return f"{'-' if value < 0 else ''}${number}{suffix}"


def _scaled(value: float, scales: tuple[tuple[float, str], ...], digits: int) -> tuple[str, str]:
    """A value in the largest of the scales that it reaches, and its word; 999.96 rounds to 1000 before the scale is chosen."""
    rounded = float(f"{float(value):.{digits}g}")
    scale, word = next(((s, w) for s, w in scales if abs(rounded) >= s), (1.0, ""))
    return significant(rounded / scale, digits), word


def card(title: str, **lines: str | None) -> str:
    """A title and named lines under it, as a row of the catalogue prints; what is empty is left out.

    Examples
    --------
    >>> print(card("H100 (NVIDIA)", memory="80 GB", price=None, power="700 W"))
    H100 (NVIDIA)
      memory  80 GB
      power   700 W
    """
    kept = {name.replace("_", " "): text for name, text in lines.items() if text}
    width = max(map(len, kept), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {text}" for name, text in kept.items())])


def significant(value: float, digits: int = 3) -> str:
    """`value` rounded to `digits` significant digits, never in scientific notation.

    Examples
    --------
    >>> significant(1234.5), significant(0.000123456)
    ('1,230', '0.000123')
    """
    rounded = float(f"{value:.{digits}g}")
    whole = int(np.floor(np.log10(abs(rounded)))) if rounded and np.isfinite(rounded) else 0  # infinity prints as inf
    decimals = max(0, digits - 1 - whole)
    text = f"{rounded:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
