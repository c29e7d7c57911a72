"""Optional libraries that only some rules and plugins need: an extra installs each, and it is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dispatcher.plugins.errors import GiveUp


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Surrounds the import of a library that the extra `name` installs. Raises `GiveUp` if it cannot be imported: no
    retry helps until somebody installs it."""
    try:
        yield
    except ImportError as error:
        raise GiveUp(
            f"this needs the extra \"{name}\", which is missing or broken ({error}). Run: pip install 'hookchain[{name}]'"
        ) from error
