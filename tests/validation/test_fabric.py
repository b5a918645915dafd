import numpy as np
import polars as pl
import pytest

from workbench import catalogue, tables, validation
from workbench.chips import gemm
from workbench.fabric import calibration, dispatch, measured
from workbench.validation.score import read


def test_shipped_collectives_are_predicted_within_the_noise():
    report = validation.validate("collectives", by="collective")
    total = report.table().row(-1, named=True)
    assert total["predicted"] >= 0.97 * total["rows"]
    assert total["median_error_%"] <= 5
    assert 70 <= total["coverage_%"] <= 95


def test_every_shipped_count_is_exact():
    total = validation.validate("topology").table().row(-1, named=True)
    assert total["within_tolerance"] == total["predicted"] == total["rows"] == 27


@pytest.mark.parametrize("kind", ["collectives", "gemm", "goodput", "runs"])
def test_answers_are_never_seen(kind):
    form, frame = read(kind, catalogue.path(f"measured/{kind}.csv"))
    others = frame.with_columns(pl.lit(77.0).alias(name) for name in form.measured if name in frame.columns)
    assert form.ask(frame.drop(*(name for name in form.measured if name in frame.columns))) == form.ask(others)


def test_doubtful_rows_are_left_out_with_their_reason():
    form, frame = read("collectives", catalogue.path("measured/collectives.csv"))
    doubtful = frame.with_columns(quality=pl.lit("suspect: no P2P?"))
    assert {asked.skipped for asked in form.ask(doubtful)} == {"quality of the row: suspect"}


def test_who_measured_does_not_sharpen_an_answer():
    form, frame = read("collectives", catalogue.path("measured/collectives.csv"))
    told = frame.with_columns(source=pl.lit("somebody"), fabric=pl.col("fabric").str.replace("GCP|AWS|OCI", "another's"))
    assert form.ask(told) == form.ask(frame)


def test_tables_are_predicted_by_others_and_leave_the_neighbourhood(tmp_path):
    _, frame = read("collectives", catalogue.path("measured/collectives.csv"))
    rows = frame.filter(pl.col("fabric").str.contains("A3") & (pl.col("collective") != "alltoall"))
    rows.write_csv(tmp_path / "rows.csv")
    report = validation.validate("collectives", tmp_path / "rows.csv", leave_out="table_id")
    assert report.rows["position"].to_list() == list(range(rows.height))
    assert (report.rows["predicted"] > 0).all()
    groups = rows["table_id"].to_numpy()
    for at, fitted in measured.folds(rows, groups):
        assert fitted[calibration.INDEX]["rows"].sum() == rows.height - at.size
        with tables.instead(fitted):
            assert catalogue.table(calibration.INDEX).height == fitted[calibration.INDEX].height


DISPATCH = "chip,ep,tokens,hidden,top_k,dtype,bandwidth_GBps,latency_us,kind,phase,library,fabric,bw_kind,quality,source"


UNKNOWN = "the chip is none of the catalogue"


def dispatched(tmp_path, *rows):
    (tmp_path / "dispatch.csv").write_text("\n".join((DISPATCH, *rows)) + "\n")
    return validation.validate("collectives", tmp_path / "dispatch.csv").rows


def test_dispatch_to_experts_is_asked_and_its_bandwidth_read_as_a_time(tmp_path):
    # UCCL-EP, README: H200, 4096 tokens of 7168 in fp8 to 8 experts: 16 ranks 50 GB/s of RDMA and 1196 us; in one node 320 GB/s and 500 us
    rows = dispatched(
        tmp_path,
        "H200,16,4096,7168,8,fp8,50,,normal,dispatch,UCCL-EP,EFA,bottleneck RDMA,ok,x",
        "H200,8,4096,7168,8,fp8,320,,normal,dispatch,UCCL-EP,EFA,bottleneck NVLink,ok,x",
        "H200,8,128,7168,8,fp8,,77,low-latency,dispatch,UCCL-EP,EFA,RDMA,ok,x",
        "H200 SXM,8,128,7168,8,FP8,,77,low-latency,dispatch,UCCL-EP,EFA,RDMA,ok,x",
        "MI999,8,128,7168,8,fp8,,77,low-latency,dispatch,x,x,RDMA,ok,x",
        "H200,8,128,,8,fp8,,77,low-latency,dispatch,x,x,RDMA,ok,x",
        ",8,128,7168,8,fp8,50,,normal,dispatch,x,x,RDMA,ok,x",
    )
    assert rows["measured"].to_list()[:6] == pytest.approx([1196, 500, 77, 77, 77, 77], rel=0.03)
    assert rows["predicted"][2] == rows["predicted"][3]
    assert rows["skipped"].to_list()[4:] == [UNKNOWN, "tokens, hidden, top_k or dtype is not stated", UNKNOWN]
    assert (rows["predicted"][:3] > 0).all()
    assert rows["call"][2].startswith("fabric.collective_time(op='dispatch_low_latency', message_bytes=946176.0")
    assert rows["call"][2].endswith("top_k=8.0).seconds * 1e6")
    assert dispatch.WIRE_BYTES["bf16"] == 2


def test_products_of_a_shape_left_out_are_predicted_by_the_others():
    form, frame = read("gemm", catalogue.path("measured/gemm.csv"))
    few = frame.filter(pl.col("chip").is_in(["MI210", "TPU7x device (half chip)"]))
    folds = list(gemm.folds(few, form.groups(few, "shape")))
    assert sorted(np.concatenate([at for at, _ in folds]).tolist()) == list(range(few.height))
    assert {fitted["calibration/gemm_evidence"]["rows"].sum() for _, fitted in folds} == {few.height - 1}


def test_failures_and_runs_are_calls_of_what_a_user_would_ask():
    failures, runs = (validation.validate(kind).rows for kind in ("goodput", "runs"))
    assert failures["call"][0] == "fabric.goodput(n_chips=16384.0).share * 100"
    assert runs.filter(pl.col("call").str.contains("Llama-2-70B"))["predicted"][0] == pytest.approx(1720320, rel=0.3)


@pytest.mark.parametrize(
    ("read_in_source", "reason"),
    [("memory", True), ("yes", False), ("hours and tokens yes; rest memory", False), ("yes (secondary); hours and batch memory", True)],
)
def test_what_is_from_memory_is_never_scored(tmp_path, read_in_source, reason):
    line = f"Llama 2 7B,A100 80GB,,2.0,,,184320,,,{read_in_source},x"
    header = "run,chip,n_chips,tokens_t,mfu_pct,goodput_pct,chip_hours,days,precision,read_in_source,source"
    (tmp_path / "runs.csv").write_text(f"{header}\n{line}\n")
    row = validation.validate("runs", tmp_path / "runs.csv").rows.row(0, named=True)
    assert (row["skipped"] == "chip_hours not read in its source") == reason
