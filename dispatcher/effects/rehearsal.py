"""A rehearsal: while it lasts, effects of this process are recorded instead of performed.

What would leave is made as always (addresses, texts, signatures, file names), so that a mistake in it is found. Only the last step is
another one. It is for the whole process, and not for a task or thread: whatever a plugin starts, nothing leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol


class Rehearsal(Protocol):
    """Takes what would have left."""

    def forwarded(self, method: str, url: str, content: bytes, headers: Mapping[str, str]) -> None:
        """A webhook."""

    def told(self, to: Sequence[str], title: str, text: str, attached: Sequence[str]) -> None:
        """A notification, with the pictures at these addresses."""

    def kept(self, to: str, name: str, data: bytes) -> None:
        """A file for a folder or bucket."""


class _Present:
    rehearsal: Rehearsal | None = None


def present() -> Rehearsal | None:
    """The rehearsal that is on; None if effects are performed."""
    return _Present.rehearsal


@contextmanager
def rehearsing(rehearsal: Rehearsal) -> Iterator[None]:
    """Record effects within the block."""
    before, _Present.rehearsal = _Present.rehearsal, rehearsal
    try:
        yield
    finally:
        _Present.rehearsal = before
