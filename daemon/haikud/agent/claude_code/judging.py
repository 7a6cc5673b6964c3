"""How a run of Claude Code ended, from what it said: the exit code and the report of a command agent. Pure.

What counts is the result line's `is_error`: `subtype` says "success" for failed calls too. A tool that was denied means
that the work could not be done as asked, though the run itself succeeds. TERM leaves no result line; INT leaves one
with exit code 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from haikud.agent.claude_code.stream import Said, number

DONE, FAILED, TRY_AGAIN, ASK, NOT_THERE, ENDED = 0, 1, 75, 79, 127, 143

HOW_TO_GET_IT = "npm install -g @anthropic-ai/claude-code@latest"
"""`@latest`: on Node 20 a plain install silently takes an old version that has the prices wrong."""

MISSING = (
    f"claude was not found in PATH: install Claude Code with `{HOW_TO_GET_IT}` for the user that the daemon runs as, "
    "and see that the daemon's PATH has it"
)

_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_PAID_UP = 402
_ASKS = re.compile(r"^[^\w\n]*ESCALATE *:[^\w\n]*(.*)$", re.MULTILINE)
_FIELD = re.compile(r"^\W*(Blocker|Context|Option|Recommendation) *:[ *]*(.*)$", re.IGNORECASE)
_NO_SESSION = "No conversation found"
_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


@dataclass(frozen=True)
class Run:
    """One run of Claude Code that has ended."""

    said: Said
    exit_code: int  # negative: the signal that ended it
    error_text: str = ""  # the end of its stderr
    told_to_end: bool = False  # TERM has reached us


@dataclass(frozen=True)
class Verdict:
    """What follows from it. `begin_anew`: the session to go on with is not there, and nothing was done."""

    exit_code: int
    report: dict[str, Any] = field(default_factory=dict)
    begin_anew: bool = False


def judge(run: Run) -> Verdict:
    """The verdict on a run."""
    result = run.said.result
    if run.told_to_end:
        return Verdict(ENDED, {"summary": "Claude Code was ended from outside"})
    if result is None:
        return _without_result(run)
    if result.get("is_error") is False:
        return _succeeded(run.said, result)
    return _failed(run, result)


def figures(said: Said, *, spent_before: float, resumed: bool) -> dict[str, Any]:
    """What Claude Code itself says of its run; `spent_before`: what its session had cost until then.

    Its `total_cost_usd` is the session's, over all its runs; here it is this run's alone. Old versions, which do not
    say the run's own, count each run from nothing.
    """
    result = said.result or {}
    total = number(result.get("total_cost_usd"))
    since = result.get("model_usage_since_last_result")
    is_new = isinstance(since, dict)
    own = sum(number(one.get("costUSD")) for one in _objects(since)) if is_new else total
    usage = result.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    counts: dict[str, Any] = {name: int(number(usage.get(name))) for name in _COUNTS}
    split = usage.get("cache_creation")
    if isinstance(split, dict):
        counts["cache_creation"] = {str(name): int(number(split[name])) for name in split}
    return {
        "version": said.version,
        "session_id": said.session_id,
        "resumed": resumed,
        "num_turns": int(number(result.get("num_turns"))),
        "total_cost_usd": own,
        "session_cost_usd": total if is_new else spent_before + total,
        "usage": counts,
        "api_retries": said.retries,
    }


def question_in(text: str) -> dict[str, Any] | None:
    """The question that a message asks by its `ESCALATE:` line, None where it asks none."""
    asked = _ASKS.search(text)
    if asked is None:
        return None
    report: dict[str, Any] = {"reason": asked[1].strip(" *") or "Claude Code asks without saying what"}
    lists: dict[str, list[str]] = {"context": [], "option": []}
    for line in text[asked.end() :].splitlines():
        match = _FIELD.match(line)
        if match is None:
            continue
        name, words = match[1].lower(), match[2].strip(" *")
        if name in lists:
            lists[name].append(words)
        else:
            report[name] = words
    return {**report, "context": lists["context"], "options": lists["option"]}


def _succeeded(said: Said, result: dict[str, Any]) -> Verdict:
    words = _words(result) or said.last_text
    asked = question_in(words)
    if asked is not None:
        return Verdict(ASK, {"summary": words, **asked})
    denied = _denied(said, result)
    if denied:
        return Verdict(ASK, {"summary": words, **_denial(denied, words)})
    if result.get("stop_reason") == "refusal":
        return Verdict(FAILED, {"summary": words, "reason": f"the model refused: {words[:500]}"})
    return Verdict(DONE, {"summary": words})


def _denial(denied: list[str], words: str) -> dict[str, Any]:
    tools = ", ".join(denied)
    return {
        "reason": f"Claude Code was denied {tools} and may not have done what was asked",
        "blocker": f"denied: {tools}",
        "context": [f"It ended with: {words[:1000]}"] if words else [],
        "options": [
            "Answer how to do it with Bash, Edit and Read inside the worktree",
            "Answer that it is done as it is",
            "Give the task to another role",
        ],
    }


def _denied(said: Said, result: dict[str, Any]) -> list[str]:
    """Each denied tool once, with what it was to do."""
    found: list[str] = []
    denials = result.get("permission_denials")
    for one in _objects(denials):
        given = one.get("tool_input")
        told = given if isinstance(given, dict) else {}
        detail = next((str(told[key]) for key in ("command", "file_path", "url", "query") if told.get(key)), "")
        name = str(one.get("tool_name") or "a tool")
        found.append(f"{name} ({' '.join(detail.split())[:200]})" if detail else name)
    return list(dict.fromkeys(found or said.denied))


def _failed(run: Run, result: dict[str, Any]) -> Verdict:
    words = _words(result) or run.said.last_text or run.error_text or "without saying why"
    if _NO_SESSION in words:
        return Verdict(FAILED, {"reason": words}, begin_anew=True)
    subtype, status = str(result.get("subtype") or ""), int(number(result.get("api_error_status")))
    if subtype == "error_max_turns":
        options = ["Answer `go on`: it goes on in its session", "Cut the task into smaller ones"]
        return Verdict(ASK, _asking(run.said, f"Claude Code has used up its turns: {words}", options))
    if subtype == "error_max_budget_usd" or status == _PAID_UP:
        options = ["Raise the budget and answer `go on`", "Take what is committed", "Cancel the task"]
        return Verdict(ASK, _asking(run.said, f"Claude Code may not spend more: {words}", options))
    terminal = str(result.get("terminal_reason") or "")
    no_answer = not status and terminal == "api_error"  # nobody there, broken streams, stalled ones
    if status in _TRANSIENT or no_answer or terminal.startswith("aborted"):
        return Verdict(TRY_AGAIN, {"reason": words})
    return Verdict(FAILED, {"reason": words})


def _asking(said: Said, reason: str, options: list[str]) -> dict[str, Any]:
    context = [f"It said last: {said.last_text[:1000]}"] if said.last_text else []
    return {"reason": reason, "context": context, "options": options}


def _without_result(run: Run) -> Verdict:
    said = run.error_text.strip()
    if _NO_SESSION in said:
        return Verdict(FAILED, {"reason": said}, begin_anew=True)
    if run.exit_code < 0 or run.exit_code in {137, ENDED}:  # killed: by the kernel for its memory, or by somebody
        return Verdict(TRY_AGAIN, {"reason": f"Claude Code was killed ({_how(run.exit_code)}); its session goes on"})
    reason = f"Claude Code ended {_how(run.exit_code)} and without a result"
    return Verdict(FAILED, {"reason": f"{reason}: {said[-500:]}" if said else reason, "error_details": said})


def _how(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with exit code {code}"


def _words(result: dict[str, Any]) -> str:
    said = result.get("result")
    if isinstance(said, str) and said.strip():
        return said
    errors = result.get("errors")
    return "; ".join(str(one) for one in errors) if isinstance(errors, list) else ""


def _objects(value: object) -> list[dict[str, Any]]:
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in values if isinstance(one, dict)]
