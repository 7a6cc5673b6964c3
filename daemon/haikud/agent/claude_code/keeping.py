"""What lasts over the attempts of a task: `$HAIKUD_OUT/keep/`, which the runner moves on to the next attempt.

`claude-code.json` names the session and what it was told; `claude/` is Claude Code's own folder, with the session in
it. Losing either costs a new session, nothing else: what cannot be read is as good as none.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from haikud.agent.claude_code.stream import number


@dataclass(frozen=True)
class Session:
    """A session of Claude Code's."""

    session_id: str
    begun: bool = False  # the model has answered in it, so there is something to go on with
    guidance: str = ""  # digest of the answers that it was told
    note: str = ""  # digest of the note that it was told
    cost_usd: float = 0.0  # of all its runs, as Claude Code says

    def with_told(self, guidance: str, note: str) -> Session:
        """The same, begun, and told these."""
        return replace(self, begun=True, guidance=digest(guidance), note=digest(note))


class Keep:
    """The folder that is kept."""

    def __init__(self, out: Path) -> None:
        self._folder = out / "keep"
        self._file = self._folder / "claude-code.json"

    @property
    def claude(self) -> Path:
        """CLAUDE_CONFIG_DIR."""
        return self._folder / "claude"

    def read(self) -> Session | None:
        """The session of the attempts before, if there is one to go on with."""
        try:
            found = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or not isinstance(found.get("session_id"), str) or not found["session_id"]:
            return None
        return Session(
            session_id=found["session_id"],
            begun=found.get("begun") is True,
            guidance=str(found.get("guidance", "")),
            note=str(found.get("note", "")),
            cost_usd=number(found.get("cost_usd")),
        )

    def write(self, session: Session) -> None:
        """Keep the session, whole. Raises OSError."""
        self.claude.mkdir(mode=0o700, parents=True, exist_ok=True)
        hidden = self._folder / ".claude-code.json"
        hidden.write_text(json.dumps(asdict(session)) + "\n", encoding="utf-8")
        hidden.replace(self._file)


def digest(text: str) -> str:
    """What tells one text from another, "" for none."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() if text.strip() else ""
