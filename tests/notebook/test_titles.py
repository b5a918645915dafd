"""Titles of charts stay true for other parameters: what a title says is found again in what its chart shows.

Notebooks run as a panel runs them, their cells up to a chart, with a random design of their numbers.
"""

import ast
import random
import re
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from itertools import groupby

import pytest
from altair import TopLevelMixin

import workbench
from workbench.errors import InputError
from workbench.notebook import parameters, surface
from workbench.notebook.run import find
from workbench.units import significant

MOVED, TRIES = 4, 6  #: parameters of a draw, and draws until one is not refused
NUMBER = r"(-?[\d,]*\.?\d+(?:e[-+]?\d+)?)"


@cache
def drawn(name, seed):
    """Titles and rows of the charts of a notebook with other values of some of its numbers, by the start of the chart's cell."""
    path, chance = find(name), random.Random(f"{name} {seed}")
    declared = parameters.of_notebook(path)
    spans = {n: surface.span(p, p.default) for n, p in declared.items() if p.type in ("int", "float") and p.default is not None}
    sources = ["".join(cell["source"]) for cell in parameters.read(path)["cells"] if cell["cell_type"] == "code"]
    for _ in range(TRIES):
        given = {}
        for n in chance.sample(sorted(spans), min(MOVED, len(spans))):
            low, high, log = spans[n]
            place = chance.random()
            value = float(f"{low * (high / low) ** place if log else low + (high - low) * place:.3g}")
            given[n] = round(value) if declared[n].type == "int" else value
        try:
            parameters.check(declared, given)
            return given, charts(sources, given)
        except InputError:
            continue
    pytest.fail(f"{name}: {TRIES} draws are refused")


def charts(sources, given):
    space, run = {}, [surface._cell(source) for source in sources[1:]]
    exec(sources[0], space)
    space |= given
    wanted = [cell for cell in run if surface.DRAWN.search(cell.source) and "HTML(" not in cell.source]
    found = []
    with surface.unpainted(), redirect_stdout(StringIO()):
        for cell in surface.needed(run, wanted):
            *body, last = ast.parse(cell.source).body
            exec(compile(ast.Module(body, []), "<cell>", "exec"), space)
            value = eval(ast.unparse(last), space) if isinstance(last, ast.Expr) else exec(ast.unparse(last), space)
            if isinstance(value, TopLevelMixin):
                spec = value.to_dict(validate=False)
                title = " ".join(spec["title"]["text"]).replace("\N{NO-BREAK SPACE}", " ")
                found.append((title, [row for rows in spec["datasets"].values() if isinstance(rows, list) for row in rows]))
    return found


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(workbench, "check_parameters", lambda names: None, raising=False)
    monkeypatch.setattr(workbench, "panel", lambda *names: None, raising=False)


def numbers(text):
    return [float(n.replace(",", "")) for n in re.findall(NUMBER, text)]


def near(said, true, digits=2):
    """Whether a figure of a title is the true one, rounded."""
    return said == pytest.approx(true, rel=0.6 * 10 ** (1 - digits), abs=0.51 if digits < 3 else 0)


def series(rows, of, x, y):
    """The values of each series of a line, in order of x; its labels are no part of it."""
    kept = sorted((r for r in rows if {of, x, y} <= r.keys() and "ink" not in r), key=lambda r: (r[of], r[x]))
    return {name: [r[y] for r in part] for name, part in groupby(kept, key=lambda r: r[of])}


def totals(rows):
    return {r["label"]: r["total"] for r in rows if "total" in r}


def parts(rows, label):
    return {r["part"]: r["value"] for r in rows if r.get("label") == label and "part" in r}


def start_here(title, rows):
    (own,) = (v for chip, v in series(rows, "chip", "price", "cost").items() if f" {chip} " in title)
    assert near(numbers(title.split(own and "makes")[1].replace("H100", ""))[0], 100 * (own[-1] / own[0] - 1))


