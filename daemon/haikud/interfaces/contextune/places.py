"""In which line of a YAML text each of its values stands. Pure."""

from __future__ import annotations

import yaml


def yaml_lines(text: str, first: int = 1) -> dict[str, int]:
    """JSON Pointer -> line, for a text that `read_plain_yaml` has read; `first` is the number of its first line."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    found: dict[str, int] = {}
    waiting = [("", root)]
    while waiting:
        pointer, node = waiting.pop()
        if node is None:
            continue
        found.setdefault(pointer, node.start_mark.line + first)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    name = f"{pointer}/{key.value.replace('~', '~0').replace('/', '~1')}"
                    found[name] = key.start_mark.line + first
                    waiting.append((name, value))
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(f"{pointer}/{number}", value) for number, value in enumerate(node.value)]
    return found
