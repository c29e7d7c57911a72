"""Speed modes: where a request in a mode such as "fast" or "relax" goes, and what its body says. Pure.

Sources: section a.2 of the protocol notes. trueai and new-api serve `/mj-fast/mj/…` beside `/mj/…`; openai-hk and others `/fast/mj/…`;
147ai and DMXAPI read the field `mode` of the body. A task has the same id in every mode, so only submissions go there.
"""

from __future__ import annotations

import re

from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest

MODE = re.compile(r"[a-z][a-z0-9_-]*")
"""How the name of a mode is written."""

_IN_URL = re.compile(r"/(?:mj-)?(?:fast|turbo|relax)$", re.IGNORECASE)
"""The mode at the end of an upstream's URL, in which everything goes that names no other."""


def check_mode(mode: str, dialect: Dialect) -> None:
    """Check that the dialect has the mode. Raises `InvalidRequest`."""
    if mode and mode not in dialect.modes:
        known = ", ".join(dialect.modes) or "none"
        raise InvalidRequest("mode", f"dialect {dialect.name} has no mode {mode!r}; it has: {known}")


def path_in(mode: str, path: str, dialect: Dialect) -> str:
    """The path of a request in a mode. Raises `InvalidRequest`."""
    check_mode(mode, dialect)
    prefix = dialect.modes.get(mode, "")
    return prefix + path.removeprefix(dialect.prefix) if prefix.startswith("/") else path


def field_in(mode: str, dialect: Dialect) -> dict[str, str]:
    """What the body of a request in a mode says about it."""
    word = dialect.modes.get(mode, "")
    return {"mode": word} if word and not word.startswith("/") else {}


def base_for(path: str, base: str, dialect: Dialect) -> str:
    """The URL before a path: that of the upstream, without its own mode if the path has one."""
    prefixes = [prefix for prefix in dialect.modes.values() if prefix.startswith("/")]
    if not any(path.startswith(f"{prefix}/") for prefix in prefixes):
        return base
    for first in (f"/{prefix.split('/')[1]}" for prefix in prefixes):
        base = base.removesuffix(first)
    return _IN_URL.sub("", base)
