"""Gates whose clock goes by hand, ended with the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.gateway.calls import MakeWorld, World

from haikud.contracts.settings import ApiSettings


@pytest.fixture
async def made() -> AsyncIterator[MakeWorld]:
    worlds = []

    def make(**api: Any) -> World:
        worlds.append(World(ApiSettings.model_validate(api)))
        return worlds[-1]

    yield make
    for world in worlds:
        await world.close()
