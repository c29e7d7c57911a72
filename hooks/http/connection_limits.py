"""Limits for one connection and for all of them together, beyond which they are refused or closed."""

from __future__ import annotations

import msgspec
import structlog

try:
    import resource
# Windows has no such module.
except ImportError:
    _HAS_LIMIT = False
else:
    _HAS_LIMIT = True


log = structlog.get_logger("hookchain")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the HTTP server. The defaults suit every deployment; tests set shorter ones."""

    head_bytes: int = 32_768
    """Largest request line and headers together. Also limits the blank lines before them, and the trailers and chunk extensions
    of a body. Apache and nginx accept about as much."""

    head_lines: int = 200
    """Most lines of a head. Headers are kept as objects: thousands of tiny ones would take 25 times their size in memory."""

    head_s: float = 10.0
    """Time from the connection to the first byte, and from the first byte of a head to its end."""

    body_s: float = 30.0
    """Time for a body to arrive, plus a second for each `body_bytes_per_s` of it that have arrived."""

    body_bytes_per_s: int = 1024

    answer_s: float = 30.0
    """Time within which a client must read some part of a waiting response."""

    drain_s: float = 2.0
    """Time to read the rest of a body after its response. A client that is still sending would otherwise lose the response."""

    drain_bytes: int = 262_144
    """The most bytes that are read of such a rest."""

    held_bytes: int = 32 * 1024 * 1024
    """The most that the server holds for all connections together: heads, unread bodies, and responses that clients have not read."""

    connections: int = 8192
    """Most open connections, even if the limit of open files allows more: each takes about 10 kB."""


DEFAULTS = Limits()

SPARE_FILES = 200
"""Open files reserved for listening sockets (32), the database, requests to upstreams and the log."""

FEWEST_CONNECTIONS = 16

_WITHOUT_LIMIT = 300
"""Most connections on systems without a limit of open files (Windows), where `select` handles 512 sockets."""

_ENOUGH_FILES = 65_536
_MOST_FILES_MACOS = 10_240
"""OPEN_MAX: macOS refuses a higher soft limit, whatever the hard limit is."""


def raise_open_files(platform: str) -> None:
    """Raise this process's soft limit of open files to its hard limit, which needs no privilege. Many systems start programs with a
    limit of 1,024, which a thousand silent connections would use up."""
    if not _HAS_LIMIT:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES_MACOS if platform == "darwin" else _ENOUGH_FILES
    wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            log.warning(
                "the system does not let hookchain raise its limit of open files; start it with a higher limit (ulimit -n)",
                soft=soft,
                why=str(error),
            )


def most_connections(limits: Limits) -> int:
    """Return how many connections may be open at once: as many as the limit of open files allows."""
    if not _HAS_LIMIT:
        return min(limits.connections, _WITHOUT_LIMIT)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return limits.connections
    return max(FEWEST_CONNECTIONS, min(limits.connections, soft - SPARE_FILES))
