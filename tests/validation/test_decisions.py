"""Decisions by the models beside those by measurements: on tables worked by hand, and on the samples against a loop of plain Python."""

import json
import math

import polars as pl
import pytest
from scipy import stats
from typer.testing import CliRunner

from workbench import catalogue, chips, cli, validation
from workbench.cli import app
from workbench.errors import DataError
from workbench.fabric import Cluster
from workbench.validation import decisions, score

KEYS = {"model", "precision", "input", "output", "chip", "tokens_per_s_user", "measured", "predicted", "low", "high", "answered"} | {
    "reached",
    "probability",
    "regret",
}


def options(rows, chip="H100"):
    """Ways to serve one shape: users, measured TPOT [ms] and rate, predicted TPOT [s] and rate."""
    names = ("users", "tpot_ms", "measured", "tpot", "predicted")
    made = [
        dict(zip(names, row, strict=True)) | {"chip": chip, "model": "m", "precision": "fp8", "input": 1.0, "output": 1.0} for row in rows
    ]
    made = [
        row | {"feasible": 1.0} | ({"low": 0.8 * row["predicted"], "high": 1.3 * row["predicted"]} if row["predicted"] else {})
        for row in made
    ]
    return decisions._frame(made, decisions.SERVING)


def test_the_best_option_at_each_speed_is_found_on_either_side():
    # measured speeds 100, 50, 25, 12.5 tokens/s per user; predicted 110, 29, 31, 10
    made = options([(1, 10, 100, 1 / 110, 90), (8, 20, 400, 1 / 29, 500), (16, 40, 700, 1 / 31, 600), (64, 80, 900, 0.1, 1000)])
    found = decisions._served(made)
    assert set(found.columns) == KEYS
    # at 30 the option of 16 users is chosen, which serves more but misses the speed by a sixth; at 15 it lacks nothing
    assert found["regret"].to_list() == [0, pytest.approx(1 / 6), 0, 0]
    assert found["reached"].all()
    assert found.select("tokens_per_s_user", "measured", "predicted", "low", "high").rows() == [
        (15, 700, 600, 480, pytest.approx(780)),
        (30, 400, 600, 480, pytest.approx(780)),
        (60, 100, 90, 72, pytest.approx(117)),
        (100, 100, 90, 72, pytest.approx(117)),
    ]
    assert decisions._served(made[:3])["tokens_per_s_user"].to_list() == [30, 60, 100]  # 700 is that of most users: more may be better


def test_where_none_reaches_a_speed_the_nearest_counts_with_its_probability():
    slow = options([(1, 25, 100, 0.040, 60), (8, 30, 200, 0.045, 150), (64, 90, 900, 0.09, 900)]).with_columns(soonest=0.8 * pl.col("tpot"))
    found = decisions._served(slow).filter(pl.col("tokens_per_s_user") == 30)
    assert found.select("measured", "predicted", "reached", "regret").rows() == [(200, 60, False, 0.5)]
    away = math.log(30 * 0.04) / -math.log(0.8) * stats.t.ppf(0.9, 3)  # half widths of the 80 % interval
    assert found["probability"].to_list() == [pytest.approx(stats.t.sf(away, 3))]
    sure = decisions._served(slow.with_columns(soonest="tpot")).filter(pl.col("tokens_per_s_user") == 30)
    assert sure.select("predicted", "probability").rows() == [(60, 0)]
    assert decisions._served(slow.with_columns(feasible=0.0))["predicted"].to_list() == [None, None]


def test_what_is_said_impossible_is_apart_from_what_is_not_answered():
    rows = [(1, 25, 100, 1.0, 50), (8, 30, 90, 1.0, 50)]
    slow, silent = options(rows), options([(*row[:3], None, None) for row in rows], "B200").with_columns(feasible=None)
    table = decided(serving=picked(decisions._served(pl.concat([slow, silent])))).table()
    counts = {what: (count, of) for what, count, of, _ in table.rows()}
    assert counts["serving, said impossible though measured"] == (2, 4)
    assert counts["serving, not answered"] == (2, 4)


def picked(served, rate=None):
    return served.with_columns(picked=pl.lit(rate, pl.Float64))


def test_what_is_picked_among_all_layouts_is_what_the_frontier_says(shipped):
    row = shipped.serving.drop_nulls("picked").row(0, named=True)
    form, frame = score.read("serving", catalogue.path("measured/serving.csv"))
    same = [
        r | {"at": i}
        for i, r in enumerate(frame.iter_rows(named=True))
        if all(r[decisions.SERVING[n][0]] == row[n] for n in decisions.SHAPE)
    ]
    calls = {a.position: a.call["arguments"] for a in form.ask(frame.drop(list(form.measured), strict=False)) if a.call}
    said = [calls[r["at"]] for r in same]
    llm = said[0]["llm"] if isinstance(said[0]["llm"], str) else catalogue.LLM(**said[0]["llm"]["arguments"])
    load = {name: said[0]["load"]["arguments"][name] for name in ("input_tokens", "output_tokens")}
    cluster = Cluster(row["chip"], max(one["cluster"]["arguments"]["n_chips"] for one in said))
    every = chips.slo_frontier(
        llm, [cluster], chips.Load(1, **load), precisions=[said[0]["plan"]["arguments"]["precision"]],
        concurrency=sorted({r["concurrency"] for r in same if r["concurrency"]}), draft_tokens=0, every=True,
    )  # fmt: skip
    best = every.filter(pl.col("tokens_per_s_user") >= row["tokens_per_s_user"])["tokens_per_s_chip"].max()
    assert row["picked"] == pytest.approx(best)


