"""Decisions that measurements allow, taken as the models would: the best way to serve, the fastest layout, what fits.

Every option is a measured row, of which a model says what its call gives; what it chooses is judged by what was measured.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from workbench import catalogue, chips, files, tables
from workbench.calibration.forms import Asked, Form
from workbench.errors import DataError, WorkbenchError
from workbench.fabric import Cluster
from workbench.validation import calls, score
from workbench.validation.report import aligned

Names = Mapping[str, tuple[str, ...]]
SPEEDS = (15.0, 30.0, 60.0, 100.0)  #: tokens per second per user that are asked for
#: What a row of serving must say, and the columns that may say it: first of the question, then of what was measured.
SERVING: Names = {
    **{"model": ("model_key", "model"), "precision": ("weight_precision", "precision"), "input": ("input_len", "isl")},
    **{"output": ("output_len", "osl"), "chip": ("chip",), "users": ("concurrency",)},
    **{"tpot_ms": ("tpot_ms", "median_tpot_ms"), "measured": ("output_tok_s_per_gpu", "output_tok_s_per_chip")},
}
SHAPE = tuple(SERVING)[:5]
#: What layouts that are compared share.
JOB = ("source_key", "stack", "model", "layers", "seq", "precision", "chip", "n_chips", "gbs")
TRAINING: Names = {name: (name,) for name in (*JOB, "tp", "step_s", "status")}
READ: Mapping[str, Mapping[str, tuple[str, ...]]] = {  #: what is read of the result of a call, with the ends of its interval
    "chips.serving": {
        **{"feasible": ("feasible",), "tpot": ("tpot",), "soonest": ("tpot_low",)},
        "predicted": ("tokens_per_second_per_chip", "rate_low", "rate_high"),
    },
    "chips.training_step": {"feasible": ("feasible",), "seconds": ("seconds",)},
}
TEXT = ("model", "precision", "chip", "source_key", "stack", "status", "asked")
FAILED = re.compile("fail|memory|oom|crash", re.IGNORECASE)  #: a status of a run that was tried in vain
NEVER = 0.001  #: probability below which a speed is said to be impossible
LEAST = 5  #: layouts among which a rank correlation says something


@dataclass(frozen=True)
class Decisions:
    """Decisions by the models beside those by measurements. `str` gives what ``workbench validate decisions`` prints."""

    #: A row a question: most output tokens/s per chip at a speed, `measured` and `predicted` with its interval, of the measured options;
    #: whether it is `reached`, and with which `probability`; its `regret`; and `picked`, what is predicted of the best of all layouts.
    serving: pl.DataFrame
    layouts: pl.DataFrame  #: a row per choice: `JOB`, how many layouts, their rank correlation, and the regret of the predicted fastest
    fits: pl.DataFrame  #: a row per run: whether it `ran`, and whether the model says that it `fits`

    def table(self) -> pl.DataFrame:
        """How many decisions of each sort there are, and of how many."""
        s, away = self.serving, (pl.col("predicted") / pl.col("measured")).log().abs()
        pairs = s.join(s, on=[c for c in (*SHAPE, "tokens_per_s_user") if c != "chip"], suffix="_other", nulls_equal=True)
        pairs = pairs.filter(pl.col("measured") >= 1.1 * pl.col("measured_other"))
        right = pl.col("predicted").fill_null(0) > pl.col("predicted_other").fill_null(0)
        free = s.filter(pl.col("picked").is_not_null())
        missed, off = s.filter(pl.col("picked").is_null(), pl.col("answered")), (pl.col("picked") / pl.col("measured")).log().abs().exp()
        ran, failed = (self.fits.filter(pl.col("ran") == ran) for ran in (True, False))
        counts = [
            ("serving, within 25 % of what was measured", s.filter((pl.col("predicted") / pl.col("measured") - 1).abs() <= 0.25), s),
            ("serving, off by two or more", s.filter(away.exp() >= 2), s),
            ("serving, measured within the interval", s.filter(pl.col("measured").is_between("low", "high")), s),
            ("serving, said impossible though measured", s.filter(pl.col("probability").fill_null(0) < NEVER, pl.col("answered")), s),
            ("serving, said to be reached in one case of ten or less", s.filter(pl.col("probability") < 0.1), s),
            ("serving, reached within its interval alone", s.filter(~pl.col("reached"), pl.col("probability") >= 0.1), s),
            ("serving, not answered", s.filter(~pl.col("answered")), s),
            ("serving, the faster of two chips 10 % or more apart", pairs.filter(right), pairs),
            ("serving, picked among all layouts, within 25 % of the best measured", free.filter(off <= 1.25), free),
            ("serving, picked among all layouts, off by two or more", free.filter(off >= 2), free),
            ("serving, picked among all layouts, the speed not reached", missed, s if free.height else free),
            ("training, the fastest layout", self.layouts.filter(pl.col("regret") == 0), self.layouts),
            ("training, no layout said to fit", self.layouts.filter(pl.col("regret").is_null()), self.layouts),
            ("training, runs that failed, said not to fit", failed.filter(~pl.col("fits")), failed),
            ("training, runs that ran, said not to fit", ran.filter(~pl.col("fits")), ran),
        ]
        rows = [(what, part.height, of.height, round(100 * part.height / of.height, 1)) for what, part, of in counts if of.height]
        return pl.DataFrame(rows, schema=["decision", "count", "of", "%"], orient="row")

    def regrets(self) -> pl.DataFrame:
        """Regret and rank correlation of layouts of training, by source, and regret of what is chosen among measured options of serving."""
        columns = [
            pl.len().alias("choices"),
            (100 * pl.col("regret").mean()).round(1).alias("mean_regret_%"),
            (100 * pl.col("regret").max()).round(1).alias("worst_%"),
            pl.col("spearman").mean().round(2).alias("rank_correlation"),
        ]
        groups = self.layouts.group_by("source_key", maintain_order=True).agg(columns).sort("choices", descending=True)
        served = self.serving.drop_nulls("regret").with_columns(spearman=pl.lit(None, pl.Float64))
        both = (("all", self.layouts), ("serving", served))
        return pl.concat([groups, *(frame.select(pl.lit(name).alias("source_key"), *columns) for name, frame in both if frame.height)])

    def write_json(self, path: str | Path) -> None:
        """Write all questions, choices of layouts and runs as a list of JSON objects; the file is whole or not there."""
        rows = [*self.serving.to_dicts(), *self.layouts.to_dicts(), *self.fits.to_dicts()]
        files.write(path, json.dumps(rows, indent=1, allow_nan=False) + "\n")

    def __str__(self) -> str:
        lines = ["decisions: what the models choose among measured options", "", *aligned(self.table())]
        if self.regrets().height:
            lines += ["", "regret: what the chosen option takes over the best, or serves less than it", "", *aligned(self.regrets())]
        return "\n".join(lines)


def decide(paths: Iterable[str | Path] = (), leave_out: str | None = None) -> Decisions:
    """Take the decisions that files of measured serving and training allow.

    Serving: for a model, precision, request shape, chip and speed, the most output tokens/s per chip of the options whose speed per user
    reaches it; left out where the best measured is that of most users at once, as more may be better. Where no option reaches it the
    nearest counts, with the probability that it does. Beside it what `chips.slo_frontier` picks among all layouts. Training: the fastest of
    the layouts of one model, chips and batch on the same software, and which runs fit.

    Without files, the samples that ship with the workbench. With `leave_out`, a column of the files, options are predicted by models fitted
    to the rows of its other values alone, and nothing is picked beside them. Raises `DataError` for a file of another kind, and as
    `validate`.

    Examples
    --------
    >>> decide([catalogue.path("measured/training_failed.csv")]).fits.height
    150
    """
    rows: dict[str, list[dict[str, Any]]] = {"chips.serving": [], "chips.training_step": []}
    for path in [*map(Path, paths)] or [catalogue.path(f"measured/{name}.csv") for name in ("serving", "training", "training_failed")]:
        columns = set(tables.read_text(path).columns)
        if all(columns & set(names) for names in SERVING.values()):
            rows["chips.serving"] += _options("serving", path, "chips.serving", SERVING, leave_out)
        elif {*JOB, "tp", "pp"} <= columns:
            kind = "training" if columns & {"step_s", "tok_s_chip"} else "training-memory"
            rows["chips.training_step"] += _options(kind, path, "chips.training_step", TRAINING, leave_out)
        else:
            serving = ", ".join(" or ".join(names) for names in SERVING.values())
            known = f"measured serving ({serving}) and training ({', '.join(JOB)}, tp, pp; status where runs failed)"
            raise DataError(path, f"no decision is read from such a file; read are {known}")
    served, trained = _frame(rows["chips.serving"], SERVING), _frame(rows["chips.training_step"], TRAINING)
    fits = trained.select(*JOB, "ran", fits=pl.col("feasible") == 1).drop_nulls(["ran", "fits"])
    return Decisions(_picked(_served(served), served.clear() if leave_out else served), _layouts(trained), fits)


def _options(kind: str, path: Path, function: str, columns: Names, leave_out: str | None = None) -> list[dict[str, Any]]:
    """Rows that ask for a function: what they say and measured, and what is read of the result of their call."""
    form, frame = score.read(kind, path)
    own = {one.position: one.call for one in score.ask(form, frame) if one.call and one.call["call"] == function}
    asked = [Asked(at, name, call, *read) for at, call in own.items() for name, read in READ[function].items()]
    said = {at: json.dumps(call["arguments"], default=str) for at, call in own.items()}
    found = {at: _said(form, frame.row(at, named=True), columns) | {"asked": text} for at, text in said.items()}
    for one, answer in score.answers(form, frame, path, asked, leave_out):
        found[one.position] |= {one.quantity: answer.value, "low": answer.low, "high": answer.high}
    return list(found.values())


def _said(form: Form, row: dict[str, Any], columns: Names) -> dict[str, Any]:
    """What a row says, under the names that all forms share."""
    said: dict[str, Any] = dict.fromkeys(columns)
    for name, names in columns.items():
        column = next((one for one in names if one in row), names[0])
        with contextlib.suppress(ValueError, TypeError, LookupError, ArithmeticError):
            value = form.value(row, column) if column in form.measured else row.get(column)
            said[name] = value if name in TEXT or value is None or math.isfinite(value := float(value)) else None
    measured = any(row.get(column) for column in form.measured if column != "status")
    return said | {"ran": False if FAILED.search(row.get("status") or "") else True if measured else None}


def _frame(rows: list[dict[str, Any]], columns: Names) -> pl.DataFrame:
    names = (*columns, *(name for read in READ.values() for name in read), "low", "high", "asked")
    return pl.DataFrame(rows, schema={name: pl.String if name in TEXT else pl.Float64 for name in names} | {"ran": pl.Boolean})


def _served(options: pl.DataFrame) -> pl.DataFrame:
    """The best option at every speed, as measured and as predicted."""
    speed, key = pl.col("tokens_per_s_user"), [*SHAPE, "tokens_per_s_user"]
    usable = options.filter(pl.col("measured") > 0, pl.col("tpot_ms") > 0, pl.col("users") > 0)
    usable = usable.with_columns(most=pl.col("users").max().over(SHAPE), answered=(pl.col("feasible").count() > 0).over(SHAPE))
    ends = {"tokens_per_s_user_low": pl.col("soonest") / pl.col("tpot") ** 2, "tokens_per_s_user_high": 1 / pl.col("soonest")}
    usable = usable.with_columns(**ends)
    all_ = pl.concat([usable.with_columns(tokens_per_s_user=pl.lit(s), probability=chips.SLO(s).kept()[1]) for s in SPEEDS])

    def best(reached: pl.Expr, *by: str | pl.Expr) -> pl.DataFrame:
        return all_.filter(reached).sort(*by, descending=True, nulls_last=True, maintain_order=True).unique(key, keep="first")

    measured = best(1000 / pl.col("tpot_ms") >= speed, "measured").filter(pl.col("users") < pl.col("most"))
    reached = 1 / pl.col("tpot") >= speed
    probability = pl.when(pl.col("soonest") < pl.col("tpot")).then("probability").otherwise(reached.cast(pl.Float64))
    predicted = best(pl.col("feasible") == 1, reached, pl.when(reached).then("predicted").otherwise(1 / pl.col("tpot")))
    lacks = pl.max_horizontal(0.0, 1 - pl.col("measured") / pl.col("most_measured"), 1 - 1000 / pl.col("tpot_ms") / speed)
    predicted = predicted.join(measured.select(*key, most_measured="measured"), on=key, nulls_equal=True)
    predicted = predicted.select(*key, "predicted", "low", "high", reached=reached, probability=probability, regret=lacks)
    return measured.select(*key, "measured", "answered").join(predicted, on=key, how="left", nulls_equal=True).sort(key)


def _picked(questions: pl.DataFrame, options: pl.DataFrame) -> pl.DataFrame:
    """What is predicted of the best of all layouts at loads, drafts and most chips of the options; null out of reach of its interval."""
    asked, key = options.group_by(SHAPE, maintain_order=True).agg("asked", "users"), [*SHAPE, "tokens_per_s_user"]
    groups = questions.select(key).join(asked, on=SHAPE, how="left", nulls_equal=True).partition_by(SHAPE)
    picked = [questions.select(*key, picked=pl.lit(None, pl.Float64)).clear()]
    for group in groups if options.height else ():
        said = [json.loads(one) for one in group["asked"][0].drop_nulls()]
        best: list[dict[str, Any]] = []
        with contextlib.suppress(WorkbenchError, LookupError):  # nothing is picked
            load = dict(said[0]["load"]["arguments"], draft_tokens=0, concurrency=1)
            n = max(one["cluster"]["arguments"]["n_chips"] for one in said)
            varied = {
                "concurrency": group["users"][0].drop_nulls().unique(),
                "draft_tokens": sorted({one["load"]["arguments"].get("draft_tokens", 0) for one in said}),
                "precisions": [said[0]["plan"]["arguments"]["precision"]],
            }
            llm = calls.value({"call": "catalogue.llm", "arguments": [said[0]["llm"]]}, {})
            every = chips.slo_frontier(llm, [Cluster(group["chip"][0], n)], chips.Load(**load), every=True, **varied)
            best = [chips.cheapest_chip(every, chips.SLO(s), "tokens_per_s_chip").row(0, named=True) for s in group["tokens_per_s_user"]]
        speeds = zip(best, group["tokens_per_s_user"], strict=False)
        rates = [one["tokens_per_s_chip"] if one["tokens_per_s_user_high"] >= s else None for one, s in speeds] or [None] * group.height
        picked.append(group.select(key).with_columns(picked=pl.Series(rates, dtype=pl.Float64)))
    return questions.join(pl.concat(picked), on=key, how="left", nulls_equal=True)


def _layouts(runs: pl.DataFrame) -> pl.DataFrame:
    """Of layouts that are compared, how the predicted order and fastest hold; of several that are alike to the models the mean counts."""
    step, seconds = pl.col("step_s"), pl.col("seconds")
    spearman = pl.when(seconds.count() >= LEAST).then(pl.corr(seconds, step, method="spearman").fill_nan(None))
    regret = step.filter(seconds == seconds.min()).mean() / step.min() - 1
    groups = runs.filter(step > 0, pl.col("tp") > 0).group_by(JOB, maintain_order=True)
    return groups.agg(layouts=pl.len(), spearman=spearman, regret=pl.when(regret.is_finite()).then(regret)).filter(pl.col("layouts") > 1)
