"""A sample of the simulated power cut: two moments on ext4. More: `make power-cut`."""

from __future__ import annotations

import pytest
from tests.crash.power_cut import cut_power
from tests.crash.power_cut_disk import why_not


@pytest.mark.slow
def test_a_power_cut_loses_nothing_that_was_acknowledged():
    reason = why_not("ext4")
    if reason is not None:
        pytest.skip(f"no simulated power cut: {reason}")
    figures = cut_power("ext4", moments=2, seed=5, requests=8, seconds=2.0)
    assert not figures.faults, "\n".join([str(figures), *figures.faults])
    assert figures.acknowledged > 0, "the sample shows nothing"
