"""Every order of a client can be found and explained: which account got it and why, each try, and what the client's hook was told."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import command
from tests.support.customer import CLIENTS
from tests.support.shop import Shop, finished

pytestmark = pytest.mark.xdist_group("gateway tickets")
SETTINGS = (
    CLIENTS.replace(
        "[clients.bob]",
        """submissions_per_day = 500
hook_secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"

[clients.bob]""",
    )
    + """
[[rules]]
name = "press U2"
on = "task.succeeded"
if = "task.is_grid and 'pressed by a rule' in task.prompt"
press = "U2"
"""
)


def listed(shop: Shop, query: str = "") -> list[Any]:
    found: list[Any] = shop.server.get(f"/api/tickets?{query}")["tickets"]
    return found


def explained(shop: Shop, given: str) -> Any:
    return shop.server.get(f"/api/explain/{given}")


def told(ticket: Any) -> list[str]:
    """What the hook was told, and what it answered, in order."""
    return [one for message in ticket["messages"] for one in message["told"]]


def test_tickets_of_all_clients_are_listed_with_both_ids(shop: Shop, eventually: Any) -> None:
    """The newest first; by client and by state."""
    anns, bobs = finished(shop, eventually, "listed"), finished(shop, eventually, "listed too", "bob")
    first, second, *_ = listed(shop)
    assert [first["id"], second["id"]] == [bobs, anns]
    assert second["task_id"] == shop.task("listed").id
    assert (second["client"], second["state"], second["status"]) == ("ann", "ended", "SUCCESS")
    assert bobs not in [one["id"] for one in listed(shop, "client=ann")]
    assert listed(shop, "client=bob&limit=1&upstream=main&hook=none")[0]["id"] == bobs
    assert listed(shop, "client=nobody") == listed(shop, "client=bob&state=window") == []
    (only,) = shop.server.get("/api/tickets?limit=1")["tickets"]
    cursor = shop.server.get("/api/tickets?limit=1")["cursor"]
    assert only["id"] == bobs
    assert listed(shop, f"limit=1&cursor={cursor}")[0]["id"] == anns
    assert shop.server.http.get("/api/tickets?state=lost").status_code == 422
    assert shop.server.http.get("/api/tickets/1").status_code == 404


def test_a_ticket_tells_its_tries_and_what_its_hook_answered(shop: Shop, eventually: Any) -> None:
    """The first message is refused once, so that it is tried again; the answer to each message stands beside it."""
    box = shop.mailbox()
    answers = iter([503])
    box.answers = lambda _message: next(answers, 202)
    ticket = finished(shop, eventually, "with a hook", notifyHook=box.url, state="mine alone")
    box.until_it_ends(ticket)
    eventually(lambda: listed(shop, "client=ann&hook=told"))
    story = explained(shop, ticket)
    of_ticket, task = story["ticket"], story["task"]
    assert (task["id"], task["prompt"]) == (shop.task("with a hook").id, "with a hook")
    assert of_ticket["chosen"] == "the only account of its client"
    (submission,) = of_ticket["submissions"]
    assert (submission["upstream"], submission["asked_by"]) == ("main", "person:client ann")
    assert [one["outcome"] for one in submission["tries"]] == ["accepted"]
    assert of_ticket["hook"] == {"host": box.host, "state": "told"}
    eventually(lambda: told(explained(shop, ticket)["ticket"])[-1:] == ["SUCCESS 100%: HTTP 202"])
    messages = told(explained(shop, ticket)["ticket"])
    assert messages[0] == "SUBMITTED 0%: HTTP 202"
    assert max(one["attempts"] for one in of_ticket["messages"]) > 1
    assert (of_ticket["joined"], of_ticket["shared_with"], of_ticket["window"]) == (False, 0, None)


def test_what_a_hook_did_not_take_can_be_sent_again(shop: Shop, eventually: Any) -> None:
    """The dead letter is named in the story of its ticket."""
    box = shop.mailbox()
    box.answers = lambda _message: 410
    ticket = finished(shop, eventually, "refused messages", notifyHook=box.url)
    eventually(lambda: [one["id"] for one in listed(shop, "hook=dead&client=ann")] == [ticket])
    dead = [one for one in explained(shop, ticket)["ticket"]["messages"] if one["dead_letter"]]
    assert "answered HTTP 410 (gone)" in dead[0]["error"]
    use = {"host": box.host, "waiting": 0, "failing": 0, "dead": len(dead)}
    eventually(lambda: use in shop.server.get("/api/clients/ann")["hooks"])
    box.answers = lambda _message: 200
    for one in dead:
        shop.server.http.post(f"/api/dead-letters/{one['dead_letter']}/retry").raise_for_status()
    box.until_it_ends(ticket)
    eventually(lambda: "SUCCESS 100%: HTTP 200" in told(explained(shop, ticket)["ticket"]))
    assert listed(shop, "hook=dead&client=ann") == []


def test_the_command_line_tells_the_same(shop: Shop, eventually: Any, tmp_path: Path) -> None:
    """The list, one order, its story, and the clients; what was dropped because newer news came is left out."""
    address = shop.server.http.base_url
    run = partial(command.run, tmp_path, HOST=address.host, PORT=str(address.port))
    box = shop.mailbox()
    ticket = finished(shop, eventually, "at the command line", notifyHook=box.url)
    box.until_it_ends(ticket)
    eventually(lambda: told(explained(shop, ticket)["ticket"])[-1:] == ["SUCCESS 100%: HTTP 200"])
    (line,) = run("tickets", "--limit", "1", "--client", "ann", "--state", "ended").stdout.splitlines()
    assert line.split("\t")[:5] == [ticket, "ann", "imagine at main", "ended SUCCESS 100 %", "hook delivered"]
    (shown,) = json.loads(run("tickets", "--limit", "1", "--client", "ann", "--json").stdout)
    assert shown["id"] == ticket
    story = run("tickets", ticket).stdout
    task_id = shop.task("at the command line").id
    for part in (
        f"ticket {ticket} of ann: imagine, ended, SUCCESS 100 %, task {task_id} at main",
        "  account main: the only account of its client",
        f"  imagine at main, requested by person:client ann: accepted → {task_id}",
        "    try 1 at ",
        f"  hook at {box.host}: the end was delivered",
        "  sent SUCCESS 100%: HTTP 200",
    ):
        assert part in story
    assert json.loads(run("tickets", ticket, "--json").stdout)["submissions"][0]["upstream"] == "main"
    history = run("explain", ticket).stdout
    assert history.startswith(story.rstrip("\n"))
    assert f"task {task_id} at main: IMAGINE SUCCESS" in history
    assert [one.split("\t")[0] for one in run("clients").stdout.splitlines()] == ["ann", "bob"]
    assert "  key in the settings\n  accounts: main, by order\n" in run("clients", "ann").stdout
    assert json.loads(run("clients", "bob", "--json").stdout)["name"] == "bob"
    assert (run("clients", "nobody").returncode, run("tickets", "1").returncode) == (1, 1)
    assert "state must be one of open, window, ended, failed" in run("tickets", "--state", "lost").stderr


def test_a_refused_order_says_why(shop: Shop, eventually: Any) -> None:
    """The upstream found a banned word: the ticket has failed, with its code and words."""
    shop.upstream.next_submit("banned", of="imagine")
    shop.ann.order("imagine", prompt="a banned dog")
    (found,) = eventually(
        lambda: [one for one in listed(shop, "state=failed") if one["prompt"] == "a banned dog"]
    )
    assert (found["status"], found["task_id"]) == ("FAILURE", None)
    story = explained(shop, found["id"])
    assert story["task"] is None
    assert story["ticket"]["fail_reason"].startswith("code 24: ")
    assert [one["signal"] for one in story["events"]] == ["submission.rejected"]
    assert [one["state"] for one in story["ticket"]["submissions"]] == ["rejected"]


def test_a_window_tells_who_opened_and_who_answered_it(shop: Shop, eventually: Any) -> None:
    """The gateway's own costs nothing until the client answers; then press and answer are told."""
    grid = finished(shop, eventually, "with a window")
    single: str = shop.ann.press(grid, "U1")["result"]
    eventually(lambda: shop.ann.has_ended(single))
    ticket = shop.ann.window(single, "Custom Zoom")
    assert [one["id"] for one in listed(shop, "state=window")] == [ticket]
    (ann,) = [one for one in shop.server.get("/api/clients")["clients"] if one["name"] == "ann"]
    assert ann["windows"] == 1
    story = explained(shop, ticket)
    assert (story["task"], story["ticket"]["submissions"]) == (None, [])
    assert story["ticket"]["window"] | {"opened_at": ""} == {
        "opened_by": "hookchain",
        "opened_at": "",
        "answered_by": None,
        "answered_at": None,
    }
    shop.ann.ticket("modal", taskId=ticket, prompt="zoomed")
    eventually(lambda: shop.ann.has_ended(ticket))
    story = explained(shop, ticket)
    assert story["ticket"]["window"]["answered_by"] == "client"
    assert [one["kind"] for one in story["ticket"]["submissions"]] == ["action", "modal"]
    assert story["ticket"]["parent_id"] == shop.server.get(f"/api/tickets/{single}")["task_id"]


