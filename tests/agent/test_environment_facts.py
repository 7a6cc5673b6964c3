"""What an error report says about the environment: versions against the project's, and `.env` by names alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.attempts import Bench
from tests.support.repository import git

from haikud.agent.reports.env_drift import find_drift, parse_names
from haikud.agent.reports.pins import Pin, agrees, read_pins
from haikud.sandbox.landlock import landlock_abi

PEM_LINES = "MIIEpAIBAAKCAQEA1secretsecret=\nANOTHERLINEOFTHEKEYWITHOUTSMALLLETTERS=\n"
OWN = f"""\
# a comment, with NOT_A_NAME=1
export DATABASE_URL=postgres://me:hunter2@db/app
API_KEY="sk-very-secret"
http_proxy=
PRIVATE_KEY="-----BEGIN KEY-----
{PEM_LINES}-----END KEY-----"
OTHER_KEY=-----BEGIN KEY-----
{PEM_LINES}-----END KEY-----
MIIEpAIBAAKCAQEAmixedCaseSecret=
LEFT_OVER='it\\'s one line'
"""
SECRETS = ("hunter2", "sk-very-secret", "MIIE", "ANOTHERLINE", "one line")


def places(tmp_path: Path) -> tuple[Path, Path]:
    worktree, checkout = tmp_path / "worktree", tmp_path / "checkout"
    worktree.mkdir()
    checkout.mkdir()
    return worktree, checkout


def test_names_are_read_as_the_usual_readers_do_and_nothing_within_a_quoted_text_is_a_name():
    assert list(parse_names(OWN)) == [
        *("DATABASE_URL", "API_KEY", "http_proxy", "PRIVATE_KEY", "OTHER_KEY"),
        *("MIIEpAIBAAKCAQEAmixedCaseSecret", "LEFT_OVER"),
    ]


def test_drift_is_told_by_names_and_no_value_shows(tmp_path: Path):
    worktree, checkout = places(tmp_path)
    (worktree / ".env").write_text(OWN)
    (worktree / ".env.example").write_text("DATABASE_URL=\nCamelCase=\nNEW_SETTING=1\nAPI_KEY=\n")
    (checkout / ".env").write_text(OWN.replace("hunter2", "changed").replace("http_proxy=\n", "") + "ADDED=1\n")
    drift = find_drift(worktree, checkout)
    assert drift is not None
    assert (drift.example, drift.is_there) == (".env.example", True)
    assert drift.missing == ["CamelCase", "NEW_SETTING"]
    assert drift.extra == ["LEFT_OVER", "OTHER_KEY", "PRIVATE_KEY", "http_proxy"]
    assert drift.outdated == ["ADDED", "DATABASE_URL", "http_proxy"]
    assert not [secret for secret in (*SECRETS, "changed") if secret in repr(drift)]


@pytest.mark.parametrize("name", [".env.example", ".env.sample", ".env.template"])
def test_an_example_without_a_copy_of_it_lacks_every_name(tmp_path: Path, name: str):
    worktree, checkout = places(tmp_path)
    (worktree / name).write_text("ONE=\nTWO=\n")
    (checkout / ".env").write_text("ONE=1\nTWO=2\n")
    drift = find_drift(worktree, checkout)
    assert drift is not None
    assert (drift.is_there, drift.checkout_has, drift.missing, drift.outdated) == (False, True, ["ONE", "TWO"], [])


def test_a_project_without_such_files_has_no_drift_and_a_link_is_not_followed(tmp_path: Path):
    worktree, checkout = places(tmp_path)
    assert find_drift(worktree, checkout) is None
    (tmp_path / "elsewhere").write_text("SECRET_NAME=1\n")
    (worktree / ".env").symlink_to(tmp_path / "elsewhere")
    assert find_drift(worktree, None) is None


AGREE = [
    ("18.17.0", "18.17.0", True),
    ("v18.17.0", "18.17.0", True),
    ("18", "18.17.0", True),
    ("18.17", "18.17.9", True),
    ("18", "20.1.0", False),
    ("3.11", "3.12.1", False),
    (">=18", "20.1.0", True),
    (">=18 <20", "20.1.0", False),
    (">= 18.0.0 < 21", "20.1.0", True),
    (">18", "18.17.0", False),
    ("<=18", "18.17.0", True),
    ("^18.2.0", "18.1.9", False),
    ("^18.2.0", "18.9.0", True),
    ("^18.2.0", "19.0.0", False),
    ("^0.3.1", "0.4.0", False),
    ("~18.2.1", "18.2.9", True),
    ("~18.2.1", "18.3.0", False),
    ("16 || 18", "18.1.0", True),
    ("16 || 18.x", "20.1.0", False),
    ("16 - 18", "18.9.0", True),
    ("*", "1.0.0", True),
    ("lts/*", "18.0.0", None),
    ("lts/hydrogen", "18.0.0", None),
    ("system", "18.0.0", None),
    ("ref:v1.0.2-a", "18.0.0", None),
    ("", "18.0.0", None),
]


@pytest.mark.parametrize(("wanted", "found", "answer"), AGREE)
def test_a_version_agrees_or_not_or_cannot_be_said(wanted: str, found: str, answer: bool | None):
    assert agrees(wanted, found) is answer


def test_pins_are_read_from_the_projects_own_files(tmp_path: Path):
    (tmp_path / ".nvmrc").write_text("# ours\nv18.17.0\n")
    (tmp_path / ".python-version").write_text("3.11.4\n3.10\n")
    (tmp_path / ".tool-versions").write_text("nodejs 20.1.0\n# x\nunknowntool 1\npython 3.11.4 # why\n")
    (tmp_path / "package.json").write_text(
        json.dumps({"engines": {"node": ">=18", "npm": "^9", "vscode": "^1", "x": 1}})
    )
    assert read_pins(tmp_path) == [
        Pin("node", "v18.17.0", ".nvmrc"),
        Pin("python", "3.11.4", ".python-version"),
        Pin("node", "20.1.0", ".tool-versions"),
        Pin("python", "3.11.4", ".tool-versions"),
        Pin("node", ">=18", "package.json engines"),
        Pin("npm", "^9", "package.json engines"),
    ]
    (tmp_path / "package.json").write_text("[" * 100_000)
    assert [pin.file for pin in read_pins(tmp_path) if "package" in pin.file] == []


def test_a_failed_attempts_report_names_drift_and_mismatches_and_no_value(bench: Bench):
    (bench.repository / ".env.example").write_text("TOKEN_OF_SERVICE=\nNEW_SETTING=\n")
    (bench.repository / ".python-version").write_text("2.7\n")
    (bench.repository / ".gitignore").write_text(".env\n")
    git(bench.repository, "add", ".env.example", ".python-version", ".gitignore")
    git(bench.repository, "commit", "-qm", "settings")
    (bench.repository / ".env").write_text("TOKEN_OF_SERVICE=hunter2\nOWN_SETTING=3\n")
    (bench.root / "newer").write_text("TOKEN_OF_SERVICE=hunter3\n")
    bench.order(
        f"cp '{bench.root}/newer' '{bench.repository}/.env'; exit 1",
        git_settings={"copy_files": [".env"]},
        context={"test_command": "python3 -m unittest -q"},
    )
    report = bench.run().error_report
    assert report is not None
    facts = report.context.environment
    assert facts["env_file"] == ".env"
    assert facts["env_example"] == ".env.example"
    assert facts["env_missing"] == ["NEW_SETTING"]
    assert facts["env_extra"] == ["OWN_SETTING"]
    assert facts["env_outdated"] == ["OWN_SETTING", "TOKEN_OF_SERVICE"]
    assert facts["version_mismatches"] == [f"python: .python-version asks for 2.7, found {facts['python_version']}"]
    assert "hunter" not in bench.paths.result.read_text()
    assert {"haikud_version", "git_version"} <= facts.keys()


@pytest.mark.parametrize(
    "mode",
    ["none", pytest.param("landlock", marks=pytest.mark.skipif(landlock_abi() < 1, reason="this kernel has none"))],
)
def test_to_tell_its_version_a_tool_may_run_what_the_agent_left_in_home_and_it_is_held(bench: Bench, mode: str):
    tools, outside = bench.root / "tools", bench.root / "outside"
    tools.mkdir()
    # As yarn does, which goes by `yarn-path` in ~/.yarnrc.
    (tools / "yarn").write_text('#!/bin/sh\n. "$HOME/.yarnrc"\necho 1.22.19\n')
    (tools / "yarn").chmod(0o755)
    bench.order(
        f'echo \'touch "{outside}" 2>/dev/null\' > "$HOME/.yarnrc"; exit 1',
        context={"test_command": "yarn test"},
        set_environment={"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin"},
        sandbox=mode,
    )
    report = bench.run().error_report
    assert report is not None
    assert report.context.environment["yarn_version"] == "1.22.19"
    assert outside.exists() is (mode == "none")
