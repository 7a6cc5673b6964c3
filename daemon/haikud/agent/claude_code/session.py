"""The agent's whole life: go on with the session that is kept, or begin one; run Claude Code; judge; report.

A session that was begun gets only what is new (guidance, why it is tried again); where it is not there any more, a new
one begins with the whole prompt. Session and what it was told are written down when the model has answered: a run that
is killed before is told again. Everything goes out through `$HAIKUD_OUT`: result.json, events.jsonl, prompt.txt.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

from haikud.agent.claude_code.judging import DONE, FAILED, HOW_TO_GET_IT, MISSING, NOT_THERE, Verdict, figures, judge
from haikud.agent.claude_code.keeping import Keep, Session, digest
from haikud.agent.claude_code.prompt import Task, follow_up, read_task, system_text, whole_prompt
from haikud.agent.claude_code.running import Claude, environment_for
from haikud.agent.claude_code.stream import Follower, number

TOOLS = "Bash,Edit,Read"
"""All that Claude Code has in its bare mode; a request is 4 KB instead of 50 KB."""

MOST_EVENT_CHARACTERS = 400
DEFAULT_TURNS = "100"


def carry_out(environment: Mapping[str, str]) -> int:
    """Carry out the task that the environment describes; the exit code of a command agent."""
    out = Path(environment["HAIKUD_OUT"])
    try:
        return _Work(out, environment, read_task(environment)).carry_out()
    except FileNotFoundError as error:
        if error.filename != "claude":
            raise
        say(MISSING)
        write_report(out, Verdict(NOT_THERE, {"reason": MISSING, "recommendation": f"Run: {HOW_TO_GET_IT}"}))
        return NOT_THERE
    except (OSError, ValueError, KeyError) as error:
        why = f"the task could not be handed to Claude Code: {error}"
        say(why)
        write_report(out, Verdict(FAILED, {"reason": why}))
        return FAILED


class _Work:
    """One attempt."""

    def __init__(self, out: Path, environment: Mapping[str, str], task: Task) -> None:
        self._out = out
        self._environment = environment
        self._task = task
        self._keep = Keep(out)

    def carry_out(self) -> int:
        """Run Claude Code once, or twice where the session to go on with is gone."""
        session = self._keep.read()
        if session is not None and session.begun:
            say(f"goes on with the session {session.session_id}")
            verdict = self._run(session)
            if not verdict.begin_anew:
                return self._end(verdict)
            say("that session is not there any more: begins a new one")
        return self._end(self._run(Session(str(uuid.uuid4()))))

    def _end(self, verdict: Verdict) -> int:
        write_report(self._out, verdict)
        if verdict.exit_code != DONE:  # what it said last stands there already
            say(verdict.report.get("reason") or verdict.report.get("summary") or "ended")
        return verdict.exit_code

    def _run(self, session: Session) -> Verdict:
        task = self._task
        if session.begun:
            knows_note = bool(task.note.strip()) and session.note == digest(task.note)
            told = _without_note(task) if knows_note else task
            prompt = follow_up(told, guidance_is_new=session.guidance != digest(task.guidance))
        else:
            prompt = whole_prompt(task)
        self._keep.write(session)
        path = self._out / "prompt.txt"
        path.write_text(prompt, encoding="utf-8", errors="replace")
        follower = _Keeping(self._keep, session, task, self._out)
        claude = Claude(
            command_line(self._environment, session),
            prompt=path,
            environment=environment_for(self._environment, self._keep.claude),
        )
        run = claude.follow(follower, say)
        verdict = judge(run)
        own = figures(run.said, spent_before=session.cost_usd, resumed=session.begun)
        if run.said.result is not None and not verdict.begin_anew:
            follower.keep(cost_usd=number(own["session_cost_usd"]))
        verdict.report["payload"] = {"claude_code": own}
        return verdict


class _Keeping(Follower):
    """A follower that writes the session down as soon as the model has answered."""

    def __init__(self, keep: Keep, session: Session, task: Task, out: Path) -> None:
        super().__init__(say, lambda percent, message: tell(out, percent, message))
        self._keep = keep
        self._session = session
        self._task = task

    def take(self, line: bytes | None) -> None:
        """One line."""
        before = self.said.answered
        super().take(line)
        if self.said.answered and not before:
            self.keep(cost_usd=self._session.cost_usd)

    def keep(self, *, cost_usd: float) -> None:
        """Write down where the session stands."""
        session = self._session
        if self.said.answered:
            session = session.with_told(self._task.guidance, self._task.note)
        known = self.said.session_id or session.session_id
        self._keep.write(Session(known, session.begun, session.guidance, session.note, cost_usd))


def command_line(environment: Mapping[str, str], session: Session) -> list[str]:
    """How `claude` is called."""
    argv = ["claude", "-p", "--bare", "--output-format", "stream-json", "--verbose"]
    argv += ["--model", environment.get("HAIKUD_MODEL", "claude-haiku-5-5")]
    argv += ["--max-turns", environment.get("HAIKUD_MAX_TURNS", DEFAULT_TURNS)]
    if number_in(environment.get("HAIKUD_MAX_COST_USD", "")) > 0:  # looked at after a turn only: the gateway is the cap
        argv += ["--max-budget-usd", environment["HAIKUD_MAX_COST_USD"]]
    argv += ["--permission-mode", "dontAsk", "--tools", TOOLS, "--allowedTools", TOOLS]
    argv += ["--strict-mcp-config", "--disable-slash-commands", "--append-system-prompt", system_text()]
    return [*argv, "--resume" if session.begun else "--session-id", session.session_id]


def number_in(text: str) -> float:
    """The number that a text holds, 0 for none."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def say(text: str) -> None:
    """Words for the log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def tell(out: Path, percent: int | None, message: str) -> None:
    """A line for `events.jsonl`; one that cannot be written is lost, as events may be."""
    progress = {"message": " ".join(message.split())[:MOST_EVENT_CHARACTERS]}
    line = json.dumps(progress if percent is None else {"percent": percent, **progress})
    try:
        with (out / "events.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")
    except OSError:
        return


def write_report(out: Path, verdict: Verdict) -> None:
    """`result.json`, whole."""
    hidden = out / ".result.json"
    hidden.write_text(json.dumps(verdict.report) + "\n", encoding="utf-8")
    hidden.replace(out / "result.json")


def _without_note(task: Task) -> Task:
    return dataclasses.replace(task, note="")
