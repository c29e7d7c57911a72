"""A database of 200,000 rows in believable proportions, made by the database itself in a few seconds.

Of ten tasks nine are ours, in chains of one grid and four upscales; the tenth is another client's and has no chain. A task
has twelve callbacks, each of ours has the ticket of a client, and every other event that gave a signal has a delivery. Nearly everything has ended; a few hundred rows
wait, run, are uncertain or dead. One task in 10,000 is the exception that makes limits worth having: a sender in a loop sent
it 5,000 times.
"""

from __future__ import annotations

from sqlalchemy import Connection

from storage.schema import SCHEMA

TASKS = 10_000
EVENTS_A_TASK = 12
CHAINS = TASKS * 9 // 10 // 5

LOOPED_EVENTS = 5_000
LOOPED_TASK = f"t{1_000_000 + 335}"
"""The task whose sender is in a loop; it is ours, and in a chain."""

START_MS = 1_764_000_000_000
STEP_MS = 60_000
"""Between the first callbacks of two tasks."""

NOW_MS = START_MS + (TASKS + 1) * STEP_MS

_SERIES = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {most}) "
_AT = f"CAST({START_MS} AS BIGINT) + {{i}} * {STEP_MS}"
_UPSTREAM = "CASE WHEN {i} % 10 = 3 THEN 'other' ELSE 'main' END"
_IS_OURS = "({task} - 1) % 10 < 9"
_CHAIN = "'c' || (100000 + (({task} - 1) / 10) * 2 + (({task} - 1) % 10) / 5)"
"""Of ten tasks the first five are a chain, the next four another, and the last is nobody's."""


def fill(connection: Connection) -> None:
    """Insert the rows into the empty tables of this release, and gather statistics as the product does."""
    is_file = connection.dialect.name == "sqlite"
    kind = "BLOB" if is_file else "BYTEA"
    prefix = "" if is_file else f"{SCHEMA}."
    for table, (columns, query) in _TABLES.items():
        statement = f"INSERT INTO {prefix}{table} ({columns}) {query}"
        statement = statement.replace("%BLOB%", kind).replace("%EVENTS%", f"{prefix}events")
        connection.exec_driver_sql(statement.replace("%", "%%") if not is_file else statement)
    for table in () if is_file else ("events", "deliveries"):
        connection.exec_driver_sql(
            f"SELECT setval(pg_get_serial_sequence('{prefix}{table}', 'id'), max(id)) FROM {prefix}{table}"
        )


def _task_of_event(i: str) -> str:
    return f"(({i} - 1) / {EVENTS_A_TASK} + 1)"


_TASK = _task_of_event("i")
_STEP = f"((i - 1) % {EVENTS_A_TASK})"
_EVENTS = TASKS * EVENTS_A_TASK

OPEN_TICKETS = 400
"""The tickets of these last tasks have not ended. Each fourth of the newest fifty is a window."""

_IS_WINDOW = f"(i > {TASKS - 50} AND i % 4 = 0)"

