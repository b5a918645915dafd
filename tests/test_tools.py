"""What tools answer is what Python answers: through the protocol's own client, in this process."""

import json

import anyio
import mcp
import numpy as np
import polars as pl
import pytest

from workbench import catalogue, tools
from workbench.errors import InputError
from workbench.validation import calls

CLUSTER = {"chip": "H100", "n_chips": 64, "fabric": "InfiniBand NDR"}
LOAD = {"concurrency": 64, "input_tokens": 1024, "output_tokens": 256}
#: Arguments of every tool, as a host would send them.
ASKED = {
    "catalogue_names": {"table_name": "chips"},
    "catalogue_table": {"name": "rents", "as_of": "2026-05"},
    "catalogue_chip": {"name": "GB300"},
    "catalogue_llm": {"name": "Llama-3.1-70B"},
    "catalogue_link": {"name": "InfiniBand XDR"},
    "catalogue_cost": {"name": "wacc_neocloud"},
    "catalogue_region": {"name": "swedencentral"},
    "catalogue_rent": {"chip": "H100"},
    "scaling_optimal_allocation": {"compute": [1e24, 1e25], "law": "Llama 3"},
    "scaling_law_spread": {"compute": 1e25},
    "scaling_inference_aware_optimum": {"tokens_served": 1e13, "law": "Besiroglu Huber", "loss": 2.0},
    "scaling_data_constrained_optimum": {"compute": 1e24, "unique_tokens": 1e12, "law": "Muennighoff"},
    "scaling_training_flop": {"model": 7e9, "tokens": 1e12},
    "fabric_collective_time": {"op": "all-reduce", "message_bytes": 1e9, "tiers": CLUSTER},
    "fabric_goodput": {"n_chips": [1e3, 1e5]},
    "chips_training_run": {"llm": "Llama-3-8B", "cluster": CLUSTER, "tokens": 1e12, "mfu": [0.3, 0.4]},
    "chips_training_step": {"llm": "Llama-3-8B", "cluster": CLUSTER, "plan": {"tp": [1, 2, 3], "recompute": "full"}, "global_batch": 256},
    "chips_search_layouts": {"llm": "Llama-3-8B", "cluster": CLUSTER, "global_batch": 128, "choices": {"vp": [1], "zero": [1]}, "top": 3},
    "chips_serving": {"llm": "Llama-3.1-70B", "cluster": CLUSTER, "plan": {"tp": [1, 4], "precision": "bf16"}, "load": LOAD},
    "chips_slo_frontier": {
        "llm": "Llama-3.1-8B",
        "clusters": [CLUSTER],
        "load": LOAD | {"concurrency": 1},
        "tp": [1, 2],
        "attention_dp": 1,
    },
    "chips_matrix_product": {"chip": "H100", "m": 4096, "n": [1024, 4096], "k": 4096},
    "energy_site": {"region": "swedencentral", "pue": 1.1},
    "energy_sites": {"names": ["swedencentral", "westeurope"]},
    "energy_energy_bill": {"place": "swedencentral", "it_power": [1e6, 2e6]},
    "energy_server_power": {"chip": "H100", "utilisation": 0.8},
    "energy_power_chain": {"chip": "H100", "n_chips": 1024, "drawn": 500.0, "cooled_by": "air", "wet_bulb": 18.0},
    "fleet_ownership_cost": {"chip": "H100", "electricity_usd_per_kwh": [0.05, 0.1]},
    "fleet_factory_inputs": {"chip": "GB300"},
    "fleet_rent_or_own": {"chip": "H100", "rent": 2.2, "n": 256},
    "demand_outlook": {"quarters": 4, "n": 512},
    "demand_long_run_cost": {"capital_usd": 3e4, "running_usd_per_hour": 0.2, "wacc": 0.1, "life_years": 5},
    "demand_scoreboard": {"names": ["notable models of any rank, 1 year ahead"]},
}


def asked(*questions):
    """What the tools answer to (tool, arguments), and what there is, by a client of the package in this process."""

    async def ask():
        async with mcp.Client(tools.server()) as client:
            listed = {tool.name: tool for tool in (await client.list_tools()).tools}
            return listed, [await client.call_tool(name, arguments) for name, arguments in questions]

    return anyio.run(ask)


@pytest.fixture(scope="module")
def answers():
    listed, results = asked(*ASKED.items())
    return listed, dict(zip(ASKED, results, strict=True))


