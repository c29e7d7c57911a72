"""The upstream is away, or nobody knows what became of an order: the client has its ticket, and nothing is sent twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hostile.desk import Trouble
from tests.hostile.upstream import Hostile
from tests.support.customer import CLIENTS, ENDED, check_order

HURRIED = "timeout_s = 1\nsettle_after_s = 0.5\n"
SHORT = """
[clients.hasty]
key = "hasty-key-1"
hook_hosts = ["127.0.0.1"]
wait_max_s = 1
"""


def stopped(upstream: Hostile) -> int:
    """Stop an upstream; the port at which it may come back."""
    upstream.stop()
    return int(upstream.url.rsplit(":", 1)[-1])


@pytest.fixture
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a server over a database of either kind."""
    if request.param == "sqlite":
        return {}
    return {"DATABASE_URL": request.getfixturevalue("postgres_url")}


both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)


@both
def test_an_upstream_that_is_down_is_no_matter_of_the_client(
    serve: Any, start_hostile: Any, customer: Any, mailbox: Any, eventually: Any, database: dict[str, str]
) -> None:
    """Code 1 at once. It comes back later: the same ticket, SUCCESS, one charge, and the hook hears all of it."""
    before, box = start_hostile(), mailbox()
    ann = customer(serve(before, CLIENTS, upstream_too=HURRIED, **database))
    eventually(lambda: before.ledger.lists())
    port = stopped(before)
    ticket = ann.imagine("down at first", notifyHook=box.url)
    assert (ann.fetch(ticket)["status"], ann.fetch(ticket)["progress"]) == ("NOT_START", "0%")
    assert ticket in ann.ids_of("/task/queue")
    upstream = start_hostile(port=port)
    check_order(box.until_it_ends(ticket))
    assert ann.fetch(ticket)["status"] == "SUCCESS"
    assert len(upstream.ledger.paid("imagine")) == 1
    assert ticket not in ann.ids_of("/task/queue")


@both
def test_an_order_that_waits_too_long_is_withdrawn_unpaid(
    serve: Any, start_hostile: Any, customer: Any, mailbox: Any, eventually: Any, database: dict[str, str]
) -> None:
    """FAILURE, with the reason; when the upstream comes back, nothing is sent."""
    before, box = start_hostile(), mailbox()
    server = serve(before, CLIENTS + SHORT, upstream_too=HURRIED, **database)
    hasty, ann = customer(server, "hasty"), customer(server)
    eventually(lambda: before.ledger.lists())
    port = stopped(before)
    ticket = hasty.imagine("too late", notifyHook=box.url)
    [end] = [one for one in box.until_it_ends(ticket) if one.task["status"] in ENDED]
    assert end.task["status"] == "FAILURE"
    assert "nothing is charged" in end.task["failReason"]
    assert hasty.fetch(ticket)["failReason"] == end.task["failReason"]
    upstream = start_hostile(port=port)
    witness = ann.imagine("in time")
    eventually(lambda: ann.fetch(witness)["status"] == "SUCCESS")
    assert [one.body["prompt"] for one in upstream.ledger.submits] == ["in time"]


@both
@pytest.mark.parametrize("trouble", ["lost", "reset", "502", "504", "silence"])
def test_an_answer_that_was_lost_is_found_and_nothing_is_sent_again(
    serve: Any, start_hostile: Any, customer: Any, eventually: Any, database: dict[str, str], trouble: Trouble
) -> None:
    """The upstream took the order, and its answer did not arrive: the ticket stays NOT_START until evidence settles it."""
    upstream = start_hostile()
    ann = customer(serve(upstream, CLIENTS, upstream_too=HURRIED, **database))
    upstream.next_submit(trouble, of="imagine")
    ticket = ann.imagine("lost answer")
    eventually(lambda: ann.fetch(ticket)["status"] == "SUCCESS")
    assert len(upstream.ledger.submits) == 1


@both
def test_an_outcome_that_stays_unknown_is_never_sent_again(
    serve: Any, start_hostile: Any, customer: Any, eventually: Any, database: dict[str, str]
) -> None:
    """The upstream took the order, its answer did not arrive, it shows no mark of ours, and calls nobody back. The ticket stays
    NOT_START, through a restart too; other orders go on."""
    upstream = start_hostile(echoes_hook=False, state="dropped", is_silent=True, list_newest=0)
    server = serve(upstream, CLIENTS, upstream_too=HURRIED, **database)
    ann = customer(server)
    upstream.next_submit("silence", of="imagine")
    ticket = ann.imagine("unknown")
    eventually(lambda: server.get("/api/submissions?state=uncertain")["submissions"])
    server.kill()
    again = serve(upstream, CLIENTS, upstream_too=HURRIED, **database)
    ann = customer(again)
    assert ann.fetch(ticket)["status"] == "NOT_START"
    witness = ann.imagine("known")
    eventually(lambda: ann.fetch(witness)["status"] == "SUCCESS")
    assert ann.fetch(ticket)["status"] == "NOT_START"
    assert [one.body["prompt"] for one in upstream.ledger.submits] == ["unknown", "known"]


@both
def test_two_clients_and_a_rule_press_one_button(
    serve: Any, start_hostile: Any, customer: Any, mailbox: Any, eventually: Any, database: dict[str, str]
) -> None:
    """U1 of a grid that all know by the upstream's id: one charge, and each of the three gets its end, whoever comes first."""
    rule = """
[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.is_grid"
press = "U1"
"""
    upstream, box = start_hostile(holds=True), mailbox()
    server = serve(upstream, CLIENTS + rule, **database)
    ann, bob = customer(server), customer(server, "bob")
    for first in ("the clients", "the rule"):
        grid = upstream.finished_grid(f"pressed by {first} first")
        button = grid.custom_id_of("U1")
        if first == "the rule":
            upstream.tell(grid, server.hook)
            upstream.ledger.until(
                lambda grid=grid: [one for one in upstream.ledger.paid() if one.job == grid.job]
            )
        made = [
            client.ticket("action", taskId=grid.id, customId=button, notifyHook=f"{box.url}/{number}")
            for number, client in enumerate((ann, bob))
        ]
        if first == "the clients":
            upstream.tell(grid, server.hook)
            eventually(lambda: not server.get("/api/deliveries?state=waiting")["deliveries"])
        assert len(set(made)) == 2
        box.until(lambda made=made: all(box.about(ticket) for ticket in made))
        child = next(task for task in upstream.shelf.all() if task.parent_id == grid.id)
        upstream.go_on(child)
        for ticket in made:
            check_order(box.until_it_ends(ticket))
        eventually(
            lambda child=child: server.http.get(f"/api/tasks/main/{child.id}").json()["status"] == "SUCCESS"
        )
        assert [ann.fetch(made[0])["imageUrl"]] == [bob.fetch(made[1])["imageUrl"]]
        assert len([one for one in upstream.ledger.paid() if one.job == grid.job]) == 1
