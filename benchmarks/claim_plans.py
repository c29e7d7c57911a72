"""How the two claims find what is due among a million rows on PostgreSQL."""

from __future__ import annotations

import asyncio
import statistics
import time

import psycopg
from rich.console import Console
from rich.table import Table

from storage.deliveries import sql as deliveries_sql
from storage.driver.statements import Query
from storage.engine import Connection, Database
from storage.schema import SCHEMA
from storage.submissions import sql as submissions_sql

_MANY = f"""
INSERT INTO {SCHEMA}.submissions (id, idempotency_key, chain_id, upstream, kind, label, request, parent_id, depth, asked_by,
  lane, priority, queue_at_ms, state, outcome, reason, task_ids, worker, attempts, forgiven, repeats, run_at_ms,
  created_at_ms, updated_at_ms)
SELECT 's' || n, 'k' || n, 'c' || n / 4, 'main', 'action', 'U' || n % 4, '', 't' || n / 4, 1, 'rule:x',
  CASE WHEN n % 2 = 0 THEN 'main|t' || n / 4 ELSE '' END, 0, n, CASE WHEN n % 1000 = 0 THEN 'waiting' ELSE 'accepted' END,
  '', '', '[]', '', 1, 0, 0, n, n, n FROM generate_series(1, ROWS) n;
INSERT INTO {SCHEMA}.tasks (upstream, id, status, progress, action, chain_id, submission_id, parent_id, depth, created_at_ms,
  updated_at_ms, finished_at_ms, misses)
SELECT 'main', 'child' || n, 'SUCCESS', 100, 'UPSCALE', 'c' || n / 4, 's' || n, 't' || n / 4, 1, n, n, n, 0
  FROM generate_series(1, ROWS) n;
INSERT INTO {SCHEMA}.deliveries (event_id, receiver, lane, state, worker, attempts, excused, run_at_ms, fired, decision, error,
  created_at_ms, updated_at_ms)
SELECT n, 'rule:x', 'main|t' || n / 4, CASE WHEN n % 1000 = 0 THEN 'waiting' ELSE 'done' END, '', 1, 0, n, false, '', '',
  n, n FROM generate_series(1, ROWS) n
"""


def show_plans(console: Console, url: str, rows: int) -> None:
    """Print how the two claims find due rows among this many rows in each table."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _MANY.replace("ROWS", str(rows)).split(";"):
            connection.execute(statement)
        connection.execute("ANALYZE")
    plans = asyncio.run(_explained(url))
    table = Table(title=f"claims with {rows:,} rows in each table, a thousandth of them waiting")
    for heading in ("claim", "ms", "finds its rows by"):
        table.add_column(heading)
    for name, lines in plans.items():
        taken = statistics.median(
            float(line.split()[2]) for line in lines if line.startswith("Execution Time")
        )
        scans = [line.strip(" ->").split("  (")[0] for line in lines if "Scan" in line]
        table.add_row(name, f"{taken:.2f}", "\n".join(scans))
        if any("Seq Scan on submissions" in line or "Seq Scan on deliveries" in line for line in scans):
            raise SystemExit(f"the claim of {name} reads a whole table:\n" + "\n".join(lines))
    console.print(table)


async def _explained(url: str) -> dict[str, list[str]]:
    database = Database(url)
    await database.open()

    now_ms = time.time_ns() // 1_000_000

    deliveries_due = Query(f"EXPLAIN (ANALYZE) {deliveries_sql.DUE.text}", str)

    def explain(connection: Connection) -> dict[str, list[str]]:
        return {
            "submissions": Query(f"EXPLAIN (ANALYZE) {submissions_sql.DUE.text}", str).all(
                connection, upstream="main", now_ms=now_ms, held_since_ms=0, most=8
            ),
            "deliveries": deliveries_due.all(connection, now_ms=now_ms, most=64, full=[]),
        }

    try:
        return await database.write("explain", explain)
    finally:
        await database.close()
