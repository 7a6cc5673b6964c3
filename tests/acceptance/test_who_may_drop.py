"""Plans, answers and commands of people who may not drop, and plans for repositories that are not listed.

Each is answered, or set aside, with the reason; nothing of it is carried out.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from tests.spool.another_user import NOBODY, as_another_user, needs_root
from tests.support.house import GATED, House
from tests.support.repository import make_repository
from tests.support.waiting import wait_until

from haikud.engine.merging.choice import NotMergeable, choose
from haikud.spool.layout import SpoolLayout


def reason(house: House, name: str) -> str:
    """Why a file of guidance/ or control/ was set aside."""
    found = wait_until(lambda: house.read(f"rejected/{name}.reason.json"), what=house.tail)
    assert found is not None
    return str(found["reason"])


def fault(house: House, plan_id: str) -> tuple[str, str]:
    """The code and the message of a rejection."""
    answer = house.response(plan_id)
    assert answer["status"] == "rejected"
    error = answer["payload"]["error_report"]["error"]
    return error["code"], error["message"]


@needs_root
def test_a_stranger_drops_nothing_that_counts(house: House, tmp_path: Path):
    canary, gate = tmp_path / "canary", tmp_path / "gate"
    house.role("mine", GATED.format(gate=gate))
    house.role("theirs", f'touch "{canary}"')
    house.start()
    house.request("open", role="mine")
    wait_until(lambda: house.state("open") == "running", what=house.tail)

    house.spool.chmod(0o711)
    house.root.chmod(0o711)
    for folder in ("incoming", "guidance", "control"):
        (house.spool / folder).chmod(0o1777)  # somebody has opened them, as /tmp is

    def drop() -> None:
        Path("incoming/bad.json").write_text('{"task_id": "bad", "title": "Bad", "role": "theirs"}')
        Path("guidance/open.txt").write_text("approved")
        Path("control/open.cancel").touch()
        Path("control/all.stop-now").touch()

    as_another_user(house.spool, drop)
    code, why = fault(house, "bad")
    assert code == "SENDER_NOT_ALLOWED"
    assert f"it belongs to user {NOBODY}; allowed are users 0" in why
    for name in ("open.txt", "open.cancel", "all.stop-now"):
        assert f"it belongs to user {NOBODY}" in reason(house, name)

    # Nor does a name that he gives to another's file, where he can.
    ours = tmp_path / "ours.json"
    ours.write_text('{"task_id": "linked", "title": "Linked", "role": "theirs"}')
    (house.spool / "incoming" / "linked.json").hardlink_to(ours)
    assert "it has 2 names" in fault(house, "linked")[1]
    (house.spool / "control").chmod(0o777)

    def rename() -> None:
        Path("control/.half-written").rename("control/open.cancel")

    (house.spool / "control" / ".half-written").touch()
    (house.spool / "rejected" / "open.cancel.reason.json").unlink()
    as_another_user(house.spool, rename)
    wait_until(
        lambda: any(
            "strangers own this folder" in path.read_text() for path in (house.spool / "rejected").glob("open.c*")
        ),
        what=house.tail,
    )
    (house.spool / "control").chmod(0o1777)

    assert house.state("open") == "running"
    gate.touch()
    assert house.response("open")["status"] == "success"
    assert not canary.exists()
    assert house.process is not None
    assert house.process.poll() is None


def test_a_plan_for_a_repository_that_is_not_listed_is_rejected(house: House, tmp_path: Path):
    canary, other = tmp_path / "canary", make_repository(tmp_path / "other")
    house.role("touches", f'touch "{canary}"')
    house.settings = {"repositories": [str(house.root / "pro*")]}
    house.start()
    (tmp_path / "link").symlink_to(other)
    house.request("unlisted", role="touches", repository=str(other))
    house.request("linked", role="touches", repository=str(tmp_path / "link"))
    for plan in ("unlisted", "linked"):
        code, why = fault(house, plan)
        assert code == "REPOSITORY_NOT_ALLOWED"
        assert f"{other}, which is in none of the settings' repositories" in why
    assert not canary.exists()
    assert {path.name for path in other.iterdir()} == {
        path.name for path in house.repository.iterdir()
    }  # no worktree, nothing
    house.request("listed", role="touches", files=[])
    assert house.response("listed")["status"] == "success", house.tail()
    assert canary.exists()

    # A task that was admitted under other settings is not worked on, nor what it made merged.
    house.drop("control", "all.pause", "")
    wait_until(lambda: (house.read("queue.json") or {}).get("paused"), what=house.tail)
    house.request("later", role="touches", files=[])
    wait_until(lambda: house.state("later") == "queued", what=house.tail)
    canary.unlink()
    house.settings = {"repositories": ["/nowhere"]}
    house.command()
    house.send(signal.SIGHUP)
    wait_until(lambda: "repositories changed" in house.said(), what=house.tail)
    house.drop("control", "all.resume", "")
    answer = house.response("later")
    assert answer["status"] == "failure"
    assert "none of the settings' repositories" in answer["payload"]["error_report"]["error"]["message"]
    assert not canary.exists()
    with pytest.raises(NotMergeable, match="none of the settings' repositories"):
        choose(SpoolLayout(house.spool), "listed", into=None, partial=False, listed=["/nowhere"])
