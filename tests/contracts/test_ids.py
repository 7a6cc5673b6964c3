"""Ids and task refs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from haikud.contracts.ids import Id, Ref, id_from_stem, is_usable_id, split_ref, task_ref

ID = TypeAdapter(Id)
REF = TypeAdapter(Ref)
GOOD = ["a", "0", "A-b_c", "x" * 100, "plan-001", "task-1", "All", "locks", "HEAD"]
BAD = ["", "-a", "_a", ".a", "a.b", "a b", "a/b", "../x", "x" * 101, "ä", "a\n", "a\0", "all", "lock", " a"]


@pytest.mark.parametrize("text", GOOD)
def test_usable_ids(text: str):
    assert is_usable_id(text)
    assert ID.validate_python(text) == text


@pytest.mark.parametrize("text", BAD)
def test_unusable_ids(text: str):
    assert not is_usable_id(text)
    with pytest.raises(ValidationError):
        ID.validate_python(text)


@given(st.text())
def test_both_checks_agree(text: str):
    try:
        ID.validate_python(text)
    except ValidationError:
        is_valid = False
    else:
        is_valid = True
    assert is_valid == is_usable_id(text)


@given(st.text(max_size=150))
def test_a_stem_always_gives_a_usable_id_with_room_for_a_suffix(stem: str):
    assert is_usable_id(f"{id_from_stem(stem)}-12345")
    assert is_usable_id(id_from_stem(stem))


@pytest.mark.parametrize(
    ("stem", "plan_id"),
    [
        ("plan-001", "plan-001"),
        ("my plan (final) v1.2", "my-plan-final-v1-2"),
        ("../../etc", "etc"),
        ("", "request"),
        ("äöü", "request"),
        ("all", "all-1"),
        ("lock", "lock-1"),
        ("_-x", "x"),
    ],
)
def test_ids_from_stems(stem: str, plan_id: str):
    assert id_from_stem(stem) == plan_id


def test_refs():
    assert task_ref("p", "t", only_task=False) == "p.t"
    assert task_ref("p", "t", only_task=True) == "p.t"
    assert task_ref("p", "p", only_task=True) == "p"
    assert task_ref("p", "p", only_task=False) == "p.p"
    for ref in ("p", "p.t", "p.p"):
        assert REF.validate_python(ref) == ref
    for ref in ("", ".t", "p.", "p.t.u", "p t"):
        with pytest.raises(ValidationError):
            REF.validate_python(ref)


@given(st.sampled_from(GOOD), st.sampled_from(GOOD), st.booleans())
def test_a_ref_splits_into_what_made_it(plan_id: str, task_id: str, only_task: bool):
    assert split_ref(task_ref(plan_id, task_id, only_task=only_task)) == (plan_id, task_id)
