"""A conversation goes on in the next attempt: nothing is done twice, nothing is said twice."""

from __future__ import annotations

import pytest
from tests.support.made import make_given
from tests.support.messages_double import Answer, MessagesDouble, calls, says

from haikud.contracts.transcript import LineKind

QUESTION = {"reason": "Two ways", "blocker": "b", "context": ["c"], "options": ["1", "2"], "recommendation": "1"}


def last_message(api: MessagesDouble) -> dict:
    return api.journal[-1].body["messages"][-1]


def cut_off_transcript(desk, keep: int) -> None:
    """As a crash would leave it after `keep` whole lines, in the middle of the next."""
    path = desk.folder / "transcript.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:keep]) + lines[keep][:20])


def test_a_question_ends_the_attempt_and_the_answer_is_the_next_message(desk):
    asks = Answer(
        [
            {"type": "tool_use", "id": "toolu_1", "name": "escalate", "input": QUESTION},
            {"type": "tool_use", "id": "toolu_2", "name": "bash", "input": {"command": "touch made"}},
        ],
        stop_reason="tool_use",
    )
    with MessagesDouble([asks, says("Done.")]) as api:
        end = desk.run(api.base_url)
        assert end.kind == "escalated"
        assert end.question is not None
        assert end.question.model_dump(exclude={"error_details"}) == QUESTION
        assert not (desk.worktree / "made").exists()

        again = desk.run(api.base_url)  # the runner died before it could tell anyone
        assert (again.kind, again.question) == ("escalated", end.question)
        assert len(api.journal) == 1

        desk.run(api.base_url, guidance=[make_given("Take two.", question="Two ways")])
    content = last_message(api)["content"]
    assert [block["type"] for block in content] == ["tool_result", "tool_result", "text"]
    assert content[-1]["text"] == "Guidance from the requester: Take two."


def test_a_question_whose_result_was_not_recorded_is_asked_all_the_same(desk):
    with MessagesDouble([calls("escalate", "toolu_1", **QUESTION)]) as api:
        desk.run(api.base_url)
        kinds = [line.kind for line in desk.transcript()]
        cut_off_transcript(desk, kinds.index(LineKind.TOOL_RESULT))
        end = desk.run(api.base_url)
    assert end.kind == "escalated"
    assert end.question is not None
    assert end.question.reason == "Two ways"


def test_a_question_without_a_reason_is_sent_back_to_the_model(desk):
    with MessagesDouble([calls("escalate", options=["1"]), says("Done.")]) as api:
        assert desk.run(api.base_url).kind == "done"
    assert last_message(api)["content"][0]["is_error"]


def test_guidance_is_said_once_however_often_the_attempt_is_broken_off(desk):
    given = {"guidance": [make_given("Take two.", question="Two ways")]}
    with MessagesDouble([calls("escalate", **QUESTION), says("Cut", broken="cut"), says("Done.")]) as api:
        desk.run(api.base_url)
        assert desk.run(api.base_url, **given, api={"tries": 1}).kind == "failed"
        assert desk.run(api.base_url, **given).kind == "done"
        assert str(last_message(api)).count("Take two.") == 1
        desk.run(api.base_url, guidance=[*given["guidance"], make_given("Take three.", 2, question="Three ways")])
    said = str(api.journal[-1].body["messages"])
    assert (said.count("Take two."), said.count('to the question "Three ways": Take three.')) == (1, 1)


def test_an_answer_that_a_crash_cut_off_is_said_whole_before_the_model_speaks(desk):
    given = [make_given("Take two.", question="Two ways")]
    with MessagesDouble([calls("escalate", **QUESTION), says("Done.")]) as api:
        desk.run(api.base_url)
        before = len(desk.transcript())
        desk.stop.set()  # the runner dies after the answer's line, and before the call
        assert desk.run(api.base_url, guidance=given).kind == "stopped"
        assert len(api.journal) == 1
        cut_off_transcript(desk, before + 1)  # or in the middle of that line
        desk.stop.clear()
        assert desk.run(api.base_url, guidance=given).kind == "done"
    assert str(last_message(api)).count("Take two.") == 1


def test_a_fresh_conversation_and_another_model_hear_every_answer_again(desk):
    answers = [make_given("Take two.", question="Two ways"), make_given("", 2, question="And now?", action="retry")]
    with MessagesDouble([calls("escalate", **QUESTION), says("Done.")]) as api:
        desk.run(api.base_url)
        desk.run(api.base_url, guidance=answers, fresh=True, role={"model": "claude-sonnet-5-5"})
    (message,) = api.journal[1].body["messages"]
    texts = [block["text"] for block in message["content"]]
    assert texts[1] == 'Guidance from the requester, to the question "Two ways": Take two.'
    assert texts[2].startswith('Guidance from the requester, to the question "And now?": Begin afresh.')


