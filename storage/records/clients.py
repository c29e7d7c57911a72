"""The stored key of a client of the gateway."""

from __future__ import annotations

import msgspec

_ID_CHARACTERS = 12


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key, as it is stored: by its SHA-256, so that nobody can read it. `hint`: how it begins, for people to recognise it.

    `revoked_at_ms`: from when on it is not valid; None for a key without an end.
    """

    hash: str
    client: str
    hint: str
    created_at_ms: int
    revoked_at_ms: int | None = None
    last_used_at_ms: int | None = None

    @property
    def id(self) -> str:
        """The beginning of the hash."""
        return self.hash[:_ID_CHARACTERS]

    def is_valid(self, now_ms: int) -> bool:
        """True until it is revoked."""
        return self.revoked_at_ms is None or self.revoked_at_ms > now_ms
