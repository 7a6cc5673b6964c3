"""The answers on a task, in the words in which agents get them."""

from __future__ import annotations

import pytest
from tests.support.made import make_given

from haikud.agent.guidance import MOST_CHARACTERS, message_of, text_of, words_of
from haikud.contracts.guidance import GuidanceAction


def test_one_answer_is_its_words_and_several_stand_under_their_questions():
    first, second = make_given("Take two.\n", question="which\nheader?"), make_given("Both.", 2)
    assert text_of([first]) == "Take two.\n"
    assert text_of([first, second]) == "## t.e1: which header?\nTake two.\n\n## t.e2\nBoth.\n"


@pytest.mark.parametrize("action", list(GuidanceAction))
def test_an_answer_without_words_still_says_something(action: GuidanceAction):
    assert len(words_of(make_given(" ", action=action))) > 10


def test_the_model_is_told_which_question_was_answered_where_it_has_not_asked_itself():
    given = make_given("Take two.", question="Two ways")
    assert message_of(given, is_its_own=True, file=None) == "Guidance from the requester: Take two."
    told = message_of(given, is_its_own=False, file=None)
    assert told == 'Guidance from the requester, to the question "Two ways": Take two.'


def test_a_long_answer_is_cut_and_says_where_the_rest_is():
    told = message_of(make_given("x" * MOST_CHARACTERS + "the end"), is_its_own=True, file="/a/guidance.txt")
    assert "the end" not in told
    assert told.endswith("[cut here, 7 characters more; all of it stands in /a/guidance.txt]")
