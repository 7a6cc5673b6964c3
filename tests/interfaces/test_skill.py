"""The skill for Claude Code: its form, its plan, which is admitted, and its command lines, which the commands take."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest
from tests.support.repository import make_repository

from haikud.contracts.settings import default_settings
from haikud.interfaces.checking import check_request
from haikud.interfaces.cli import haikud_command
from haikud.interfaces.given import Given
from haikud.roles.plain_yaml import read_plain_yaml
from haikud.spool.layout import SpoolLayout

SKILL = Path(__file__).resolve().parents[2] / "docs" / "claude-code" / "haikud" / "SKILL.md"


@pytest.fixture(scope="module")
def text() -> str:
    return SKILL.read_text(encoding="utf-8")


def test_its_front_matter_is_what_claude_code_reads(text: str):
    _, front, body = text.split("---\n", 2)
    fields = read_plain_yaml(front)
    assert fields["name"] == SKILL.parent.name
    assert re.fullmatch(r"[a-z0-9-]{1,64}", fields["name"])
    assert 0 < len(fields["description"]) <= 1024
    assert len(body.splitlines()) < 500


def test_its_plan_is_admitted_without_a_warning(text: str, tmp_path: Path):
    (plan,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    checked = check_request(
        Given("plan.json", plan.encode()),
        layout=SpoolLayout(tmp_path / "spool"),
        settings=default_settings(),
        repository=make_repository(tmp_path / "project"),
        here=tmp_path,
    )
    assert checked.plan.warnings == []
    assert [task.ref for task in checked.plan.tasks] == ["text-tools.slugs", "text-tools.command"]
    assert json.loads(plan)["task_plan"]["id"] == "text-tools"


def test_every_command_line_in_it_is_one_that_haikud_takes(text: str):
    blocks = "\n".join(body for kind, body in re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL) if not kind)
    lines = [line.partition("#")[0] for line in blocks.splitlines() if line.startswith("haikud ")]
    lines += [line for line in re.findall(r"`(haikud [a-z][^`]*)`", text) if "..." not in line]
    assert len(lines) >= 12
    for line in lines:
        _, name, *args = shlex.split(line)
        command = haikud_command.get_command(click.Context(haikud_command), name)
        assert command is not None, line
        if args:
            command.make_context(name, args)
