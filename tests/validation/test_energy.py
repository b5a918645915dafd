import polars as pl
import pytest

from workbench import catalogue, validation
from workbench.errors import InputError
from workbench.validation import energy
from workbench.validation.report import read


@pytest.fixture(scope="module")
def cases():
    return read(catalogue.path("measured/energy.csv"), energy)


def test_most_of_the_shipped_cases_are_predicted_within_their_own_tolerance():
    report = validation.validate("energy")
    total = report.table().row(-1, named=True)
    assert total["predicted"] >= 0.85 * total["rows"]
    assert total["within_tolerance"] >= 0.99 * total["predicted"]


def test_predictions_never_see_what_was_published(cases):
    blind = cases.drop("published", "tol_rel")
    seen = [p.value for p in energy.predict(cases)]
    assert [p.value for p in energy.predict(blind)] == seen
    renamed = blind.with_columns(id=pl.int_range(pl.len()).cast(pl.String))
    assert [p.value for p in energy.predict(renamed)] == seen


def test_the_order_of_the_rows_does_not_matter(cases):
    order = list(range(cases.height))[::-1]
    straight, reverse = energy.predict(cases), energy.predict(cases[order])
    assert [p.value for p in reverse][::-1] == pytest.approx([p.value for p in straight], nan_ok=True)


def test_an_erratum_is_named_not_reproduced(cases):
    skipped = [p.skipped for p in energy.predict(cases) if p.skipped and "erratum" in p.skipped]
    assert len(skipped) == 1  # Llama 3.3 card: 12.9 t for 7.0 M GPU hours


def test_what_lacks_an_input_says_which(cases):
    reasons = {p.skipped for p in energy.predict(cases) if p.skipped}
    assert "the inputs do not tell servers, tco" in reasons
    unknown = cases.head(1).with_columns(inputs=pl.lit('{"model": "Nobody 1"}'), quantity=pl.lit("training cost"), group=pl.lit("x"))
    assert energy.predict(unknown)[0].skipped == "Nobody 1 is not among the training runs whose inputs we have read"


def test_broken_inputs_are_a_reason_not_a_crash(cases):
    broken = cases.with_columns(inputs=pl.lit("{not json"))
    assert {p.skipped for p in energy.predict(broken)} == {"inputs are not a JSON object"}


def test_calibration_is_what_ships_for_formulas_with_many_cases(cases):
    fitted = energy.calibrate(cases)["energy"]
    assert set(fitted["formula"]) <= set(catalogue.table("calibration/energy")["formula"])
    assert (fitted["half_width"] > 0).all()
    assert fitted.filter(pl.col("rows") >= 5)["coverage"].min() >= 0.7


def test_constants_of_the_table_of_costs_are_those_of_the_cases(cases):
    # the shipped sample holds most of the runs; all of them give .01242 and .0496
    for name, (value, _, _) in energy.constants(cases).items():
        assert catalogue.cost(name).value == pytest.approx(value, rel=0.005)


def test_constants_need_enough_runs(cases):
    with pytest.raises(InputError, match="0 runs state energy, capital and total: at least 5"):
        energy.constants(cases.head(0))
