"""The table of what plugins keep in `chain.store`. docs/decisions/0047 says why it has a table of its own."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from storage.schema.names import metadata

chain_stores = Table(
    "chain_stores",
    metadata,
    Column("chain_id", String, primary_key=True),
    Column("version", Integer, nullable=False),  # grows by one with each change; a row is made with 1
    Column("content", Text, nullable=False),  # a JSON object
    Column("updated_at_ms", BigInteger, nullable=False),
)
