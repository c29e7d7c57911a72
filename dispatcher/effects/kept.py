"""What is known of a file that was kept."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec


class KeptFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file in a store: its name there, what it is, and the URL that it was loaded from."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    address: str


def told_of(kept: KeptFile) -> dict[str, object]:
    """What the JSON file says of a kept file. The URL comes without its signature."""
    return {
        "file": kept.name.rpartition("/")[2],
        "media_type": kept.media_type,
        "size_bytes": kept.size_bytes,
        "sha256": kept.sha256,
        "source": without_query(kept.address),
    }


def without_query(address: str) -> str:
    """A URL without its query, which may be a signature."""
    return urlsplit(address)._replace(query="", fragment="").geturl()
