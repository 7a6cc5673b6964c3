"""What an isolated command reaches, in each mode that has walls: real commands, real walls, real sockets.

The control runs the same script without walls: what is held back there would be held back by nobody.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.sandbox.egress.conftest import HERE, Host

from haikud.contracts.settings import SandboxSettings
from haikud.sandbox.bwrap import find_bwrap
from haikud.sandbox.egress.gate import open_egress
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.landlock import NET_ABI, landlock_abi
from haikud.sandbox.policy import Policy

WALLS = [
    pytest.param("bwrap", marks=pytest.mark.skipif(find_bwrap() is None, reason="bubblewrap is not installed")),
    pytest.param(
        "landlock",
        marks=pytest.mark.skipif(landlock_abi() < NET_ABI, reason="this kernel's Landlock knows no ports"),
    ),
]

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

Run = Callable[..., tuple[str, list[str]]]
Listen = Callable[[Callable[[socket.socket], None]], int]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a script within walls; its output and what the log was told."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tree").mkdir()

    def run(mode: str, script: str, *, ports: tuple[int, ...] = (), **settings: object) -> tuple[str, list[str]]:
        chosen = SandboxSettings.model_validate(settings)
        policy = Policy(
            mode=mode,
            writable=(tmp_path / "tree", tmp_path / "tmp"),
            temporary=tmp_path / "tmp",
            settings=chosen,
            ports=ports,
        )
        said: list[str] = []
        output: list[bytes] = []
        sandbox = Sandbox(policy, open_egress(said.append, {})(policy))
        try:
            env = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", **sandbox.environment()}
            sandbox.run(
                ["bash", "-c", script], cwd=tmp_path / "tree", env=env, timeout=60.0, grace=1.0, on_output=output.append
            )
        finally:
            sandbox.close()
        return b"".join(output).decode(errors="replace"), said

    return run


def direct(port: int) -> str:
    """Connect without a proxy, and by UDP to a name server that would answer."""
    return f"""python3 - <<'.'
import socket
try:
    print("direct", socket.create_connection(("{HERE}", {port}), 5))
except OSError as error:
    print("no way", error.errno)
try:
    print("resolved", socket.getaddrinfo("localhost.haikud.test", 80))
except OSError as error:
    print("no name", type(error).__name__)
try:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(b"x", ("{HERE}", {port}))
        print("sent")
except OSError as error:
    print("no udp", error.errno)
.
"""


@pytest.mark.parametrize("mode", WALLS)
def test_a_listed_host_is_reached_through_the_proxy_and_no_other_way(run: Run, web: Host, mode: str):
    listed, other = f"http://{HERE}:{web.port}/a", "http://other.test/"
    script = f"""
curl -sS --noproxy '' --max-time 20 {listed}; echo " ($?)"
curl -sS --max-time 20 {other}; echo " ($?)"
curl -sS --max-time 20 https://other.test/; echo " ($?)"
{direct(web.port)}
"""
    output, said = run(mode, script, hosts=[f"{HERE}:{web.port}"])
    assert "welcome to /a (0)" in output
    assert "other.test:80 is not among the hosts that the settings list (sandbox.hosts)" in output
    assert "response 403" in output
    assert "no way" in output
    assert "no name" in output
    assert "direct" not in output
    assert [line.split(" was ")[0] for line in said] == ["network: other.test:80", "network: other.test:443"]
    assert len(web.asked) == 1


def test_without_walls_all_of_it_is_open(run: Run, web: Host):
    output, _ = run("none", direct(web.port))
    assert "direct" in output
    assert "sent" in output


@pytest.mark.parametrize("mode", WALLS)
@pytest.mark.parametrize("network", ["listed", "off"])
def test_the_gateways_port_is_there_and_what_it_streams_comes_at_once(
    run: Run, listen: Listen, mode: str, network: str
):
    def stream(connected: socket.socket) -> None:
        for number in range(5):  # the next only after the one before has arrived
            connected.sendall(b"event %d\n" % number)
            assert connected.recv(100) == b"ok\n"

    port = listen(stream)
    script = f"""
exec 3<>/dev/tcp/{HERE}/{port}
while read -r line <&3; do echo "$line"; echo ok >&3; done
env | grep -ic '^https_proxy='
"""
    output, _ = run(mode, script, ports=(port,), network=network)
    assert output.splitlines() == [*(f"event {number}" for number in range(5)), "2" if network == "listed" else "0"]


@pytest.mark.parametrize("mode", WALLS)
def test_with_the_network_off_nothing_is_reached(run: Run, web: Host, mode: str):
    script = f"curl -sS --max-time 20 http://{HERE}:{web.port}/; echo $?\n{direct(web.port)}"
    output, _ = run(mode, script, hosts=[f"{HERE}:{web.port}"], network="off")
    assert "no way" in output
    assert "no name" in output
    assert "welcome" not in output
    assert web.asked == []


@pytest.mark.parametrize("mode", WALLS)
def test_programs_find_the_proxy_by_themselves(run: Run, web: Host, mode: str):
    """Each asks for a host that is not listed, and tells what it was answered."""
    script = """
python3 - <<'.'
import urllib.request
try:
    urllib.request.urlopen("https://other.test/", timeout=20)
except OSError as error:
    print("urllib:", error)
.
git ls-remote https://other.test/x 2>&1
"""
    output, _ = run(mode, script, hosts=[])
    assert "urllib: <urlopen error Tunnel connection failed: 403 Not listed in sandbox.hosts>" in output
    assert "unable to access 'https://other.test/x/': CONNECT tunnel failed, response 403" in output


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
@pytest.mark.parametrize("mode", WALLS[1:])  # where the proxy asks for a password, too
def test_npm_finds_the_proxy_by_itself(run: Run, web: Host, mode: str):
    script = f"HOME=$PWD npm view left-pad --registry http://npm.test:{web.port}/ --fetch-retries 0 2>&1"
    output, said = run(mode, script, hosts=[])
    assert f"network: npm.test:{web.port} was refused" in said[0], output
