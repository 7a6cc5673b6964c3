"""The tool `view`: what a role that may only read has instead of the editor. Shows files and folders, changes nothing.

A tool of ours, because the API's own editor tool always promises the model that it can write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from haikud.agent.haiku.tools.editor import EditorTool
from haikud.agent.haiku.tools.outcome import ToolOutcome

VIEW: dict[str, Any] = {
    "name": "view",
    "description": "Show a file with line numbers, or what is in a folder, two levels deep. Changes nothing.",
    "input_schema": {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Relative to the folder that the first message names."},
            "view_range": {
                "type": "array",
                "items": {"type": "integer"},
                "description": "First and last line, as [1, 50]; -1 is the last line of the file.",
            },
        },
        "required": ["path"],
    },
}


def view(editor: EditorTool, given: Mapping[str, Any]) -> ToolOutcome:
    """Show what the editor shows. Whatever else the model gives, such as another command, is left aside."""
    shown = {name: given[name] for name in ("path", "view_range") if name in given}
    return editor.use({**shown, "command": "view"})
