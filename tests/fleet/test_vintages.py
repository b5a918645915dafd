"""What is left of the price of a vintage."""

import pytest

from workbench.errors import InputError
from workbench.fleet.vintages import residual_value


def test_worth_of_a_t5_training_chip():
    # Epoch AI: a TPU v3 of 5,276 x 1.64 USD (May 2018) was worth 5,858 USD when T5 began training 442 days later
    assert residual_value(5276 * 1.64, 442 / 365.25, 0.14) == pytest.approx(5858, rel=1e-3)
    assert residual_value(100, -1, 0.14) == 100


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: residual_value(-5, 1, 0.14), "price = -5"),
        (lambda: residual_value(5, 1, -0.2), "growth_log10 = -0.2: expected 0 or more"),  # a chip would be worth more than new
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