def factory(title, rows):
    sizes = {r["label"]: r["end"] - r["start"] for r in rows if "kind" in r}
    whole = next(r["end"] for r in rows if r.get("kind") == "total")
    servers, electricity = numbers(title)[-2:]
    assert near(servers, 100 * sizes["Chips and servers"] / whole)
    assert near(electricity, 100 * sizes["Electricity"] / whole)


def tornado(title, rows):
    base = next(r["base"] for r in rows if "base" in r)
    swing = {}
    for r in rows:
        if "answer" in r:
            swing.setdefault(r["label"], [base]).append(r["answer"])
    first = max(swing, key=lambda label: max(swing[label]) - min(swing[label]))
    assert re.split(r"most on ", title)[1].lower().startswith(first.lower())


def megawatt(title, rows):
    if "worth nothing" in title:
        assert max(r["answer"] for r in rows if "answer" in r) == 0
    else:
        tornado(title, rows)


def best_bar(title, rows):
    (first, most), *others = sorted(totals(rows).items(), key=lambda item: -item[1])
    assert title.startswith(f"{first} yields most: ")
    assert near(numbers(title.split("most: ")[1])[0], most, 3)
    if others:
        assert near(numbers(re.search(r", (.+) times", title)[1])[0], most / others[0][1], 3)


def layout(title, rows):
    spent = parts(rows, next(iter(totals(rows))))
    whole, lost = sum(spent.values()), re.search(r"% on (.+)$", title)[1]
    products, largest = numbers(title)[:2]
    assert near(products, 100 * spent["products"] / whole)
    assert near(largest, 100 * spent[lost] / whole)
    assert spent[lost] == max(v for part, v in spent.items() if part != "products")


def chips_beside(title, rows):
    speed, one = totals(rows), re.search(r"with (.+) as 1: ", title)[1]
    for other, ratio in re.findall(r"([\w .]+?) ([\d.]+)(?:,|$)", title.split("as 1: ")[1]):
        assert near(float(ratio), speed[other.strip()] / speed[one])


def resource(title, rows):
    found = totals(rows)
    first = max(found, key=found.get)
    assert title.startswith(f"One percent more of {first} takes {significant(found[first], 2)} %")


def grows(title, rows):
    middle = series([r for r in rows if r.get("level") == 0.5], "series", "x", "median")
    installed, wanted = (middle[name] for name in sorted(middle))
    of_installed, of_wanted = numbers(re.sub(r"20\d\dQ\d", "", title))
    assert near(of_installed, installed[-1] / installed[0])
    assert near(of_wanted, wanted[-1] / wanted[0])


def first_input(title, rows):
    alone = {r["label"]: r["value"] for r in rows if r.get("part", "").startswith("alone")}
    first = next(iter(totals(rows)))
    assert f"is {first} alone" in title
    assert near(numbers(title)[0], 100 * alone[first])


def drawn_watts(title, rows):
    whole, chips = totals(rows), parts(rows, "air")["chips"] if "air" in totals(rows) else None
    share, saved = numbers(title.split(":", 1)[1])[:2]
    if chips and "liquid" in title:
        assert near(share, 100 * chips / whole["air"])
        assert near(saved, 100 * (1 - whole["liquid"] / whole["air"]))


def sites(title, rows):
    cost = totals(rows)
    dearest, cheapest = re.search(r"as much in (\S+) as in (\S+)", title).groups()
    assert (dearest, cheapest) == (max(cost, key=cost.get), min(cost, key=cost.get))
    assert near(numbers(title)[0], cost[dearest] / cost[cheapest])


def part_use(title, rows):
    use, times = numbers(title)
    energy = series(rows, "chip", "use", "energy")["H100"]
    at = sorted({r["use"] for r in rows if "use" in r and "ink" not in r})
    shown = [e for u, e in zip(at, energy, strict=True) if abs(u - use) <= 1.7]
    assert min(shown) * 0.9 <= times <= max(shown) * 1.1


