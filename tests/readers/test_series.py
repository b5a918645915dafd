"""Traces, hours, logs of power and runs: small files written anew in the layout of each publisher."""

import json

import polars as pl
import pytest

from workbench import chips, cli, energy, fabric, readers, scaling, validation
from workbench.errors import DataError, InputError

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,GPT-4,472,18,490,API log\n45,GPT-4,10,0,10,API log\n"
MOONCAKE = "".join(json.dumps({"timestamp": t, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}) + "\n" for t in (0, 3000))
EPOCH = "timestamp,input_tokens,output_tokens\n1757635200000,6755,500\n1757635206000,7234,794\n"


@pytest.fixture
def file(tmp_path):
    def make(text, name="x.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf8")
        return path

    return make


@pytest.mark.parametrize(
    ("text", "name", "end", "first"),
    [
        (AZURE, "a.csv", 4.314579, (374, 44)),
        (BURST, "b.csv", 40, (472, 18)),
        (MOONCAKE, "m.jsonl", 3, (6758, 500)),
        (EPOCH, "e.csv", 6, (6755, 500)),
        ("arrival_time_ms,prompt_tokens,completion_tokens\n0,5,6\n90000,7,8\n", "n.csv", 90, (5, 6)),
    ],
    ids=["Azure", "BurstGPT", "Mooncake", "epoch milliseconds", "unit in the name"],
)
def test_traces_are_read_by_name_in_their_unit(file, text, name, end, first):
    found = readers.read(file(text, name))
    assert found.kind == "trace of requests"
    assert found.frame["time_s"].to_list() == pytest.approx([0.0, end])
    assert found.frame.row(0)[1:] == first


def test_the_unit_of_a_trace_is_told_or_refused(file):
    text = "time,input_tokens,output_tokens\n0,1,2\n9e8,1,2\n"
    with pytest.raises(DataError, match="more than a year of seconds: --time-unit says one of s, ms, us, ns"):
        readers.read(file(text))
    assert readers.read(file(text), {"time_unit": "us"}).frame["time_s"][1] == 900


def test_gaps_failures_order_and_bad_rows_of_a_trace_are_told(file):
    rows = [*range(0, 200, 2), 5000, *range(300, 200, -2)]
    text = "time_s,input_tokens,output_tokens\n" + "".join(f"{t},1,{t % 3}\n" for t in rows) + "x,1,1\n7,one,1\n"
    said = " ".join(readers.read(file(text)).said)
    for words in ("left out: 1 (line 153): time_s is 'x'", "left out: 1 (line 154): input_tokens is 'one'", "not in order of time"):
        assert words in said
    assert "1 gaps of more than 1.66e+03 s, the longest 4700 s from 300 s on" in said
    assert "requests without output tokens" in said


ENTSOE = 'MTU (CET/CEST),"Day-ahead Price [EUR/MWh]"\n' + "".join(
    f"01.01.2026 0{h}:00 - 01.01.2026 0{h + 1}:00,{60 + h}\n" for h in range(3)
)
CAISO = "INTERVALSTARTTIME_GMT,LMP_TYPE,MW\n" + "".join(
    f"2026-01-01T0{h}:00:00-00:00,{t},{v}\n" for h in range(2) for t, v in (("LMP", 50), ("MCC", 1))
)
MAPS = "Datetime (UTC),Zone id,Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (Life cycle)\n2026-01-01 00:00:00,SE,2.5,30.0\n2026-01-01 01:00:00,SE,2.6,31.0\n"  # noqa: E501
WATTTIME = {"data": [{"point_time": f"2026-01-01T0{h}:00:00Z", "value": 900 + h} for h in range(2)], "meta": {"units": "lbs_co2_per_mwh"}}
MOER = "timestamp,MOER,MOER version\n2026-01-01T00:00:00+00:00,1000,3.0\n"
API = {"zone": "SE", "history": [{"datetime": "2026-01-01T00:00:00.000Z", "carbonIntensity": 41}]}


