"""Tables of the long texts that requests refer to: which there are, who uses them, and on PostgreSQL the texts themselves."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table

from storage.schema.names import metadata

blobs = Table(
    "blobs",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),  # it is kept until then, and longer if something uses it
    Index("blobs_by_age", "until_ms"),
)

# On SQLite the texts are files beside the database.
blob_pieces = Table(
    "blob_pieces",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("piece", LargeBinary, nullable=False),
)

blob_uses = Table(
    "blob_uses",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("used_by", String, primary_key=True),  # a submission
)
