"""A repository's settings, as git itself reads them: read once for an attempt, and asked as often as needed.

They come from the repository's and the user's own configuration, never from what an agent can write. Fails with
`GitError`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from haikud.workspace.git import Asked, Git, as_text

_EXTENSIONS_OF_OBJECTS = {"extensions.objectformat", "extensions.partialclone", "extensions.preciousobjects"}


@dataclass(frozen=True)
class RepositorySettings:
    """All settings in the order in which git reads them: of one that is there twice, the last one counts."""

    entries: tuple[tuple[bytes, bytes | None], ...]  # name (section and name in lower case), value; None: no value

    def last(self, name: str) -> str | None:
        """The value of a setting, its name in lower case; None where it is not set, empty where it has no value."""
        wanted = name.encode()
        for key, value in reversed(self.entries):
            if key == wanted:
                return as_text(value or b"")
        return None

    def is_on(self, name: str) -> bool:
        """Whether a switch is set. What git would refuse as neither counts as on."""
        value = self.last(name)
        return value is not None and value.lower() not in {"false", "no", "off", "0"}

    @property
    def has_plain_worktrees(self) -> bool:
        """Whether a new worktree is what gitrepository-layout(5) says and nothing else.

        Sparse checkouts, settings of each worktree, shared folders, relative paths and whatever git will think of next
        are git's own business.
        """
        switches = ("core.sparsecheckout", "worktree.userelativepaths", "core.sharedrepository")
        if any(self.is_on(name) for name in switches):
            return False
        return all(
            key.decode("utf-8", "replace") in _EXTENSIONS_OF_OBJECTS
            for key, _ in self.entries
            if key.startswith(b"extensions.")
        )

    def ignore_file(self, repository: Git) -> Path:
        """The user's own list of ignored names."""
        named = self.last("core.excludesfile")
        if not named:
            folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111 - may stay
            return Path(folder) / "git" / "ignore"
        if named.startswith(("~", "%", ":")):  # git knows whose home, and what else it may mean
            asked = repository.ask("config", "--type=path", "--get", "core.excludesFile", ok=(0, 1))
            named = asked.text.rstrip("\n") or named
        return Path(named)


def read_settings(git_common_dir: str | Path) -> RepositorySettings:
    """The settings of a repository, those of the user and the machine among them."""
    return settings_from(ask_settings(git_common_dir))


def ask_settings(git_common_dir: str | Path) -> Asked:
    """The same, begun: `settings_from` waits for it."""
    return Git(git_common_dir).begin("config", "--null", "--list", "--includes")


def settings_from(asked: Asked) -> RepositorySettings:
    """What was asked for by `ask_settings`."""
    entries = []
    for entry in asked.finish().stdout.split(b"\0"):
        if entry:
            key, separator, value = entry.partition(b"\n")
            entries.append((key, value if separator else None))
    return RepositorySettings(tuple(entries))
