"""Cases of the contract: workbench.scaling."""

from dataclasses import replace

import numpy as np

from contract.harness import Case
from workbench import catalogue, scaling
from workbench.scaling.laws import AllocationLaw, KaplanLaw, Law, RepeatedDataLaw

ADDITIVE = {"E": 1.75, "A": 400.0, "B": 1500.0, "alpha": 0.34, "beta": 0.33}
ADDITIVE_MANY = {"E": (0, 1.75, 2), "A": (300, 400, 500), "B": (400, 1500, 2000), "alpha": (0.25, 0.34, 0.5), "beta": (0.25, 0.33, 0.5)}
KAPLAN, KAPLAN_MANY = scaling.law("Kaplan"), {"n_c": (1e13, 6.4e13, 1e14), "d_c": (1e12, 1.8e13, 1e14), "alpha_n": (0.05, 0.076, 0.1)}
RUN = {"params": 7e9, "tokens": 1e12}
RUN_MANY = {"params": (1e9, 7e9, 4e11), "tokens": (1e11, 1e12, 2e13)}
COMPUTE, COMPUTE_MANY = {"compute": 1e24}, {"compute": (1e21, 1e24, 1e27)}
UNIQUE, UNIQUE_MANY = {"unique": 1e11}, {"unique": (1e10, 1e11, 5e12)}
ONE, REPEATED = scaling.law("Besiroglu Huber"), scaling.law("Muennighoff")
#: A least cost is flat, so that its place is known to the root of what its value is.
FLAT = 1e-7
LLM = catalogue.llm("Llama-3.1-8B")
#: Training runs of a law with a little of everything, for the fits.
N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e8, 1e10, 4), np.geomspace(1e9, 1e11, 4)))
LOSS = scaling.AdditiveLaw("truth", **ADDITIVE).loss(N, D) * np.exp(0.003 * np.random.default_rng(0).standard_normal(N.size))
RUNS = {"params": 7e9, "tokens": 1e10, "loss": 2.5}


def named(result):
    """Of a pair each on its own."""
    return dict(enumerate(result)) if isinstance(result, tuple) else result


def of_law(make, constants, many, method, given, given_many, **more):
    """A method of a law, with the constants of the law among its arguments."""
    return Case(
        f"scaling.{make.__name__}.{method}",
        lambda **all_of_them: getattr(make("x", **{c: all_of_them.pop(c) for c in constants}), method)(**all_of_them),
        {**constants, **given},
        {**many, **given_many},
        **more,
    )


def additive(method, given, given_many, without=(), **more):
    many = {c: values for c, values in ADDITIVE_MANY.items() if c not in without}
    return of_law(scaling.AdditiveLaw, ADDITIVE, many, method, given, given_many, allow={"E": ("zero",)}, **more)


def of_runs(name, call, **more):
    """A function of runs, of which one varies."""

    def varied(params, tokens, loss, **other):
        return call([*N, params], [*D, tokens], [*LOSS, loss], **other)

    base = RUNS | more.pop("base", {})
    return Case(f"scaling.{name}", varied, base, numbers=tuple(base), **more)


