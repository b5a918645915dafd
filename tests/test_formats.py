"""Number formats: sizes as their specifications state them, and every use taken from the one table."""

import pytest

from workbench import catalogue, chips, formats
from workbench.errors import InputError
from workbench.fabric import Cluster


def test_sizes_are_those_of_the_specifications():
    # OCP Microscaling Formats v1.0, section 5: blocks of 32 with a scale of 8 bits; NVFP4: blocks of 16 with an fp8 scale
    bits = {name: formats.FORMATS[name].bits for name in ("mxfp8", "mxfp6", "mxfp4", "nvfp4")}
    assert bits == {"mxfp8": 8 + 8 / 32, "mxfp6": 6 + 8 / 32, "mxfp4": 4 + 8 / 32, "nvfp4": 4 + 8 / 16}
    assert {f.bytes for f in map(formats.FORMATS.get, ("fp4", "int4"))} == {0.5}


@pytest.mark.parametrize("name", formats.FORMATS)
def test_a_format_runs_at_a_peak_and_is_used_where_it_says(name):
    number = formats.FORMATS[name]
    assert number.peak in formats.PEAKS
    assert number.wire_bytes == (2.0 if number.bits >= 16 else 1.5)
    assert {number.training, number.weights} <= {"", *formats.FORMATS}
    if number.training:
        assert chips.TrainingPlan(precision=name).precision == name
    if number.weights:
        assert chips.ServingPlan(8, name, name if number.cache else "fp8").precision == name
    assert any(catalogue.chip(chip).runs(name) for chip in catalogue.names("chips"))


def test_scales_take_memory_and_nothing_else_of_four_bits():
    load, cluster = chips.Load(1, 1024, 256), Cluster(catalogue.chip("GB200"), 8)
    plain, scaled = (chips.serving("Llama-3.1-70B", cluster, chips.ServingPlan(4, name), load) for name in ("fp4", "nvfp4"))
    assert 1 < scaled.tpot / plain.tpot < 4.5 / 4


def test_unknown_names_list_the_choices():
    with pytest.raises(InputError, match=r"precision = 'fp7': expected one of fp32, bf16, .*, fp64, fp64_matrix, tf32"):
        catalogue.chip("H100").peak("fp7")
    with pytest.raises(InputError, match=r"H100 has no fp4 peak; it has .*bf16, fp8, int8"):
        catalogue.chip("H100").peak("nvfp4")
