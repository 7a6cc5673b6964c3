"""Whatever a model asks of a tool, it gets a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from haikud.agent.events import EventLog
from haikud.agent.haiku.tools.bash import Shell
from haikud.agent.haiku.tools.registry import Toolbox, summary_of
from haikud.contracts.settings import LimitSettings
from haikud.sandbox.isolation import NO_SANDBOX
from haikud.spool.agent_log import AgentLog


@pytest.fixture
def toolbox(tmp_path: Path):
    (tmp_path / "worktree").mkdir()
    log = AgentLog(tmp_path / "agent.log")
    limits = LimitSettings.model_validate({"tool_output_bytes": 1024})
    events = EventLog(tmp_path / "events.jsonl")
    environment = {"PATH": "/usr/bin:/bin"}
    shell = Shell(tmp_path / "worktree", environment, limits, NO_SANDBOX, log, events, lambda: False)
    yield Toolbox(["bash", "edit"], shell)
    log.close()


@pytest.mark.parametrize(
    ("role_tools", "offered"),
    [
        ((), []),
        (("view",), ["view"]),
        (("edit",), ["str_replace_based_edit_tool"]),
        (("edit", "view"), ["str_replace_based_edit_tool"]),
        (("bash", "view"), ["bash", "view"]),
        (("bash", "edit", "view"), ["bash", "str_replace_based_edit_tool"]),
    ],
)
def test_only_what_the_role_has_is_offered_and_only_that_works(
    toolbox: Toolbox, tmp_path: Path, role_tools: tuple[str, ...], offered: list[str]
):
    mine = Toolbox(role_tools, toolbox._shell)
    assert [one["name"] for one in mine.definitions] == [*offered, "report_progress", "escalate"]
    (tmp_path / "worktree" / "old.txt").write_text("one\n")
    asked = {
        "bash": {"command": "touch ran"},
        "str_replace_based_edit_tool": {"command": "create", "path": "made", "file_text": "x"},
        "view": {"command": "create", "path": "old.txt", "file_text": "changed"},
    }
    for name, given in asked.items():
        outcome = mine.use(tool_use(name, **given))
        assert outcome.is_error is (name not in offered)
        assert ("there is no such tool" in outcome.text) is (name not in offered)
    assert (tmp_path / "worktree" / "ran").exists() is ("bash" in offered)
    assert (tmp_path / "worktree" / "made").exists() is ("edit" in role_tools)
    assert (tmp_path / "worktree" / "old.txt").read_text() == "one\n"


def tool_use(name: str, **given: Any) -> dict:
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": given}


@pytest.mark.parametrize(
    "asked",
    [
        tool_use("nonesuch"),
        tool_use("bash"),
        tool_use("bash", command=["ls"]),
        tool_use("bash", command="a\0b"),
        tool_use("str_replace_based_edit_tool"),
        tool_use("str_replace_based_edit_tool", command="view", path="/etc/shadow"),
        tool_use("report_progress", percent=120, message="x"),
        tool_use("report_progress", percent="many", message="x"),
        tool_use("report_progress", message="x"),
        tool_use("escalate", reason=""),
        tool_use("escalate", reason={"a": 1}),
    ],
    ids=summary_of,
)
def test_nonsense_is_answered_with_an_error(toolbox: Toolbox, asked: dict):
    outcome = toolbox.use(asked)
    assert outcome.is_error
    assert outcome.text
    assert outcome.question is None


def test_clumsy_lists_make_a_question_all_the_same(toolbox: Toolbox):
    outcome = toolbox.use(tool_use("escalate", reason="why", context="one", options=[1, {"a": 2}], blocker=None))
    assert outcome.question is not None
    assert outcome.question.context == ["one"]
    assert outcome.question.options == ["1", "{'a': 2}"]


def test_a_file_name_that_is_no_utf8_can_be_listed(toolbox: Toolbox, tmp_path: Path):
    (tmp_path / "worktree" / b"odd\xff".decode("utf-8", "surrogateescape")).touch()
    toolbox.use(tool_use("str_replace_based_edit_tool", command="view", path=".")).text.encode()


def test_no_result_is_longer_than_allowed(toolbox: Toolbox, tmp_path: Path):
    for number in range(400):
        (tmp_path / "worktree" / f"a-rather-long-file-name-{number}").touch()
    text = toolbox.use(tool_use("str_replace_based_edit_tool", command="view", path=".")).text
    assert len(text) < 1400
    assert "left out" in text


def test_the_same_use_is_summed_up_alike_and_another_one_differently():
    use = tool_use("bash", command="pytest -q\nls")
    assert summary_of(use) == summary_of(dict(use))
    assert summary_of(use).startswith("bash: pytest -q [")
    assert summary_of(use) != summary_of(tool_use("bash", command="pytest -q\npwd"))
    edit = "str_replace_based_edit_tool"
    assert summary_of(tool_use(edit, command="view", path="a.py")) == f"{edit}: view a.py"
    ranges = [tool_use(edit, command="view", path="a.py", view_range=[n, n + 9]) for n in range(5)]
    assert len({summary_of(use) for use in ranges}) == 5


def test_the_log_says_what_was_done_and_what_came_of_it(toolbox: Toolbox, tmp_path: Path):
    toolbox.use(tool_use("report_progress", percent=75, message="committed"))
    log = (tmp_path / "agent.log").read_text()
    assert log == "agent | report_progress: 75 committed\nagent | Noted.\n"


def test_the_model_sees_marks_is_told_of_them_and_cannot_write_them_back(toolbox: Toolbox, tmp_path: Path):
    editor, file = "str_replace_based_edit_tool", tmp_path / "worktree" / "config.ini"
    text = f"host = a\ntoken = ghp_{'a1B2' * 9}\n"
    made = toolbox.use(tool_use(editor, command="create", path="config.ini", file_text=text))
    assert not made.is_error
    assert file.read_text() == text, "what the model itself has written is written as it was"
    for asked in (tool_use(editor, command="view", path="config.ini"), tool_use("bash", command="cat config.ini")):
        seen = toolbox.use(asked).text
        assert "token = [masked: GitHub token]" in seen
        assert "ghp_" not in seen
        assert seen.endswith("Never write a mark.]")
    wrong = tool_use(editor, command="create", path="config.ini", file_text="token = [masked: GitHub token]\n")
    assert toolbox.use(wrong).is_error
    right = tool_use(editor, command="str_replace", path="config.ini", old_str="host = a", new_str="host = b")
    assert not toolbox.use(right).is_error
    assert file.read_text() == text.replace("host = a", "host = b")
    assert "ghp_" not in (tmp_path / "agent.log").read_text() + (tmp_path / "events.jsonl").read_text()
