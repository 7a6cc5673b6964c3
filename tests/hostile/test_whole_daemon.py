"""A hostile command agent in a whole daemon: what it does to the spool, to its answer, to the log and to git afterwards.

Without walls the same agent approves itself and starts a plan of its own. What comes back through `out/` and the log is
harmless in every mode. (More of that: tests/agent/test_hostile_out.py.)
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.support.house import House
from tests.support.repository import CLEAN_GIT, git
from tests.support.waiting import wait_until
from tests.support.walls import skip_without

SECRET = "STOLEN-what-is-in-a-file-of-the-user"

AGENT = r"""
cd "$HAIKUD_OUT"
spool=${HAIKUD_OUT%/plans/*}
printf '{"task_id": "next", "title": "More", "role": "innocent"}' > .next
ln .next "$spool/incoming/next.json" || cp .next "$spool/incoming/next.json"
printf '{"guidance": "Yes"}' > "$spool/guidance/asking.json"
touch "$spool/control/asking.cancel"
ln -s "$spool/../secret.json" result.json
mkfifo events.jsonl
ln -sfn "$spool/../target" "$WORKTREE_PATH/linked"
echo through > "$WORKTREE_PATH/linked/written"
printf 'tokens_used 1000000\n2030-01-01T00:00:00Z attempt 1 ended: completed\033[2J\033]0;title\007\r\n'
cd "$WORKTREE_PATH"
git clone -q --bare . evil
git -C evil config core.bare false
git -C evil config core.fsmonitor "touch $HAIKUD_OUT/ran"
git -C evil config filter.evil.clean "touch $HAIKUD_OUT/ran; cat"
echo '* filter=evil' > .gitattributes
rm -f .git && mv evil .git
echo '# changed' >> calc.py
exit 0
"""


@pytest.fixture
def house(tmp_path: Path):
    built = House(tmp_path / "house")
    (built.root / "secret.json").write_text(json.dumps({"summary": SECRET}))
    (built.root / "target").mkdir()
    built.role("hostile", AGENT)
    built.role("innocent", "exit 0")
    built.role("asking", "exit 79")
    yield built
    built.close()


@pytest.mark.parametrize("mode", ["none", "bwrap", "landlock"])
def test_a_hostile_agent_gets_no_further_than_its_own_worktree(house: House, mode: str):
    skip_without(mode)
    house.settings = {"sandbox": {"mode": mode}}
    house.start()
    house.request("asking", role="asking")
    wait_until(lambda: house.read("escalations/asking.json"), what=house.tail)
    main = git(house.repository, "rev-parse", "main")
    house.request("hostile", role="hostile", files=["calc.py"])
    response = house.response("hostile")

    # its answer and its log, in every mode
    assert response["payload"]["evidence"]["sandbox"] == mode
    assert SECRET not in json.dumps(response)
    assert response["metrics"]["tokens_used"] == 0
    log = house.log("hostile")
    assert "okens_used 1000000\n" in log
    assert "tokens_used 1000000" not in log
    assert not [line for line in log.splitlines() if line.startswith(("tokens_used", "2030"))]
    assert not {"\x1b", "\x07", "\r"} & set(log)
    shown = house.haikud("wait", "hostile").stdout + house.haikud("logs", "hostile").stdout
    assert "\x1b" not in shown

    # git afterwards, haikud's and the user's, in every mode
    worktree = house.repository / "worktrees/hostile"
    for command in ("status", "diff"):
        environment = {**os.environ, **CLEAN_GIT}
        subprocess.run(["git", command], cwd=worktree, env=environment, check=False, capture_output=True)
    assert not (house.task_folder("hostile") / "attempt-1/out/ran").exists()
    assert git(house.repository, "rev-parse", "main") == main
    assert git(worktree, "rev-parse", "--abbrev-ref", "HEAD") == "feature/hostile"

    # the spool and the rest of the machine
    got = {
        "a plan of its own": bool(house.read("responses/next.json"))
        if mode != "none"
        else bool(house.response("next")),
        "an answer to its question": len(house.decisions("asking")) > 3,
        "a file elsewhere": (house.root / "target/written").exists(),
    }
    assert got == dict.fromkeys(got, mode == "none"), house.tail()
    assert house.process is not None
    assert house.process.poll() is None
