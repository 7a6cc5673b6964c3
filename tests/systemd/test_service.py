"""haikud under a real systemd: started, reloaded, watched, killed, restarted, upgraded and stopped with agents at work."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from tests.support.waiting import wait_until
from tests.systemd.machine import SOURCE, Machine
from tests.systemd.service import Service

import haikud

pytestmark = pytest.mark.systemd


def inside(service: Service, *argv: str, **options: object) -> str:
    return service.machine.run(*argv, **options).stdout  # type: ignore[arg-type]


def test_a_start_returns_when_drops_are_watched_and_a_dropped_plan_is_answered(service: Service):
    assert service.show("ActiveState") == "active"
    wait_until(lambda: str(service.status()["pid"]) == service.show("MainPID"), what="its picture")
    inside(service, "git", "init", "-q", "-b", "main", "/var/lib/haikud/project")
    commit = ("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "Begin")
    inside(service, "git", "-C", "/var/lib/haikud/project", *commit)
    inside(service, "chown", "-R", "haikud:", "/var/lib/haikud/project")
    service.role(
        "commits", "echo it > made && git add made && git commit -qm 'Make made' && echo done", workspace="worktree"
    )
    asked = service.ask("commits", files=["made"], repository="/var/lib/haikud/project")
    service.succeeds(asked)
    owner = (service.spool / f"responses/{asked}.json").stat().st_uid
    assert owner == int(inside(service, "id", "-u", "haikud"))
    assert "made" in inside(
        service,
        "runuser",
        "-u",
        "haikud",
        "--",
        "git",
        "-C",
        "/var/lib/haikud/project",
        "show",
        "--stat",
        f"feature/{asked}",
    )
    entries = inside(service, "journalctl", "-u", "haikud", "-o", "json", "--no-pager").splitlines()
    ours = [json.loads(entry) for entry in entries if json.loads(entry).get("_COMM") == "haikud"]
    told = {entry["MESSAGE"]: entry["PRIORITY"] for entry in ours}
    assert told[next(line for line in told if line.startswith(f"admitted {asked}"))] == "6"
    assert told[next(line for line in told if line.startswith("there is no ANTHROPIC_API_KEY"))] == "4"


def test_a_start_that_has_to_wait_says_for_what_and_blocks(service: Service):
    service.ctl("stop", "haikud")
    running = service.spool / "tasks/running"
    running.chmod(0)
    service.ctl("start", "--no-block", "haikud")
    service.becomes("StatusText", "permission_denied")
    assert service.show("ActiveState") == "activating"
    running.chmod(0o700)
    service.becomes("ActiveState", "active")
    service.becomes("StatusText", "idle")


def test_a_reload_rereads_settings_and_a_broken_file_keeps_the_old_ones_but_starts_nothing(service: Service):
    pid = service.show("MainPID")
    service.settings({"max_agents": 3})
    service.ctl("reload", "haikud")
    wait_until(
        lambda: service.status()["max_agents"] == 3,
        what=lambda: f"the new setting; {service.log()[-2000:]}",
    )
    service.machine.write("/etc/haikud/haikud.yaml", "max_agent: 4\n")
    service.ctl("reload", "haikud")
    service.becomes("StatusText", "haikud.yaml:1: max_agent is no setting; the nearest is max_agents")
    assert (service.show("ActiveState"), service.show("MainPID")) == ("active", pid)
    service.open_gate()
    service.succeeds(service.ask("gated"))
    service.ctl("restart", "haikud", check=False)  # nobody starts that again and again
    assert (service.show("ActiveState"), service.show("ExecMainStatus")) == ("failed", "2")
    assert (service.show("NRestarts"), service.show("Result")) == ("0", "exit-code")
    service.settings({})


def test_a_daemon_that_is_killed_or_hangs_is_started_again_and_adopts(service: Service):
    without_key = service.log().count("there is no ANTHROPIC_API_KEY")
    service.machine.write("/etc/haikud/anthropic_api_key", "sk-made-up\n", 0o600)
    service.drop_in("WatchdogSec=4s\nTimeoutAbortSec=500ms\nRestartSec=100ms")
    asked, seen = service.ask_gated(), {service.show("MainPID")}
    for number, how in enumerate((signal.SIGKILL, signal.SIGSTOP), 1):
        service.ctl("kill", "--kill-who=main", f"--signal={how.name}", "haikud")
        service.becomes("NRestarts", str(number))
        service.becomes("ActiveState", "active")
        assert service.show("MainPID") not in seen
        seen.add(service.show("MainPID"))
        assert ("Watchdog timeout" in service.log()) == (how is signal.SIGSTOP)
        assert service.log().count("there is no ANTHROPIC_API_KEY") == without_key  # LoadCredential brings it
        wait_until(lambda n=number: service.log().count(f"adopted {asked}") == n, what=lambda: service.log()[-2000:])
    service.open_gate()
    service.succeeds(asked)


def test_an_upgrade_adopts_the_agents_at_work(service: Service):
    root = service.machine.root
    shutil.copytree(SOURCE, root / "opt/source-2", symlinks=True, ignore=shutil.ignore_patterns("*.egg-info"))
    init = root / "opt/source-2/haikud/__init__.py"
    init.write_text(init.read_text().replace(haikud.__version__, "99.0"))
    asked = service.ask_gated()
    runner = service.runner(asked)
    try:
        _link(root / "opt/source", "/opt/source-2")
        service.ctl("restart", "haikud")
        wait_until(
            lambda: service.status()["version"] == "99.0", what=lambda: f"the new version; {service.log()[-2000:]}"
        )
        assert f"adopted {asked} attempt 1 pid {runner}" in service.log()
        service.open_gate()
        service.succeeds(asked)
    finally:
        _link(root / "opt/source", "/opt/source-1")
        service.ctl("restart", "haikud")


def _link(path: Path, target: str) -> None:
    beside = path.with_name("new-link")
    beside.symlink_to(target)
    beside.rename(path)


def test_a_stop_detaches_and_the_next_start_settles(service: Service):
    asked = service.ask_gated()
    runner = service.runner(asked)
    service.ctl("stop", "haikud")
    assert (service.show("ActiveState"), service.show("Result")) == ("inactive", "success")
    assert (service.machine.root / f"proc/{runner}").exists()
    service.open_gate()
    wait_until(lambda: not (service.machine.root / f"proc/{runner}").exists(), what="the runner's end")
    assert not (service.spool / f"responses/{asked}.json").exists()
    service.ctl("start", "haikud")
    service.succeeds(asked)


def test_haikud_stop_lets_agents_finish_and_is_not_taken_for_a_failure(service: Service):
    asked = service.ask_gated()
    inside(service, "haikud", "stop", "--spool", "/var/lib/haikud/spool")
    service.becomes("StatusText", "draining, 1 running")
    service.open_gate()
    service.becomes("ActiveState", "inactive")
    service.succeeds(asked)


def test_the_oom_killer_takes_an_agent_and_not_the_daemon(service: Service):
    service.drop_in("MemoryMax=400M\nMemorySwapMax=0")
    limits = [
        service.machine.root / "sys/fs/cgroup" / place
        for place in (
            "system.slice/haikud.service/memory.max",
            "memory/system.slice/haikud.service/memory.limit_in_bytes",
        )
    ]
    if not any(place.exists() and place.read_text().strip() == str(400 << 20) for place in limits):
        pytest.skip("this machine's cgroups have no memory controller for us")
    pid, restarts = service.show("MainPID"), service.show("NRestarts")
    gated = service.ask_gated()
    greedy = service.ask("eats")
    assert service.answer(greedy)["status"] == "failure"
    assert (service.show("MainPID"), service.show("NRestarts"), service.show("ActiveState")) == (
        pid,
        restarts,
        "active",
    )
    service.open_gate()
    service.succeeds(gated)


def test_the_user_unit_works_too_and_outlives_its_logins(machine: Machine):
    machine.run("useradd", "-m", "dev")
    service = Service(machine, "dev")
    uid = machine.run("id", "-u", "dev").stdout.strip()
    machine.run("systemctl", "start", f"user@{uid}")
    service.prepare()
    service.role("commits-nothing", "[ ! -e ~dev/.config/haikud/haikud.yaml ]")
    machine.run("chown", "-R", "dev:", "/home/dev/.config")
    said = machine.run("haikud", "install-service", "--user", user="dev").stdout
    assert "ran loginctl enable-linger dev" in said
    assert (machine.root / "var/lib/systemd/linger/dev").exists()
    service.ctl("enable", "--now", "haikud")
    asked = service.ask_gated()
    service.settings({"max_agents": 2})
    service.ctl("reload", "haikud")
    service.ctl("restart", "haikud")
    wait_until(lambda: f"adopted {asked}" in service.log(), what=lambda: f"adoption; {service.log()[-2000:]}")
    service.open_gate()
    service.succeeds(asked)
    if shutil.which("bwrap"):
        service.settings({"sandbox": {"mode": "auto"}})
        service.ctl("reload", "haikud")
        held = service.answer(service.ask("commits-nothing"))
        assert (held["status"], held["payload"]["evidence"]["sandbox"]) == ("success", "bwrap"), service.log()[-2000:]
    again = machine.run("haikud", "install-service", "--user", user="dev").stdout
    assert "haikud.service is there already" in again
    assert "placed" not in again
    gone = machine.run("haikud", "uninstall-service", "--user", user="dev").stdout
    assert "removed /home/dev/.config/systemd/user/haikud.service" in gone
    assert (service.spool / f"responses/{asked}.json").exists()
    assert (
        machine.run("systemctl", "--user", "is-active", "haikud", user="dev", check=False).stdout.strip() == "inactive"
    )
