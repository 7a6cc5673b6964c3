"""One run of `claude`: started, listened to, ended.

Its stdout goes line by line to a Follower, its stderr to the log. TERM is handed on to it, which ends its commands too
(it exits with 143, without a result line); KILL would orphan them. Where it does not end by itself after its result,
it is ended: the result counts. Fails with FileNotFoundError where there is no such program.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from haikud.agent.claude_code.judging import Run
from haikud.agent.claude_code.stream import Follower, lines_of

DEFAULTS = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    # Waits of 0.5, 1, 2, ... 32 s, and of what `retry-after` says: a gateway that starts anew is waited for.
    "CLAUDE_CODE_MAX_RETRIES": "6",
    "API_TIMEOUT_MS": "600000",
    # A stream that has begun and stalls; without it nothing ends one. The wait for the first byte is not meant.
    "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": "120000",
    # A call's worst case is reserved in the budget: by default Claude Code asks for up to 128,000 tokens.
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "16000",
    # After broken streams it would ask once more without a stream: a call that is paid for twice.
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
}
"""What Claude Code's environment says unless haikud's `environment.set_values` says otherwise."""

MOST_ERROR_CHARACTERS = 4000
SECONDS_AFTER_RESULT = 20.0
SECONDS_TO_END = 5.0
_SECONDS_OF_ERRORS = 1.0  # after its end: a command in the background may hold that pipe too
_TICK = 0.2
_CHUNK = 65_536
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def environment_for(environment: Mapping[str, str], config: Path) -> dict[str, str]:
    """The environment of `claude`: ours, with what it must not do by itself."""
    return {**DEFAULTS, **environment, "CLAUDE_CONFIG_DIR": str(config)}


class Claude:
    """A `claude` that runs. Signals that reach us are handed on to it."""

    def __init__(self, argv: Sequence[str], *, prompt: Path, environment: Mapping[str, str]) -> None:
        self._told_to_end = False
        self._process: subprocess.Popen[bytes] | None = None
        for one in SIGNALS:
            signal.signal(one, self._hand_on)
        with prompt.open("rb") as stdin:
            self._process = subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
            )
        if self._told_to_end:  # in between
            self._process.terminate()

    def follow(self, follower: Follower, say: Callable[[str], None]) -> Run:
        """Listen to it until it has ended."""
        process = self._process
        assert process is not None  # noqa: S101 -- for the type checker
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        errors: list[str] = []
        listener = threading.Thread(target=_relay_errors, args=(process.stderr.fileno(), errors, say), daemon=True)
        listener.start()
        for line in lines_of(self._chunks(process, follower)):
            follower.take(line)
        code = self._wait(process)
        process.stdout.close()
        listener.join(_SECONDS_OF_ERRORS)
        if not listener.is_alive():
            process.stderr.close()
        return Run(follower.said, code, "\n".join(errors)[-MOST_ERROR_CHARACTERS:], self._told_to_end)

    def _hand_on(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_end = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def _chunks(self, process: subprocess.Popen[bytes], follower: Follower) -> Iterator[bytes]:
        """Its stdout, to the end; not longer than it lives, for a command in the background may hold the pipe."""
        assert process.stdout is not None  # noqa: S101 -- for the type checker
        descriptor = process.stdout.fileno()
        since_result: float | None = None
        while True:
            ended = process.poll() is not None
            if select.select([descriptor], [], [], 0 if ended else _TICK)[0]:
                data = os.read(descriptor, _CHUNK)
                if not data:
                    return
                yield data
            elif ended:
                return
            if follower.said.result is not None:
                since_result = since_result or time.monotonic()
                if time.monotonic() - since_result > SECONDS_AFTER_RESULT:
                    return

    @staticmethod
    def _wait(process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(SECONDS_AFTER_RESULT)
        except subprocess.TimeoutExpired:
            process.terminate()
        try:
            return process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _relay_errors(descriptor: int, errors: list[str], say: Callable[[str], None]) -> None:
    def chunks() -> Iterator[bytes]:
        while data := os.read(descriptor, _CHUNK):
            yield data

    for line in lines_of(chunks(), longest=_CHUNK):
        text = "a line that is too long" if line is None else line.decode("utf-8", "replace").rstrip()
        if text:
            errors.append(text)
            del errors[:-100]
            say(f"claude: {text}")
