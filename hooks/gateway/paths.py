"""The paths of the gateway: `/mj/…`, `/{mode}/mj/…` and `/v1/mj/…`, each also behind `/k/{key}` for clients without a field for a key."""

from __future__ import annotations

import re

import msgspec

_MODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
_HEADS = frozenset({"submit", "task", "insight-face", "image", "account", "gallery"})
"""What follows `mj` where the word before it could be part of another path of ours, such as the page of an upstream named "mj"."""

_SURE = re.compile(r"v1|mj-[a-z]+|fast|relax|turbo", re.IGNORECASE)


class Place(msgspec.Struct, frozen=True):
    """Where a request goes: the key in its path ("" if there is none), the mode before `/mj` ("mj-fast"), and the rest
    ("submit/imagine")."""

    key: str
    mode: str
    rest: str


def place_of(path: str) -> Place | None:
    """The place that a path names; None if the path is not the gateway's."""
    parts = [part for part in path.split("/") if part]
    key = ""
    if parts[:1] == ["k"] and len(parts) > 1:
        key, parts = parts[1], parts[2:]
    if parts[:1] == ["mj"]:
        # Some relays' clients repeat the prefix that their base URL has already.
        rest = parts[2:] if parts[1:2] == ["mj"] else parts[1:]
        return Place(key, "", "/".join(rest))
    if len(parts) > 1 and parts[1] == "mj" and _MODE.fullmatch(parts[0]):
        head = parts[2] if len(parts) > 2 else ""
        if key or head in _HEADS or _SURE.fullmatch(parts[0]):
            return Place(key, "" if parts[0].lower() == "v1" else parts[0], "/".join(parts[2:]))
    return Place(key, "", "/".join(parts)) if key else None
