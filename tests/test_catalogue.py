import hashlib
import re

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


@pytest.mark.parametrize(
    ("chip", "reported"),
    [
        ("H100", 85.52e9),  # nvidia-smi: 81559 MiB (SpareCores, sc-inspector-data)
        ("A100", 85.90e9),  # 81920 MiB
        ("H200", 150.75e9),  # 143771 MiB
        ("B200", 192.27e9),  # 183359 MiB (NVIDIA k8s-test-infra)
        ("GB300", 298.01e9),  # 284208 MiB
        ("L40S", 48.31e9),  # 46068 MiB with ECC, which takes a sixteenth
        ("RTX 4090", 25.76e9),  # 24564 MiB
        ("MI300X", 206.14e9),  # rocm-smi: 206141652992 B (ROCm issue 4203)
        ("MI250X", 137.41e9),  # two dies of 68702699520 B
        ("TPU v7", 203.47e9),  # tpu-info: 94.75 GiB a device, two a chip
        ("Trainium2", 103.08e9),  # 96 GiB, AWS documentation
    ],
)
def test_memory_is_what_the_device_reports(chip, reported):
    assert catalogue.chip(chip).hbm_bytes == pytest.approx(reported, rel=2e-4)
    assert catalogue.chip(chip).memory_source


def test_memory_without_a_report_is_that_of_the_data_sheet():
    assert (catalogue.chip("Maia 100").hbm_bytes, catalogue.chip("Maia 100").memory_source) == (64e9, None)
    for row in catalogue.table("chips").iter_rows(named=True):  # no report is further from the data sheet than GB are from GiB
        assert (row["memory_mib"] is None) == (row["memory_source"] is None)
        assert 0.98 < (row["memory_mib"] or row["hbm_gb"] * 1e9 / 2**20) * 2**20 / 1e9 / row["hbm_gb"] < 1.09


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("H100 SXM (96GB, 500W cap)", "H100 96GB"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe"),
        ("Tesla V100-PCIE-32GB", "V100 PCIe"),
        ("NVIDIA GH200 480GB", "GH200 96GB"),  # 480 is the memory of its processor
        ("GH200 141GB", "GH200 144GB"),
        ("NVIDIA GH200 120GB", "GH200 96GB"),  # the same of early boards
        ("Tesla V100-SXM2-32GB", "V100"),
        ("Tesla V100-SXM2-16GB", "V100 16GB"),
        ("AMD Instinct MI300X", "MI300X"),
        ("AMD Instinct MI300X OAM", "MI300X"),
        ("HL-325L", "Gaudi 3"),
        ("910B3", "Ascend 910B"),
    ],
)
def test_names_that_drivers_print(name, chip):
    assert catalogue.chip(name).name == chip


def test_a_chip_without_links_of_its_own_talks_over_pcie():
    l40s, h100 = catalogue.chip("L40S"), catalogue.chip("H100")
    assert (l40s.scaleup_bandwidth, l40s.scaleup_domain, l40s.near) == (None, 1, (8, 31e9))  # PCIe 4.0 x16
    assert h100.near == (8, 450e9)
    assert catalogue.chip("V100 PCIe").near == (4, 15.75e9)
    assert "none; PCIe, 31 GB/s" in repr(l40s)


def test_an_own_row_without_links_is_no_nvlink_machine(tmp_path, monkeypatch):
    row = (
        "chip,vendor,release,status,bf16_tflops,hbm_gb,hbm_gb_per_s,source,as_of\nOwn 1,Us,2026,announced,500,96,2000,data sheet,2026-11\n"
    )
    (tmp_path / "chips.csv").write_text(row)
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    own = catalogue.chip("Own 1")
    assert (own.hbm_bytes, own.scaleup_bandwidth, own.scaleup_domain, own.near) == (96e9, None, 1, (8, 63e9))  # PCIe 5.0 x16
    for unknown in ("Own 2", "Own", "H100 SXM 120GB", "A100 (size not stated)", "B200 or GB200"):
        with pytest.raises(UnknownName):
            catalogue.chip(unknown)


