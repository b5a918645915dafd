import numpy as np
import polars as pl
import pytest

from workbench import catalogue
from workbench.chips import Load, ServingPlan, roofline_share, serving
from workbench.chips.roofline import calibrate
from workbench.errors import InputError
from workbench.fabric import Cluster


def measurements(share, source="lab", n=20, model="Llama-3.1-70B", precision="fp8"):
    """What systems that reach exactly `share` of the roofline would measure."""
    users = np.geomspace(1, 256, n).round()
    load = Load(users, 1024, 512)
    ideal = serving(catalogue.llm(model), Cluster(catalogue.chip("H100"), 64, "InfiniBand NDR"), ServingPlan(8, precision, "bf16"), load)
    return pl.DataFrame(
        {
            "source_group": source, "model_key": model, "chip": "H100", "n_chips": 8, "weight_precision": precision, "kv_precision": None,
            "mode": "closed_loop", "spec_decode": None, "prefill_chips": None,
            "input_len": 1024.0, "output_len": 512.0, "mean_len_factor": 1.0,
            "concurrency": users, "tpot_ms": 1e3 * ideal.tpot / share, "usable": 1,
        },
        schema_overrides={"kv_precision": pl.String, "spec_decode": pl.String, "prefill_chips": pl.Float64},
    )  # fmt: skip


def test_calibration_finds_the_share_that_made_the_data():
    row = calibrate(measurements(0.4)).row(0, named=True)
    assert (row["median"], row["low"], row["high"]) == pytest.approx((0.4, 0.4, 0.4))
    assert row["error_percent"] is None  # one source cannot be left out


def test_sources_weigh_the_same_whatever_their_size():
    both = pl.concat([measurements(0.2, "large", 200), measurements(0.6, "small", 20)])
    row = calibrate(both).row(0, named=True)
    assert row["low"] == pytest.approx(0.2)
    assert row["high"] == pytest.approx(0.6)
    assert row["error_percent"] == pytest.approx((200 + 66.7) / 2, rel=0.01)  # .6 / .2 - 1 and 1 - .2 / .6


def test_rows_that_cannot_be_used_are_left_out():
    rows = measurements(0.4)
    spoiled = rows.with_columns(spec_decode=pl.lit("MTP"), tpot_ms=pl.col("tpot_ms") * 5)
    assert calibrate(pl.concat([rows, spoiled]))["rows"][0] == rows.height
    with pytest.raises(InputError, match="no row can be used"):
        calibrate(rows.with_columns(model_key=pl.lit("unheard-of")))


def test_the_shipped_shares_are_shares_with_a_band():
    for precision in ("fp4", "fp8", "bf16"):
        share = roofline_share(precision)
        assert 0 < share.low < share.value < share.high < 1
        assert "measurements" in share.meaning
    with pytest.raises(InputError, match="known for bf16, fp4, fp8"):
        roofline_share("int8")
