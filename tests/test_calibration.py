"""The engine of fitted constants, on a model of two constants whose truth is known: seconds = start + bytes / rate."""

import re
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from workbench import catalogue
from workbench.calibration import crossval, evidence
from workbench.calibration.crossval import Study
from workbench.calibration.evidence import MOST, Index, ranks
from workbench.calibration.forms import Form
from workbench.calibration.pool import Constant, Fit, Level, Pool
from workbench.errors import InputError


@dataclass(frozen=True)
class Origin:
    maker: str = ""
    chip: str = ""


POOL = Pool(
    "calibration/gemm",
    (Constant("start", 1e-3, 1.0, "[s]"), Constant("rate", 1e9, 1.0, "[B/s]")),
    {"all": Level(), "maker": Level(("maker",), 0.5), "chip": Level(("maker", "chip"), 0.5)},
)
SIZE = np.geomspace(1e3, 1e9, 12)
#: Each chip's rate over that of all; starts are the same.
CHIPS = {Origin("A", "A1"): 1.0, Origin("A", "A2"): 1.6, Origin("B", "B1"): 0.6}


@pytest.fixture(scope="module")
def study():
    origins = [o for o in CHIPS for _ in SIZE]
    size = np.tile(SIZE, len(CHIPS))
    rng = np.random.default_rng(0)
    times = 2e-3 + size / (3e9 * np.array([CHIPS[o] for o in origins]))

    def part(at):
        def predict(logs):
            c = POOL.named(logs)
            return np.log(c["start"] + size[at] / c["rate"])

        return predict

    return Study(POOL, origins, times * np.exp(0.01 * rng.standard_normal(times.size)), part, noise=0.01, tolerance=1e-9)


EVERY = np.arange(SIZE.size * len(CHIPS))


@pytest.mark.parametrize("how", [lambda s: s.fit(EVERY), lambda s: s.descend(tuple(POOL.levels), Fit(POOL, {}, {}, {}, 0.0))])
def test_constants_that_measurements_were_made_with_are_found(study, how):
    fit = how(study)
    for origin, rate in CHIPS.items():
        c = POOL.named(fit.logs([origin])[0])
        assert c["rate"] == pytest.approx(3e9 * rate, rel=0.02)
        assert c["start"] == pytest.approx(2e-3, rel=0.02)
    assert fit.rows["all", "all"] == EVERY.size
    assert fit.rows["chip", "A|A2"] == SIZE.size


def test_what_was_not_measured_works_from_its_parents(study):
    fit = study.fit(EVERY)
    general, maker = (fit.logs([o])[0] for o in (Origin("C", "C1"), Origin("A", "A3")))
    assert np.allclose(general, POOL.prior + fit.offsets["all", "all"])
    assert np.allclose(maker, general + fit.offsets["maker", "A"])


def test_rows_of_another_kind_move_little_where_they_are_doubted(study):
    odd = EVERY % 3 == 0
    target = np.log(study.values * np.where(odd, 20.0, 1.0))
    fit = {doubt: POOL.fit(study.part(EVERY), study.origins, target, noise=0.3, doubt=doubt) for doubt in (np.inf, 4.0)}
    far, near = (abs(study.part(EVERY)(one.logs(study.origins)) - np.log(study.values))[~odd].max() for one in fit.values())
    assert near < far / 2


def test_a_bound_holds(study):
    most = np.tile([np.inf, np.log(2.5e9)], (EVERY.size, 1))
    bound = Study(POOL, study.origins, study.values, study.part, study.noise, most=most, tolerance=1e-9).fit(EVERY)
    rates = np.exp(bound.logs(CHIPS)[:, 1])
    assert rates.max() <= 2.5e9 * (1 + 1e-3)
    assert rates[2] == pytest.approx(1.8e9, rel=0.05)  # one that lies below is found all the same


