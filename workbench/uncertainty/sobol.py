"""Scrambled Sobol points, sample axis last: as many randomisations as wanted, the same points per dimension whatever follows it."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from workbench.arrays import Array
from workbench.checks import LENGTH, WHOLE, Rule
from workbench.errors import InputError

BITS = 52  #: of a scrambled point, so that its middle is exact in a double
ONE = np.uint64(0x3FF0000000000000)  #: bits of 1.0: with those of a point below them, the double 1 + point
KEPT = 2**23  #: bytes of standard normals that are kept at most, times eight
DIGITS = 30  #: of the direction numbers, and so the largest power of two
SIZE = Rule(whole=True, one=True)  #: of a net; that it is a power of two is told by itself


class Net:
    """`replicates` independent scramblings of the first `n` Sobol points in `dimensions` dimensions.

    Matousek's linear scrambling with a digital shift: each point alone is uniform, and the mean over points has no bias.
    The scrambling of a dimension depends on seed, replicate and its place alone: dimensions that are added after it, more points and
    more replicates leave it as it is. `n` is a power of two. [Matousek (1998), "On the L2-discrepancy for anchored boxes", J. Complexity
    14; Owen (2003), ACM TOMACS 13(4); direction numbers, by scipy, of Joe, Kuo (2008), SIAM J. Sci. Comput. 30(5)]
    """

    def __init__(self, dimensions: int, n: int, seed: int, replicates: int):
        self.n, self.seed = SIZE("n", n), WHOLE("seed", seed)
        self.replicates = LENGTH("replicates", replicates)
        self.size = self.n * self.replicates
        if self.n < 1 or self.n & (self.n - 1) or self.n > 2**DIGITS:
            near = f" (next: {1 << self.n.bit_length()})" if 1 < self.n < 2**DIGITS else f", at most {2**DIGITS:,}"
            raise InputError(f"n = {self.n}: expected a power of two{near}")
        self._directions, self._shift = _scrambled(dimensions, self.n.bit_length() - 1, self.seed, self.replicates)

    def uniforms(self, first: int, stop: int) -> Array:
        """Points of the dimensions `first` to `stop`, in (0, 1); shape (stop - first, replicates n)."""
        points = np.empty((stop - first, self.replicates, self.n), dtype=np.uint64)
        points[..., 0] = self._shift[first:stop] | ONE
        for i in range(self._directions.shape[-1]):  # doubles the points: those with bit i of their number set
            np.bitwise_xor(points[..., : 1 << i], self._directions[first:stop, :, i, None], out=points[..., 1 << i : 2 << i])
        uniform = points.view(float).reshape(stop - first, -1)
        uniform -= 1 - 2.0 ** -(BITS + 1)  # to the middle of its cell, exactly
        return uniform

    def normals(self, first: int, stop: int) -> Array:
        """The same points as standard normals, not to be written to: the last few are kept for the next scenario."""
        find = _normals if 8 * (stop - first) * self.size <= KEPT else _normals.__wrapped__
        return find(self.n, self.seed, self.replicates, first, stop)


@lru_cache(maxsize=8)
def _normals(n: int, seed: int, replicates: int, first: int, stop: int) -> Array:
    from scipy.special import ndtri

    points = Net(stop, n, seed, replicates).uniforms(first, stop)
    ndtri(points, out=points)
    points.setflags(write=False)
    return points


@lru_cache(maxsize=64)
def _scrambled(dimensions: int, power: int, seed: int, replicates: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Direction numbers, shape (dimensions, replicates, power), and shifts, shape (dimensions, replicates), of `BITS` bits."""
    randoms = [np.random.default_rng([seed, r]).integers(2**BITS, size=(dimensions, BITS + 1), dtype=np.uint64) for r in range(replicates)]
    random = np.stack(randoms, axis=1)
    place = np.arange(BITS - 1, BITS - 1 - power, -1, dtype=np.uint64)  # of each digit, from the first after the point
    one = np.uint64(1)
    columns = (one << place) | (random[..., :power] & ((one << place) - one))
    digits = (_directions(dimensions, power)[:, None, :, None] >> np.arange(DIGITS - 1, DIGITS - 1 - power, -1, dtype=np.uint64)) & one
    mixed = np.bitwise_xor.reduce(np.where(digits == one, columns[:, :, None, :], np.uint64(0)), axis=-1)
    return mixed.astype(np.uint64), random[..., -1]


@lru_cache(maxsize=64)
def _directions(dimensions: int, power: int) -> NDArray[np.uint64]:
    """First `power` direction numbers of each dimension: the points whose Gray code has one bit."""
    from scipy.stats import qmc

    engine, found, at = qmc.Sobol(dimensions, scramble=False, bits=DIGITS), [], 0
    for i in range(power):
        engine.fast_forward((2 << i) - 1 - at)
        found.append(engine.random(1)[0])
        at = 2 << i
    return np.round(np.array(found).reshape(power, dimensions).T * 2.0**DIGITS).astype(np.uint64)
