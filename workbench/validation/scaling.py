"""Published results of scaling laws against the laws as implemented: tables, optima, fits, examples and traps of the literature.

A row names its law, states its inputs in words and formulas, and the quantities that were published, several of them separated by
semicolons: each becomes a prediction of its own.
"""

# ruff: noqa: E501  (one law or formula a line)

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from workbench import catalogue, scaling
from workbench.errors import DataError, UnknownName, WorkbenchError
from workbench.llm import LLM
from workbench.scaling import AdditiveLaw, kaplan
from workbench.scaling.bootstrap import Bootstrap
from workbench.scaling.capability import efficiency_per_year, slope_of
from workbench.scaling.fit import missed_starts
from workbench.scaling.optima import approach_2_bias
from workbench.validation.report import ODD, Prediction

TEXT = ("id", "law", "kind", "inputs", "quantity", "expected", "tolerance", "source")
NUMBERS = ()
#: Columns that hold the answer, or words that repeat it.
MEASURED = ("expected", "tolerance", "reproduced_here", "note")

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
SIZES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


class _Unknown(Exception):
    """Why a row is not predicted."""


def predict(rows: pl.DataFrame) -> list[Prediction]:
    """One prediction a quantity of each row, or the reason why there is none."""
    found = []
    for position, row in enumerate(rows.iter_rows(named=True)):
        try:
            values = _values(row)
            found += [Prediction(position, "expected", float(v), part=part) for part, v in enumerate(values)]
        except (_Unknown, WorkbenchError) as reason:
            found.append(Prediction(position, "expected", skipped=str(reason)))
        except ODD as error:
            found.append(Prediction(position, "expected", skipped=f"its inputs and words do not tell what is needed ({error!r:.60})"))
    return found


def measured(row: dict[str, Any], prediction: Prediction) -> tuple[float | None, float | None]:
    """The published number that a prediction is of, and the absolute error that the case allows."""
    printed = _numbers(row["expected"] or "")
    if prediction.part >= len(printed):
        return None, None
    text, value = printed[prediction.part]
    return value, _allowed(row["tolerance"] or "", text, value)


def _numbers(text: str) -> list[tuple[str, float]]:
    """Numbers of a cell with their texts: of a misprint the corrected one, of words in brackets none."""
    text = re.sub(rf"{NUMBER} \(misprint of ({NUMBER})\)", r"\1", text)
    text = re.sub(r"\([^)]*[a-df-zA-DF-Z][^)]*\)", "", text)
    return [
        (match[0], float(match[1]) * (0.01 if match[2] else 1))
        for match in re.finditer(rf"(?<![\w^.])({NUMBER})(?![\w.])\s*(%?)", re.sub(r"[A-Za-z]\w*\s*[~=^]\s*(?=[\d.])", "", text))
    ]


def _allowed(tolerance: str, text: str, value: float) -> float:
    """Absolute error from words: a percentage, a bare number (relative), ``abs``, ``+-``, ``rounding`` to the digits printed, ``exact``."""
    found = re.search(rf"({NUMBER})\s*(%?)", tolerance)
    if tolerance.startswith("exact"):
        return 0.0
    if tolerance.startswith("round") or not found:
        decimals = re.search(r"(\d+) decimals", tolerance)
        if decimals:
            return 0.5 * 10 ** -int(decimals[1])
        mantissa, _, exponent = text.rstrip("% ").lower().partition("e")
        unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        return 0.5001 * unit * (0.01 if "%" in text else 1)
    size = float(found[1])
    if "abs" in tolerance or tolerance.startswith("+-") or "of a percent" in tolerance:
        return abs(size)
    return abs(size) * (0.01 if found[2] else 1) * abs(value)