@pytest.mark.parametrize(
    ("text", "name", "figure", "first", "rows"),
    [
        (ENTSOE, "e.csv", "electricity_usd_per_kwh", 0.06 * 1.0, 3),
        (CAISO, "c.csv", "electricity_usd_per_kwh", 0.05, 2),
        (MAPS, "m.csv", "carbon_g_per_kwh", 30.0, 2),
        (json.dumps(API), "a.json", "carbon_g_per_kwh", 41.0, 1),
        (json.dumps(WATTTIME), "w.json", "marginal_carbon_g_per_kwh", 900 * 0.45359237, 2),
        (MOER, "o.csv", "marginal_carbon_g_per_kwh", 453.59237, 1),
        ("time,price (USD/kWh)\n2026-01-01,0.07\n", "p.csv", "electricity_usd_per_kwh", 0.07, 1),
        ("time,carbon intensity (kgCO2/MWh)\n2026-01-01,70\n", "k.csv", "carbon_g_per_kwh", 70.0, 1),
        ("time,carbon intensity (kgCO2/kWh)\n2026-01-01,0.07\n", "g.csv", "carbon_g_per_kwh", 70.0, 1),
        ("time,carbon intensity (tCO2/MWh)\n2026-01-01,0.07\n", "t.csv", "carbon_g_per_kwh", 70.0, 1),
    ],
    ids=["ENTSO-E", "CAISO", "Electricity Maps", "its API", "WattTime", "MOER", "USD/kWh", "kg/MWh", "kg/kWh", "t/MWh"],
)
def test_hours_are_read_in_the_units_of_a_site(file, text, name, figure, first, rows):
    found = readers.read(file(text, name))
    assert found.kind == "hourly file of a grid"
    assert found.frame.height == rows
    euro = 1.0 if "EUR" not in text else float(found.said[0].partition(", at ")[2].partition(" USD")[0])
    assert found.frame[figure][0] == pytest.approx(first * euro)


def test_hours_become_a_site_if_every_one_is_there(file):
    place = energy.site("swedencentral", carbon_g_per_kwh=file(MAPS), electricity_usd_per_kwh=str(file(CAISO, "c.csv")))
    assert place.carbon_g_per_kwh == [30.0, 31.0]
    bill = energy.energy_bill(place, [1e6, 1e6])
    assert bill.electricity == pytest.approx(2000 * place.pue * 0.05)
    with pytest.raises(InputError, match="not every hour once: no column of time and of it"):
        energy.site("swedencentral", electricity_usd_per_kwh=file(MAPS))
    gap = "time,price USD/MWh\n" + "".join(f"2026-01-01 0{h}:00,50\n" for h in (0, 1, 2, 5, 5))
    with pytest.raises(InputError, match="1 steps of 3600 s are before a gap; 1 steps of 3600 s are twice there"):
        energy.site("swedencentral", electricity_usd_per_kwh=file(gap))


def test_prices_without_a_unit_are_told_it_or_refused(file):
    text = "time,price\n2026-01-01,60\n"
    with pytest.raises(DataError, match="column 'price' has no unit: --unit says it, as USD/MWh or EUR/MWh"):
        readers.read(file(text))
    assert readers.read(file(text), {"unit": "USD/MWh"}).frame["electricity_usd_per_kwh"][0] == pytest.approx(0.06)


SMI = """\
timestamp, index, name, power.draw [W], utilization.gpu [%], memory.used [MiB]
2026/01/28 14:50:17.123, 0, NVIDIA H100 80GB HBM3, 98.52 W, 0 %, 4 MiB
2026/01/28 14:50:18.123, 0, NVIDIA H100 80GB HBM3, 600.00 W, 100 %, 70012 MiB
2026/01/28 14:50:19.123, 0, NVIDIA H100 80GB HBM3, [N/A], 100 %, 70012 MiB
"""
DMON = "#Entity   POWER   GPUTL\nID        W\nGPU 0     98.5    0\nGPU 1     600.0   99\n#Entity   POWER   GPUTL\nGPU 1     610.0   99\n"


def test_a_day_that_may_be_a_month_is_refused(file):
    with pytest.raises(DataError, match="'01/02/2026': day or month first\\? expected YYYY-MM-DD"):
        readers.read(file("date,price USD/MWh\n01/02/2026,50\n"))


def test_times_of_chats_are_seconds(file):
    rows = [{"chat_id": 1, "timestamp": t, "input_length": 5, "output_length": 6, "hash_ids": [1]} for t in (0.5, 9.5)]
    assert readers.read(file("\n".join(map(json.dumps, rows)), "chats.jsonl")).frame["time_s"][1] == 9.0


