"""What people may see of a request: no key, no hook (its address holds a credential), no megabytes of base64."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from midjourney.errors import InvalidRequest

REDACTED = "[redacted]"
SECRET_FIELDS = frozenset({"notifyhook", "notifyurl", "notify_hook", "mj-api-secret", "authorization"})

# A hook's address in a text, its slashes as they are, or as JSON or a form writes them.
_TOKEN = re.compile(r"notify(?:/|\\/|\\u002[fF]|%(?:25)*2[fF])(?P<token>[A-Za-z0-9_-]{16,})")
_NAMES = "|".join(sorted(map(re.escape, SECRET_FIELDS)))
_HIDDEN = re.compile(
    rf"""(?i:{_NAMES})\\?["']?\s*[:=>][\s\[]*
    (?: "(?P<double>(?:[^"\\]++|\\.)++) | '(?P<single>[^']+) | \\"(?P<escaped>(?:(?!\\").)+)
      | (?:(?i:bearer|basic)\s+)?(?!null\b)(?P<bare>[^\s"'\\&<>,;\[\]{{}}]+) )
    | {_TOKEN.pattern} | (?P<was_so>{re.escape(REDACTED)})""",
    re.VERBOSE | re.DOTALL,
)
"""What is secret in a text that is no JSON, but may have been meant as it, or is a form, headers, XML: each in a group."""

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
    if isinstance(payload, list):
        return [redacted(entry, depth + 1) for entry in payload]
    return _TOKEN.sub(_redact, payload) if isinstance(payload, str) else payload


def redacted_text(text: str) -> str:
    """The same of what is no JSON."""
    return _HIDDEN.sub(_redact, text) if _may_hide(text) else text


def _may_hide(text: str) -> bool:
    plain = text.lower()  # several times quicker than the expression
    return "notify" in plain or REDACTED in plain or any(name in plain for name in SECRET_FIELDS)


def _redact(found: re.Match[str]) -> str:
    start, end = (place - found.start() for place in found.span(found.lastgroup or 0))
    return f"{found[0][:start]}{REDACTED}{found[0][end:]}"


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
                "edit", f"{shown!r} is not whole: leave it as it was shown, or write all of it"
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


def restored_body(edited: bytes, body: bytes) -> bytes:
    """A body that a person has edited as it was shown, redacted: what was hidden is in its place.

    Raises `InvalidRequest` where it cannot be told what stood there.
    """
    if REDACTED.encode() not in edited and "…".encode() not in edited:
        return edited
    try:
        whole, mended = (msgspec.json.decode(one) for one in (body, edited))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _restored_text(edited.decode("utf-8", "replace"), body.decode("utf-8", "replace")).encode()
    mended = restored(mended, whole)
    check_whole(mended, whole)
    return msgspec.json.encode(mended)


def _restored_text(edited: str, text: str) -> str:
    """Each mark stands for what was hidden there, in the order of the text."""
    hidden = [found[found.lastgroup or 0] for found in _HIDDEN.finditer(text)] if _may_hide(text) else []
    between = edited.split(REDACTED)
    if len(between) == 1:
        return edited
    if len(set(hidden)) == 1:
        return hidden[0].join(between)
    if len(hidden) != len(between) - 1:
        raise InvalidRequest(
            "edit", f"{REDACTED} is in it in other places than before: leave each, or write all of it"
        )
    return "".join(part for pair in zip(between, [*hidden, ""], strict=True) for part in pair)


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