def decided(serving=None, layouts=None, fits=None):
    runs = decisions._frame([], decisions.TRAINING)
    none = (
        picked(decisions._served(decisions._frame([], decisions.SERVING))),
        decisions._layouts(runs),
        runs.select("ran", fits=pl.col("ran")),
    )
    return decisions.Decisions(
        *(given if given is not None else empty for given, empty in zip((serving, layouts, fits), none, strict=True))
    )


@pytest.mark.parametrize(("other", "said"), [((500, 650), (1, 1)), ((500, 550), (0, 1)), ((380, 100), (0, 0)), ((200, 610), (0, 1))])
def test_of_two_chips_the_faster_is_scored_where_they_differ(other, said):
    measured, predicted = other
    made = [
        options([(1, 25, 400, 0.025, 600), (9, 100, 1, 1, 1)]),
        options([(1, 25, measured, 0.025, predicted), (9, 100, 1, 1, 1)], "B200"),
    ]
    table = decided(serving=picked(decisions._served(pl.concat(made))).filter(pl.col("tokens_per_s_user") == 30)).table()
    counts = {what: (count, of) for what, count, of, _ in table.rows()}
    assert counts.get("serving, the faster of two chips 10 % or more apart", (0, 0)) == said


def runs(steps, seconds, **more):
    return decisions._frame(
        [{"model": "m", "tp": 1.0, "step_s": a, "seconds": b} | more for a, b in zip(steps, seconds, strict=True)], decisions.TRAINING
    )


@pytest.mark.parametrize(
    ("steps", "seconds", "regret", "spearman"),
    [
        ([1.0, 1.2, 1.5], [2.0, 1.9, 3.0], 0.2, None),
        ([1.2, 1.0, 1.5, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0, 5.0], 0.2, 0.9),
        ([1.0, 1.2], [None, 5.0], 0.2, None),
        ([1.0, 1.2], [None, None], None, None),
        ([1.0, None, 1.2], [3.0, 1.0, 4.0], 0.0, None),
        ([1.0, 1.4, 1.6], [2.0, 2.0, 3.0], 0.2, None),  # two that no argument tells apart
    ],
)
def test_regret_is_what_the_predicted_fastest_takes_over_the_fastest(steps, seconds, regret, spearman):
    row = decisions._layouts(runs(steps, seconds)).row(0, named=True)
    assert row["layouts"] == len(steps) - steps.count(None)
    assert row["regret"] == (None if regret is None else pytest.approx(regret))
    assert row["spearman"] == (None if spearman is None else pytest.approx(spearman))


def test_layouts_of_other_jobs_are_not_compared():
    apart = runs([3.0], [3.0], gbs=8.0), runs([0.5], [9.0], tp=None)  # the last does not say how it is laid out
    made = pl.concat([runs([1.0, 2.0], [1.0, 2.0]), *apart, runs([1.0, 2.0], [2.0, 1.0], stack="other")])
    assert decisions._layouts(made).select("stack", "regret").rows() == [(None, 0.0), ("other", 1.0)]


def test_what_is_printed_tells_regret_and_what_fits():
    fits = pl.DataFrame({"ran": [True, True, True, False, False], "fits": [True, False, True, False, True]})
    made = pl.concat([runs([1.0, 1.3], [2.0, 1.0], source_key="a"), runs([1.0, 1.1], [1.0, 1.2], source_key="b")])
    found = decided(layouts=decisions._layouts(made), fits=fits)
    assert found.regrets().rows() == [("a", 1, 30.0, 30.0, None), ("b", 1, 0.0, 0.0, None), ("all", 2, 15.0, 30.0, None)]
    printed = str(found)
    assert "training, runs that failed, said not to fit      1   2    50" in printed
    assert "training, runs that ran, said not to fit         1   3  33.3" in printed
    assert "training, the fastest layout                     1   2    50" in printed


@pytest.fixture(scope="module")
def shipped():
    return validation.decide()


