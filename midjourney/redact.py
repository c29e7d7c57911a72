"""What people may see of a request: no key, no hook (its address holds a credential), no megabytes of base64."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from midjourney.errors import InvalidRequest

REDACTED = "[redacted]"
SECRET_FIELDS = frozenset({"notifyhook", "notifyurl", "notify_hook", "mj-api-secret", "authorization"})

# Images as texts, by all that may stand in one: a prompt in Chinese has no blank either.
_DATA_URL = re.compile(r"data:(?=[^,]*[/;])[\w.+/-]*(?:;[\w.+=-]+)*,[!-~\r\n]{20,}", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{60}[A-Za-z0-9+/_=\r\n-]{141,}")

_DEEPEST = 40
"""Levels of nesting that are shown. No sender has more than five; a probe has a thousand."""


def redacted(payload: Any, depth: int = 0) -> Any:
    """The payload without the hook's address, which senders echo, and without keys."""
    if depth > _DEEPEST:
        return "…"
    if isinstance(payload, dict):
        return {
            key: REDACTED if key.lower() in SECRET_FIELDS and value else redacted(value, depth + 1)
            for key, value in payload.items()
        }
    return [redacted(entry, depth + 1) for entry in payload] if isinstance(payload, list) else payload


def shortened(payload: Any, depth: int = 0) -> Any:
    """The payload with images cut: data URLs and base64."""
    if depth > _DEEPEST:
        return "…"
    if isinstance(payload, dict):
        return {key: shortened(value, depth + 1) for key, value in payload.items()}
    if isinstance(payload, list):
        return [shortened(entry, depth + 1) for entry in payload]
    if isinstance(payload, str) and (begins := _cut(payload)) is not None:
        return begins + _mark(payload)
    return payload


def _cut(text: str) -> str | None:
    """How an image begins that is shown cut; None for any other text."""
    if _DATA_URL.fullmatch(text):
        return text.partition(",")[0]
    return text[:80] if _BASE64.fullmatch(text) else None


def _mark(text: str) -> str:
    """What shows that a text was cut."""
    return f"… {len(text)} characters"


def restored(edited: Any, whole: Any, depth: int = 0) -> Any:
    """What a person made of `whole` as it was shown to them: what stands there as it was shown is as it was.

    An image that cannot be told from another one by how it is shown stays cut: see `check_whole`.
    """
    if edited == shortened(redacted(whole, depth), depth):
        return whole
    if depth > _DEEPEST:
        return edited
    if isinstance(edited, dict) and isinstance(whole, dict):
        return {
            key: whole[key]
            if value == REDACTED and key in whole
            else restored(value, whole.get(key), depth + 1)
            for key, value in edited.items()
        }
    if isinstance(edited, list) and isinstance(whole, list):
        return [_entry(entry, place, edited, whole, depth + 1) for place, entry in enumerate(edited)]
    return edited


def check_whole(mended: Any, whole: Any) -> None:
    """Refuse what was made of `whole`, and restored, while something in it is cut or hidden still: it would be sent, and
    paid for, as it stands there. Raises `InvalidRequest`."""
    known = set(_texts(whole))
    marks = {_mark(text) for text in known if _cut(text) is not None}
    if redacted(whole) != whole:
        marks.add(REDACTED)
    for text in _texts(mended):
        if text not in known and any(mark in text for mark in marks):
            shown = text if len(text) <= 120 else f"{text[:80]}…{text[-30:]}"
            raise InvalidRequest(
                "request", f"{shown!r} is not whole: leave it as it was shown, or write all of it"
            )


def _texts(value: Any) -> Iterator[str]:
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict | list):
            left += one.values() if isinstance(one, dict) else one


def _entry(entry: Any, place: int, edited: list[Any], whole: list[Any], depth: int) -> Any:
    alike = [one for one in whole if shortened(redacted(one, depth), depth) == entry]
    if len(edited) == len(whole) and any(one is whole[place] for one in alike):
        return whole[place]
    return alike[0] if len(alike) == 1 else entry


def shown_body(body: Any) -> str:
    """A request's body in one line."""
    return "" if body is None else msgspec.json.encode(shortened(redacted(body))).decode()


def without_secrets(text: str, *secrets: str) -> str:
    """A text without these secrets, which some upstreams repeat in their errors."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, REDACTED)
    return text


def without_secrets_in(body: bytes, *secrets: str) -> bytes:
    """Bytes without these secrets, written plainly or as JSON writes them."""
    for secret in filter(None, secrets):
        for written in (secret, secret.replace("/", "\\/")):
            body = body.replace(written.encode(), REDACTED.encode())
    return body
