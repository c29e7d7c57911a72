"""A PostgreSQL database of the tests is emptied for the next one."""

from __future__ import annotations

import contextlib
from typing import Any

from storage.schema import SCHEMA, metadata
from tests.support import postgres


def content(url: str) -> tuple[dict[str, list[Any]], list[Any]]:
    """All rows, and the numbers that were given away last."""
    with postgres.connect(url, autocommit=True) as connection:
        rows = {
            table.name: connection.execute(f"SELECT * FROM {SCHEMA}.{table.name}").fetchall()
            for table in metadata.sorted_tables
        }
        numbers = connection.execute(
            "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = %s ORDER BY 1", [SCHEMA]
        ).fetchall()
    return rows, numbers


def test_what_a_test_wrote_or_rolled_back_is_gone(postgres_url: str) -> None:
    """Rows, a number that was taken for a row that never came, and another lease."""
    before = content(postgres_url)
    with postgres.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"INSERT INTO {SCHEMA}.leases VALUES ('x', 'y', 1, 1)")
        connection.execute(f"INSERT INTO {SCHEMA}.meta VALUES ('a key', 'a value')")
        connection.execute(f"SELECT nextval('{SCHEMA}.events_id_seq')")
    after = content(postgres_url)
    assert {name for name in before[0] if before[0][name] != after[0][name]} == {"leases", "meta"}
    assert after[1] != before[1]
    postgres.empty(postgres_url)
    assert content(postgres_url) == before


def test_many_rows_are_gone_too(postgres_url: str) -> None:
    """So many that they are not deleted one by one."""
    before = content(postgres_url)
    with postgres.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            f"INSERT INTO {SCHEMA}.meta SELECT n::text, repeat('x', 1000) FROM generate_series(1, 5000) n"
        )
    postgres.empty(postgres_url)
    assert content(postgres_url) == before
    with postgres.connect(postgres_url, autocommit=True) as connection:
        assert connection.execute(f"SELECT pg_relation_size('{SCHEMA}.meta')").fetchone() == (0,)


def test_it_is_emptied_after_all_connections_were_ended(postgres_url: str) -> None:
    """As tests of outages do."""
    with contextlib.closing(postgres.Emptied(postgres_url)) as emptied:
        with postgres.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"INSERT INTO {SCHEMA}.meta VALUES ('a key', 'a value')")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        emptied.empty()
        assert content(postgres_url)[0]["meta"] == []
