"""Declared parameters: read from the cell, checked before a kernel starts and inside the notebook."""

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.notebook import parameters
from workbench.notebook.parameters import ParameterError, declared
from workbench.notebook.runtime import RESULTS_MIME, check_parameters, record

CELL = '''\
chip: str = "GB300"  # [name] accelerator, in chips
n_chips: int = 4_608  # [chips] accelerators, in one cluster, 1..1e6
price_usd: float | None = None  # [USD] price of a chip (None: the catalogue's), 10..1000000
precision: str = "fp8"  # [-] number format, bf16 | fp8 | fp4
mfu: float = 0.4  # [1] model FLOP utilisation, 0.01..1
quiet: bool = False  # [-] say less
'''  # fmt: skip


@pytest.fixture
def cell():
    return declared(CELL)


def test_declarations_are_read(cell):
    n = cell["n_chips"]
    assert (n.type, n.default, n.unit, n.meaning, n.low, n.high) == ("int", 4608, "chips", "accelerators, in one cluster", 1, 1e6)
    assert cell["precision"].choices == ("bf16", "fp8", "fp4")
    assert cell["chip"].table == "chips"
    assert cell["price_usd"].optional
    assert cell["quiet"].low is None
    assert cell["n_chips"].allowed == "a whole number from 1 to 1,000,000 [chips]"


@pytest.mark.parametrize("name", ["h100 sxm", "H100 MIG 3g.40gb", "p5.48xlarge", "NVIDIA H100 80GB HBM3"])
def test_a_chip_is_taken_by_every_name_that_the_catalogue_knows(cell, name):
    assert cell["chip"].problem(name) is None
    assert "unknown chip" in cell["chip"].problem(f"{name}X")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x: float = 1.0  # [1] share, 1..12_", r"'1..12_' is no range: expected low..high"),
        ("mfu = 0.4  # [1] share, 0..1", "expected 'name: type = default"),
        ("mfu: float = 0.4", r"comment is not '# \[unit\] meaning, range'"),
        ("mfu: list = [1]  # [1] share", "type list is not one of int, float, str, bool"),
        ("mfu: float = 1 / 3  # [1] share, 0..1", "not a plain value"),
        ("mfu: float = 2.0  # [1] share, 0..1", "line 1 of the parameters cell sets mfu = 2.0: expected a number from 0 to 1"),
        ('chip: str = "GB300"  # [name] accelerator, in chip', "unknown table 'chip'; nearest: chips"),
    ],
)
def test_a_line_that_is_no_declaration(line, reason):
    with pytest.raises(ParameterError, match=reason):
        declared(line + "\n")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"n_chip": 8}, "n_chip: the notebook declares no such parameter; nearest: n_chips"),
        ({"n_chips": 0}, r"n_chips = 0: expected a whole number from 1 to 1,000,000 \[chips\] \(accelerators, in one cluster\)"),
        ({"n_chips": 2.5}, "n_chips = 2.5: expected a whole number"),
        ({"n_chips": True}, "n_chips = True: expected a whole number"),
        ({"mfu": "high"}, "mfu = 'high': expected a number from 0.01 to 1"),
        ({"mfu": float("nan")}, "mfu = nan"),
        ({"precision": "fp16"}, "precision = 'fp16': expected one of bf16, fp8, fp4"),
        ({"chip": "GB30"}, "chip = 'GB30': unknown chip 'GB30'; nearest: GB300"),
        ({"price_usd": -1}, "price_usd = -1: expected a number from 10 to 1,000,000 .USD. or None"),
    ],
)
def test_bad_values(cell, values, reason):
    with pytest.raises(ParameterError, match=reason):
        parameters.check(cell, values)


def test_every_problem_is_named_at_once(cell):
    with pytest.raises(ParameterError) as raised:
        parameters.check(cell, {"n_chips": 0, "mfu": 3.0, "nonsense": 1})
    assert len(raised.value.problems) == 3


