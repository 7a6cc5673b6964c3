"""Placing and removing haikud's units, and having systemd take notice.

Done twice, it does nothing the second time. A file that somebody has changed, or that is not ours, is neither replaced
nor removed. Removing leaves the spool, the settings, the key and the system user alone. What a program refuses that
people can do themselves (lingering, a systemd that does not run) is told and does not end the rest. Fails with OSError.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from haikud.interfaces.service.unit_files import Standing, UnitFile, standing

Tell = Callable[[str], None]


class NotOurs(Exception):  # noqa: N818 - reads as what it is
    """A file of somebody's stands in the way; the message names it."""


@dataclass
class Placing:
    """One installation or removal. With `dry_run` it is only told what would be done."""

    tell: Tell
    dry_run: bool

    def place(self, given: Sequence[UnitFile]) -> bool:
        """Place the files; whether anything changed. Raises NotOurs before it has changed anything."""
        stand = {file.path: standing(file.path) for file in given}
        for path, how in stand.items():
            if how in {Standing.CHANGED, Standing.FOREIGN}:
                whose = "was changed since it was placed" if how is Standing.CHANGED else "is not from here"
                raise NotOurs(f"{path} {whose}")
        changed = False
        for file in given:
            if stand[file.path] is Standing.OURS and file.path.read_text(encoding="utf-8") == file.text:
                self.tell(f"{file.path} is there already")
                continue
            changed = True
            self.done("placed" if stand[file.path] is Standing.FREE else "replaced", str(file.path))
            if not self.dry_run:
                file.path.parent.mkdir(parents=True, exist_ok=True)
                beside = file.path.with_name(f".{file.path.name}.new")
                beside.write_text(file.text, encoding="utf-8")
                beside.chmod(0o644)
                beside.replace(file.path)
        return changed

    def remove(self, given: Sequence[UnitFile]) -> bool:
        """Remove those of the files that are as they were placed; whether there were any."""
        found = False
        for file in given:
            how = standing(file.path)
            if how is Standing.OURS:
                found = True
                self.done("removed", str(file.path))
                if not self.dry_run:
                    file.path.unlink(missing_ok=True)
            elif how is not Standing.FREE:
                self.tell(f"left {file.path}: somebody has changed it")
        return found

    def folder(self, path: Path) -> None:
        """A private folder."""
        if not path.is_dir():
            self.done("made", str(path))
            if not self.dry_run:
                path.mkdir(mode=0o700, parents=True)

    def run(self, *argv: str, otherwise: str) -> bool:
        """Run a program; what it means when it refuses is `otherwise`."""
        line = " ".join(argv)
        if self.dry_run:
            self.tell(f"would run {line}")
            return True
        try:
            ended = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            why = str(error)
        else:
            if ended.returncode == 0:
                self.tell(f"ran {line}")
                return True
            why = " ".join(ended.stderr.split()) or f"exit code {ended.returncode}"
        self.tell(f"warning: {line}: {why[:300]}; {otherwise}")
        return False

    def done(self, what: str, name: str) -> None:
        """Tell of a change."""
        self.tell(f"would have {what} {name}" if self.dry_run else f"{what} {name}")
