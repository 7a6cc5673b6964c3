"""Params of an operation: checked against a model, with errors that name the field."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from haikud.agent.endings import Failed
from haikud.agent.errors import AgentError
from haikud.contracts.error_report import ErrorType

P = TypeVar("P", bound="Params")


class Params(BaseModel):
    """What an operation takes. Fields that it does not know are left alone: the admission noted them."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


def read_params(operation: str, params: dict[str, Any], cls: type[P]) -> P:
    """The operation's params; Failed with every fault where they do not fit."""
    try:
        return cls.model_validate(params)
    except ValidationError as error:
        faults = [
            f"{'.'.join(['params', *(str(part) for part in fault['loc'])])}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise refused(operation, "BAD_PARAMS", "; ".join(faults)) from error


def refused(operation: str, code: str, why: str, action: str = "") -> Failed:
    """The ending of an operation that cannot be done as asked."""
    return Failed(
        AgentError(
            ErrorType.INVALID_REQUEST,
            code,
            f"{operation}: {why}",
            operation=operation,
            suggested_action=action or "Mend the request's params and drop it again under a new id",
        )
    )