def _values(row: dict[str, Any]) -> list[float]:
    law, kind, inputs, quantity = (row[c] or "" for c in ("law", "kind", "inputs", "quantity"))
    given = _given(inputs)
    for known, words, formula in _FORMULAS:
        if re.fullmatch(known, law) and re.search(words, f"{kind} | {quantity} | {inputs}"):
            return formula(given, quantity, inputs)
    if {"alpha", "beta"} <= set(given) and quantity.replace(" ", "") in ("a", "b", "a;b"):
        both = {"a": given["beta"], "b": given["alpha"]}
        return [both[part.strip()] / (given["alpha"] + given["beta"]) for part in quantity.split(";")]
    if "C" in given and (found := _optimum(law, given["C"], quantity)):
        return found
    if law.startswith("gadre"):
        raise _Unknown("the authors' runs are not shipped")
    raise _Unknown(f"no formula for {quantity or kind} of {law}")


def _given(inputs: str) -> dict[str, float]:
    """``N=400M, C=5.76e23`` as numbers."""
    found: dict[str, float] = {}
    for match in re.finditer(rf"([A-Za-z][\w*/]*)\s*[=>]=?\s*({NUMBER})([KMBT](?![\w.]))?", inputs):
        found.setdefault(match[1], float(match[2]) * SIZES.get(match[3] or "", 1.0))
    header = re.search(rf"([A-Za-z][\w;,]*[;,][\w;,]+)=({NUMBER}(?:[;,]\s*{NUMBER})+)", inputs)
    if header:
        names, values = re.split(r"[;,]", header[1]), re.findall(NUMBER, header[2])
        found |= {name.strip(): float(value) for name, value in zip(names, values, strict=False)}
    return found


def _optimum(law: Any, compute: float, quantity: str) -> list[float]:
    """The quantities of a compute-optimal model that are asked for, in their order; none of a law that the table does not have."""
    try:
        best = scaling.optimal_allocation(compute, law)
    except UnknownName:
        return []
    named = {
        "N_opt": best.params, "N": best.params, "N*": best.params, "D": best.tokens, "D*": best.tokens, "tokens": best.tokens, "tokens D": best.tokens,
        "D/N": best.tokens_per_param, "M_opt": 6 * best.params, "D_opt": best.tokens, "L": best.loss, "L*": best.loss,
    }  # fmt: skip
    asked = [part.strip() for part in quantity.split(";")]
    return [float(named[part]) for part in asked] if all(part in named for part in asked) else []


def _table(given: dict[str, float], name: str) -> list[float]:
    """Compute and tokens for which a size is optimal."""
    from scipy.optimize.elementwise import find_root

    law = scaling.law(name)
    found = find_root(lambda log_c: np.log(law.allocation(np.exp(log_c))[0] / given["N"]), (20.0, 90.0))
    compute = float(np.exp(found.x))
    return [compute, compute / (6 * given["N"])]


def _custom(given: dict[str, float]) -> AdditiveLaw:
    return AdditiveLaw("of the row", E=given["E"], A=given["A"], B=given["B"], alpha=given["alpha"], beta=given["beta"])


def _exponents(name: str) -> list[float]:
    one = scaling.law(name)
    total = one.alpha + one.beta
    return [one.beta / total, one.alpha / total]


def _flop_ratio(given: dict[str, float], quantity: str, inputs: str) -> list[float]:
    """FLOP of appendix F over 6 N D, where N counts five attention matrices a layer and the embedding once."""
    layers, hidden, ffn, heads, width = (int(given[k]) for k in ("layers", "d_model", "ffw", "heads", "kq"))
    sequence, vocab = (int(re.search(rf"{word} (\d+)", inputs)[1]) for word in ("seq", "vocab"))  # type: ignore[index]
    llm = LLM(
        name="row", attention="mha", layers=layers, hidden=hidden, heads=heads, kv_heads=heads, head_dim=width, vocab=vocab,
        context=sequence, ffn=ffn, ffn_matrices=2,
    )  # fmt: skip
    params = layers * (5 * hidden * width * heads + 2 * hidden * ffn) + vocab * hidden
    return [float(scaling.training_flop(llm, 1.0, "Hoffmann F", sequence=sequence)) / (6 * params)]


