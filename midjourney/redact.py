"""What people may see of a request: no key, no hook (its address holds a credential), no megabytes of base64."""

from __future__ import annotations

from typing import Any

import msgspec

REDACTED = "[redacted]"
SECRET_FIELDS = frozenset({"notifyhook", "notifyurl", "notify_hook", "mj-api-secret", "authorization"})
_LONGEST_SHOWN = 200


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
    """The payload with images cut: data URLs, and long texts without a blank."""
    if depth > _DEEPEST:
        return "…"
    if isinstance(payload, dict):
        return {key: shortened(value, depth + 1) for key, value in payload.items()}
    if isinstance(payload, list):
        return [shortened(entry, depth + 1) for entry in payload]
    if isinstance(payload, str) and payload.startswith("data:") and len(payload) > 40:
        return f"{payload[: payload.find(',')]}, {len(payload)} characters"
    if isinstance(payload, str) and len(payload) > _LONGEST_SHOWN and " " not in payload[:_LONGEST_SHOWN]:
        return f"{payload[:80]}… {len(payload)} characters"
    return payload


def restored(edited: Any, whole: Any, depth: int = 0) -> Any:
    """What a person made of `whole` as it was shown to them: what stands there as it was shown is as it was.

    An image that cannot be told from another one by how it is shown stays cut, and is no image.
    """
    if depth > _DEEPEST:
        return edited
    if edited == shortened(redacted(whole)):
        return whole
    if isinstance(edited, dict) and isinstance(whole, dict):
        return {
            key: whole[key]
            if value == REDACTED and key in whole
            else restored(value, whole.get(key), depth + 1)
            for key, value in edited.items()
        }
    if isinstance(edited, list) and isinstance(whole, list):
        return [_entry(entry, place, edited, whole) for place, entry in enumerate(edited)]
    return edited


def _entry(entry: Any, place: int, edited: list[Any], whole: list[Any]) -> Any:
    alike = [one for one in whole if shortened(redacted(one)) == entry]
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
