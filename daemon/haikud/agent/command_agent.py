"""A role's own command as the agent: any program that can read environment variables and exit with a number.

0: done. 75 (EX_TEMPFAIL): could not now, try again. 79: a question; its reason is in `$HAIKUD_OUT/result.json` or the
last line of output. Anything else: failed. What it writes into `$HAIKUD_OUT/result.json` and
`$HAIKUD_OUT/events.jsonl` are words, never facts; a file there that is no regular one, too large or not as the
contract says is a warning and otherwise as good as none. What its model calls cost, the gateway says, while it runs and
at its end; where it failed because the gateway refused them for a budget or a limit, that is how the attempt ends.
"""

from __future__ import annotations

import math
import os
import time

from pydantic import ValidationError

from haikud.agent.attempt import Attempt, Outcome, clean_text
from haikud.agent.endings import Escalated, Failed
from haikud.agent.errors import AgentError
from haikud.agent.interventions import Watchman
from haikud.agent.kept_folder import carry_on_kept_folder
from haikud.agent.refused_calls import ending_of_refused
from haikud.agent.reports.classify import Classified, Doing, classify
from haikud.contracts.attempt import AgentProgress, AgentReport, FailureClass, Question
from haikud.contracts.completion import CompletionPayload
from haikud.contracts.error_report import ErrorType
from haikud.contracts.masking import active_masker
from haikud.sandbox.commands import CannotStart
from haikud.spool.agent_log import escape_text
from haikud.spool.reading import UntrustedFile, open_untrusted, read_untrusted
from haikud.spool.refusals import refused_by_machine

ESCALATE = 79
MOST_ERROR_DETAILS = 2000
"""Characters of a question's error details; the log has the rest."""

_RELAY_SECONDS = 0.25
_MOST_EVENT_BYTES = 1_048_576
_MOST_EVENTS = 2000
_MOST_LINE_BYTES = 4096
_CHUNK = 65_536
_MOST_DEPTH = 64
"""Levels of an agent's own payload; readers of our answers may stop at a hundred or two."""

_FACTS = frozenset(CompletionPayload.model_fields)
"""Fields of an answer that come from evidence; an agent's payload does not get to set them."""


def run_command_agent(attempt: Attempt) -> None:
    """Run the role's command to its end, or to where a monitor ends it. Raises Failed, Escalated, Stopped."""
    command = attempt.spec.role.command or []
    carry_on_kept_folder(attempt)
    relay, watchman = EventRelay(attempt), Watchman(attempt)

    def tick() -> bool:
        relay.look()
        if attempt.account is not None:
            attempt.account.mirror()
        return watchman.at_tick()

    try:
        outcome = attempt.run_untrusted(command, what="the agent", timeout=None, tick=tick)
    except CannotStart as error:
        if refused_by_machine(error):
            raise
        raise Failed(
            AgentError(
                ErrorType.AGENT_ERROR,
                "AGENT_CANNOT_START",
                str(error),
                command=" ".join(command),
                suggested_action=f"Mend the command of the role {attempt.spec.role.name}",
            )
        ) from error
    relay.look(last=True)
    attempt.exit_code = outcome.ended.exit_code
    report = read_report(attempt)
    attempt.summary = report.summary or outcome.last_line
    attempt.payload.update(_own_words(attempt, report))
    if outcome.ended.stopped:
        raise watchman.ending()
    if outcome.ended.exit_code != 0:
        asks = outcome.ended.exit_code == ESCALATE
        refused = ending_of_refused(attempt, clean_text(attempt.summary), asks=asks)
        if refused is not None:
            raise refused
    _judge(outcome, report, command)


def read_report(attempt: Attempt) -> AgentReport:
    """What the agent wrote about its own work; an empty report where there is none that can be used."""
    path = attempt.paths.out / "result.json"
    try:
        data = read_untrusted(path, attempt.spec.limits.agent_report_bytes)
        report = AgentReport.model_validate_json(data)
        why = _fault_in(report.payload)
        if why is None:
            return report
        attempt.warn(f"the agent's result.json was not used: payload: {why}")
    except UntrustedFile as error:
        if not error.missing:
            attempt.warn(f"the agent's result.json was not used: {error.why}")
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(str(part) for part in fault["loc"])
        attempt.warn(f"the agent's result.json was not used: {place or 'the document'}: {fault['msg']}")
    return AgentReport()


