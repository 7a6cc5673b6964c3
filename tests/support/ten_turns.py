"""A task of ten turns as a model works on one: looks, edits, failing and passing tests, a commit, a summary.

The model is scripted; the files, the tools and what they answer are real. For tests and benchmarks of what a task
costs: `FILES` is the repository, `TITLE` and `CONTEXT` the task, `TURNS` what the scripted model says, as a scenario's
turns (offline/scenario.py).
"""

from __future__ import annotations

from typing import Any

EDITOR = "str_replace_based_edit_tool"

TITLE = "Give every shape a perimeter, rounded as its area is, with tests"
CONTEXT = ["shapes.py", "tests/test_shapes.py"]

_SHAPES = ("square", "circle", "triangle", "rhombus", "trapezoid", "pentagon", "hexagon", "octagon")

_CLASS = '''
class {name}:
    """A {shape}, in metres; sides must not be negative, and a {shape} of no size has no area."""

    def __init__(self, side: float, height: float = 1.0) -> None:
        if side < 0 or height < 0:
            raise ValueError(f"a {shape} cannot have a side of {{side}} and a height of {{height}}")
        self.side = side
        self.height = height

    def area(self) -> float:
        """How much it covers, in square metres, rounded to millimetres."""
        return round(self.side * self.height * FACTORS["{shape}"], PLACES)
'''

_TEST = """
class {name}Test(unittest.TestCase):
    def test_the_area_of_a_{shape}_is_rounded(self) -> None:
        self.assertEqual(shapes.{name}(2.0, 3.0).area(), round(6.0 * shapes.FACTORS["{shape}"], shapes.PLACES))

    def test_a_{shape}_without_size_has_no_area(self) -> None:
        self.assertEqual(shapes.{name}(0.0).area(), 0.0)
"""


def _filled(template: str) -> str:
    return "".join(template.format(name=shape.capitalize(), shape=shape) for shape in _SHAPES)


FILES = {
    "shapes.py": '"""Plane shapes."""\n\nPLACES = 3\nFACTORS = {\n'
    + "".join(f'    "{shape}": {number}.5,\n' for number, shape in enumerate(_SHAPES))
    + "}\n\n"
    + _filled(_CLASS),
    "tests/__init__.py": "",
    "tests/test_shapes.py": "import unittest\n\nimport shapes\n\n" + _filled(_TEST),
    "README.md": "# Shapes\n\nRun `python3 -m unittest -q`.\n",
    ".gitignore": "__pycache__/\n",
}


def _bash(command: str) -> dict[str, Any]:
    return {"name": "bash", "input": {"command": command}}


def _edit(command: str, **given: Any) -> dict[str, Any]:
    return {"name": EDITOR, "input": {"command": command, **given}}


_PERIMETER = '''

def perimeter(shape: object) -> float:
    """Its sides together, in metres."""
    return 4 * shape.side
'''
_PERIMETER_TEST = """
class PerimeterTest(unittest.TestCase):
    def test_it_is_rounded_as_the_area_is(self) -> None:
        self.assertEqual(shapes.perimeter(shapes.Square(1.23456)), 4.938)
"""

TURNS: list[dict[str, Any]] = [
    {"text": "First a look at what there is.", "tools": [_bash("git log --oneline | head -5; ls -l; cat README.md")]},
    {
        "tools": [
            _bash("grep -n 'def area\\|^class\\|PLACES' shapes.py"),
            _bash("python3 -m unittest -q 2>&1 | tail -5"),
        ]
    },
    {
        "text": "A function beside the classes.",
        "tools": [_edit("insert", path="shapes.py", insert_line=13, insert_text=_PERIMETER)],
    },
    {"tools": [_edit("insert", path="tests/test_shapes.py", insert_line=4, insert_text=_PERIMETER_TEST)]},
    {"tools": [_bash("python3 -m unittest -q 2>&1 | tail -20"), {"name": "report_progress", "input": {"percent": 50}}]},
    {
        "text": "It is not rounded yet.",
        "tools": [
            _edit(
                "str_replace",
                path="shapes.py",
                old_str="    return 4 * shape.side\n",
                new_str="    return round(4 * shape.side, PLACES)\n",
            )
        ],
    },
    {"tools": [_bash("python3 -m unittest -q 2>&1 | tail -20")]},
    {"tools": [_edit("view", path="shapes.py", view_range=[1, 24]), _bash("git diff --stat; git status --short")]},
    {"tools": [_bash("git add -A && git commit -qm 'Give every shape a perimeter' && git log --oneline | head -3")]},
    {"text": "Every shape has a perimeter now, rounded to millimetres; the tests pass."},
]

SCENARIO: dict[str, Any] = {"name": "ten-turns", "conversations": [{"turns": TURNS}]}
