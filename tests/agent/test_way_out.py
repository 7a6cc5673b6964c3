"""What an isolated attempt reaches: its gateway, listed hosts through the proxy, and no passed-on proxy."""

from __future__ import annotations

import pytest
from tests.sandbox.egress.conftest import HERE, Host
from tests.sandbox.egress.conftest import web as web  # noqa: PLC0414 -- a fixture
from tests.sandbox.egress.test_within_walls import WALLS
from tests.support.attempts import Bench
from tests.support.gateway_double import GatewayDouble

from haikud.contracts.settings import SandboxSettings
from haikud.contracts.states import AttemptOutcome

SCRIPT = """
env > "$HAIKUD_OUT/seen"
curl -sS "$ANTHROPIC_BASE_URL/v1" && echo
curl -sS --max-time 20 http://other.test/
echo "$http_proxy" | grep -q "^http://" && echo there is a proxy
true
"""


@pytest.mark.parametrize("mode", WALLS)
def test_an_agent_reaches_the_gateway_and_is_told_what_it_does_not_reach(bench: Bench, web: Host, mode: str):
    with GatewayDouble(bench.spool.root, []) as gateway:
        place = gateway.place.model_copy(update={"base_url": f"http://{HERE}:{web.port}"})
        bench.order(
            SCRIPT,
            with_worktree=False,
            gateway=place,
            sandbox=mode,
            isolation=SandboxSettings(hosts=["listed.test"]),
            role={"credential": True},
            set_environment={"HTTPS_PROXY": "http://me:secret@corp.test", "ALL_PROXY": "socks5://corp.test", "A": "b"},
        )
        result = bench.run(key="a-token")
    assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
    log = bench.log()
    assert "agent | welcome to /v1" in log
    assert "agent | haikud: other.test:80 is not among the hosts that the settings list (sandbox.hosts)" in log
    assert "agent | there is a proxy" in log
    assert " network: other.test:80 was refused: it is not listed in sandbox.hosts" in log
    seen = (bench.paths.out / "seen").read_text()
    assert "A=b\n" in seen
    assert "corp.test" not in seen
    assert "secret" not in seen
