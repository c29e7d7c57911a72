"""What clients read: their own fields byte for byte, tasks from before the switch, and answers that browsers of other origins can
read. No question of a client becomes a question to the upstream."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.support.customer import CLIENTS, Customer
from tests.support.shop import Shop, finished

pytestmark = pytest.mark.xdist_group("gateway reads")
SETTINGS = CLIENTS
KEYS = {
    "id", "action", "status", "prompt", "promptEn", "description", "state", "submitTime", "startTime", "finishTime", "progress",
    "imageUrl", "failReason", "buttons", "properties",
}  # fmt: skip
STATE = json.dumps({"user": "小明 🐈‍⬛", "url": "http:\\/\\/x/1", "text": "ä" * 5_000}).replace(
    "x/1", "x\\/1"
)
"""10 kB of JSON, with an emoji and an escaped slash."""


def test_all_keys_are_there_from_the_first_moment(shop: Shop, eventually: Any) -> None:
    """The upstream has not even been asked; then it runs; then it has ended."""
    shop.server.http.post("/api/upstreams/main/pause").raise_for_status()
    ticket = shop.ann.imagine("all keys")
    waiting = shop.ann.fetch(ticket)
    assert (waiting["status"], waiting["progress"], waiting["buttons"]) == ("NOT_START", "0%", [])
    with shop.while_it(holds=True):
        shop.server.http.post("/api/upstreams/main/resume").raise_for_status()
        eventually(lambda: shop.ann.fetch(ticket)["status"] == "SUBMITTED")
        running = shop.ann.fetch(ticket)
        shop.upstream.go_on(shop.task("all keys"))
    eventually(lambda: shop.ann.has_ended(ticket))
    ended = shop.ann.fetch(ticket)
    for task in (waiting, running, ended):
        assert set(task) >= KEYS
        assert task["id"] == ticket
        assert isinstance(task["properties"], dict)
        assert all(isinstance(task[name], int | None) for name in ("submitTime", "startTime", "finishTime"))
    assert ended["finishTime"] >= ended["submitTime"]
    assert (ended["progress"], ended["failReason"]) == ("100%", None)


def test_ids_are_strings_that_are_exact_as_numbers(shop: Shop) -> None:
    ticket = shop.ann.imagine("an id")
    assert isinstance(ticket, str)
    assert len(ticket) == 16
    assert int(ticket) < 2**53
    assert [task["id"] for task in shop.ann.among(int(ticket))] == [ticket]


def test_the_state_comes_back_byte_for_byte(shop: Shop, eventually: Any) -> None:
    """In a fetch, in each list, and at the hook. The upstream never sees it."""
    box = shop.mailbox()
    ticket = finished(shop, eventually, "with a state", state=STATE, notifyHook=box.url)
    assert shop.ann.fetch(ticket)["state"] == STATE
    assert [task["state"] for task in shop.ann.among(ticket)] == [STATE]
    assert STATE in [task["state"] for task in shop.ann.http.get("/task/list").json()]
    messages = box.until_it_ends(ticket)
    assert {message.task["state"] for message in messages} == {STATE}
    assert "小明" not in shop.upstream.ledger.words()


def test_a_state_that_is_too_long_is_refused(shop: Shop) -> None:
    told = shop.ann.order("imagine", prompt="a long state", state="x" * 65_537)
    assert (told["code"], told["result"]) == (4, None)
    assert "state" in told["description"]


def test_no_fetch_asks_the_upstream(shop: Shop, eventually: Any) -> None:
    """Twenty clients poll running and finished tasks: the upstream gets what it gets without them."""
    done = finished(shop, eventually, "polled when it is done")
    with shop.while_it(holds=True):
        running = shop.ann.imagine("polled while it runs")
        eventually(lambda: shop.ann.fetch(running)["status"] == "SUBMITTED")
        eventually(lambda: shop.upstream.ledger.asked(shop.task("polled while it runs").id))
        before = len(shop.upstream.ledger.reads)

        def poll() -> None:
            client = Customer(shop.server.url)
            for _ in range(20):
                client.fetch(done)
                client.fetch(running)
                client.among(done, running)
            client.close()

        threads = [threading.Thread(target=poll) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        caused = [one for one in shop.upstream.ledger.reads[before:] if one.how == "fetch"]
        shop.upstream.go_on(shop.task("polled while it runs"))
    eventually(lambda: shop.ann.has_ended(running))
    assert len(caused) < 20, "1200 questions of clients are none of the upstream's"


def test_a_task_from_before_the_switch_keeps_its_id(shop: Shop, eventually: Any) -> None:
    """The client has the upstream's id. It can fetch and list the task by it, and press its buttons."""
    old = shop.before
    shown = shop.ann.fetch(old.id)
    assert (shown["id"], shown["status"], shown["prompt"]) == (old.id, "SUCCESS", old.prompt)
    assert set(shown) >= KEYS
    assert [task["id"] for task in shop.ann.among(old.id)] == [old.id]
    assert [task["id"] for task in shop.ann.among(int(old.id))] == [old.id]
    told = shop.ann.press(old.id, "U1")
    assert told["code"] == 1
    eventually(lambda: shop.ann.fetch(told["result"])["status"] == "SUCCESS")
    assert shop.presses(old.prompt) == ["upsample 1"]


