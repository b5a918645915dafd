"""Cases of the contract: workbench.uncertainty. A sample or a series stands as one of its values, the others fixed."""

from contract.harness import Case
from workbench import uncertainty as u
from workbench.uncertainty.scores import coverage, crps
from workbench.uncertainty.summaries import bands

DISTRIBUTIONS = {
    "Normal": (u.Normal, {"p5": -1.0, "p95": 3.0}),
    "Lognormal": (u.Lognormal, {"p5": 2.0, "p95": 8.0}),
    "Uniform": (u.Uniform, {"low": -2.0, "high": 5.0}),
    "Beta": (u.Beta, {"p5": 0.3, "p95": 0.6, "low": 0.125, "high": 1.0}),
    "Pert": (u.Pert, {"low": 1.0, "mode": 2.0, "high": 6.0}),
}
#: Odd points that mean something: of what may be negative, and where a bound that is none is an infinity.
ANY_SIGN = {
    "Normal": {"p5": ("negative", "zero"), "p95": ("zero",)},
    "Uniform": {"low": ("negative", "zero"), "high": ("zero",)},
    "Beta": {"low": ("negative", "zero")},
    "Pert": {"low": ("negative", "zero")},
}
POINTS = (-1.0, 2.5, 4.0)


def case(name, call, base, **more):
    """A case in which every argument takes one number."""
    return Case(f"uncertainty.{name}", call, base, numbers=tuple(base), **more)


def points(name):
    make, arguments = DISTRIBUTIONS[name]
    return make(**arguments)


def product(a, b):
    return a * b


INPUTS = {"a": u.Normal(0, 1), "b": u.Uniform(1, 2)}
CASES = [
    *(case(n, make, base, allow=ANY_SIGN.get(n, {}), read=lambda d: d.quantile(0.3)) for n, (make, base) in DISTRIBUTIONS.items()),
    *(
        Case(f"uncertainty.{n}.quantile", points(n).quantile, {"p": 0.25}, {"p": (0.05, 0.5, 0.99)}, allow={"p": ("zero",)})
        for n in DISTRIBUTIONS
    ),
    case(
        "Path", u.Path, {"steps": 4, "rho": 0.5, "sigma": 1.0}, whole=("steps",), allow={"rho": ("negative", "zero"), "sigma": ("zero",)},
        read=lambda path: path.weights,
    ),
    case(
        "Path.reverting", u.Path.reverting, {"steps": 4, "rate": 0.5, "volatility": 1.0, "step": 2.0}, whole=("steps",),
        allow={"rate": ("zero",), "volatility": ("zero",)},
    ),
    case(
        "sample", lambda n, seed, replicates, a: u.sample(INPUTS | {"a": a}, n, seed, replicates=replicates),
        {"n": 16, "seed": 3, "replicates": 2, "a": 4.0}, whole=("n", "seed", "replicates"),
        allow={"seed": ("zero",), "a": ("negative", "zero")},
    ),
    case(
        "sample.correlation", lambda correlation: u.sample(INPUTS, 16, correlation={("a", "b"): correlation}), {"correlation": 0.5},
        allow={"correlation": ("negative", "zero")},
    ),
    case(
        "one_at_a_time", lambda a, b: u.one_at_a_time(lambda a, b: a + 0 / (1 + abs(b)), {"a": a, "b": 2.0}, {"b": (1.0, b)}),
        {"a": 3.0, "b": 4.0}, allow=dict.fromkeys("ab", ("negative", "zero", "infinite", "minus infinite")),
    ),
    case(
        "sobol_indices", lambda n, seed: u.sobol_indices(product, INPUTS, n, seed), {"n": 16, "seed": 3}, whole=("n", "seed"),
        allow={"seed": ("zero",)},
    ),
    case(
        "band", lambda values, level: u.band([1.0, 5.0, values], level), {"values": 2.0, "level": 0.5},
        allow={"values": ("negative", "zero")},
    ),
    case(
        "bands", lambda values, levels: bands([1.0, 5.0, values], [0.5, levels]), {"values": 2.0, "levels": 0.75},
        allow={"values": ("negative", "zero")},
    ),
    Case(
        "uncertainty.crps", lambda samples, observed: crps([1.0, 3.0, samples], observed), {"samples": 2.0, "observed": 2.0},
        {"observed": POINTS}, numbers=("samples",), allow=dict.fromkeys(("samples", "observed"), ("negative", "zero")),
    ),
    case(
        "coverage", lambda low, high, observed: coverage([-99.0, low], [99.0, high], [0.5, observed]),
        {"low": -2.0, "high": 3.0, "observed": 1.0},
        allow={"low": ("negative", "zero"), "high": ("zero",), "observed": ("negative", "zero")},
    ),
    case(
        "Coverage.says", coverage([0] * 9, [2] * 9, [1, 1, 1, 1, 1, 1, 1, 3, 3]).says, {"least": 0.25, "most": 1.0},
        allow=dict.fromkeys(("least", "most"), ("zero",)),
    ),
]  # fmt: skip
#: Functions that take no number, and why they are not in the table.
WITHOUT: dict[str, str] = {}
