"""What went wrong in an attempt, as data: the runner makes the guide's error report of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from haikud.contracts.attempt import FailureClass
from haikud.contracts.error_report import ErrorType


@dataclass(frozen=True)
class AgentError:
    """One failure of an attempt.

    `code` is a short constant such as TEST_FAILURE; `message` one sentence; `details` what was seen (output, the
    API's words); `attempted` what was tried against it, in words, in order.
    """

    type: ErrorType
    code: str
    message: str
    details: str = ""
    failure_class: FailureClass = FailureClass.PERMANENT
    attempted: list[str] = field(default_factory=list)
    operation: str = ""  # what was being attempted; the runner fills it in where it is empty
    command: str | None = None
    suggested_action: str = ""
    test_report: str | None = None  # absolute path of a report that the tests wrote
