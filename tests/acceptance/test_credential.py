"""The API's key: no attempt can find it, however it looks. What attempts get in its place is good for them alone."""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from tests.support.house import GATED, House
from tests.support.scripts import conversation, scenario

from haikud.agent.gateway_account import SocketPath, _Connection
from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

KEY_HUNTER = Path(__file__).resolve().parents[1] / "support" / "key_hunter.py"
POOR = [sys.executable, str(KEY_HUNTER.with_name("poor.py"))]
HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
GET_TOKEN = 'cd "$HAIKUD_OUT"; printf %s "$ANTHROPIC_API_KEY" > part; mv part token; '


def spellings(key: str) -> dict[str, bytes]:
    """A key as it may be written down."""
    plain = key.encode()
    found = {
        "clear": plain,
        "backwards": plain[::-1],
        "hex": plain.hex().encode(),
        "HEX": plain.hex().upper().encode(),
        "url": key.replace("-", "%2D").encode(),
        "every byte for url": "".join(f"%{byte:02X}" for byte in plain).encode(),
        "utf-16": key.encode("utf-16-le"),
    }
    for shift in range(3):  # whatever stands before it; the ends depend on their neighbours
        found[f"base64 at {shift}"] = base64.b64encode(b"x" * shift + plain).rstrip(b"=")[4:-4]
    return found


def places_of(key: str, *tops: Path) -> list[str]:
    """Where beneath these folders the key stands, and how."""
    found = []
    for top in tops:
        for path in top.rglob("*"):
            if path.is_file() and not path.is_symlink():
                data = path.read_bytes()
                found += [f"{path}: {how}" for how, text in spellings(key).items() if text in data]
    return found


def test_a_key_in_whatever_spelling_is_found_by_this_search(tmp_path: Path):
    key = "sk-ant-" + secrets.token_hex(16)
    file = tmp_path / "one"
    for how, text in spellings(key).items():
        file.write_bytes(b"before " + text + b" after")
        assert places_of(key, tmp_path) == [f"{file}: {how}"]


@contextmanager
def canary(value: str) -> Iterator[None]:
    """A process of this user that does not keep its environment to itself: whoever looks must see it."""
    process = subprocess.Popen([*POOR, "sleep", "300"], env={"CANARY": value})
    try:
        yield
    finally:
        process.kill()
        process.wait()


def has_in_memory(process: psutil.Process, text: bytes) -> bool:
    """Whether a process's writable memory holds that; only root can look."""
    with Path(f"/proc/{process.pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            begin, end = (int(part, 16) for part in span.split("-"))
            if rights.startswith("rw"):
                with suppress(OSError, OverflowError):
                    memory.seek(begin)
                    if text in memory.read(end - begin):
                        return True
    return False


def test_an_attempt_that_looks_everywhere_does_not_find_the_key(house: House):
    key, sign = "sk-ant-" + secrets.token_hex(24), secrets.token_hex(24)
    hunter, go = f"{sys.executable} {KEY_HUNTER}", house.root / "go"
    house.role("hunter", f"{hunter} && {GATED.format(gate=go)}", credential=True)
    hunts = conversation(
        {"tools": [{"name": "bash", "input": {"command": f"{hunter} && {GATED.format(gate=go)}"}}]},
        {"text": "Found nothing."},
        match="built-in",
    )
    house.wrapper = POOR
    with ScriptedApi(parse_scenario(scenario(hunts))) as api, canary(sign):
        house.environment = {"ANTHROPIC_API_KEY": key, "ANTHROPIC_BASE_URL": api.base_url}
        house.start()
        house.request("command", role="hunter")
        house.request("built-in", title="Task built-in")
        for name in ("command", "built-in"):
            house.at_work(name)
            if os.geteuid() == 0:
                assert not has_in_memory(psutil.Process(house.runner_pid(name)), key.encode())
        if os.geteuid() == 0:
            assert any(has_in_memory(one, key.encode()) for one in house.gateways()), "such a look would find it"
        go.touch()
        answers = [house.response(name) for name in ("command", "built-in")]
        assert len([one for one in api.journal if one.path == "/v1/messages" and one.status == 200]) == 2
    assert [answer["status"] for answer in answers] == ["success", "success"], house.tail()
    for name in ("command", "built-in"):
        loot = house.task_folder(name) / "attempt-1" / "out" / "loot"
        assert (loot / "done").exists()
        for file, seen in {"environ": sign, "ps": sign, "cmdline": "haikud-agent", "files": "messages.sock"}.items():
            assert seen.encode() in (loot / file).read_bytes(), file
    environ = (house.task_folder("command") / "attempt-1" / "out" / "loot" / "environ").read_bytes()
    assert b"ANTHROPIC_API_KEY=haikud.command.1." in environ
    assert "'ANTHROPIC_API_KEY': '[masked: API key]'" in house.log("command")
    assert places_of(key, house.root) == []


def call(house: House, token: str, *, model: str = HAIKU, socket: bool = False) -> tuple[int, str | None]:
    """Call a model as an agent would: the status, and why the gateway refused it."""
    place = json.loads((house.spool / "gateway" / "address.json").read_bytes()) if not socket else {}
    path = SocketPath(house.spool, "gateway/messages.sock")
    address = urlsplit(base_url_of(house)).netloc if place else ""
    connection = _Connection(path.text, 10.0) if socket else http.client.HTTPConnection(address, timeout=10.0)
    body = {"model": model, "max_tokens": 300, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"x-api-key": token, "anthropic-version": "2023-06-01", "content-type": "application/json"}
    try:
        connection.request("POST", "/v1/messages", json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["x-haikud-refusal"]
    finally:
        connection.close()
        path.close()


def base_url_of(house: House) -> str:
    """Where the newest attempt was told to find the gateway."""
    specs = sorted(house.spool.glob("plans/*/*/attempt-*/spec.json"), key=lambda path: path.stat().st_mtime)
    return str(json.loads(specs[-1].read_bytes())["gateway"]["base_url"])


def test_a_token_is_good_for_its_attempt_its_models_and_its_time(house: House):
    for name in ("first", "second"):
        house.role(name, GET_TOKEN + GATED.format(gate=house.root / f"{name}.go"), credential=True, model=HAIKU)
    says_hello = conversation({"text": "Hello."})
    with ScriptedApi(parse_scenario(scenario(says_hello))) as api:
        house.environment = {"ANTHROPIC_API_KEY": "sk-ant-the-real-one", "ANTHROPIC_BASE_URL": api.base_url}
        house.start()
        tokens = {}
        for name in ("first", "second"):
            house.request(name, role=name)
            house.at_work(name)
            tokens[name] = (house.task_folder(name) / "attempt-1" / "out" / "token").read_text()
        first, second = tokens["first"], tokens["second"]
        assert call(house, first) == (200, None)
        assert call(house, first, model=SONNET) == (403, "model")
        assert call(house, "sk-ant-the-real-one") == (401, "token")
        forged = second[: second.rindex(".")] + first[first.rindex(".") :]
        assert call(house, forged) == call(house, forged, socket=True) == (401, "token")
        (house.root / "first.go").touch()
        answer = house.response("first")
        assert answer["metrics"]["cost_usd"] > 0
        assert call(house, first) == call(house, first, socket=True) == (401, "token")
        assert call(house, second, socket=True) == (200, None)
        (house.root / "second.go").touch()
        house.response("second")
        assert call(house, second) == call(house, second, socket=True) == (401, "token")
        assert len([one for one in api.journal if one.path == "/v1/messages"]) == 2
