import json

import polars as pl
import pytest

from workbench import fabric, readers, validation
from workbench.errors import DataError
from workbench.readers import collectives
from workbench.readers.source import Source

HEAD = """\
# nThread 1 nGpus 8 minBytes 8 maxBytes 8589934592 step: 2(factor) warmup iters: 5 iters: 20 agg iters: 1 validation: 1 graph: 0
# ./build/all_reduce_perf -b 8 -e 8G -f 2 -g 8
#  Rank  0 Group  0 Pid  12345 on  node01 device  0 [0x1b] NVIDIA H100 80GB HBM3
#  Rank  7 Group  0 Pid  12345 on  node01 device  7 [0xdd] NVIDIA H100 80GB HBM3
# NCCL version 2.21.5+cuda12.4
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
"""
ROWS = """\
     1048576        262144     float     sum      -1    36.49   28.74   50.29      0    36.35   28.85   50.48      0
   268435456      67108864     float     sum      -1   1056.2  254.16  444.78    N/A   1055.4  254.34  445.10    N/A
"""
GATHER = """\
# ./build/all_gather_perf -b 8 -e 8G -f 2 -g 8
#  Rank  0 Group  0 Pid 1 on n device  0 [0x1b] NVIDIA H100 80GB HBM3
#  Rank  7 Group  0 Pid 1 on n device  7 [0xdd] NVIDIA H100 80GB HBM3
   268435456       8388608     float    none      -1    758.4  353.95  309.71      0    757.0  354.6   310.3      0
"""


def read_log(path, **told):
    """Rows of a log, and what is said of it."""
    return readers.read(path, told, "collectives")


def is_log(path):
    return collectives.knows(Source(path))


@pytest.fixture
def log(tmp_path):
    def make(text, newline="\n"):
        path = tmp_path / "run.log"
        path.write_bytes(text.replace("\n", newline).encode())
        return path

    return make


def test_a_log_becomes_measurements(log):
    path = log(HEAD + ROWS)
    assert is_log(path)
    rows = read_log(path).frame
    assert rows["collective"].to_list() == ["all_reduce"] * 2
    assert rows["bytes"].to_list() == [1_048_576, 268_435_456]
    assert rows["time_us"].to_list() == [36.49, 1056.2]
    assert rows["in_place_time_us"].to_list() == [36.35, 1055.4]
    assert rows["n_gpus"].to_list() == [8, 8]
    assert rows["chip"][0] == "H100"
    assert rows["library"][0] == "nccl-tests, NCCL 2.21.5"


def test_windows_line_ends_and_several_runs_in_one_file(log):
    rows = read_log(log(HEAD + ROWS + GATHER, "\r\n")).frame
    assert rows["collective"].to_list() == ["all_reduce", "all_reduce", "all_gather"]
    assert rows["n_gpus"].to_list() == [8, 8, 8]


def test_the_ratio_of_bandwidths_corrects_the_number_of_ranks(log):
    # busbw / algbw = 2 x 63 / 64: 64 ranks, whatever the heading says
    text = HEAD + "  8589934592  2147483648  float  sum  -1  20000.0  429.50  845.57  0  20000.0  429.50  845.57  0\n"
    row = read_log(log(text)).frame.row(0, named=True)
    assert row["n_gpus"] == 64
    assert "the log says 8 ranks but busbw / algbw says 64" in row["quality"]


def test_a_truncated_log_gives_what_is_whole_and_says_what_is_not(log):
    found = read_log(log(HEAD + ROWS + "  8589934592    2147483648     float     sum      -1  31287.   274."))
    assert found.frame.height == 2
    assert [line.partition(": ")[2] for line in found.said] == ["left out: 1 (line 9): not a whole row of results"]


def test_rows_without_a_program_are_left_out_and_an_option_says_it(log):
    text = HEAD.replace("./build/all_reduce_perf -b", "-b") + ROWS.replace("sum", "none").replace("50.29", "28.74").replace(
        "444.78", "254.16"
    )
    with pytest.raises(DataError, match=r"left out: 2 \(line 7 to 8\): no program is named before it.*--program all_reduce"):
        read_log(log(text))
    assert set(read_log(log(text), program="broadcast_perf").frame["collective"]) == {"broadcast"}
    with pytest.raises(DataError, match="--program nonsense: expected one of all_reduce"):
        read_log(log(text), program="nonsense")


