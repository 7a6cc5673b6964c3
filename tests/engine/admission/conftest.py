"""A repository, settings and the catalogue; and one call that prepares a plan as the daemon does.

Routing is off: most requests here are a bare title, which it would warn about.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.repository import make_repository

from haikud.contracts.error_report import FieldFault
from haikud.contracts.plan import Plan
from haikud.contracts.settings import Settings, default_settings
from haikud.engine.admission.prepare import prepare_plan
from haikud.engine.admission.rejection import Rejected, rejected_response
from haikud.roles.catalogue import find_roles
from haikud.roles.files import RoleFile

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class Desk:
    """Where requests are prepared."""

    repository: Path
    spool: Path
    settings: Settings
    catalogue: Mapping[str, RoleFile] = field(default_factory=find_roles)
    is_taken: Callable[[str], bool] = lambda _: False

    def prepare(self, request: bytes | dict[str, Any] | list[Any], name: str = "request.json") -> Plan:
        data = request if isinstance(request, bytes) else json.dumps(request).encode()
        plan = prepare_plan(
            data,
            name,
            "0123456789abcdef",
            settings=self.settings,
            spool_root=self.spool,
            now=NOW,
            catalogue=self.catalogue,
            is_taken=self.is_taken,
        )
        assert Plan.model_validate_json(plan.model_dump_json()) == plan
        return plan

    def reject(self, request: bytes | dict[str, Any] | list[Any], name: str = "request.json") -> Rejected:
        with pytest.raises(Rejected) as caught:
            self.prepare(request, name)
        response = rejected_response(caught.value, now=NOW)
        assert response.model_dump_json()
        for fault in caught.value.faults:
            assert fault.code
            assert fault.found
            assert fault.expected
            assert fault.fix
        return caught.value

    def faults(self, request: bytes | dict[str, Any] | list[Any], name: str = "request.json") -> dict[str, FieldFault]:
        return {fault.field: fault for fault in self.reject(request, name).faults}

    def set(self, **values: Any) -> None:
        self.settings = self.settings.model_copy(update=values)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("admission") / "project")


@pytest.fixture
def desk(project: Path, tmp_path: Path) -> Desk:
    settings = default_settings().model_copy(update={"default_repository": str(project), "routing": "off"})
    return Desk(repository=project, spool=tmp_path / "spool", settings=settings)