def _fault_in(payload: dict[str, object]) -> str | None:
    """What of a payload no answer could carry: it is read and written again inside of other documents."""
    waiting: list[tuple[object, int]] = [(payload, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _MOST_DEPTH:
            return f"nested deeper than {_MOST_DEPTH} levels"
        if isinstance(value, float) and not math.isfinite(value):
            return "it holds a number that JSON does not have (NaN or Infinity)"
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting.extend((each, depth + 1) for each in inner)
    return None


def _own_words(attempt: Attempt, report: AgentReport) -> dict[str, object]:
    claimed = sorted(_FACTS & set(report.payload))
    if claimed:
        attempt.warn(f"the agent's payload states {', '.join(claimed)}: left out, haikud measures these itself")
    own = {name: value for name, value in report.payload.items() if name not in _FACTS}
    masked: dict[str, object] = active_masker().value(own)
    return masked


def _judge(outcome: Outcome, report: AgentReport, command: list[str]) -> None:
    code = outcome.ended.exit_code
    if code == 0:
        return
    last = clean_text(report.reason) or escape_text(outcome.last_line)
    if code == ESCALATE:
        raise Escalated(
            Question(
                reason=last or "The agent escalated without saying why",
                blocker=clean_text(report.blocker),
                error_details=_details(outcome, report, last),
                context=[clean_text(text) for text in report.context],
                options=[clean_text(text) for text in report.options],
                recommendation=clean_text(report.recommendation),
            )
        )
    found = classify(code, outcome.tail, Doing.AGENT) or _unrecognised(code)
    if found.failure_class is FailureClass.TEMPORARY:
        message = "The agent could not do its work now"
    else:
        message = f"The agent {_how(code)}"
    last = last or escape_text(found.said)
    raise Failed(
        AgentError(
            found.type,
            found.code,
            f"{message}: {last}" if last else message,
            details=clean_text(outcome.tail),
            failure_class=found.failure_class,
            command=" ".join(command),
            suggested_action=clean_text(report.recommendation),
        )
    )


def _details(outcome: Outcome, report: AgentReport, said: str) -> str:
    """The error's own words: the report's, else the end of what was printed where that says more than the reason."""
    if report.error_details:
        return clean_text(report.error_details[-MOST_ERROR_DETAILS:])
    printed = clean_text(outcome.tail[-MOST_ERROR_DETAILS:]).strip()
    return "" if printed == said else printed


def _unrecognised(code: int | None) -> Classified:
    name = f"AGENT_SIGNAL_{-code}" if code is not None and code < 0 else f"AGENT_EXIT_{code}"
    return Classified(FailureClass.PERMANENT, name, ErrorType.AGENT_ERROR)


def _how(code: int | None) -> str:
    return f"was killed by signal {-code}" if code is not None and code < 0 else f"failed with exit code {code}"


class EventRelay:
    """Follows `out/events.jsonl` while the agent runs and tells the engine and the log.

    At most _MOST_EVENT_BYTES are read and _MOST_EVENTS told in all; what cannot be used is said once.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._path = attempt.paths.out / "events.jsonl"
        self._file: tuple[int, int] | None = None  # which one was read last
        self._offset = 0
        self._room = _MOST_EVENT_BYTES
        self._left = _MOST_EVENTS
        self._partial = b""
        self._next = 0.0
        self._said = False

    def look(self, *, last: bool = False) -> None:
        """Relay what is new. Cheap when called often; a file that cannot be read safely is left alone."""
        if not last and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _RELAY_SECONDS
        try:
            descriptor = open_untrusted(self._path)
        except UntrustedFile as error:
            if not error.missing:
                self._say(error.why)
            return
        try:
            self._read(descriptor, most=_MOST_EVENT_BYTES if last else _CHUNK)
        except OSError as error:
            self._say(str(error))
        finally:
            os.close(descriptor)
        if last and self._partial:
            self._relay(b"\n")

    def _read(self, descriptor: int, most: int) -> None:
        facts = os.fstat(descriptor)
        if self._file != (facts.st_dev, facts.st_ino) or facts.st_size < self._offset:
            self._file, self._offset, self._partial = (facts.st_dev, facts.st_ino), 0, b""  # another one, or begun anew
        while most > 0 and self._room > 0:
            data = os.pread(descriptor, min(_CHUNK, most, self._room), self._offset)
            if not data:
                return
            self._offset += len(data)
            self._room -= len(data)
            most -= len(data)
            self._relay(data)
        if self._room <= 0:
            self._say(f"more than {_MOST_EVENT_BYTES} bytes: the rest is not read")

    def _say(self, why: str) -> None:
        if not self._said:
            self._said = True
            self._attempt.warn(f"the agent's events.jsonl was not used, or not to its end: {why}")

    def _relay(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > _MOST_LINE_BYTES:
            self._partial = b""
        for line in lines:
            if not line.strip() or len(line) > _MOST_LINE_BYTES:
                continue
            try:
                progress = AgentProgress.model_validate_json(line)
            except ValidationError:
                continue
            self._left -= 1
            if self._left < 0:
                self._say(f"more than {_MOST_EVENTS} events: the rest is not told")
                return
            message = escape_text(progress.message)
            percent = "" if progress.percent is None else f"{progress.percent} %"
            self._attempt.log.line(f"progress {percent}: {message}".replace(" :", ":"))
            self._attempt.events.progress(progress.percent, message)
