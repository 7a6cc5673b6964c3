"""docs/troubleshooting.md names commands, settings and codes that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from haikud.agent.reports.classify import Doing
from haikud.interfaces.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "daemon" / "haikud").rglob("*.py"))


def test_every_command_is_one():
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
    named = {*re.findall(r"(?:^|[$;] )haikud (\w+)", blocks, re.MULTILINE), *re.findall(r"`haikud (\w+)", TEXT)}
    assert {"status", "wait", "answer", "check"} <= named <= set(COMMANDS)


@pytest.mark.parametrize("code", sorted(set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", TEXT))))
def test_every_code_is_one(code: str):
    spelt_out = code in SOURCE
    made = code in {f"{doing.upper()}_TEMPFAIL" for doing in Doing}
    assert spelt_out or made


@pytest.mark.parametrize(
    "setting", sorted(set(re.findall(r"`((?:retries|limits|monitors|budgets|git|environment)\.\w+)", TEXT)))
)
def test_every_setting_is_one(setting: str):
    loaded = yaml.safe_load((ROOT / "docs" / "haikud.guide.yaml").read_text(encoding="utf-8"))
    group, _, name = setting.partition(".")
    assert name in loaded[group]


@pytest.mark.parametrize("case", ["gets stuck", "Cost is higher", "fail intermittently", "can't create a GitHub issue"])
def test_every_case_of_the_guide_has_its_section(case: str):
    assert re.search(rf"^## .*{re.escape(case)}", TEXT, re.MULTILINE)
