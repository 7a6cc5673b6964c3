"""From Claude Code's tool names to the tools that the built-in agent has.

Promises: a role never gets more than its file says. What is unknown is not given; a Bash that is allowed for some
commands only (`Bash(git diff:*)`) is not given either, because haikud cannot keep that promise inside a shell.
`edit` can view what it changes; `view` shows files and folders and changes nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

ALL_TOOLS = ("bash", "edit", "view", "report_progress", "escalate")
"""What the built-in agent can be given. The last two report only, and are always there."""

_ALWAYS = frozenset({"report_progress", "escalate"})

_OURS = {
    "bash": "bash",
    "edit": "edit",
    "write": "edit",
    "multiedit": "edit",
    "notebookedit": "edit",
    "str_replace_based_edit_tool": "edit",
    "read": "view",
    "view": "view",
    "grep": "view",
    "glob": "view",
    "ls": "view",
    "notebookread": "view",
    "report_progress": "report_progress",
    "escalate": "escalate",
}

_NOT_MISSED = frozenset({"bashoutput", "killshell", "killbash", "todowrite", "todoread", "exitplanmode"})
"""Claude Code's housekeeping: bash ends by itself here, progress is reported."""

_ALL_WORDS = frozenset({"*", "all", "all tools"})


def choose_tools(
    named: Iterable[str] | None, denied: Iterable[str] | None, *, looks_only: bool = False
) -> tuple[tuple[str, ...] | None, list[str]]:
    """The tools that a file gives, None where it says nothing about them; and warnings for what it cannot have.

    `looks_only`: the file wants an agent that changes nothing (`permissionMode: plan`).
    """
    warnings: list[str] = []
    denied = list(denied or ())
    if named is None and not denied and not looks_only:
        return None, warnings
    wanted = {*ALL_TOOLS} if named is None else _wanted(list(named), warnings)
    if "edit" in wanted:
        wanted.add("view")
    for name in denied:
        wanted -= _taken_away(name)
    if looks_only:
        wanted -= {"bash", "edit"}
    return tuple(tool for tool in ALL_TOOLS if tool in wanted or tool in _ALWAYS), warnings


def _wanted(named: list[str], warnings: list[str]) -> set[str]:
    wanted: set[str] = set()
    missing: list[str] = []
    for name in named:
        word, restricted = _word(name)
        ours = _OURS.get(word)
        if name.lower() in _ALL_WORDS:
            wanted |= {*ALL_TOOLS}
        elif ours == "bash" and restricted:
            warnings.append(f"{name!r} cannot be kept to those commands here, so Bash is not given; `Bash` gives it")
        elif ours:
            wanted.add(ours)
        elif word not in _NOT_MISSED:
            missing.append(name)
    if missing:
        shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        warnings.append(f"the built-in agent has no {shown}: not given")
    return wanted


def _taken_away(name: str) -> set[str]:
    """What a denied tool costs: who may not read may not edit, and a Bash that is partly denied is none."""
    if name.lower() in _ALL_WORDS:
        return {*ALL_TOOLS}
    word, _ = _word(name)
    if word == "read":
        return {"view", "edit"}
    ours = _OURS.get(word)
    return {ours} if ours and ours != "view" else set()


def _word(name: str) -> tuple[str, bool]:
    """The tool's name in small letters, and whether a pattern restricts it; `Bash(*)` restricts nothing."""
    word, bracket, pattern = name.partition("(")
    return word.strip().lower(), bool(bracket) and pattern.strip().rstrip(")").strip() not in {"", "*", ":*"}