def test_the_samples_are_decided_as_a_plain_loop_decides(shipped):
    """Oracle: every call of the sample evaluated in Python, options compared one by one."""
    names = {}
    exec("import numpy as np\nfrom workbench import catalogue, scaling, fabric, chips, energy, fleet, demand", names)
    form, frame = score.read("serving", catalogue.path("measured/serving.csv"))
    rows = [row | {"at": at} for at, row in enumerate(frame.iter_rows(named=True))]
    calls = {a.position: a.call for a in form.ask(frame.drop(list(form.measured), strict=False)) if a.call}
    calls = {at: call for at, call in calls.items() if call["call"] == "chips.serving"}
    usable = [row for row in rows if row["at"] in calls and row["tpot_ms"] and row["output_tok_s_per_gpu"] and row["concurrency"]]
    points = {row["at"]: eval(score.calls.in_python(calls[row["at"]]), names) for row in usable}
    found = 0
    for question in shipped.serving.iter_rows(named=True):
        shape = tuple(question[name] for name in decisions.SHAPE)
        same = [r for r in usable if tuple(r[decisions.SERVING[name][0]] for name in decisions.SHAPE) == shape]
        speed = question["tokens_per_s_user"]
        best = max((r for r in same if 1000 / r["tpot_ms"] >= speed), key=lambda r: r["output_tok_s_per_gpu"])
        assert question["measured"] == best["output_tok_s_per_gpu"]
        assert best["concurrency"] < max(r["concurrency"] for r in same)
        reach = [points[r["at"]] for r in same if 1 / points[r["at"]].tpot >= speed]
        assert question["reached"] in (None, bool(reach))
        near = min((points[r["at"]] for r in same if points[r["at"]].feasible), key=lambda p: p.tpot, default=None)
        reach = reach or [near] * (near is not None)
        predicted = max((float(p.tokens_per_second_per_chip) for p in reach), default=None)
        assert question["predicted"] == (None if predicted is None else pytest.approx(predicted, rel=1e-9))
        found += 1
    assert found > 10


def test_the_samples_of_training_are_decided(shipped):
    assert shipped.layouts["layouts"].min() > 1
    assert (shipped.layouts["regret"].drop_nulls() >= 0).all()
    assert shipped.fits["ran"].value_counts().height == 2  # runs that ran, and runs that failed


def test_command_line(shipped, tmp_path):
    out, files = (
        tmp_path / "new" / "out.json",
        [str(catalogue.path(f"measured/{name}.csv")) for name in ("serving", "training", "training_failed")],
    )
    result = CliRunner().invoke(app, ["validate", "decisions", *files, "--json", str(out)])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(str(shipped))
    rows = json.loads(out.read_text())
    assert len(rows) == shipped.serving.height + shipped.layouts.height + shipped.fits.height
    assert set(rows[0]) == KEYS | {"picked"}


def test_several_files_are_options_of_one_question(shipped, tmp_path):
    frame = pl.read_csv(catalogue.path("measured/serving.csv"), infer_schema_length=None)
    parts = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, part in zip(parts, (frame[::2], frame[1::2]), strict=True):
        part.write_csv(path)
    assert validation.decide(parts).serving.equals(shipped.serving)


def test_a_file_of_another_kind_is_told_what_is_read(tmp_path):
    (tmp_path / "mine.csv").write_text("chip,tpot_ms\nH100,1\n")
    with pytest.raises(
        DataError, match=r"mine\.csv: no decision is read .*model_key or model, weight_precision or .*status where runs failed"
    ):
        validation.decide([tmp_path / "mine.csv"])
    with pytest.raises(DataError, match="no such file"):
        validation.decide([tmp_path / "none.csv"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["energy", "a.csv", "b.csv"], "a.csv: no such file"),  # of the other kinds several are read as well
        (["decisions", "--calls"], "validate decisions: --calls is for the other kinds"),
    ],
)
def test_what_decisions_do_not_have_is_one_line(monkeypatch, capsys, words, said):
    monkeypatch.setattr("sys.argv", ["workbench", "validate", *words])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == f"error: {said}\n"


def test_rows_with_text_in_a_number_are_no_options(tmp_path):
    frame = pl.read_csv(catalogue.path("measured/training_failed.csv"), infer_schema=False)
    frame = pl.concat([frame.head(1)] * 3)
    for text, rows in (("4096", 3), ("4k", 2)):
        frame.with_columns(seq=pl.Series(["4096", text, "4096"])).write_csv(tmp_path / "mine.csv")
        assert validation.decide([tmp_path / "mine.csv"]).fits.height == rows


def test_options_may_be_predicted_by_what_the_other_rows_give(shipped, tmp_path):
    frame = pl.read_csv(catalogue.path("measured/serving.csv"), infer_schema_length=None)
    small = tmp_path / "small.csv"
    frame.filter(pl.col("model_key").str.contains("DeepSeek-R1"), pl.col("chip") == "B200").write_csv(small)
    found = validation.decide([small], "chip")  # of one chip alone there are no others
    assert found.serving.height > 0
    assert not found.serving["answered"].any()
    assert found.serving["predicted"].null_count() == found.serving["picked"].null_count() == found.serving.height
    assert "picked" not in str(found)
    with pytest.raises(DataError, match="no such column to leave out by"):
        validation.decide([small], "colour")
