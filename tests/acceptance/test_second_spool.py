"""Two spools on one repository: the second is told at once whose the branch is, and what to do."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.house import House


def test_a_second_spool_with_the_same_id_is_rejected_before_anything_starts(house: House, tmp_path: Path):
    house.role("worker", "true")
    house.start()
    house.request("same", role="worker")
    assert house.response("same")["status"] == "success"
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other", settings={"default_repository": str(house.repository)})
    try:
        other.role("worker", "true")
        other.start()
        other.request("same", role="worker")
        answer = other.response("same")
        assert answer["status"] == "rejected"
        (fault,) = answer["payload"]["error_report"]["context"]["faults"]
        assert fault["code"] == "BRANCH_TAKEN"
        assert "feature/same" in fault["found"]
        assert fault["fix"] == "give the plan another id"
        spool = json.loads((house.spool / "FORMAT").read_bytes())
        assert spool["spool_id"] in fault["found"]
        other.request("another", role="worker")
        assert other.response("another")["status"] == "success"
    finally:
        other.close()
