"""What storage raises.

StorageError
├── NotDurable       the database could not take the write: nothing of it was kept
├── Unkeepable       the database refuses this write for what is in it: asking again will not help
├── LeaseLost        somebody else has the work by now: what was staged is dropped
├── SchemaTooNew     the database was migrated by a newer release
├── CannotMove       the tables of release 0.1.0 cannot be moved into their own schema now
├── MissingRight     the database role may not do what a migration needs
└── BadDatabaseUrl   the address names no database that this release knows
"""

from __future__ import annotations


class StorageError(Exception):
    """Root of what `storage` raises."""


class NotDurable(StorageError):
    """The write did not reach the disk; asking again is right."""


class Unkeepable(StorageError):
    """The database refuses this write for what is in it: a value that is too long, say."""


class LeaseLost(StorageError):
    """The attempt that wanted to finish is no longer the current one."""


class SchemaTooNew(StorageError):
    """The database is at a revision that this release does not have."""


class CannotMove(StorageError):
    """The tables of release 0.1.0 stay where they are; the message says why and what to do."""


class MissingRight(StorageError):
    """The role in `DATABASE_URL` lacks a right; the message says what to run, as an administrator."""


class BadDatabaseUrl(StorageError):
    """`DATABASE_URL` cannot be used; the message says why and what to write."""
