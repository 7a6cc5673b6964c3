"""The shipped units: what systemd thinks of them, and that agents' tools work under them."""

from __future__ import annotations

import shutil

import pytest
from tests.systemd.machine import Machine
from tests.systemd.service import Service

from haikud.sandbox.prctl import OOM_SCORE

pytestmark = pytest.mark.systemd

SHIPPED = {
    "system": "/opt/source-1/haikud/interfaces/service/units/system/haikud.service",
    "user": "/opt/source-1/haikud/interfaces/service/units/haikud.service",
}

TOOLS = {
    "git": "git init -q r && cd r && echo a > a && git add a && git commit -qm a && git gc -q && git stash list",
    "gcc": "echo 'int main(void){return 0;}' > a.c && gcc -O2 -o a a.c && ./a",
    "node": 'node -e \'new Function("return 1")(); require("os").networkInterfaces(); console.log(1)\'',
    "bwrap": "bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-all --die-with-parent true",
    "tar": "mkdir d && touch d/f && tar cf d.tar d && tar xf d.tar -C d && mktemp && test -w /var/tmp",
    "python3": "python3 -c 'import multiprocessing as m; m.get_context(\"fork\").Lock()'",
}


SANDBOX_CALLS = """
import ctypes, errno, platform
libc = ctypes.CDLL(None, use_errno=True)
calls = {"landlock_create_ruleset": (444, 0, 0, 1)}  # its version
if platform.machine() == "x86_64":
    calls["seccomp"] = (317, 2, 0, 0)  # whether an action is there
for name, call in calls.items():
    ctypes.set_errno(0)
    libc.syscall(*call)
    assert ctypes.get_errno() != errno.EPERM, name
"""


@pytest.mark.parametrize("scope", SHIPPED)
def test_systemd_finds_nothing_wrong_with_the_shipped_units(machine: Machine, scope: str):
    options = ["--user"] if scope == "user" else []
    said = machine.run("env", "XDG_RUNTIME_DIR=/run", "systemd-analyze", "verify", *options, SHIPPED[scope])
    assert said.stdout + said.stderr == ""


def test_nor_with_what_is_placed(installed: Service):
    for path in ("/etc/systemd/system/haikud.service",):
        said = installed.machine.run("systemd-analyze", "verify", path)
        assert said.stdout + said.stderr == ""
    assert installed.machine.run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/haikud.conf").stderr == ""


def test_the_system_unit_is_exposed_by_three_point_three_at_most(machine: Machine):
    machine.run("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=33", SHIPPED["system"])


def test_what_agents_run_works_under_the_system_unit(service: Service):
    there = {name: script for name, script in TOOLS.items() if shutil.which(name)}
    lines = [
        f"(set -e; mkdir -p t/{name}; cd t/{name}; {script}) > {name}.log 2>&1 || {{ cat {name}.log; exit 1; }}"
        for name, script in there.items()
    ]
    identity = "export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t"
    service.machine.write("/opt/sandbox_calls.py", SANDBOX_CALLS)
    lines.append("/opt/haikud/bin/python /opt/sandbox_calls.py || exit 1")
    service.role("tools", "\n".join(['cd "$(mktemp -d)"', identity, *lines, "echo all work"]))
    asked = service.ask("tools")
    response = service.answer(asked)
    log = (service.spool / f"logs/agent-{asked}.log").read_text() if response["status"] != "success" else ""
    assert response["status"] == "success", log
    assert {"git", "tar"} <= set(there)


@pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")
def test_tasks_run_in_each_sandbox_under_the_system_unit_and_see_no_credential(service: Service):
    credential, spool = "/run/credentials/haikud.service/anthropic_api_key", "/var/lib/haikud/spool/FORMAT"
    service.role(
        "looks", f'for file in {credential} {spool}; do cat "$file" >/dev/null 2>&1 && echo "saw $file"; done; :'
    )

    def looked(mode: str) -> tuple[str, str]:
        service.settings({"sandbox": {"mode": mode}})
        service.ctl("reload", "haikud")
        asked = service.ask("looks")
        response = service.answer(asked)
        assert response["status"] == "success", (response["payload"], service.log()[-3000:])
        return response["payload"]["evidence"]["sandbox"], (service.spool / f"logs/agent-{asked}.log").read_text()

    try:
        for wanted, found in (("auto", "bwrap"), ("landlock", "landlock")):
            mode, log = looked(wanted)
            assert mode == found, service.log()[-3000:]
            assert "| saw" not in log
        mode, log = looked("none")  # so there was something to see
        assert (mode, "| saw " + credential in log, "| saw " + spool in log) == ("none", True, True)
    finally:
        service.settings({})
        service.ctl("reload", "haikud")


def test_the_attempts_have_cgroups_of_their_own_and_nothing_else_is_to_be_written(service: Service):
    asked = service.ask_gated()
    runner = service.runner(asked)
    unified = next(
        line
        for line in (service.machine.root / f"proc/{runner}/cgroup").read_text().splitlines()
        if line.startswith("0::")
    )
    assert "/haikud.service/haikud-" in unified
    assert unified.endswith(f"-{asked}.1")
    scores = {
        pid: int((service.machine.root / f"proc/{pid}/oom_score_adj").read_text())
        for pid in (runner, service.show("MainPID"))
    }
    assert scores[runner] == OOM_SCORE > scores[service.show("MainPID")]
    service.role(
        "hides",
        'touch /tmp/private; for place in /etc/x /usr/x /opt/x /var/lib/x; do touch $place 2>/dev/null && exit 1; done; [ -z "$(ls -A /home)" ] && ! cat /etc/haikud/anthropic_api_key 2>/dev/null',
    )
    service.succeeds(service.ask("hides"))
    assert not (service.machine.root / "tmp/private").exists()
    assert (service.machine.root / "var/lib/haikud/tmp/private").exists()
    service.open_gate()
    service.succeeds(asked)
