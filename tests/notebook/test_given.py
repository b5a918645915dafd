"""What notebooks say of parameters that do not go together: their cells down to the headline, run as they stand."""

import re

import nbformat
import pytest

from workbench.errors import InputError
from workbench.notebook.run import find
from workbench.notebook.stored import code_cells, tags


def headline(notebook, **given):
    """The names of a notebook after its headline, with other parameters."""
    names = {}
    for cell in code_cells(nbformat.read(find(notebook), 4)):
        exec(re.sub(r"^workbench\.(check_parameters|panel)\(.*\)$", "", cell.source, flags=re.M), names)
        names |= given if "parameters" in tags(cell) else {}
        if "headline" in tags(cell):
            return names


def test_a_fabric_has_whole_domains():
    with pytest.raises(InputError, match="n_chips = 100: GB300 comes in domains of 72; the nearest whole number of them has 72 chips"):
        headline("fabric_throughput", n_chips=100)


def test_a_model_that_does_not_fit_is_not_trained():
    with pytest.raises(
        InputError, match=r"n_chips = 1: Llama-3.1-405B with its gradients and Adam takes 6.49 TB, and 1 H100 hold 0.0855 TB"
    ):
        headline("energy_cost", n_chips=1)


def test_a_quality_is_said_to_be_of_another_model(capsys):
    headline("slm_vs_llm", small_llm="Llama-3.1-8B", large_quality=0.9)
    said = capsys.readouterr().out
    assert "small_quality = 0.69 is that of Phi-3-mini, not of Llama-3.1-8B: set it to what you measured." in said
    assert "large_quality" not in said


def test_a_trace_is_served(tmp_path, capsys):
    trace = tmp_path / "trace.csv"
    trace.write_text("time_s,input_tokens,output_tokens\n" + "".join(f"{t / 10},{900 + t},{100}\n" for t in range(201)))
    names = headline("chip_serving", llm="Llama-3.1-8B", chip_names="H100", trace=str(trace), replica_chips=8)
    said = capsys.readouterr().out
    assert (names["prompt"], names["reply"]) == (1000, 100)
    assert "1,000 tokens in, 100 out" in said
    assert "The trace has 10 requests/s, 1,000 tokens/s of answers in the mean: 1 H100 at that point" in said
