"""What a sweep finds about one result: its range, which parameter moves it most, and where runs fail."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup
from scipy.stats import f

from workbench.batch.tell.outcome import Outcome
from workbench.batch.tell.words import between, label, say
from workbench.charts.varied import LEVELS, Varied, named

ENOUGH = 3  #: runs a group that the share of a parameter is estimated from
FULL = 1.25  #: cells of a grid for each run that ended well, up to which it counts as full
CHANCE = 0.01  #: what is likelier by chance is not said


@dataclass(frozen=True)
class Effect:
    """How a result follows one parameter: the lowest and the highest mean of its groups, and the share of the variance between them."""

    name: str
    share: float  #: of the variance of the result
    chance: float  #: how likely a parameter without effect shows such a share; 0 in a full grid, where the others are balanced
    low: tuple[str, float]  #: the group's values in words; mean of the result there
    high: tuple[str, float]


def effects(outcome: Outcome, result: str) -> list[Effect]:
    """Effect of each swept parameter on the result, the largest first.

    A group is a level, or an equal share of the runs where a parameter takes many values. With n runs in k groups,
    ``share = 1 - (n - 1) / (n - k) * within / total``, the part of the sum of squares between the groups less what chance puts there
    (epsilon squared), which may fall a little below 0; `chance` is that of the F test. In a full grid ``share = 1 - within / total``.

    References
    ----------
    .. [1] Kelley (1935), "An unbiased correlation ratio measure", PNAS 21(9), 554-559.
    """
    good = outcome.runs.filter(pl.col(f"results.{result}").is_not_null())
    y = good[f"results.{result}"].cast(pl.Float64).alias("y")
    found, columns = [], {name: Varied.of(good, f"params.{name}", name) for name in outcome.swept}
    grid = math.prod(column.count for column in columns.values()) <= FULL * good.height
    for name, column in columns.items():
        groups = (
            pl.DataFrame({"group": column.groups(), "y": y, "x": column.plain})
            .group_by("group")
            .agg(
                pl.col("y").mean(),
                pl.len().alias("n"),
                ((pl.col("y") - pl.col("y").mean()) ** 2).sum().alias("within"),
                pl.col("x").min().alias("first"),
                pl.col("x").max().alias("last"),
            )
            .sort("group")
        )
        n, k = good.height, groups.height
        total, within = float(((y - y.mean()) ** 2).sum()), float(groups["within"].sum())
        if k < 2 or not total or (not grid and n < ENOUGH * k):
            continue
        share = 1 - within / total if grid else 1 - (n - 1) / (n - k) * within / total
        chance = 0.0 if grid else float(f.sf((total - within) / (k - 1) / (within / (n - k)), k - 1, n - k)) if within else 0.0
        ends = [groups.sort("y", "group").row(i, named=True) for i in (0, -1)]
        low, high = ((where(outcome, name, row["first"], row["last"]), float(row["y"])) for row in ends)
        found.append(Effect(name, share, chance, low, high))
    return sorted(found, key=lambda e: -e.share)


def tells(effect: Effect) -> bool:
    """Whether the effect is worth a word: no chance, and at least 1 % of the variance."""
    return effect.chance < CHANCE and effect.share >= 0.01


def where(outcome: Outcome, name: str, *values: object) -> str:
    """One value of a parameter, or two ends, as a reader writes it, with its unit."""
    return f"{' to '.join(dict.fromkeys(map(text, values)))} {outcome.label(name).unit}".strip()


def text(value: object) -> str:
    """A value as a reader writes it, without its unit."""
    return str(named([float(value)])[0]) if isinstance(value, float | int) and not isinstance(value, bool) else str(value)


def sentences(outcome: Outcome, result: str) -> list[Markup]:
    """What the sweep says about the result, in words with numbers and units."""
    values = outcome.runs[f"results.{result}"].drop_nulls().cast(pl.Float64)
    unit, n = label(result).unit, len(values)
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    it = Markup("<code>{}</code>").format(result)
    if n == 1:
        return [it + Markup(" is {} in the one run that gives it.").format(say(low, unit))]
    if low == high:
        return [it + Markup(" is {} in all {:,} runs: nothing that was swept moves it.").format(say(low, unit), n)]
    factor = f", a factor of {high / low:.3g}" if low > 0 and high / low >= 1.05 else ""
    said = [it + Markup(" runs from {} to {}{}, over {:,} runs.").format(*between(low, high, unit), factor, n)]
    if n >= 8:
        q = [float(values.quantile(p, "linear")) for p in (0.25, 0.5, 0.75)]  # type: ignore[arg-type]
        said[0] += Markup(" Half of them lie between {} and {}, the middle one at {}.").format(*between(q[0], q[2], unit), say(q[1], unit))
    if len(outcome.swept) == 1:
        return [*said, _course(outcome, result, unit)]
    found = effects(outcome, result)
    if not found:
        return said
    top, *rest = found
    name = Markup("<code>{}</code>").format(top.name)
    if not tells(top):
        return [*said, Markup("No parameter by itself moves it more than chance would: the rest is their interplay.")]
    more = Markup(", ").join(Markup("<code>{}</code> {:.0f} %").format(e.name, 100 * e.share) for e in rest[:3] if tells(e))
    end = f"; then {more}." if more else "; no other moves it more than chance would." if rest else "."
    said.append(
        Markup("{} moves it most: on average {} where it is {}, and {} where it is {}. It explains {:.0f} % of the variance{}").format(
            name, say(top.low[1], unit), top.low[0], say(top.high[1], unit), top.high[0], 100 * top.share, Markup(end)
        )
    )
    return said


def _course(outcome: Outcome, result: str, unit: str) -> Markup:
    """How the result goes along the one parameter that was swept."""
    name = outcome.swept[0]
    kept = outcome.runs.select(x=f"params.{name}", y=f"results.{result}").drop_nulls("y")
    code = Markup("<code>{}</code>").format(name)
    lowest, highest = (kept.sort("y", maintain_order=True).row(i) for i in (0, -1))
    if kept["x"].dtype.is_numeric() and not kept["x"].null_count():
        steps = kept.sort("x")["y"].diff().drop_nulls()
        if (steps >= 0).all() or (steps <= 0).all():
            first, last = (kept.sort("x").row(i) for i in (0, -1))
            verb = "rises" if last[1] > first[1] else "falls"
            ends = text(first[0]), where(outcome, name, last[0])
            return Markup("As {} goes from {} to {}, it {} all the way from {} to {}.").format(
                code, *ends, verb, *between(first[1], last[1], unit)
            )
    places = [where(outcome, name, v) for v in (lowest[0], highest[0])]
    return Markup("It is lowest where {} is {}, {}, and highest where it is {}, {}.").format(
        code, places[0], say(lowest[1], unit), places[1], say(highest[1], unit)
    )


def where_failed(outcome: Outcome, failed: pl.DataFrame) -> Markup | None:
    """The one parameter whose values part these failed runs from all others, in words; None where there is none."""
    others = outcome.runs.join(failed, on="run", how="anti")
    if failed.height < 2 or others.is_empty():
        return None
    for name in outcome.swept:
        bad, good = failed[f"params.{name}"], others[f"params.{name}"]
        code, numbers = Markup("<code>{}</code>").format(name), bad.dtype.is_numeric() and not (bad.null_count() or good.null_count())
        if not set(bad.to_list()) & set(good.to_list()) and outcome.runs[f"params.{name}"].n_unique() <= LEVELS:
            levels = ", ".join(where(outcome, name, v) for v in bad.unique().sort())
            return Markup("Every run with {} = {} ended so, and no other.").format(code, levels)
        if numbers and (bad.min() > good.max() or bad.max() < good.min()):  # type: ignore[operator]
            up = bad.min() > good.max()  # type: ignore[operator]
            end, way = (bad.min(), "more") if up else (bad.max(), "less")
            return Markup("Every run with {} of {} or {} ended so, and no other.").format(code, where(outcome, name, end), way)
    return None