def test_an_old_task_that_no_list_showed_can_be_pressed(shop: Shop, eventually: Any) -> None:
    """With one upstream, an unknown id can only be the upstream's."""
    old = shop.upstream.finished_grid("in no list")
    shop.upstream.hide(old)
    told = shop.ann.order("action", taskId=old.id, customId=old.custom_id_of("U2"))
    assert told["code"] == 1
    eventually(lambda: shop.ann.fetch(told["result"])["status"] == "SUCCESS")
    assert shop.presses("in no list") == ["upsample 2"]
    assert shop.ann.fetch(old.id)["status"] == "SUCCESS"


def test_an_unknown_task_is_a_404_with_an_envelope(shop: Shop) -> None:
    answer = shop.ann.http.get("/task/1700000000000000/fetch")
    assert (answer.status_code, answer.json()["code"]) == (404, 3)
    assert set(answer.json()) == {"code", "description", "result", "properties"}


@pytest.mark.parametrize(
    "prefix", ["/mj", "/mj-fast/mj", "/fast/mj", "/v1/mj", "/k/ann-key-1/mj", "/k/ann-key-1/fast/mj"]
)
def test_every_prefix_of_the_family_works(shop: Shop, prefix: str) -> None:
    """A key in the path is for clients that have no field for one."""
    client = Customer(shop.server.url, prefix=prefix)
    if prefix.startswith("/k/"):
        del client.http.headers["mj-api-secret"]
    ticket = client.imagine(f"at {prefix}")
    assert client.fetch(ticket)["id"] == ticket
    client.close()


@pytest.mark.parametrize(
    "headers",
    [{"mj-api-secret": "bob-key-1"}, {"authorization": "Bearer bob-key-1"}, {"authorization": "bob-key-1"}],
)
def test_a_key_is_taken_in_each_of_the_familys_ways(shop: Shop, headers: dict[str, str]) -> None:
    answer = shop.server.http.get("/mj/task/list", headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"mj-api-secret": "nobody's"}, {"authorization": "Bearer"}, {"authorization": "Basic x"}]
)
def test_a_wrong_key_is_a_401_with_an_envelope(shop: Shop, headers: dict[str, str]) -> None:
    answer = shop.server.http.post("/mj/submit/imagine", json={"prompt": "stolen"}, headers=headers)
    assert answer.status_code == 401
    assert set(answer.json()) == {"code", "description", "result", "properties"}
    assert shop.paid("stolen") == []


@pytest.mark.parametrize(
    "path", ["/mj/submit/imagine", "/mj/task/1/fetch", "/mj/nothing", "/v1/mj/task/list", "/fast/mj/x/y"]
)
def test_a_preflight_needs_no_key(shop: Shop, path: str) -> None:
    asked = {
        "origin": "https://draw.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-mine",
    }
    answer = shop.server.http.options(path, headers=asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
    allowed = set(answer.headers["access-control-allow-headers"].split(", "))
    assert allowed >= {
        "content-type",
        "authorization",
        "mj-api-secret",
        "x-ptoken",
        "idempotency-key",
        "x-mine",
    }


@pytest.mark.parametrize(
    ("method", "path", "key", "content", "status"),
    [
        ("GET", "/mj/task/list", "ann-key-1", b"", 200),
        ("GET", "/mj/task/1700000000000000/fetch", "ann-key-1", b"", 404),
        ("GET", "/mj/nothing", "ann-key-1", b"", 404),
        ("GET", "/mj/task/list", "nobody's", b"", 401),
        ("POST", "/mj/submit/imagine", "ann-key-1", b"no json", 400),
        ("POST", "/mj/submit/imagine", "ann-key-1", b"[]", 400),
        ("POST", "/mj/submit/imagine", "ann-key-1", b"x" * (64 * 1024 * 1024 + 1), 413),
        ("POST", "/mj/task/query", "ann-key-1", b'{"pageNumber":1000000000000000000,"pageSize":9}', 200),
        ("POST", "/mj/task/query", "ann-key-1", b'{"pageNumber":-1,"pageSize":"many"}', 200),
    ],
)
def test_every_answer_is_json_that_other_origins_can_read(
    shop: Shop, method: str, path: str, key: str, content: bytes, status: int
) -> None:
    headers = {"mj-api-secret": key, "origin": "https://draw.example", "content-type": "application/json"}
    answer = shop.server.http.request(method, path, headers=headers, content=content)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"].startswith("application/json")
    answer.json()


def test_what_does_not_exist_says_what_does(shop: Shop) -> None:
    told = shop.ann.http.get("/no/such/thing").json()
    assert (told["code"], told["result"]) == (3, None)
    assert "task/{id}/fetch" in told["description"]