def _bias(given: dict[str, float], _: str, inputs: str) -> list[float]:
    low, high, count = re.search(rf"budgets ({NUMBER})\.\.({NUMBER}) \((\d+)\)", inputs).groups()  # type: ignore[union-attr]
    points, factor = re.search(rf"(\d+) log-spaced points in D\*/({NUMBER})", inputs).groups()  # type: ignore[union-attr]
    to = re.search(rf"extrapolate to ({NUMBER})", inputs)[1]  # type: ignore[index]
    budgets = np.geomspace(float(low), float(high), int(count))
    return [100 * float(approach_2_bias(_custom(given), budgets, float(factor), int(points), float(to)))]


def _retrained(given: dict[str, float], quantity: str, inputs: str) -> list[float]:
    law = scaling.law("Hoffmann as used by Sardana")
    old, new = (float(re.search(rf"{word}({NUMBER})B", inputs)[1]) * 1e9 for word in ("", "retrain "))  # type: ignore[index]
    _, tokens = _table({"N": old}, law.name)
    again = float(law.tokens_for(new, law.loss(old, tokens)))
    before, after = (6 * n * d + 2 * n * given["D_inf"] for n, d in ((old, tokens), (new, again)))
    return [before - after, 1 - after / before]


def _chinchilla_loss(given: dict[str, float]) -> list[float]:
    _, tokens = _table(given, "Hoffmann as used by Sardana")
    return [float(scaling.law("Hoffmann as used by Sardana").loss(given["N"], tokens))]


def _repeats(given: dict[str, float], quantity: str, inputs: str) -> list[float]:
    law = scaling.law("Muennighoff")
    pairs = re.findall(rf"\(({NUMBER}),\s*({NUMBER})\)", inputs)
    c, u = np.array(pairs, dtype=float).T if pairs else (np.array([given["C"]]), np.array([given["U"]]))
    best = scaling.data_constrained_optimum(c, u, law)
    named = {"D": best.tokens, "epochs": best.epochs, "optimal epochs": best.epochs, "N": best.params}
    return [float(named[part.strip()][0]) for part in quantity.split(";")]


def _llama_slope(_: dict[str, float], __: str, inputs: str) -> list[float]:
    c, f = (np.array(re.findall(NUMBER, part), dtype=float) for part in re.search(r"C=(.*) at F=(.*)", inputs).groups())  # type: ignore[union-attr]
    return list(slope_of(c, f))


@cache
def _points() -> tuple[Any, Any, Any]:
    try:
        path = catalogue.external("chinchilla-points", download=False)
    except DataError:
        raise _Unknown("needs the Chinchilla points, which are not ours to ship: catalogue.external('chinchilla-points')") from None
    frame = scaling.chinchilla_points(str(path))
    return frame["params"].to_numpy(), frame["tokens"].to_numpy(), frame["loss"].to_numpy()


@cache
def _refits() -> Bootstrap:
    return scaling.bootstrap(*_points())


def _fitted(noise: str, quantity: str) -> list[float]:
    fit = scaling.fit(*_points(), noise=noise)
    return [getattr(fit, {"RSS": "objective"}.get(name.strip(), name.strip())) for name in quantity.split(";")]


def _errors(_: dict[str, float], quantity: str, __: str) -> list[float]:
    errors = _refits().standard_errors()
    return [errors[name] for name in re.findall(r"SE\((\w+)\)", quantity)]


def _intervals(_: dict[str, float], quantity: str, __: str) -> list[float]:
    return [end for name in quantity.split(";") for end in _refits().interval(name.strip())]


def _log_errors(*_: Any) -> list[float]:
    refits = _refits()
    return [float(np.std(np.log(x))) for x in (refits.A, refits.B, refits.E)]


def _exponent_error(*_: Any) -> list[float]:
    refits, fit = _refits(), scaling.fit(*_points(), noise="lad")
    a = refits.beta / (refits.alpha + refits.beta)
    low, high = np.quantile(a, [0.1, 0.9])
    return [fit.beta / (fit.alpha + fit.beta), float(np.std(a)), float(high - low)]


