"""Templates: of tasks (`{template, variables}` requests) and of files (`files[].template`).

A task template is a YAML file `NAME.yaml` with one object `task_template`; `{name}` in its strings is a variable,
`{{` and `}}` are braces. (So `{{ tasks.` in a template is no reference to another task's result, nor need it be: a
template request has one task.) Variables are filled into the parsed document: no value can change its structure.
A file template is `files/NAME.yaml` with `description` and `content`; `@name@` in its content stands for the new
file's name up to its first dot (`src/pages/Auth.test.tsx`: `Auth`). Both come from the package, and over it from the
settings' `templates_dir`. Raises `TemplateError`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from haikud.roles.plain_yaml import BadNumber, OddKeys, PlainYamlError, read_plain_yaml

LARGEST_TEMPLATE = 262_144
"""Bytes of a template's file."""

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FILE_NAME = "@name@"


class TemplateError(Exception):
    """A template that cannot be used, or variables that do not fit. `variables` names those at fault, if any."""

    def __init__(self, message: str, *, missing: tuple[str, ...] = (), unused: tuple[str, ...] = ()) -> None:
        self.missing = missing
        self.unused = unused
        super().__init__(message)


@dataclass(frozen=True)
class TaskTemplate:
    """A task template: `document` is the object under `task_template`."""

    name: str
    document: dict[str, Any]
    path: str

    @property
    def variables(self) -> tuple[str, ...]:
        """The names that must be given, in order of their first use."""
        names = (m[1] for text in _strings(self.document) for m in _PLACEHOLDER.finditer(text) if m[1])
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class FileTemplate:
    """What a new file starts with."""

    name: str
    description: str
    content: str
    path: str

    def content_for(self, file_path: str) -> str:
        """The content of the new file at this path."""
        return self.content.replace(_FILE_NAME, PurePosixPath(file_path).name.partition(".")[0])


def find_templates(templates_dir: Path | None = None) -> dict[str, TaskTemplate]:
    """Name -> task template: the package's, and over them those of `templates_dir`. Raises TemplateError."""
    found = {}
    for name, whole, path in _templates("", templates_dir):
        document = whole.get("task_template")
        if not isinstance(document, dict):
            raise TemplateError(f"{path}: no object under `task_template`")
        found[name] = TaskTemplate(name=name, document=document, path=path)
    return found


def find_file_templates(templates_dir: Path | None = None) -> dict[str, FileTemplate]:
    """Name -> file template: the package's, and over them those of `templates_dir`/files. Raises TemplateError."""
    found = {}
    for name, fields, path in _templates("files", templates_dir):
        content, description = fields.get("content"), fields.get("description", "")
        if not isinstance(content, str) or not isinstance(description, str):
            raise TemplateError(f"{path}: `content` must be a text (`content: |`), and `description` too")
        found[name] = FileTemplate(name=name, description=description, content=content, path=path)
    return found


def fill_template(template: TaskTemplate, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The template's document with its variables filled in.

    Values are texts or numbers. Raises TemplateError for variables that are missing, unused or of another type.
    """
    needed = template.variables
    missing = tuple(name for name in needed if name not in variables)
    unused = tuple(name for name in variables if name not in needed)
    if missing or unused:
        parts = [f"without {', '.join(missing)}"] if missing else []
        parts += [f"with {', '.join(unused)}, which the template does not use"] if unused else []
        message = f"the template {template.name!r} needs {', '.join(needed) or 'no variables'}; it was given "
        raise TemplateError(message + " and ".join(parts), missing=missing, unused=unused)
    texts = {}
    for name, value in variables.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise TemplateError(f"the variable {name!r} must be a text or a number", unused=(name,))
        texts[name] = str(value)
    filled = _filled(template.document, texts)
    return filled if isinstance(filled, dict) else {}


def _filled(value: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(part, texts) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, texts) for part in value]
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: texts[match[1]] if match[1] else match[0][0], value)
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, str):
        yield value


def _templates(folder: str, templates_dir: Path | None) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Name, document and path of each template: the package's first."""
    yield from _of_the_package(folder)
    if templates_dir is not None:
        for name, text, path in _own_files(templates_dir / folder, may_be_missing=bool(folder)):
            yield name, _object(text, path), path


@functools.cache
def _of_the_package(folder: str) -> tuple[tuple[str, dict[str, Any], str], ...]:
    """Read once: they change with the code. Nobody changes the documents."""
    root = resources.files("haikud.roles").joinpath("builtin", "templates")
    return tuple(
        (entry.name.removesuffix(".yaml"), _object(entry.read_bytes(), entry.name), entry.name)
        for entry in (root.joinpath(folder) if folder else root).iterdir()
        if entry.name.endswith(".yaml")
    )


def _own_files(own: Path, *, may_be_missing: bool) -> Iterator[tuple[str, bytes, str]]:
    """Name, content and path of each file in the settings' folder."""
    if may_be_missing and not own.is_dir():
        return
    try:
        for path in sorted(own.iterdir()):
            if path.suffix in {".yaml", ".yml"} and not path.name.startswith("."):
                if not path.is_file():  # opening a FIFO would wait for ever
                    raise TemplateError(f"{path}: is no regular file")
                yield path.stem, path.read_bytes(), str(path)
    except OSError as error:
        raise TemplateError(f"{error.filename or own}: cannot be read: {error.strerror}") from error


def read_text(data: bytes, path: str) -> str:
    """The text of a template's file. Raises TemplateError where it is too large, or no text."""
    if len(data) > LARGEST_TEMPLATE:
        raise TemplateError(f"{path}: {len(data)} bytes; a template has at most {LARGEST_TEMPLATE}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TemplateError(f"{path}: no UTF-8 text (byte {error.start})") from error


def _object(data: bytes, path: str) -> dict[str, Any]:
    try:
        document = read_plain_yaml(read_text(data, path))
    except PlainYamlError as error:
        raise TemplateError(f"{path}:{error.line}: {error}") from error
    if not isinstance(document, dict):
        raise TemplateError(f"{path}: no object at the top")
    _refuse_marks(document, path)
    return document


def _refuse_marks(value: Any, path: str) -> None:
    if isinstance(value, BadNumber):
        raise TemplateError(f"{path}: the number {value.shown} cannot be stored")
    if isinstance(value, OddKeys):
        what = f"the key {value.doubled[0]!r} twice" if value.doubled else "a key that is no text"
        raise TemplateError(f"{path}: {what}")
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _refuse_marks(part, path)
