"""`haikud demo` from outside: what it shows is true, a second run works, and nothing is left running or removed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.support.repository import git
from tests.support.waiting import wait_until

from haikud.interfaces.demo import own_command
from haikud.interfaces.demo_place import MARKER, DemoPlace, make_place
from haikud.interfaces.demo_project import REQUEST_ID, TEST_COMMAND, make_request
from haikud.interfaces.trouble import Trouble
from haikud.offline.server import ScriptedApi

SOURCE = Path(__file__).resolve().parents[2] / "daemon"


def environment(home: Path) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(SOURCE),
        "HTTP_PROXY": "http://127.0.0.1:9",  # nobody listens: the demo must not need a proxy
        "HAIKUD_SPOOL": "/nowhere",  # nor care for settings that are not its own
        "ANTHROPIC_API_KEY": "sk-ant-real-0123456789",
    }


def start_demo(folder: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "haikud.interfaces", "demo", *arguments],
        cwd=folder,
        env={**environment(folder / "home"), **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_demo(folder: Path, *arguments: str, **more: str) -> tuple[int, str]:
    process = start_demo(folder, *arguments, **more)
    said, _ = process.communicate(timeout=100)
    return process.returncode, said


def processes_of(folder: Path) -> list[str]:
    """Command lines of living processes that work in or on this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("HAIKUD_OUT", ""), process.cwd()]
            if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in words):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_the_demo_is_true_from_the_request_to_the_tests_twice(tmp_path: Path):
    for _ in range(2):
        code, said = run_demo(tmp_path)
        assert code == 0, said
        place = DemoPlace(tmp_path / ".demo")
        response = json.loads((place.spool.responses / f"{REQUEST_ID}.json").read_bytes())
        payload = response["payload"]
        assert response["status"] == "success"
        assert payload["tests_passing"] is True
        assert payload["summary"].startswith("[scripted] Added a logout button")
        branch = f"feature/{REQUEST_ID}"
        assert payload["branch"] == branch
        assert sorted(payload["files_changed"]) == ["navigation/bar.py", "tests/test_logout.py"]
        assert git(place.repository, "rev-list", "--count", f"main..{branch}") == "1" == str(payload["commits"])
        assert git(place.repository, "log", "-1", "--format=%an", branch) == "haikud demo"
        assert "def click" in git(place.repository, "show", f"{branch}:navigation/bar.py")
        assert payload["evidence"]["undeclared_files"] == []
        assert response["metrics"]["tokens_used"] > 1000
        assert 0 < response["metrics"]["cost_usd"] < 0.05

        assert "SCRIPTED" in said
        assert '"status": "success"' in said
        assert "2 files changed" in said
        assert re.search(r"Ran 6 tests in", said)
        assert "All of this is true" in said
        events = (place.spool.task(REQUEST_ID).attempt(1).events).read_text().splitlines()
        progress = [event["percent"] for event in map(json.loads, events) if event["kind"] == "progress"]
        assert progress == [25, 50, 75]
        assert float(re.findall(r"it took ([\d.]+) s", said)[0]) < 60
        assert processes_of(tmp_path) == []
        journal = [json.loads(line) for line in place.api_journal.read_text().splitlines()]
        assert [line["status"] for line in journal] == [200] * len(journal)
        assert any(line["usage"]["cache_read_input_tokens"] > 0 for line in journal)
        assert "sk-ant-real" not in place.api_journal.read_text()


