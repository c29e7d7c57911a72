"""The workers of a database: leases, and the lock on a SQLite file."""
