"""Removes from requests and payloads what people must not see: keys, hooks (their URLs contain a credential), and megabytes of
base64."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from midjourney.blob_texts import blob_in
from midjourney.bodies import container_of
from midjourney.errors import InvalidRequest

REDACTED = "[redacted]"
SECRET_FIELDS = frozenset({"notifyhook", "notifyurl", "notify_hook", "mj-api-secret", "authorization"})

# A hook's URL in a text, with plain slashes, or escaped as in JSON or in a form.
_TOKEN = re.compile(r"notify(?:/|\\/|\\u002[fF]|%(?:25)*2[fF])(?P<token>[A-Za-z0-9_-]{16,})")
_NAMES = "|".join(sorted(map(re.escape, SECRET_FIELDS)))


def _spelt(letter: str) -> str:
    """An expression for a letter as it is, as JSON's \\uXXXX, or as percent-encoded, each perhaps more than once."""
    code = "".join(
        f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(letter):02x}"
    )
    return rf"(?:{letter}|\\+u00{code}|%(?:25)*{code})"


_SLASH = r"(?:/|\\+/|\\+u002[fF]|%(?:25)*2[fF]|&\#(?:x2[fF]|47);)+"
_LETTER = r"(?:[A-Za-z0-9_-]|(?:\\+u00|%(?:25)*)(?:2[dD]|3[0-9]|[4-7][0-9a-fA-F]))"
_PATH = "".join(map(_spelt, "notify")) + _SLASH
_SPELT_TOKEN = rf"{_PATH}(?P<token>{_LETTER}{{16,}})"
_CUT_TOKEN = re.compile(rf"{_PATH}(?P<token>{_LETTER}+(?:[\\%][\\%u0-9a-fA-F]*)?)\Z")
_HIDDEN = re.compile(
    rf"""(?i:{_NAMES})\\?["']?\s*[:=>][\s\[]*
    (?: "(?P<double>(?:[^"\\]++|\\.)++) | '(?P<single>[^']+) | \\"(?P<escaped>(?:(?!\\").)+)
      | (?:(?i:bearer|basic)\s+)?(?!null\b)(?P<bare>[^\s"'\\&<>,;\[\]{{}}]+) )
    | {_SPELT_TOKEN} | (?P<was_so>{re.escape(REDACTED)})""",
    re.VERBOSE | re.DOTALL,
)
"""Secrets, each in a group, in a text that is not valid JSON, but may be malformed JSON, a form, headers or XML."""