def test_a_question_without_its_error_gets_that_of_the_command_that_failed_last(desk):
    fails = calls("bash", "toolu_1", command="echo 'Received 0 times'; exit 1")
    works = calls("bash", "toolu_2", command="true")
    with MessagesDouble([fails, calls("escalate", **QUESTION), works, calls("escalate", "toolu_3", **QUESTION)]) as api:
        end = desk.run(api.base_url)
        assert end.question is not None
        assert "Received 0 times" in end.question.error_details
        again = desk.run(api.base_url, guidance=[make_given("Try again.", question="Two ways")])
    assert again.question is not None
    assert again.question.error_details == ""


def test_done_is_told_again_without_a_call_unless_there_is_something_to_say(desk):
    with MessagesDouble([says("Done."), says("Mended.")]) as api:
        assert desk.run(api.base_url).kind == "done"
        again = desk.run(api.base_url, api_key=None)
        assert (again.kind, again.summary, again.usage.requests) == ("done", "Done.", 0)
        mended = desk.run(api.base_url, resume_note="The tests failed: 1 != 2.")
    assert mended.summary == "Mended."
    assert [message["role"] for message in api.journal[1].body["messages"]] == ["user", "assistant", "user"]
    assert last_message(api)["content"][0]["text"] == "The tests failed: 1 != 2."


def test_a_fresh_start_leaves_the_old_conversation_behind(desk):
    with MessagesDouble([says("Done."), says("Done anew.")]) as api:
        desk.run(api.base_url)
        end = desk.run(api.base_url, fresh=True)
        assert end.summary == "Done anew."
        assert desk.run(api.base_url).summary == "Done anew."
    assert len(api.journal[1].body["messages"]) == 1


def test_a_call_without_a_recorded_result_is_not_made_again(desk):
    with MessagesDouble([calls("bash", "toolu_1", command="echo x >> count"), says("Cut", broken="cut")]) as api:
        desk.run(api.base_url, api={"tries": 1})
    kinds = [line.kind for line in desk.transcript()]
    cut_off_transcript(desk, kinds.index(LineKind.TOOL_RESULT))
    with MessagesDouble([says("Done.")]) as api:
        assert desk.run(api.base_url).kind == "done"
    result = last_message(api)["content"][0]
    assert result["tool_use_id"] == "toolu_1"
    assert result["is_error"]
    assert "may or may not have happened" in result["content"][0]["text"]
    assert (desk.worktree / "count").read_text() == "x\n"


@pytest.mark.parametrize("ids", ["same", "different"])
def test_a_conversation_broken_off_anywhere_goes_on_to_its_end(desk, ids):
    """Cut the transcript after each of its lines in turn: every rest must lead to a request that the API takes."""
    steps = [calls("bash", f"toolu_{n if ids == 'different' else 0}", command=f"echo {n}") for n in range(3)]
    with MessagesDouble([*steps, says("Done.")]) as api:
        desk.run(api.base_url)
    path = desk.folder / "transcript.jsonl"
    whole = path.read_bytes().splitlines(keepends=True)
    for keep in range(len(whole)):
        path.write_bytes(b"".join(whole[:keep]))
        with MessagesDouble([says("Done.")]) as api:
            assert desk.run(api.base_url).kind == "done"
        messages = api.journal[0].body["messages"]
        assert [m["role"] for m in messages] == ["user", "assistant"] * (len(messages) // 2) + ["user"]
        for turn, answer in zip(messages[1::2], messages[2::2], strict=True):
            used = [block["id"] for block in turn["content"] if block["type"] == "tool_use"]
            assert [block["tool_use_id"] for block in answer["content"] if block["type"] == "tool_result"] == used


def test_thinking_of_another_model_is_left_out(desk):
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {"command": "true"}},
    ]
    with MessagesDouble([Answer(blocks, stop_reason="tool_use"), says("Done.")]) as api:
        desk.run(api.base_url, limits={"max_turns": 1})
        desk.run(api.base_url, role={"model": "claude-sonnet-5-5"})
    assert [block["type"] for block in api.journal[1].body["messages"][1]["content"]] == ["tool_use"]


def test_a_broken_transcript_is_told_and_not_guessed_at(desk):
    (desk.folder / "transcript.jsonl").write_text('{"broken\n')
    with MessagesDouble([]) as api:
        end = desk.run(api.base_url)
    assert end.error is not None
    assert end.error.code == "TRANSCRIPT_UNREADABLE"
