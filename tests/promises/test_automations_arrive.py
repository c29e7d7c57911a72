"""What the automations send and keep, as it arrives: files, messages and masks, end to end in the sandbox."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import re
import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.support.automations import SECRET, Automation
from tests.support.customer import Customer, Mailbox, Message
from tests.support.tried import EXAMPLES, Case, accepted, busy, comes_of, command_of


def tasks_of(automation: Automation) -> dict[str, list[dict[str, Any]]]:
    """All tasks by action, the oldest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for task in sorted(
        automation.server.get("/api/tasks?limit=100")["tasks"], key=lambda one: str(one["id"])
    ):
        found.setdefault(task["action"], []).append(task)
    return found


def kept_in(folder: Path) -> list[str]:
    """The files of a folder by their paths in it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def finished_on(sidecar: Path) -> str:
    """The day on which the task of a JSON file ended."""
    ended_ms: int = json.loads(sidecar.read_text())["finished_at_ms"]
    return f"{datetime.fromtimestamp(ended_ms / 1000, UTC):%Y-%m-%d}"


def pixels(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture)).convert("RGB")


@pytest.mark.parametrize("faults", ["", "expired"], ids=["as it starts", "expired addresses"])
def test_videos_are_kept_before_their_addresses_expire(
    automate: Callable[..., Automation], start_sandbox: Any, faults: str
) -> None:
    """U1, one press of Animate (Low motion), and four videos, whole, in the folder of the day. Also if the addresses that the callback had
    are gone by then."""
    sandbox = start_sandbox("--speed", "30", "--seed", "7", "--faults", faults)
    automation = automate("animate-and-keep", at=sandbox.url)
    automation.run(*command_of("animate-and-keep"))
    videos = automation.folder / "videos"
    automation.eventually(lambda: list(videos.rglob("*.json")) and not busy(automation.server))
    assert automation.presses() == ["upsample:1", "animate_low:1"]
    (task,) = tasks_of(automation)["VIDEO"]
    (sidecar,) = videos.rglob("*.json")
    stem = f"{finished_on(sidecar)}/a-cat.main.{task['id']}"
    names = [f"{stem}-video-{number}.gif" for number in (1, 2, 3, 4)]
    assert kept_in(videos) == sorted([f"{stem}.json", f"{stem}.png", *names])
    about = json.loads(sidecar.read_text())["videos"]
    files = [(videos / name).read_bytes() for name in names]
    assert [one["sha256"] for one in about] == [hashlib.sha256(file).hexdigest() for file in files]
    addresses = [
        video["url"] for video in sandbox.http.get(f"/mj/task/{task['id']}/fetch").json()["videoUrls"]
    ]
    assert all("?ex=" in address for address in addresses)
    assert files == [sandbox.http.get(address).content for address in addresses]
    assert len({*files}) == 4


def test_the_quarters_of_a_grid_arrive_in_a_chat(
    automate: Callable[..., Automation], listener: tuple[str, list[Any]]
) -> None:
    """One message with four pictures, which are those of the grid, in the order of U1 to U4. Nothing is pressed."""
    automation = automate("quarters")
    automation.run(*command_of("quarters"))
    automation.eventually(lambda: listener[1])
    automation.rests()
    (message,) = listener[1]
    assert (message["title"], message["message"]) == ("a cat", "a cat")
    (task,) = tasks_of(automation)["IMAGINE"]
    grid = pixels(automation.sandbox.get(task["image_url"]).content)
    wide, high = grid.width // 2, grid.height // 2
    expected = [grid.crop((x, y, x + wide, y + high)) for y in (0, high) for x in (0, wide)]
    sent = [pixels(base64.b64decode(one["base64"])) for one in message["attachments"]]
    assert [one.tobytes() for one in sent] == [one.tobytes() for one in expected]
    assert automation.presses() == []


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """Another system, and what came there."""
    box = Mailbox()
    yield box
    box.stop()


def is_genuine(message: Message, raw: bytes) -> bool:
    """Verify a message as the specification of Standard Webhooks says, without a library."""
    headers = {name.lower(): value for name, value in message.headers.items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + raw
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    is_recent = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return is_recent and f"v1,{expected}" in headers["webhook-signature"].split()


def test_finals_in_a_body_of_ones_own_signed(automate: Callable[..., Automation], mailbox: Mailbox) -> None:
    """One message at the end of the chain, with the four final pictures and not the grid; whoever has the secret can verify it."""
    automation = automate("finals", FORWARD_URL=mailbox.url)
    automation.run(*command_of("finals"))
    automation.eventually(lambda: mailbox.taken)
    automation.rests()
    (message,) = mailbox.taken
    assert is_genuine(message, message.raw)
    assert not is_genuine(message, message.raw.replace(b"a cat", b"a dog"))
    upscales = tasks_of(automation)["UPSCALE"]
    body = json.loads(message.raw)
    assert body.pop("order") == automation.submissions()[0]["chain_id"]
    pictures = [address.partition("?")[0] for address in body.pop("pictures")]
    assert sorted(pictures) == sorted(task["image_url"].partition("?")[0] for task in upscales)
    assert body == {"customer": "", "prompt": "a cat", "failed": 0}
    assert sorted(automation.presses()) == [f"upsample:{number}" for number in (1, 2, 3, 4)]


def test_a_and_b_arrive_together(
    automate: Callable[..., Automation], listener: tuple[str, list[Any]]
) -> None:
    """One message with both pictures, once both are there."""
    automation = automate("a-b")
    automation.run(*command_of("a-b"))
    automation.eventually(lambda: listener[1])
    automation.rests()
    (message,) = listener[1]
    assert [body["prompt"] for body in accepted(automation.sandbox, "/imagine")] == ["a cat", "a cat --raw"]
    address = {
        task["prompt"]: task["image_url"].partition("?")[0] for task in tasks_of(automation)["IMAGINE"]
    }
    told = re.findall(r"([AB]): (https?://[^\s?]+)", message["message"])
    assert told == [("A", address["a cat"]), ("B", address["a cat --raw"])]


def test_all_four_are_in_one_message(
    automate: Callable[..., Automation], listener: tuple[str, list[Any]]
) -> None:
    """Each with its picture, once the last is there."""
    automation = automate("four-pictures")
    automation.run(*command_of("four-pictures"))
    automation.eventually(lambda: listener[1])
    automation.rests()
    (message,) = listener[1]
    told = dict(re.findall(r"(U[1-4]): (https?://[^\s?]+)", message["message"]))
    pictures = {task["id"]: task["image_url"].partition("?")[0] for task in tasks_of(automation)["UPSCALE"]}
    presses = [one for one in automation.submissions() if one["kind"] == "action"]
    made = {one["label"]: pictures[one["task_ids"][0]] for one in presses}
    assert told == made
    assert len(made) == 4


def test_subtle_is_kept_by_date_and_slug(automate: Callable[..., Automation]) -> None:
    """U1, then Upscale (Subtle), and only the picture that this made, in the folder of the day."""
    automation = automate("subtle")
    automation.run(*command_of("subtle"))
    pictures = automation.folder / "pictures"
    automation.eventually(lambda: list(pictures.rglob("*.json")) and not busy(automation.server))
    (sidecar,) = pictures.rglob("*.json")
    _first, subtle = tasks_of(automation)["UPSCALE"]
    stem = f"{finished_on(sidecar)}/a-cat.{subtle['upstream']}.{subtle['id']}"
    assert kept_in(pictures) == [f"{stem}.json", f"{stem}.png"]
    assert (pictures / f"{stem}.png").read_bytes() == automation.sandbox.get(subtle["image_url"]).content
    customs = [body["customId"] for body in accepted(automation.sandbox, "/action")]
    assert ["upsample::1" in customs[0], "subtle" in customs[1], len(customs)] == [True, True, 2]


class Between(ThreadingHTTPServer):
    """Stands before a sandbox, whose ledger shows only the beginning of a picture, and keeps the masks of answers to windows."""

    def __init__(self, sandbox: httpx.Client) -> None:
        self.masks: list[str] = []
        between = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.path.endswith("/modal"):
                    between.masks.append(json.loads(body)["maskBase64"])
                headers = {
                    name: self.headers[name] for name in ("host", "content-type") if name in self.headers
                }
                answer = sandbox.request(self.command, self.path, content=body, headers=headers)
                self.send_response(answer.status_code)
                for name in ("content-type", "content-length"):
                    self.send_header(name, answer.headers.get(name, ""))
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


@pytest.fixture
def between(start_sandbox: Any) -> Iterator[Between]:
    """Before a sandbox."""
    made = Between(start_sandbox("--speed", "30", "--seed", "7").http)
    yield made
    made.stop()


def test_the_left_half_is_white_in_the_mask(automate: Callable[..., Automation], between: Between) -> None:
    """The answer to the one window has a prompt, and a mask of the size of the picture whose left half alone may change."""
    automation = automate("left-half", at=between.url)
    automation.run(*command_of("left-half"))
    case = Case(
        tasks={"IMAGINE": 1, "UPSCALE": 1, "VARIATION": 1},
        presses={"upscale": 1, "vary_region": 1},
        modals=("a dog",),
    )
    comes_of(case, automation.server, automation.sandbox, automation.eventually, [], automation.folder)
    (mask,) = between.masks
    drawn = pixels(base64.b64decode(mask.partition(";base64,")[2] or mask))
    (upscale,) = tasks_of(automation)["UPSCALE"]
    assert drawn.size == pixels(automation.sandbox.get(upscale["image_url"]).content).size
    half, white, black = drawn.width // 2, (255, 255, 255), (0, 0, 0)
    assert drawn.crop((0, 0, half, drawn.height)).getcolors() == [(half * drawn.height, white)]
    right = drawn.crop((half, 0, drawn.width, drawn.height))
    assert right.getcolors() == [(right.width * right.height, black)]


def test_two_clients_have_rules_and_budgets_of_their_own(automate: Callable[..., Automation]) -> None:
    """By the command on the page: each of alice's grids gets four upscales, and bob's one; alice's third order is refused, unpaid, and says
    why, while bob's are taken. What rules press does not count."""
    keys = {"ALICE_KEY": "alice-key-1", "BOB_KEY": "bob-key-1"}
    automation = automate("clients", **keys)
    alice, bob = (Customer(automation.server.url, name) for name in ("alice", "bob"))
    page = (EXAMPLES / "clients.toml").read_text()
    (tried,) = re.findall(r"^# Try it: (curl .+)$", page, re.MULTILINE)
    _, url, _, key, _, kind, _, body = shlex.split(tried)
    ordered = automation.server.http.post(
        url.replace("http://127.0.0.1:8000", automation.server.url),
        content=body,
        headers=dict(one.replace("$ALICE_KEY", keys["ALICE_KEY"]).split(": ") for one in (key, kind)),
    ).json()
    assert ordered["code"] == 1
    tickets = [ordered["result"], alice.imagine("a dog")]
    automation.eventually(lambda: all(alice.has_ended(one) for one in tickets))
    refused = alice.order("imagine", prompt="a third")
    assert (refused["code"], "submissions per day" in refused["description"]) == (23, True), refused
    others = [bob.imagine(f"a bird, {number}") for number in range(3)]
    automation.eventually(lambda: all(bob.has_ended(one) for one in others))
    automation.eventually(lambda: len(automation.presses()) == 11)
    automation.rests()
    assert Counter(automation.presses()) == {
        "upsample:1": 5,
        "upsample:2": 2,
        "upsample:3": 2,
        "upsample:4": 2,
    }
    prompts = [one["prompt"] for one in accepted(automation.sandbox, "/imagine")]
    assert sorted(prompts) == [*(f"a bird, {number}" for number in range(3)), "a cat", "a dog"]
    alice.close()
    bob.close()


def test_a_task_of_nobody_is_left_alone_by_the_rules_of_clients(automate: Callable[..., Automation]) -> None:
    """What somebody submits on the command line belongs to no client, whatever state it has."""
    automation = automate("clients", ALICE_KEY="alice-key-1", BOB_KEY="bob-key-1")
    automation.server.submit(kind="imagine", prompt="a cat", extra={"state": "alice"})
    automation.eventually(lambda: tasks_of(automation).get("IMAGINE", [{}])[0].get("status") == "SUCCESS")
    automation.rests()
    assert automation.presses() == []
