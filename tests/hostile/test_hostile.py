"""The hostile upstream itself: honest where nobody asks it to lie, and each manner does what it says. No server of ours runs."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hostile import reasons, spelling
from tests.hostile.manners import Manners
from tests.hostile.parts import Client, Listener
from tests.hostile.upstream import hostile

OURS = {"midjourney", "storage", "dispatcher", "hooks", "hookchain", "pytest_hookchain", "benchmarks"}


def imports_of(file: Path) -> set[str]:
    """The top-level names of what a file imports; of the tests' own, the second name too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, file
            names = [node.module or ""]
            if node.module == "tests":
                names = [f"tests.{alias.name}" for alias in node.names]
        found |= {".".join(name.split(".")[: 2 if name.startswith("tests") else 1]) for name in names}
    return found


def test_it_shares_no_code_with_the_product() -> None:
    """Nor with the tests' other parts, which import the product: an assumption that both sides make is seen by no test."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    assert len(files) > 5
    for file in files:
        found = imports_of(file)
        assert not found & OURS, file
        assert {name for name in found if name.startswith("tests")} <= {"tests.hostile"}, file


def test_an_honest_chain(listener: Listener) -> None:
    """An imagine, an upscale, a window and its answer: ids of 16 digits, callbacks in order, hook and state echoed."""
    with hostile(secret="sk-1") as upstream:
        client = Client(upstream, listener.url)
        assert client.http.post("/submit/imagine", json={"prompt": "a cat"}).status_code == 401
        client.http.headers["mj-api-secret"] = "sk-1"
        grid = client.submit("imagine", prompt="a cat")
        assert (grid["code"], len(grid["result"]), grid["result"].isdigit()) == (1, 16, True)
        assert listener.statuses == ["SUBMITTED", "IN_PROGRESS", "SUCCESS"]
        told, _ = listener.heard[-1]
        assert told == client.fetch(grid["result"])
        assert (told["state"], told["properties"]["notifyHook"]) == ("mine", listener.url)

        single = client.press(grid["result"], "U2")
        assert client.fetch(single["result"])["action"] == "UPSCALE"
        green = [one["label"] for one in client.fetch(grid["result"])["buttons"] if one["style"] == 3]
        assert green == ["U2"]

        window = client.press(single["result"], "Custom Zoom")
        assert (window["code"], window["properties"]["remix"]) == (21, False)
        assert client.fetch(window["result"])["status"] == "MODAL"
        assert upstream.ledger.paid("CustomZoom") == []
        answer = client.submit("modal", taskId=window["result"], prompt="a cat --zoom 1.5")
        assert (answer["code"], answer["result"]) == (1, window["result"])
        assert client.fetch(window["result"])["action"] == "ZOOM"

        assert [one.path.rsplit("/", 1)[1] for one in upstream.ledger.paid()] == [
            "imagine",
            "action",
            "modal",
        ]
        [paid] = upstream.ledger.paid("upsample")
        assert (paid.task_id, paid.job) == (single["result"], told["properties"]["messageHash"])
        assert "a cat --zoom 1.5" in upstream.ledger.words()
        assert upstream.ledger.pressed_twice() == []
        listed = [task["id"] for task in client.http.get("/task/list").json()]
        assert listed == [window["result"], single["result"], grid["result"]]
        assert {call.status for call in upstream.caller.calls} == {200}


def test_a_window_that_says_no_prompt() -> None:
    """As in plusdoc and behind relays: the words of the picture must be known already."""
    with hostile(Manners(windows_say_prompt=False)) as upstream:
        client = Client(upstream)
        describe = client.submit("describe", base64="data:image/png;base64,AA==")
        window = client.press(describe["result"], "2️⃣")
        assert (window["code"], window["properties"]) == (21, {"remix": False})


def test_what_plus_refuses() -> None:
    """An unknown task or button, a parent that runs, a bookmark, a window that is none: none of it makes a task."""
    with hostile(Manners(holds=True)) as upstream:
        client = Client(upstream)
        grid, running = upstream.finished_grid(), upstream.running()
        up = grid.custom_id_of("U1")
        codes = [
            client.submit("imagine")["code"],
            client.submit("action", taskId="1", customId=up)["code"],
            client.submit("action", taskId=grid.id, customId="upsample1")["code"],
            client.submit("action", taskId=running.id, customId=up)["code"],
            client.submit("modal", taskId=grid.id, prompt="x")["code"],
            client.submit("change", taskId=grid.id, action="UPSCALE", index=3)["code"],
        ]
        assert codes == [4, 3, 3, 4, 4, 1]
        assert [one.custom_id for one in upstream.ledger.paid()] == [f"MJ::JOB::upsample::3::{grid.job}"]


@pytest.mark.parametrize(
    ("trouble", "status", "paid"), [("429", 429, 0), ("504", 504, 1), ("lost", 0, 1), ("queue full", 200, 0)]
)
def test_troubles_of_a_submit(trouble: Any, status: int, paid: int) -> None:
    """Refused unpaid; or taken and paid, and the answer lost. The next one is honest again."""
    with hostile() as upstream:
        client = Client(upstream)
        upstream.next_submit(trouble, of="imagine")
        try:
            seen = client.http.post("/submit/imagine", json={"prompt": "a cat"}).status_code
        except httpx.RemoteProtocolError:
            seen = 0
        assert (seen, len(upstream.ledger.paid())) == (status, paid)
        assert client.submit("imagine", prompt="a cat")["code"] == 1


@pytest.mark.parametrize("relay", ["both", "front", "behind"])
def test_two_ids(listener: Listener, relay: Any) -> None:
    """The answer has one, the callbacks have the other; the word says which can be read."""
    with hostile(Manners(relay=relay)) as upstream:
        client = Client(upstream, listener.url)
        front = client.submit("imagine", prompt="a cat")["result"]
        behind = listener.heard[-1][0]["id"]
        assert front.startswith("task_")
        assert front != behind
        readable = {"both": {front, behind}, "front": {front}, "behind": {behind}}[relay]
        assert set(client.batch(front, behind)) == readable
        for name in readable:
            assert client.fetch(name)["id"] == name


@pytest.mark.parametrize("end", ["FAILURE", "CANCEL"])
def test_a_false_end(listener: Listener, end: Any) -> None:
    """It is said everywhere, until the truth comes."""
    with hostile(Manners(false_end=end, pauses=True)) as upstream:
        client = Client(upstream, listener.url)
        task_id = client.submit("imagine", prompt="a cat")["result"]
        assert client.fetch(task_id)["status"] == listener.statuses[-1] == end
        upstream.go_on()
        upstream.caller.wait_until_none_is_due()
        assert client.fetch(task_id)["status"] == listener.statuses[-1] == "SUCCESS"


@pytest.mark.parametrize("is_told", [True, False])
def test_late_content(listener: Listener, is_told: bool) -> None:
    """SUCCESS has nothing to press or see; later it has, and a callback says so or does not."""
    late = frozenset({"buttons", "imageUrl", "finalPrompt"})
    with hostile(Manners(late=late, late_is_told=is_told, pauses=True)) as upstream:
        client = Client(upstream, listener.url)
        task_id = client.submit("imagine", prompt="a cat")["result"]
        first = client.fetch(task_id)
        assert (first["status"], first["buttons"], first["imageUrl"]) == ("SUCCESS", [], None)
        assert "finalPrompt" not in first["properties"]
        upstream.go_on()
        upstream.caller.wait_until_none_is_due()
        assert len(client.fetch(task_id)["buttons"]) == 9
        assert listener.statuses.count("SUCCESS") == 1 + is_told


def test_lists_that_show_too_little() -> None:
    """A batch that is cut, or knows nothing; a list of the newest, of the oldest, or behind; a task that is hidden."""
    with hostile() as upstream:
        client = Client(upstream)
        ids = [upstream.running().id for _ in range(4)]

        def listed() -> list[str]:
            return [task["id"] for task in client.http.get("/task/list").json()]

        upstream.change(batch_at_most=2)
        assert sorted(client.batch(*ids)) == ids[:2]
        upstream.change(batch_misses=True)
        assert client.batch(*ids) == []
        assert client.fetch(ids[0])["id"] == ids[0]
        upstream.change(batch_misses=False, batch_at_most=None, list_newest=1)
        assert listed() == ids[3:]
        upstream.change(list_newest=None, list_oldest=1)
        assert listed() == ids[:1]
        upstream.change(list_oldest=None, list_lags=1)
        assert listed() == ids[2::-1]
        upstream.change(list_lags=0)
        upstream.hide(upstream.shelf.all()[0])
        assert listed() == ids[:0:-1]
        assert [one.ids for one in upstream.ledger.asked(ids[0], "fetch")] == [(ids[0],)]


def test_it_tells_again_after_a_restart(listener: Listener) -> None:
    """Green buttons and finished children of the last 12 h, and nothing older; or it has forgotten everything."""
    with hostile(Manners(tells_parent=True)) as upstream:
        client = Client(upstream)
        grid = upstream.finished_grid(pressed=("U1", "U2"), ago_s=3600)
        upstream.finished_grid(ago_s=13 * 3600)
        assert upstream.restart(hook=listener.url) == 3
        bodies = {body["id"]: body for body, _ in listener.heard}
        assert [one["style"] for one in bodies[grid.id]["buttons"]][:4] == [3, 3, 2, 2]
        assert [body.get("parentId") for body in bodies.values()].count(grid.id) == 2
        assert upstream.restart(hook=listener.url, forgets=True) == 0
        assert client.http.get(f"/task/{grid.id}/fetch").content == b""


def test_forged_callbacks(listener: Listener) -> None:
    """The true payload with other words, or no true word at all; what can be read stays true."""
    with hostile() as upstream:
        client = Client(upstream)
        task = upstream.finished_grid("a cat")
        upstream.call_back(listener.url, task, action="DESCRIBE", properties={"finalPrompt": "evil"})
        upstream.post(listener.url, {"id": "7", "status": "SUCCESS"})
        forged, invented = (body for body, _ in listener.heard)
        assert (forged["action"], forged["properties"]["finalPrompt"]) == ("DESCRIBE", "evil")
        assert forged["properties"]["messageHash"] == task.job
        assert invented == {"id": "7", "status": "SUCCESS"}
        assert client.fetch(task.id)["action"] == "IMAGINE"


def test_spellings(listener: Listener) -> None:
    """In callbacks, and in what is read where that is said."""
    with hostile(Manners(spelling=spelling.as_text_inside, wrapping=spelling.in_array)) as upstream:
        client = Client(upstream)
        task = upstream.finished_grid()
        upstream.tell(task, listener.url)
        [told] = listener.heard[-1][0]
        assert len(json.loads(told["buttons"])) == 9
        assert client.fetch(task.id) == told
        upstream.change(spelling=spelling.with_status(SUCCESS="COMPLETED"), wrapping=spelling.in_data)
        upstream.tell(task, listener.url)
        assert listener.heard[-1][0]["data"]["status"] == client.fetch(task.id)["status"] == "COMPLETED"
        upstream.change(spelling=spelling.with_task_id, wrapping=spelling.in_text, encoding="gzip")
        upstream.tell(task, listener.url)
        assert listener.heard[-1][1] == "gzip"
        upstream.change(wraps_reads=True)
        assert json.loads(client.fetch(task.id))["task_id"] == task.id


@pytest.mark.parametrize(
    ("labels", "label"),
    [(spelling.lower_case, "u2"), (spelling.with_emoji, "🔍 U2"), (spelling.in_chinese, "放大 2")],
)
def test_labels_on_opaque_ids(labels: Any, label: str) -> None:
    """The ledger knows which button it was, whatever it was called."""
    with hostile(Manners(labels=labels)) as upstream:
        client = Client(upstream)
        grid = client.submit("imagine", prompt="a cat")
        assert client.press(grid["result"], label)["code"] == 1
        [paid] = upstream.ledger.paid("upsample")
        assert paid.body["customId"] == "provider-action-2"
        assert paid.custom_id.startswith("MJ::JOB::upsample::2::")


def test_failures_and_private_links(listener: Listener) -> None:
    """Real reasons, as they are; and a link that only the relay's own host could open."""
    with hostile(Manners(fails_with=reasons.MODERATION[3])) as upstream:
        client = Client(upstream, listener.url)
        client.submit("imagine", prompt="a cat")
        assert listener.heard[-1][0]["failReason"] == "可能包含敏感词"
        assert listener.heard[-1][0]["progress"] == ""
    with hostile(Manners(image_url="http://localhost:3000/mj/image/{job}")) as upstream:
        task = upstream.finished_grid()
        assert Client(upstream).fetch(task.id)["imageUrl"] == f"http://localhost:3000/mj/image/{task.job}"
