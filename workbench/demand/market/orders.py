"""What to order now: capacity of one's own by lead time, each vintage at its own cost, and leases for the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from workbench.arrays import Array, ArrayLike, Arrays
from workbench.checks import WHOLE, Rule, takes, to_shape
from workbench.errors import InputError

UNITS = Rule(least=0, apart=True)
COST = Rule(above=0, infinite=True, unit="USD per unit and quarter")


@dataclass(frozen=True, repr=False)
class OrderPlan(Arrays):
    """Orders made now for all quarters, and what they cost in each future; quarters on the first axis, futures on the last."""

    orders: Array  #: units to order in each quarter, (quarters,); installed a lead time later
    owned: Array  #: units of the plan that are installed in each quarter, beyond those held, (quarters,)
    need: Array  #: net of what is held, (quarters, futures)
    lead: int  #: [quarters]
    own_usd_per_quarter: Array  #: of a unit that comes in each quarter, in it and in all after it, used or not, (quarters,)
    short_usd_per_quarter: Array  #: of a unit that is short: leased, or its margin lost, (quarters, futures)

    @property
    def user_cost(self) -> Array:
        """What holding a unit in a quarter costs over coming by it a quarter later, (quarters,): c_t (T - t) - c_t+1 (T - t - 1) [USD].

        The own cost of a vintage and, where later ones are cheaper, the obsolescence for all quarters left; with it a plan costs the sum
        over quarters of user cost times units owned.
        """
        whole = self.own_usd_per_quarter * np.arange(len(self.need), 0, -1)
        return np.asarray(whole - np.append(whole[1:], 0.0))

    @property
    def short(self) -> Array:
        """Units leased or unserved, (quarters, futures)."""
        return np.maximum(self.need - self.owned[:, None], 0.0)

    @property
    def cost(self) -> Array:
        """Of owning and of what is short, by future [USD]."""
        return self.cost_of(self.owned)

    @takes(owned=UNITS)
    def cost_of(self, owned: ArrayLike) -> Array:
        """The same for any plan of units installed, (quarters,)."""
        q = to_shape("owned", owned, self.own_usd_per_quarter.shape)
        short = np.maximum(self.need - q[:, None], 0.0)
        return np.asarray((self.user_cost * q).sum() + (self.short_usd_per_quarter * short).sum(axis=0))

    def foresight(self) -> Array:
        """Cost for one who knows the future, bound by the same lead time and unable to give back what was ordered, by future [USD].

        A layer of need is worth owning from the quarter on from which what it saves to the end exceeds what it costs.
        """
        levels = np.sort(self.need, axis=0)
        saved, below = np.zeros(self.need.shape[1]), np.zeros(self.need.shape[1])
        for level in levels:
            gain = np.where(self.need >= level, self.short_usd_per_quarter, 0.0) - self.user_cost[:, None]
            from_then_on = np.cumsum(gain[::-1], axis=0)[::-1][self.lead :]
            saved += np.maximum(from_then_on.max(axis=0, initial=0.0), 0.0) * (level - below)
            below = level
        return np.asarray((self.short_usd_per_quarter * self.need).sum(axis=0) - saved)

    def naive(self) -> dict[str, Array]:
        """Cost of plans made without weighing what shortage and excess cost, by future [USD]."""
        plans = {"order nothing": np.zeros(len(self.need)), "mean need": self.need.mean(axis=1)}
        plans |= {"95 % of needs": np.quantile(self.need, 0.95, axis=1)}
        ordered = np.arange(len(self.need)) >= self.lead  # before, nothing is installed; what was ordered is not given back
        return {name: self.cost_of(np.maximum.accumulate(np.where(ordered, q, 0.0))) for name, q in plans.items()}

    def regret(self) -> pl.DataFrame:
        """plan, mean_cost_usd, mean_regret_usd, p95_regret_usd against foresight: this plan and the naive ones, the cheapest first."""
        costs, best = {"this plan": self.cost} | self.naive(), self.foresight()
        lost = [c - best for c in costs.values()]
        columns = {"mean_regret_usd": np.mean(lost, axis=1), "p95_regret_usd": np.quantile(lost, 0.95, axis=1)}
        means = {"plan": list(costs), "mean_cost_usd": [c.mean() for c in costs.values()]}
        return pl.DataFrame(means | columns).sort("mean_cost_usd")

    def frame(self) -> pl.DataFrame:
        """A row per quarter: order, owned, net need (5, 50, 95 %), mean units short, probability of enough."""
        low, middle, high = np.quantile(self.need, (0.05, 0.5, 0.95), axis=1)
        return pl.DataFrame({
            "quarter": np.arange(len(self.need)), "order": self.orders, "owned": self.owned, "need_p5": low, "need_p50": middle,
            "need_p95": high, "short_mean": self.short.mean(axis=1), "p_enough": np.mean(self.short == 0, axis=1),
        })  # fmt: skip


@takes(
    need=UNITS, held=UNITS, own_usd_per_quarter=Rule(above=0, apart=True), lease_usd_per_quarter=COST, margin_usd_per_quarter=COST,
    lead=WHOLE,
)  # fmt: skip
def order_plan(
    need: ArrayLike, *, own_usd_per_quarter: ArrayLike, lease_usd_per_quarter: ArrayLike, lead: int,
    margin_usd_per_quarter: ArrayLike = np.inf, held: ArrayLike = 0.0,
) -> OrderPlan:  # fmt: skip
    """Cheapest orders that are fixed now: what to own in each quarter, where a shortage costs a lease or a lost margin.

    A unit that comes in quarter v pays its own locked annuity c_v from then to the end, whatever later ones cost: the sum over vintages is
    sum_t k_t Q_t with the user cost k_t = c_t (T - t) - c_t+1 (T - t - 1). Minimised is sum_t E[k_t Q_t + u_t (N_t - Q_t)+] over plans
    that never fall, with u = min(lease, margin). A quarter on its own is the newsvendor, E[u 1(N > Q)] = k: with a constant u the quantile
    of net need at the critical ratio (u - k) / u. Where that would fall, units could not be given back: adjacent quarters are pooled, which
    is exact (isotonic regression under the newsvendor's loss).

    Parameters
    ----------
    need : array_like, shape (quarters, futures)
        Units wanted, 0 or more.
    own_usd_per_quarter : array_like, shape (quarters,)
        Of owning a unit that comes in each quarter, used or not: its annuity and running cost, which it keeps.
    lease_usd_per_quarter : array_like, shape (quarters, futures)
        Of leasing one at short notice, as the price of the loop.
    lead : int
        Quarters from order to service: 3 to 4 for chips, 8 to 16 where power has to come first; 0 or more.
    margin_usd_per_quarter : array_like
        Lost where a unit is neither owned nor leased; infinite: everything is served.
    held : array_like, shape (quarters,)
        Units installed already, sunk.

    Raises
    ------
    InputError
        For negative needs, costs that are not positive, a lead time below 0 or not below the quarters.

    Examples
    --------
    >>> plan = order_plan([[5.0, 9.0], [7.0, 12.0]], own_usd_per_quarter=1.0, lease_usd_per_quarter=2.2, lead=1)
    >>> plan.orders, plan.regret()["plan"][0]
    (array([12.,  0.]), 'this plan')

    References
    ----------
    .. [1] Arrow, Harris, Marschak (1951), "Optimal inventory policy", Econometrica 19(3).
    .. [2] Barlow, Bartholomew, Bremner, Brunk (1972), "Statistical Inference under Order Restrictions": pooling adjacent violators.
    """
    n = np.asarray(need, dtype=float)
    if n.ndim != 2 or not n.size:
        raise InputError(f"need of shape {n.shape}: expected (quarters, futures), one or more of each")
    quarters = len(n)
    if lead >= quarters:
        raise InputError(f"lead = {lead}: expected whole quarters from 0 to {quarters - 1}")
    own = to_shape("own_usd_per_quarter", own_usd_per_quarter, (quarters,))
    names = "lease_usd_per_quarter, margin_usd_per_quarter"
    cost = np.minimum(np.asarray(lease_usd_per_quarter, dtype=float), np.asarray(margin_usd_per_quarter, dtype=float))
    if not np.isfinite(cost).all():
        raise InputError(f"{names}: expected one of them finite")
    short = to_shape(names, cost, n.shape)
    net = np.maximum(n - to_shape("held", held, (quarters,))[:, None], 0.0)
    plan = OrderPlan(np.zeros(quarters), np.zeros(quarters), net, lead, own, short)
    owned = np.concatenate([np.zeros(lead), _never_falling(net[lead:], plan.user_cost[lead:], short[lead:])])
    orders = np.zeros(quarters)
    orders[: quarters - lead] = np.diff(owned[lead:], prepend=0.0)
    return replace(plan, orders=orders, owned=owned)


def _newsvendor(need: Array, short: Array, own: float) -> float:
    """Least of 0 and the needs, Q, with  E[u 1(N > Q)] <= c:  a weighted quantile; no end where holding a unit earns."""
    if own <= 0:
        return np.inf
    order = np.argsort(need)
    beyond = np.cumsum(short[order][::-1])[::-1] - short[order]  # weight of the needs after each, where none are equal
    if short.mean() <= own:
        return 0.0
    return float(need[order][np.argmax(beyond <= own * need.size)])


def _never_falling(need: Array, own: Array, short: Array) -> Array:
    """Newsvendor's units by quarter that never fall: adjacent quarters pooled where they would."""
    blocks: list[tuple[int, int, float]] = []  # first, last + 1, units
    for t in range(len(need)):
        first, units = t, _newsvendor(need[t], short[t], float(own[t]))
        while blocks and blocks[-1][2] > units:
            first = blocks.pop()[0]
            units = _newsvendor(need[first : t + 1].ravel(), short[first : t + 1].ravel(), float(own[first : t + 1].mean()))
        blocks.append((first, t + 1, units))
    return np.concatenate([np.full(stop - first, units) for first, stop, units in blocks]) if blocks else np.zeros(0)
