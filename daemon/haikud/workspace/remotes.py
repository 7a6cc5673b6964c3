"""Which repository of GitHub a checkout belongs to, by the URL of its remote."""

from __future__ import annotations

import re
from pathlib import Path

from haikud.contracts.tracker import TrackerTrouble
from haikud.workspace.git import Git, without_credentials

_CURE = "Name it in the settings (github: {repository: OWNER/NAME}), or give the checkout a remote on GitHub"

_URL = re.compile(
    r"(?:(?:https?|ssh|git)://)(?:[^/@]+@)?(?P<host>[^/:]+)(?::[0-9]+)?/(?P<path>[^?#]+)"
    r"|(?:[^/@:]+@)?(?P<short_host>[^/@:]+):(?P<short_path>[^/].*)"
)
_PATH = re.compile(r"(?P<owner>[A-Za-z0-9_.-]+)/(?P<name>[A-Za-z0-9_.-]+?)(?:\.git)?/?")
_SAME = {"ssh.github.com": "github.com", "www.github.com": "github.com"}


def repository_of_remote(git_common_dir: str | Path, remote: str) -> tuple[str, str]:
    """Host and OWNER/NAME. Raises TrackerTrouble where the remote is missing, or is no URL like GitHub's."""
    ran = Git(git_common_dir).ask("remote", "get-url", "--", remote, ok=None)
    url = ran.text.strip()
    if ran.exit_code != 0 or not url:
        raise TrackerTrouble("NO_GITHUB_REPOSITORY", f"{git_common_dir} has no remote {remote!r}", _CURE)
    found = parse_remote(url)
    if found is None:
        said = f"the remote {remote!r} ({without_credentials(url)}) is no repository of GitHub"
        raise TrackerTrouble("NO_GITHUB_REPOSITORY", said, _CURE)
    return found


def parse_remote(url: str) -> tuple[str, str] | None:
    """`git@github.com:o/n.git`, `https://github.com/o/n`, `ssh://git@github.com/o/n.git` -> ("github.com", "o/n")."""
    whole = _URL.fullmatch(url)
    if whole is None:
        return None
    host = (whole["host"] or whole["short_host"]).lower()
    path = _PATH.fullmatch(whole["path"] or whole["short_path"])
    return None if path is None else (_SAME.get(host, host), f"{path['owner']}/{path['name']}")
