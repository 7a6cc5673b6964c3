"""The demo's processes: the scripted API and a real daemon, each in a session of its own, and their certain end.

Ctrl-C in a terminal reaches the demo alone; `end_all` then ends the rest: the daemon by a stop file, what does not
heed it by signals, and what a killed daemon left running by its mark.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from haikud.interfaces.demo_place import DemoPlace
from haikud.interfaces.trouble import Trouble

START_SECONDS = 30.0
STOP_SECONDS = 10.0
LOOK_SECONDS = 0.02
LAST_LINES = 15

SCRIPTED_KEY = "no-key-needed-the-model-is-scripted"


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def last_lines(path: Path) -> str:
    """The end of a log, for a message about trouble."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return "(it said nothing)"
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:])


class DemoProcesses:
    """What runs for the demo. Use `end_all` in a `finally`."""

    def __init__(self, place: DemoPlace) -> None:
        self._place = place
        self._api: subprocess.Popen[bytes] | None = None
        self.daemon: subprocess.Popen[bytes] | None = None

    def start_api(self, scenario: str) -> None:
        """Start the scripted API; `api_url` waits for it."""
        place = self._place
        arguments = [scenario, "--port-file", str(place.api_port), "--journal", str(place.api_journal), "--with-parent"]
        self._api = self._start(["haikud.offline", *arguments], place.api_log, _inherited())

    def api_url(self) -> str:
        """Its base URL, as soon as it listens; Trouble if it does not come."""
        api, port = self._api, self._place.api_port
        if api is None or not wait_for(lambda: port.exists() or api.poll() is not None, START_SECONDS):
            raise Trouble("the scripted API did not start", advice=last_lines(self._place.api_log))
        if api.poll() is not None:
            raise Trouble(f"the scripted API ended with {api.returncode}:\n{last_lines(self._place.api_log)}")
        return f"http://127.0.0.1:{int(port.read_text(encoding='ascii'))}"

    def start_daemon(self, base_url: str | None) -> None:
        """Start `haikud run` and wait until it serves the spool. `base_url` None: with the real key and API."""
        place = self._place
        environment = _inherited()
        if base_url is not None:
            environment = {name: value for name, value in environment.items() if not name.startswith("ANTHROPIC_")}
            environment |= {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": SCRIPTED_KEY}
            for name in ("NO_PROXY", "no_proxy"):  # a proxy could not reach this loopback
                environment[name] = ",".join(filter(None, (environment.get(name), "127.0.0.1")))
        arguments = ["run", "--spool", str(place.spool.root), "--config", str(place.settings)]
        self.daemon = self._start(["haikud.interfaces", *arguments], place.daemon_log, environment)
        came = wait_for(lambda: place.spool.status_file.exists() or not self.daemon_runs(), START_SECONDS)
        if not came or not self.daemon_runs():
            how = f"ended with {self.daemon.returncode}" if not self.daemon_runs() else "did not get ready"
            raise Trouble(f"the daemon {how}:\n{last_lines(place.daemon_log)}")

    def daemon_runs(self) -> bool:
        """Whether the daemon is there."""
        return self.daemon is not None and self.daemon.poll() is None

    def stop_daemon(self) -> int | None:
        """Ask the daemon to end, as systemd would; its exit code, or None where it does not end."""
        if self.daemon is None:
            return None
        self.daemon.send_signal(signal.SIGTERM)
        try:
            return self.daemon.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def end_all(self) -> None:
        """End whatever still runs, agents included."""
        if self.daemon_runs():
            self._stop_now()
        for process in (self.daemon, self._api):
            if process is not None:
                _end(process)
        self._end_leftovers()

    def _stop_now(self) -> None:
        control = self._place.spool.control
        try:
            (control / ".all.stop-now").touch()
            (control / ".all.stop-now").rename(control / "all.stop-now")
        except OSError:
            return  # no spool yet, so no agents: signals will do
        wait_for(lambda: not self.daemon_runs(), STOP_SECONDS)

    def _end_leftovers(self) -> None:
        """Runners outlive their daemon by design; the demo's must not outlive the demo."""
        plans = self._place.spool.plans
        outs = list(plans.glob("*/*/attempt-*/out"))
        if outs:
            from haikud.sandbox.trees import end_tree

            for out in outs:
                end_tree(marker=str(out), pids=[], grace=2.0)

    def _start(self, module: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with log.open("ab") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", *module],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=self._place.root,
                env=environment,
                start_new_session=True,
            )


def _inherited() -> dict[str, str]:
    """Our environment without settings of haikud's, which are not meant for the demo."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HAIKUD_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, (_source_root(), kept.get("PYTHONPATH"))))}


def _source_root() -> str:
    """Where this very package comes from: the demo shows this haikud, not another one on the path."""
    return str(Path(__file__).resolve().parents[2])


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