def test_a_press_that_a_rule_was_first_to_make_says_so(shop: Shop, eventually: Any) -> None:
    """It is paid once, and the client's ticket shows the rule's task."""
    grid = finished(shop, eventually, "pressed by a rule")
    eventually(lambda: shop.presses("pressed by a rule") == ["upsample 2"])
    ticket: str = shop.ann.press(grid, "U2")["result"]
    eventually(lambda: shop.ann.has_ended(ticket))
    also: str = shop.ann.press(grid, "U2")["result"]
    of_ticket = explained(shop, ticket)["ticket"]
    assert (of_ticket["joined"], of_ticket["submissions"][0]["asked_by"]) == (True, "rule:press U2")
    assert of_ticket["shared_with"] == (0 if also == ticket else 1)
    assert shop.presses("pressed by a rule") == ["upsample 2"]


def test_clients_tell_what_they_use(shop: Shop, eventually: Any) -> None:
    """The day's orders against their limit, what is open, and where the keys are."""
    before = shop.server.get("/api/clients/ann")
    with shop.while_it(holds=True):
        shop.ann.imagine("in use")
        now = shop.server.get("/api/clients/ann")
        shop.upstream.go_on(shop.task("in use"))
    assert now["tickets_today"] == before["tickets_today"] + 1
    assert now["open"] == before["open"] + 1
    (budget,) = now["budgets"]
    assert (budget["measure"], budget["limit"]) == ("submissions", 500)
    assert budget["used"] == before["budgets"][0]["used"] + 1
    assert [key["kept"] for key in now["keys"]] == ["file"]
    assert (now["pool"]["upstreams"], now["rules"], now["children"]) == (["main"], True, "hide")
    clients = shop.server.get("/api/clients")
    assert clients["is_on"]
    assert [one["name"] for one in clients["clients"]] == ["ann", "bob"]
    assert shop.server.http.get("/api/clients/nobody").status_code == 404


