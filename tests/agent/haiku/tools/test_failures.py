"""What a failing result says: what is the same stays the same, and what is another error becomes another."""

from __future__ import annotations

import pytest

from haikud.agent.haiku.tools.failures import find_failure, judge_tests

PYTEST = """============ test session starts ============
collected 2 items

    def test_add():
>       assert add(1, 2) == {value}
E       assert 3 == {value}

tests/test_calc.py:{line}: AssertionError
FAILED tests/test_calc.py::test_add - assert 3 == {value}
===== 1 failed, 1 passed in {seconds}s =====
[exit code 1]"""


def digest(text: str, use: str = "use") -> str:
    return find_failure(text, use)[1]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            PYTEST.format(value=4, line=7, seconds="0.12"),
            PYTEST.format(value=4, line=7, seconds="3.01"),
            True,
        ),
        (PYTEST.format(value=4, line=7, seconds="1"), PYTEST.format(value=5, line=7, seconds="1"), False),
        (PYTEST.format(value=4, line=7, seconds="1"), PYTEST.format(value=4, line=9, seconds="1"), False),
        ("npm ERR! network at 12:01:02\n[exit code 1]", "npm ERR! network at 13:44:00\n[exit code 1]", True),
        ("error: open /tmp/a1b2/x\n[exit code 2]", "error: open /tmp/zz/x\n[exit code 2]", True),
        ("Error: `path` must be given as text.", "Error: `old_str` does not stand in calc.py.", False),
        ("bash: npm: command not found\n[exit code 127]", "bash: npm: command not found\n[exit code 127]", True),
    ],
)
def test_the_same_error_has_the_same_digest(one: str, other: str, same: bool):
    assert (digest(one) == digest(other)) is same


def test_a_failure_without_a_word_is_one_of_its_very_use():
    grep = "[exit code 1]"
    assert digest(grep, "grep foo") != digest(grep, "grep bar")
    assert digest(grep, "grep foo") == digest(grep, "grep foo")


def test_the_line_for_people_is_the_telling_one():
    assert find_failure("collecting\nE   ImportError: no module named x\ndone\n[exit code 2]", "u")[0] == (
        "E   ImportError: no module named x"
    )
    assert find_failure("[exit code 1]", "u")[0] == "[exit code 1]"


@pytest.mark.parametrize(
    ("command", "text", "failed", "expected"),
    [
        ("ls", "1 failed", True, None),
        ("cd /w && make   spec", "", True, "failing"),
        ("make spec", "", False, "passing"),
        ("make spec 2>&1 | tail -3", "1 failed, 2 passed in 3s", False, "failing"),
        ("python3 -m pytest -q", "3 passed in 0.1s", False, "passing"),
        ("npm run test:unit", "", True, "failing"),
        ("cat pytest.ini.bak", "", False, None),
    ],
)
def test_runs_of_the_tests_are_known(command: str, text: str, failed: bool, expected: str | None):
    assert judge_tests(command, "make spec", text, failed=failed) == expected
