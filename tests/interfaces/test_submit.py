"""`haikud submit`: what is checked, what is filled in, what lies in incoming/ afterwards."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.interfaces.conftest import FakeSpool
from tests.support.repository import make_repository
from tests.support.waiting import wait_until

from haikud.contracts.names import is_usable_id

PLAN_FILE = {"task_id": "add-sub", "title": "Add subtraction", "files": ["calc.py"], "steps": ["Add sub(a, b)"]}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    repository = make_repository(tmp_path / "project")
    monkeypatch.chdir(repository)
    return repository


def write(path: Path, document: Any) -> str:
    text = json.dumps(document) if path.suffix == ".json" else yaml.safe_dump(document)
    path.write_text(text, encoding="utf-8")
    return str(path)


def dropped(spool: FakeSpool) -> dict[str, Any]:
    return {path.name: json.loads(path.read_bytes()) for path in spool.layout.incoming.iterdir()}


def test_a_request_is_dropped_with_the_checkout_it_was_submitted_from(
    spool: FakeSpool, daemon: int, checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    file = write(checkout.parent / "plan.json", PLAN_FILE)
    monkeypatch.chdir(checkout / "tests")
    done = spool.run("submit", file)
    assert (done.exit_code, done.stdout) == (0, f"spool: {spool.root}\nid: add-sub\n")
    assert done.stderr == ""
    assert dropped(spool) == {"add-sub.json": {**PLAN_FILE, "repository": str(checkout)}}


def test_a_request_that_lacks_nothing_is_dropped_byte_for_byte(spool: FakeSpool, checkout: Path):
    text = f"# mine\ntask_id: x\ntitle: Do it\nrepository: {checkout}\n"
    (checkout.parent / "plan.yml").write_text(text)
    assert spool.run("submit", str(checkout.parent / "plan.yml")).exit_code == 0
    assert (spool.layout.incoming / "x.yml").read_text() == text


def test_without_an_id_it_gets_the_files_name_and_a_random_end(spool: FakeSpool, checkout: Path):
    file = write(checkout.parent / "my plan.yaml", {"title": "Grüße", "steps": ["a"]})
    ids = [spool.run("submit", file).stdout.splitlines()[1].removeprefix("id: ") for _ in range(2)]
    assert all(plan_id.startswith("my-plan-") and is_usable_id(plan_id) for plan_id in ids)
    assert ids[0] != ids[1]
    expected = {"title": "Grüße", "steps": ["a"], "repository": str(checkout)}
    assert dropped(spool) == {f"{plan_id}.json": {"id": plan_id, **expected} for plan_id in ids}


@pytest.mark.parametrize(
    ("document", "trail"),
    [
        (
            {
                "message_type": "task_request",
                "correlation_id": "req-1",
                "payload": {"task": {"title": "x"}, "context": {"test_command": "true"}},
            },
            ("payload", "context"),
        ),
        ({"task_plan": {"id": "p", "tasks": [{"id": "a", "title": "x"}, {"id": "b", "title": "y"}]}}, ("task_plan",)),
        ({"template": "feature-implementation", "variables": {"feature_name": "logout"}}, ()),
        ({"agent": "test-runner", "task": "run_tests", "params": {"command": "true"}}, ()),
    ],
    ids=["envelope", "task plan", "template", "agent request"],
)
def test_every_shape_can_be_submitted(
    spool: FakeSpool, checkout: Path, document: dict[str, Any], trail: tuple[str, ...]
):
    done = spool.run("submit", write(checkout.parent / "it.json", document), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    place = dropped(spool)[told["file"]]
    for key in trail:
        place = place[key]
    assert place["repository"] == str(checkout)
    assert told["spool"] == str(spool.root)
    assert told["refs"] == (["p.a", "p.b"] if told["id"] == "p" else [told["id"]])


def test_stdin_may_be_json_or_yaml(spool: FakeSpool, checkout: Path):
    assert spool.run("submit", "-", stdin=json.dumps(PLAN_FILE)).exit_code == 0
    done = spool.run("submit", "-", stdin="title: Do it\n")
    assert done.exit_code == 0
    assert "id: request-" in done.stdout


def test_a_faulty_request_is_not_dropped_and_every_fault_is_told(spool: FakeSpool, checkout: Path):
    file = write(checkout.parent / "plan.json", {"task_id": "x y", "titel": "x", "files": ["../out"]})
    done = spool.run("submit", file)
    assert done.exit_code == 2
    assert "plan.json cannot be admitted; nothing was dropped" in done.stderr
    for said in ("/task_id", "rename 'titel' to title", "/files/0"):
        assert said in done.stderr
    assert dropped(spool) == {}


@pytest.mark.parametrize("content", [b"", b"\0\0", b"{", b"[]", b"\xff\xfe", b"a: &x 1\nb: *x\n", b"3"])
def test_what_is_no_request_at_all_is_told_so(spool: FakeSpool, checkout: Path, content: bytes):
    (checkout.parent / "plan.json").write_bytes(content)
    for args in (["submit", str(checkout.parent / "plan.json")], ["submit", "-"]):
        done = spool.run(*args, stdin=content)
        assert done.exit_code == 2
        assert "cannot be admitted" in done.stderr
    assert dropped(spool) == {}


def test_outside_a_checkout_the_repository_must_be_named(
    spool: FakeSpool, checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    file = write(checkout.parent / "plan.json", PLAN_FILE)
    monkeypatch.chdir(checkout.parent)
    done = spool.run("submit", file)
    assert done.exit_code == 2
    assert "no repository" in done.stderr
    assert spool.run("submit", file, "--repository", "project").exit_code == 0
    assert dropped(spool)["add-sub.json"]["repository"] == str(checkout)
    done = spool.run("submit", file, "--repository", "nowhere")
    assert done.exit_code == 2
    assert str(checkout.parent / "nowhere") in done.stderr


def test_the_daemons_settings_can_be_named(spool: FakeSpool, checkout: Path, monkeypatch: pytest.MonkeyPatch):
    file = write(checkout.parent / "plan.json", PLAN_FILE)
    config = checkout.parent / "settings.yaml"
    config.write_text(f"default_repository: {checkout}\n")
    monkeypatch.chdir(checkout.parent)
    assert spool.run("submit", file, "--config", str(config)).exit_code == 0
    config.write_text("default_repo: x\n")
    done = spool.run("submit", file, "--config", str(config))
    assert done.exit_code == 2
    assert f"{config}:1: default_repo is no setting; the nearest is default_repository" in done.stderr


def test_a_used_id_is_told_before_anything_is_dropped(spool: FakeSpool, checkout: Path):
    file = write(checkout.parent / "plan.json", PLAN_FILE)
    spool.run("submit", file)
    content = (spool.layout.incoming / "add-sub.json").read_bytes()
    (spool.layout.incoming / "add-sub.json").unlink()
    spool.admit("add-sub", "queued", content=content)
    done = spool.run("submit", file)
    assert done.exit_code == 0
    assert "nothing runs twice" in done.stderr
    done = spool.run("submit", write(checkout.parent / "plan.json", {**PLAN_FILE, "title": "Another"}))
    assert done.exit_code == 2
    assert "the id add-sub is used already" in done.stderr


def test_a_file_that_waits_in_incoming_is_never_replaced(spool: FakeSpool, checkout: Path):
    file = write(checkout.parent / "plan.json", PLAN_FILE)
    (spool.layout.incoming / "add-sub.json").write_text("another's")
    done = spool.run("submit", file)
    assert done.exit_code == 0
    assert "a request add-sub lies in incoming/ already" in done.stderr
    assert (spool.layout.incoming / "add-sub.json").read_text() == "another's"
    assert len(list(spool.layout.incoming.glob("add-sub.*.json"))) == 1


def test_without_a_daemon_it_warns(spool: FakeSpool, checkout: Path):
    done = spool.run("submit", write(checkout.parent / "plan.json", PLAN_FILE))
    assert done.exit_code == 0
    assert f"no daemon runs on {spool.root}" in done.stderr


def test_a_file_that_is_not_there_is_an_error(spool: FakeSpool, checkout: Path):
    assert "there is no file none.json" in spool.run("submit", "none.json").stderr
    assert "without a plan.yaml" in spool.run("submit", str(checkout)).stderr
    assert spool.run("submit", "x", "--timeout", "3").exit_code == 2


def take(spool: FakeSpool, name: str) -> None:
    """What the daemon does with a request, but for the work."""
    path = spool.layout.incoming / name
    wait_until(path.exists, what="the request")
    content = path.read_bytes()
    taken = path.rename(path.with_name(f".taken-0123456789abcdef-{name}"))
    spool.admit("add-sub", "running", content=content)
    taken.unlink()


def submit_here(spool: FakeSpool, checkout: Path, *options: str) -> subprocess.Popen[str]:
    file = write(checkout.parent / "plan.json", PLAN_FILE)
    return spool.start("submit", file, *options, cwd=checkout)


def test_it_can_wait_for_the_response(spool: FakeSpool, daemon: int, checkout: Path):
    spool.response("add-sub", "rejected")  # of an earlier try, which the mended request makes old
    with submit_here(spool, checkout, "--wait", "--timeout", "60") as process:
        take(spool, "add-sub.json")
        response = spool.finish("add-sub", "failure")
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(out) == response
    assert "id: add-sub\n" in err


def test_it_can_follow_the_log(spool: FakeSpool, daemon: int, checkout: Path):
    with submit_here(spool, checkout, "--follow") as process:
        take(spool, "add-sub.json")
        spool.log("add-sub", "agent | hello\n")
        assert process.stdout is not None
        assert process.stdout.readline() == "agent | hello\n"
        spool.log("add-sub", "done\n")
        spool.finish("add-sub", "success")
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "done\n")
    assert err.endswith(f"haikud: add-sub: success; the response: {spool.layout.responses / 'add-sub.json'}\n")


def test_following_ends_after_its_time(spool: FakeSpool, daemon: int, checkout: Path):
    with submit_here(spool, checkout, "--follow", "--timeout", "0.1") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "no answer after 0.1 s" in err
