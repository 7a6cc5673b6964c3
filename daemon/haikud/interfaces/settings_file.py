"""Loading settings: one `haikud.yaml`, and `HAIKUD_*` variables over it.

The file is the first of `--config`, `$HAIKUD_CONFIG`, `./haikud.yaml`, the user's and the system's config folder; a
variable `HAIKUD_GROUP__NAME` overrides the file's `group: {name: ...}`. A relative path in a file is meant from the
file's folder, one in a variable from the working directory.

Promises: what comes back is whole and checked. Fails with `SettingsError`, which lists every fault with its place (the
line of the file, or the variable) and, for an unknown key, the nearest known one: a misspelt limit must not be a
limit unset.
"""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable

from haikud.contracts.settings import Settings, SettingsModel, default_settings

PREFIX = "HAIKUD_"

NO_SETTINGS = frozenset(
    {
        *("HAIKUD_CONFIG", "HAIKUD_SPOOL"),
        *("HAIKUD_REF", "HAIKUD_PLAN_ID", "HAIKUD_ROLE", "HAIKUD_AGENT_ID", "HAIKUD_ATTEMPT", "HAIKUD_OUT"),
        *("HAIKUD_GUIDANCE_FILE", "HAIKUD_DEPENDENCIES_FILE", "HAIKUD_MODEL", "HAIKUD_MAX_COST_USD"),
        *("HAIKUD_MAX_TURNS", "HAIKUD_RESUME_NOTE"),
        "HAIKUD_TEST_CLAUDE",
    }
)
"""Variables that mean something else: where to look, what an attempt tells its agent, what CI tells the tests."""

PATHS = (("default_repository",), ("worktree_root",), ("roles_dir",), ("templates_dir",), ("api", "key_file"))
PATH_LISTS = (("secrets", "files"),)
"""The settings that are paths, and those that are lists of them."""

Location = tuple[str | int, ...]


class SettingsError(Exception):
    """Settings that cannot be used; one line for each fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class _FromVariables(Settings, BaseSettings):
    """The settings as pydantic-settings wants to see them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)


def load_settings(config: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings that hold. Raises SettingsError for every fault there is in file and variables."""
    path = find_file(config, environ)
    values, lines = _read_file(path) if path else ({}, {})
    from_variables, faults = _read_variables(environ)
    if path:
        _anchor_paths(values, path.parent)
    _anchor_paths(from_variables, Path.cwd())
    places = _Places(path, lines, from_variables)
    values = _laid_over(values, from_variables)
    if isinstance(values.get("models"), dict):  # a name is added to those there are, or renamed; none is forgotten
        values["models"] = {**default_settings().models, **values["models"]}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError([*faults, *_describe(error, places)]) from None
    if faults:
        raise SettingsError(faults)
    return settings


def find_file(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The settings file that holds; None where there is none. One that was named must be there."""
    named = [("--config", str(config) if config else ""), ("$HAIKUD_CONFIG", environ.get("HAIKUD_CONFIG", ""))]
    for by, text in named:
        if text:
            path = Path(text).expanduser().absolute()
            if not path.is_file():
                raise SettingsError([f"{path}: there is no such settings file ({by} names it)"])
            return path
    home = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    places = [
        Path("haikud.yaml"),
        *([Path(home, "haikud/haikud.yaml")] if home else []),
        Path("/etc/haikud/haikud.yaml"),
    ]
    return next((path.absolute() for path in places if path.is_file()), None)


class _Places:
    """Where a value came from, for error messages."""

    def __init__(self, path: Path | None, lines: Mapping[Location, int], variables: Mapping[str, Any]) -> None:
        self.path = path
        self.lines = lines
        self.variables = variables

    def of(self, location: Location) -> str:
        """`FILE:LINE`, or `$HAIKUD_GROUP__NAME`."""
        value: Any = self.variables
        for depth, part in enumerate(location, 1):
            if not isinstance(value, Mapping) or part not in value:
                break
            value = value[part]
            if not isinstance(value, Mapping) or depth == len(location):
                return "$" + PREFIX + "__".join(str(part).upper() for part in location[:depth])
        for depth in range(len(location), 0, -1):
            if location[:depth] in self.lines:
                return f"{self.path}:{self.lines[location[:depth]]}"
        return str(self.path or "settings")


def _read_file(path: Path) -> tuple[dict[str, Any], dict[Location, int]]:
    """The file's values, and the line of every key."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: cannot read the settings: {error}"]) from None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        values = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError([f"{path}:{line}: this is no YAML: {error.problem or error.context}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError([f"{path}: this is no YAML: {error}"]) from None
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise SettingsError([f"{path}: settings are `name: value` lines; this is {type(values).__name__}"])
    lines: dict[Location, int] = {}
    faults = list(_walk(node, (), lines, path)) if node is not None else []
    if faults:
        raise SettingsError(faults)
    return values, lines


MOST_LEVELS = 10
"""Settings have three; an alias that holds itself has no end."""


def _walk(node: yaml.Node, location: Location, lines: dict[Location, int], path: Path) -> Iterator[str]:
    """Note the line of every key; yield a fault for a key that is no string or stands twice, and for endless depth."""
    if len(location) > MOST_LEVELS:
        yield f"{path}:{node.start_mark.line + 1}: settings are not nested so deeply"
        return
    if isinstance(node, yaml.SequenceNode):
        for number, child in enumerate(node.value):
            lines[*location, number] = child.start_mark.line + 1
            yield from _walk(child, (*location, number), lines, path)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, child in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            yield f"{path}:{line}: a setting's name must be a word; quote it if it looks like a number or yes/no"
            continue
        here = (*location, key.value)
        if here in lines:
            yield f"{path}:{line}: {dotted(here)} stands here a second time (first in line {lines[here]})"
        lines[here] = line
        yield from _walk(child, here, lines, path)


def _read_variables(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The values that variables give, and a fault for each variable that is no setting."""
    known = {f"{PREFIX}{'__'.join(location)}".upper() for location in setting_names()}
    faults = []
    usable = {}
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name in NO_SETTINGS:
            continue
        parts = tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
        if name in known or _is_in_a_table(parts):
            usable[name.lower()] = value
        else:
            faults.append(f"${name} is no setting; the nearest is ${_most_like(name, known, 0.0)}")
    source = EnvSettingsSource(_FromVariables)
    source.env_vars = usable
    try:
        return source(), faults
    except UnreadableVariable as error:
        field = re.search(r'field "(\w+)"', str(error))
        start = PREFIX + (field.group(1).upper() if field else "")
        names = " or ".join(f"${name}" for name in sorted(environ) if name.startswith(start))
        fault = f"{names or start}: a list or table must be JSON, such as [1, 2] or {{}}: {error.__cause__ or error}"
        raise SettingsError([*faults, fault]) from None


def setting_names(model: type[SettingsModel] = Settings, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every setting and every group of settings, as the path to it."""
    for name, field in model.model_fields.items():
        yield (*above, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, SettingsModel):
            yield from setting_names(field.annotation, (*above, name))


def _is_in_a_table(parts: tuple[str, ...]) -> bool:
    """Whether a variable names an entry of a setting that is a table of the user's own (`models`, ...)."""
    model: type[SettingsModel] = Settings
    for part in parts[:-1]:
        field = model.model_fields.get(part)
        if field is None:
            return False
        if typing.get_origin(field.annotation) is dict:
            return True
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, SettingsModel)):
            return False
        model = field.annotation
    return False


