"""One machine for each test process, and the service in it. All of this is skipped, with the reason, where none is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.systemd.machine import Machine, why_not
from tests.systemd.service import Service


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted systemd."""
    if missing := why_not():
        pytest.skip(f"no systemd of our own: {missing}")
    made = Machine(Path(tmp_path_factory.mktemp("machine")))
    try:
        made.boot()
        yield made
    finally:
        made.halt()


@pytest.fixture(scope="session")
def installed(machine: Machine) -> Service:
    """The system service, installed and never started."""
    service = Service(machine)
    service.prepare()
    machine.run("haikud", "install-service")
    return service


@pytest.fixture
def service(installed: Service) -> Iterator[Service]:
    """The system service, started."""
    installed.ctl("start", "haikud")
    yield installed
    installed.open_gate()
    installed.forget_drop_ins()
    installed.ctl("reset-failed", "haikud", check=False)
