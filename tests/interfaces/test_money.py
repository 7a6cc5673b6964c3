"""Dollars in text."""

from __future__ import annotations

import pytest

from haikud.interfaces.money import dollars


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "$0.000"),
        (0.048, "$0.048"),
        (0.04, "$0.040"),
        (0.0012, "$0.0012"),
        (0.00026, "$0.00026"),
        (0.000264, "$0.00026"),
        (0.00996, "$0.010"),
        (0.000996, "$0.0010"),
        (1e-8, "$0.000000010"),
        (12.4, "$12.400"),
        (1234, "$1234.000"),
        (-0.012, "-$0.012"),
        (0.1 + 0.2 - 0.3, "$0.000"),  # the noise of adding, not money
        (-1e-12, "$0.000"),
        (None, "$0.000"),
        ("0.4", "$0.000"),
        (float("nan"), "$0.000"),
        (float("-inf"), "$0.000"),
    ],
)
def test_three_decimals_at_least_and_two_significant_digits(amount: object, shown: str):
    assert dollars(amount) == shown
