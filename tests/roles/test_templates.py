"""Templates of tasks and of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from haikud.roles.templates import TaskTemplate, TemplateError, fill_template, find_file_templates, find_templates


def template(document: dict[str, Any]) -> TaskTemplate:
    return TaskTemplate(name="t", document=document, path="t.yaml")


def test_the_guides_template():
    found = find_templates()["feature-implementation"]
    assert found.variables == ("feature_name",)
    assert fill_template(found, {"feature_name": "logout"}) == {
        "title": "logout",
        "type": "feature",
        "steps": ["Read existing code", "Implement logout", "Add tests", "Run test suite", "Push changes"],
        "tests": ["Feature works as expected", "No regressions"],
        "success_criteria": "All tests passing",
    }


def test_variables_cannot_change_the_structure_or_be_filled_twice():
    found = template({"title": "{a} {b}", "n": 5, "steps": [{"deep": "{a}"}], "code": "{{a}} }} { } {a-b}"})
    filled = fill_template(found, {"a": '{b}"\n- x: {a}', "b": 7})
    assert filled == {
        "title": '{b}"\n- x: {a} 7',
        "n": 5,
        "steps": [{"deep": '{b}"\n- x: {a}'}],
        "code": "{a} } { } {a-b}",
    }


def test_missing_and_unused_variables_are_named():
    with pytest.raises(TemplateError) as caught:
        fill_template(template({"title": "{a} {b}"}), {"b": "x", "c": "y"})
    assert (caught.value.missing, caught.value.unused) == (("a",), ("c",))
    assert "needs a, b" in str(caught.value)


@pytest.mark.parametrize("value", [None, True, [], {}])
def test_a_variable_is_a_text_or_a_number(value: Any):
    with pytest.raises(TemplateError, match="text or a number"):
        fill_template(template({"title": "{a}"}), {"a": value})


def test_the_settings_folder_goes_before_the_package(tmp_path: Path):
    (tmp_path / "feature-implementation.yaml").write_text("task_template: {title: own}", encoding="utf-8")
    (tmp_path / "mine.yml").write_text("task_template: {title: mine}", encoding="utf-8")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/page.yaml").write_text("content: |\n  Hello @name@\n", encoding="utf-8")
    found = find_templates(tmp_path)
    assert found["feature-implementation"].document == {"title": "own"}
    assert found["mine"].document == {"title": "mine"}
    files = find_file_templates(tmp_path)
    assert files["page"].content_for("a/b/World.test.tsx") == "Hello World\n"
    assert "react-page" in files


def test_the_packages_file_templates():
    files = find_file_templates()
    assert set(files) >= {"react-page", "react-test"}
    for one in files.values():
        assert one.description
        assert "@" not in one.content_for("src/pages/Auth.tsx").replace("@testing-library", "")
    assert 'from "./Auth"' in files["react-test"].content_for("src/pages/Auth.test.tsx")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: b: c", "broken.yaml:1"),
        ("- a", "no object"),
        ("other: {}", "task_template"),
        ("task_template: {a: 1, a: 2}", "twice"),
        ("task_template: {a: .nan}", "cannot be stored"),
        ("task_template: &x {a: 1}", "anchor"),
        ("[" * 100_000, "deep"),
    ],
)
def test_broken_templates_are_named(tmp_path: Path, text: str, word: str):
    (tmp_path / "broken.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(TemplateError, match=word):
        find_templates(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(TemplateError, match="cannot be read"):
        find_templates(tmp_path / "nowhere")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/odd.yaml").write_bytes(b"content: \xff")
    with pytest.raises(TemplateError, match="UTF-8"):
        find_file_templates(tmp_path)
