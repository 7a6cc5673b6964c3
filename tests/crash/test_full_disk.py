"""A sample of the full disk: a request that finds no room, and a worktree that git has none for. More: `make full-disk`."""

from __future__ import annotations

import pytest
from tests.crash.full_disk import Figures, fill_disk
from tests.support.small_disk import why_no_disk


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "pages"), [("request", 0), ("repository-start", 1)])
def test_a_full_disk_holds_work_up_and_loses_none(phase: str, pages: int):
    reason = why_no_disk()
    if reason is not None:
        pytest.skip(f"no full disk: {reason}")
    figures = Figures()
    fill_disk(phase, [pages], 0, figures, brief=True)
    assert not figures.faults, "\n".join(figures.faults)
    assert figures.told, "the sample shows nothing: nobody was told of a full disk"
