"""Laws of loss and of size, as objects that carry their own definitions of N, D and C and the range they were fitted on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench import catalogue
from workbench.arrays import Array, broadcast
from workbench.checks import NOT_NEGATIVE, POSITIVE, Rule, check_fields, takes
from workbench.errors import InputError

TABLE = "laws"
FIVE = ("E", "A", "B", "alpha", "beta")  #: constants of the additive law


@dataclass(frozen=True)
class Law:
    """What every law says of itself. Its constants may be arrays: as many laws at once."""

    name: str
    counts: str = "total"  #: parameters N: total, non-embedding, active, or flop-per-token / 6
    compute: str = "6ND"  #: definition of training compute C
    compute_low: float | None = None  #: range of C it was fitted on [FLOP]; None where no source gives it
    compute_high: float | None = None
    source: str = ""
    rules: ClassVar[dict[str, Rule]] = {"compute_low": POSITIVE, "compute_high": POSITIVE}  #: of the numbers it is made of

    def __post_init__(self) -> None:
        check_fields(self, **self.rules)

    def fitting(self, *names: str, **given: ArrayLike) -> list[Array]:
        """Constants of those names, and what is `given`, as arrays that broadcast."""
        numbers = {name: getattr(self, name) for name in self.rules}
        broadcast(**given, **numbers)
        return [np.asarray(value, dtype=float) for value in (*map(numbers.__getitem__, names), *given.values())]

    def allocation(self, compute: ArrayLike) -> tuple[Array, Array]:
        """Compute-optimal parameters and tokens at training compute [FLOP], broadcast."""
        raise NotImplementedError

    def loss(self, params: ArrayLike, tokens: ArrayLike) -> Array:
        """Loss [nats per token], broadcast. Raises `InputError` where the law is one of size alone."""
        raise InputError(f"{self.name} says how large a model should be, not what loss it reaches")

    @takes(compute=POSITIVE)
    def decades_outside(self, compute: ArrayLike) -> Array:
        """Decades by which compute lies outside the fitted range: 0 inside, or where no range is known."""
        c = np.log10(*self.fitting(compute=compute))
        low = -np.inf if self.compute_low is None else np.log10(self.compute_low)
        high = np.inf if self.compute_high is None else np.log10(self.compute_high)
        return np.maximum(np.maximum(low - c, c - high), 0.0)


@dataclass(frozen=True)
class AdditiveLaw(Law):
    """L = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, equation 2); of Kumar et al. (2024), the limit of many bits."""

    E: ArrayLike = 0.0
    A: ArrayLike = 0.0
    B: ArrayLike = 0.0
    alpha: ArrayLike = 0.0
    beta: ArrayLike = 0.0
    rules: ClassVar[dict[str, Rule]] = Law.rules | {"E": NOT_NEGATIVE, "A": POSITIVE, "B": POSITIVE, "alpha": POSITIVE, "beta": POSITIVE}

    @takes(params=POSITIVE, tokens=POSITIVE)
    def loss(self, params: ArrayLike, tokens: ArrayLike) -> Array:
        e, a, b, alpha, beta, n, d = self.fitting(*FIVE, params=params, tokens=tokens)
        return np.asarray(e + a * n**-alpha + b * d**-beta)

    @takes(compute=POSITIVE)
    def allocation(self, compute: ArrayLike) -> tuple[Array, Array]:
        """N = G (C/6)^a, D = (C/6)^(1-a) / G with a = beta/(alpha+beta), G = (alpha A / (beta B))^(1/(alpha+beta))."""
        a, b, alpha, beta, c = self.fitting(*FIVE[1:], compute=compute)
        log_c = np.log(c / 6)
        log_n = (np.log(alpha * a / (beta * b)) + beta * log_c) / (alpha + beta)
        return np.exp(log_n), np.exp(log_c - log_n)


@dataclass(frozen=True)
class KaplanLaw(Law):
    """L = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D (Kaplan et al. 2020, equation 1.5), N without embeddings."""

    n_c: ArrayLike = 1.0
    d_c: ArrayLike = 1.0
    alpha_n: ArrayLike = 1.0
    alpha_d: ArrayLike = 1.0
    rules: ClassVar[dict[str, Rule]] = Law.rules | dict.fromkeys(("n_c", "d_c", "alpha_n", "alpha_d"), POSITIVE)

    @takes(params=POSITIVE, tokens=POSITIVE)
    def loss(self, params: ArrayLike, tokens: ArrayLike) -> Array:
        n_c, d_c, alpha_n, alpha_d, n, d = self.fitting("n_c", "d_c", "alpha_n", "alpha_d", params=params, tokens=tokens)
        return np.asarray(((n_c / n) ** (alpha_n / alpha_d) + d_c / d) ** alpha_d)

    @takes(compute=POSITIVE)
    def allocation(self, compute: ArrayLike) -> tuple[Array, Array]:
        """Least loss at C = 6 N D: (N/N_c)^(r+1) = r C / (6 D_c N_c), r = alpha_N / alpha_D."""
        n_c, d_c, alpha_n, alpha_d, c = self.fitting("n_c", "d_c", "alpha_n", "alpha_d", compute=compute)
        r = alpha_n / alpha_d
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
        coefficient, exponent, c = self.fitting("coefficient", "exponent", compute=compute)
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

    @takes(tokens=POSITIVE)
    def params_for(self, tokens: ArrayLike) -> Array:
        """Parameters that are compute-optimal for so many tokens, all unique."""
        a, b, alpha, beta, d = self.fitting(*FIVE[1:], tokens=tokens)
        return np.asarray((alpha * a / (beta * b) * d**beta) ** (1 / alpha))

    @takes(params=POSITIVE, tokens=POSITIVE, unique=POSITIVE)
    def loss_repeated(self, params: ArrayLike, tokens: ArrayLike, unique: ArrayLike) -> Array:
        """Loss where only `unique` of the tokens are different [nats per token]."""
        r_d, r_n, n, d, u = self.fitting("r_d", "r_n", params=params, tokens=tokens, unique=unique)
        return self.loss(saturating(n, self.params_for(u), r_n), saturating(d, u, r_d))


def saturating(given: Array, enough: Array, worth: Array) -> Array:
    """`given` up to `enough`, and what exceeds it ever less: all of it no more than (1 + `worth`) times `enough`."""
    used = np.minimum(given, enough)
    return np.asarray(used + used * worth * -np.expm1(-(given / used - 1) / worth))


#: The class of each form of the table, and the columns that are called otherwise than the fields of a law.
FORMS: dict[str, type[Law]] = {"repeated": RepeatedDataLaw, "kaplan": KaplanLaw, "allocation": AllocationLaw}
COLUMNS = {"name": "law", "n_c": "A", "d_c": "B", "alpha_n": "alpha", "alpha_d": "beta"}


@takes()
def law(name: str | Law, *, refits: bool = False) -> Any:
    """The law `name` (or an alias) of the table ``laws``; a `Law` is itself.

    Of "Besiroglu Huber" ship `refits` to 500 resamples of its points, the first of the 4,000 of `bootstrap` on the points, which are not
    ours to ship: one law with arrays for constants, so that whatever is asked of it is answered as often. Raises `UnknownName` with the
    nearest names; `InputError` for a law whose coefficients nobody here has read, with the reason, and for refits of another law.

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
    form = FORMS.get(row["form"], AdditiveLaw)
    return form(**{f.name: row[COLUMNS.get(f.name, f.name)] for f in fields(form)})


def laws(available: bool = True) -> list[str]:
    """Names of the laws, or of those that are not available."""
    frame = catalogue.table(TABLE)
    return frame.filter(pl.col("available") == available)["law"].to_list()
