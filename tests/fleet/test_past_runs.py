"""Cost of training runs as Epoch AI counts it; its published figures are cases (data/cases/energy.csv)."""

import pytest

from workbench import catalogue
from workbench.errors import InputError, UnknownName
from workbench.fleet import training_cost

H100 = "NVIDIA H100 SXM5 80GB"


@pytest.mark.parametrize(
    ("run", "published"),
    [("Llama 3.1-405B", 51040524.06), ("GPT-3 175B (davinci)", 2198104.57), ("GPT-3.5 (davinci-002)", 4637986.17), ("Grok-2", 30499862.98)],
)
def test_a_known_run_from_the_tables_alone(run, published):
    # epoch-research/training-cost-trends, model_costs.csv
    assert training_cost(run).total == pytest.approx(published, rel=0.01)


def test_parts_make_the_total():
    cost = training_cost(date="2022-06-01", hardware="NVIDIA A100", chip_hours=1e6)
    share, growth = (catalogue.cost(n).value for n in ("network_capex_share", "price_index_growth_per_year"))
    assert cost.network == pytest.approx(cost.servers * share / (1 - share))
    assert cost.total == pytest.approx((cost.servers + cost.network + cost.energy) * (1 + growth) ** 2)


def test_what_is_told_holds_in_the_place_of_the_tables():
    known = training_cost("Llama 3.1-405B")
    double = training_cost("Llama 3.1-405B", chip_hours=2 * 3.509e7)
    assert (double.servers, double.energy) == (pytest.approx(2 * known.servers), pytest.approx(2 * known.energy))
    other = training_cost("Llama 3.1-405B", organisation="someone")
    pues = [catalogue.cost(f"pue_epoch_{who}").value for who in ("other", "hyperscaler")]
    assert other.energy / known.energy == pytest.approx(pues[0] / pues[1])
    assert training_cost("Llama 3.1-405B", servers=1e6).servers == 1e6


def test_compute_at_an_mfu_is_chip_hours():
    hours = 1e25 / (989.4e12 * 0.4) / 3600
    told = {"date": "2025-03-01", "hardware": H100}
    assert training_cost(**told, training_flop=1e25, mfu=0.4).total == pytest.approx(training_cost(**told, chip_hours=hours).total)


def test_a_later_start_pays_less_for_the_same_chip():
    early, late = (training_cost(date="2024-07-23", hardware=H100, chip_hours=1e6, start=day) for day in ("2023-01-01", "2024-01-01"))
    assert late.servers == pytest.approx(early.servers * 10 ** (-0.14 * 365 / 365.25), rel=0.01)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"run": "Llama 9"}, "unknown training run 'Llama 9'"),
        ({"date": "2024-01-01", "hardware": "H1000", "chip_hours": 1.0}, "unknown hardware of chip_prices 'H1000'"),
        ({"date": "2024-01-01", "hardwear": H100}, "unknown fact of a training run 'hardwear'; nearest: hardware"),
        ({"hardware": H100, "chip_hours": 1.0}, "date = None: expected a day as 2024-07-23"),
        ({"date": "July 2024", "hardware": H100, "chip_hours": 1.0}, "date = 'July 2024'"),
        ({"date": "2024-01-01", "hardware": H100}, "no chip-hours, nor compute"),
        ({"date": "2024-01-01", "hardware": H100, "chip_hours": -1.0}, "chip_hours = -1: expected 0 or more"),
        ({"date": "2024-01-01", "hardware": H100, "training_flop": 1e24, "mfu": 40}, "mfu = 40: expected 0 or more and at most 1"),
        ({"run": "GPT-4o"}, "GPT-4o: no chip-hours, nor compute and a chip whose peak is known"),
    ],
)
def test_what_says_too_little_or_makes_no_sense_is_refused(told, said):
    with pytest.raises((InputError, UnknownName), match=said):
        training_cost(**told)
