"""The naive loop that `benchmarks.cost` compares with: what one writes first with the SDK, and no more.

The task as prose, whole files and whole outputs, everything sent again with every call, no cache marks. It is no straw
man: its tools work as haikud's do, its system prompt is one line, and it makes no call that haikud would not make.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import anthropic

SYSTEM = "You are a software engineer. Work on the task with the tools that you have."

TOOLS: list[dict[str, Any]] = [
    {"type": "bash_20250124", "name": "bash"},
    {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
]


def run_naive(base_url: str, model: str, repository: Path, assignment: str) -> int:
    """Work until the model ends its turn; how many calls that took."""
    client = anthropic.Anthropic(api_key="sk-ant-made-up", base_url=base_url, max_retries=0)
    first = f"You work in {repository}.\n{assignment}"
    messages: list[dict[str, Any]] = [{"role": "user", "content": first}]
    calls = 0
    while True:
        arguments: dict[str, Any] = {"model": model, "system": SYSTEM, "tools": TOOLS, "messages": messages}
        answer = client.messages.create(max_tokens=8_000, **arguments)
        calls += 1
        messages.append({"role": "assistant", "content": [block.to_dict() for block in answer.content]})
        uses = [block for block in answer.content if block.type == "tool_use"]
        if not uses:
            return calls
        results = [
            {"type": "tool_result", "tool_use_id": use.id, "content": _use(repository, use.name, dict(use.input))}
            for use in uses
        ]
        messages.append({"role": "user", "content": results})


def _use(repository: Path, name: str, given: dict[str, Any]) -> str:
    if name == "bash":
        done = subprocess.run(
            ["bash", "-c", given["command"]], cwd=repository, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr
    path = repository / given["path"]
    if given["command"] == "create":
        path.write_text(given["file_text"], encoding="utf-8")
        return f"File {path} written."
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(f"{number}\t{line}" for number, line in enumerate(lines, 1))
