"""Money over time: annuity, present value, internal rate of return."""

from __future__ import annotations

import numpy as np

from workbench.arrays import Array, ArrayLike, in_blocks
from workbench.checks import FINITE, LIFE_YEARS, Rule, takes

#: Rates a period, and rates a year, of which one of more than 1,000 % is a unit mistaken.
RATE = Rule(above=-1.0, why="at -100 % per year nothing is left of money")
YEARLY = Rule(above=-1.0, most=1.0, why="at -100 % per year nothing is left of money, and 7 % is 0.07", unit="per year")
FLOWS = Rule(last="periods")
USED = Rule(above=0.0, most=1.0)  #: share of the hours, or of a peak, that something divides by
#: Rates of return are sought where one dollar grows to between e^-7 and e^7 in a period: -99.9 % to 110,000 %.
SPAN, NODES, STEPS = 7.0, 113, 60
BLOCK = 4096  #: cash flows at a time, so that they stay in cache


@takes(capital=FINITE, rate=YEARLY, years=LIFE_YEARS)
def annuity(capital: ArrayLike, rate: ArrayLike, years: ArrayLike) -> Array:
    """Equal payment [USD] at the end of each year of a life of up to 100 that repays `capital` [USD] with interest; arrays broadcast.

    capital * rate / (1 - (1 + rate)^-years), and capital / years at no interest; the rate per year is above -1 and at most 1: .0675 for
    6.75 % (Brealey, Myers, Allen, "Principles of Corporate Finance", section 2.2).

    Examples
    --------
    >>> annuity(1e6, 0.08, [3, 5]).round()
    array([388034., 250456.])
    """
    life, interest = np.asarray(years), np.asarray(rate)
    # expm1 and log1p keep all digits where the rate is small (the plain formula loses half of them at 1e-8); at rest the series holds
    free = np.abs(interest) < 1e-12
    some = np.where(free, 1.0, interest)
    factor = np.where(free, (1 + interest * (life + 1) / 2) / life, some / -np.expm1(-life * np.log1p(some)))
    return np.multiply(capital, factor)


@takes(rate=RATE, cash_flows=FLOWS)
def npv(rate: ArrayLike, cash_flows: ArrayLike) -> Array:
    """Present value of cash flows of shape (..., periods), the first of them now: sum over t of cash_flows[..., t] / (1 + rate)^t [USD].

    The rate per period, above -1, broadcasts against the leading axes of the flows.
    """
    flows, discount = np.asarray(cash_flows), 1 / (1 + np.asarray(rate))
    value = np.zeros(np.broadcast_shapes(discount.shape, flows.shape[:-1]))
    for t in range(flows.shape[-1] - 1, -1, -1):  # Horner: over periods, not over cases
        value = value * discount + flows[..., t]
    return value


@takes(cash_flows=FLOWS)
def irr(cash_flows: ArrayLike) -> Array:
    """Internal rate of return: the rate at which the present value falls through zero.

    Flows that change sign once have one rate. Others may have several: the lowest at which a higher rate makes the present value
    negative is taken (investing, not borrowing, is what a rate of return judges); where it only ever rises through zero, the lowest of
    those (Brealey, Myers, Allen, "Principles of Corporate Finance", section 5.3).

    Parameters
    ----------
    cash_flows : array_like, shape (..., periods)
        [USD], the first now.

    Returns
    -------
    ndarray, shape (...)
        Rate per period; nan where none between -99.9 and 110,000 % exists, as for flows of one sign.

    Examples
    --------
    >>> irr([[-100.0, 60.0, 60.0], [-100.0, 20.0, 20.0]]).round(4)
    array([ 0.1307, -0.4417])
    """
    flows = np.asarray(cash_flows)
    flat = flows.reshape(-1, flows.shape[-1])
    rates = in_blocks(lambda cases: _irr(np.ascontiguousarray(cases.T)), BLOCK, flat.shape, cases=flat)
    return rates.reshape(flows.shape[:-1])


def _irr(flows: Array) -> Array:
    """Rates of flows of shape (periods, cases)."""
    signs = np.sign(flows)
    for t in range(1, len(signs)):  # zeros take the sign before them
        np.copyto(signs[t], signs[t - 1], where=signs[t] == 0)
    changes = ((signs[1:] != signs[:-1]) & (signs[:-1] != 0)).sum(axis=0)
    rates = np.full(flows.shape[1], np.nan)
    once = changes == 1
    if once.any():
        with np.errstate(over="ignore"):  # incomes below 1e-300
            rates[once] = _single(flows[:, once])
    if (changes > 1).any():
        rates[changes > 1] = _several(flows[:, changes > 1])
    return rates


