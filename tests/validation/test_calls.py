"""One door: what is scored is a call of a public function, and in Python it gives the same number."""

import math

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from workbench import catalogue, tables, validation
from workbench.calibration.crossval import left_out
from workbench.calibration.forms import Asked, Form
from workbench.chips.serving import measured
from workbench.cli import app
from workbench.errors import DataError, InputError, UnknownName
from workbench.fabric import losses
from workbench.validation import calls, score

IMPORTS = "import numpy as np\nfrom workbench import catalogue, scaling, fabric, chips, energy, fleet, demand"
PUE = {"call": "catalogue.cost", "arguments": {"name": "pue_microsoft"}, "read": "value"}


@pytest.fixture(scope="module")
def names():
    found = {}
    exec(IMPORTS, found)
    return found


@pytest.mark.parametrize("kind", [kind for kind in score.KINDS if kind != "cases"])  # they are those of the other kinds
def test_a_call_in_python_gives_the_number_that_is_scored(kind, names):
    rows = validation.validate(kind).rows.filter(pl.col("predicted").is_not_null() & ~pl.col("call").str.contains("bootstrap"))
    assert rows.height > 0
    for call, predicted in rows.sample(min(200, rows.height), seed=0).select("call", "predicted").iter_rows():
        value = np.asarray(eval(call, dict(names)), dtype=float).item()
        assert value == pytest.approx(predicted, rel=1e-9, abs=1e-15), call


H = {"chip": "H200", "n_chips": 8, "framework": "SGLang 0.5.9", "input_len": 2000, "output_len": 500, "source_title": "x"}
#: Rows of the forms of files that no sample ships of.
FORMS = {
    "open loop": ("serving", H | {"model": "Qwen3-32B", "parallelism": "2xTP4", "offered_rate_req_s": 4, "n_requests": 300}, 4),
    "burst": ("serving", H | {"model": "Qwen3-32B", "parallelism": "TP8", "offered_rate_req_s": "inf", "n_requests": 90}, 4),
    "wide": (
        "serving",
        H | {"model": "DeepSeek-R1", "phase": "decode", "decode_parallel": "EP8", "n_decode_chips": 8, "batch_per_chip": 16},
        1,
    ),
    "drafts": (
        "serving",
        H | {"model": "DeepSeek-R1", "parallelism": "TP8", "value_unit": "tok/s/user", "concurrency": 4, "draft_len": 1, "method": "MTP"},
        1,
    ),
    "formats": (
        "serving",
        H | {"model": "Qwen3-4B", "quantization": "FP8", "measurement": "speed", "speed_unit": "total tok/s", "concurrency": 1},
        1,
    ),
    "checkpoint": ("goodput", {"system": "x", "storage": "NVMe", "size_gb": 20, "n_chips": 16, "source": "x"}, 3),
    "start": ("goodput", {"system": "MLPerf", "params_b": 70, "n_chips": 64, "startup_s": 100, "source": "x"}, 1),
}
OF = {
    "wide": measured.WIDE_EP,
    "drafts": measured.SPECULATION,
    "formats": measured.QUANT,
    "checkpoint": losses.FORMS[1],
    "start": losses.FORMS[1],
}


@pytest.mark.parametrize("name", FORMS)
def test_a_call_of_every_other_form_gives_the_number_and_the_ends_of_its_interval(name, names, tmp_path):
    (kind, row, count), form = FORMS[name], OF.get(name, measured.OPEN_LOOP)
    cells = dict.fromkeys((*form.text, *form.numbers)) | row
    pl.DataFrame({column: [None if cell is None else str(cell)] for column, cell in cells.items()}).write_csv(tmp_path / "own.csv")
    rows = validation.validate(kind, tmp_path / "own.csv").rows
    assert rows["skipped"].to_list() == [None] * count
    for call, predicted, low, high in rows.select("call", "predicted", "low", "high").iter_rows():
        assert np.asarray(eval(call, dict(names)), dtype=float).item() == pytest.approx(predicted, rel=1e-9)
        assert low < predicted < high


@pytest.mark.parametrize("kind", score.KINDS)
def test_every_row_has_a_call_or_a_reason(kind):
    rows = validation.validate(kind).rows
    assert (rows["call"].is_not_null() | rows["skipped"].is_not_null()).all()
    assert rows.filter(pl.col("predicted").is_not_null())["call"].null_count() == 0


@pytest.mark.parametrize("kind", ["topology", "energy"])
def test_calls_are_printed_as_python_that_runs(kind):
    result = CliRunner().invoke(app, ["validate", kind, "--calls"])
    assert result.exit_code == 0, result.output
    rows = validation.validate(kind).rows
    lines = [line for line in result.output.splitlines() if "  # row " in line]
    assert len(lines) == rows.height
    assert lines[0].startswith(rows["call"][0])
    exec(compile(result.output, "printed", "exec"), {})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"call": "fleet.annuity", "arguments": {"capital": 1e6, "years": 4}}, "fleet.annuity(capital=1000000.0, years=4)"),
        ({"call": "fleet.annuity", "arguments": [1, 0, 4], "read": "[0] * 1e-6"}, "fleet.annuity(1, 0, 4)[0] * 1e-6"),
        ({"call": "energy.f", "arguments": {"name": "chips"}, "read": '["tdp_w"][0]'}, "energy.f(name='chips')[\"tdp_w\"][0]"),
        ({"call": ".peak", "arguments": {"self": PUE, "precision": 8}}, "catalogue.cost(name='pue_microsoft').value.peak(precision=8)"),
        ([PUE, {"a": True, "b": None}], "[catalogue.cost(name='pue_microsoft').value, {'a': True, 'b': None}]"),
        ([math.inf, -math.inf], "[np.inf, -np.inf]"),
    ],
)  # fmt: skip
def test_plain_data_is_written_as_python(value, text):
    assert calls.in_python(value) == text


