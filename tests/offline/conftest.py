"""A real `anthropic` client against the scripted API, over real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anthropic
import pytest

from haikud.offline.server import ScriptedApi

KEY = "sk-ant-made-up-0123456789"

Open = Callable[..., tuple[ScriptedApi, anthropic.Anthropic]]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """`serve(*turns)` gives a running API with one conversation of these turns, and a client that does not retry."""
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(tmp_path / "no-credentials"))
    with ExitStack() as stack:

        def start(*turns: dict[str, Any], **scenario: Any) -> tuple[ScriptedApi, anthropic.Anthropic]:
            document = {"name": "test", "conversations": [{"turns": list(turns)}], **scenario}
            api = stack.enter_context(ScriptedApi(document))
            client = stack.enter_context(
                anthropic.Anthropic(api_key=KEY, base_url=api.base_url, max_retries=0, timeout=5.0)
            )
            return api, client

        yield start