def _value(flows: Array, x: Array) -> tuple[Array, Array]:
    """Present value at growth e^x a period, value at the end where x is negative (same roots and signs, no overflow); the slope in x."""
    d = np.exp(-np.abs(x))
    later = x < 0
    value, slope = np.zeros_like(d), np.zeros_like(d)
    forward, some = flows[::-1], bool(later.any())
    for flow, mirrored in zip(forward, flows, strict=True):
        slope *= d
        slope -= value * d
        value *= d
        value += np.where(later, mirrored, flow) if some else flow
    return value, np.where(later, -slope, slope) if some else slope


def _single(flows: Array) -> Array:
    """The only rate: Newton in log(income / outlay), nearly straight in x, then in the flows; half the time of scipy's `find_root`."""
    t = np.arange(len(flows), dtype=float)[:, None]
    gain, loss = np.maximum(flows, 0), np.maximum(-flows, 0)
    apart = (gain * t).sum(0) / gain.sum(0) - (loss * t).sum(0) / loss.sum(0)  # between the middles of income and outlay
    x = np.clip(np.log(gain.sum(0) / loss.sum(0)) / np.where(np.abs(apart) < 1e-6, np.copysign(1e-6, apart), apart), -SPAN, SPAN)
    for _ in range(STEPS):
        up, up_slope = _value(gain, x)
        down, down_slope = _value(loss, x)
        slope = up_slope / up - down_slope / down
        step = np.log(up / down) / np.where(np.abs(slope) < 1e-6, np.copysign(1e-6, slope), slope)
        x = np.clip(x - step, -SPAN, SPAN)
        if np.all(np.abs(step) < 1e-7):
            break
    for _ in range(2):  # the flows as given, to the last digit
        value, slope = _value(flows, x)
        step = np.divide(value, slope, out=np.zeros_like(x), where=slope != 0)
        x = np.where(np.abs(step) < 1e-3, x - step, x)
    return np.where(np.abs(x) < SPAN - 1e-6, np.expm1(x), np.nan)


def _several(flows: Array) -> Array:
    """One of several rates: a grid and the extrema between its nodes bracket them, and the chosen bracket is narrowed."""
    from scipy.optimize.elementwise import find_root

    def root(which: int, low: Array, high: Array, of: Array) -> Array:
        """Where the value (0) or its slope (1) is nothing between two ends."""
        return np.asarray(find_root(lambda x, *flow: _value(np.stack(flow), x)[which], (low, high), args=tuple(of)).x)

    grid = np.linspace(-SPAN, SPAN, NODES)
    pairs = [_value(flows, np.full(flows.shape[1], x)) for x in grid]
    ends, slopes = (np.stack(p) for p in zip(*pairs, strict=True))
    falls = (ends[:-1] > 0) & (ends[1:] <= 0)
    rises = (ends[:-1] < 0) & (ends[1:] >= 0)
    # two roots in one cell: the value turns there, beyond zero
    turns = (np.sign(ends[:-1]) == np.sign(ends[1:])) & (np.sign(ends[:-1]) * slopes[:-1] < 0) & (np.sign(ends[1:]) * slopes[1:] > 0)
    cell, case = np.nonzero(turns)
    turned = root(1, grid[cell], grid[cell + 1], flows[:, case])
    side = np.sign(ends[cell, case])
    beyond = side * _value(flows[:, case], turned)[0] < 0
    lows, highs = np.broadcast_to(grid[:-1, None], falls.shape).copy(), np.broadcast_to(grid[1:, None], falls.shape).copy()
    for chosen, ends_at in ((beyond & (side > 0), highs), (beyond & (side < 0), lows)):  # falls into a minimum, or off a maximum
        falls[cell[chosen], case[chosen]] = True
        ends_at[cell[chosen], case[chosen]] = turned[chosen]
    falling = falls.any(axis=0)
    chosen_cell = np.where(falling, falls.argmax(axis=0), rises.argmax(axis=0))
    found, every = falling | rises.any(axis=0), np.arange(flows.shape[1])
    return np.where(found, np.expm1(root(0, lows[chosen_cell, every], highs[chosen_cell, every], flows)), np.nan)