def test_an_own_row_in_place_of_ours_keeps_the_names_that_ours_is_known_by(tmp_path, monkeypatch):
    columns = "vendor,release,status,bf16_tflops,hbm_gb,hbm_gb_per_s,source,as_of"
    (tmp_path / "chips.csv").write_text(f"chip,{columns}\nh100,NVIDIA,2026,shipping,900,80,3000,own measurement,2026-11\n")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    own = catalogue.chip("H100 SXM")
    assert (own.name, own.peak("bf16"), own.hbm_bytes, own.source) == ("H100", 900e12, 80e9, "own measurement")
    assert (own.scaleup_bandwidth, own.price) == (None, None)  # nothing but names is taken over
    assert catalogue.names("chips").count("H100") == 1
    (tmp_path / "chips.csv").write_text(f"chip,aliases,{columns}\nH100,my H100,NVIDIA,2026,shipping,900,80,3000,own measurement,2026-11\n")
    assert catalogue.chip("my H100").name == "H100"
    with pytest.raises(UnknownName):
        catalogue.chip("H100 SXM")  # its own names, where it has any


def test_fractions_of_a_chip():
    whole, part = catalogue.chip("H100"), catalogue.chip("H100 MIG 1g.10gb")
    assert part.hbm_bytes == 9.75 * 2**30  # nvidia-smi mig -lgip
    assert part.peak("bf16") == pytest.approx(whole.peak("bf16") * 16 / 132, rel=1e-3)  # 16 of 132 multiprocessors
    assert part.hbm_bandwidth == whole.hbm_bandwidth / 8  # a memory slice of eight
    assert (part.near, part.scaleup_bandwidth, part.tdp, part.price) == ((1, whole.pcie_bandwidth), None, None, None)
    h200 = catalogue.chip("nvidia h200 mig 3g.71gb")
    assert (h200.name, h200.hbm_bytes) == ("H200 MIG 3g.71gb", catalogue.chip("H200").hbm_bytes / 2)
    for unknown in ("L40S MIG 1g.10gb", "H100 MIG 1g.11gb", "H900 MIG 1g.10gb", "MIG 1g.10gb"):
        with pytest.raises(UnknownName):
            catalogue.chip(unknown)


@pytest.mark.parametrize(
    ("instance", "chip"),
    [
        ("p5.48xlarge", "H100"),
        ("P4D.24xlarge", "A100 40GB"),
        ("a3-ultragpu-8g", "H200"),
        ("Standard_NC40ads_H100_v5", "H100 NVL"),
        ("inf1.xlarge", "Inferentia1"),
    ],
)
def test_a_machine_of_a_cloud_is_taken_for_its_chip(instance, chip):
    assert catalogue.chip(instance).name == chip


def test_rent_is_that_of_the_chip_by_any_name():
    assert catalogue.rent("p5.48xlarge") == catalogue.rent("NVIDIA H100 80GB HBM3") == catalogue.rent("H100")
    with pytest.raises(InputError, match=r"no rent of H100 MIG 1g\.10gb by it"):
        catalogue.rent("H100 MIG 1g.10gb")


