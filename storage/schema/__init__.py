"""Tables, indexes, and the unique constraints that guarantee "exactly once".

There are two such constraints: a delivery is unique by (event, receiver), and a submission by its idempotency key, for
ever. Times are epoch milliseconds. States are words; each set is defined once, in `storage/records/`.

On PostgreSQL the tables have a schema of their own, so that other programs can use the same database. Statements name
that schema (`hookchain_data.tasks`): `storage/driver/postgres.py` adds it when a statement is compiled.
"""

from __future__ import annotations

from storage.schema.approvals import approvals
from storage.schema.blobs import blob_pieces, blob_uses, blobs
from storage.schema.clients import client_keys
from storage.schema.duties import attempts, deliveries, firings, joins, spent, submissions
from storage.schema.facts import aliases, chains, events, quarantine, refusals, tasks
from storage.schema.gateway import seeds, tickets
from storage.schema.names import AUTOMATIC, SCHEMA, metadata
from storage.schema.operations import budgets, leases, meta, timetable, traffic, upstreams
from storage.schema.stores import chain_stores

__all__ = [
    "AUTOMATIC",
    "SCHEMA",
    "aliases",
    "approvals",
    "attempts",
    "blob_pieces",
    "blob_uses",
    "blobs",
    "budgets",
    "chain_stores",
    "chains",
    "client_keys",
    "deliveries",
    "events",
    "firings",
    "joins",
    "leases",
    "meta",
    "metadata",
    "quarantine",
    "refusals",
    "seeds",
    "spent",
    "submissions",
    "tasks",
    "tickets",
    "timetable",
    "traffic",
    "upstreams",
]