_TABLES: dict[str, tuple[str, str]] = {
    "upstreams": (
        "name, paused, rate_paid_until_us, held_until_ms, failures, open_until_ms, open_ms",
        "SELECT 'main', 1 = 0, 0, 0, 0, 0, 0 UNION ALL SELECT 'other', 1 = 1, 0, 0, 0, 0, 0",
    ),
    "chains": (
        "id, upstream, root_task_id, submissions, created_at_ms, prompt, automatic",
        _SERIES.format(most=CHAINS)
        + "SELECT 'c' || (99999 + i), CASE WHEN i % 10 = 3 THEN 'other' ELSE 'main' END, 't' || (1000000 + i * 5 - 4), 5, "
        + _AT.format(i="(i * 5 - 4)")
        + ", 'a lighthouse at dawn, no. ' || i || ' --ar 3:2 --v 7.0', 4 FROM n",
    ),
    "tasks": (
        "upstream, id, status, progress, action, chain_id, submission_id, parent_id, depth, created_at_ms, updated_at_ms, "
        "finished_at_ms, looked_at_ms, misses, prompt, confirmed, ask_at_ms, made_by, shown",
        _SERIES.format(most=TASKS)
        + "SELECT "
        + _UPSTREAM.format(i="((i - 1) / 5 + 1)")
        + ", 't' || (1000000 + i), CASE WHEN i % 50 = 7 THEN 'FAILURE' WHEN i > "
        + f"{TASKS - 40}"
        + " THEN 'IN_PROGRESS' ELSE 'SUCCESS' END, 100, CASE WHEN i % 5 = 1 THEN 'IMAGINE' ELSE 'UPSCALE' END, "
        + f"CASE WHEN {_IS_OURS.format(task='i')} THEN {_CHAIN.format(task='i')} END, "
        + f"CASE WHEN {_IS_OURS.format(task='i')} THEN 's' || (1000000 + i) END, "
        + "CASE WHEN i % 5 = 1 THEN '' ELSE 't' || (1000000 + (i - 1) / 5 * 5 + 1) END, "
        + "CASE WHEN i % 5 = 1 THEN 0 ELSE 1 END, "
        + f"{_AT.format(i='i')}, {_AT.format(i='i')} + 40000, "
        + f"CASE WHEN i <= {TASKS - 40} THEN {_AT.format(i='i')} + 40000 END, NULL, 0, "
        + "CASE WHEN i % 5 = 1 THEN 'a lighthouse at dawn, no. ' || i ELSE '' END, 1 = 1, "
        + f"CASE WHEN i > {TASKS - 20} THEN {_AT.format(i='i')} END, "
        + "CASE WHEN i % 10 = 0 THEN 'U1' ELSE '' END, '' FROM n",
    ),
    "submissions": (
        "id, idempotency_key, chain_id, upstream, kind, label, request, parent_id, depth, asked_by, lane, priority, "
        "queue_at_ms, state, outcome, reason, task_ids, worker, attempts, forgiven, repeats, run_at_ms, started_at_ms, "
        'created_at_ms, updated_at_ms, thing, client, "user", charges, counted, takes_place',
        _SERIES.format(most=TASKS)
        + f"SELECT 's' || (1000000 + i), 'key-' || i, {_CHAIN.format(task='i')}, "
        + _UPSTREAM.format(i="((i - 1) / 5 + 1)")
        + ", CASE WHEN i % 5 = 1 THEN 'imagine' ELSE 'action' END, CASE WHEN i % 5 = 1 THEN '' ELSE 'U' || (i % 5) END, "
        + 'CAST(\'{"prompt": "a lighthouse at dawn"}\' AS %BLOB%), '
        + "CASE WHEN i % 5 = 1 THEN '' ELSE 't' || (1000000 + (i - 1) / 5 * 5 + 1) END, "
        + "CASE WHEN i % 5 = 1 THEN 0 ELSE 1 END, "
        + "CASE WHEN i % 5 = 1 THEN 'person:ann' ELSE 'rule:upscale-all' END, "
        + "CASE WHEN i % 25 = 2 THEN 'main|t' || (1000000 + (i - 1) / 5 * 5 + 1) ELSE '' END, 0, "
        + f"{_AT.format(i='i')}, "
        + f"CASE WHEN i > {TASKS - 120} THEN 'waiting' WHEN i > {TASKS - 130} THEN 'sending' "
        + "WHEN i % 500 = 1 THEN 'uncertain' WHEN i % 100 = 2 THEN 'dead' WHEN i % 100 = 3 THEN 'refused' "
        + "WHEN i % 50 = 7 THEN 'rejected' ELSE 'accepted' END, '', '', '[\"t' || (1000000 + i) || '\"]', '', 1, 0, 0, "
        + f"{_AT.format(i='i')}, {_AT.format(i='i')}, {_AT.format(i='i')}, {_AT.format(i='i')} + 500, "
        + "CASE WHEN i % 5 = 1 THEN '' ELSE 'thing-' || i END, '', '', '', 1 = 0, 1 = 1 "
        + f"FROM n WHERE {_IS_OURS.format(task='i')}",
    ),
    "tickets": (
        "id, client, kind, upstream, submission_id, task_id, parent_id, custom_id, action, prompt, digest, idempotency_key, state, "
        "hook, is_window, answer, fail_reason, told_status, told_progress, created_at_ms, answered_at_ms, ended_at_ms",
        _SERIES.format(most=TASKS)
        + f"SELECT CAST({START_MS} AS TEXT) || CAST(100000 + i AS TEXT), "
        + "CASE i % 3 WHEN 0 THEN 'ann' WHEN 1 THEN 'bob' ELSE 'cat' END, "
        + "CASE WHEN i % 5 = 1 THEN 'imagine' ELSE 'action' END, "
        + _UPSTREAM.format(i="((i - 1) / 5 + 1)")
        + f", CASE WHEN {_IS_WINDOW} THEN '' ELSE 's' || (1000000 + i) END, "
        + f"CASE WHEN {_IS_WINDOW} THEN '' ELSE 't' || (1000000 + i) END, "
        + "CASE WHEN i % 5 = 1 THEN '' ELSE 't' || (1000000 + (i - 1) / 5 * 5 + 1) END, '', '', "
        + "'a lighthouse at dawn, no. ' || i, 'digest-' || i, '', 'mine', "
        + f"CASE WHEN i % 2 = 0 THEN 'http://hook' || (i % 7) || '.example/x' ELSE '' END, {_IS_WINDOW}, CAST('' AS %BLOB%), "
        + "CASE WHEN i % 100 = 5 THEN 'withdrawn' ELSE '' END, "
        + "CASE WHEN i % 200 = 2 THEN 'gone:7' WHEN i % 2 = 0 THEN 'SUCCESS' ELSE '' END, 100, "
        + f"{_AT.format(i='i')}, {_AT.format(i='i')} + 300, "
        + f"CASE WHEN i <= {TASKS - OPEN_TICKETS} THEN {_AT.format(i='i')} + 40000 END "
        + f"FROM n WHERE {_IS_OURS.format(task='i')}",
    ),
    "attempts": (
        "submission_id, number, started_at_ms, finished_at_ms, http_status, outcome, reason, answer",
        _SERIES.format(most=TASKS)
        + f"SELECT 's' || (1000000 + i), 1, {_AT.format(i='i')}, {_AT.format(i='i')} + 400, 200, 'accepted', '', "
        + "CAST('{\"code\": 1}' AS %BLOB%) "
        + f"FROM n WHERE {_IS_OURS.format(task='i')}",
    ),
    "events": (
        "upstream, task_id, submission_id, source, signal, action, status, progress, advanced, pending, detail, payload, "
        "received_at_ms, generation, provenance",
        _SERIES.format(most=_EVENTS)
        + "SELECT "
        + _UPSTREAM.format(i=f"(({_TASK} - 1) / 5 + 1)")
        + f", 't' || (1000000 + {_TASK}), "
        + f"CASE WHEN {_IS_OURS.format(task=_TASK)} AND {_STEP} = 0 THEN 's' || (1000000 + {_TASK}) ELSE '' END, "
        + f"CASE WHEN {_STEP} = 0 THEN 'answer' WHEN i % 997 = 0 THEN 'reconcile' ELSE 'callback' END, "
        + f"CASE WHEN {_STEP} = 0 THEN 'task.submitted' WHEN {_STEP} = 11 THEN 'task.succeeded' "
        + f"WHEN {_STEP} % 2 = 1 THEN 'task.progressed' END, "
        + f"CASE WHEN {_TASK} % 5 = 1 THEN 'IMAGINE' ELSE 'UPSCALE' END, "
        + f"CASE WHEN {_STEP} = 0 THEN 'SUBMITTED' WHEN {_STEP} = 11 THEN 'SUCCESS' ELSE 'IN_PROGRESS' END, "
        + f"{_STEP} * 9, {_STEP} = 0 OR {_STEP} % 2 = 1, i > {_EVENTS - 100} AND {_STEP} % 2 = 1, '', "
        + 'CAST(\'{"id": "\' || i || \'", "status": "IN_PROGRESS", "imageUrl": "https://cdn.example/attachments/'
        + "' || (i * 7919) || '/grid.png?ex=0123456789abcdef&is=0123456789abcdef&hm=0123456789abcdef\"}' AS %BLOB%), "
        + f"{_AT.format(i=_TASK)} + {_STEP} * 3000, 0, '' FROM n "
        + f"UNION ALL SELECT 'main', '{LOOPED_TASK}', '', 'callback', NULL, 'UPSCALE', 'SUCCESS', 100, 1 = 0, 1 = 0, "
        + "'the same body as event 6000', CAST('' AS %BLOB%), "
        + f"{_AT.format(i='i')}, 0, '' FROM n WHERE i <= {LOOPED_EVENTS}",
    ),
    "deliveries": (
        "event_id, receiver, lane, state, worker, attempts, excused, run_at_ms, fired, decision, error, created_at_ms, "
        "updated_at_ms",
        "SELECT id, CASE WHEN id % 4 = 0 THEN 'rule:upscale-all' ELSE 'plugin:notify' END, upstream || '|' || task_id, "
        + f"CASE WHEN id > {_EVENTS - 400} AND id <= {_EVENTS} THEN 'waiting' WHEN id > {_EVENTS - 420} AND id <= {_EVENTS} THEN "
        + "'running' WHEN id % 301 = 0 THEN 'dead' ELSE 'done' END, '', 1, 0, received_at_ms, status = 'SUCCESS' AND id % 4 = 0, "
        + "'', CASE WHEN id % 301 = 0 THEN 'timed out' ELSE '' END, received_at_ms, received_at_ms + 20 "
        + "FROM %EVENTS% WHERE signal IS NOT NULL AND (id % 3 > 0)",
    ),
}
