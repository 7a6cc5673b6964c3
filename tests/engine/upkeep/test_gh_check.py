"""What the doctor says of gh."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.support.github_double import REPOSITORY, TOKEN, Fault, GitHubDouble, limited, needs_gh

from haikud.contracts.settings import Settings
from haikud.engine.upkeep.findings import Finding, Severity
from haikud.engine.upkeep.gh_check import check_gh


def look(environ: dict[str, str], **github: Any) -> Finding:
    settings = Settings.model_validate({"issues": "github", "github": github})
    (found,) = check_gh(settings, environ)
    return found


def test_gh_is_asked_only_where_issues_are_on_github(tmp_path: Path):
    (found,) = check_gh(Settings.model_validate({}), {"PATH": str(tmp_path)})
    assert (found.severity, "nothing needs it" in found.message) == (Severity.OK, True)
    missing = look({"PATH": str(tmp_path)})
    assert (missing.severity, "apt-get install gh" in missing.cure) == (Severity.FAULT, True)


@needs_gh
def test_login_repository_and_calls_left_are_looked_at(tmp_path: Path):
    double = GitHubDouble(tmp_path)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **double.environment, "GH_ENTERPRISE_TOKEN": TOKEN}
    try:
        well = look(environ, repository=REPOSITORY)
        assert well.message == f"gh is logged in at {double.host} as octocat, 4999 of 5000 calls left"
        refused = look({**environ, "GH_ENTERPRISE_TOKEN": "ghp_wrong"})
        assert (refused.severity, "gh auth login" in refused.cure) == (Severity.FAULT, True)
        assert "ghp_wrong" not in str(refused)
        double.fail("GET", limited(900), limited(900))
        assert (found := look(environ)).severity is Severity.NOTE
        assert "rate limit" in found.message
        double.fail("GET", Fault(403, "Resource not accessible by integration"))
        assert "as an app" in look(environ).message
        double.has_issues = False
        assert "turned off" in look(environ, repository=REPOSITORY).message
    finally:
        double.close()
