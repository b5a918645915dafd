import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.units import HOUR, KWH, YEAR, count, human, significant, usd


def test_definitions():
    assert KWH == 3.6e6  # SI brochure, table 8
    assert YEAR == 365.25 * 24 * HOUR  # Julian year


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (9.6768e6, "W", "9.68 MW"),
        (999.96e3, "W", "1 MW"),
        (0.05, "USD", "0.05 USD"),
        (0, "W", "0 W"),
        (-2e9, "B", "-2 GB"),
        (4608, "", "4.61 k"),
    ],
)
def test_human(value, unit, text):
    assert human(value, unit) == text


def test_infinity_is_written_as_it_is():
    assert (significant(float("inf")), usd(float("inf"))) == ("inf", "$inf tn")
    assert human(10**30, "B").endswith("B")  # a whole number of more than 64 bits


def test_usd():
    assert [usd(v) for v in (0, 2.4512, 1234.5, 98.3e6, 1.2e9, -3.5e5)] == ["$0", "$2.45", "$1.23 k", "$98.3 M", "$1.2 bn", "-$350 k"]


@given(st.floats(1e-6, 1e15))
def test_significant_is_within_half_a_digit_and_never_scientific(value):
    text = significant(value)
    assert "e" not in text
    assert float(text.replace(",", "")) == pytest.approx(value, rel=5.01e-3)


@pytest.mark.parametrize(
    ("value", "said"), [(405.9e9, "406 billion"), (15.6e12, "15.6 trillion"), (950, "950"), (999.9e6, "1 billion"), (2.5e6, "2.5 million")]
)
def test_large_numbers_as_people_say_them(value, said):
    assert count(value) == said
