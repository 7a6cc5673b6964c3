"""Showing an answer or a question: JSON in a pipe or on demand, readable lines on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from haikud.interfaces.blocked import blocked_lines
from haikud.interfaces.money import dollars
from haikud.interfaces.plain import one_line, safe, span
from haikud.interfaces.waiting import EndKind, WaitEnd

_DETAIL_LINES = 12


def print_json(document: object) -> None:
    """A document on stdout. What JSON need not escape is escaped all the same where a terminal would act on it."""
    text = json.dumps(document, indent=2, ensure_ascii=sys.stdout.isatty())
    click.echo(text.encode("utf-8", "backslashreplace"))


def print_answer(end: WaitEnd, *, as_json: bool) -> None:
    """The response or the escalation on stdout."""
    if as_json or not sys.stdout.isatty():
        print_json(end.document)
        return
    show = _escalation_lines if end.kind is EndKind.BLOCKED else _response_lines
    for line in show(end.ref, end.document):
        click.echo(line)
    if end.path is not None:
        click.echo(f"  {'in full':<9} {end.path}")


def how_to_answer(ref: str) -> str:
    """What to type when a task asks a question."""
    return f'answer it: haikud answer {ref} "TEXT", then wait again'


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _metrics(document: dict[str, Any]) -> str:
    metrics = _object(document.get("metrics"))
    seconds = metrics.get("duration_seconds", 0)
    took = span(seconds) if isinstance(seconds, int | float) else "?"
    return f"in {took}, {dollars(metrics.get('cost_usd'))}, {metrics.get('tokens_used', 0)} tokens"


def _response_lines(name: str, response: dict[str, Any]) -> Iterator[str]:
    payload = _object(response.get("payload"))
    yield f"{name}: {one_line(response.get('status'))} {_metrics(response)}"
    tasks = _list(payload.get("tasks"))
    for task in map(_object, tasks):
        yield f"  {one_line(task.get('ref'))}: {one_line(task.get('status'))} {_metrics(task)}"
        yield from ("  " + line for line in _payload_lines(_object(task.get("payload"))))
    yield from _payload_lines(payload)
    yield from _savings_lines(payload, several=len(tasks) > 1)


def _payload_lines(payload: dict[str, Any]) -> Iterator[str]:
    branch = payload.get("branch")
    if branch:
        commits = payload.get("commits", 0)
        plural = "" if commits == 1 else "s"
        yield _row("branch", f"{branch} ({commits} commit{plural})")
    if payload.get("worktree"):
        yield _row("worktree", payload["worktree"])
    if isinstance(payload.get("tests_passing"), bool):
        yield _row("tests", "passing" if payload["tests_passing"] else "failing")
    if payload.get("files_changed"):
        yield _row("files", ", ".join(map(str, _list(payload["files_changed"]))))
    if payload.get("issue_url") or payload.get("issue_number"):
        yield _row("issue", payload.get("issue_url") or f"#{payload['issue_number']}")
    made = [one for one in map(_object, _list(payload.get("issues"))) if one.get("issue_number")]
    for number, one in enumerate(made[:_DETAIL_LINES]):
        yield _row("" if number else "issues", f"#{one['issue_number']} {one_line(one.get('title'))}")
    if len(made) > _DETAIL_LINES:
        yield _row("", f"and {len(made) - _DETAIL_LINES} more")
    if payload.get("summary"):
        yield from _rows("summary", payload["summary"])
    for warning in _list(payload.get("warnings")):
        yield _row("warning", warning)
    yield from _report_lines(_object(payload.get("error_report")))


def _savings_lines(payload: dict[str, Any], *, several: bool) -> Iterator[str]:
    """What it cost against Sonnet, and for several tasks what running side by side saved."""
    costs = _object(payload.get("agent_costs"))
    compared, time = _object(costs.get("comparison")), _object(payload.get("time"))
    sonnet, saved = compared.get("if_all_sonnet"), compared.get("savings_usd")
    if isinstance(sonnet, int | float) and isinstance(saved, int | float) and sonnet > 0:
        percent = f"{dollars(saved)} or {compared.get('savings_percent')}% saved" if saved >= 0 else "nothing saved"
        yield _row("costs", f"{dollars(costs.get('total_cost'))}, {dollars(sonnet)} if all Sonnet: {percent}")
    one_by_one, side_by_side = time.get("sequential_seconds"), time.get("parallel_seconds")
    if several and isinstance(one_by_one, int | float) and isinstance(side_by_side, int | float):
        share = time.get("time_saved_percent")
        saved_time = f"{one_line(share)}% saved" if share else "none saved"
        yield _row("time", f"{span(side_by_side)}, {span(one_by_one)} one by one: {saved_time}")


def _report_lines(report: dict[str, Any]) -> Iterator[str]:
    if not report:
        return
    error, steps = _object(report.get("error")), _object(report.get("next_steps"))
    yield _row("error", error.get("message", ""))
    if one_line(error.get("details", "")) not in one_line(error.get("message", "")):  # a rejection says the same twice
        for line in safe(error.get("details", "")).splitlines()[:_DETAIL_LINES]:
            yield _row("", line)
    if steps.get("suggested_action"):
        yield _row("next", steps["suggested_action"])
    log_file = _object(report.get("artifacts")).get("log_file")
    if log_file:
        yield _row("log", log_file)


def _escalation_lines(_ref: str, escalation: dict[str, Any]) -> Iterator[str]:
    yield from blocked_lines(_object(escalation.get("payload")), icon=_shows_icons())


def _shows_icons() -> bool:
    return sys.stdout.encoding.lower().replace("-", "") == "utf8"


def _rows(label: str, value: object) -> Iterator[str]:
    """A text of several lines, each on a line of its own: a list of suites is no sentence."""
    lines = [line for line in safe(value).splitlines() if line.strip()]
    for number, line in enumerate(lines[:_DETAIL_LINES]):
        yield _row("" if number else label, line)
    if len(lines) > _DETAIL_LINES:
        yield _row("", f"... and {len(lines) - _DETAIL_LINES} more lines")


def _row(label: str, value: object) -> str:
    return f"  {label:<9} {one_line(value)}"
