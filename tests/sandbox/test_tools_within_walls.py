"""What agents do all day works within the walls: npm, node, pytest, a compiler, a package of Python's."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from tests.sandbox.test_walls import WALLS

from haikud.contracts.settings import SandboxSettings
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.policy import Policy

pytestmark = pytest.mark.parametrize("mode", WALLS)


def output_of(mode: str, script: str, folder: Path, *readable: Path, **variables: str) -> str:
    """What it prints; it must end well."""
    worktree, out = folder / "tree", folder / "out"
    (out / "tmp").mkdir(parents=True)
    (out / "home").mkdir()
    worktree.mkdir(exist_ok=True)
    settings = SandboxSettings.model_validate({"readable": [str(one) for one in readable]})
    policy = Policy(mode=mode, writable=(worktree, out), temporary=out / "tmp", settings=settings)
    env = {"PATH": os.environ["PATH"], "HOME": str(out / "home"), "TMPDIR": str(out / "tmp"), "LANG": "C.UTF-8"}
    said: list[bytes] = []
    ended = Sandbox(policy).run(
        ["bash", "-ec", script], cwd=worktree, env=env | variables, timeout=240, grace=1, on_output=said.append
    )
    text = b"".join(said).decode(errors="replace")
    assert ended.exit_code == 0, text
    return text


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_npm_installs_a_package_and_runs_its_program(tmp_path: Path, mode: str):
    package, using = tmp_path / "tree/package", tmp_path / "tree/using"
    package.mkdir(parents=True)
    using.mkdir()
    described = {"name": "greets", "version": "1.0.0", "bin": {"greets": "greets.js"}}
    (package / "package.json").write_text(json.dumps(described))
    (package / "greets.js").write_text(
        "#!/usr/bin/env node\nconsole.log('hello from', require('os').cpus().length > 0)\n"
    )
    install = "npm install --offline --no-audit --no-fund --install-links ../package"
    wanted = {"name": "using", "version": "1.0.0", "scripts": {"test": "greets"}}
    (using / "package.json").write_text(json.dumps(wanted))
    assert "hello from true" in output_of(mode, f"cd using; {install}; npm test", tmp_path)
    assert (using / "node_modules/greets/greets.js").is_file()


def test_pytest_runs_with_its_files_below_its_own_tmp(tmp_path: Path, mode: str):
    tests = (
        "def test_it(tmp_path):\n    (tmp_path / 'x').write_text('y')\n    assert (tmp_path / 'x').read_text() == 'y'\n"
    )
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/test_it.py").write_text(tests)
    places = Path(pytest.__file__).parents[1], Path(sys.prefix)
    script = f"{sys.executable} -m pytest -q -p no:cacheprovider"
    assert "1 passed" in output_of(mode, script, tmp_path, *places, PYTHONPATH=str(places[0]))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_a_program_is_compiled_and_run(tmp_path: Path, mode: str):
    script = "printf '#include <stdio.h>\\nint main(void) { return puts(\"built\") < 0; }' > a.c; gcc a.c -o a; ./a"
    assert output_of(mode, script, tmp_path) == "built\n"


def test_a_virtual_environment_is_made_and_used(tmp_path: Path, mode: str):
    script = (
        f"{sys.executable} -m venv --without-pip v; v/bin/python -c 'import tempfile; print(tempfile.gettempdir())'"
    )
    assert output_of(mode, script, tmp_path, Path(sys.prefix)) == f"{tmp_path}/out/tmp\n"
