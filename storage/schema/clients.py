"""Table of the keys of the gateway's clients. Keys are random, so a plain hash protects them: nobody can guess 32 bytes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, String, Table

from storage.schema.names import metadata

client_keys = Table(
    "client_keys",
    metadata,
    Column("hash", String, primary_key=True),  # SHA-256 of the key, in hexadecimal digits
    Column("client", String, nullable=False),
    Column("hint", String, nullable=False),  # how the key begins
    Column("created_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),  # from when on it is not valid; may be in the future
    Column("last_used_at_ms", BigInteger),
    Index("client_keys_of_client", "client", "created_at_ms"),
)
