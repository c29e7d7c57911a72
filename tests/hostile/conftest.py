"""Who listens to the hostile upstream in its own tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.parts import Listener


@pytest.fixture
def listener() -> Iterator[Listener]:
    """At a hook."""
    made = Listener()
    yield made
    made.stop()
