import hashlib

import pytest

from workbench import catalogue, tables
from workbench.errors import DataError, InputError, UnknownName


def test_the_catalogue_is_as_large_as_promised():
    rows = {name: catalogue.table(name).height for name in tables.table_names()}
    assert rows["chips"] >= 30
    assert rows["llms"] >= 60
    assert rows["links"] >= 40
    assert catalogue.table("regions")["provider"].eq("Azure").sum() >= 50
    assert (~catalogue.table("grids")["grid"].str.starts_with("US-")).sum() >= 150
    assert rows["cpus"] >= 5
    for name in (
        "V100",
        "GB300",
        "Rubin",
        "MI250X",
        "MI355X",
        "TPU v4",
        "TPU v7",
        "Maia 100",
        "Maia 200",
        "Trainium1",
        "Trainium3",
        "Gaudi 2",
    ):
        assert catalogue.chip(name).name == name
    for name in ("Phi-3-mini", "DeepSeek-V3", "Kimi-K2"):
        assert catalogue.llm(name).name == name


def test_chip_in_si_units():
    # NVIDIA H100 data sheet: 989 dense bf16 TFLOP/s, 3.35 TB/s, 900 GB/s bidirectional NVLink, 700 W; its driver reports 81559 MiB
    h100 = catalogue.chip("H100")
    assert h100.peak("bf16") == 989e12
    assert (h100.hbm_bytes, h100.hbm_bandwidth, h100.scaleup_bandwidth, h100.tdp) == (81559 * 2**20, 3.35e12, 450e9, 700)


@pytest.mark.parametrize("name", ["H100 SXM", "h100", " H100 ", "A100 80GB", "TPU v7 (Ironwood)"])
def test_names_and_aliases_whatever_their_case(name):
    assert catalogue.chip(name).name in ("H100", "A100", "TPU v7")


@pytest.mark.parametrize("table", ["chips", "laws", "llms"])
def test_an_alias_means_one_row(table):
    frame = catalogue.table(table)
    names = [n.strip().casefold() for n in tables.names(frame, table)]
    for row_aliases in frame["aliases"]:
        names += [a.strip().casefold() for a in (row_aliases or "").split(";") if a.strip()]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)


def test_unknown_chip_lists_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown chip 'GB30'; nearest: GB300") as raised:
        catalogue.chip("GB30")
    assert raised.value.nearest[0] == "GB300"
    with pytest.raises(UnknownName, match="unknown chip ''"):
        catalogue.chip("")


def test_every_row_of_every_table_is_a_typed_row():
    for chip in map(catalogue.chip, catalogue.names("chips")):
        assert chip.peaks
        assert all(chip.peak(p) > 0 for p in chip.peaks)
    for read, table in ((catalogue.cpu, "cpus"), (catalogue.link, "links"), (catalogue.llm, "llms"), (catalogue.region, "regions")):
        assert all(read(name).source for name in catalogue.names(table))
    assert all(catalogue.cost(name).unit for name in catalogue.names("costs"))
    assert all(grid.carbon_g_per_kwh >= 0 for grid in map(catalogue.grid, catalogue.names("grids")))


def test_a_precision_the_chip_lacks_names_those_it_has():
    with pytest.raises(InputError, match=r"A100 has no fp8 peak; it has .*tf32, bf16"):
        catalogue.chip("A100").peak("fp8")


def test_regions_point_at_grids_that_exist():
    grids = set(catalogue.names("grids"))
    assert all(g is None or g in grids for g in catalogue.table("regions")["grid"])


def test_measured_samples_are_compact():
    for file in (tables.DATA / "measured").glob("*.csv"):
        assert tables.read_text(file).height <= 200


def test_external_data_from_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_EXTERNAL", str(tmp_path))
    with pytest.raises(DataError, match=r"WORKBENCH_EXTERNAL is set but has no chinchilla_points\.csv; get it from https://"):
        catalogue.external("chinchilla-points")
    (tmp_path / "chinchilla_points.csv").write_text("another version")
    with pytest.raises(DataError, match=hashlib.sha256(b"another version").hexdigest()):
        catalogue.external("chinchilla-points")
    with pytest.raises(UnknownName, match="nearest: chinchilla-points"):
        catalogue.external("chinchilla")


def test_external_data_offline_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_EXTERNAL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(DataError, match=r"could not be downloaded .*offline, put chinchilla_points.csv into a folder"):
        catalogue.external("chinchilla-points")
