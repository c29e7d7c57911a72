"""Each hot statement finds its rows by an index, and reads a bounded number of them, in a database of 200,000 rows.

A row of a table below reads: what is asked, by which indexes, and how many rows one statement reads at most. Timings decide
nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from midjourney.decode import decode_task
from midjourney.requests import Action
from storage import clock_steps, ingest, sql_pruning
from storage.deliveries import delivery_queue, endings, suspects
from storage.deliveries.endings import Ended
from storage.duty import held
from storage.duty.duties import DELIVERIES, SUBMISSIONS
from storage.events import event_log
from storage.joins import looking
from storage.joins import sql as joins_sql
from storage.reading import (
    backlog,
    client_use,
    dead_letters,
    explanation,
    gallery,
    gauges,
    health,
    keyset,
    pages,
    ticket_pages,
    ticket_story,
)
from storage.reading import recorded as history
from storage.reading.cards import CardFilter
from storage.reading.dead_letters import DeadLetterFilter
from storage.reading.ticket_pages import TicketFilter
from storage.records import JOINS, Incoming
from storage.submissions import places, settlements, submission_queue, uncertain
from storage.submissions.settlements import Settlement
from storage.tasks import chains, marks, polling
from storage.tasks import sql as tasks_sql
from storage.tickets import tickets
from storage.upstreams import restores, standings
from tests.support import many_rows
from tests.support.many_rows import LOOPED_TASK, NOW_MS, START_MS
from tests.support.plans import Plan, recorded
from tests.support.staged import stage, wanted

pytestmark = pytest.mark.xdist_group("many_rows")

Question = Callable[[Connection], object]
Case = tuple[str, Question, set[str], int]

LARGE = frozenset({"events", "tasks", "chains", "submissions", "attempts", "deliveries", "tickets"})

FEW = 600
"""Rows that a question with an index reads: a page, a chain, what waits."""

WINDOW = 2 * keyset.LOOKED_AT

GRID, CHAIN, MADE_BY = "t1005001", "c101000", "s1005001"
MIDDLE_MS = START_MS + 5000 * many_rows.STEP_MS


def wrong(plans: list[Plan], by: set[str], most: int) -> Iterator[str]:
    """What is wrong with the plans of a question."""
    for plan in plans:
        in_order = {name.removesuffix(".primary_key") for name in by if name.endswith(".primary_key")}
        whole = (plan.scanned & LARGE) - in_order
        told = f"\n    {plan.statement}\n      " + "\n      ".join(plan.steps)
        if whole and plan.rows_read > 50:
            yield f"reads {', '.join(whole)} without an index{told}"
        if plan.rows_read > most:
            yield f"reads {plan.rows_read} rows, more than {most}{told}"
    used = {
        index for plan in plans for index in plan.indexes | {f"{name}.primary_key" for name in plan.scanned}
    }
    if not by <= used:
        yield f"uses {sorted(used)} instead of {sorted(by)}"


def check(connection: Connection, cases: list[Case]) -> None:
    """Run all questions, each in a transaction of its own, and tell all that is wrong."""
    found = []
    for name, question, by, most in cases:
        with recorded(connection) as plans:
            question(connection)
        connection.rollback()
        assert plans, f"{name} asks nothing"
        found += [f"{name}: {told}" for told in wrong(plans, by, most)]
    assert not found, "\n".join(found)


BY_AGE, BEHIND = (MIDDLE_MS, "t1005000"), 60_000

PAGES: list[tuple[Callable[..., Any], Any, Mapping[str, object], str, int]] = [
    (pages.task_page, BY_AGE, {}, "tasks_by_age", FEW),
    (pages.task_page, BY_AGE, {"chain_id": CHAIN}, "tasks_of_chain", FEW),
    (pages.task_page, BY_AGE, {"status": "SUCCESS"}, "tasks_by_age", WINDOW),
    (pages.task_page, BY_AGE, {"status": "nothing"}, "tasks_by_age", WINDOW),
    (pages.task_page, BY_AGE, {"action": "nothing"}, "tasks_by_age", WINDOW),
    (pages.task_page, BY_AGE, {"upstream": "nothing"}, "tasks_by_age", WINDOW),
    (pages.task_page, BY_AGE, {"upstream": "main", "status": "nothing"}, "tasks_by_age", WINDOW),
    (pages.chain_page, BY_AGE, {}, "chains_by_age", FEW),
    (pages.chain_page, BY_AGE, {"upstream": "nothing"}, "chains_by_age", WINDOW),
    (pages.event_page, BEHIND, {}, "events.primary_key", FEW),
    (pages.event_page, BEHIND, {"task_id": GRID}, "events_of_task", FEW),
    (pages.event_page, BEHIND, {"task_id": GRID, "upstream": "main"}, "events_of_task", FEW),
    (pages.event_page, BEHIND, {"task_id": "nothing"}, "events_of_task", FEW),
    (pages.event_page, BEHIND, {"task_id": LOOPED_TASK, "signal": "nothing"}, "events_of_task", WINDOW),
    (pages.event_page, BEHIND, {"submission_id": MADE_BY}, "events_of_submission", FEW),
    (pages.event_page, BEHIND, {"submission_id": "nothing"}, "events_of_submission", FEW),
    (pages.event_page, BEHIND, {"signal": "nothing"}, "events.primary_key", WINDOW),
    (pages.event_page, BEHIND, {"source": "nothing"}, "events.primary_key", WINDOW),
    (pages.event_page, BEHIND, {"provenance": "refuted"}, "events.primary_key", WINDOW),
    (pages.event_page, BEHIND, {"upstream": "nothing"}, "events.primary_key", WINDOW),
    (pages.event_page, BEHIND, {"upstream": "main", "source": "nothing"}, "events.primary_key", WINDOW),
    (pages.submission_page, BY_AGE, {}, "submissions_by_age", FEW),
    (pages.submission_page, BY_AGE, {"chain_id": CHAIN}, "submissions_of_chain", FEW),
    (pages.submission_page, BY_AGE, {"parent_id": GRID}, "submissions_of_parent", FEW),
    (pages.submission_page, BY_AGE, {"state": "uncertain"}, "submissions_by_state", FEW),
    (pages.submission_page, BY_AGE, {"state": "dead", "upstream": "main"}, "submissions_by_state", FEW),
    (pages.submission_page, BY_AGE, {"state": "nothing"}, "submissions_by_state", FEW),
    (pages.submission_page, BY_AGE, {"state": "accepted"}, "submissions_by_age", WINDOW),
    (pages.submission_page, BY_AGE, {"upstream": "other"}, "submissions_by_hour", FEW),
    (pages.submission_page, BY_AGE, {"kind": "nothing"}, "submissions_by_age", WINDOW),
    (pages.submission_page, BY_AGE, {"asked_by": "nothing"}, "submissions_by_age", WINDOW),
    (pages.delivery_page, BEHIND, {}, "deliveries.primary_key", FEW),
    (pages.delivery_page, BEHIND, {"event_id": 60_001}, "deliveries.primary_key", FEW),
    (pages.delivery_page, BEHIND, {"state": "dead"}, "deliveries_by_state", FEW),
    (pages.delivery_page, BEHIND, {"state": "waiting", "receiver": "nothing"}, "deliveries_by_state", FEW),
    (pages.delivery_page, BEHIND, {"state": "done"}, "deliveries.primary_key", WINDOW),
    (pages.delivery_page, BEHIND, {"receiver": "nothing"}, "deliveries.primary_key", WINDOW),
]


def test_every_page_of_the_api_with_each_of_its_filters(large: Connection) -> None:
    """The first page, and one that begins in the middle; filters that match a few, most or no rows."""
    check(
        large,
        [
            (
                f"{page.__name__} {equal} from {before}",
                partial(page, most=50, equal=equal, before=before),
                {by},
                most,
            )
            for page, middle, equal, by, most in PAGES
            for before in (None, middle)
        ],
    )


TICKETS: list[tuple[TicketFilter, str, int]] = [
    (TicketFilter(), "tickets_by_age", FEW),
    (TicketFilter(client="ann"), "tickets_of_client", FEW),
    (TicketFilter(client="nobody"), "tickets_of_client", FEW),
    (TicketFilter(state="open"), "tickets_open", WINDOW),
    (TicketFilter(state="window"), "tickets_open", WINDOW),
    (TicketFilter(state="open", client="ann"), "tickets_open_of_client", FEW),
    (TicketFilter(state="window", client="nobody"), "tickets_open_of_client", FEW),
    (TicketFilter(state="failed"), "tickets_by_age", 10 * keyset.LOOKED_AT),
    (TicketFilter(state="ended", client="ann"), "tickets_of_client", 10 * keyset.LOOKED_AT),
    (TicketFilter(upstream="nothing"), "tickets_by_age", WINDOW),
    (TicketFilter(hook="dead"), "tickets_by_age", WINDOW),
    (TicketFilter(hook="dead", client="bob"), "tickets_of_client", WINDOW),
]


def test_every_page_of_tickets_with_each_of_its_filters(large: Connection) -> None:
    """The first page, and one that begins in the middle. PostgreSQL may take either index of the open tickets, which are few."""
    is_file = large.dialect.name == "sqlite"
    check(
        large,
        [
            (
                f"tickets {wish} from {before}",
                partial(ticket_pages.ticket_page, most=50, wanted=wish, before=before),
                {by} if is_file or by != "tickets_open" else set(),
                most,
            )
            for wish, by, most in TICKETS
            for before in (None, (MIDDLE_MS, f"{START_MS}105000"))
        ],
    )


def test_what_is_asked_about_tickets_and_clients(large: Connection) -> None:
    """One with all that happened to it, what each client uses, its limits at each order, and what keeps a chain."""
    ticket = f"{START_MS}105001"
    check(
        large,
        [
            (
                "a ticket",
                lambda c: ticket_story.story(c, ticket, NOW_MS),
                {"tickets.primary_key", "events_of_task", "attempts.primary_key"},
                FEW,
            ),
            ("mark of a ticket", lambda c: ticket_story.version(c, ticket), {"events_of_task"}, FEW),
            (
                "tickets of a chain",
                lambda c: ticket_pages.tickets_of_chain(c, CHAIN),
                {"submissions_of_chain", "tickets_of_submission"},
                FEW,
            ),
            ("clients", lambda c: client_use.names(c, NOW_MS), set(), FEW),
            (
                "use of clients",
                lambda c: client_use.uses(c, ["ann", "bob"], NOW_MS - 86_400_000, NOW_MS),
                {"tickets_of_client", "tickets_open_of_client", "deliveries_by_state"},
                2000,
            ),
            ("at once", lambda c: tickets.count_open(c, "ann"), {"tickets_open_of_client"}, FEW),
            ("rate", lambda c: tickets.count_since(c, "ann", NOW_MS - 1000), {"tickets_of_client"}, FEW),
            ("open of a client", lambda c: tickets.open_of(c, "ann", 50), set(), FEW),
            ("overdue", lambda c: tickets.open_after(c, None, NOW_MS, 200), {"tickets_open"}, FEW),
            (
                "what keeps a chain",
                lambda c: sql_pruning.OPEN_TICKET.first(c, chain_id=CHAIN),
                {"submissions_of_chain", "tasks_of_chain"},
                FEW,
            ),
            (
                "what keeps a task",
                lambda c: sql_pruning.OPEN_TICKET_OF_TASK.first(c, upstream="main", task_id=GRID),
                {"tickets_of_task", "tickets_of_button"},
                FEW,
            ),
        ],
    )


def test_pages_lead_to_all_rows_that_match(large: Connection) -> None:
    """Where what is asked for is rare, pages are short or empty, and lead on to the end."""
    found, before, count = [], None, 0
    while True:
        page = pages.task_page(large, most=50, equal={"status": "FAILURE"}, before=before)
        found += [row.id for row in page]
        count += 1
        if page.next is None:
            break
        before = (int(page.next[0]), str(page.next[1]))
    assert len(set(found)) == len(found) == sum(number % 50 == 7 for number in range(1, many_rows.TASKS + 1))
    assert count < 15


def test_what_the_dashboard_and_the_metrics_ask(large: Connection) -> None:
    """A page with its parts, and the questions that its live updates ask again and again."""
    each_delivery = 50_000
    check(
        large,
        [
            (
                "gauges",
                gauges.gauges,
                {"deliveries_by_state", "submissions_by_state", "events_pending"},
                each_delivery,
            ),
            (
                "backlog",
                lambda c: backlog.backlogs(c, ["main", "other"], NOW_MS),
                {"tasks_open", "submissions_by_state"},
                FEW,
            ),
            (
                "callbacks",
                lambda c: health.callbacks(c, "main"),
                {"submissions_by_hour", "events_of_task"},
                30 * health.LAST,
            ),
            ("never calls", lambda c: health.never_calls(c, "main"), {"submissions_by_hour"}, FEW),
            (
                "last call",
                lambda c: health.last_call_ms(c, "main"),
                {"tasks.primary_key", "events_of_task"},
                FEW,
            ),
            ("receivers", pages.deliveries_by_receiver, {"deliveries.primary_key"}, pages.COUNTED),
            ("failing", partial(pages.failing_deliveries, most=50), {"deliveries_by_state"}, FEW),
            ("any accepted", pages.was_any_accepted, set(), FEW),
            ("upstreams of a task", lambda c: pages.upstreams_of_task(c, GRID), {"tasks.primary_key"}, FEW),
            (
                "payloads",
                lambda c: pages.latest_payloads(c, pages.task_page(c, most=50)),
                {"events_advanced"},
                FEW,
            ),
            (
                "asked for",
                lambda c: pages.submissions_of_parent(c, "main", GRID, most=9),
                {"submissions_of_parent"},
                FEW,
            ),
            ("a chain", lambda c: gallery.card(c, CHAIN), {"tasks_of_chain", "submissions_of_chain"}, FEW),
            (
                "untold",
                lambda c: chains.count_undelivered(c, CHAIN, NOW_MS),
                {"tasks_of_chain", "events_of_task"},
                FEW,
            ),
            (
                "mark of a chain",
                lambda c: gallery.version_of(c, CHAIN),
                {"tasks_of_chain", "submissions_of_chain"},
                FEW,
            ),
            (
                "explained",
                lambda c: explanation.explained(c, "main", GRID),
                {"events_of_task", "submissions_of_parent"},
                FEW,
            ),
            (
                "recorded events",
                lambda c: next(history.recorded(c, ["task.succeeded"], MIDDLE_MS)),
                {"events.primary_key"},
                35_000,  # a day, and the page after it
            ),
            ("mark of a task", lambda c: explanation.version(c, "main", GRID), {"events_of_task"}, FEW),
            (
                "a looped task",
                lambda c: explanation.explained(c, "main", LOOPED_TASK),
                {"events_of_task"},
                10_000,
            ),
            (
                "mark of a looped task",
                lambda c: explanation.version(c, "main", LOOPED_TASK),
                {"events_of_task"},
                WINDOW,
            ),
            *[
                (
                    f"gallery {wish}",
                    partial(gallery.page, wanted=wish, most=24, before=before),
                    {"chains_by_age"},
                    most,
                )
                for before in (None, BY_AGE)
                for wish, most in (
                    (CardFilter(), gallery.LOOKED_AT),
                    (CardFilter(text="nothing"), gallery.LOOKED_AT),
                    (CardFilter(upstream="nothing"), gallery.LOOKED_AT),
                    (CardFilter(asked_by="nothing"), 5 * gallery.LOOKED_AT),
                    (CardFilter(status="attention"), 10 * gallery.LOOKED_AT),
                )
            ],
            *[
                (f"dead letters {match}", partial(ask, match=match), {"deliveries_by_state"}, FEW)
                for match in (
                    DeadLetterFilter(),
                    DeadLetterFilter(kind="delivery", receiver="nothing"),
                    DeadLetterFilter(upstream="main"),
                    DeadLetterFilter(text="no"),
                )
                for ask in (partial(dead_letters.page, most=50), dead_letters.count)
            ],
        ],
    )


def incoming(task_id: str, **fields: object) -> Incoming:
    payload = {"id": task_id, "action": "UPSCALE", "status": "IN_PROGRESS", "progress": "50%"} | fields
    task = decode_task(json.dumps(payload).encode())
    return Incoming(upstream="main", task=task, submission_id="", source="callback", received_at_ms=NOW_MS)


def _ingest(connection: Connection) -> None:
    batch = [incoming(GRID), incoming("new"), incoming(LOOPED_TASK, status="SUCCESS", prompt="x" * 400)]
    ingest.ingest(connection, batch, {"task.succeeded"})


def _finish(connection: Connection) -> None:
    claimed, *_ = delivery_queue.claim(connection, 1, NOW_MS, room=lambda _name: 4, worker="me")
    endings.end(connection, claimed, Ended(state="done"), refuse=lambda *_: "", now_ms=NOW_MS)


def _stage(connection: Connection) -> None:
    press = Action(task_id=GRID, custom_id="MJ::JOB::upsample::1::0ddb91a0")
    stage(connection, wanted("key", press, chain_id=CHAIN, asked_by="rule:upscale", lane="main|1"), NOW_MS)


def _settle(connection: Connection) -> None:
    begun, *_ = submission_queue.begin_attempts(connection, "main", 1, NOW_MS)
    accepted = Settlement(state="accepted", outcome="accepted", reason="", task_ids=("t1009999",))
    settlements.settle_attempt(connection, begun, accepted, now_ms=NOW_MS)


def _uncertain(connection: Connection) -> None:
    uncertain.read(connection, list(uncertain.uncertain(connection, 50)))


def test_the_six_transactions_and_every_turn_of_a_loop(large: Connection) -> None:
    """However much has been, they read what is due."""
    open_states = ["waiting", "sending", "uncertain", "dead"]
    unsettled = {"upstream": "main", "since_ms": 0, "open_states": open_states}
    check(
        large,
        [
            ("T1 ingest", _ingest, {"tasks.primary_key", "events_of_task"}, FEW),
            (
                "T2 fan_out",
                lambda c: delivery_queue.fan_out(c, lambda _: ["x"], 64, NOW_MS),
                {"events_pending"},
                FEW,
            ),
            (
                "T3 claim_delivery",
                lambda c: delivery_queue.claim(c, 16, NOW_MS, room=lambda _: 4),
                {"deliveries_by_state"},
                FEW,
            ),
            (
                "joins: marks",
                lambda c: looking.mark(c, [1, 2, 3], JOINS, NOW_MS),
                {"events.primary_key", "submissions.primary_key"},
                FEW,
            ),
            (
                "joins: a look",
                lambda c: looking.look(c, JOINS, lambda _: True, NOW_MS, at_once=[CHAIN]),
                set(),
                FEW,
            ),
            (
                "joins: a chain",
                lambda c: joins_sql.PARTS.all(c, chain_id=CHAIN),
                {"tasks_of_chain", "submissions_of_chain", "events_of_task", "events_of_submission"},
                FEW,
            ),
            ("T4 finish_delivery", _finish, {"deliveries.primary_key", "deliveries_in_lane"}, FEW),
            ("T4 stage", _stage, {"submissions_of_chain"}, FEW),
            (
                "T5 begin_attempt",
                lambda c: submission_queue.begin_attempts(c, "main", 3, NOW_MS),
                {"submissions_waiting"},
                FEW,
            ),
            ("T6 settle_attempt", _settle, {"submissions.primary_key", "attempts.primary_key"}, FEW),
            ("anything due", lambda c: submission_queue.is_any_due(c, NOW_MS), set(), FEW),
            ("loads", lambda c: standings.loads(c, ["main", "other"], with_jobs=True), {"tasks_open"}, FEW),
            ("poll: silent", lambda c: polling.silent(c, "main", NOW_MS, 50), {"tasks_open"}, FEW),
            ("poll: due", lambda c: polling.due(c, "main", NOW_MS, 50), {"tasks_to_ask"}, FEW),
            ("resolve: uncertain", _uncertain, {"submissions_by_state", "attempts.primary_key"}, FEW),
            ("resolve: ours", lambda c: uncertain.newest_of_ours(c, "main", 50), {"tasks_in_chains"}, FEW),
            ("resolve: places", places.holders, {"submissions_by_state"}, FEW),
            ("resolve: longest", lambda c: places.longest_ms(c, "main"), {"submissions_by_hour"}, FEW),
            ("verify: latest", lambda c: event_log.latest(c, "main", LOOPED_TASK), {"events_advanced"}, FEW),
            (
                "verify: marks",
                lambda c: marks.are_shown(c, "main"),
                {"tasks_in_chains", "events_advanced"},
                FEW,
            ),
            (
                "verify: owner",
                lambda c: tasks_sql.UNSETTLED.all(c, **unsettled),
                {"submissions_by_state"},
                FEW,
            ),
            ("restores: newest", lambda c: restores._newest_of_ours(c, "main"), {"tasks_in_chains"}, FEW),
            ("heartbeat: gone", lambda c: held.left(c, SUBMISSIONS), {"submissions_by_state"}, FEW),
            ("heartbeat: mine", lambda c: held.by(c, DELIVERIES, "me", NOW_MS), {"deliveries_by_state"}, FEW),
            (
                "heartbeat: suspects",
                lambda c: suspects.give_back(c, {}, lambda _: 9, NOW_MS),
                {"deliveries_by_state"},
                FEW,
            ),
            (
                "clock: impossible",
                lambda c: clock_steps.is_any_impossible(c, NOW_MS),
                {"tasks_open", "tasks_to_ask"},
                FEW,
            ),
            ("clock: mend", lambda c: clock_steps.mend(c, NOW_MS), {"tasks_open", "tasks_to_ask"}, FEW),
            (
                "clock: newest",
                clock_steps.newest_ms,
                {"tasks_open", "tasks_to_ask", "events.primary_key"},
                FEW,
            ),
        ],
    )