# Images as text. They are recognised by their alphabet, because a prompt in Chinese has no blanks either.
_DATA_URL = re.compile(r"data:(?=[^,]*[/;])[\w.+/-]*(?:;[\w.+=-]+)*,[!-~\r\n]{20,}", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{60}[A-Za-z0-9+/_=\r\n-]{141,}")

_DEEPEST = 40
"""Levels of nesting that are shown. Known senders use at most five; a probe may use a thousand."""


def redacted(payload: object, depth: int = 0) -> object:
    """The payload without hook URLs, which senders echo, and without keys."""
    if depth > _DEEPEST:
        return "…"
    if isinstance(payload, dict):
        return {
            key: REDACTED if key.lower() in SECRET_FIELDS and value else redacted(value, depth + 1)
            for key, value in payload.items()
        }
    if isinstance(payload, list):
        return [redacted(entry, depth + 1) for entry in payload]
    return _redacted_string(payload, depth) if isinstance(payload, str) else payload


def _redacted_string(text: str, depth: int) -> str:
    """A redacted text within JSON. It may be JSON itself: some relays encode properties, or whole tasks, in this way."""
    if _may_hide(text) and not isinstance(inner := container_of(text), str):
        shown = redacted(inner, depth + 1)
        return text if shown == inner else msgspec.json.encode(shown).decode()
    return _TOKEN.sub(_redact, text)


def redacted_text(text: str) -> str:
    """A redacted text that is not JSON."""
    return _HIDDEN.sub(_redact, text) if _may_hide_spelt(text) else text


def beginning_of(text: str, most: int) -> str:
    """The beginning of a long text that need not be JSON, without secrets, not even one that the end cuts."""
    return _CUT_TOKEN.sub(_redact, redacted_text(text[: 4 * most]))[:most]


def _may_hide(text: str) -> bool:
    plain = text.lower()  # several times faster than the expression
    return "notify" in plain or REDACTED in plain or any(name in plain for name in SECRET_FIELDS)


def _may_hide_spelt(text: str) -> bool:
    """As `_may_hide`, also if letters are escaped."""
    return _may_hide(text) or "\\u00" in text or "%" in text


def _redact(found: re.Match[str]) -> str:
    start, end = (place - found.start() for place in found.span(found.lastgroup or 0))
    return f"{found[0][:start]}{REDACTED}{found[0][end:]}"


def shortened(payload: object, depth: int = 0) -> object:
    """The payload with images (data URLs and base64) cut."""
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
    """The part of an image that is shown; None for a text that is not an image, but may be the name of one."""
    if blob_in(text) is not None:
        return None
    if _DATA_URL.fullmatch(text):
        return text.partition(",")[0]
    return text[:80] if _BASE64.fullmatch(text) else None


def _mark(text: str) -> str:
    """The suffix that marks a cut text."""
    return f"… {len(text)} characters"


def restored(edited: object, whole: object, depth: int = 0) -> object:
    """Undo the redaction and cutting in a value that a person has edited: unedited parts are taken from `whole`, the original.

    An image that looks like another one when cut stays cut: see `check_whole`.
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
    if isinstance(edited, str) and isinstance(whole, str):
        mended, before = container_of(edited), container_of(whole)
        if mended is edited or before is whole:
            return edited
        return msgspec.json.encode(restored(mended, before, depth + 1)).decode()
    if isinstance(edited, list) and isinstance(whole, list):
        return [_entry(entry, place, edited, whole, depth + 1) for place, entry in enumerate(edited)]
    return edited


def check_whole(mended: object, whole: object) -> None:
    """Raise `InvalidRequest` if a restored value still contains something cut or redacted: it would be sent, and paid for, like
    that. `whole` is the original."""
    known = set(_texts(whole))
    marks = {_mark(text) for text in known if _cut(text) is not None}
    if redacted(whole) != whole:
        marks.add(REDACTED)
    for text in _texts(mended):
        if text not in known and any(mark in text for mark in marks):
            shown = text if len(text) <= 120 else f"{text[:80]}…{text[-30:]}"
            raise InvalidRequest(
                "edit", f"{shown!r} is incomplete: leave it as it was shown, or write the whole text"
            )


def _texts(value: object) -> Iterator[str]:
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict | list):
            left += part.values() if isinstance(part, dict) else part


def _entry(entry: object, place: int, edited: list[object], whole: list[object], depth: int) -> object:
    alike = [original for original in whole if shortened(redacted(original, depth), depth) == entry]
    if len(edited) == len(whole) and any(original is whole[place] for original in alike):
        return whole[place]
    return alike[0] if len(alike) == 1 else entry


def restored_body(edited: bytes, body: bytes) -> bytes:
    """Undo the redaction in a body that a person has edited.

    Raises `InvalidRequest` if it is unclear what was redacted in a place.
    """
    if REDACTED.encode() not in edited and "…".encode() not in edited:
        return edited
    try:
        whole, mended = (msgspec.json.decode(encoded) for encoded in (body, edited))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _restored_text(edited.decode("utf-8", "replace"), body.decode("utf-8", "replace")).encode()
    mended = restored(mended, whole)
    check_whole(mended, whole)
    return msgspec.json.encode(mended)


def _restored_text(edited: str, text: str) -> str:
    """The text with the redacted parts put back, in order."""
    hidden = (
        [found[found.lastgroup or 0] for found in _HIDDEN.finditer(text)] if _may_hide_spelt(text) else []
    )
    between = edited.split(REDACTED)
    if len(between) == 1:
        return edited
    if len(set(hidden)) == 1:
        return hidden[0].join(between)
    if len(hidden) != len(between) - 1:
        raise InvalidRequest(
            "edit",
            f"{REDACTED} occurs in other places than before: leave each where it was, or write the whole text",
        )
    return "".join(part for pair in zip(between, [*hidden, ""], strict=True) for part in pair)


def redacted_body(body: bytes) -> bytes:
    """A body without secrets, but otherwise byte for byte as received, whatever its encoding; for storage."""
    text = body.decode("utf-8", "surrogateescape")
    if not _may_hide(text) and "\\u00" not in text:  # letters of a key may be escaped
        return body
    try:
        value = msgspec.json.decode(body)
        shown = redacted(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return redacted_text(text).encode("utf-8", "surrogateescape")
    if shown != value:
        return msgspec.json.encode(shown)
    # A repeated key hides its first value from the decoder.
    return _TOKEN.sub(_redact, text).encode("utf-8", "surrogateescape")


def shown_body(body: object) -> str:
    """A request's body in one line, for messages."""
    return "" if body is None else msgspec.json.encode(shortened(redacted(body))).decode()


def without_secrets(text: str, *secrets: str) -> str:
    """A text without these secrets, which some upstreams repeat in their errors."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, REDACTED)
    return text


def without_secrets_in(body: bytes, *secrets: str) -> bytes:
    """Bytes without these secrets, either plain or as escaped in JSON."""
    for secret in filter(None, secrets):
        for written in (secret, secret.replace("/", "\\/")):
            body = body.replace(written.encode(), REDACTED.encode())
    return body