def isoflop(title, rows):
    said = numbers(title.replace("A million", ""))
    best = sorted((r for r in rows if "ink" not in r and "budget" in r), key=lambda r: float(r["budget"].split()[0]))
    lowest = [min(part, key=lambda r: r["loss"]) for _, part in groupby(best, key=lambda r: r["budget"])]
    assert near(said[0], lowest[0]["loss"] - lowest[-1]["loss"])
    assert near(said[1], lowest[-1]["params"] / lowest[0]["params"])


def requests(title, rows):
    cost = totals(rows)
    more, less = re.search(r"energy on (.+) as on (.+)$", title).groups()
    assert near(numbers(title)[0], cost[more] / cost[less])


def collectives(title, rows):
    most = {name: max(v) for name, v in series(rows, "what", "bytes", "busbw").items()}
    inside, outside = (next(v for k, v in most.items() if k.startswith(op) and k.endswith("chips") == near) for op, near in IN_AND_OUT)
    said = re.search(r"all-reduce reaches ([\d.,]+) GB/s.* all-to-all \w+(?: \w+)? ([\d.,]+)", title)
    assert near(float(said[1].replace(",", "")), inside, 3)
    assert near(float(said[2].replace(",", "")), outside, 3)
    assert ("falls" in title) == (outside < inside)


def jevons(title, rows):
    at = {r["elasticity"]: r for r in rows if "factor" in r and "ink" not in r and r["gain"] == pytest.approx(10, rel=0.06)}
    measured, low, high = numbers(title.replace("80 %", ""))[-3:]
    assert measured == pytest.approx(next(r["factor"] for name, r in at.items() if name.startswith("measured")), rel=0.1)
    band = next(r for name, r in at.items() if name.startswith("median"))
    assert (low, high) == pytest.approx((band["low"], band["high"]), rel=0.15)


def data_wall(title, rows):
    limited, unlimited = (v for _, v in sorted(series(rows, "data", "compute", "loss").items()))
    assert limited[-1] >= unlimited[-1]
    if "no budget" in title:
        assert limited[-1] == pytest.approx(unlimited[-1], rel=0.05)


IN_AND_OUT = (("all-reduce", True), ("all-to-all", False))
TRUE = [
    ("00_start_here", "Twenty times", start_here),
    ("ai_factory", "Of what", factory),
    ("ai_factory", "The cost per token", tornado),
    ("chip_serving", "[^ ]+ yields most", best_bar),
    ("chip_training", "The best layout", layout),
    ("chip_training", "A chip's speed", chips_beside),
    ("chip_training", "One percent more", resource),
    ("compute_demand", "Installed compute", grows),
    ("compute_demand", "[^ ]+ % of the variance", first_input),
    ("energy_cost", "[^ ]+: the chip", drawn_watts),
    ("energy_cost", "The energy of the same run", sites),
    ("energy_cost", "At .* of its throughput", part_use),
    ("fabric_throughput", "Inside a domain", collectives),
    ("fleet_economics", "(The value of )?[aA] megawatt", megawatt),
    ("log_compute", "Ten times the efficiency", jevons),
    ("scaling_laws", "A million times", isoflop),
    ("scaling_laws", "[^ ]+ [a-z]*illion tokens", data_wall),
    ("slm_vs_llm", "A request takes", requests),
]


@pytest.mark.parametrize(("name", "start", "true"), TRUE, ids=[f"{name}: {start}" for name, start, _ in TRUE])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_title_is_true_of_its_chart(name, start, true, seed):
    given, found = drawn(name, seed)
    shown = [(title, rows) for title, rows in found if re.match(start, title)]
    assert len(shown) == 1, [title for title, _ in found]
    for title, rows in shown:
        true(title, rows)
    others = [title for title, _ in found if re.search(r"\b(nan|inf|None)\b|-0(?:\.0+)? ", title)]
    assert not others, given
