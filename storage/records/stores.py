"""What plugins keep in `chain.store`, as it is stored, and a change of it."""

from __future__ import annotations

import msgspec


class StoredValues(msgspec.Struct, frozen=True):
    """The store of a chain: `content` is a JSON object. Nothing has ever been kept in version 0."""

    version: int = 0
    content: str = "{}"


class StoreChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a run leaves in the store of its chain. It was made from the version `before`, and counts only if that is still the newest.
    `told` describes it."""

    chain_id: str
    before: int
    content: str
    told: str = ""
