"""What is loaded before a fork: the first call of a forked process imports nothing, and shares nearly all of its memory."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
from typing import Any

import pytest
from tests.support.gateway_double import SOCKET, TOKEN, GatewayDouble
from tests.support.messages_double import says

from haikud.agent.haiku import client as client_module
from haikud.agent.haiku.client import MessagesClient
from haikud.agent.haiku.warming import _SECONDS, _Answered, practise_once_more
from haikud.contracts.settings import ApiSettings

MOST_MEGABYTES = 15

PROGRAM = """
import gc, json, os, resource, sys, threading
gc.disable()
import haikud.agent.haiku.session
from haikud.agent.haiku.client import MessagesClient
from haikud.agent.haiku.incoming import Incoming
from haikud.agent.haiku.warming import practise_once_more, warm_up
from haikud.contracts.settings import ApiSettings

class Never:
    descriptor, look_seconds = None, 5.0
    def is_set(self):
        return False

open_before = os.listdir("/proc/self/fd")
assert warm_up()
assert threading.active_count() == 1 and os.listdir("/proc/self/fd") == open_before
gc.collect()
gc.freeze()
loaded = set(sys.modules)
for child in ("practises", "calls"):
    if os.fork() == 0:
        break
    code = os.waitstatus_to_exitcode(os.wait()[1])
    if code or child == "calls":
        sys.exit(code)
if child == "practises":
    faults = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
    for _ in range(2):
        assert practise_once_more()
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    assert os.listdir("/proc/self/fd") == open_before and threading.active_count() == 1
    print(json.dumps([faults[1] - faults[0], faults[2] - faults[1]]), flush=True)
    os._exit(0)
incoming = Incoming()
with MessagesClient(ApiSettings(), sys.argv[2], sys.argv[1]) as client:
    request = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "Hi"}]}
    client.receive(request, incoming, Never())
    threads = len(os.listdir("/proc/self/task"))
lines = open("/proc/self/smaps_rollup").read().splitlines()
private = sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
told = {"threads": threads, "said": incoming.finish()[0]["text"], "imported": sorted(set(sys.modules) - loaded), "private": private}
print(json.dumps(told), flush=True)
os._exit(0)
"""


STRANGER = """
import socket, sys
with socket.socket(socket.AF_UNIX) as one:
    one.connect("\\0" + sys.argv[1])
    print(flush=True)
    input()
"""


def a_stranger_at(place: str) -> subprocess.Popen[bytes]:
    """Connected, and silent."""
    argv = [sys.executable, "-S", "-c", STRANGER, place.removeprefix("\0")]
    stranger = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert stranger.stdout is not None
    assert stranger.stdout.readline() == b"\n"
    return stranger


def test_a_stranger_who_calls_where_it_is_practised_holds_nobody_up(monkeypatch: pytest.MonkeyPatch):
    """The name is an abstract one, to which every process of the machine may connect."""
    make, stream, places, strangers = _Answered.__init__, _Answered.stream, [], []

    def made(client: _Answered, listener: Any, api: ApiSettings, key: str, place: str) -> None:
        places.append(place)
        make(client, listener, api, key, place)

    async def streamed(client: _Answered, *call: Any) -> None:
        await stream(client, *call)
        strangers.append(a_stranger_at(places[0]))

    monkeypatch.setattr(_Answered, "__init__", made)
    monkeypatch.setattr(_Answered, "stream", streamed)
    began = time.monotonic()
    try:
        assert practise_once_more()
    finally:
        for one in strangers:
            one.communicate(b"\n", timeout=10)
    assert len(strangers) == 2
    assert time.monotonic() - began < _SECONDS


def test_a_forked_process_calls_without_an_import_and_with_little_memory_of_its_own(tmp_path):
    with GatewayDouble(tmp_path, [says("Done.")]):
        argv = [sys.executable, "-c", PROGRAM, str(tmp_path / SOCKET), TOKEN]
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    (first, second), told = map(json.loads, ran.stdout.splitlines())
    assert second * 5 < first, "who has practised finds its memory there"
    assert told["said"] == "Done."
    assert told["imported"] == []
    assert told["threads"] == 1
    assert told["private"] < MOST_MEGABYTES


def test_certificates_are_loaded_where_tls_is_spoken_and_nowhere_else(monkeypatch):
    used = []
    real = client_module.httpx2.AsyncHTTPTransport

    def transport(*, verify: Any, **rest: Any) -> Any:
        used.append(verify)
        return real(verify=verify, **rest)

    monkeypatch.setattr(client_module.httpx2, "AsyncHTTPTransport", transport)
    MessagesClient(ApiSettings(base_url="https://localhost"), "key")
    MessagesClient(ApiSettings(base_url="http://localhost"), "key")
    MessagesClient(ApiSettings(base_url="https://api.example"), "key", "/socket")
    assert used[0] is True
    for context in used[1:]:
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.cert_store_stats()["x509"] == 0