CASES = [
    Case(
        "scaling.Law",
        lambda compute, **ends: Law("x", **ends).decades_outside(compute),
        {"compute_low": 1e20, "compute_high": 1e23, "compute": 1e24},
        {"compute_low": (1e19, 1e20, 1e22), "compute_high": (1e22, 1e23, 1e25), "compute": (1e18, 1e21, 1e27)},
    ),
    additive("loss", RUN, RUN_MANY),
    additive("allocation", COMPUTE, COMPUTE_MANY, without="E", read=named),
    of_law(
        RepeatedDataLaw, {"r_d": 15.0, "r_n": 5.0, **ADDITIVE}, {"r_d": (5, 15, 20), "r_n": (2, 5, 9), **ADDITIVE_MANY},
        "loss_repeated", {**RUN, **UNIQUE}, {**RUN_MANY, **UNIQUE_MANY}, allow={"E": ("zero",)},
    ),
    Case("scaling.RepeatedDataLaw.params_for", REPEATED.params_for, {"tokens": 1e12}, {"tokens": RUN_MANY["tokens"]}),
    of_law(
        KaplanLaw, {"n_c": 6.4e13, "d_c": 1.8e13, "alpha_n": 0.076, "alpha_d": 0.103}, {**KAPLAN_MANY, "alpha_d": (0.05, 0.1, 0.2)},
        "loss", RUN, RUN_MANY,
    ),
    of_law(
        KaplanLaw, {"n_c": 6.4e13, "d_c": 1.8e13, "alpha_n": 0.076, "alpha_d": 0.103}, {**KAPLAN_MANY, "alpha_d": (0.05, 0.1, 0.2)},
        "allocation", COMPUTE, COMPUTE_MANY, read=named,
    ),
    of_law(
        AllocationLaw, {"coefficient": 0.1, "exponent": 0.5}, {"coefficient": (0.05, 0.1, 0.3), "exponent": (0.45, 0.5, 0.6)},
        "allocation", COMPUTE, COMPUTE_MANY, read=named,
    ),
    Case("scaling.optimal_allocation", lambda compute: scaling.optimal_allocation(compute, ONE), COMPUTE, COMPUTE_MANY),
    Case(
        "scaling.law_spread", lambda compute: scaling.law_spread(compute, ["Besiroglu Huber", "Llama 3"]), COMPUTE, COMPUTE_MANY,
        read=lambda frame: {f"{k[0]}{c}": part[c].to_numpy().squeeze() for k, part in frame.group_by("law") for c in ("params", "tokens")},
    ),
    Case(
        "scaling.data_constrained_optimum",
        lambda compute, unique_tokens: scaling.data_constrained_optimum(compute, unique_tokens, REPEATED),
        {**COMPUTE, "unique_tokens": 1e11}, {**COMPUTE_MANY, "unique_tokens": UNIQUE_MANY["unique"]},
    ),
    Case(
        "scaling.inference_aware_optimum",
        lambda prices, mfus, **other: scaling.inference_aware_optimum(law=ONE, prices=(1.0, prices), mfus=(mfus, 0.25), **other),
        {"loss": 2.25, "tokens_served": 1e13, "prices": 2.0, "mfus": 0.5},
        {"loss": (1.5, 2.25, 3.0), "tokens_served": (0, 1e12, 1e14), "prices": (1, 2, 4), "mfus": (0.25, 0.5, 1)},
        allow={"tokens_served": ("zero",)}, read=lambda found: replace(found, saved=1 - found.saved), rtol=FLAT,
    ),
    Case(
        "scaling.training_flop", lambda model, tokens: scaling.training_flop(model, tokens), {"model": 7e9, "tokens": 1e12},
        {"model": RUN_MANY["params"], "tokens": RUN_MANY["tokens"]},
    ),
    Case(
        "scaling.training_flop.attention",
        lambda tokens, sequence: scaling.training_flop(LLM, tokens, "attention", sequence), {"tokens": 1e12, "sequence": 4096},
        {"tokens": RUN_MANY["tokens"], "sequence": (1, 4096, 131072)},
    ),
    Case(
        "scaling.capability_gain", scaling.capability_gain, {"compute_ratio": 10.0, "years": 2.0, "k": 0.2, "progress": 0.5},
        {"compute_ratio": (0.5, 10, 1e4), "years": (-3, 0, 2), "k": (0.1, 0.2, 0.3), "progress": (0, 0.5, 1)},
        allow={"years": ("negative", "zero"), "k": ("zero",), "progress": ("zero",)},
    ),
    of_runs("fit", scaling.fit, base={"delta": 1e-3}),
    of_runs("bootstrap", scaling.bootstrap, base={"n": 4, "seed": 3, "delta": 1e-3}, whole=("n", "seed"), allow={"seed": ("zero",)}),
    Case(
        "scaling.Bootstrap.interval", lambda level: scaling.bootstrap(N, D, LOSS, n=20).interval("alpha", level), {"level": 0.5},
        numbers=("level",),
    ),
]  # fmt: skip
#: Functions that take no number, and why they are not in the table.
WITHOUT = {
    "chinchilla_points": "reads a file",
    "law": "takes a name",
}