def test_what_is_no_log_is_refused(log, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_log(tmp_path / "nowhere.log")
    assert not is_log(log("id,bytes\n1,2\n"))
    with pytest.raises(DataError, match="of no known kind: it begins with 'launch failed'; read are: log of nccl-tests"):
        validation.validate("collectives", log("launch failed\n"))


def test_validate_takes_the_log(log):
    report = validation.validate("collectives", log(HEAD + ROWS), by="collective")
    assert report.rows["predicted"].count() == 2
    assert report.rows["measured"].to_list() == [36.49, 1056.2]


@pytest.mark.parametrize("number", ["1056.2.1", "1" * 400])
def test_what_is_no_number_is_left_out_with_its_line(log, number):
    found = read_log(log(HEAD + ROWS.replace("1056.2", number).replace("444.78", number)))
    assert found.frame.height == 1
    assert [line.partition(": ")[2] for line in found.said] == ["left out: 1 (line 8): not a whole row of results"]


def test_damaged_logs_are_read_or_refused(read_mutants):
    for found in filter(None, read_mutants(read_log, (HEAD + ROWS + GATHER).encode(), "run.log")):
        numbers = found.frame.select("bytes", "n_gpus", "time_us", "algbw_GBps", "busbw_GBps").cast(float).to_numpy()
        assert ((numbers >= 0) & (numbers < 1e18)).all()


def test_a_log_in_utf_16_is_read(log):
    path = log("")
    path.write_text(HEAD + ROWS, encoding="utf16")
    assert read_log(path).frame.height == 2


@pytest.mark.parametrize(
    ("driver", "chip"),
    [
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("Tesla V100-SXM2-16GB", "V100 16GB"),
        ("H100-SXM5-96GB", "H100 96GB"),
        ("gb200_nvl72", "GB200"),
        ("mi300x_oam", "MI300X"),
        ("NVIDIA A100-SXM-64GB", "NVIDIA A100-SXM-64GB"),  # another part than that of 80 GB
        ("NVIDIA H100 96GB HBM3", "NVIDIA H100 96GB HBM3"),
        ("NVIDIA A800-SXM4-40GB", "NVIDIA A800-SXM4-40GB"),
        ("NVIDIA Z9", "NVIDIA Z9"),
    ],
)
def test_a_chip_is_never_taken_for_another(log, driver, chip):
    assert set(read_log(log((HEAD + ROWS).replace("NVIDIA H100 80GB HBM3", driver))).frame["chip"]) == {chip}


@pytest.mark.parametrize("driver", ["NVIDIA Z9", ""])
def test_an_unknown_chip_is_not_predicted_unless_told(log, driver):
    path = log((HEAD + ROWS).replace("NVIDIA H100 80GB HBM3", driver))
    report = validation.validate("collectives", path)
    assert report.rows["predicted"].count() == 0
    assert all("--chip says which it is" in why for why in report.rows["skipped"])
    assert validation.validate("collectives", path, told={"chip": "H100"}).rows["predicted"].count() == 2


#: A whole log of 8 ranks, as programs before 2.17 print it without their name.
RANKS = "".join(f"#  Rank  {i} Group  0 Pid {i} on node-a device  {i} [0x1b] NVIDIA H100 80GB HBM3\n" for i in range(8))
PLAIN = "# nThread 1 nGpus 1 minBytes 8 maxBytes 8 step: 2(factor)\n" + RANKS + HEAD.splitlines()[-1] + "\n" + ROWS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text, []),
        (lambda text: "srun --mpi=pmix /opt/all_reduce_perf_mpi -b 8\n" + text, []),
        (lambda text: text.replace("\n", "\n[1,0]<stdout>:"), []),
        (lambda text: text.replace("\n", "\n0: "), []),
        (lambda text: text.replace("\n", "\n[2026-01-28 14:50:17] "), []),
        (lambda text: text.replace("\n", "\n2026-01-28T14:50:17.123456Z "), []),
        (lambda text: text.replace("50.48      0\n", "50.48      0  2026-01-28 14:50:17\n"), []),
        (lambda text: text.replace("  sum      -1", "  sum"), []),
        (lambda text: text.replace("   268435456", "n:1:2 [3] NCCL INFO comm 0x7f rank 3 nranks 8    268435456"), []),
        (
            lambda text: text.replace("268435456      67108864     float     sum", "268435456 67108864 float n:1 NCCL WARN x sum"),
            ["left out: 1 (line 12)"],
        ),
    ],
    ids=["no name", "_mpi", "mpirun --tag-output", "srun --label", "brackets", "kubectl", "-T", "no root", "INFO before", "WARN within"],
)
def test_rows_are_read_whatever_stands_around_them(log, change, said):
    found = read_log(log(change(PLAIN)))
    assert found.frame["collective"].to_list() == ["all_reduce"] * (2 - len(said))
    assert set(found.frame["n_gpus"]) == {8}
    assert found.frame["time_us"][0] == 36.49
    assert [line.partition(": ")[2].partition(": not")[0] for line in found.said] == said


def test_columns_of_more_options_are_told_by_the_header(log):
    head = "#  size  count  type  redop  root" + 2 * "  time  algbw  busbw  #wrong  i_min  i_max  i_p99  i_cv%" + "\n"
    row = " 1048576 262144 float sum -1 36.49 28.74 50.29 0 35.1 38.2 38.0 1.2 36.35 28.85 50.48 0 35.0 38.1 37.9 1.1\n"
    text = PLAIN[: PLAIN.index("#       size")]
    assert read_log(log(text + head + row)).frame.select("time_us", "in_place_time_us").row(0) == (36.49, 36.35)
    with pytest.raises(DataError, match="times are those of the processor"):
        read_log(log(text + head.replace("time", "cputime") + row))