def test_a_few_rows_refine_what_is_known(study):
    known = study.fit(EVERY[: 2 * SIZE.size])
    refined = study.fit(EVERY[2 * SIZE.size :], base=known)
    assert POOL.named(refined.logs([Origin("B", "B1")])[0])["rate"] == pytest.approx(1.8e9, rel=0.03)
    assert np.array_equal(refined.offsets["chip", "A|A2"], known.offsets["chip", "A|A2"])


def test_a_fit_is_read_back_from_its_table(study):
    fit = study.fit(EVERY)
    again = POOL.read(fit.frame())
    assert again.rows == fit.rows
    assert all(np.allclose(again.offsets[node], offset, atol=5e-6) for node, offset in fit.offsets.items())
    assert fit.frame({("maker", "A")})["key"].to_list() == ["A", "A"]


def test_rows_are_predicted_by_others_alone(study):
    groups = [o.chip for o in study.origins]
    logs = study.errors(groups).reshape(3, -1)
    assert np.abs(logs).max() > 0.2  # a chip that was left out is a stranger
    assert np.abs(study.errors(EVERY % 4)).max() < 0.05
    parts = crossval.left_out(["x", "x", "y"], np.ndarray.tolist)
    assert [(at.tolist(), rest) for at, rest in parts] == [([0, 1], [2]), ([2], [0, 1])]
    assert [rest for _, rest in crossval.left_out(["x", "y"], len, least=2)] == [None, None]


def test_rows_without_a_measurement_have_no_error(study):
    values = study.values.copy()
    values[5] = np.nan
    logs = Study(POOL, study.origins, values, study.part, study.noise).errors(EVERY % 4)
    assert np.flatnonzero(np.isnan(logs)).tolist() == [5]


def test_error_table_tells_each_case():
    logs = np.log(1 + np.array([0.1, -0.1, 0.2, -0.3]))
    table = crossval.error_table([("own", logs), ("few", logs[:1]), ("none", np.full(2, np.nan))], least=2)
    assert table.rows() == [("own", round(-float(np.log(0.7)), 4), 4, 17.5, 15.0)]


def test_the_interval_is_that_of_the_nearest_case_and_of_what_is_missing():
    table = "calibration/training_errors"
    widths = dict(catalogue.table(table).select("case", "half_width").iter_rows())
    own, other, *_ = widths
    widest = max(widths, key=widths.get)
    assert evidence.half_width(table, [own, other]) == widths[own]
    assert evidence.half_width(table, ["my own", other]) == widths[other]
    assert evidence.half_width(table, [own], [widest]) == widths[widest] > widths[own]
    with pytest.raises(InputError, match=re.escape(f"training_errors: no case 'my own'; it has {own}")):
        evidence.half_width(table, ["my own"])


def test_rows_of_a_fit_are_counted(study):
    fit = study.fit(EVERY)
    counted = {key: rows for (level, key), rows in fit.rows.items() if level == "chip"}
    assert sum(rows for key, rows in counted.items() if key.startswith("A|")) == 2 * SIZE.size
    assert counted["A|A1"] == SIZE.size
    assert ("maker", "C") not in fit.rows


def test_what_is_made_of_a_table_is_made_once():
    made = []

    def make(frame):
        made.append(frame.height)
        return made

    assert catalogue.made_of("chips", make) is catalogue.made_of("chips", make)
    assert made == [catalogue.table("chips").height]


def test_measurements_must_be_positive(study):
    with pytest.raises(InputError, match="expected at least one, all above 0"):
        study.fit(np.zeros(0, dtype=int))


def test_an_unknown_level_is_named():
    frame = pl.DataFrame({"level": ["stack"], "key": ["A"], "constant": ["rate"], "offset": [0.0], "error": [0.0], "rows": [1]})
    with pytest.raises(InputError, match=r"node 'stack\|A\|rate': expected level\|key\|constant, level one of all, maker, chip"):
        POOL.read(frame)


