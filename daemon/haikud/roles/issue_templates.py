"""Templates of issues (`create_issue` with `template, variables`): Markdown, with GitHub's front matter.

`title` and `labels` come from the front matter, the body is what follows; `{name}` is a variable as in a task's
template (templates.py), which fills this one too. They come from the package, over it from the settings'
`templates_dir`/issues, over that from the repository's `.github/ISSUE_TEMPLATE`: text alone, which nothing obeys.
A template is called by its file's name without `.md`. Raises `TemplateError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from haikud.roles.plain_yaml import PlainYamlError, read_plain_yaml
from haikud.roles.templates import TaskTemplate, TemplateError, read_text

REPOSITORY_FOLDER = ".github/ISSUE_TEMPLATE"

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)?---[ \t]*(?:\n|$)", re.DOTALL)


def find_issue_templates(
    templates_dir: Path | None = None, of_repository: Mapping[str, bytes] | None = None
) -> dict[str, TaskTemplate]:
    """Name -> template, whose document has `title`, `labels` (a list) and `body`.

    `of_repository`: the files in REPOSITORY_FOLDER, by their names.
    """
    files = [*_packaged(), *_own(templates_dir)]
    files += [(name, data, f"{REPOSITORY_FOLDER}/{name}") for name, data in sorted((of_repository or {}).items())]
    found = {}
    for name, data, path in files:
        if name.endswith(".md") and "/" not in name and not name.startswith("."):
            stem = name.removesuffix(".md")
            found[stem] = TaskTemplate(name=stem, document=_read(data, path), path=path)
    return found


def _packaged() -> Iterator[tuple[str, bytes, str]]:
    for entry in resources.files("haikud.roles").joinpath("builtin", "templates", "issues").iterdir():
        if entry.name.endswith(".md"):
            yield entry.name, entry.read_bytes(), entry.name


def _own(templates_dir: Path | None) -> Iterator[tuple[str, bytes, str]]:
    folder = None if templates_dir is None else templates_dir / "issues"
    if folder is None or not folder.is_dir():
        return
    try:
        for path in sorted(folder.glob("*.md")):
            if not path.is_file():  # opening a FIFO would wait for ever
                raise TemplateError(f"{path}: is no regular file")
            yield path.name, path.read_bytes(), str(path)
    except OSError as error:
        raise TemplateError(f"{error.filename or folder}: cannot be read: {error.strerror}") from error


def _read(data: bytes, path: str) -> dict[str, Any]:
    text = read_text(data, path).replace("\r\n", "\n")
    front = _FRONT_MATTER.match(text)
    try:
        fields = read_plain_yaml(front[1] or "") if front else {}
    except PlainYamlError as error:
        raise TemplateError(f"{path}:{error.line}: {error}") from error
    if not isinstance(fields, dict):
        fields = {}
    title, labels = fields.get("title") or "", fields.get("labels") or []
    if isinstance(labels, str):
        labels = labels.split(",")
    if not isinstance(title, str) or not isinstance(labels, list) or not all(isinstance(one, str) for one in labels):
        raise TemplateError(f"{path}: `title` must be a text, and `labels` a list of texts")
    return {
        "title": title,
        "labels": [one.strip() for one in labels if one.strip()],
        "body": (text[front.end() :] if front else text).strip(),
    }
