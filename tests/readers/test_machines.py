"""Systems of other tools and files of Megatron-LM, small ones written anew."""

import json

import pytest

from workbench import catalogue, cli, readers, validation
from workbench.errors import DataError

CALCULON = {
    **{"matrix": {"float16": {"tflops": 1000}, "float8": {"tflops": 2000}}, "mem1": {"GiB": 80, "GBps": 3072}},
    "networks": [{"bandwidth": 450, "size": 8}, {"bandwidth": 50, "size": 65536}],
}
SIMUMAX = {
    **{"num_per_node": 8, "networks": {"high_intra_node": {"bandwidth": {"gbps": 450}}, "inter_node": {"bandwidth": {"gbps": 50}}}},
    "accelerator": {
        "mem_gbs": 80,
        "op": {"matmul": {"tflops": 1000}, "fp8_matmul": {"tflops": 2000}},
        "bandwidth": {"default": {"gbps": 3072}},
    },
}
AICONFIGURATOR = """\
gpu:
  mem_bw: 3072000000000
  mem_capacity: 85899345920
  bfloat16_tc_flops: 1000000000000000
  fp8_tc_flops: 2000000000000000
  power: 700
node:
  num_gpus_per_node: 8
  inter_node_bw: 50000000000
  intra_node_bw: 450000000000
"""
ARGS = """\
TP=2
torchrun --nproc_per_node 8 --nnodes 2 pretrain_gpt.py --tensor-model-parallel-size $TP --pipeline-model-parallel-size 2 \\
  --num-layers 32 --hidden-size 4096 --num-attention-heads 32 --group-query-attention --num-query-groups 8 --seq-length 4096 \\
  --micro-batch-size 1 --global-batch-size 64 --bf16 --swiglu --ffn-hidden-size 14336 --vocab-size 128256 --use-distributed-optimizer
"""
LOG = " [2026-01-28 14:50:17] iteration  {0}/  100 | elapsed time per iteration (ms): {1} | throughput per GPU (TFLOP/s/GPU): 412.3 | global batch size:   64 | lm loss: 7.1E+00 |\n"  # noqa: E501


@pytest.fixture
def file(tmp_path):
    def make(text, name):
        path = tmp_path / name
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    return make


@pytest.mark.parametrize(("text", "name"), [(CALCULON, "c.json"), (SIMUMAX, "s.json"), (AICONFIGURATOR, "a.yaml")])
def test_systems_become_a_chip(file, tmp_path, monkeypatch, capsys, text, name):
    monkeypatch.setattr("sys.argv", ["workbench", "read", str(file(text, name)), "--as", "MyChip"])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr()
    assert "system of Calculon, SimuMax or aiconfigurator" in said.err
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "chips.csv").write_text(said.out)
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "own"))
    chip = catalogue.chip("MyChip")
    assert (chip.peaks["bf16"], chip.peaks["fp8"], chip.near) == (1e15, 2e15, (8, 450e9))
    assert (chip.hbm_bytes, chip.hbm_bandwidth, chip.scaleout_bandwidth) == pytest.approx(
        (80e9 if name == "s.json" else 80 * 2**30, 3.072e12, 50e9)
    )


def test_arguments_and_log_of_megatron_become_a_scored_row(file):
    text = ARGS + "".join(LOG.format(i, ms) for i, ms in ((1, 9000.0), (2, 2000.0), (3, 2010.0)))
    path = file(text, "run.log")
    row = readers.read(path, {"chip": "H100"}).frame.row(0, named=True)
    expected = {
        "tp": 2,
        "pp": 2,
        "kv_heads": 8,
        "ffn": 14336,
        "ffn_mats": 3,
        "n_chips": 16,
        "gbs": 64,
        "step_s": 2.01,
        "tflops_chip": 412.3,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    report = validation.validate("training", path, told={"chip": "H100"})
    assert report.rows["measured"].to_list() == pytest.approx([2.01])
    assert report.rows["predicted"].count() == 1


def test_arguments_as_a_log_prints_them_and_what_lacks_is_told(file, tmp_path):
    dotted = "  num_layers ...................................... 12\n  hidden_size ..... 768\n  fp8 ......... None\n  bf16 .... True\n  world_size ... 8\n"  # noqa: E501
    found = readers.read(file(dotted, "a.log"))
    assert found.frame.select("layers", "hidden", "ffn", "precision", "n_chips").row(0) == (12, 768, 3072, "bf16", 8)
    assert "the vocabulary is not stated (--vocab-size): --model NAME says which model it is" in found.said[0]
    assert "tp, pp, cp, ep, mbs 1, as Megatron-LM has them where its arguments say nothing" in found.said[1]
    told = {"chip": "H100", "model": "Llama-3.1-8B", "precision": "bf16", "n_chips": 8}
    bare = readers.read(file(LOG.format(1, 2000.0), "steps.log"))
    assert bare.frame.select("tp", "pp", "mbs", "step_s").row(0) == (None, None, None, 2.0)
    assert "no arguments are in it, so that the layout is not known: --tp and --pp say it" in bare.said[-1]
    assert list(validation.validate("training", tmp_path / "steps.log", told=told).reasons()) == ["its layout is not stated"]
    row = readers.read(file(LOG.format(1, 2000.0), "steps.log"), {"tp": 4, "pp": 2}).frame.row(0, named=True)
    assert (row["tp"], row["pp"], row["step_s"]) == (4, 2, 2.0)
    with pytest.raises(DataError, match="num_layers is 'x'"):
        readers.read(file("--num-layers x", "b.sh"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (json.dumps(CALCULON), "c.json"),
        (json.dumps(SIMUMAX), "s.json"),
        (AICONFIGURATOR, "a.yaml"),
        (ARGS + LOG.format(1, 2000.0), "m.log"),
    ],
)
def test_damaged_files_are_read_or_refused(read_mutants, text, name):
    for found in filter(None, read_mutants(readers.read, text.encode(), name, n=100)):
        assert found.frame.height == 1
