"""Bad input: answered with the field, what was expected and the fix; the daemon goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.house import House
from tests.support.waiting import wait_until

GOOD: dict[str, Any] = {"title": "Fine", "role": "worker"}


def several(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {"task_plan": {"id": "several", "tasks": list(tasks)}}


# name in incoming/ -> content, the id it is answered under, a word that its error report must hold
CASES: dict[str, tuple[bytes | dict[str, Any], str, str]] = {
    "not-json.json": (b"{ this is no json", "not-json", "JSON"),
    "empty.json": (b"", "empty", "empty"),
    "zeros.json": (b"\0" * 500, "zeros", "NUL"),
    "binary.json": (bytes(range(128, 256)) * 4, "binary", "UTF-8"),
    "huge.json": (b'{"task_id": "huge", "title": "' + b"x" * 2 * 1024 * 1024 + b'"}', "huge", "1048576"),
    "wrong-type.json": ({**GOOD, "files": 7}, "wrong-type", "/files"),
    "no-title.json": ({"task_id": "no-title", "steps": ["a"]}, "no-title", "/title"),
    "escaping.json": ({**GOOD, "task_id": "../x"}, "escaping", "/task_id"),
    "long.json": ({**GOOD, "task_id": "x" * 101}, "long", "/task_id"),
    "dotted.json": ({**GOOD, "task_id": "a.b"}, "dotted", "/task_id"),
    "nul.json": ({**GOOD, "task_id": "a\0b"}, "nul", "/task_id"),
    "reserved.json": ({**GOOD, "task_id": "all"}, "reserved", "/task_id"),
    "unknown-dependency.json": (
        several({**GOOD, "id": "a", "dependencies": ["nobody"]}),
        "several",
        "nobody",
    ),
    "no-repository.json": ({**GOOD, "task_id": "norepo", "repository": "/does/not/exist"}, "norepo", "/repository"),
    "not-git.json": ({**GOOD, "task_id": "notgit", "repository": "/usr"}, "notgit", "/repository"),
    "leaves.json": ({**GOOD, "task_id": "leaves", "files": ["../../etc/passwd"]}, "leaves", "/files/0"),
    "absolute.json": ({**GOOD, "task_id": "absolute", "files": ["/etc/passwd"]}, "absolute", "/files/0"),
    "deep.json": (b"[" * 100_000, "deep", "deep"),
    "deep-yaml.yaml": (b"[" * 100_000, "deep-yaml", "deep"),
    "alias.yaml": (b"a: &x [1]\nb: *x\ntitle: t\n", "alias", "alias"),
    "tag.yaml": (b"title: !!python/object/apply:os.system ['true']\n", "tag", "tag"),
    "nan.json": (b'{"task_id": "nan", "title": "t", "max_cost_usd": NaN}', "nan", "NaN"),
}


def test_every_bad_request_is_answered_with_the_field_and_the_daemon_goes_on(house: House):
    house.role("worker", "true")
    house.start()
    for name, (content, answered_as, word) in CASES.items():
        house.drop("incoming", name, content)
        response = house.response(answered_as)
        assert response["status"] == "rejected", (name, response)
        report = response["payload"]["error_report"]
        assert report["type"] == "invalid_request"
        assert word.lower() in json.dumps(report).lower(), (name, report)
        for fault in report["context"]["faults"]:
            assert fault["expected"], (name, fault)
            assert fault["fix"], (name, fault)
        stored = wait_until(
            lambda: next((key for key, reason in house.rejected().items() if reason["name"] == name), None),  # noqa: B023
            what=f"the reason of {name}",
        )
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        assert (house.spool / "rejected" / stored).read_bytes() == data
    wait_until(lambda: not list((house.spool / "incoming").iterdir()), what="incoming/ to be empty")
    house.request("still-alive", role="worker")
    assert house.response("still-alive")["status"] == "success"


def test_a_cycle_is_spelled_out(house: House):
    house.start()
    tasks = [{**GOOD, "id": "a", "dependencies": ["c"]}, {**GOOD, "id": "b", "dependencies": ["a"]}]
    tasks.append({**GOOD, "id": "c", "dependencies": ["b"]})
    house.drop("incoming", "cycle.json", several(*tasks))
    text = json.dumps(house.response("several")["payload"]["error_report"])
    assert any(cycle in text for cycle in ("a -> c -> b -> a", "b -> a -> c -> b", "c -> b -> a -> c")), text


def test_the_same_id_again_with_the_same_content_runs_nothing_twice(house: House):
    house.role("worker", 'echo "I ran"')
    house.start()
    for _ in range(2):
        house.request("again", role="worker")
        assert house.response("again")["status"] == "success"
        wait_until(lambda: not list((house.spool / "incoming").iterdir()), what="the file to be taken")
    assert house.log("again").count("I ran") == 1

    (house.spool / "responses/again.json").unlink()  # its reader took it away
    house.request("again", role="worker")
    assert house.response("again")["status"] == "success"
    assert house.log("again").count("I ran") == 1


def test_the_same_id_with_other_content_is_told_so_and_overwrites_nothing(house: House):
    house.role("worker", "true")
    house.start()
    house.request("taken", role="worker")
    first = house.response("taken")
    house.request("taken", role="worker", description="something else")
    second = house.response("taken.rejected.1")
    assert second["status"] == "rejected"
    assert "already used" in json.dumps(second)
    assert house.response("taken") == first


def test_a_mended_request_is_run_and_wait_returns_the_new_answer(house: House):
    house.role("worker", "true")
    house.start()
    house.drop("incoming", "mend.json", {"task_id": "mend", "role": "worker"})
    assert house.response("mend")["status"] == "rejected"
    assert house.haikud("wait", "mend", "--timeout", "10").returncode == 5
    house.request("mend", role="worker")
    wait_until((house.spool / "plans/mend").exists, what="the mended request's admission")
    done = house.haikud("wait", "mend", "--timeout", "30", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "success"
    assert len(house.rejected()) == 1


@pytest.mark.parametrize("folder", ["incoming", "guidance", "control"])
def test_what_is_no_regular_file_is_moved_aside_and_never_opened(house: House, folder: str):
    house.role("worker", "true")
    house.start()
    target = house.root / "secret.json"
    target.write_text('{"task_id": "stolen", "title": "t", "role": "worker"}', encoding="utf-8")
    (house.spool / folder / "link.json").symlink_to(target)
    (house.spool / folder / "folder.json").mkdir()
    import os

    os.mkfifo(house.spool / folder / "fifo.json")
    wait_until(lambda: len(house.rejected()) == 3, what="three entries set aside")
    wait_until(lambda: not list((house.spool / folder).iterdir()), what="the last to be moved")
    assert not (house.spool / "plans/stolen").exists()
    house.request("still-alive", role="worker")
    assert house.response("still-alive")["status"] == "success"


def test_controls_and_guidance_that_mean_nothing_are_set_aside_with_the_reason(house: House):
    house.role("worker", "true")
    house.start()
    house.request("done", role="worker")
    house.response("done")
    house.drop("control", "nobody.cancel", "")
    house.drop("control", "done.pause", "")
    house.drop("control", "what-is-this", "")
    house.drop("guidance", "done.txt", "too late")
    house.drop("guidance", "nobody.md", "who?")
    wait_until(lambda: len(house.rejected()) == 5, what="five files set aside")
    assert all(reason["reason"] for reason in house.rejected().values())