def ignores_interrupts(pid: int) -> bool:
    """Whether a process has SIGINT ignored by now: /proc/PID/status, SigIgn."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return True
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn:")).split()[1]
    return bool(int(ignored, 16) >> (signal.SIGINT - 1) & 1)


def test_ctrl_c_leaves_nothing_running(tmp_path: Path):
    process = start_demo(tmp_path)
    logs = tmp_path / ".demo" / "spool" / "logs"
    wait_until(lambda: list(logs.glob("agent-*.log")) or process.poll() is not None, what="the agent's log")
    process.send_signal(signal.SIGINT)
    wait_until(lambda: process.poll() is not None or ignores_interrupts(process.pid), what="the end of its processes")
    process.send_signal(signal.SIGINT)  # an impatient person's second one
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Interrupted" in said
    assert processes_of(tmp_path) == []


def test_live_uses_the_key_and_the_api_of_the_environment_and_names_the_most_it_costs(tmp_path: Path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    with ScriptedApi("logout") as api:
        code, said = run_demo(folder, "--live", "--workdir", "here", ANTHROPIC_BASE_URL=api.base_url, HTTP_PROXY="")
        assert code == 0, said
        assert len(api.journal) == 6
    assert "at your cost: at most $0.250" in said
    assert "SCRIPTED" not in said
    assert not (folder / "here" / "scripted-api.jsonl").exists()
    assert "sk-ant-real" not in said


def test_a_demo_that_does_not_hold_is_not_called_good(tmp_path: Path):
    with ScriptedApi({"name": "lazy", "conversations": [{"turns": [{"text": "All done."}]}]}) as api:
        code, said = run_demo(tmp_path, "--live", ANTHROPIC_BASE_URL=api.base_url, HTTP_PROXY="")
    assert code == 1, said
    assert "NO   the request was answered with a success" in said
    assert "NOT all of this is true" in said
    assert processes_of(tmp_path) == []


def test_live_without_a_key_says_what_to_do(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "haikud.interfaces", "demo", "--live"],
        cwd=tmp_path,
        env={**environment(tmp_path / "home"), "ANTHROPIC_API_KEY": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "ANTHROPIC_API_KEY" in done.stderr
    assert not (tmp_path / ".demo").exists()


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(Trouble, match="no demo made it"):
        make_place(mine, keep=False, budget_usd=1)
    link = tmp_path / "link"
    link.symlink_to(mine)
    with pytest.raises(Trouble, match="not a folder"):
        make_place(link, keep=False, budget_usd=1)
    with pytest.raises(Trouble, match="not a folder"):
        make_place(mine / "thesis.txt", keep=False, budget_usd=1)
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_an_earlier_demo_is_replaced_or_kept(tmp_path: Path):
    first = make_place(tmp_path / "demo", keep=False, budget_usd=1)
    (first.root / "left-over").touch()
    again = make_place(tmp_path / "demo", keep=False, budget_usd=1)
    assert again == first
    assert not (again.root / "left-over").exists()
    beside = make_place(tmp_path / "demo", keep=True, budget_usd=1)
    assert beside.root == tmp_path / "demo-2"
    assert (first.root / MARKER).exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert make_place(empty, keep=True, budget_usd=1).root == empty


def test_the_demos_repository_is_real_and_its_tests_pass(tmp_path: Path):
    place = make_place(tmp_path / "demo", keep=False, budget_usd=1)
    assert git(place.repository, "rev-list", "--count", "main") == "1"
    assert git(place.repository, "status", "--porcelain") == ""
    tests = subprocess.run(TEST_COMMAND.split(), cwd=place.repository, capture_output=True, text=True, check=False)
    assert tests.returncode == 0
    assert "Ran 2 tests" in tests.stderr


def test_the_request_is_the_guides_with_the_demos_paths(tmp_path: Path):
    request = make_request(tmp_path, "2025-10-21T10:30:00Z")
    assert list(request) == [
        "version",
        "timestamp",
        "sender",
        "receiver",
        "message_type",
        "correlation_id",
        "payload",
    ]
    assert request["payload"]["task"]["title"] == "Implement logout button"
    assert request["payload"]["context"]["test_command"] == TEST_COMMAND


def test_what_to_try_next_can_be_typed_wherever_haikud_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = tmp_path / "venv" / "bin" / "haikud"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script.with_name("python")))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    assert own_command() == "venv/bin/haikud"
    monkeypatch.chdir("/")
    assert own_command() == str(script).removeprefix("/")
    monkeypatch.chdir(script.parent.parent / "bin")
    monkeypatch.setenv("PATH", str(script.parent))
    assert own_command() == "haikud"
    script.unlink()
    assert own_command() == "haikud"