def test_hosts_of_the_rank_list_bound_the_domain(log):
    hosts = PLAIN
    for i in range(8):
        hosts = hosts.replace(f"Pid {i} on node-a", f"Pid {i} on node-{i // 4}")
    assert set(read_log(log(PLAIN)).frame["scaleup_domain_gpus"]) == {8}
    found = read_log(log(hosts))
    assert set(found.frame["scaleup_domain_gpus"]) == {4}
    assert "InfiniBand is taken between domains; --fabric says another" in found.said[0]
    assert set(read_log(log(hosts), fabric="RoCE", nic_gbps=200).frame["fabric"]) == {"RoCE"}
    cards = read_log(log(PLAIN.replace("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe"))).frame  # bridges join pairs alone
    assert cards.select("chip", "scaleup_domain_gpus", "scale_up_GBps_per_dir").row(0) == ("H100 PCIe", 8, 63.0)
    racks = read_log(log(hosts.replace("NVIDIA H100 80GB HBM3", "NVIDIA GB200")))  # links of a rack join its hosts
    assert set(racks.frame["scaleup_domain_gpus"]) == {72}


def test_a_program_that_is_not_modelled_is_never_the_one_before(log):
    text = "all_reduce_perf -b 8\n" + PLAIN + "gather_perf -b 8\n" + PLAIN + "# new run of no name\n" + PLAIN.replace("sum", "none")
    found = read_log(log(text))
    assert found.frame["collective"].to_list() == ["all_reduce"] * 2
    assert [line.partition(": ")[2][:58] for line in found.said] == [
        "left out: 2 (line 25 to 26): gather is not modelled; opera",
        "left out: 2 (line 38 to 39): no program is named before it",
    ]


def test_ranks_are_told_by_the_command_or_the_ratio_or_an_option(log):
    old = "  268435456 1048576 float   520935 0.52 0.51 0e+00 519562 0.52 0.51 1e+00\n"  # neither reduction nor root, ranks by -np
    assert set(read_log(log("mpirun -np 64 ./build/alltoall_perf -b 256M\n" + old)).frame["n_gpus"]) == {64}
    small = "alltoall_perf\n" + HEAD.splitlines()[-1] + "\n 2048 32 float none -1 106.88 0.02 0.02 0 111.25 0.02 0.02 N/A\n"
    with pytest.raises(DataError, match="ranks is neither listed nor told by busbw / algbw: --n-chips"):
        read_log(log(small))
    assert read_log(log(small), n_chips=16).frame["n_gpus"].to_list() == [16]


def test_saved_json_is_read(log):
    half = {"time": 36.49, "alg_bw": 28.74, "bus_bw": 50.29, "nwrong": 0.0}
    device = {"hostname": "node-a", "device_info": "NVIDIA H100 80GB HBM3"}
    saved = {
        "args": ["./build/all_reduce_perf", "-J", "x"],
        "nccl_version": 22807,
        "config": {"devices": [device | {"rank": i} for i in range(8)]},
        "results": [{"size": 1048576, "redop": "sum", "out_of_place": half, "in_place": half}],
    }
    row = read_log(log(json.dumps(saved))).frame.row(0, named=True)
    assert (row["collective"], row["n_gpus"], row["chip"], row["library"]) == ("all_reduce", 8, "H100", "nccl-tests, NCCL 2.28.7")
    with pytest.raises(DataError, match="a result lacks size"):
        read_log(log(json.dumps(saved | {"results": [{}]})))


def test_wrong_values_and_other_units_are_not_scored(log):
    found = read_log(log(PLAIN.replace("50.29      0", "50.29      3").replace("1056.2", "1.0562")))
    assert found.frame["quality"].to_list() == ["suspect: 3 values are wrong"]
    assert "algbw is not size over time" in found.said[0]


def test_own_measurements_are_kept_under_their_own_name(log, tmp_path, monkeypatch):
    hosts = "all_reduce_perf\n" + PLAIN
    for i in range(8):
        hosts = hosts.replace(f"Pid {i} on node-a", f"Pid {i} on node-{i}")
    before = fabric.collective_time("all_reduce", 2**30, fabric.Cluster("H100", 64, "InfiniBand NDR")).seconds
    rate = {"nic_gbps": 4000}  # as fast as links within a host, from which the numbers are
    for name, told in (("own", rate), ("lab", rate | {"as": "lab"})):
        fitted = validation.calibrate("collectives", log(hosts), told=told)
        between = fitted["collectives"].filter(pl.col("level").is_in(["transport", "transport_operation"]))["key"]
        assert {key.partition("|")[0] for key in between} == {name}
    validation.write_tables(fitted, tmp_path / "data")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    assert fabric.collective_time("all_reduce", 2**30, fabric.Cluster("H100", 64, "InfiniBand NDR")).seconds == before
    report = validation.validate("collectives", log(hosts), told=rate | {"fabric": "lab"})
    assert (report.rows["predicted"] / report.rows["measured"]).log().abs().max() < 0.3
