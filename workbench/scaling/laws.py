"""Laws of loss and of size, as objects that carry their own definitions of N, D and C and the range they were fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench import catalogue
from workbench.arrays import broadcast
from workbench.checks import NOT_NEGATIVE, POSITIVE, Rule, check_fields, takes
from workbench.errors import InputError

Array = NDArray[np.float64]
TABLE = "laws"
FIVE = ("E", "A", "B", "alpha", "beta")  #: constants of the additive law


@dataclass(frozen=True)
class Law:
    """What every law says of itself."""

    name: str
    counts: str = "total"  #: parameters N: total, non-embedding, active, or flop-per-token / 6
    compute: str = "6ND"  #: definition of training compute C
    compute_low: float | None = None  #: range of C it was fitted on [FLOP]; None where no source gives it
    compute_high: float | None = None
    source: str = ""
    rules: ClassVar[dict[str, Rule]] = {"compute_low": POSITIVE, "compute_high": POSITIVE}  #: of the numbers it is made of

    def __post_init__(self) -> None:
        check_fields(self, **self.rules)

    def allocation(self, compute: ArrayLike) -> tuple[Array, Array]:
        """Compute-optimal parameters and tokens at training compute [FLOP], broadcast."""
        raise NotImplementedError

    def loss(self, params: ArrayLike, tokens: ArrayLike) -> Array:
        """Loss [nats per token], broadcast. Raises `InputError` where the law is one of size alone."""
        raise InputError(f"{self.name} says how large a model should be, not what loss it reaches")

    @takes(compute=POSITIVE)
    def decades_outside(self, compute: ArrayLike) -> Array:
        """Decades by which compute lies outside the fitted range: 0 inside, or where no range is known."""
        _fitting(self, (), {"compute": compute})
        c = np.log10(compute)
        low = -np.inf if self.compute_low is None else np.log10(self.compute_low)
        high = np.inf if self.compute_high is None else np.log10(self.compute_high)
        return np.maximum(np.maximum(low - c, c - high), 0.0)


@dataclass(frozen=True)
class AdditiveLaw(Law):
    """L = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, equation 2). Parameters may be arrays: as many laws at once."""

    E: ArrayLike = 0.0
    A: ArrayLike = 0.0
    B: ArrayLike = 0.0
    alpha: ArrayLike = 0.0
    beta: ArrayLike = 0.0
    rules: ClassVar[dict[str, Rule]] = Law.rules | {"E": NOT_NEGATIVE, "A": POSITIVE, "B": POSITIVE, "alpha": POSITIVE, "beta": POSITIVE}

    def constants(self, **given: ArrayLike) -> tuple[Array, ...]:
        """E, A, B, alpha, beta as arrays that broadcast with what is `given`."""
        return _fitting(self, FIVE, given)

    @takes(params=POSITIVE, tokens=POSITIVE)
    def loss(self, params: ArrayLike, tokens: ArrayLike) -> Array:
        e, a, b, alpha, beta = self.constants(params=params, tokens=tokens)
        n, d = np.asarray(params, dtype=float), np.asarray(tokens, dtype=float)
        return np.asarray(e + a * n**-alpha + b * d**-beta)

    @takes(compute=POSITIVE)
    def allocation(self, compute: ArrayLike) -> tuple[Array, Array]:
        """N = G (C/6)^a, D = (C/6)^(1-a) / G with a = beta/(alpha+beta), G = (alpha A / (beta B))^(1/(alpha+beta))."""
        _, a, b, alpha, beta = self.constants(compute=compute)
        total = alpha + beta
        c = np.log(np.asarray(compute, dtype=float) / 6)
        log_n = (np.log(alpha * a / (beta * b)) + beta * c) / total
        return np.exp(log_n), np.exp(c - log_n)


@dataclass(frozen=True)
class KaplanLaw(Law):
    """L = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D (Kaplan et al. 2020, equation 1.5), N without embeddings."""

    n_c: ArrayLike = 1.0
    d_c: ArrayLike = 1.0
    alpha_n: ArrayLike = 1.0
    alpha_d: ArrayLike = 1.0
    rules: ClassVar[dict[str, Rule]] = Law.rules | dict.fromkeys(("n_c", "d_c", "alpha_n", "alpha_d"), POSITIVE)

    def constants(self, **given: ArrayLike) -> tuple[Array, ...]:
        """n_c, d_c, alpha_n, alpha_d as arrays that broadcast with what is `given`."""
        return _fitting(self, ("n_c", "d_c", "alpha_n", "alpha_d"), given)

    @takes(params=POSITIVE, tokens=POSITIVE)
    def loss(self, params: ArrayLike, tokens: ArrayLike) -> Array:
        n_c, d_c, alpha_n, alpha_d = self.constants(params=params, tokens=tokens)
        n, d = np.asarray(params, dtype=float), np.asarray(tokens, dtype=float)
        return np.asarray(((n_c / n) ** (alpha_n / alpha_d) + d_c / d) ** alpha_d)

    @takes(compute=POSITIVE)
    def allocation(self, compute: ArrayLike) -> tuple[Array, Array]:
        """Least loss at C = 6 N D: (N/N_c)^(r+1) = r C / (6 D_c N_c), r = alpha_N / alpha_D."""
        n_c, d_c, alpha_n, alpha_d = self.constants(compute=compute)
        c, r = np.asarray(compute, dtype=float), alpha_n / alpha_d
        n = n_c * (r * c / (6 * d_c * n_c)) ** (1 / (r + 1))
        return n, c / (6 * n)


@dataclass(frozen=True)
class AllocationLaw(Law):
    """N = coefficient C^exponent, D from C = 6 N D. It knows no loss."""

    coefficient: ArrayLike = 1.0
    exponent: ArrayLike = 0.5
    of: str = "params"  #: what the power law gives: params, tokens, or flop-per-token
    rules: ClassVar[dict[str, Rule]] = Law.rules | {"coefficient": POSITIVE, "exponent": POSITIVE}

    @takes(compute=POSITIVE)
    def allocation(self, compute: ArrayLike) -> tuple[Array, Array]:
        coefficient, exponent = _fitting(self, ("coefficient", "exponent"), {"compute": compute})
        c = np.asarray(compute, dtype=float)
        given = coefficient * c**exponent
        if self.of == "tokens":
            return c / (6 * given), given
        n = given / 6 if self.of == "flop-per-token" else given
        return n, c / (6 * n)


@dataclass(frozen=True)
class RepeatedDataLaw(AdditiveLaw):
    """The additive law where tokens repeat: what is seen again counts ever less (Muennighoff et al. 2023, equations 5 and 6)."""

    r_d: ArrayLike = 1.0  #: repetitions after which data is worth no more than (1 + r_d) times itself
    r_n: ArrayLike = 1.0  #: the same for parameters in excess of what the unique data can use
    rules: ClassVar[dict[str, Rule]] = AdditiveLaw.rules | {"r_d": POSITIVE, "r_n": POSITIVE}

    @takes(params=POSITIVE, tokens=POSITIVE, unique=POSITIVE)
    def effective(self, params: ArrayLike, tokens: ArrayLike, unique: ArrayLike) -> tuple[Array, Array]:
        """Parameters and tokens that would do the same with nothing repeated, for `unique` tokens."""
        (r_d,) = _fitting(self, ("r_d",), {"params": params, "tokens": tokens, "unique": unique})
        return self.effective_params(params, unique), saturating(np.asarray(tokens, dtype=float), np.asarray(unique, dtype=float), r_d)

    @takes(params=POSITIVE, unique=POSITIVE)
    def effective_params(self, params: ArrayLike, unique: ArrayLike) -> Array:
        """Parameters without those in excess of what `unique` tokens can use."""
        (r_n,) = _fitting(self, ("r_n",), {"params": params, "unique": unique})
        return saturating(np.asarray(params, dtype=float), self.params_for(unique), r_n)

    @takes(tokens=POSITIVE)
    def params_for(self, tokens: ArrayLike) -> Array:
        """Parameters that are compute-optimal for so many tokens, all unique."""
        _, a, b, alpha, beta = self.constants(tokens=tokens)
        return np.asarray((alpha * a / (beta * b) * np.asarray(tokens, dtype=float) ** beta) ** (1 / alpha))

    def loss_repeated(self, params: ArrayLike, tokens: ArrayLike, unique: ArrayLike) -> Array:
        """Loss where only `unique` of the tokens are different [nats per token]."""
        return self.loss(*self.effective(params, tokens, unique))


@dataclass(frozen=True)
class PrecisionLaw(AdditiveLaw):
    """The additive law in which low precision leaves fewer effective parameters (Kumar et al. 2024, equation 3).

    N_eff = N product over weights, activations and cache of (1 - exp(-bits / gamma)); compute is 6 N D bits / 16.
    """

    gammas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        POSITIVE("gammas", self.gammas)

    @takes(bits=POSITIVE)
    def effective_share(self, bits: ArrayLike) -> Array:
        """N_eff / N with weights, activations and cache all at `bits`."""
        p = np.asarray(bits, dtype=float)
        share = np.ones_like(p)
        for gamma in self.gammas:
            share = share * -np.expm1(-p / gamma)
        return share


def saturating(given: Array, enough: Array, worth: Array) -> Array:
    """`given` up to `enough`, and what exceeds it ever less: all of it no more than (1 + `worth`) times `enough`."""
    used = np.minimum(given, enough)
    return np.asarray(used + used * worth * -np.expm1(-(given / used - 1) / worth))


def _fitting(law: Law, names: tuple[str, ...], given: Mapping[str, ArrayLike]) -> tuple[Array, ...]:
    """Constants of a law as arrays that broadcast with what is `given`."""
    numbers = {name: getattr(law, name) for name in law.rules}
    if any(map(np.ndim, numbers.values())):
        broadcast(**given, **numbers)
    return tuple(np.asarray(numbers[name], dtype=float) for name in names)


def law(name: str | Law, *, refits: bool = False) -> Any:
    """The law `name` (or an alias) of the table ``laws``; a `Law` is itself.

    Of "Besiroglu Huber" ship `refits` to 500 resamples of its points, the first of the 4,000 of `bootstrap` on the points, which are not
    ours to ship: one law with arrays for constants, so that whatever is asked of it is answered as often.

    Raises
    ------
    UnknownName
        With the nearest names.
    InputError
        For a law whose coefficients nobody here has read, with the reason, and for refits of another law.

    Examples
    --------
    >>> chinchilla = law("hoffmann_2022")
    >>> chinchilla.name, round(chinchilla.alpha, 3), round(chinchilla.beta, 3)
    ('Hoffmann unrounded', 0.339, 0.285)
    >>> float(chinchilla.loss(params=70e9, tokens=1.4e12).round(3))
    1.921
    >>> law("Besiroglu Huber", refits=True).alpha.shape
    (500,)
    """
    if refits:
        if (one := law(name)).name != "Besiroglu Huber":
            raise InputError(f"refits of {one.name}: none ship; expected Besiroglu Huber, or `bootstrap` on points of your own")
        frame = catalogue.table("calibration/chinchilla_refits")
        return replace(one, name=f"{one.name}, refits", **{name: frame[name].to_numpy() for name in FIVE})
    if isinstance(name, Law):
        return name
    row = catalogue.table(TABLE).row(by_predicate=pl.col("law") == catalogue.key_of(TABLE, name), named=True)
    if not row["available"]:
        raise InputError(f"{row['law']} is not available: {row['reason']}")
    said = {k: row[k] for k in ("counts", "compute", "compute_low", "compute_high", "source")} | {"name": row["law"]}
    five = {k: row[k] for k in FIVE}
    if row["form"] == "additive":
        return AdditiveLaw(**said, **five)
    if row["form"] == "repeated":
        return RepeatedDataLaw(**said, **five, r_d=row["r_d"], r_n=row["r_n"])
    if row["form"] == "precision":
        return PrecisionLaw(**said, **five, gammas=tuple(row[k] for k in ("gamma_w", "gamma_a", "gamma_kv")))
    if row["form"] == "kaplan":
        return KaplanLaw(**said, n_c=row["A"], d_c=row["B"], alpha_n=row["alpha"], alpha_d=row["beta"])
    return AllocationLaw(**said, coefficient=row["coefficient"], exponent=row["exponent"], of=row["of"])


def laws(available: bool = True) -> list[str]:
    """Names of the laws, or of those that are not available.

    Examples
    --------
    >>> laws()[:2]
    ['Hoffmann approach 1', 'Hoffmann approach 2']
    """
    frame = catalogue.table(TABLE)
    return frame.filter(pl.col("available") == available)["law"].to_list()