def _anchor_paths(values: dict[str, Any], folder: Path) -> None:
    for *groups, name in PATHS:
        group: Any = values
        for part in groups:
            group = group.get(part) if isinstance(group, dict) else None
        value = group.get(name) if isinstance(group, dict) else None
        if isinstance(value, str) and value:
            group[name] = os.path.normpath(folder / Path(value).expanduser())
    for outer, name in PATH_LISTS:
        group = values.get(outer)
        listed = group.get(name) if isinstance(group, dict) else None
        if isinstance(listed, list) and all(isinstance(one, str) and one for one in listed):
            group[name] = [os.path.normpath(folder / Path(one).expanduser()) for one in listed]


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`, group by group."""
    out = dict(below)
    for key, value in above.items():
        old = out.get(key)
        out[key] = _laid_over(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return out


def dotted(location: Location) -> str:
    """`group.name`."""
    return ".".join(str(part) for part in location)


def _describe(error: ValidationError, places: _Places) -> Iterator[str]:
    """One line for each fault: place, name, what was found and expected."""
    for fault in error.errors(include_url=False):
        location = tuple(fault["loc"])
        where = places.of(location)
        if fault["type"] == "extra_forbidden":
            yield f"{where}: {dotted(location)} is no setting; {_nearest(location)}"
        else:
            found = repr(fault["input"])
            shown = found if len(found) <= 60 else f"{found[:57]}..."
            yield f"{where}: {dotted(location)} is {shown}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


def _nearest(location: Location) -> str:
    """The known name most like an unknown one: of its own group first, then of all."""
    everything = list(setting_names())
    group = [name for name in everything if name[:-1] == tuple(location[:-1])]
    for candidates, cutoff in ((group, 0.6), (everything, 0.6), (group, 0.0)):
        by_last = {name[-1]: name for name in reversed(candidates)}
        near = _most_like(str(location[-1]), by_last, cutoff)
        if near:
            return f"the nearest is {dotted(by_last[near])}"
    return "the example docs/haikud.guide.yaml shows what there is"


def _most_like(word: str, candidates: Iterable[str], cutoff: float) -> str | None:
    """The candidate that `word` is the beginning of, else the one most like it; None where none is."""
    names = sorted(candidates)
    longer = [name for name in names if name.startswith(word) and len(word) > 2]
    return next(iter(longer or get_close_matches(word, names, n=1, cutoff=cutoff)), None)
