"""Success is what the runner measured; the agent's words change nothing."""

from __future__ import annotations

import pytest
from tests.support.house import House
from tests.support.repository import TEST_COMMAND, git

CLAIM = """echo '{"summary": "All done, all tests pass!"}' > "$HAIKUD_OUT/result.json" """

CASES = {
    "honest": ('echo "def sub(a, b): return a - b" >> calc.py; git commit -qam Sub', "success", None),
    "breaks-the-tests": ('echo "def add(a, b): return 0" >> calc.py; git commit -qam Break', "failure", "TEST_FAILURE"),
    "commits-nothing": ("true", "failure", "NO_COMMIT"),
    "leaves-it-uncommitted": ('echo "def sub(a, b): return a - b" >> calc.py', "success", None),
    "breaks-it-uncommitted": ('echo "def add(a, b): return 0" >> calc.py', "failure", "TEST_FAILURE"),
    "deletes-the-tests": ("git rm -q tests/test_calc.py; echo '#' >> calc.py; git commit -qam Gone", None, None),
}


@pytest.fixture
def answers(house: House) -> tuple[House, dict[str, dict]]:
    for name, (script, _, _) in CASES.items():
        house.role(name, f"{script}\n{CLAIM}")
    house.start()
    for name in CASES:
        house.request(name, role=name, files=["calc.py"], context={"test_command": TEST_COMMAND})
    return house, {name: house.response(name) for name in CASES}


def test_the_answer_agrees_with_git_and_not_with_the_words(answers: tuple[House, dict[str, dict]]):
    house, responses = answers
    for name, (_, status, code) in CASES.items():
        response = responses[name]
        payload = response["payload"]
        if status:
            assert response["status"] == status, (name, response)
        if code:
            assert payload["error_report"]["error"]["code"] == code
        branch = f"feature/{name}"
        assert payload["branch"] == branch
        assert payload["worktree"] == f"worktrees/{name}"
        assert payload["commits"] == int(git(house.repository, "rev-list", "--count", f"main..{branch}"))
        assert payload["files_changed"] == git(house.repository, "diff", "--name-only", f"main..{branch}").split()
        assert payload["evidence"]["head_sha"] == git(house.repository, "rev-parse", branch)
        assert payload["evidence"]["base_sha"] == git(house.repository, "rev-parse", "main")
        worktree = house.repository / "worktrees" / name
        assert git(worktree, "status", "--porcelain") == ""
        assert git(worktree, "rev-parse", "--abbrev-ref", "HEAD") == branch
        assert payload["tests_passing"] is (response["status"] == "success" or name == "commits-nothing")
        assert git(house.repository, "status", "--porcelain") == ""

    assert responses["leaves-it-uncommitted"]["payload"]["evidence"]["committed_by_runner"] is True
    assert responses["honest"]["payload"]["evidence"]["committed_by_runner"] is False
    deleted = responses["deletes-the-tests"]["payload"]
    assert deleted["evidence"]["tests_touched"] == ["D tests/test_calc.py"]
    assert any("test" in warning for warning in deleted["warnings"])