def metrics(shop: Shop, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """The values of a metric by their labels."""
    text = shop.server.http.get("/metrics").text
    return {
        frozenset(re.findall(r'(\w+)="([^"]*)"', labels)): float(value)
        for labels, value in re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE)
    }


def of(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def test_metrics_count_orders_by_their_answers(shop: Shop, eventually: Any) -> None:
    """Taken, repeated, refused, a task that nobody knows, a body that is no JSON; open tickets; tries at a hook."""
    box = shop.mailbox()
    before = Counter(metrics(shop, "hookchain_orders_total"))
    answered = metrics(shop, "hookchain_order_seconds_count")[of()]
    told_before = Counter(metrics(shop, "hookchain_hook_messages_total"))
    with shop.while_it(holds=True):
        ticket = shop.bob.imagine("counted", key="counted", notifyHook=box.url)
        assert metrics(shop, "hookchain_tickets")[of(client="bob", state="open")] == 1
        assert shop.bob.imagine("counted", key="counted", notifyHook=box.url) == ticket
        assert shop.bob.order("imagine", prompt="x", notifyHook="ftp://x")["code"] == 4
        assert shop.bob.order("change", taskId="1", action="UPSCALE", index=1)["code"] == 3
        assert shop.bob.http.post("/submit/imagine", content=b"<html>").status_code == 400
        shop.upstream.go_on(shop.task("counted"))
    box.until_it_ends(ticket)
    counted = Counter(metrics(shop, "hookchain_orders_total")) - before
    assert counted == {
        of(client="bob", answer="taken"): 1,
        of(client="bob", answer="repeated"): 1,
        of(client="bob", answer="refused"): 1,
        of(client="bob", answer="not_found"): 1,
        of(client="bob", answer="http_400"): 1,
    }
    assert metrics(shop, "hookchain_order_seconds_count")[of()] == answered + 5
    eventually(lambda: of(client="bob", state="open") not in metrics(shop, "hookchain_tickets"))

    def taken() -> float:
        now = Counter(metrics(shop, "hookchain_hook_messages_total")) - told_before
        return now[of(outcome="taken")]

    eventually(lambda: taken() >= len(box.about(ticket)) == len(box.tries))


def test_nothing_secret_is_shown(shop: Shop, eventually: Any) -> None:
    """No `state`, key or secret of a client, no Idempotency-Key, and of a hook its host alone; also while its messages fail."""
    box = shop.mailbox()
    box.answers = lambda _message: 500
    url = f"http://{box.host}/hidden-2?token=hidden-3"
    never = finished(shop, eventually, "never called", "bob", notifyHook="http://bob.invalid/hidden-1")
    ticket = finished(shop, eventually, "secret", notifyHook=url, state="hidden-4", key="hidden-5")
    for one in (never, ticket):
        eventually(lambda one=one: [it for it in explained(shop, one)["ticket"]["messages"] if it["error"]])
    shown = [
        json.dumps(shop.server.get(path))
        for path in (
            f"/api/explain/{ticket}",
            f"/api/tickets/{never}",
            f"/api/explain/{shop.task('secret').id}",
            f"/api/tickets/{ticket}",
            "/api/tickets",
            "/api/clients",
            "/api/clients/ann",
        )
    ]
    for secret in ("hidden-", "ann-key-1", "bob-key-1", "MDEyMzQ1Njc4OWFi"):
        assert [text for text in shown if secret in text] == []
    assert ticket in shown[0]
    assert box.host in shown[0]


def test_a_server_prints_the_address_that_clients_need(shop: Shop) -> None:
    """The gateway is off until there is a client: without this line nobody sees whether it is on."""
    address = shop.server.find(r"gateway: clients send to (\S+/mj),")
    assert address == f"{shop.server.url}/mj"
