"""When a monitor intervenes, as a table; events in, interventions out, without a clock or a disk."""

from __future__ import annotations

from typing import Any

import pytest

from haikud.contracts.attempt import AttemptEvent, EventKind
from haikud.contracts.base import utc_now
from haikud.contracts.intervention import Trigger
from haikud.contracts.settings import MonitorSettings
from haikud.contracts.states import Phase
from haikud.engine.monitors.judge import choose_action, judge
from haikud.engine.monitors.watch import Watch, follow

NOW = utc_now()


def event(kind: str, **fields: Any) -> AttemptEvent:
    fields = {"phase": Phase.IMPLEMENT, **fields}
    return AttemptEvent.model_validate({"at": NOW, "kind": kind, **fields})


def watched(*events: tuple[float, AttemptEvent]) -> Watch:
    watch = Watch()
    for at, one in events:
        watch = follow(watch, one, at)
    return watch


def seen(watch: Watch, now: float, **settings: Any) -> list[Trigger]:
    return [found.trigger for found in judge(watch, MonitorSettings.model_validate(settings), now)]


def uses(*names: str, start: float = 0.0) -> list[tuple[float, AttemptEvent]]:
    """Tool uses, a second apart; a name in capitals is talk, which has no digest."""
    return [
        (start + number, event("tool", message=f"bash: {name}", digest=None if name.isupper() else name))
        for number, name in enumerate(names)
    ]


def results(*errors: str | None, use: str = "u") -> list[tuple[float, AttemptEvent]]:
    """Results of different tool uses, a second apart; None: it went well."""
    return [
        (number, event("result", digest=f"{use}{number}", error=error, error_digest=error))
        for number, error in enumerate(errors)
    ]


def runs_of_tests(*runs: tuple[float, str]) -> list[tuple[float, AttemptEvent]]:
    return [
        (at, event("result", digest=f"t{at}", tests=how, error_digest=None if how == "passing" else f"e{at}"))
        for at, how in runs
    ]


def begun(at: float = 0.0, **fields: Any) -> tuple[float, AttemptEvent]:
    return at, event("phase", **fields)


def note(at: float, **fields: Any) -> tuple[float, AttemptEvent]:
    return at, event("note", **fields)


F, P = "failing", "passing"

