"""The same question with the same inputs has the same answer on every page of the gallery.

Pages run as they ship, up to their headline, with the parameters that a question needs; what they say is compared to 1e-6.
"""

import functools

import numpy as np
import pytest

import workbench
from workbench import catalogue, chips, fabric, fleet, uncertainty
from workbench.chips.training import run as training
from workbench.notebook import parameters
from workbench.notebook.run import find

SAME = {"rel": 1e-6}


@pytest.fixture
def page(monkeypatch):
    """What a page has computed by its headline, with other parameters."""
    monkeypatch.setattr(workbench, "check_parameters", lambda names: None)  # needs the history of a kernel
    monkeypatch.setattr(workbench, "panel", lambda *names: None, raising=False)
    return functools.partial(opened)


def opened(name, **given):
    cells = [cell for cell in parameters.read(find(name))["cells"] if cell["cell_type"] == "code"]
    parameters.check(parameters.of_notebook(find(name)), given)
    names = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
        tags = cell["metadata"].get("tags", [])
        names |= given if "parameters" in tags else {}
        if "headline" in tags:
            return names
    raise AssertionError(f"{name} has no headline")


@pytest.mark.parametrize(
    ("chip", "n_chips", "busy", "llm"),
    [
        ("GB300", 4608, 4608, "Llama-3.1-405B"),
        ("GB300", 100_000, 98_304, "Llama-3.1-405B"),  # the others are spares
        ("MI355X", 1024, 1024, "Llama-3.1-8B"),
    ],
)
def test_days_of_training(page, chip, n_chips, busy, llm):
    here = page("ai_factory", chip=chip, n_chips=n_chips, llm=llm, training_framework="Megatron-Bridge")
    sequence = min(catalogue.llm(llm).context, 8192)
    tokens = here["tokens"]
    odd = busy // (busy & -busy)  # the batch near that of published runs that all ranks divide
    batch = odd * 2 ** round(np.log2(training.BATCH * tokens**training.GROWTH / sequence / odd))
    there = page("chip_training", chip=chip, n_chips=busy, llm=llm, global_batch=batch, sequence=sequence, framework="Megatron-Bridge")
    seconds = tokens / (batch * sequence) * float(there["step"].seconds) / there["found"].reached.value
    assert float(here["answer"].training_seconds) == pytest.approx(seconds / float(here["good"].share), **SAME)


@pytest.mark.parametrize(("n_chips", "llm"), [(512, "Llama-3.1-8B"), (100_000, "Llama-3.1-405B")])
def test_a_run_in_one_call_and_on_the_page(page, n_chips, llm):
    here = page("ai_factory", n_chips=n_chips, llm=llm)
    there = chips.training_run(llm, fabric.Cluster("GB300", n_chips), here["tokens"])  # goodput and storage by default, as the page's
    assert float(here["good"].share) == pytest.approx(float(there.utilisation), **SAME)
    assert float(here["answer"].training_seconds) == pytest.approx(float(there.seconds), **SAME)
    low, high = uncertainty.band(here["futures"].training_seconds)
    assert there.low < there.seconds < there.high
    assert low < there.seconds < high


@pytest.mark.parametrize("tokens", [(1024, 1024), (8192, 1024)])
def test_tokens_and_what_they_cost(page, tokens):
    asked = {"input_tokens": tokens[0], "output_tokens": tokens[1], "tokens_per_s_user": 40.0, "ttft_s": 5.0, "pue": 1.15}
    here = page("ai_factory", chip="GB200", n_chips=1024, served_llm="DeepSeek-R1", mfu=0.4, **asked)
    hour = float(here["answer"].usd_per_useful_chip_hour)
    there = page(
        "chip_serving",
        llm="DeepSeek-R1",
        chip_names="GB200",
        replica_chips=1024,
        fabric="InfiniBand XDR",
        usd_per_chip_hour=repr(hour),
        **asked,
    )["top"]
    assert there["precision"] == "fp4"
    assert float(here["answer"].tokens_per_second) / 1024 == pytest.approx(there["tokens_per_s_chip"], **SAME)
    assert float(here["answer"].usd_per_million_tokens) == pytest.approx(there["usd_per_million_tokens"], **SAME)
    assert float(1 / here["replica"].tpot) == pytest.approx(there["tokens_per_s_user"], **SAME)
    assert float(here["replica"].rate_low) == pytest.approx(there["tokens_per_s_chip_low"], **SAME)


