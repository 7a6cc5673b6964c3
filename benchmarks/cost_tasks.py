"""The fixed set of scripted tasks of `benchmarks.cost`: what the scripted model does in each, turn by turn.

Four tasks of the kinds that haikud is for. The script is the same whoever runs it: same tool calls in the same order,
same words. What differs is what the loop around the model sends back to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.repository import make_repository

EDITOR = "str_replace_based_edit_tool"

Turn = dict[str, Any]


@dataclass(frozen=True)
class ScriptedTask:
    """One task: what the plan says, verbosely and compactly, which files matter, and what the model does."""

    name: str
    about: str
    title: str
    verbose: str  # the same as prose, as people write it
    files: tuple[str, ...]
    turns: tuple[Turn, ...]


def _bash(*commands: str) -> Turn:
    return {"tools": [{"name": "bash", "input": {"command": command}} for command in commands]}


def _view(*paths: str) -> Turn:
    return {"tools": [{"name": EDITOR, "input": {"command": "view", "path": path}} for path in paths]}


def _write(path: str, text: str) -> Turn:
    return {"tools": [{"name": EDITOR, "input": {"command": "create", "path": path, "file_text": text}}]}


def _done(text: str) -> Turn:
    return {"text": text}


_TESTS = "cat tests/output.txt"  # stands for a test run: the same output each time, as long as one of 400 tests
_SUITE = "python3 -c \"print('\\n'.join(f'tests/test_{n}.py::test_case_{n} PASSED [{n}%]' for n in range(1200)))\""
_COMMIT = "git add -A && git commit -qm 'Do what was asked' && git log --oneline -1"


def _small_fix() -> tuple[Turn, ...]:
    return (
        _bash("ls && git log --oneline | head -5"),
        _view("src/navigation.tsx", "src/auth.tsx"),
        _write("src/logout.tsx", "export const Logout = () => <button onClick={logout}>Log out</button>;\n" * 4),
        _bash(_TESTS),
        _bash(_COMMIT),
        _done("Added the logout button, with its handler. The tests pass. Nothing is left."),
    )


def _loud_tests() -> tuple[Turn, ...]:
    turns: list[Turn] = [_bash("ls src tests"), _view("src/report.py")]
    for number in range(3):
        turns += [
            _bash(_SUITE),
            _write(f"src/fix_{number}.py", f"VALUE = {number}\n" * 20),
            _bash("git diff --stat; git status --short"),
        ]
    return (*turns, _bash(_COMMIT), _done("The report is mended, and the whole suite passes."))


def _long_task() -> tuple[Turn, ...]:
    turns: list[Turn] = [_bash("ls -R src | head -40")]
    for number in range(8):
        turns += [
            _view(f"src/module_{number}.py"),
            _write(f"src/module_{number}_new.py", "def handle(request):\n    return respond(request)\n" * 12),
            _bash(_TESTS),
        ]
    return (*turns, _bash(_COMMIT), _done("All eight modules are moved to the new interface."))


def _looks_again() -> tuple[Turn, ...]:
    turns: list[Turn] = [_view("src/config.py", "src/report.py")]
    for number in range(4):
        turns += [
            _write(f"src/step_{number}.py", "from config import SETTINGS\n" * 6),
            _view("src/config.py"),
            _bash("cat src/report.py"),
        ]
    return (*turns, _bash(_COMMIT), _done("The four steps follow the configuration."))


_VERBOSE = """\
Your task is to work on the following piece of the project, which is part of a larger effort that the team has been
planning for some time. Please read everything carefully before you start. {about} While you do this, please make sure
that you follow the conventions of the code around it, that you do not break anything that works today, that you add
whatever tests are needed so that reviewers can be confident in the change, and that you run the complete test suite
when you are done. If anything is unclear, please think about what the team would most likely want. When everything is
finished, please commit your work with a meaningful message and write a summary of what you have done, why you did it,
and what could be done next. The project's files that may be of interest for this are the following ones: {files}.
"""


def _task(name: str, about: str, files: tuple[str, ...], turns: tuple[Turn, ...]) -> ScriptedTask:
    verbose = _VERBOSE.format(about=about, files=", ".join(files))
    return ScriptedTask(name, about, about.rstrip("."), verbose, files, turns)


TASKS = (
    _task("small fix", "Add a logout button to the navigation.", ("src/navigation.tsx", "src/auth.tsx"), _small_fix()),
    _task("loud tests", "Mend the report; the suite prints 1,200 lines each time.", ("src/report.py",), _loud_tests()),
    _task("long task", "Move eight modules to the new interface.", ("src/module_0.py",), _long_task()),
    _task("looks again", "Add four steps that follow the configuration.", ("src/config.py",), _looks_again()),
)


def make_project(folder: Path) -> Path:
    """A repository with the files that the scripts read; the same bytes each time."""
    repository = make_repository(folder)
    for name, lines in (
        ("src/navigation.tsx", 60),
        ("src/auth.tsx", 40),
        ("src/report.py", 250),
        ("src/config.py", 300),
        *((f"src/module_{number}.py", 220) for number in range(8)),
    ):
        path = repository / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"value_{n} = compute(value_{n}, '{name}')  # step {n}\n" for n in range(lines)))
    output = "".join(f"tests/test_{n}.py .................. ok ({n % 7}.{n % 10} s)\n" for n in range(90))
    (repository / "tests").mkdir(exist_ok=True)
    (repository / "tests" / "output.txt").write_text(output)
    return repository