def test_a_machine_of_ones_own_names_a_chip(tmp_path, monkeypatch):
    rows = ["instance,provider,chip,source,as_of", "mybox,me,mybox,mine,2026-11", "box2,me,H100 SXM,mine,2026-11"]
    (tmp_path / "instances.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    with pytest.raises(InputError, match="unknown chip of mybox in table instances: 'mybox'"):
        catalogue.chip("mybox")
    assert catalogue.chip("box2").name == "H100"


def test_every_machine_of_a_cloud_has_a_chip_and_no_name_of_another():
    instances = catalogue.table("instances")
    assert set(instances["chip"]) <= set(catalogue.names("chips"))
    assert [name for name, chip in instances.select("instance", "chip").iter_rows() if catalogue.chip(name).name != chip] == []


def test_every_fraction_is_of_a_chip_and_no_more_than_it():
    for row in catalogue.table("chip_fractions").iter_rows(named=True):
        whole, part = catalogue.chip(row["chip"]), catalogue.chip(f"{row['chip']} {row['fraction']}")
        assert part.hbm_bytes * row["most"] <= whole.hbm_bytes * 1.0001
        assert row["compute_share"] * row["most"] <= 1.0001


def test_memory_levels():
    gh200 = catalogue.chip("GH200")
    assert [(m.level, m.bytes, m.bandwidth) for m in gh200.memory_levels] == [("host", 480e9, 450e9)]
    assert "host 480 GB, 450 GB/s" in repr(gh200)
    groq = catalogue.chip("Groq LPU v1")  # all its memory is on the chip
    assert (groq.hbm_bytes, groq.hbm_bandwidth) == (0.23e9, 80e12)
    chips = set(catalogue.names("chips"))
    assert set(catalogue.table("memory_levels")["chip"]) <= chips


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


@pytest.mark.parametrize(
    ("said", "name"),
    [("DGX B200", "B200"), ("H100 80GB", "H100"), ("nvidia a100 40GB", "A100 40GB"), ("MI300X-192GB", "MI300X"), ("B300 (288 GB)", "B300")],
)
def test_a_chip_is_known_by_its_vendor_server_and_memory(said, name):
    assert catalogue.chip(said).name == name


#: Names near those of parts that the catalogue has: others, older, newer, of other memory or form, or cut short.
NEAR = """
H100X|H2000|H10|H1000|H300|H900|H80|H2|H20-3e|GH100|GB|GB2|GB20|GB30|GB400|B20|B30|B100|B400|A1000|A10X|A11|A20|A16|A2|A400|A4000|A5000
L2|L400|L4000|L40G|L4S|L20S|T4G|T40|T400|P4|P10|V10|V1000|R100|VR200|MI300|MI30|MI35|MI400|MI430X|MI308X|MI325|MI350|MI355|MI455|MI200
MI50|TPU|v2|v4|v5|TPU8|TPU v5|TPU v6|TPU v8|Trn4|Trainium4|Inferentia3|Maia|Gaudi|Gaudi 4|Gaudi 33|Ascend|Ascend910|Ascend 910|Ascend 910A
Ascend 950|910|Groq|Groq LPU|Groq LPU v2|WSE|WSE-2|WSE-4|CS-2|SN40|SN50|Wormhole|Blackhole|M1|M3|M5|M4 Pro|M4 Ultra|M5 Max|Snapdragon
Snapdragon X|Snapdragon X Plus|Snapdragon 8 Gen 2|Core Ultra|Ryzen AI|Jetson|Jetson Orin Nano|Arc Pro|RTX|RTX 6000|RTX 6000 Ada|RTX 6000D
RTX 4080|RTX 4090 D|RTX 4090 Laptop GPU|RTX 3090 Ti|RTX PRO 4500|RTX PRO 600|GeForce|Tesla|Instinct|Rubin Ultra|Rubin CPX|GB200 NVL
B300 512GB|H100 SXM6|H100 64GB|H100 93GB|H100 94GB|H100 88GB|H100 160GB|H200 144GB|H200 282GB|H20 141GB|A100 20GB|A100 90GB|H800 PCIe
A800-SXM4-40GB|A100-SXM-64GB|NVIDIA H100 96GB HBM3|MI250X 64GB|MI300X 96GB|MI300X VF|H100 MIG|H100 MIG 1g|H100 MIG 9g.90gb
A100 MIG 7g.40gb|B200 or GB200 (not named)|NVIDIA|DGX|GPU|cuda|100|80GB|hundred|p5.49xlarge
"""


@pytest.mark.parametrize("said", [*NEAR.strip().replace("\n", "|").split("|"), " ", "-", "\u200b"])
def test_a_chip_that_is_not_known_is_not_taken_for_another(said):
    with pytest.raises(UnknownName):
        catalogue.chip(said)


@pytest.mark.parametrize(
    ("said", "name"),
    [("Llama 3.3 70B Instruct", "Llama-3.3-70B"), ("nemotron-3-nano-30b", "Nemotron-3-Nano-30B-A3B"), ("Kimi K2 Thinking", "Kimi-K2")],
)
def test_a_model_is_known_by_words_and_without_its_active_parameters(said, name):
    assert catalogue.llm(said).name == name


def test_rows_are_found_by_name_and_by_filters():
    assert catalogue.chips["h100 sxm"] is not None
    assert catalogue.chips["H100"] == catalogue.chip("H100")
    assert catalogue.llms["DeepSeek-V3"].layers == catalogue.llm("DeepSeek-V3").layers
    assert catalogue.chips._ipython_key_completions_() == catalogue.names("chips")
    assert catalogue.chips().height == len(catalogue.names("chips"))
    large = catalogue.chips(vendor="AMD", hbm_gb=(200, None))
    assert set(large["vendor"]) == {"AMD"}
    assert large["hbm_gb"].min() >= 200
    assert catalogue.chips(hbm_gb=(None, 10**9), vendor="Nobody").height == 0
    assert catalogue.chips(release=("2024", "2024-99"))["release"].str.starts_with("2024").all()


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"vendors": "AMD"}, "vendors: table chips has no such column; nearest: vendor"),
        ({"vendor": 3}, "vendor = 3: expected a value of String, or a pair"),
        ({"hbm_gb": "much"}, "hbm_gb = 'much': expected a value of Float64"),
        ({"hbm_gb": (1, 2, 3)}, "expected a value of Float64, or a pair"),
    ],
)
def test_filters_that_the_table_cannot_answer(filters, said):
    with pytest.raises(InputError, match=re.escape(said)):
        catalogue.chips(**filters)
