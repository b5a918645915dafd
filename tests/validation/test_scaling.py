import pytest

from workbench import catalogue, validation
from workbench.errors import DataError
from workbench.validation import scaling
from workbench.validation.report import read


@pytest.fixture(scope="module")
def report():
    try:
        catalogue.external("chinchilla-points", download=False)
    except DataError as error:
        pytest.skip(f"needs external data: {error}")
    return validation.validate("scaling")


def test_the_literature_comes_out(report):
    total = report.table().row(-1, named=True)
    assert total["predicted"] >= 100
    assert total["within_tolerance"] >= 0.96 * total["predicted"]


def test_without_the_points_the_rest_still_comes_out(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_EXTERNAL", str(tmp_path))
    scaling._points.cache_clear()
    rows = validation.validate("scaling").rows
    assert rows["predicted"].count() > 70
    assert rows["skipped"].str.contains("needs the Chinchilla points").sum() > 5


def test_answers_are_never_seen():
    frame = read(catalogue.path("measured/scaling.csv"), scaling)
    blind = frame.drop("expected", "tolerance")
    keep = blind.filter(~blind["law"].str.contains("besiroglu|RSS"))
    assert [p.value for p in scaling.predict(keep.with_columns(id=keep["law"]))] == [p.value for p in scaling.predict(keep)]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1.92e19 ; 8.0e9", [1.92e19, 8e9]),
        ("1.26e24 (misprint of 1.26e25) ; 12.0e12", [1.26e25, 12e12]),
        ("(285.214, 743.626) ; (1.769, 1.871)", [285.214, 743.626, 1.769, 1.871]),
        ("1.7e22 ; 17%", [1.7e22, 0.17]),
        ("c~5e3, e=0.74 (joint constants; 0.095 would give 0.80)", [5e3, 0.74]),
        ("0.085 (0.267 with ftol 1e-15 gtol 1e-12)", [0.085]),
    ],
)
def test_numbers_are_read_as_printed(text, values):
    assert [v for _, v in scaling._numbers(text)] == pytest.approx(values)


@pytest.mark.parametrize(
    ("tolerance", "text", "value", "allowed"),
    [
        ("2% with a power law", "1.92e19", 1.92e19, 0.02 * 1.92e19),
        ("1e-5 abs", "-0.3", -0.3, 1e-5),
        ("rounds to 2 decimals", "1.03", 1.03, 0.005),
        ("rounding", "1.7e22", 1.7e22, 0.05e22),
        ("exact", "240", 240, 0),
        ("+-0.03", "0.085", 0.085, 0.03),
        ("1e-4", "482.006", 482.006, 0.0482006),
    ],
)
def test_tolerances_are_read_as_meant(tolerance, text, value, allowed):
    assert scaling._allowed(tolerance, text, value) == pytest.approx(allowed, rel=1e-3)
