"""Orders that trueai alone takes: retexture, show and video swap. Each is paid once, as an imagine is."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.customer import CLIENTS, Customer

CRASHING = str(Path(__file__).parent / "crashing_server.py")
OFFERED = CLIENTS + '[dialects.mj-plus]\npaths = { retexture = "submit/retexture", show = "submit/show" }\n'
"""For the upstream that lies, which speaks another dialect than trueai."""

UPSTREAM = """
[upstreams.main]
url = "{url}"
dialect = "trueai"
look_after_s = 0.3
quiet_s = 0.7
settle_after_s = 0.5
timeout_s = 2
list_lag_s = 2
"""
PNG = "data:image/png;base64,iVBORw0KGgo="
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 100
UNKNOWN_JOB = "0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
OTHER_ACCOUNT = {"instanceId": "1"}


@pytest.fixture
def start(start_sandbox: Any, start_server: Any, customer: Any, database_url: str) -> Any:
    """A client of the gateway before a trueai with these faults; and the sandbox."""

    def make(*faults: str) -> tuple[Customer, Any]:
        options = ("--faults", ",".join(faults)) if faults else ()
        sandbox = start_sandbox("--speed", "30", "--seed", "3", "--dialect", "trueai", *options)
        toml = UPSTREAM.format(url=sandbox.url) + CLIENTS
        return customer(start_server(toml=toml, DATABASE_URL=database_url)), sandbox

    return make


def swap(ann: Customer, **headers: str) -> Any:
    """The envelope that answers a video swap, whose face and video are files."""
    files = {"source": ("a.png", PICTURE, "image/png"), "TargetFile": ("a.mp4", VIDEO, "video/mp4")}
    data = {"state": "mine", "accountFilter.modes[0]": "FAST"}
    return ann.http.post("/insight-face/video-swap", data=data, files=files, headers=headers).json()


def order(ann: Customer, kind: str, key: str = "") -> Any:
    """The envelope that answers an order of this kind."""
    if kind == "video-swap":
        return swap(ann, **({"idempotency-key": key} if key else {}))
    if kind == "show":
        return ann.order("show", jobId=UNKNOWN_JOB, accountFilter=OTHER_ACCOUNT, key=key)
    return ann.order("retexture", prompt="wool", image=PNG, key=key)


ACTIONS = {"retexture": "RETEXTURE", "show": "SHOW", "video-swap": "SWAP_VIDEO_FACE"}


@pytest.mark.parametrize("kind", ACTIONS)
def test_each_is_a_paid_order_with_a_ticket(start: Any, eventually: Any, kind: str) -> None:
    """With an Idempotency-Key it is one, however often it is sent; without one it is another."""
    ann, sandbox = start()
    told = [order(ann, kind, key="a key") for _ in range(2)]
    assert [one["code"] for one in told] == [1, 1], told
    assert told[0]["result"] == told[1]["result"]
    ticket = told[0]["result"]
    assert ann.fetch(ticket)["action"] == ACTIONS[kind]
    eventually(lambda: ann.fetch(ticket)["status"] == "SUCCESS")
    assert ann.fetch(ticket)["action"] == ACTIONS[kind]
    assert sandbox.ledger()["billed"][kind] == 1
    assert order(ann, kind)["result"] != ticket
    eventually(lambda: sandbox.ledger()["billed"][kind] == 2)


@pytest.mark.parametrize("kind", ACTIONS)
def test_a_lost_answer_is_not_paid_twice(start: Any, eventually: Any, kind: str) -> None:
    """The upstream takes the order and its answer never comes: the task is found by its mark."""
    ann, sandbox = start("timeout")
    told = order(ann, kind)
    assert told["code"] == 1, told
    eventually(lambda: ann.has_ended(told["result"]))
    assert ann.fetch(told["result"])["status"] == "SUCCESS"
    assert sandbox.ledger()["billed"][kind] == 1


def test_a_video_swap_arrives_as_its_form(start: Any, eventually: Any) -> None:
    """The file, the face and the filter; the client's own state stays here."""
    ann, sandbox = start()
    told = swap(ann)
    eventually(lambda: ann.has_ended(told["result"]))
    assert ann.fetch(told["result"])["state"] == "mine"
    [sent] = sandbox.ledger()["submissions"]
    assert sent["body"]["targetFile"].startswith("data:video/mp4;base64,AAAAGGZ0eXBtcDQy")
    assert sent["body"]["sourceBase64"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert sent["body"]["accountFilter"] == {"modes": "FAST"}
    assert "mine" not in sent["body"]["state"]


def test_a_video_swap_may_name_links(start: Any, eventually: Any) -> None:
    """As JSON, too, which the upstream would not take; a face given twice is refused, and so is a picture for a video."""
    ann, sandbox = start()
    links = {"sourceUrl": "https://a.example/a.png", "targetUrl": "https://a.example/a.mp4"}
    told = ann.http.post("/insight-face/video-swap", json=links).json()
    assert told["code"] == 1, told
    twice = ann.http.post("/insight-face/video-swap", json=links | {"sourceBase64": PNG}).json()
    assert (twice["code"], "twice" in twice["description"]) == (4, True)
    files = {"targetFile": ("a.mp4", PICTURE, "video/mp4")}
    picture = ann.http.post("/insight-face/video-swap", data={"sourceBase64": PNG}, files=files).json()
    assert picture["description"] == "targetFile: the file is not an MP4, QuickTime or WebM video"
    lacking = ann.http.post("/insight-face/video-swap", json={"sourceBase64": PNG}).json()
    assert lacking["description"] == "targetFile: is missing"
    [sent] = sandbox.ledger()["submissions"]
    assert {name: sent["body"][name] for name in links} == links


def test_a_job_of_a_known_task_is_shown_for_nothing(start: Any, mailbox: Any, eventually: Any) -> None:
    """trueai answers with the task that has the job. The ticket ends with it, its hook is told, and the picture's own ticket stays."""
    ann, sandbox = start()
    first = ann.imagine("a cat")
    eventually(lambda: ann.has_ended(first))
    shown = ann.fetch(first)
    box = mailbox()
    told = ann.order("show", jobId=shown["jobId"], notifyHook=box.url, state="again")
    assert (told["code"], told["result"] != first) == (1, True)
    again = box.until_it_ends(told["result"])[-1].task
    assert (again["status"], again["imageUrl"]) == ("SUCCESS", ann.fetch(first)["imageUrl"])
    assert (again["state"], ann.fetch(first)["state"]) == ("again", None)
    press = ann.press(told["result"], "U1")
    eventually(lambda: ann.has_ended(press["result"]))
    billed = sandbox.ledger()["billed"]
    assert (billed["imagine"], billed["show"], billed["action"]) == (1, 0, 1)


def test_what_the_upstream_refuses_is_told(start: Any) -> None:
    """A job that no task has, without the account that should ask for it; fields that are missing."""
    ann, sandbox = start()
    told = ann.order("show", jobId=UNKNOWN_JOB)
    assert (told["code"], "show 命令必须指定实例" in told["description"]) == (4, True)
    assert ann.order("show")["description"] == "jobId: is missing"
    assert ann.order("show", jobId=" ")["description"].startswith("jobId: is empty")
    assert ann.order("retexture", prompt="wool")["description"] == "image: is missing"
    assert sum(sandbox.ledger()["billed"].values()) == 0


@pytest.mark.parametrize("kind", ACTIONS)
def test_an_account_without_it_refuses_it_unpaid(
    start_sandbox: Any, start_server: Any, customer: Any, kind: str
) -> None:
    """Code 4 says so; nothing is sent."""
    sandbox = start_sandbox("--speed", "30")
    ann = customer(start_server(toml=UPSTREAM.format(url=sandbox.url).replace("trueai", "mj-plus") + CLIENTS))
    told = order(ann, kind)
    assert told["code"] == 4
    assert f"dialect mj-plus has no {kind.replace('-', '_')}" in told["description"]
    assert sandbox.ledger()["submissions"] == []


def test_the_account_of_a_pool_that_offers_it_gets_it(
    start_sandbox: Any, start_server: Any, customer: Any, eventually: Any
) -> None:
    """Although another one comes first."""
    plus, trueai = start_sandbox("--speed", "30"), start_sandbox("--speed", "30", "--dialect", "trueai")
    first = UPSTREAM.format(url=plus.url).replace("trueai", "mj-plus")
    second = UPSTREAM.format(url=trueai.url).replace("upstreams.main", "upstreams.second")
    ann = customer(start_server(toml=first + second + CLIENTS))
    ticket = ann.ticket("retexture", prompt="wool", image=PNG)
    eventually(lambda: ann.has_ended(ticket))
    assert trueai.ledger()["billed"]["retexture"] == 1
    assert plus.ledger()["submissions"] == []


@pytest.mark.parametrize("loss", ["closed", "504", "silence"])
@pytest.mark.parametrize("kind", ["retexture", "show"])
def test_whatever_becomes_of_the_answer_it_is_paid_once(
    serve: Any, start_hostile: Any, customer: Any, eventually: Any, database_url: str, kind: str, loss: str
) -> None:
    """An upstream that lies takes the order, and its answer is lost."""
    upstream = start_hostile()
    upstream.desk.troubles = [(kind, loss)]
    hurried = "timeout_s = 2\nsettle_after_s = 0.5\n"
    ann = customer(serve(upstream, OFFERED, upstream_too=hurried, DATABASE_URL=database_url))
    told = order(ann, kind)
    assert told["code"] == 1, told
    eventually(lambda: ann.fetch(told["result"])["status"] == "SUCCESS")
    assert len(upstream.ledger.paid()) == 1


@pytest.mark.parametrize(
    ("name", "stage"), [("command", "after"), ("begin_attempt", "after"), ("settle_attempt", "before")]
)
@pytest.mark.parametrize("kind", ["retexture", "show"])
def test_a_crash_loses_and_doubles_nothing(
    serve: Any, start_hostile: Any, customer: Any, eventually: Any, kind: str, name: str, stage: str
) -> None:
    """Killed between the ticket and the answer: the client sends its order again, and gets the same ticket."""
    upstream = start_hostile()
    hurried = "timeout_s = 2\nsettle_after_s = 0.5\n"
    server = serve(upstream, OFFERED, upstream_too=hurried, command=[CRASHING, stage, name])
    with contextlib.suppress(httpx.TransportError):
        order(customer(server), kind)
    assert server.wait() == -9
    ann = customer(serve(upstream, OFFERED, upstream_too=hurried))
    [kept] = ann.ids_of("/task/list")
    assert order(ann, kind)["result"] == kept
    eventually(lambda: ann.fetch(kept)["status"] == "SUCCESS")
    assert len(upstream.ledger.paid()) == 1
