"""Why a dropped file was set aside: `rejected/NAME.reason.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from haikud.contracts.base import Model, Timestamp
from haikud.contracts.error_report import FieldFault


class SetAside(Model):
    """A file that could not be used, and why. The file itself lies beside it, byte for byte."""

    format: Literal[1] = 1
    at: Timestamp
    folder: Literal["incoming", "guidance", "control"]
    name: str  # as dropped
    stored_as: str  # in rejected/
    token: str
    reason: str
    answered_as: str | None = None  # responses/NAME, for a request
    faults: list[FieldFault] = Field(default_factory=list)
