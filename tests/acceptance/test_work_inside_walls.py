"""What developers do all day works inside the walls: git, npm, pytest, a compiler, node; each mode in one daemon's run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.support.house import House
from tests.support.npm_registry import NAME, npm_registry
from tests.support.repository import git
from tests.support.walls import skip_without

NPM = shutil.which("npm") is not None
GCC = shutil.which("gcc") is not None

GIT = r"""
git status --short
echo "def sub(a, b): return a - b" >> calc.py
git diff > "$TMPDIR/diff"
grep -q "^+def sub" "$TMPDIR/diff"
git stash
git stash pop
git add calc.py
git commit -q -m "Add sub"
git log -p -1 > "$TMPDIR/log"
grep -q "^+def sub" "$TMPDIR/log"
git branch tried
git checkout -q tried
git commit -q --allow-empty -m "Try"
git checkout -q "$BRANCH_NAME"
git merge -q --no-ff -m "Merge what was tried" tried
git branch -d tried
git tag -a -m "A tag" v1
git rebase -q HEAD~1
git reset -q --hard v1
git gc -q
git fsck --no-dangling
git clone -q . "$TMPDIR/clone"
git init -q "$TMPDIR/fresh"
"""

NODE = r"""
npm install --no-audit --no-fund --registry "http://127.0.0.1:$REGISTRY_PORT/" --cache "$TMPDIR/npm" {name}
node -e 'if (require("{name}")(21) !== 42) process.exit(1); require("child_process").execSync("true")'
echo node_modules/ >> .gitignore
git add .gitignore package.json package-lock.json
git commit -q -m "Depend"
"""

COMPILER = r"""
printf '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n' > "$TMPDIR/made.c"
gcc -O1 -o "$TMPDIR/made" "$TMPDIR/made.c"
[ "$("$TMPDIR/made")" = compiled ]
"""

PYTHON = r"""
printf 'import calc\n\ndef test_sub(tmp_path, capsys):\n    assert calc.sub(3, 1) == 2\n' > test_sub.py
python -m pytest -q -p no:cacheprovider test_sub.py
python -c 'import multiprocessing as m; p = m.Process(target=print); p.start(); p.join(); assert p.exitcode == 0'
git add test_sub.py
git commit -q -m "Test sub"
"""


@pytest.mark.parametrize("mode", ["bwrap", "landlock"])
def test_git_npm_pytest_gcc_and_node_work(house: House, mode: str):
    skip_without(mode)
    parts = [GIT, NODE.replace("{name}", NAME) if NPM else "", COMPILER if GCC else "", PYTHON]
    house.role("worker", "set -euxo pipefail" + "".join(parts))
    with npm_registry() as port:
        house.settings = {
            "sandbox": {
                "mode": mode,
                "readable": [str(Path(pytest.__file__).parents[1])],  # where the tests' own Python keeps its packages
                "hosts": [f"127.0.0.1:{port}"],
            },
            "environment": {"set_values": {"REGISTRY_PORT": str(port)}},
        }
        # pytest looks for its settings upwards; who sees a name there and may not open it fails before the first test.
        (house.repository / "pyproject.toml").write_text("[project]\nname = 'calc'\n")
        git(house.repository, "add", "pyproject.toml")
        git(house.repository, "commit", "-q", "-m", "Settings")
        house.start()
        command = "python -m pytest -q -p no:cacheprovider test_sub.py"
        house.request("work", role="worker", files=["calc.py"], context={"test_command": command})
        response = house.response("work", seconds=100)
    assert response["status"] == "success", f"{response}\n{house.log('work')}"
    assert response["payload"]["evidence"]["sandbox"] == mode
    assert response["payload"]["tests_passing"] is True
    subjects = git(house.repository, "log", "--format=%s", "main..feature/work").splitlines()

    assert {"Test sub", "Add sub", "Merge what was tried", *(["Depend"] if NPM else [])} <= set(subjects)
    assert git(house.repository, "tag") == ""
    assert git(house.repository / "worktrees/work", "status", "--short") == ""
    assert os.path.lexists(house.repository / "worktrees" / "work" / "node_modules") == NPM