def _huber_of(*names: str) -> list[float]:
    n, d, observed = _points()
    size = [np.abs(np.log(scaling.law(name).loss(n, d) / observed)) for name in names]
    return [float(np.where(r <= 1e-3, r * r / 2, 1e-3 * (r - 5e-4)).sum()) for r in size]


def _likelihoods(*_: Any) -> list[float]:
    """Huber likelihoods with their best scale: of the unrounded parameters, of the fit, and the ratio statistic."""
    from scipy.optimize import minimize_scalar
    from scipy.stats import norm

    n, d, observed = _points()
    best = scaling.fit(n, d, observed).law()
    delta = 1e-3
    log_norm = np.log(np.sqrt(2 * np.pi) * (1 - 2 * norm.sf(delta)) + 2 * np.exp(-(delta**2) / 2) / delta)

    def highest(law: Any) -> float:
        r = np.log(law.loss(n, d) / observed)

        def minus(log_scale: float) -> float:
            z = np.abs(r) * np.exp(-log_scale)
            return float(np.where(z <= delta, z * z / 2, delta * (z - delta / 2)).sum() + r.size * (log_scale + log_norm))

        return -float(minimize_scalar(minus, bounds=(-25, 5), method="bounded", options={"xatol": 1e-10}).fun)

    fitted = max(highest(best), highest(scaling.fit(n, d, observed, noise="lad").law()))
    old = highest(scaling.law("Hoffmann unrounded"))
    return [2 * (fitted - old), old, fitted]


def _distance(*_: Any) -> list[float]:
    """Squared distance of the unrounded parameters from the estimate, in logarithms of E, A and B, by the bootstrap covariance."""

    def logs(law: Any) -> Any:
        return np.array([np.log(law.E), np.log(law.A), np.log(law.B), law.alpha, law.beta])

    gap = logs(scaling.law("Hoffmann unrounded")) - logs(scaling.fit(*_points(), noise="lad"))
    return [float(gap @ np.linalg.solve(np.cov(logs(_refits())), gap))]


def _share_of_starts(*_: Any) -> list[float]:
    points = _points()
    return [1 - missed_starts(*points, scaling.fit(*points))]