def test_text_of_a_command_line_becomes_the_declared_type(cell):
    values = parameters.from_text(cell, {"n_chips": "1e5", "mfu": ".5", "price_usd": "none", "chip": "h100", "quiet": "true"})
    assert values == {"n_chips": 100_000, "mfu": 0.5, "price_usd": None, "chip": "h100", "quiet": True}
    assert isinstance(values["n_chips"], int)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"chip": "H100"}, "weights = 'fp4': H100 has no fp4 peak; set weights to bf16 or fp8$"),
        ({"fabric": "Optic 800G twin-port DR8"}, "fabric = 'Optic 800G twin-port DR8': of kind optic; what joins domains of GB300: "),
        ({"chip": "TPU 8t"}, "price_usd = None: TPU 8t has no published price; give price_usd"),
        ({"chip": "no chip", "weights": "fp8"}, "unknown chip 'no chip'"),
    ],
)
def test_what_does_not_go_with_the_chip_is_refused_with_what_does(values, reason):
    cell = declared("""\
chip: str = "GB300"  # [name] accelerator, in chips
fabric: str = "InfiniBand XDR"  # [name] what joins domains, in links on chip
price_usd: float | None = None  # [USD] price of a chip, 10..1000000 on chip
weights: str = "fp4"  # [name] number format, bf16 | fp8 | fp4 on chip
quiet: bool = False  # [-] say nothing, on the way
""")
    parameters.check(cell, {"chip": "MI355X"})
    parameters.check(cell, {"chip": "TPU 8t", "price_usd": 1e4, "weights": "fp4"})
    with pytest.raises(ParameterError, match=reason):
        parameters.check(cell, values)
    others = {name: p.default for name, p in cell.items()} | values
    with pytest.raises(ParameterError, match=reason):  # in a notebook
        parameters.check(cell, others, others)
    parameters.check(cell, {"weights": "fp4"}, {"chip": "B200"})


@pytest.mark.parametrize("text", ["", "abc", "1e999", "0x10", "1,000", "nan", "--"])
def test_text_that_is_no_number_is_refused_with_that_text(cell, text):
    with pytest.raises(ParameterError, match="mfu = "):
        parameters.from_text(cell, {"mfu": text})


@given(st.text())
def test_any_text_arrives_unchanged_or_is_refused(text):
    cell = declared('label: str = "x"  # [-] any words\n')
    assert parameters.from_text(cell, {"label": text}) == {"label": text}


@given(st.integers(1, 10**6))
def test_whole_numbers_survive_text(n):
    assert parameters.from_text(declared(CELL), {"n_chips": str(n)}) == {"n_chips": n}


def write(path, *cells):
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
    return path


def test_a_file_may_stand_for_a_number(tmp_path):
    price = declared("price: float | str = 0.07  # [USD/kWh] electricity, or an hourly file, 0..10")["price"]
    (tmp_path / "hours.csv").write_text("x")
    assert price.from_text("0.05") == 0.05
    assert price.problem(str(tmp_path / "hours.csv")) is None
    assert "a number from 0 to 10 [USD/kWh] or the path of a file" in price.problem(str(tmp_path / "none.csv"))
    assert price.problem(11.0)


def test_notebook_without_a_parameters_cell(tmp_path):
    path = write(tmp_path / "a.ipynb", nbformat.v4.new_code_cell("x = 1"))
    with pytest.raises(InputError, match=r"a\.ipynb: no code cell is tagged 'parameters'"):
        parameters.of_notebook(path)


def test_missing_and_broken_notebook(tmp_path):
    with pytest.raises(InputError, match="no such notebook"):
        parameters.of_notebook(tmp_path / "a.ipynb")
    (tmp_path / "a.ipynb").write_text("{}")
    with pytest.raises(InputError, match="not a notebook"):
        parameters.of_notebook(tmp_path / "a.ipynb")


def test_check_in_a_notebook_sees_the_declared_and_the_injected():
    namespace = {"In": ["", CELL, "check_parameters(globals())"]}
    exec(CELL, namespace)
    check_parameters(namespace)
    namespace["mfu"] = 7  # an edit in JupyterLab
    with pytest.raises(ParameterError, match="mfu = 7"):
        check_parameters(namespace)


@pytest.mark.parametrize(("injected", "reason"), [("n_chip = 8", "declares no such parameter"), ("n_chips = 0", "n_chips = 0")])
def test_check_in_a_notebook_refuses_what_papermill_injected(injected, reason):
    namespace = {"In": ["", CELL, f"# Parameters\n{injected}\n", "check_parameters(globals())"]}
    exec(CELL, namespace)
    exec(injected, namespace)
    with pytest.raises(ParameterError, match=reason):
        check_parameters(namespace)


def test_check_before_the_parameters_cell():
    with pytest.raises(InputError, match="no parameters cell has run"):
        check_parameters({"In": ["", "x: int = 3", "%matplotlib inline"]})


def test_record_refuses_what_it_cannot_store():
    with pytest.raises(InputError, match="cannot record what = object"):
        record(what=object())
    assert RESULTS_MIME.endswith("+json")