def test_what_was_made_once_is_used_again():
    made = {}
    case = {"call": "fleet.annuity", "arguments": {"capital": PUE, "rate": 0, "years": 1}}
    assert calls.value(case, made) == pytest.approx(1.17)
    assert calls.value(PUE, made) is calls.value(PUE, made)
    assert len(made) == 2


def test_a_row_that_is_not_feasible_says_by_which_rule():
    cluster = {"call": "fabric.Cluster", "arguments": {"chip": "H100", "n_chips": 8, "fabric": "InfiniBand NDR"}}
    plan, load = ({"call": f"chips.{name}", "arguments": given} for name, given in (("ServingPlan", [1]), ("Load", [1, 1024, 256])))
    asked = Asked(0, "tpot_ms", {"call": "chips.serving", "arguments": ["Llama-3.1-405B", cluster, plan, load]}, "tpot * 1000")
    (_, answer), *_ = score.answers(made_form([asked]), pl.DataFrame({"a": [1]}), "mine.csv", [asked])
    assert answer.value is None
    assert answer.skipped == "weights and one request do not fit: see missing_bytes"
    assert answer.call.endswith(".tpot * 1000")
    rate = [Asked(0, "output_tok_s_per_gpu", asked.call, "tokens_per_second_per_chip")]  # no rate is no prediction of 0
    (_, none), *_ = score.answers(made_form(rate), pl.DataFrame({"a": [1]}), "mine.csv", rate)
    assert (none.value, none.skipped) == (None, answer.skipped)


def made_form(asked, **more):
    return Form(("name",), ("measured",), lambda rows: asked, ("measured",), **more)


@pytest.fixture
def costs(monkeypatch, tmp_path):
    """A kind whose rows are asked of the costs of the catalogue, and fitted: a cost is the mean of what is measured of it."""

    def folds(rows, groups):
        return left_out(groups, lambda rest: refit(rows[rest]))

    def refit(rest):
        if rest.height < 2:
            return None
        own = catalogue.table("costs")
        value = pl.when(pl.col("cost") == "pue_microsoft").then(rest["measured"].mean()).otherwise(pl.col("value"))
        return {"costs": own.with_columns(value=value)}

    form = made_form([Asked(i, "measured", PUE | {"read": ""}, "value") for i in range(4)], folds=folds)
    monkeypatch.setitem(score.KINDS, "costs", (form,))
    path = tmp_path / "mine.csv"
    path.write_text("name,measured\na,1.1\na,1.2\nb,1.3\nc,1.4\n")
    return path


def test_left_out_rows_are_asked_of_what_the_others_give(costs):
    shipped = catalogue.cost("pue_microsoft").value
    assert validation.validate("costs", costs).rows["predicted"].to_list() == [shipped] * 4
    left_out = validation.validate("costs", costs, leave_out="name").rows
    assert left_out["predicted"].to_list() == pytest.approx([1.35, 1.35, 3.7 / 3, 1.2])
    assert left_out["call"].to_list() == ["catalogue.cost(name='pue_microsoft').value"] * 4
    assert catalogue.cost("pue_microsoft").value == shipped


def test_too_few_other_rows_is_a_reason(costs):
    costs.write_text("name,measured\na,1.1\nb,1.2\nb,1.3\nb,1.4\n")
    rows = validation.validate("costs", costs, leave_out="name").rows
    assert rows["skipped"].to_list() == [None, *["too few other rows to calibrate on"] * 3]


def test_of_several_forms_the_nearest_says_what_is_missing(monkeypatch, tmp_path):
    forms = (made_form([]), Form(("chip", "model", "precision"), ("tpot_ms", "ttft_ms"), lambda _: [], ("tpot_ms",)))
    monkeypatch.setitem(score.KINDS, "several", forms)
    path = tmp_path / "mine.csv"
    path.write_text("chip,model,precision,tpot_ms\nH100,x,fp8,1\n")
    with pytest.raises(DataError, match=r"column 'ttft_ms': missing: ttft_ms; a file of this kind has chip, model, precision, tpot_ms"):
        validation.validate("several", path)


def test_where_nothing_is_fitted_nothing_is_left_out_or_calibrated(tmp_path):
    with pytest.raises(InputError, match="--leave-out source: what such rows call rests on no constants"):
        validation.validate("energy", leave_out="source")
    path = tables.DATA / "cases" / "energy.csv"
    with pytest.raises(DataError, match=r"energy\.csv: nothing of the kind energy is calibrated on such a file; kinds that are: "):
        validation.calibrate("energy", path)


def test_a_kind_that_is_none_is_told_all_that_are():
    with pytest.raises(UnknownName, match=r"known: cases, .*, decisions, .*, training-memory"):
        validation.validate("bogus")
