"""What a sweep finds about one result, in words and pictures: its range, which parameter moves it most, and where runs fail."""

import base64
import json
import math
import struct
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl
from markupsafe import Markup
from scipy.stats import f

from workbench import charts
from workbench.batch.tell.outcome import Outcome
from workbench.batch.tell.words import between, label, say
from workbench.charts.frames import LEVELS, Varied, named, sample
from workbench.charts.render import SCHEMA, paint
from workbench.charts.runs import heatmap, multiples

ENOUGH = 3  #: runs a group that the share of a parameter is estimated from
FULL = 1.25  #: cells of a grid for each run that ended well, up to which it counts as full
CHANCE = 0.01  #: what is likelier by chance is not said
MARKED, DRAWN = 60, 1_000  #: points of a line that are marked one by one, and that are drawn
BLOCK = 64  #: values of a block of data
PANELS, TEXTS = 9, 24  #: parameters that one picture shows, and texts that an axis does


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
        parts = pl.DataFrame({"group": column.groups(), "y": y, "x": column.plain}).group_by("group")
        squares = ((pl.col("y") - pl.col("y").mean()) ** 2).sum().alias("within")
        groups = parts.agg(pl.col("y").mean(), squares, pl.col("x").min().alias("first"), pl.col("x").max().alias("last")).sort("group")
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
    ends = say(top.low[1], unit), top.low[0], say(top.high[1], unit), top.high[0], 100 * top.share, Markup(end)
    most = "{} moves it most: on average {} where it is {}, and {} where it is {}. It explains {:.0f} % of the variance{}"
    return [*said, Markup(most).format(name, *ends)]


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
            ends = text(first[0]), where(outcome, name, last[0]), verb, *between(first[1], last[1], unit)
            return Markup("As {} goes from {} to {}, it {} all the way from {} to {}.").format(code, *ends)
    seen = [words for x, y in (lowest, highest) for words in (where(outcome, name, x), say(y, unit))]
    return Markup("It is lowest where {} is {}, {}, and highest where it is {}, {}.").format(code, *seen)


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


class Columns(dict[str, int]):
    """Columns of the data of all charts in blocks, each kept once, as JSON with its number: charts of several results share the most."""

    def keep(self, rows: list[dict[str, Any]]) -> dict[str, list[int]]:
        """Numbers of the blocks of each column."""
        blocks = [rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK)]
        return {name: [self.setdefault(json.dumps([row[name] for row in block]), len(self)) for block in blocks] for name in rows[0]}

    @property
    def blocks(self) -> list[list[Any]]:
        """The blocks in the order of their numbers."""
        return list(map(json.loads, self))


def figure(chart: alt.LayerChart | alt.ConcatChart, store: Columns, picture: bool) -> dict[str, Any]:
    """A chart as the page holds it: its title as text that wraps, its data by column, its picture for who has no scripts."""
    spec = chart.to_dict(validate=False)
    title = spec.pop("title")
    figure = {"title": " ".join(title["text"]), "subtitle": " ".join(title["subtitle"]), "alt": spec["description"]}
    if picture:
        png = paint(spec, scale=1)
        figure |= {"picture": base64.b64encode(png).decode(), "width": struct.unpack(">I", png[16:20])[0]}
    spec["$schema"] = SCHEMA
    spec["datasets"] = {key: store.keep(rows) for key, rows in spec["datasets"].items()}
    return figure | {"spec": script(spec)}


def pictures(sweep: Outcome, name: str) -> list[alt.LayerChart | alt.ConcatChart]:
    """The picture that fits the shape of the sweep: a line, a heat map, or small multiples."""
    axes = {f"params.{p}": str(sweep.label(p)) for p in sweep.swept}
    columns = {c: Varied.of(sweep.runs, c, text) for c, text in axes.items()}
    axes = {c: text for c, text in axes.items() if columns[c].numeric or columns[c].count <= TEXTS}
    result, unit = f"results.{name}", label(name)
    if not axes:
        return []
    found = effects(sweep, name)
    by = {e.name: e for e in found}
    ranked = dict(sorted(axes.items(), key=lambda a: -by[n].share if (n := a[0].removeprefix("params.")) in by else 1))
    source = f"{sweep.done.height:,} runs of {sweep.name}."
    first, top = next(iter(axes)), next(iter(ranked))
    common: dict[str, Any] = {"value": result, "unit": str(unit), "row": "run"}
    if len(sweep.swept) == 1 and columns[first].numeric:
        return [_line(sweep, name, first, axes[first])]
    if len(sweep.swept) == 1:
        return [multiples(sweep.runs, axes=axes, title=f"{name} by {first.removeprefix('params.')}", subtitle=source, **common)]
    told = found and tells(found[0])
    moved = f"{top.removeprefix('params.')} moves {name} most" if told else f"No parameter alone moves {name}"
    if len(sweep.swept) == 2 and len(axes) == 2:
        x, y = sorted(axes, key=lambda c: -columns[c].count)
        if columns[x].count * columns[y].count <= 2 * sweep.count:
            moved = f"{name} over {x.removeprefix('params.')} and {y.removeprefix('params.')}" if not by else moved
            units = {"x_unit": axes[x], "y_unit": axes[y], "unit": str(unit)}
            return [heatmap(sweep.runs, x=x, y=y, value=result, title=moved, subtitle=source, **units)]
    panels = dict(list(ranked.items())[:PANELS])
    source += " The line is the median of neighbours, the band their middle four fifths. Draw a rectangle to follow its runs."
    source += " Ticks at the foot are runs that gave none." if sweep.failed.height else ""
    source += f" The {PANELS} of {len(sweep.swept)} parameters that move it most." if len(sweep.swept) > PANELS else ""
    return [multiples(sweep.runs, axes=panels, title=moved, subtitle=source, **common)]


def _line(sweep: Outcome, name: str, column: str, axis: str) -> alt.LayerChart:
    """The result along one parameter."""
    result, unit = f"results.{name}", label(name)
    good = sweep.runs.filter(pl.col(result).is_not_null()).sort(column)
    drawn = good[sample(good[result], DRAWN)]
    data = drawn.select(x=column, y=result, name=pl.lit(unit.text if len(unit.text) < 24 else ""))
    x, y = Varied.of(drawn, column, axis), Varied.of(drawn, result, name)
    subtitle = f"{good.height:,} runs of {sweep.name}."
    if drawn.height < good.height:
        subtitle += f" {drawn.height:,} of them are drawn, the lowest and the highest among them."
    if missing := sweep.runs.height - good.height:
        subtitle += f" {missing:,} runs gave none."
    title = str(sentences(sweep, name)[-1].striptags()).rstrip(".")
    words = {"x_unit": axis, "y_unit": str(unit), "title": f"{name}: {title[0].lower()}{title[1:]}", "subtitle": subtitle}
    points = data if data.height <= MARKED else None
    return charts.lines(data, x="x", y="y", series="name", x_log=x.log, y_log=y.log, points=points, **words)


def script(value: Any) -> Markup:
    """JSON as it is put in a script element: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))
