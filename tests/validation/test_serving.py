import polars as pl
import pytest

from workbench import catalogue, validation
from workbench.chips import serving_calibration as calibration
from workbench.validation import serving
from workbench.validation.report import read


@pytest.fixture(scope="module")
def rows():
    return read(catalogue.path("measured/serving.csv"), serving)


def of(report, quantity, modes):
    frame = report.rows.filter((pl.col("quantity") == quantity) & pl.col("measured").is_not_null() & pl.col("by").is_in(modes))
    return (100 * (frame["predicted"] / frame["measured"] - 1).abs()).median(), frame


def test_shipped_sample_is_predicted_within_what_is_claimed():
    report = validation.validate("serving", by="mode")
    assert report.rows["predicted"].count() >= 0.97 * report.rows.height
    assert of(report, "tpot_ms", ["closed_loop"])[0] < 8.5
    assert of(report, "ttft_ms", ["closed_loop"])[0] < 25
    assert of(report, "output_tok_s_per_gpu", ["offline_max"])[0] < 12
    assert of(report, "power_w_per_gpu", ["closed_loop_natural"])[0] < 12
    assert report.table().row(-1, named=True)["coverage_%"] >= 75


def test_predictions_never_see_what_was_measured(rows):
    blind = rows.with_columns(pl.lit(1.0).alias(name) for name in serving.MEASURED if name in rows.columns)
    assert [p.value for p in serving.predict(blind)] == [p.value for p in serving.predict(rows)]


def test_layouts_apart_are_read(rows):
    found, _ = serving.stated(rows)
    apart = found.mode == "disagg"
    assert apart.any()
    assert ((found.share[apart] > 0) & (found.share[apart] < 1)).all()


def test_bad_rows_carry_a_reason(rows):
    odd = rows.head(5).with_columns(
        mode=pl.Series(["magic", "closed_loop", "closed_loop", "disagg", "closed_loop"]),
        chip=pl.Series(["H100", "H1000", "H100", "H100", "H100"]),
        output_len=pl.Series([10.0, 10.0, None, 10.0, 10.0]),
        usable=pl.Series([1.0, 1.0, 1.0, 1.0, 0.0]),
        parallel=pl.lit("unstated"),
        prefill_chips=pl.lit(None, dtype=pl.Float64),
    )
    reasons = {p.position: p.skipped for p in serving.predict(odd)}
    assert "mode 'magic' is none of closed_loop" in reasons[0]
    assert "unknown chip 'H1000'; nearest: H100" in reasons[1]
    assert reasons[2] == "output_len is not stated"
    assert reasons[3] == "the layout of prefill and decode is not stated"
    assert reasons[4] == "the file marks the row as not usable"


def test_constants_have_priors_and_levels():
    assert set(calibration.POOL.levels) == set(calibration.Origin().nodes())
    assert all(c.prior > 0 and c.spread > 0 and c.meaning for c in calibration.CONSTANTS)


def test_a_fit_on_a_few_rows_is_near_its_own_measurements(rows):
    loops = rows.filter(pl.col("mode") == "closed_loop")
    found, _ = serving.stated(loops)
    fit = serving._fit(loops, found, range(found.position.size))
    point = serving.operate(found, fit.logs(found.origins))
    error = (point.tpot * 1e3 / loops["tpot_ms"].to_numpy() - 1).__abs__()
    assert float(pl.Series(error).median()) < 0.15
