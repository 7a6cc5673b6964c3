"""Where a repository and an id are put in each shape."""

from __future__ import annotations

from typing import Any

import pytest

from haikud.interfaces.completing import names_repository, with_id, with_repository

SHAPES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "envelope": ({"payload": {"task": {"title": "x"}, "context": {"a": 1}}}, ("payload", "context")),
    "envelope without context": ({"payload": {"task": {"title": "x"}}}, ("payload", "context")),
    "task plan": ({"task_plan": {"tasks": []}}, ("task_plan",)),
    "task plan in an envelope": ({"payload": {"task_plan": {"tasks": []}}}, ("payload", "task_plan")),
    "agent request in an envelope": ({"payload": {"agent": "a", "task": "b"}}, ("payload",)),
    "bare plan in an envelope": ({"payload": {"id": "p", "tasks": []}}, ("payload",)),
    "plan file": ({"task_id": "x", "title": "x", "context": {"test_command": "y"}}, ()),
    "agent request": ({"agent": "a", "task": "b", "params": {}}, ()),
    "template request": ({"template": "t", "variables": {}}, ()),
}


def place(document: Any, trail: tuple[str, ...]) -> Any:
    for key in trail:
        document = document[key]
    return document


@pytest.mark.parametrize("shape", SHAPES)
def test_a_repository_is_put_where_the_shape_has_it(shape: str):
    document, trail = SHAPES[shape]
    assert not names_repository(document)
    done = with_repository(document, "/repo")
    assert place(done, trail)["repository"] == "/repo"
    assert names_repository(done)
    assert not names_repository(document), "the request itself must stay as it is"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_repository_that_is_named_is_replaced_in_its_place(shape: str):
    document, _ = SHAPES[shape]
    named = with_repository(document, "/first")
    assert with_repository(named, "/second") == with_repository(document, "/second")


def test_an_id_is_stated_first():
    assert list(with_id({"title": "x", "id": None}, "p")) == ["id", "title"]


@pytest.mark.parametrize("document", [None, 3, [], "x"])
def test_what_is_no_object_names_none(document: Any):
    assert not names_repository(document)


@pytest.mark.parametrize("document", [{}, {"payload": 3}, {"task_plan": []}, {"payload": {"task": 1, "context": 2}}])
def test_an_odd_request_gets_its_repository_all_the_same(document: Any):
    assert names_repository(with_repository(document, "/repo"))
