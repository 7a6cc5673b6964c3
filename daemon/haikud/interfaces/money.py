"""Dollars in text, the same everywhere on the command line. Pure, and quick to import.

The guide's cents are too coarse for its own agents: a whole task on Haiku 5.5 may cost a fortieth of one. So at least
three decimals, and at least two significant digits: what was not free is never shown as nothing.
"""

from __future__ import annotations

import math

LEAST_DECIMALS = 3

_NOISE = 10  # decimals: no token costs less than a hundred-millionth of a dollar; what is smaller comes from adding


def dollars(amount: object) -> str:
    """`$0.048`, `$12.400`, `$0.00026`, `-$0.012`. What is no number (a damaged file's) is shown as `$0.000`."""
    value = float(amount) if isinstance(amount, int | float) else 0.0
    value = round(value, _NOISE) if math.isfinite(value) else 0.0
    exponent = int(f"{value:.1e}".partition("e")[2])  # after rounding to two digits: 0.00996 has 0.010's
    text = f"{abs(value):.{max(LEAST_DECIMALS, 1 - exponent)}f}"
    return f"-${text}" if value < 0 else f"${text}"
