"""The errors that storage raises.

StorageError
├── NotDurable       the database could not take the write: nothing of it was stored
├── Unkeepable       the database refuses a value in this write: a retry will not help
├── LeaseLost        another worker has the work by now: what was staged is dropped
├── UnknownMove      the code requested a change of state that is in no table of states
├── SchemaTooNew     the database was migrated by a newer release
├── CannotMove       the tables of release 0.1.0 cannot be moved into their own schema now
├── MissingRight     the database role may not do what a migration needs
├── TooManyHooks     an upstream has reached its maximum number of valid hooks
├── TooManyKeys      there are as many valid keys of clients as there may be
└── BadDatabaseUrl   the URL does not name a database that this release supports
"""

from __future__ import annotations


class StorageError(Exception):
    """Root of the errors that `storage` raises."""


class NotDurable(StorageError):
    """The write did not reach the disk; it may be retried."""


class Unkeepable(StorageError):
    """The database refuses a value in this write, for example one that is too long; a retry will not help."""


class LeaseLost(StorageError):
    """The attempt that was to be finished is no longer the current one."""


class UnknownMove(StorageError):
    """No operation changes a state like that, which is a bug in the code: see storage/duty/states.py."""


class SchemaTooNew(StorageError):
    """The database is at a revision that this release does not have."""


class CannotMove(StorageError):
    """The tables of release 0.1.0 cannot be moved; the message says why and what to do."""


class MissingRight(StorageError):
    """The role in `DATABASE_URL` lacks a right; the message says what to run, as an administrator."""


class TooManyHooks(StorageError):
    """An upstream has reached its maximum number of valid hooks; the message says how to end the old ones."""


class TooManyKeys(StorageError):
    """There are as many valid keys of clients as there may be; the message says how to end some."""


class BadDatabaseUrl(StorageError):
    """`DATABASE_URL` cannot be used; the message says why and what to write."""