def test_logs_of_power_are_read(file):
    found = readers.read(file(SMI))
    assert found.frame.select("chip", "samples", "seconds", "power_at_work_w").row(0) == ("H100", 2, 1.0, 600.0)
    assert "left out: 1 (line 4): power.draw [W] is '[N/A]'" in found.said[0]
    smi = "# gpu    pwr  gtemp  sm\n# Idx      W      C   %\n    0    300     40  90\n    0    310     41  90\n"
    assert readers.read(file(smi, "smi.txt")).frame.select("mean_power_w", "samples_at_work").row(0) == (305.0, 2)
    found = readers.read(file(DMON, "dmon.txt"), {"chip": "H200"})
    assert found.frame.select("index", "chip", "mean_power_w", "samples_at_work").rows() == [
        ("0", "H200", 98.5, 0),
        ("1", "H200", 605.0, 2),
    ]


def test_a_law_is_fitted_to_own_runs_and_found_by_its_name(file, tmp_path, monkeypatch, capsys):
    truth = scaling.law("hoffmann_2022")
    runs = [(n, d, float(truth.loss(n, d))) for n in (1e8, 1e9, 1e10) for d in (1e10, 1e11, 1e12)]
    path = file("Model Size,Training FLOP,loss\n" + "".join(f"{n},{6 * n * d},{loss}\n" for n, d, loss in runs) + "1e9,none,2\n")
    monkeypatch.setattr("sys.argv", ["workbench", "calibrate", "scaling", str(path), "--as", "ours", "--out", str(tmp_path / "own")])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr()
    assert "left out: 1 (line 11): Training FLOP is 'none'" in said.err
    assert "ours: 95 % of 500 refits: E" in said.out
    validation.write_tables(validation.calibrate("scaling", path, told={"as": "again"}), tmp_path / "own")  # the other stays
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "own"))
    for name in ("ours", "again"):
        assert scaling.law(name).alpha == pytest.approx(truth.alpha, abs=1e-3)
    with pytest.raises(DataError, match="points: five parameters need at least 8"):
        validation.calibrate("scaling", file("params,tokens,loss\n1e9,1e10,2\n"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (AZURE, "a.csv"),
        (MOONCAKE, "m.jsonl"),
        (EPOCH, "e.csv"),
        (ENTSOE, "p.csv"),
        (CAISO, "c.csv"),
        (MAPS, "g.csv"),
        (json.dumps(WATTTIME), "w.json"),
        (SMI, "s.csv"),
        (DMON, "d.txt"),
    ],
)
def test_damaged_series_are_read_or_refused(read_mutants, text, name):
    for found in filter(None, read_mutants(readers.read, text.encode(), name, n=60)):
        numbers = found.frame.select(pl.col(pl.Float64)).to_numpy()
        assert not (abs(numbers) > 1e33).any()


#: Milliseconds, prompt and answer of three requests, of which the last was not answered.
ASKED = ((0, 900, 90), (1000, 1100, 110), (4000, 9, 0))
MOONCAKE = {"hash_ids": [0]}
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(f"2023-11-16 18:00:0{t // 1000},{i},{o}\n" for t, i, o in ASKED)
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
BURST += "".join(f"{5 + t // 1000},GPT-4,{i},{o},{i + o},API log\n" for t, i, o in ASKED)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (AZURE, "az.csv"),
        (BURST, "b.csv"),
        ("\n".join(json.dumps(MOONCAKE | {"timestamp": t, "input_length": i, "output_length": o}) for t, i, o in ASKED), "m.jsonl"),
    ],
    ids=["Azure", "BurstGPT", "Mooncake"],
)
def test_a_trace_feeds_a_load(tmp_path, text, name):
    (tmp_path / name).write_text(text)
    load = chips.Load.of_trace(tmp_path / name)  # one request was not answered: it arrives, and its lengths do not count
    assert (load.input_tokens, load.output_tokens, load.rate) == (1000.0, 100.0, 0.5)
    found = chips.serving("Llama-3.1-8B", fabric.Cluster("H100", 1), chips.ServingPlan(1, "bf16"), load)
    assert found.feasible
    assert chips.Load.of_trace(tmp_path / name, prefix_hit_rate=0.5).prefix_hit_rate == 0.5


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "time_s,input_tokens,output_tokens\n1,2,3\n", "time_s,input_tokens,output_tokens\n1,2,0\n2,2,0\n"]
)
def test_what_is_no_trace_feeds_none(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=r"trace = '.*t.csv': no answered requests over a time"):
        chips.Load.of_trace(tmp_path / "t.csv")