def test_every_tool_is_asked_here(answers):
    assert set(answers[0]) == set(ASKED) == set(tools.CALLS)


@pytest.mark.parametrize("tool", ASKED)
def test_a_tool_answers_what_python_answers(tool, answers):
    listed, results = answers
    assert not results[tool].is_error, results[tool].content
    told = results[tool].structured_content
    assert json.loads(results[tool].content[0].text) == told
    assert told["answer"] not in (None, {}, [])
    names = {face: __import__(f"workbench.{face}", fromlist=["x"]) for face in calls.FACES}
    assert json.loads(json.dumps(tools.plain(eval(told["call"], names)))) == told["answer"]  # the call as it is printed
    shape = listed[tool].input_schema
    assert set(shape["required"]) <= set(ASKED[tool]) <= set(shape["properties"]) | ({"pue"} if shape["additionalProperties"] else set())
    assert listed[tool].description


def test_answers_carry_units_intervals_evidence_and_sources(answers):
    told = answers[1]["chips_serving"].structured_content
    found = told["answer"]
    assert "[s]" in found["units"]["tpot"]
    assert found["tpot_low"][1] < found["tpot"][1] < found["tpot_high"][1]
    assert found["feasible"] == [False, True]
    assert found["tpot"][0] == "inf"
    assert "do not fit" in found["reason"][0]
    assert {"rows", "distance", "near"} <= set(found["evidence"])
    assert found["evidence"]["near"][0]["source"]
    assert told["sources"]["llms: Llama-3.1-70B"] == catalogue.llm("Llama-3.1-70B").source
    assert {"chips: H100", "links: InfiniBand NDR"} <= set(told["sources"])


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("catalogue_chip", {"name": "H1000"}),
        ("chips_training_run", ASKED["chips_training_run"] | {"mfu": 40}),
        ("chips_training_run", ASKED["chips_training_run"] | {"tokens": True}),
        ("chips_serving", ASKED["chips_serving"] | {"cluster": CLUSTER | {"n_chips": -8}}),
        ("fleet_ownership_cost", {"chip": "H100", "electricity_usd_per_kwh": 90}),
        ("energy_site", {"region": "Atlantis"}),
        ("catalogue_chip", {"name": "<img src=x>"}),
    ],
)
def test_a_tool_refuses_in_the_words_of_python(tool, arguments):
    with pytest.raises(InputError) as refused:
        calls.value(tools.python_call(tools.CALLS[tool], arguments), {})
    _, (result,) = asked((tool, arguments))
    assert result.is_error
    assert result.content[0].text == str(refused.value)


def test_what_is_no_tool_or_no_argument_is_said():
    inner = {"call": "catalogue.external", "arguments": {"name": "any"}}
    _, (unknown, extra, call) = asked(
        ("rm", {}), ("catalogue_chip", {"name": "H100", "colour": "red"}), ("catalogue_chip", {"name": inner})
    )
    assert call.is_error
    assert "no argument of a tool is a call" in call.content[0].text
    assert unknown.is_error
    assert "unknown tool 'rm'" in unknown.content[0].text
    assert extra.is_error
    assert "unexpected keyword argument 'colour'" in extra.content[0].text


def test_objects_are_told_apart_by_their_fields():
    rollouts = [{"tp": 2}, LOAD]
    call = tools.python_call("chips.training_run", {"llm": "Llama-3-8B", "cluster": CLUSTER, "tokens": 1e9, "rollouts": rollouts})
    assert [one["call"] for one in call["arguments"]["rollouts"]] == ["chips.ServingPlan", "chips.Load"]
    fields = tools.schema("chips.Load")["properties"]
    assert "in flight" in fields["concurrency"]["description"] or "concurren" in fields["concurrency"]["description"]


def test_long_answers_say_what_is_left_out():
    assert tools.plain(pl.DataFrame({"x": range(300)}))["left_out"] == 100
    assert tools.plain(np.tile(np.arange(1001.0)[:, None], 2)) == {
        "futures": 1001,
        "low": [50.0] * 2,
        "median": [500.0] * 2,
        "high": [950.0] * 2,
    }
    assert tools.plain(np.arange(1001.0)) == {"futures": 1001, "low": 50.0, "median": 500.0, "high": 950.0}
    assert tools.plain([np.inf, np.nan, np.True_, np.int64(3)]) == ["inf", "nan", True, 3]
