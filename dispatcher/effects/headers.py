"""Headers of an outgoing message that somebody else chose."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dispatcher.plugins.errors import GiveUp

OURS = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    }
)
"""Headers that hookchain sets itself."""

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

LONGEST = 8_000
"""The most characters of a value: many servers refuse a request whose headers have more than 8 kB."""


def check_name(name: str) -> None:
    """Raises `GiveUp` for a name that a header cannot have."""
    if not _NAME.fullmatch(name):
        raise GiveUp(f"{name!r} cannot be the name of a header: use letters, digits and -")
    if name.lower() == "content-type":
        raise GiveUp("content-type does not belong in headers: write content_type instead")
    if name.lower() in OURS:
        raise GiveUp(f"hookchain sets the header {name} itself: leave it out")


def encoded(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as they can be sent. Raises `GiveUp` for any other; the message never contains the value, which may be a secret."""
    for name, value in headers.items():
        check_name(name)
        _check_value(name, value.strip())
    return {name.lower(): value.strip() for name, value in headers.items()}


def _check_value(name: str, value: str) -> None:
    if _CONTROL.search(value):
        raise GiveUp(f"the header {name} has a line break or another control character in its value")
    if len(value) > LONGEST:
        raise GiveUp(f"the header {name} has {len(value)} characters, more than {LONGEST}")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise GiveUp(
            f"the header {name} has a character that headers cannot have (they have Latin-1); write {{{{ … | urlencode }}}}, or send it in "
            "the body"
        ) from error
