"""The statements about the keys of clients."""

from __future__ import annotations

from storage.driver.decoder import columns_of, parameters_of
from storage.driver.statements import Command, Query
from storage.records.clients import StoredKey

_KEY = columns_of(StoredKey)
_VALID = "(revoked_at_ms IS NULL OR revoked_at_ms > :now_ms)"

ADD = Command(f"INSERT INTO client_keys ({_KEY}) VALUES ({parameters_of(StoredKey)})")
VALID = Query(f"SELECT {_KEY} FROM client_keys WHERE {_VALID}", StoredKey)
COUNT_VALID = Query(f"SELECT count(*) FROM client_keys WHERE {_VALID}", int)
ALL = Query(f"SELECT {_KEY} FROM client_keys ORDER BY client, created_at_ms, hash", StoredKey)
REVOKE = Command(f"UPDATE client_keys SET revoked_at_ms = :at_ms WHERE hash = :hash AND {_VALID}")
END_OF_CLIENT = Command(
    """
    UPDATE client_keys SET revoked_at_ms = :at_ms
    WHERE client = :client AND (revoked_at_ms IS NULL OR revoked_at_ms > :at_ms)
    """
)
USED = Command(
    """
    UPDATE client_keys SET last_used_at_ms = :at_ms
    WHERE hash = :hash AND (last_used_at_ms IS NULL OR last_used_at_ms < :at_ms)
    """
)
