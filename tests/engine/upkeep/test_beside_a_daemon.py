"""Doctor and prune while a daemon serves the spool."""

from __future__ import annotations

import signal

from tests.support.lived_in import LivedIn
from tests.support.waiting import wait_until


def test_a_pruned_plan_does_not_confuse_the_daemon_and_its_id_stays_used(lived_in: LivedIn):
    house = lived_in.house
    request = lived_in.path("plans/merged/request.json").read_bytes()
    house.start()
    try:
        looked = house.haikud("doctor")
        assert looked.returncode == 0, looked.stdout
        assert "spool:" not in looked.stdout
        refused = house.haikud("doctor", "--repair")
        assert refused.returncode == 2
        assert f"pid {house.process.pid}" in refused.stderr

        pruned = house.haikud("prune", "--older-than", "0s")
        assert pruned.returncode == 0
        assert "pruned merged\n  merged: feature/merged deleted: it is merged\n" in pruned.stdout
        assert "kept single\n  single: feature/single has 1 commit(s)" in pruned.stdout

        house.drop("incoming", "again.json", request)  # the same content: told, not run
        report = house.response("merged.rejected.1")["payload"]["error_report"]
        assert "this very request has used; its plan is finished and pruned" in report["error"]["message"] + str(report)
        house.request("merged", role="quick", title="Something else")
        assert house.response("merged.rejected.2")["status"] == "rejected"
        assert not lived_in.path("plans/merged").exists()
        assert not lived_in.path("responses/merged.json").exists()

        house.drop("control", "merged.retry", "")
        wait_until(lambda: "merged.retry" in house.rejected(), what="a command for a pruned plan to be set aside")
        house.drop("control", "all.resume", "")
        assert house.response("later")["status"] == "success"
        assert house.haikud("doctor").returncode == 0
        house.send(signal.SIGTERM)
        assert house.ended() == 0
        assert "trouble" not in house.said()
        assert lived_in.look() == {}
    finally:
        house.close()
        lived_in.put_back("project")