def test_cost_of_owning(page):
    here = page("ai_factory", n_chips=4608, mfu=0.4)
    base, answer = here["base"], here["answer"]
    servers = base["chip_price"] * base["server_uplift"]
    there = fleet.ownership_cost(
        "GB300",
        n_chips=4608,
        power=answer.power,
        pue=here["pue"],
        electricity_usd_per_kwh=here["electricity_usd_per_kwh"],
        wacc=here["wacc"],
        server_life_years=here["server_life_years"],
        network_share=base["network_usd"] / (base["network_usd"] + servers),
    )
    assert float(answer.usd_per_chip_hour) == pytest.approx(float(there.per_chip_hour), **SAME)
    assert float(there.network) == pytest.approx(
        float(fleet.annuity(here["bill"].total_usd, here["wacc"], here["server_life_years"])), **SAME
    )
    start = page("00_start_here", chip="GB300", pue=here["pue"], electricity_usd_per_kwh=here["electricity_usd_per_kwh"])
    low, high = uncertainty.band(here["futures"].usd_per_chip_hour)
    assert low < start["own"]["GB300"] < high  # at the published share of the network, and at work all the time


@pytest.mark.parametrize("n_chips", [4608, 100_008])
def test_fabric_storage_and_goodput(page, n_chips):
    here = page("ai_factory", n_chips=n_chips, mfu=0.4)
    there = page("fabric_throughput", n_chips=n_chips, model_params=catalogue.llm(here["llm"]).params)
    assert float(here["good"].share) == pytest.approx(float(there["good"].share[0]), **SAME)
    assert float(here["good"].low) == pytest.approx(float(there["good"].low[0]), **SAME)
    assert float(here["bill"].total_usd) == pytest.approx(float(there["bill"].total_usd[0]), **SAME)
    assert float(here["bill"].usd["storage"]) == pytest.approx(float(there["bill"].usd["storage"]), **SAME)
    assert float(here["state"].stall) == pytest.approx(float(there["state"].stall[0]), **SAME)
    assert float(here["answer"].cost.network) == pytest.approx(
        float(fleet.annuity(there["bill"].total_usd[0], here["wacc"], here["server_life_years"])), **SAME
    )


def test_power_and_energy(page):
    served = {"served_llm": "Llama-3.1-70B", "serving_precision": "fp8", "ttft_s": 10_000.0, "tokens_per_s_user": 20.0}
    of_chip = {"chip": "H100", "n_chips": 16_384, "fabric": "InfiniBand NDR"}
    here = page("ai_factory", **of_chip, mfu=0.41, output_tokens=512, **served)
    answer, pue = here["answer"], here["pue"]
    there = page("energy_cost", **of_chip, train_mfu=0.41, train_hbm=0.41, serve_chips=1024)
    seconds = float(there["run"].seconds) / float(here["good"].share)
    assert float(answer.training_seconds) == pytest.approx(seconds, **SAME)
    assert float(answer.training_joules) == pytest.approx(there["it"] * seconds * pue, **SAME)
    assert there["point"]["precision"] == "fp8"
    per_token = float(np.mean(there["serving"].it)) * pue / there["point"]["tokens_per_s_chip"]
    assert float(answer.joules_per_token) == pytest.approx(per_token, **SAME)


def test_rents_of_the_market_price_the_fleet(page):
    same = {"futures": 2048}
    here = page("compute_demand", **same, quarters=12)
    there = page("fleet_economics", **same, horizon_years=3)
    assert here["first"]["rent_usd_per_h"] == pytest.approx(there["usd_per_h100_hour"], **SAME)
    assert np.asarray(there["market"].rent) == pytest.approx(np.asarray(here["market"].rent), **SAME)
    rents, wanted = (np.asarray(getattr(here["market"], name))[2:-1:4] for name in ("rent", "wanted"))
    assert there["rents"].mean(axis=0) * there["usd_per_h100_hour"] == pytest.approx(
        rents.mean(axis=1), rel=2e-3
    )  # thirds of 2,048 are 682 or 683
    thirds = [there["third"] == i for i in range(3)]
    spread = [np.exp(np.log(wanted[:, of]).mean(axis=1) - np.log(wanted).mean(axis=1)) for of in thirds]
    assert there["relative"] == pytest.approx(np.array(spread), **SAME)
    for plan, rent in zip(there["staged"].plans, there["rents"], strict=True):
        assert np.asarray(plan.fleet.value) == pytest.approx(there["worth"] * rent, **SAME)
