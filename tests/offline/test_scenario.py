"""Scenarios: what is wrong with one is said when it is loaded; which line is due follows from the history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.offline.asking import request, user

from haikud.offline.refusals import Refused
from haikud.offline.scenario import ScenarioError, builtin_names, load_scenario, parse_scenario
from haikud.offline.script import find_line


def scenario(*turns: dict[str, Any], **conversation: Any) -> dict[str, Any]:
    return {"name": "test", "conversations": [{"name": "talk", "turns": list(turns), **conversation}]}


def assistant(text: str = "Yes.") -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def said(document: dict[str, Any], *messages: dict[str, Any], **more: Any) -> str:
    """The text of the line that is due."""
    return find_line(parse_scenario(document), request(*messages, **more)).pieces("salt")[0].body


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "the whole document"),
        ({"name": "x"}, "conversations: Field required"),
        (scenario(), "turns"),
        (scenario({"txt": "x"}), r"conversations\.0\.turns\.0\.txt: unknown key"),
        (scenario({}), "needs text, tools, thinking"),
        (scenario({"text": "x", "fault": {"kind": "explode"}}), "explode"),
        (scenario({"text": "x", "fault": {"kind": "stall"}}), "seconds: Field required"),
        (scenario({"text": "x", "fault": {"kind": "status", "status": 200}}), "greater than or equal to 400"),
        (scenario({"text": "x", "stop_reason": "bored"}), "stop_reason"),
        (scenario({"branches": [{"when": "(", "text": "x"}]}), "not a regular expression"),
        (scenario({"text": "x"}, match={"model": "["}), "not a regular expression"),
        (scenario({"text": "x", "next": "nowhere"}), "no turn has the label 'nowhere'"),
        (scenario({"text": "x", "label": "a"}, {"text": "y", "label": "a"}), "labels given twice: a"),
        (scenario({"text": "{{wroktree}}"}), r"unknown placeholder \{\{wroktree\}\}; known: title, worktree"),
        (scenario({"tools": [{"name": "t", "input": {"a": [{"b": "{{who}}"}]}}]}), "unknown placeholder"),
        (scenario({"text": "x"}, find={"branch": "no group"}), "needs a group"),
    ],
)
def test_a_bad_scenario_is_refused_with_its_place(document: Any, words: str):
    with pytest.raises(ScenarioError, match=words):
        parse_scenario(document)


def test_a_file_that_is_no_scenario(tmp_path: Path):
    with pytest.raises(ScenarioError, match="echo, logout"):
        load_scenario("unheard-of")
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [")
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(broken)


def test_the_built_in_scenarios_are_sound():
    assert builtin_names() == ["echo", "logout"]
    for name in builtin_names():
        assert load_scenario(name).name == name


def test_the_first_conversation_that_matches_answers():
    document = {
        "name": "test",
        "conversations": [
            {"match": {"model": "sonnet"}, "turns": [{"text": "Sonnet."}]},
            {"match": {"system": "(?i)tester", "first_message": "alpha"}, "turns": [{"text": "Both."}]},
            {"match": {"first_message": "alpha"}, "turns": [{"text": "Alpha."}]},
        ],
    }
    assert said(document, user("alpha"), model="claude-sonnet-5-5") == "[scripted] Sonnet."
    assert said(document, user("alpha"), system="You are a tester.") == "[scripted] Both."
    assert said(document, user("alpha"), system="You are a writer.") == "[scripted] Alpha."
    with pytest.raises(Refused, match="no conversation matches"):
        said(document, user("beta"))


def test_a_branch_is_chosen_by_what_the_user_side_said_last():
    document = scenario(
        {"text": "Start."},
        {"text": "Neither.", "branches": [{"when": "FAILED", "text": "Failed."}, {"when": r"\bOK\b", "text": "Good."}]},
    )
    start = (user("go"), assistant())
    assert said(document, *start, user("Ran 3 tests\nOK")) == "[scripted] Good."
    assert said(document, *start, user("FAILED, not OK")) == "[scripted] Failed."
    assert said(document, *start, user("?")) == "[scripted] Neither."
    result = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "OK"}]}
    assert said(document, *start, {"role": "user", "content": [result]}) == "[scripted] Good."


def test_a_turn_with_branches_alone_says_so_when_none_matches():
    document = scenario({"branches": [{"when": "OK", "text": "Good."}]})
    with pytest.raises(Refused, match=r"talk, turn 1: no branch matches: 'Hm\.'"):
        said(document, user("Hm."))


def test_labels_lead_back_and_the_way_is_replayed_from_the_history():
    document = scenario(
        {"label": "ask", "text": "Ready?", "branches": [{"when": "stop", "text": "Bye.", "next": "end"}]},
        {"text": "Again.", "next": "ask"},
        {"label": "end", "text": "Ended.", "next": "end"},
    )
    words = ["a", "b", "c", "stop", "d", "e"]
    history: list[dict[str, Any]] = []
    heard = []
    for word in words:
        history.append(user(word))
        heard.append(said(document, *history))
        history.append(assistant())
    assert heard == [f"[scripted] {text}" for text in ("Ready?", "Again.", "Ready?", "Again.", "Ready?", "Again.")]
    history = [user("stop"), assistant(), user("x"), assistant(), user("y")]
    assert said(document, *history) == "[scripted] Ended."


def test_a_script_that_is_over_says_so():
    with pytest.raises(Refused, match="talk is over: it has 1 turns"):
        said(scenario({"text": "Once."}), user("go"), assistant(), user("more"))


def test_text_is_marked_once():
    assert said(scenario({"text": "[scripted] Hi."}), user("go")) == "[scripted] Hi."


@pytest.mark.parametrize(
    ("first", "worktree"),
    [
        ("Worktree: /srv/repo/worktrees/a", "/srv/repo/worktrees/a"),
        ("You work in /srv/a b/worktrees/c.d, on branch feature/c.d.\nTask: x", "/srv/a b/worktrees/c.d"),
        ("You work in /srv/plans/x/out/workspace.\nTask: mend the worktree /y", "/srv/plans/x/out/workspace"),
        ("Task: x\n- **Worktree:** /srv/a b/c\nMore.", "/srv/a b/c"),
        ("Your worktree is `/srv/a b/c`. Stay there.", "/srv/a b/c"),
        ("Worktree: /srv/a/b. Stay there.", "/srv/a/b"),
        ("worktree: /srv/a on branch feature/x", "/srv/a"),
        ("You work in the git worktree /srv/a/b, nowhere else.", "/srv/a/b"),
        ("WORKTREE_PATH=/srv/a", "/srv/a"),
        ("Working directory: /srv/a (a worktree)", "/srv/a"),
    ],
)
def test_the_worktree_is_found_however_it_is_put(first: str, worktree: str):
    assert said(scenario({"text": "{{worktree}}"}), user(first)) == f"[scripted] {worktree}"


def test_placeholders_of_all_kinds():
    document = scenario(
        {"text": "{{title}} | {{ who }} | {{branch}} | {{worktree}}"},
        match={"first_message": "by (?P<who>[a-z]+)"},
        find={"branch": "(feature/[a-z-]+)", "worktree": "folder=(.*)"},
    )
    first = "Title: Fix it\nby ada, on feature/fix-it\nWorktree: /not/this\nfolder=/this"
    assert said(document, user(first)) == "[scripted] Fix it | ada | feature/fix-it | /this"
    with pytest.raises(Refused, match=r"nothing for \{\{branch\}\}"):
        said(document, user("Title: Fix it\nby ada\nfolder=/this"))


def test_ids_of_tool_calls_differ_between_turns_and_calls():
    line = find_line(parse_scenario(scenario({"tools": [{"name": "a"}, {"name": "a"}]})), request())
    ids = {piece.id for salt in ("one", "two") for piece in line.pieces(salt)}
    assert len(ids) == 4
