"""What stands in the conversation already is not sent again, and nothing is ever withheld."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.agent.haiku.test_caching import order_for, run_to_its_end
from tests.support.repository import make_repository

from haikud.agent.haiku.context import gather_context
from haikud.agent.haiku.conversation import Clearing, Conversation
from haikud.agent.haiku.repeats import FIRST_MESSAGE, Repeat, find_repeat
from haikud.agent.haiku.transcript import Transcript
from haikud.contracts.settings import ContextSettings
from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

EDITOR = "str_replace_based_edit_tool"
LONG = "\n".join(f"line {number} of a file" for number in range(100))
NUMBERED = "\n".join(f"{number:6}\tline {number - 1} of a file" for number in range(1, 101))


class Talk:
    """A conversation in the making, with a transcript as a session has it."""

    def __init__(self, folder: Path, first: str = "Do it.") -> None:
        self.transcript = Transcript(folder / "transcript.jsonl", 1)
        self.transcript.say(first, "assignment")
        self.conversation = self.transcript.conversation
        self._number = 0

    def call(self, name: str, text: str, **given: Any) -> Repeat | None:
        """The model makes a call whose result is `text`; what is recorded is what the loop would record."""
        self._number += 1
        use = {"type": "tool_use", "id": f"toolu_{self._number}", "name": name, "input": given}
        self.transcript.record_turn([use], "m", "tool_use", None)
        repeat = find_repeat(self.conversation, use, text)
        said = repeat.note if repeat else text
        self.transcript.record_result(use, said, is_error=False, same_as=repeat.same_as if repeat else "")
        return repeat


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk(tmp_path)


def test_the_same_file_seen_again_is_a_note_and_the_next_time_the_file(talk: Talk):
    view = partial(talk.call, EDITOR, command="view", path="a.py")
    assert view(NUMBERED) is None
    talk.call("bash", "ok", command="true")
    repeat = view(NUMBERED)
    assert repeat is not None
    assert repeat.same_as == "toolu_1"
    assert repeat.note == (
        "[Unchanged: the same 100 lines stand in the result of `view a.py`, 2 turns back. Repeat the call to see them"
        " again.]"
    )
    assert view(NUMBERED) is None  # asked once more: it gets what it asks for
    assert view(NUMBERED) is not None


def test_a_changed_file_is_always_shown(talk: Talk):
    view = partial(talk.call, EDITOR, command="view", path="a.py")
    view(NUMBERED)
    assert view(NUMBERED.replace("line 50", "LINE 50")) is None


def test_a_part_of_what_was_seen_is_a_note_whoever_asks(talk: Talk):
    talk.call(EDITOR, NUMBERED, command="view", path="a.py")
    part = "\n".join(NUMBERED.split("\n")[20:80])
    assert talk.call(EDITOR, part, command="view", path="a.py", view_range=[21, 80]) is not None
    assert talk.call("bash", part, command="cat -n a.py | sed -n '21,80p'") is not None
    assert talk.call(EDITOR, f"{part}\n   999\tmore", command="view", path="a.py", view_range=[21, 81]) is None
    assert talk.call("bash", part[5:], command="tail -c 2000 a.py") is None  # whole lines only


def test_the_end_of_an_output_is_told(talk: Talk):
    talk.call("bash", f"{LONG}\n[exit code 1]", command="make")
    repeat = talk.call("bash", f"{LONG}\n[exit code 1]", command="make")
    assert repeat is not None
    assert repeat.note.endswith(
        "the result of `make` above. Repeat the call to see them again.] Its last line: [exit code 1]"
    )


def test_small_results_are_sent_as_they_are(talk: Talk):
    assert talk.call("bash", "short", command="true") is None
    assert talk.call("bash", "short", command="true") is None


def test_what_the_first_message_has_is_not_sent_again_with_line_numbers(tmp_path: Path):
    talk = Talk(tmp_path, f'Do it.\n<file path="a.py">\n{LONG}\n</file>')
    repeat = talk.call(EDITOR, NUMBERED, command="view", path="a.py")
    assert repeat is not None
    assert repeat.same_as == FIRST_MESSAGE
    assert talk.call("bash", LONG, command="cat a.py") is not None
    assert talk.call("bash", LONG.replace("file", "folder"), command="cat b.py") is None


def test_what_was_cleared_is_shown_again(talk: Talk):
    view = partial(talk.call, EDITOR, command="view", path="a.py")
    view(NUMBERED)
    talk.call("bash", LONG, command="cat b.py")
    talk.transcript.note_cleared(Clearing(1))
    assert view(NUMBERED) is None
    assert talk.call("bash", LONG, command="tail -n +1 b.py") is not None  # that one is still there
    assert view(NUMBERED) is not None  # and so is the file now


def test_a_later_attempt_knows_it_too(tmp_path: Path, talk: Talk):
    view = {"command": "view", "path": "a.py"}
    talk.call(EDITOR, NUMBERED, **view)
    use = {"type": "tool_use", "id": "toolu_9", "name": EDITOR, "input": view}
    later = Transcript(tmp_path / "transcript.jsonl", 2).conversation
    assert find_repeat(later, use, NUMBERED) is not None
    talk.call(EDITOR, NUMBERED, **view)
    later = Transcript(tmp_path / "transcript.jsonl", 2).conversation
    assert find_repeat(later, use, NUMBERED) is None


def test_an_empty_conversation_has_nothing(talk: Talk):
    use = {"type": "tool_use", "id": "t", "name": "bash", "input": {"command": "x"}}
    talk.conversation = Conversation(talk.conversation.lines)
    assert find_repeat(talk.conversation, use, LONG) is None


@pytest.mark.parametrize("notes", [True, False])
def test_in_a_session_a_file_is_sent_once(tmp_path: Path, notes: bool):
    repository = make_repository(tmp_path / "project", {"a.py": LONG + "\n", "b.py": "x = 1\n"})
    view = {"name": EDITOR, "input": {"command": "view", "path": "a.py"}}
    cat = {"name": "bash", "input": {"command": "cat a.py"}}
    turns = [{"tools": [view]}, {"tools": [view, cat]}, {"tools": [cat]}, {"text": "Done."}]
    with ScriptedApi(parse_scenario({"name": "v", "conversations": [{"turns": turns}]})) as api:
        order = order_for(tmp_path, repository, api, context=ContextSettings.model_validate({"note_repeats": notes}))
        gather = partial(gather_context, repository, ["a.py"], 8_000)
        assert run_to_its_end(dataclasses.replace(order, gather_context=gather)).kind == "done"
        sent = str(api.journal[-1].body["messages"])
    # The first message; with notes the second view, asked for once more; and `cat` after its note.
    assert sent.count("line 50 of a file") == (3 if notes else 5)
    assert (tmp_path / "agent.log").read_text().count("line 50 of a file") == 2  # people see what commands print
