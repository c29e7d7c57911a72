"""The return value of a chain's methods."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any


class Requested(list[str]):
    """Labels of the staged submissions. Awaiting it is allowed but not needed."""

    def __await__(self) -> Generator[Any, None, Requested]:
        """Return the list itself, without waiting."""

        async def done() -> Requested:
            return self

        return done().__await__()