@pytest.fixture
def index():
    """Four groups of measured rows; the last lacks a framework."""
    return Index(
        pl.DataFrame(
            {
                "chip": ["H100", "H100", "B200", "B200"],
                "framework": ["vLLM", "vLLM", "vLLM", None],
                "rows": [3, 5, 7, 9],
                "source": ["a", "b", "c", "d"],
                "date": ["2025-01", "2026-02", "2024-12", ""],
            }
        )
    )


WEIGHTS = {"chip": 2.0, "framework": 1.0}


@pytest.mark.parametrize(
    ("said", "source", "rows", "distance", "differs"),
    [
        ({"chip": "H100", "framework": "vLLM"}, "b", 8, 0, ()),  # of two that agree the newer
        ({"chip": "B200", "framework": "vLLM"}, "c", 7, 0, ()),
        ({"chip": "B200", "framework": "SGLang"}, "c", 0, 1, ("framework",)),  # a dated one before one without
        ({"chip": "A100", "framework": "vLLM"}, "b", 0, 2, ("chip",)),
        ({"chip": "A100", "framework": "SGLang"}, "b", 0, 3, ("chip", "framework")),
        ({"chip": "B200", "framework": ""}, "c", 16, 0, ()),  # what is blank was not said
        ({}, "b", 24, 0, ()),
    ],
)
def test_the_nearest_group_agrees_in_what_weighs_most(index, said, source, rows, distance, differs):
    found = index.nearest(said, WEIGHTS)
    assert (index.cell(found, "source"), found.rows, found.distance, found.differs) == (source, rows, distance, differs)
    assert found.near.height == 4
    assert found.near["source"][0] == source


def test_of_groups_as_new_the_larger_is_nearest():
    frame = pl.DataFrame({"chip": ["H100"] * 3, "rows": [3, 9, 5], "source": ["a", "b", "c"], "date": ["2025-01"] * 3})
    assert Index(frame).nearest({"chip": "H100"}, WEIGHTS).near["source"].to_list() == ["b", "c", "a"]


def test_a_grade_says_how_far_apart_two_values_are(index):
    def by_generation(said, cells):
        return np.where(cells == said, 0.0, np.where(cells == "B200", 0.25, 1.0))

    found = index.nearest({"chip": "GB200", "framework": "vLLM"}, WEIGHTS, {"chip": by_generation})
    assert (index.cell(found, "source"), found.distance, found.differs, found.rows) == ("c", 0.5, ("chip",), 0)


def test_an_index_without_rows_is_infinitely_far(index):
    empty = Index(index.frame.clear())
    found = empty.nearest({"chip": "H100"}, WEIGHTS)
    assert (found.rows, found.distance, found.differs, empty.cell(found, "source")) == (0, np.inf, (), "")
    assert found.near.is_empty()


def test_what_was_found_is_kept_and_never_too_much(index):
    assert index.nearest({"chip": "H100"}, WEIGHTS) is index.nearest({"chip": "H100"}, WEIGHTS)
    for i in range(3 * MOST):
        index.nearest({"chip": f"chip {i}"}, WEIGHTS)
    assert len(index._found) <= MOST


def test_versions_and_dates_are_ranked_as_people_write_them():
    written = ["", "0.9", "0.9.1", "0.19", "v1.0rc2", "2025-12-31", "2026", "2026-02"]
    assert ranks(written) == list(range(len(written)))
    assert ranks(["0.9", "0.19", "v0.9"])[0] == ranks(["0.9", "0.19", "v0.9"])[2]


def test_a_form_groups_by_a_column_and_takes_what_was_measured_as_it_stands():
    form = Form(("chip",), ("t",), lambda _: [], ("t",))
    rows = pl.DataFrame({"chip": ["H100", None, "H100"], "t": [1.0, None, 3.0]})
    assert form.groups(rows, "chip").tolist() == ["H100", "", "H100"]
    assert [form.value(row, "t") for row in rows.iter_rows(named=True)] == [1.0, None, 3.0]
    assert form.tolerance(rows.row(0, named=True)) is None
