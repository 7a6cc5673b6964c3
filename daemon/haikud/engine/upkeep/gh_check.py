"""The doctor's look at gh: is it there, is it logged in, may it see the repository, are there calls left.

Only `issues: github` needs it; only then GitHub is asked, by two calls at most.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping

from haikud.contracts.settings import Settings
from haikud.contracts.tracker import TrackerTrouble
from haikud.engine.upkeep.findings import Code, Finding, fault, note, ok
from haikud.workspace.gh import GITHUB, HOST_NAME, Gh, github_tokens, limit_wait

CALL_SECONDS = 15.0


def check_gh(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """One finding."""
    found = shutil.which("gh", path=environ.get("PATH"))
    if settings.issues == "github":
        yield _ask(settings, environ)
    elif found:
        yield ok(Code.GH, "gh is there", found)
    else:
        yield ok(Code.GH, "gh is not there; nothing needs it: issues are local files")


def _ask(settings: Settings, environ: Mapping[str, str]) -> Finding:
    stated = settings.github.host or environ.get(HOST_NAME)
    gh = Gh(
        host=stated or GITHUB,
        host_is_stated=stated is not None,
        tokens=github_tokens(environ),
        call_seconds=CALL_SECONDS,
        limit_wait_seconds=0,
        environ=environ,
    )
    try:
        # The login of an app (GitHub Actions) is nobody, and is refused with 403.
        answer = gh.call("GET", "user", ok=(403,))
        if answer.status == 403 and limit_wait(answer) is not None:
            answer = gh.call("GET", "user")  # which says so
        if settings.github.repository is not None:
            where = gh.call("GET", f"repos/{settings.github.repository}").body
            if isinstance(where, dict) and where.get("has_issues") is False:
                cure = "turn them on in its settings, or name another in github.repository"
                return fault(Code.GH, f"issues are turned off in {settings.github.repository}", cure=cure)
    except TrackerTrouble as trouble:
        passes = trouble.passing or trouble.code == "RATE_LIMITED"
        return (note if passes else fault)(Code.GH, str(trouble), cure=trouble.cure)
    who = answer.body.get("login") if isinstance(answer.body, dict) and answer.status == 200 else "an app"
    left, of = (answer.headers.get(f"x-ratelimit-{name}") for name in ("remaining", "limit"))
    calls = f", {left} of {of} calls left" if left and of else ""
    return ok(Code.GH, f"gh is logged in at {gh.host} as {who}{calls}")
