"""What people may see of a request: no key, no hook (its address holds a credential), no megabytes of base64."""

from __future__ import annotations

from typing import Any

import msgspec

REDACTED = "[redacted]"
SECRET_FIELDS = frozenset({"notifyhook", "notifyurl", "notify_hook", "mj-api-secret", "authorization"})
_LONGEST_SHOWN = 200


def redacted(payload: Any) -> Any:
    """The payload without the hook's address, which senders echo, and without keys."""
    if isinstance(payload, dict):
        return {
            key: REDACTED if key.lower() in SECRET_FIELDS and value else redacted(value)
            for key, value in payload.items()
        }
    return [redacted(entry) for entry in payload] if isinstance(payload, list) else payload


def shortened(payload: Any) -> Any:
    """The payload with images cut: data URLs, and long texts without a blank."""
    if isinstance(payload, dict):
        return {key: shortened(value) for key, value in payload.items()}
    if isinstance(payload, list):
        return [shortened(entry) for entry in payload]
    if isinstance(payload, str) and payload.startswith("data:") and len(payload) > 40:
        return f"{payload[: payload.find(',')]}, {len(payload)} characters"
    if isinstance(payload, str) and len(payload) > _LONGEST_SHOWN and " " not in payload[:_LONGEST_SHOWN]:
        return f"{payload[:80]}… {len(payload)} characters"
    return payload


def shown_body(body: Any) -> str:
    """A request's body in one line."""
    return "" if body is None else msgspec.json.encode(shortened(redacted(body))).decode()


def without_secrets(text: str, *secrets: str) -> str:
    """A text without these secrets, which some upstreams repeat in their errors."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, REDACTED)
    return text
