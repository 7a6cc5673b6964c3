"""A decision: thousands of them are in memory, one for each open task."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from haikud.contracts.decision import Decision
from haikud.contracts.states import TaskState


def test_one_that_was_read_stays_small_and_is_what_was_written():
    written = Decision(number=1, at=datetime(2026, 1, 1, tzinfo=UTC), ref="a", state=TaskState.QUEUED, reason="dropped")
    read = Decision.model_validate_json(written.model_dump_json())
    assert read == written
    assert sys.getsizeof(read.model_fields_set) < 1024
    restarted = written.model_copy(update={"restarts": 2})
    assert Decision.model_validate_json(restarted.model_dump_json()).restarts == 2