TABLE: list[tuple[str, list[tuple[float, AttemptEvent]], float, dict[str, Any], list[str]]] = [
    ("nothing is known yet", [], 1e6, {}, []),
    # silence
    ("silent for less", [begun()], 299, {}, []),
    ("silent for as long", [begun()], 300, {}, ["silence"]),
    ("a sign of life", [begun(), note(200)], 450, {}, []),
    ("silence after it", [begun(), note(200)], 500, {}, ["silence"]),
    ("settings of one's own", [begun()], 20, {"silence_seconds": 20}, ["silence"]),
    ("never", [begun()], 1e9, {"silence_seconds": 0}, []),
    ("a quiet test command", [begun(), note(1, quiet_seconds=1800)], 1700, {}, []),
    ("one that outlives its own limit", [begun(), note(1, quiet_seconds=1800)], 1802, {}, ["silence"]),
    ("after a quiet command's end", [begun(), note(1, quiet_seconds=900), note(9)], 310, {}, ["silence"]),
    ("it merely exists", [begun(), (290, event("waits"))], 300, {}, ["silence"]),
    ("it prints", [begun(), (290, event("output"))], 300, {}, []),
    ("waiting for the API's limits", [begun(), (1, event("waiting", quiet_seconds=400))], 390, {}, []),
    ("before the agent", [begun(phase=Phase.SETUP)], 5000, {}, []),
    ("after the agent", [begun(), begun(5, phase=Phase.VALIDATE)], 5000, {}, []),
    # the same operation
    ("four times", uses("a", "a", "a", "a"), 4, {}, []),
    ("five times", uses("a", "a", "a", "a", "a"), 5, {}, ["same_operation"]),
    ("another one in between", uses("a", "a", "b", "a", "a", "a"), 6, {}, []),
    ("talk in between", uses("a", "a", "TALK", "a", "TALK", "a", "a"), 7, {}, ["same_operation"]),
    ("talk alone", uses(*["TALK"] * 9), 9, {}, []),
    ("two by turns", uses(*["a", "b"] * 5), 10, {}, ["same_operation"]),
    ("two by turns, four times", uses(*["a", "b"] * 4), 8, {}, []),
    ("three by turns", uses("x", *["a", "b", "c"] * 5), 16, {}, ["same_operation"]),
    ("an edit, then the tests", uses("e1", "t", "e2", "t", "e3", "t", "e4", "t", "e5", "t"), 10, {}, []),
    ("it has got out of it", uses("a", "a", "a", "a", "a", "b"), 6, {}, []),
    ("as often as the settings say", uses("a", "a"), 2, {"repeats": 2}, ["same_operation"]),
    ("how often does not matter", uses(*["a"] * 50), 50, {"repeats": 0}, []),
    # repeated errors
    ("five times the same error", results(*["E"] * 5), 5, {}, ["repeated_error"]),
    ("four times", results(*["E"] * 4), 4, {}, []),
    ("other things go well in between", results("E", None, "E", None, "E", "E", None, "E"), 8, {}, ["repeated_error"]),
    ("another error in between", results("E", "E", "E", "X", "E", "E"), 6, {}, []),
    (
        "the very use goes well",
        [*results(*["E"] * 4), (5, event("result", digest="u3")), *results("E", use="v")],
        6,
        {},
        [],
    ),
    (
        "the tests pass",
        [*results(*["E"] * 4), (5, event("result", digest="z", tests=P)), *results("E", use="v")],
        6,
        {},
        [],
    ),
    ("never", results(*["E"] * 9), 9, {"repeats": 0}, []),
    # failing tests
    ("failing for less", runs_of_tests((0, F), (100, F), (299, F)), 299, {}, []),
    ("failing for so long", runs_of_tests((0, F), (100, F), (300, F)), 300, {}, ["tests_failing"]),
    ("two runs only", runs_of_tests((0, F), (400, F)), 400, {}, []),
    ("not run again since", runs_of_tests((0, F), (60, F), (120, F)), 400, {}, []),
    ("passed in between", runs_of_tests((0, F), (100, F), (200, P), (300, F), (310, F)), 310, {}, []),
    ("never", runs_of_tests((0, F), (100, F), (900, F)), 900, {"tests_failing_seconds": 0}, []),
]


@pytest.mark.parametrize(
    ("events", "now", "settings", "expected"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_when_a_monitor_intervenes(
    events: list[tuple[float, AttemptEvent]], now: float, settings: dict[str, Any], expected: list[str]
):
    settings = {"silence_seconds": 300, **settings}
    watch = watched(*events)
    if not any(kind.kind in {EventKind.PHASE, EventKind.NOTE} for _, kind in events):
        settings["silence_seconds"] = 0  # rows on other things
    assert seen(watch, now, **settings) == expected


def test_what_is_found_says_what_and_how_often():
    loop = judge(watched(*uses(*["view x", "ls"] * 5)), MonitorSettings.model_validate({}), 10)[0]
    assert loop.message == "the same 2 operations 5 times in a row: bash: view x; bash: ls"
    assert len(loop.evidence) == 2
    silent = judge(watched((0, event("note", message="reading"))), MonitorSettings.model_validate({}), 400)[0]
    assert silent.message == "no sign of the agent for 400 s"
    assert silent.evidence[0] == "Its last sign of life: reading"


def test_an_event_that_comes_late_does_not_turn_the_clock_back():
    assert watched(note(50), (20, event("output"))).life_at == 50


@pytest.mark.parametrize(
    ("action", "restarts", "expected"),
    [("escalate", 0, "escalate"), ("note", 9, "note"), ("restart", 0, "restart"), ("restart", 2, "escalate")],
)
def test_a_task_is_restarted_as_often_as_it_may_be(action: str, restarts: int, expected: str):
    settings = MonitorSettings.model_validate({"action": action, "restarts": 2})
    assert choose_action(settings, restarts) == expected
