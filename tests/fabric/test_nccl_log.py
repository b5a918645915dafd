import pytest

from workbench import cli, validation
from workbench.errors import DataError
from workbench.fabric.nccl_log import is_log, read_log

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
    rows = read_log(path).rows
    assert rows["collective"].to_list() == ["all_reduce"] * 2
    assert rows["bytes"].to_list() == [1_048_576, 268_435_456]
    assert rows["time_us"].to_list() == [36.49, 1056.2]
    assert rows["in_place_time_us"].to_list() == [36.35, 1055.4]
    assert rows["n_gpus"].to_list() == [8, 8]
    assert rows["chip"][0] == "H100"
    assert rows["library"][0] == "nccl-tests, NCCL 2.21.5"


def test_windows_line_ends_and_several_runs_in_one_file(log):
    rows = read_log(log(HEAD + ROWS + GATHER, "\r\n")).rows
    assert rows["collective"].to_list() == ["all_reduce", "all_reduce", "all_gather"]
    assert rows["n_gpus"].to_list() == [8, 8, 8]


def test_the_ratio_of_bandwidths_corrects_the_number_of_ranks(log):
    # busbw / algbw = 2 x 63 / 64: 64 ranks, whatever the heading says
    text = HEAD + "  8589934592  2147483648  float  sum  -1  20000.0  429.50  845.57  0  20000.0  429.50  845.57  0\n"
    row = read_log(log(text)).rows.row(0, named=True)
    assert row["n_gpus"] == 64
    assert "lists 8 ranks but busbw / algbw says 64" in row["quality"]


def test_a_truncated_log_gives_what_is_whole_and_says_what_is_not(log):
    found = read_log(log(HEAD + ROWS + "  8589934592    2147483648     float     sum      -1  31287.   274."))
    assert found.rows.height == 2
    assert found.left_out == ("line 9: not a whole row of results",)


def test_rows_without_a_program_are_left_out(log):
    text = HEAD.replace("./build/all_reduce_perf -b", "-b") + ROWS
    with pytest.raises(DataError, match="no row of results"):
        read_log(log(text))


def test_what_is_no_log_is_refused(log, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_log(tmp_path / "nowhere.log")
    assert not is_log(log("id,bytes\n1,2\n"))


def test_validate_takes_the_log(log):
    report = validation.validate("collectives", log(HEAD + ROWS), by="collective")
    assert report.rows["predicted"].count() == 2
    assert report.rows["measured"].to_list() == [36.49, 1056.2]


@pytest.mark.parametrize("number", ["1056.2.1", "1" * 400])
def test_what_is_no_number_is_left_out_with_its_line(log, number):
    found = read_log(log(HEAD + ROWS.replace("1056.2", number).replace("444.78", number)))
    assert found.rows.height == 1
    assert found.left_out == ("line 8: not a whole row of results",)


def test_damaged_logs_are_read_or_refused(read_mutants):
    for found in read_mutants(read_log, (HEAD + ROWS + GATHER).encode(), "run.log"):
        numbers = found.rows.select("bytes", "n_gpus", "time_us", "algbw_GBps", "busbw_GBps").cast(float).to_numpy()
        assert ((numbers >= 0) & (numbers < 1e18)).all()


def test_a_log_in_utf_16_is_one_line(log, monkeypatch, capsys):
    path = log("")
    path.write_text(HEAD + ROWS, encoding="utf16")
    monkeypatch.setattr("sys.argv", ["workbench", "validate", "collectives", str(path)])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}: not a readable UTF-8 CSV")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("driver", "chip"),
    [
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA Z9", "NVIDIA Z9"),
    ],
)
def test_a_chip_is_never_taken_for_another(log, driver, chip):
    assert set(read_log(log((HEAD + ROWS).replace("NVIDIA H100 80GB HBM3", driver))).rows["chip"]) == {chip}


def test_an_unknown_chip_is_told(log, capsys):
    validation.validate("collectives", log((HEAD + ROWS).replace("NVIDIA H100 80GB HBM3", "NVIDIA Z9")))
    assert "'NVIDIA Z9' is no chip of the catalogue: domains of eight are taken" in capsys.readouterr().err
