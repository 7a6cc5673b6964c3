"""The one way in which haikud runs gh: one REST call of GitHub's API at a time (`gh api`), its answer read whole.

Promises: explicit arguments, bodies by standard input, an environment built from nothing plus the tokens that it was
given, never a prompt, a time limit. A rate limit that ends soon is waited out. A token is in no message, whatever gh
or GitHub print. Fails with TrackerTrouble whose cure is what a person has to do: install gh, log in, wait, name the
right repository.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from haikud.contracts.masking import active_masker
from haikud.contracts.tracker import TrackerTrouble
from haikud.workspace.git import as_text
from haikud.workspace.processes import Finished, run_program

GITHUB = "github.com"
TOKEN_NAMES = ("GH_TOKEN", "GITHUB_TOKEN")
ENTERPRISE_TOKEN_NAMES = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")
"""gh sends these to any host that is not github.com; so they go only where somebody named the host."""

HOST_NAME = "GH_HOST"

SECONDARY_WAIT = 60.0
"""Where GitHub does not say how long: its documentation asks for a minute at least."""

MOST_LIMITS = 5
"""So often one call meets a rate limit before that is told."""

# Where gh finds its own login (its folder, the keyring of the session), certificates and proxies. HAIKUD_OUT marks
# what belongs to an attempt.
PASSED_NAMES = (
    *("PATH", "HOME", "XDG_CONFIG_HOME", "GH_CONFIG_DIR", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "HAIKUD_OUT"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)

_QUIET = {
    "GH_PROMPT_DISABLED": "1",
    "GH_NO_UPDATE_NOTIFIER": "1",
    "GH_NO_EXTENSION_UPDATE_NOTIFIER": "1",
    "GH_PAGER": "cat",
    "NO_COLOR": "1",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}

INSTALL = (
    "Install GitHub's CLI where the daemon's PATH finds it: apt-get install gh, dnf install gh or brew install gh; "
    "see https://cli.github.com"
)

_STATUS_LINE = re.compile(rb"HTTP/[0-9.]+ ([0-9]{3})\b")


@dataclass(frozen=True)
class Answer:
    """What GitHub answered."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: Any  # of JSON; None where there was none

    @property
    def message(self) -> str:
        """GitHub's own words, with what its validation found."""
        if not isinstance(self.body, dict):
            return f"HTTP {self.status}"
        faults = self.body.get("errors") or []
        said = [str(one.get("message") or one) if isinstance(one, dict) else str(one) for one in faults]
        return "; ".join([str(self.body.get("message") or f"HTTP {self.status}"), *said])


def _go_on(seconds: float) -> bool:
    time.sleep(seconds)
    return True


