"""The editor tool on real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from haikud.agent.haiku.tools.editor import EditorTool
from haikud.agent.haiku.tools.outcome import BadInput

TEXT = "one\ntwo\nthree\ntwo\nfive\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text(TEXT)
    return tmp_path


def use(root: Path, command: str, path: str = "a.txt", **given: Any) -> str:
    return EditorTool(root, 2048).use({"command": command, "path": path, **given}).text


def test_view_numbers_the_lines(root: Path):
    assert use(root, "view").splitlines()[:2] == ["     1\tone", "     2\ttwo"]
    assert len(use(root, "view").splitlines()) == 5


@pytest.mark.parametrize(
    ("view_range", "numbers"),
    [([2, 3], [2, 3]), ([4, -1], [4, 5]), ([4, 99], [4, 5]), (["1", 1.0], [1]), ([5, 5], [5])],
)
def test_view_of_a_range(root: Path, view_range: list, numbers: list[int]):
    shown = use(root, "view", view_range=view_range).splitlines()
    assert [int(line.split("\t")[0]) for line in shown] == numbers


@pytest.mark.parametrize("view_range", [[0, 2], [3, 2], [9, -1], [1], "1-2", [1, "x"], [None, 2]])
def test_a_range_that_makes_no_sense_is_told(root: Path, view_range):
    with pytest.raises(BadInput, match="view_range"):
        use(root, "view", view_range=view_range)


def test_a_long_file_is_shown_in_part_and_says_so(root: Path):
    (root / "long").write_text("".join(f"line {n}\n" for n in range(1, 1001)))
    shown = use(root, "view", "long")
    assert len(shown) < 2300
    assert "to 1000 are not shown: use view_range" in shown
    assert use(root, "view", "long", view_range=[1000, 1000]).endswith("line 1000")


def test_one_long_line_is_shown_in_part(root: Path):
    (root / "long").write_text("x" * 50_000)
    assert use(root, "view", "long").endswith("[the line goes on]")


def test_an_empty_file_is_said_to_be_empty(root: Path):
    (root / "empty").touch()
    assert use(root, "view", "empty") == "(the file is empty)"


def test_a_folder_is_listed_two_levels_deep(root: Path):
    (root / "src" / "deep" / "deeper").mkdir(parents=True)
    (root / "src" / "deep" / "b.txt").touch()
    (root / ".git").mkdir()
    (root / ".env").touch()
    (root / "node_modules" / "x").mkdir(parents=True)
    (root / "out").symlink_to("/etc")
    assert use(root, "view", ".").splitlines() == [".env", "a.txt", "out", "src/", "src/deep/"]
    assert use(root, "view", "src").splitlines() == ["src/deep/", "src/deep/b.txt", "src/deep/deeper/"]


def test_create_makes_and_overwrites(root: Path):
    assert use(root, "create", "new/b.txt", file_text="x\ny") == "new/b.txt was made: 2 lines."
    assert use(root, "create", "new/b.txt", file_text="") == "new/b.txt was overwritten: 0 lines."
    assert (root / "new" / "b.txt").read_text() == ""


def test_a_replacement_needs_exactly_one_place(root: Path):
    shown = use(root, "str_replace", old_str="three\n", new_str="3\n3b\n")
    assert (root / "a.txt").read_text() == "one\ntwo\n3\n3b\ntwo\nfive\n"
    assert "     3\t3\n     4\t3b\n     5\ttwo" in shown
    with pytest.raises(BadInput, match=r"2 times .* \(lines 2, 5\)"):
        use(root, "str_replace", old_str="two", new_str="2")
    with pytest.raises(BadInput, match="does not stand"):
        use(root, "str_replace", old_str="nowhere", new_str="2")
    with pytest.raises(BadInput, match="old_str"):
        use(root, "str_replace", old_str="", new_str="2")


def test_a_replacement_by_nothing_deletes(root: Path):
    use(root, "str_replace", old_str="three\n")
    assert (root / "a.txt").read_text() == "one\ntwo\ntwo\nfive\n"


@pytest.mark.parametrize(
    ("line", "text", "result"),
    [
        (0, "zero\n", "zero\n" + TEXT),
        (2, "x", "one\ntwo\nx\nthree\ntwo\nfive\n"),
        (5, "six\n", TEXT + "six\n"),
        ("1", "x\ny\n", "one\nx\ny\ntwo\nthree\ntwo\nfive\n"),
    ],
)
def test_insert(root: Path, line, text: str, result: str):
    use(root, "insert", insert_line=line, insert_text=text)
    assert (root / "a.txt").read_text() == result


def test_insert_after_a_last_line_without_an_end_and_into_nothing(root: Path):
    (root / "open").write_text("a\nb")
    use(root, "insert", "open", insert_line=2, new_str="c")
    assert (root / "open").read_text() == "a\nb\nc\n"
    (root / "open").write_text("a\nb")
    use(root, "insert", "open", insert_line=1, insert_text="x")
    assert (root / "open").read_text() == "a\nx\nb"
    (root / "empty").touch()
    use(root, "insert", "empty", insert_line=0, insert_text="c")
    assert (root / "empty").read_text() == "c\n"


@pytest.mark.parametrize("line", [-1, 6, "x", None, True, 1.5])
def test_an_insertion_beyond_the_file_is_told(root: Path, line):
    with pytest.raises(BadInput, match="insert_line"):
        use(root, "insert", insert_line=line, insert_text="x")


def test_line_endings_and_odd_bytes_are_kept(root: Path):
    (root / "crlf").write_bytes(b"one\r\ntwo\r\nthree\xff\r\n")
    use(root, "str_replace", "crlf", old_str="one\ntwo\n", new_str="1\n2\n")
    use(root, "insert", "crlf", insert_line=1, insert_text="1b\n")
    assert (root / "crlf").read_bytes() == b"1\r\n1b\r\n2\r\nthree\xff\r\n"


@pytest.mark.parametrize(
    ("command", "path", "given"),
    [
        ("view", "missing", {}),
        ("view", "../outside", {}),
        ("view", "", {}),
        ("view", "binary", {}),
        ("str_replace", "folder", {"old_str": "a", "new_str": "b"}),
        ("create", "folder", {"file_text": "x"}),
        ("create", "a.txt/b", {"file_text": "x"}),
        ("create", "n" * 300, {"file_text": "x"}),
        ("create", "new", {}),
        ("create", "new", {"file_text": "\ud800"}),
        ("undo_edit", "a.txt", {}),
    ],
)
def test_what_cannot_be_done_is_bad_input_and_changes_nothing(root: Path, command: str, path: str, given: dict):
    (root / "folder").mkdir()
    (root / "binary").write_bytes(b"\0\1")
    with pytest.raises(BadInput):
        use(root, command, path, **given)
    assert (root / "a.txt").read_text() == TEXT
    assert not (root / "new").exists()


def test_of_a_long_insertion_only_the_ends_are_shown(root: Path):
    said = use(root, "insert", insert_line=2, insert_text="".join(f"new {n}\n" for n in range(50))).splitlines()
    assert said[0] == "a.txt was changed:"
    assert said[1:7] == ["     1\tone", "     2\ttwo", *(f"     {n + 3}\tnew {n}" for n in range(4))]
    assert said[7] == "[42 lines as you gave them]"
    assert said[8:] == [
        *(f"    {n + 3}\tnew {n}" for n in range(46, 50)),
        "    53\tthree",
        "    54\ttwo",
        "    55\tfive",
        "    56\t",
    ]
    assert "lines as you gave them" not in use(root, "insert", insert_line=0, insert_text="x\n" * 12)
