"""A client's notifyHook hears each thing once, in the order in which it happened, whatever the upstream's callbacks do and however long
its own server is away."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.hostile.desk import Trouble
from tests.hostile.tasks import Task
from tests.support.customer import CLIENTS, Mailbox, Message, check_order
from tests.support.shop import Shop, finished

pytestmark = pytest.mark.xdist_group("gateway hooks")
SETTINGS = (
    CLIENTS
    + """
[clients.public]
key = "public-key-1"

[clients.signed]
key = "signed-key-1"
hook_hosts = ["127.0.0.0/8"]
hook_secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"

[clients.usual]
key = "usual-key-1"
hook_hosts = ["127.0.0.1"]
"""
)


def progress(shop: Shop, task: Task, percent: int) -> None:
    """The upstream calls back with a percentage."""
    with shop.upstream.shelf.lock:
        task.go(percent)
    shop.upstream.tell(task)


def test_each_thing_is_told_once_and_in_order(shop: Shop, eventually: Any) -> None:
    """SUBMITTED, the percentages, SUCCESS. The upstream repeats each callback, and lets older ones follow newer ones."""
    box = shop.mailbox()
    with shop.while_it(holds=True):
        ticket = shop.ann.imagine("told in order", notifyHook=box.url, state="mine")
        box.until(lambda: box.about(ticket))
        task = shop.task("told in order")
        for percent in (10, 10, 31, 31):
            progress(shop, task, percent)
            told = f"{percent}%"
            box.until(lambda told=told: told in [one.standing[1] for one in box.about(ticket)])  # type: ignore[misc]
        progress(shop, task, 10)
        progress(shop, task, 55)
        box.until(lambda: "55%" in [one.standing[1] for one in box.about(ticket)])
        shop.upstream.finish(task)
        for _ in range(3):
            shop.upstream.tell(task)
        box.until_it_ends(ticket)
        late = shop.upstream.forged(task, status="IN_PROGRESS", progress="93%")
        shop.upstream.post(task.hook, late)
        shop.upstream.tell(task)
    finished(shop, eventually, "told afterwards", notifyHook=box.url)
    messages = box.about(ticket)
    check_order(messages)
    assert [one.standing[1] for one in messages] == ["0%", "10%", "31%", "55%", "100%"]
    assert {(one.task["state"], one.path) for one in messages} == {("mine", "/notify")}
    assert [one.headers["content-type"] for one in messages] == ["application/json"] * 5


def test_an_end_that_the_upstream_does_not_show_yet_is_told_when_it_does(shop: Shop, eventually: Any) -> None:
    """A callback says SUCCESS, a fetch right after it still says IN_PROGRESS (novicezk issue 252, or a forged callback), and the true
    end gives no second callback that is news."""
    box = shop.mailbox()
    with shop.while_it(holds=True):
        ticket = shop.ann.imagine("shown late", notifyHook=box.url)
        task = shop.task("shown late")
        progress(shop, task, 31)
        box.until(lambda: "31%" in [one.standing[1] for one in box.about(ticket)])
        asked = len(shop.upstream.ledger.asked(task.id, "fetch"))
        shop.upstream.post(task.hook, shop.upstream.forged(task, status="SUCCESS", progress="100%"))
        eventually(lambda: len(shop.upstream.ledger.asked(task.id, "fetch")) > asked)
        assert "SUCCESS" not in [one.standing[0] for one in box.about(ticket)]
        shop.upstream.finish(task)
    check_order(box.until_it_ends(ticket))


@pytest.mark.parametrize("trouble", ["504", "silence"])
def test_the_end_of_a_task_whose_answer_was_lost_is_told(shop: Shop, trouble: Trouble) -> None:
    """The callbacks come before there is evidence of whose the task is; no other callback follows."""
    box = shop.mailbox()
    prompt = f"ended before it was found: {trouble}"
    shop.upstream.next_submit(trouble, of="imagine")
    ticket = shop.ann.imagine(prompt, notifyHook=box.url)
    box.until_it_ends(ticket)
    assert [one.standing[0] for one in box.about(ticket)].count("SUCCESS") == 1
    assert len(shop.paid(prompt)) == 1


def test_an_order_that_joins_a_task_hears_at_once_what_that_has_become(shop: Shop, eventually: Any) -> None:
    """The same upscale is ordered again while it runs: its hook hears SUBMITTED and the present percentage, without a further event."""
    box = shop.mailbox()
    grid = finished(shop, eventually, "joined on the way")
    with shop.while_it(holds=True):
        first = shop.ann.press(grid, "U1")["result"]
        upscale = shop.upstream.shelf.all()[-1]
        progress(shop, upscale, 46)
        eventually(lambda: shop.ann.fetch(first)["progress"] == "46%")
        second = shop.ann.press(grid, "U1", notifyHook=box.url)["result"]
        box.until(lambda: len(box.about(second)) == 2)
        assert [one.standing for one in box.about(second)] == [("SUBMITTED", "0%"), ("IN_PROGRESS", "46%")]
        shop.upstream.finish(upscale)
    check_order(box.until_it_ends(second))
    assert shop.presses("joined on the way") == ["upsample 1"]


def test_what_the_hook_is_told_is_what_a_fetch_shows(shop: Shop, eventually: Any) -> None:
    box = shop.mailbox()
    ticket = shop.ann.imagine("told as fetched", notifyHook=box.url)
    *_, end = box.until_it_ends(ticket)
    assert end.task == shop.ann.fetch(ticket)
    assert end.task["properties"]["notifyHook"] == box.url
    assert shop.server.url not in end.raw.decode(), "our own hook is a secret"


def test_lost_callbacks_are_made_up_for(shop: Shop) -> None:
    """The upstream calls nobody back: hookchain asks, and tells."""
    box = shop.mailbox()
    with shop.while_it(is_silent=True):
        ticket = shop.ann.imagine("never called back", notifyHook=box.url)
        check_order(box.until_it_ends(ticket))


def test_a_failure_is_told_with_its_reason(shop: Shop) -> None:
    box = shop.mailbox()
    with shop.while_it(fails_with="blocked by a moderator"):
        ticket = shop.ann.imagine("fails", notifyHook=box.url)
        messages = box.until_it_ends(ticket)
    check_order(messages, ends="FAILURE")
    assert messages[-1].task["failReason"] == "blocked by a moderator"


def test_a_failure_that_the_upstream_takes_back_is_not_told(shop: Shop) -> None:
    """A callback says FAILURE, and the task runs on."""
    box = shop.mailbox()
    with shop.while_it(holds=True):
        ticket = shop.ann.imagine("a false failure", notifyHook=box.url)
        box.until(lambda: box.about(ticket))
        task = shop.task("a false failure")
        shop.upstream.call_back(task.hook, task, status="FAILURE", failReason="任务超时", progress="")
        shop.upstream.go_on(task)
        check_order(box.until_it_ends(ticket))


@pytest.mark.parametrize("status", [0, 500, 503, 429, 408, 404])
def test_a_hook_that_is_down_for_a_while_hears_all_that_matters(
    shop: Shop, eventually: Any, status: int
) -> None:
    """It hangs up, or refuses: SUBMITTED and the end are said until they are taken, each under the same webhook-id."""
    box = shop.mailbox()
    box.answers = lambda message: status
    ticket = shop.ann.imagine(f"down with {status}", notifyHook=box.url)
    box.until(lambda: len(box.tries) >= 2)
    assert not box.taken
    box.answers = lambda message: 200
    messages = box.until_it_ends(ticket)
    check_order(messages)
    names = [one.headers["webhook-id"] for one in box.tries]
    assert len(set(names)) == 2, "a repeated message has the id of the first"


def test_a_hook_whose_server_starts_later_hears_all_that_matters(shop: Shop) -> None:
    """Nobody listens at its port."""
    gone = Mailbox()
    port = int(gone.host.rsplit(":", 1)[-1])
    gone.stop()
    ticket = shop.ann.imagine("nobody listens", notifyHook=gone.url)
    box = Mailbox(port)
    try:
        check_order(box.until_it_ends(ticket))
    finally:
        box.stop()


def test_a_hook_that_is_gone_hears_no_more(shop: Shop, eventually: Any) -> None:
    """410: it is not called again. If a person has the dead letter sent again, it says how the task stands then."""
    box = shop.mailbox()
    box.answers = lambda message: 410
    ticket = finished(shop, eventually, "gone", notifyHook=box.url)
    finished(shop, eventually, "after gone")
    dead = eventually(lambda: dead_letters(shop, box))
    assert [one.standing for one in box.tries] == [("SUBMITTED", "0%")]
    box.answers = lambda message: 200
    for one in dead:
        shop.server.http.post(f"/api/dead-letters/delivery-{one['id']}/retry").raise_for_status()
    box.until_it_ends(ticket)


def test_a_name_that_is_unknown_for_a_moment_is_tried_again(shop: Shop, eventually: Any) -> None:
    """As that of a container that starts again. What is shown of it names the host, and not the path, which may be a secret."""
    shop.ann.imagine("no such name", notifyHook="http://bot-1.invalid/a-secret-path")

    def tried() -> Any:
        waiting = shop.server.get("/api/deliveries?state=waiting")["deliveries"]
        return [one for one in waiting if "bot-1.invalid" in one["receiver"] and one["attempts"] > 1]

    [message] = eventually(tried)
    assert "bot-1.invalid" in message["error"]
    assert "a-secret-path" not in shop.server.http.get("/api/deliveries?limit=500").text


def dead_letters(shop: Shop, box: Mailbox) -> list[Any]:
    """What was given up at a hook."""
    dead = shop.server.get("/api/deliveries?state=dead")["deliveries"]
    return [one for one in dead if box.host in one["receiver"]]


def test_one_address_that_is_gone_keeps_no_end_from_another(shop: Shop) -> None:
    """Both clients pressed the same button, and their hooks are at one host: one of them answers 410."""
    grid = shop.upstream.finished_grid("two addresses")
    box = shop.mailbox()
    box.answers = lambda message: 410 if message.path == "/notify/ann" else 200
    with shop.while_it(holds=True):
        button = grid.custom_id_of("U1")
        shop.ann.ticket("action", taskId=grid.id, customId=button, notifyHook=f"{box.url}/ann")
        bobs = shop.bob.ticket("action", taskId=grid.id, customId=button, notifyHook=f"{box.url}/bob")
        shop.upstream.go_on(next(task for task in shop.upstream.shelf.all() if task.parent_id == grid.id))
        check_order(box.until_it_ends(bobs))


def test_progress_is_said_once_whether_it_is_taken_or_not(shop: Shop, eventually: Any) -> None:
    box = shop.mailbox()
    box.answers = lambda message: 500 if message.standing[0] == "IN_PROGRESS" else 200
    with shop.while_it(holds=True):
        ticket = shop.ann.imagine("progress in vain", notifyHook=box.url)
        box.until(lambda: box.about(ticket))
        task = shop.task("progress in vain")
        progress(shop, task, 20)
        box.until(lambda: [one for one in box.tries if one.standing[1] == "20%"])
        shop.upstream.finish(task)
        shop.upstream.tell(task)
        box.until_it_ends(ticket)
    assert [one.standing for one in box.tries] == [
        ("SUBMITTED", "0%"),
        ("IN_PROGRESS", "20%"),
        ("SUCCESS", "100%"),
    ]


def test_a_redirect_is_not_followed(shop: Shop, eventually: Any) -> None:
    box, elsewhere = shop.mailbox(), shop.mailbox()
    box.headers = {"location": elsewhere.url}
    box.answers = lambda message: 307
    ticket = finished(shop, eventually, "redirected", notifyHook=box.url)
    box.until(lambda: len(box.tries) >= 2)
    assert not elsewhere.tries
    box.answers = lambda message: 200
    box.until_it_ends(ticket)


def test_a_slow_hook_delays_no_other(shop: Shop) -> None:
    """It does not answer at all, for all of its tasks; another host hears within a second of the end."""
    slow, quick = shop.mailbox(), shop.mailbox()
    release = threading.Event()

    def wait(_message: Message) -> int:
        release.wait(60)
        return 200

    slow.answers = wait
    try:
        waiting = [shop.ann.imagine(f"slow {number}", notifyHook=slow.url) for number in range(12)]
        slow.until(lambda: True)
        ticket = shop.ann.imagine("quick", notifyHook=quick.url)
        *_, end = quick.until_it_ends(ticket)
        assert not slow.taken
        shown = shop.ann.fetch(ticket)
        assert end.task["finishTime"] == shown["finishTime"]
    finally:
        release.set()
    for one in waiting:
        # On a busy machine it may be held for longer than a message waits for an answer: that is said again, under the same id.
        by_id = {message.headers["webhook-id"]: message for message in slow.until_it_ends(one)}
        check_order(list(by_id.values()))


@pytest.mark.parametrize("hook", ["", None])
def test_no_hook_is_no_hook(shop: Shop, eventually: Any, hook: str | None) -> None:
    """The web UI writes an empty one into each order."""
    ticket = finished(shop, eventually, f"hook {hook!r}", notifyHook=hook)
    assert shop.ann.fetch(ticket)["properties"]["notifyHook"] is None


@pytest.mark.parametrize(
    "hook",
    ["http://127.0.0.1:4120/notify", "http://localhost:4120/notify", "http://10.0.3.7/x", "http://[::1]/x", "http://169.254.169.254/x",
     "ftp://example.com/x", "no address", "http://", "//example.com/x", "http://me:secret@example.com/x"],
)  # fmt: skip
def test_an_address_that_must_not_be_called_is_refused_with_the_order(shop: Shop, hook: str) -> None:
    """Code 4, and nothing is ordered."""
    told = shop["public"].order("imagine", prompt="must not be called", notifyHook=hook)
    assert (told["code"], told["result"]) == (4, None)
    assert "notifyHook" in told["description"]
    assert shop.paid("must not be called") == []


def test_our_own_address_is_refused_for_it_would_be_a_loop(shop: Shop) -> None:
    over_tls = shop.server.url.replace("http:", "https:")
    for hook in (shop.server.hook, f"{shop.server.url}/mj/submit/imagine", shop.server.url, over_tls):
        told = shop.ann.order("imagine", prompt="a loop", notifyHook=hook)
        assert (told["code"], told["result"]) == (4, None)
    assert shop.paid("a loop") == []


@pytest.mark.parametrize("path", ["/mj/submit/imagine", "/anything"])
def test_an_account_is_no_hook_for_it_would_take_each_message_for_an_order(shop: Shop, path: str) -> None:
    """A message has a prompt, and some accounts want no key."""
    told = shop.ann.order("imagine", prompt="ordered by a message", notifyHook=f"{shop.upstream.url}{path}")
    assert (told["code"], told["result"]) == (4, None)
    assert shop.paid("ordered by a message") == []


def test_a_message_is_signed_if_the_client_has_a_secret(shop: Shop) -> None:
    from standardwebhooks.webhooks import Webhook

    box = shop.mailbox()
    ticket = shop["signed"].imagine("signed", notifyHook=box.url)
    for message in box.until_it_ends(ticket):
        headers = {name.lower(): value for name, value in message.headers.items()}
        told = Webhook("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3").verify(message.raw.decode(), headers)
        assert told == json.loads(message.raw)