Formula = Callable[[dict[str, float], str, str], list[float]]
#: Law, words of kind, quantity or inputs, and how the values follow. The first that fits holds.
_FORMULAS: tuple[tuple[str, str, Formula], ...] = (
    (r"hoffmann_approach1", r"optimal C ; D", lambda x, *_: _table(x, "Hoffmann approach 1")),
    (r"hoffmann_approach2", r"optimal C ; D", lambda x, *_: _table(x, "Hoffmann approach 2")),
    (r"hoffmann_approach3", r"optimal C ; D", lambda x, *_: _table(x, "Hoffmann unrounded")),
    (r"hoffmann_approach2", r"noise-free bias", _bias),
    (r"hoffmann_parametric_\w+", r"\| a ; b \|", lambda x, *_: _exponents("Hoffmann rounded")),
    (r"hoffmann_parametric_rounded", r"\| L \|", lambda x, *_: [float(scaling.law("Hoffmann rounded").loss(x["N"], x["D"]))]),
    (r"hoffmann_parametric_texsource", r"\| L \|", lambda x, *_: [float(scaling.law("Hoffmann unrounded").loss(x["N"], x["D"]))]),
    (r"training_flops", r"FLOPs/\(6ND\)", _flop_ratio),
    (r"closed-form allocation", r"published number", lambda x, q, _: _optimum(_custom(x), x["C"], q)),
    (r"besiroglu_2024", r"drop 5 largest", lambda *_: [float(_points()[0].size)]),
    (r"besiroglu_2024", r"fit \|.*Huber 1e-3 LSE", lambda x, q, _: _fitted("huber", q)),
    (r"besiroglu_2024", r"fit \|.*sum \|log residual\|", lambda x, q, _: _fitted("lad", q)),
    (r"chinchilla_points_RSS", r"fit \|.*L-Lhat", lambda x, q, _: _fitted("squared", q)),
    (r"besiroglu_2024", r"share of starts", _share_of_starts),
    (r"besiroglu_2024", r"SE\(\w+\)", _errors),
    (r"besiroglu_2024", r"95% percentiles", _intervals),
    (r"besiroglu_2024", r"SE on ln A, ln B, ln E", _log_errors),
    (r"besiroglu_2024", r"a=beta/\(alpha\+beta\)", _exponent_error),
    (r"besiroglu_2024", r"LR statistic", _likelihoods),
    (r"besiroglu_2024", r"chi2", _distance),
    (r"besiroglu_2024", r"Huber objective of rounded ; TeX", lambda *_: _huber_of("Hoffmann rounded", "Hoffmann unrounded")),
    (r"muennighoff_2023", r"\| L \|", lambda x, *_: [float(scaling.law("Muennighoff").loss_repeated(x["N"], x["D"], x["U"]))]),
    (r"muennighoff_2023", r"epochs", _repeats),
    (r"sardana_2023", r"retrain", _retrained),
    (r"sardana_2023", r"Chinchilla-optimal loss", lambda x, *_: _chinchilla_loss(x)),
    (r"llama3_2024", r"6ND", lambda x, *_: [float(scaling.training_flop(x["N"], x["D"]))]),
    (r"deepseek_2024", r"M_opt\*D_opt/C", lambda *_: [0.1715 * 5.8316]),
    (r"deepseek_2024", r"lr ; batch", lambda x, *_: [float(v) for v in kaplan.learning_rate_and_batch(x["C"])]),
    (r"kaplan_L\(N\)", r"\| L \|", lambda x, *_: [float(kaplan.loss_of_params(x["N"]))]),
    (r"kaplan_L\(D\)", r"\| L \|", lambda x, *_: [float(kaplan.loss_of_tokens(x["D"]))]),
    (r"kaplan_L\(Cmin\)", r"\| L \|", lambda x, *_: [float(kaplan.loss_of_compute(x["C"]))]),
    (r"kaplan_L\(N,D\)", r"D >= c\*N\^e", lambda *_: _against_overfitting()),
    (r"kaplan_L\(N,D\)", r"\| L \|", lambda x, *_: [float(scaling.law("Kaplan").loss(x["N"], x["D"]))]),
    (r"kaplan_Bcrit", r"B_crit", lambda x, *_: [float(kaplan.critical_batch(x["L"]))]),
    (r"porian_2024.*", r"exponent a ; N ; D/N", lambda x, q, _: _porian(q)),
    (r"ECI_rosetta_stone", r"efficiency x/yr", lambda x, *_: [float(efficiency_per_year(x["k"], x["db/dt"]))]),
    (r"ECI_rosetta_stone", r"k per ln FLOP", _llama_slope),
    (r"kumar_precision_2024", r"N_eff/N", lambda x, q, i: _effective(x, i)),
)  # fmt: skip


def _against_overfitting() -> list[float]:
    law = scaling.law("Kaplan")
    exponent = law.alpha_n / law.alpha_d
    return [
        float(kaplan.tokens_against_overfitting(1e9, law)) / 1e9 ** round(exponent, 2),
        exponent,
    ]  # c belongs to the exponent as printed


def _porian(quantity: str) -> list[float]:
    law = scaling.law("Porian tuned")
    n, d = law.allocation(float(re.search(rf"at ({NUMBER})", quantity)[1]))  # type: ignore[index]
    return [law.exponent, float(n), float(d / n)]


def _effective(given: dict[str, float], inputs: str) -> list[float]:
    bits = np.array(re.search(r"P=([\d,]+)", inputs)[1].strip(",").split(","), dtype=float)  # type: ignore[index]
    return list(-np.expm1(-bits / given["gamma_w"]))