@dataclass
class Gh:
    """gh for one host. `host_is_stated`: a person named it, so that an enterprise token may go there.

    `wait` is asked to wait so many seconds and says whether to go on; `stop` is looked at while gh runs.
    """

    host: str = GITHUB
    host_is_stated: bool = False
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)  # by the names of their variables
    call_seconds: float = 60.0
    limit_wait_seconds: float = 60.0
    wait: Callable[[float], bool] = _go_on
    stop: Callable[[], bool] | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)  # that gh gets a part of

    def call(
        self,
        method: str,
        path: str,
        fields: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str | int] | None = None,
        ok: tuple[int, ...] = (),
    ) -> Answer:
        """One REST call; `path` is relative to the API's root. Statuses but 2xx and those in `ok` are trouble."""
        argv = ["gh", "api", "--include", "--method", method, "-H", "Accept: application/vnd.github+json"]
        body = None
        if fields is not None:
            body = json.dumps(active_masker().value(dict(fields))).encode()  # others may read it
            argv += ["--input", "-"]
        argv.append(f"{path}?{urlencode(query)}" if query else path)
        for _ in range(MOST_LIMITS):
            answer = self._ask(argv, body)
            if 200 <= answer.status < 300 or answer.status in ok:
                return answer
            seconds = limit_wait(answer)
            if seconds is None:
                raise self._refused(f"{method} {path}", answer)
            if seconds > self.limit_wait_seconds or not self.wait(seconds):
                break
        raise self._limited(answer, seconds)

    def _ask(self, argv: list[str], body: bytes | None) -> Answer:
        done = self._run(argv, body)
        answer = read_answer(done.stdout)
        if answer is not None:
            return answer
        said = self._clean(as_text(done.stderr).strip()) or "it said nothing"
        if done.exit_code == 4 or "gh auth login" in said:
            raise self._not_logged_in(said)
        raise TrackerTrouble(
            "GITHUB_UNREACHABLE",
            f"GitHub ({self.host}) could not be reached: {said.splitlines()[0]}",
            "Check the network, the proxy's variables and https://www.githubstatus.com, then retry the task",
            details=said,
            passing=True,
        )

    def _run(self, argv: list[str], body: bytes | None) -> Finished:
        try:
            done = run_program(
                argv, stdin=body, timeout=self.call_seconds, env=self.environment(), cwd="/", stop=self.stop
            )
        except FileNotFoundError as error:
            raise TrackerTrouble("GH_MISSING", "gh: command not found", INSTALL) from error
        except PermissionError as error:
            raise TrackerTrouble("GH_MISSING", f"gh cannot be run: {error.strerror}", INSTALL) from error
        if done.exit_code is None:
            when = "because the attempt ends" if self.stop and self.stop() else f"after {self.call_seconds:g} s"
            raise TrackerTrouble(
                "GITHUB_UNREACHABLE",
                f"gh was ended {when}, without an answer of {self.host}",
                "Check the network and the proxy's variables, or raise github.call_seconds, then retry the task",
                details=self._clean(as_text(done.stderr).strip()),
                passing=True,
            )
        return done

    def environment(self) -> dict[str, str]:
        """All that gh gets to see."""
        known = {name: self.environ[name] for name in PASSED_NAMES if name in self.environ}
        names = TOKEN_NAMES + (ENTERPRISE_TOKEN_NAMES if self.host_is_stated else ())
        tokens = {name: self.tokens[name] for name in names if self.tokens.get(name)}
        return {"PATH": os.defpath, **known, **_QUIET, HOST_NAME: self.host, **tokens}

    def _clean(self, text: str) -> str:
        for token in self.tokens.values():
            text = text.replace(token, "[masked: GitHub token]") if token else text
        return active_masker().text(text)

    def _not_logged_in(self, said: str) -> TrackerTrouble:
        name = TOKEN_NAMES[0] if is_github(self.host) else ENTERPRISE_TOKEN_NAMES[0]
        return TrackerTrouble(
            "NOT_LOGGED_IN",
            f"gh is not authenticated for {self.host}",
            f"Run `gh auth login --hostname {self.host}` as the daemon's user (`gh auth status` shows what it has), "
            f"or start the daemon with {name} set",
            details=said,
        )

    def _limited(self, answer: Answer, seconds: float | None) -> TrackerTrouble:
        until = time.strftime("%H:%M:%S UTC", time.gmtime(time.time() + (seconds or 0)))
        return TrackerTrouble(
            "RATE_LIMITED",
            f"GitHub's API rate limit is exceeded; it ends in {seconds or 0:.0f} s, at {until}",
            f"Wait until {until} (`gh api rate_limit` shows it), then retry the task: what was done is not done again. "
            "A login (gh auth login, GH_TOKEN) has a higher limit than none; fewer calls need less of it",
            details=self._clean(answer.message),
        )

    def _refused(self, call: str, answer: Answer) -> TrackerTrouble:
        said = self._clean(answer.message)
        if answer.status == 401:
            return self._not_logged_in(said)
        passing = answer.status >= 500
        code, cure = _REFUSALS.get(answer.status, ("GITHUB_REFUSED", "Read GitHub's words in the details"))
        if passing:
            code, cure = "GITHUB_ERROR", "Look at https://www.githubstatus.com, then retry the task"
        message = f"GitHub ({self.host}) refused {call}: {said} (HTTP {answer.status})"
        return TrackerTrouble(code, message, cure, details=said, passing=passing)


_MOVED = ("REPOSITORY_MOVED", "Give its new OWNER/NAME in github.repository, or to the checkout's remote")

_REFUSALS = {
    **dict.fromkeys((301, 302, 307, 308), _MOVED),  # gh follows those of a reading call only
    403: (
        "FORBIDDEN",
        "Give the login the right to write issues: `gh auth refresh --scopes repo`, or a token that may write them",
    ),
    404: (
        "NO_SUCH_REPOSITORY",
        "Check github.repository in the settings, and that the login may see it (`gh repo view OWNER/NAME`)",
    ),
    422: ("BAD_PARAMS", "Mend the request's params and drop it again under a new id"),
}


def github_tokens(environ: Mapping[str, str]) -> dict[str, str]:
    """The tokens for gh in an environment, by the names of their variables."""
    names = TOKEN_NAMES + ENTERPRISE_TOKEN_NAMES
    return {name: environ[name].strip() for name in names if environ.get(name, "").strip()}


def is_github(host: str) -> bool:
    """Whether gh takes GH_TOKEN for this host, and not the enterprise's."""
    return host == GITHUB or host.endswith((".github.com", ".ghe.com"))


def read_answer(output: bytes) -> Answer | None:
    """What `gh api --include` printed: a status line, headers, an empty line, the body. None where it is none."""
    found = _STATUS_LINE.match(output)
    if found is None:
        return None
    head, _, body = output.replace(b"\r\n", b"\n").partition(b"\n\n")
    headers = {}
    for line in as_text(head).split("\n")[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    try:
        content = json.loads(body) if body.strip() else None
    except ValueError:
        content = None
    return Answer(int(found[1]), headers, content)


def limit_wait(answer: Answer) -> float | None:
    """The seconds after which a call that met a rate limit may be made again; None where it met none.

    GitHub: 403 or 429; `retry-after`, else `x-ratelimit-reset` where nothing remains, else a minute.
    """
    if answer.status not in {403, 429}:
        return None
    headers = answer.headers
    used_up = headers.get("x-ratelimit-remaining") == "0"
    if "retry-after" not in headers and not used_up and "rate limit" not in answer.message.lower():
        return None
    after, reset = _number(headers.get("retry-after")), _number(headers.get("x-ratelimit-reset"))
    if after is not None:
        return max(after, 1.0)
    if used_up and reset is not None:
        return max(reset - _server_time(headers), 0.0) + 1.0
    return SECONDARY_WAIT


def _server_time(headers: Mapping[str, str]) -> float:
    """GitHub's clock, against which it means its reset."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return time.time()


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
