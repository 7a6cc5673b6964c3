"""The house stands: floors, import cycles, one library in one room, no file over 400 lines."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parent.parent / "daemon" / "haikud"
TESTS = Path(__file__).resolve().parent

FLOORS = {
    "contracts": 0,
    "spool": 1,
    "workspace": 1,
    "costs": 1,
    "sandbox": 1,
    "roles": 1,
    "agent": 2,
    "engine": 2,
    "gateway": 2,
    "offline": 2,
    "interfaces": 3,
}

ROOMS_OF_LIBRARY = {
    "anthropic": {"agent"},
    "httpx2": {"agent"},
    "watchdog": {"engine"},
    "inotify_simple": {"engine"},
    "yaml": {"engine", "roles", "interfaces", "offline"},
    "genai_prices": {"costs"},
    "psutil": set(),
    "aiohttp": {"offline", "gateway"},
    "click": {"interfaces"},
    "rich": {"interfaces"},
    "pydantic_settings": {"interfaces"},
    "setproctitle": {"agent"},
}

MOST_LINES = 400


def modules() -> list[Path]:
    return sorted(HOUSE.rglob("*.py"))


@functools.cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """`imports_of`, once for each file."""
    return tuple(imports_of(path))


def room_of(path: Path) -> str:
    parts = path.relative_to(HOUSE).parts
    return parts[0] if len(parts) > 1 else ""


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, and whether at its top level (outside TYPE_CHECKING and functions)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(ast.walk(ast.Module(body=[n for n in tree.body if not isinstance(n, ast.If)], type_ignores=[])))
    inner = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        at_top = node in top and node not in inner
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, at_top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or "", at_top
            for name in node.names:
                yield f"{node.module}.{name.name}", at_top


@pytest.mark.parametrize("room", ["", *FLOORS])
def test_a_file_imports_only_from_lower_floors_or_its_own_room(room: str):
    for path in (path for path in modules() if room_of(path) == room):
        for name, _ in imports(path):
            parts = name.split(".")
            if parts[0] == "haikud" and len(parts) > 1 and parts[1] in FLOORS:
                target = parts[1]
                assert room == target or FLOORS[target] < FLOORS[room], f"{path}: {room}/ must not import {name}"


def test_one_library_lives_in_one_room():
    for path in modules():
        for name, _ in imports(path):
            rooms = ROOMS_OF_LIBRARY.get(name.split(".")[0])
            assert rooms is None or room_of(path) in rooms, f"{path}: {name} belongs in {rooms}"


def test_there_are_no_import_cycles():
    names = {
        ".".join(("haikud", *p.relative_to(HOUSE).with_suffix("").parts)).removesuffix(".__init__"): p
        for p in modules()
    }
    graph = {name: {t for t, at_top in imports(p) if at_top and t in names and t != name} for name, p in names.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import cycle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name not in done:
            for target in graph[name]:
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_no_file_outgrows_its_name():
    for path in [*modules(), *sorted(TESTS.rglob("*.py"))]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= MOST_LINES, f"{path} has {lines} lines"


def test_every_room_is_known_and_init_files_run_nothing():
    rooms = {p.name for p in HOUSE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert rooms <= set(FLOORS)
    for init in HOUSE.rglob("__init__.py"):
        body = ast.parse(init.read_text(encoding="utf-8")).body
        assert all(isinstance(n, ast.Expr | ast.Assign) for n in body), f"{init} must hold no code"
