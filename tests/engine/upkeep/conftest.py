"""One spool that a daemon has worked in, for all tests here; each finds it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.lived_in import LivedIn


@pytest.fixture(scope="package")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivedIn]:
    made = LivedIn(tmp_path_factory.mktemp("lived-in"))
    yield made
    made.house.close()


@pytest.fixture
def spool(lived_in: LivedIn) -> Iterator[LivedIn]:
    yield lived_in
    lived_in.put_back()
