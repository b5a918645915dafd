"""Between sites: round trips over long fibre, and what distance and bandwidth cost a training job."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench import catalogue
from workbench.arrays import Array, Arrays
from workbench.checks import COUNT, POSITIVE, SHARE, Rule, takes
from workbench.units import MILLI, great_circle

UNLIMITED, DISTANCE = Rule(above=0, infinite=True), Rule(least=0, most=1e8, unit="m")
#: What the arguments of a job over several sites may be.
RULES = {
    "gradient_bytes": POSITIVE, "step_seconds": POSITIVE, "sites": COUNT, "distance": DISTANCE, "overlap": SHARE, "every": COUNT,
}  # fmt: skip
#: One-way propagation in fibre [s/m] (NVIDIA MMS4X00-NS, overview: 4.5 ns per metre of its fibre; long-haul glass is 4.9).
PROPAGATION = 4.9e-9
LATITUDE, LONGITUDE = Rule(least=-90, most=90, unit="degrees"), Rule(least=-180, most=180, unit="degrees")
DIRECT, REACH = 4.5e6, 3e6  #: what land routes join directly, and how far a hub is sought [m]; judged with the hubs, not fitted
LOCAL = 5e5  #: over which the fixed part of a round trip builds up [m]


@dataclass(frozen=True, repr=False)
class Sites(Arrays):
    """Synchronous training over several sites; arrays broadcast."""

    exchange: Array  #: time of one exchange of gradients between sites [s]
    exposed: Array  #: part of it that computing does not hide, per step [s]
    loss: Array  #: share of the step's time that is lost


@takes(distance=DISTANCE)
def round_trip(distance: ArrayLike) -> Array:
    """Round trip over `distance` [m] of fibre [s]."""
    return np.asarray(2 * np.asarray(distance, dtype=float) * PROPAGATION)


def route(latitude: ArrayLike, longitude: ArrayLike, to_latitude: ArrayLike, to_longitude: ArrayLike) -> Array:
    """Length of the way that long fibre takes between places [m]: direct, or by the hubs within reach of either; arrays broadcast.

    Places more than `DIRECT` apart are joined by way of hubs, from hub to hub along their links.
    """
    at, between = catalogue.made_of("hubs", _hubs)
    ends = [np.asarray(x, dtype=float) for x in (latitude, longitude, to_latitude, to_longitude)]
    own, other = (great_circle(y[..., None], x[..., None], *at) for y, x in (ends[:2], ends[2:]))
    own, other = (np.where(leg <= REACH, leg, np.inf) for leg in (own, other))
    on_way = [(own + between[:, hub]).min(axis=-1) for hub in range(len(between))]
    via = functools.reduce(np.minimum, (leg + other[..., hub] for hub, leg in enumerate(on_way)))
    direct = great_circle(*ends)
    return np.asarray(np.where(direct <= DIRECT, np.minimum(direct, via), np.where(np.isfinite(via), via, direct)))


@takes(latitude=LATITUDE, longitude=LONGITUDE, to_latitude=LATITUDE, to_longitude=LONGITUDE)
def latency(latitude: ArrayLike, longitude: ArrayLike, to_latitude: ArrayLike, to_longitude: ArrayLike) -> Array:
    """Round trip between places given in degrees, as a region measures it to another or to the people of a city [s]; arrays broadcast.

    2 PROPAGATION stretch route + fixed (1 - exp(-route / `LOCAL`)); with a region left out the mean error is 11 % beyond 500 km, and 9 %
    on the network of a provider that was not fitted.

    Examples
    --------
    >>> one, other = catalogue.region("Warsaw"), catalogue.region("us-east-1")
    >>> round(float(latency(one.latitude, one.longitude, other.latitude, other.longitude)), 3)
    0.105
    """
    way = route(latitude, longitude, to_latitude, to_longitude)
    known = dict(catalogue.table("calibration/sites").select("constant", "value").iter_rows())
    return np.asarray(round_trip(way * known["fibre_stretch"]) - np.expm1(-way / LOCAL) * known["fixed_ms"] * MILLI)


def _hubs(frame: pl.DataFrame) -> tuple[tuple[Array, Array], Array]:
    """Latitudes and longitudes of the hubs, and the shortest way between each two along their links [m]."""
    names = frame["hub"].to_list()
    at = frame["latitude"].to_numpy(), frame["longitude"].to_numpy()
    between = np.where(np.eye(len(names)) > 0, 0.0, np.inf)
    for one, linked in enumerate(frame["linked_to"]):
        for other in (names.index(name) for name in linked.split(";")) if linked else ():
            between[one, other] = between[other, one] = great_circle(at[0][one], at[1][one], at[0][other], at[1][other])
    for hub in range(len(names)):
        between = np.minimum(between, between[:, [hub]] + between[[hub], :])
    return at, between


@takes(**RULES, bandwidth=UNLIMITED)
def across_sites(
    gradient_bytes: ArrayLike, step_seconds: ArrayLike, *, sites: ArrayLike, bandwidth: ArrayLike, distance: ArrayLike,
    overlap: ArrayLike = 0.0, every: ArrayLike = 1,
) -> Sites:  # fmt: skip
    """What data parallel training loses to the network between sites.

    exchange = 2 S (M - 1) / (M B) + 2 (M - 1) RTT / 2; exposed = max(0, exchange - overlap step) / every
    Source: Douillard et al. (2023), "DiLoCo", arXiv:2311.08105; Thakur, Rabenseifner, Gropp (2005), section 4.5 (ring).

    Parameters
    ----------
    gradient_bytes, step_seconds : array_like
        Gradients that each site holds once, S [B]; time of a step without the exchange [s].
    sites, distance : array_like
        Sites M, a whole number, at least 1; distance between neighbouring ones [m].
    bandwidth : array_like
        Of a site's connection, one direction [B/s]; infinite where it is no limit.
    overlap, every : array_like
        Share of the step under which the exchange can hide; steps between exchanges: 1 is synchronous, hundreds are DiLoCo.

    Examples
    --------
    >>> apart = across_sites(800e9, 10.0, sites=2, bandwidth=[1e11, 1e12], distance=1e6)
    >>> apart.exchange.round(2).tolist(), apart.loss.round(3).tolist()
    ([8.01, 0.81], [0.445, 0.075])
    """
    s, step, m, b, share, h = (np.asarray(x, dtype=float) for x in (gradient_bytes, step_seconds, sites, bandwidth, overlap, every))
    exchange = np.where(m > 1, 2 * s * (m - 1) / (m * b) + (m - 1) * round_trip(distance), 0.0)
    exposed = np.maximum(exchange - share * step * h, 0.0) / h
    return Sites(exchange=exchange, exposed=exposed, loss=exposed / (step + exposed))


@takes(**RULES, loss=Rule(above=0, below=1))
def bandwidth_for(
    loss: ArrayLike, gradient_bytes: ArrayLike, step_seconds: ArrayLike, *, sites: ArrayLike, distance: ArrayLike,
    overlap: ArrayLike = 0.0, every: ArrayLike = 1,
) -> Array:  # fmt: skip
    """Bandwidth of a site that keeps the loss at `loss` [B/s]; infinite where distance alone loses more.

    Parameters
    ----------
    loss : array_like
        Share of the step's time, above 0 and below 1.
    gradient_bytes, step_seconds, sites, distance, overlap, every : array_like
        As `across_sites`.

    Examples
    --------
    >>> float((bandwidth_for(0.01, 800e9, 10.0, sites=2, distance=1e6) / 1e12).round(2))
    8.77
    """
    x, s, step, m, share, h = (np.asarray(v, dtype=float) for v in (loss, gradient_bytes, step_seconds, sites, overlap, every))
    allowed = (x / (1 - x) * step + share * step) * h - (m - 1) * round_trip(distance)
    return np.where(allowed > 0, 2 * s * (m - 1) / (m * np.where(allowed > 0, allowed, 1.0)), np.inf)
