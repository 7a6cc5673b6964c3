"""The rules as older kernels would take them: what each ABI knows is asked for, and no more."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from haikud.sandbox.landlock import NET_ABI, SCOPE_ABI, landlock_abi

pytestmark = pytest.mark.skipif(landlock_abi() < 1, reason="this kernel has no Landlock")

# One child for each ABI, since walls are for ever; each says what it could do.
TRIALS = """
import errno, json, os, signal, socket, sys
from haikud.sandbox.landlock import READ, WRITE, enclose
from haikud.sandbox.seccomp import Reach, program
allowed, forbidden, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
def could(act):
    try:
        act()
        return True
    except OSError as error:
        assert error.errno in (errno.EACCES, errno.EPERM, errno.EXDEV), error
        return False
def connect(number):
    with socket.socket() as client:
        client.connect(("127.0.0.1", number))
for abi in range(1, int(sys.argv[4]) + 1):
    if os.fork() == 0:
        reach = Reach(own_namespaces=False, other_internet=False)
        enclose({"abi": abi, "places": [(allowed, WRITE), ("/usr", READ)], "ports": [1], "filter": program(reach)})
        os.mkdir(f"{allowed}/{abi}")
        open(f"{allowed}/file{abi}", "w").close()
        print(json.dumps({
            "abi": abi,
            "read": could(lambda: open(forbidden)),
            "truncate": could(lambda: os.truncate(forbidden, 0)),
            "move": could(lambda: os.rename(f"{allowed}/file{abi}", f"{allowed}/{abi}/file")),
            "connect": could(lambda: connect(port)),
            "signal": could(lambda: os.kill(os.getppid(), 0)),
        }), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


def test_each_abi_holds_what_it_can(tmp_path: Path):
    allowed, forbidden = tmp_path / "allowed", tmp_path / "forbidden"
    allowed.mkdir()
    forbidden.write_text("text")
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = [str(allowed), str(forbidden), str(server.getsockname()[1]), str(landlock_abi())]
        argv = [sys.executable, "-c", TRIALS, *given]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        could = json.loads(line)
        abi = could["abi"]
        assert could == {
            "abi": abi,
            "read": False,
            "truncate": abi < 3,
            "move": abi >= 2,
            "connect": abi < NET_ABI,
            "signal": abi < SCOPE_ABI,
        }
    assert len(done.stdout.splitlines()) == landlock_abi()
