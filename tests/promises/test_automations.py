"""The automations of docs/how-to/automations.md, end to end: a server, the built-in sandbox, and its ledger."""

from __future__ import annotations

import base64
import contextlib
import csv
import re
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from midjourney.image_data import image_of_text
from tests.conftest import HookchainServer, client
from tests.support.automations import AUTOMATIONS
from tests.support.tried import EXAMPLES, SERVE, Case, accepted, busy, comes_of, command_of, run

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
SECRET = f"whsec_{base64.b64encode(b'0123456789abcdef01234567').decode()}"

CASES = {
    "wide-only": Case(tasks={"IMAGINE": 2, "UPSCALE": 4}, presses={"upscale": 4}),
    "zoom-three-times": Case(
        tasks={"IMAGINE": 1, "UPSCALE": 4, "ZOOM": 4},
        presses={"upscale": 4, "zoom_out_2x": 3, "custom_zoom": 1},
        modals=("a cat in a castle, seen from far away --zoom 1.8",),
    ),
    "left-half": Case(
        tasks={"IMAGINE": 1, "UPSCALE": 1, "VARIATION": 1},
        presses={"upscale": 1, "vary_region": 1},
        modals=("a dog",),
    ),
    "subtle": Case(
        tasks={"IMAGINE": 1, "UPSCALE": 2},
        presses={"upscale": 1, "upscale_subtle": 1},
        files=("/a-cat.*.png", "/a-cat.*.json"),
    ),
    "a-b": Case(tasks={"IMAGINE": 2}, imagines=("a cat", "a cat --raw"), messages=1),
    "finals": Case(tasks={"IMAGINE": 1, "UPSCALE": 4}, presses={"upscale": 4}, messages=1),
    "soften": Case(tasks={"IMAGINE": 1}, imagines=("a marble statue, modest",)),
    "per-customer": Case(tasks={"IMAGINE": 3, "UPSCALE": 5}, presses={"upscale": 5}),
}
ALSO = {"wide-only": ["imagine", "a cat --ar 9:16"]}
"""A second command, for which an example must do nothing."""


class Automation:
    """A server with an example, and its built-in sandbox."""

    def __init__(
        self,
        server: HookchainServer,
        folder: Path,
        eventually: Callable[..., Any],
        environment: dict[str, str],
    ) -> None:
        self.server, self.folder, self.eventually = server, folder, eventually
        self.environment = environment
        self.sandbox = client(server.find(r"built-in sandbox at (http://[^,\s]+)"))

    def run(self, *command: str, ready: str = "accepted|waiting") -> str:
        """Run a command beside the server; what it printed."""
        return run(
            [*command],
            self.folder,
            self.environment | {"PORT": self.server.url.rpartition(":")[2]},
            ready,
        )

    def submissions(self) -> list[dict[str, Any]]:
        """All of them, the oldest first."""
        found: list[dict[str, Any]] = self.server.get("/api/submissions?limit=500")["submissions"]
        return sorted(found, key=lambda one: str(one["created_at"]))

    def states(self) -> dict[str, str]:
        """States of submissions by label; for several of one label, the newest."""
        return {one["label"]: one["state"] for one in self.submissions()}

    def presses(self) -> list[str]:
        """The customIds that the sandbox accepted, without their jobs."""
        return [":".join(body["customId"].split("::")[2:4]) for body in accepted(self.sandbox, "/action")]

    def rests(self) -> None:
        """Wait until nothing is to be done."""
        self.eventually(lambda: not busy(self.server))


@pytest.fixture
def automate(
    start_server: Any, eventually: Any, listener: tuple[str, list[Any]], tmp_path: Path
) -> Iterator[Callable[..., Automation]]:
    """Start a server with an example, some of whose words are replaced."""
    started: list[Automation] = []
    shutil.copytree(EXAMPLES, tmp_path / "examples")

    def start(name: str, *, replace: tuple[str, str] = ("", ""), **environment: str) -> Automation:
        toml = (EXAMPLES / f"{name}.toml").read_text() if name else ""
        assert replace[0] in toml
        environment |= {
            "NOTIFY_TO": listener[0].replace("http", "json"),
            "FORWARD_URL": listener[0],
            "FORWARD_SECRET": SECRET,
        }
        toml = toml.replace(*replace) if replace[0] else toml
        server = start_server(toml=toml, command=SERVE, **environment)
        started.append(Automation(server, tmp_path, eventually, environment))
        return started[-1]

    yield start
    for automation in started:
        automation.sandbox.close()


@pytest.mark.parametrize("name", CASES)
def test_an_automation_does_what_it_says(
    automate: Callable[..., Automation], listener: tuple[str, list[Any]], name: str
) -> None:
    """By the command on its page: nothing more, nothing less; and it is at rest afterwards."""
    automation = automate(name)
    automation.run(*command_of(name), ready="accepted|waiting|rejected|submitted")
    if name in ALSO:
        automation.run(*ALSO[name])
    comes_of(
        CASES[name],
        automation.server,
        automation.sandbox,
        automation.eventually,
        listener[1],
        automation.folder,
    )


def test_softened_at_most_twice(start_sandbox: Any, start_server: Any, eventually: Any) -> None:
    """An upstream that bans whatever is said is asked three times in all."""
    sandbox = start_sandbox("--speed", "30", "--seed", "7", "--faults", "banned=1")
    toml = (EXAMPLES / "soften.toml").read_text()
    server = start_server(toml=toml, HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    server.submit(kind="imagine", prompt="a nude statue")
    eventually(lambda: len(server.get("/api/submissions")["submissions"]) == 3 and not busy(server))
    asked = [entry["body"]["prompt"] for entry in sandbox.ledger()["submissions"]]
    assert asked == ["a nude statue", "a marble statue, modest", "a marble statue, modest, modest"]


def test_a_third_prompt_goes_to_another_upstream(
    start_sandbox: Any, start_server: Any, eventually: Any, tmp_path: Path
) -> None:
    """Only the describe at the first sandbox, only the third of its prompts at the other."""
    main, other = (start_sandbox("--speed", "30", "--seed", seed) for seed in ("1", "2"))
    (tmp_path / "picture.png").write_bytes(image_of_text(PIXEL).data)
    environment = {"MAIN_URL": main.url, "OTHER_URL": other.url}
    toml = (EXAMPLES / "describe-elsewhere.toml").read_text()
    server = start_server(toml=toml, **environment)
    run(
        command_of("describe-elsewhere"),
        tmp_path,
        environment | {"PORT": server.url.rpartition(":")[2]},
    )
    eventually(lambda: other.accepted("/imagine") and not busy(server))
    (described,) = [one for one in server.get("/api/tasks")["tasks"] if one["action"] == "DESCRIBE"]
    (imagined,) = other.accepted("/imagine")
    assert len(imagined["prompt"]) > 5
    assert f"3️⃣ {imagined['prompt']}" in described["prompt"]
    assert (main.accepted("/imagine"), other.accepted("/describe")) == ([], [])


def test_no_more_than_ten_a_day(automate: Callable[..., Automation], listener: tuple[str, list[Any]]) -> None:
    """Two prompts with four presses use the budget up. A third is refused at once; whoever asked is told, and nothing is paid."""
    automation = automate("daily-budget")
    for _ in range(2):
        automation.run(*command_of("daily-budget"))
    automation.eventually(lambda: len(automation.presses()) == 8)
    answer = automation.server.http.post("/api/submissions", json={"kind": "imagine", "prompt": "a dog"})
    assert (answer.status_code, "ten a day" in answer.text) == (429, True)
    automation.eventually(lambda: listener[1])
    automation.rests()
    assert [one["title"] for one in listener[1]] == ["The budget is used up"]
    assert len(accepted(automation.sandbox, "/imagine")) == 2
    assert len(automation.presses()) == 8


def test_nothing_is_sent_before_somebody_says_yes(
    automate: Callable[..., Automation], listener: tuple[str, list[Any]]
) -> None:
    """Opening the link, as chat previews do, sends nothing; the button of its page sends the four presses, once."""
    automation = automate("ask-first")
    automation.run(*command_of("ask-first"))
    automation.eventually(lambda: listener[1])
    (message,) = listener[1]
    (link,) = re.findall(r"https?://\S+/approve/[^\s)\"<]+", message["message"])
    page = automation.server.http.get(link)
    assert (page.status_code, "U4" in page.text) == (200, True)
    automation.rests()
    assert automation.presses() == []
    for status in (303, 409):
        answer = automation.server.http.post(link, data={"do": "release", "name": "Ann"})
        assert answer.status_code == status
    automation.eventually(lambda: len(automation.presses()) == 4)
    automation.rests()
    assert automation.presses() == [f"upsample:{number}" for number in (1, 2, 3, 4)]


def time_passes(folder: Path) -> None:
    """What waits in the server's database is due now, as if its time had come."""
    with contextlib.closing(sqlite3.connect(folder / "hookchain.db", timeout=30)) as connection, connection:
        now_ms = time.time_ns() // 1_000_000
        connection.execute(
            "UPDATE submissions SET run_at_ms = ?, queue_at_ms = ? WHERE state = 'waiting'", (now_ms, now_ms)
        )


def test_u1_is_left_to_whoever_chose(automate: Callable[..., Automation]) -> None:
    """One grid on which a person presses U3, and one that nobody looks at: U3 of the first, U1 of the second."""
    automation = automate("unless-pressed")
    automation.run(*command_of("unless-pressed"))
    automation.eventually(lambda: automation.states().get("U1") == "waiting")
    (task,) = automation.server.get("/api/tasks")["tasks"]
    automation.server.submit(kind="press", task_id=task["id"], button="U3")
    time_passes(automation.folder)
    automation.eventually(lambda: automation.states()["U1"] == "rejected")
    automation.run(*command_of("unless-pressed"))
    automation.eventually(lambda: automation.states()["U1"] == "waiting")
    time_passes(automation.folder)
    automation.eventually(lambda: len(automation.presses()) == 2)
    automation.rests()
    assert automation.presses() == ["upsample:3", "upsample:1"]


def test_a_delay_outlives_a_crash(
    start_sandbox: Any, start_server: Any, eventually: Any, tmp_path: Path
) -> None:
    """kill -9 while the press waits: the next process sends it, once, and not before the time that was meant."""
    sandbox = start_sandbox("--speed", "30", "--seed", "7")
    toml = (EXAMPLES / "later.toml").read_text()
    upstream = {"HOOKCHAIN_UPSTREAM_URL": sandbox.url}
    server = start_server(toml=toml, **upstream)
    run(command_of("later"), tmp_path, {"PORT": server.url.rpartition(":")[2]})

    def v1() -> Any:
        found = server.get("/api/submissions")["submissions"]
        return next((one for one in found if one["label"] == "V1"), None)

    waiting = eventually(v1)
    assert waiting["state"] == "waiting"
    server.kill()
    assert sandbox.accepted("/action") == []
    server = start_server(toml=toml, **upstream)
    assert (v1()["id"], v1()["state"], v1()["run_at"]) == (waiting["id"], "waiting", waiting["run_at"])
    assert sandbox.accepted("/action") == []
    time_passes(tmp_path)
    eventually(lambda: v1()["state"] == "accepted" and not busy(server))
    assert len(sandbox.accepted("/action")) == 1


def test_at_night_is_shown_until_then(automate: Callable[..., Automation]) -> None:
    """What waits for the night is listed with its time, and leaves once if somebody sends it now."""
    automation = automate("at-night")
    automation.run(*command_of("at-night"))
    automation.eventually(lambda: automation.states().get("U2") == "waiting")
    assert "U2" in automation.run("waiting", "list", ready="U2")
    (waiting,) = [one for one in automation.submissions() if one["label"] == "U2"]
    automation.run("waiting", "send-now", waiting["id"], ready=".")
    automation.eventually(lambda: automation.states()["U2"] == "accepted")
    automation.rests()
    assert automation.presses() == ["upsample:2"]


def test_a_picture_every_monday(
    automate: Callable[..., Automation], listener: tuple[str, list[Any]], tmp_path: Path
) -> None:
    """The rule is due when the server starts: one picture and one message; then the next Monday is shown."""
    minute_ms = time.time_ns() // 1_000_000 - 60_000
    due = "INSERT INTO timetable (rule, every, decided_ms, next_ms) VALUES ('every-monday', ?, ?, ?)"
    with contextlib.closing(sqlite3.connect(tmp_path / "hookchain.db")) as database, database:
        database.execute(due, ("0 9 * * mon Europe/Berlin", minute_ms - 1, minute_ms))
    automation = automate("every-monday")
    automation.eventually(lambda: len(listener[1]) == 1)
    automation.rests()
    (made,) = automation.submissions()
    assert (made["asked_by"], made["state"], made["depth"]) == ("rule:every-monday", "accepted", 0)
    assert len(accepted(automation.sandbox, "/imagine")) == 1
    listed = automation.run("rules", "list", ready=".")
    assert "every 0 9 * * mon Europe/Berlin, next " in listed
    told = automation.run("explain", made["task_ids"][0], ready=".")
    assert "rule:every-monday" in told


def test_prompts_of_a_file(automate: Callable[..., Automation]) -> None:
    """Each row once, also if the command is run again; the results name the customer."""
    automation = automate("")
    command = [
        *("imagine", "--from", "examples/prompts.csv", "--state-column", "customer"),
        *("--yes", "--follow", "--output", "results.csv"),
    ]
    for _ in range(2):
        automation.run(*command, ready=".")
    assert len(accepted(automation.sandbox, "/imagine")) == 3
    with (automation.folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["prompt"], row["state"], row["status"]) for row in rows] == [
        ("a cat", "alice", "SUCCESS"),
        ("a dog", "alice", "SUCCESS"),
        ("a bird", "bob", "SUCCESS"),
    ]


def test_a_picture_and_its_caption(automate: Callable[..., Automation]) -> None:
    """Each of four upscales is kept with what the service says about it."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"caption": "a cat on a sofa"}')

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as service:
        threading.Thread(target=service.serve_forever).start()
        table = f'[plugins.caption]\nurl = "http://127.0.0.1:{service.server_port}"\n'
        automation = automate(
            "upscale-all",
            replace=("[[rules]]", f"{table}[[rules]]"),
            HOOKCHAIN_PLUGINS="examples/plugins/caption.py",
        )
        automation.run("imagine", "a cat")
        automation.eventually(lambda: len(list((automation.folder / "dataset").rglob("*.txt"))) == 4)
        automation.rests()
        service.shutdown()
    captions = sorted((automation.folder / "dataset").rglob("*.txt"))
    assert {file.read_text() for file in captions} == {"a cat on a sofa"}
    assert all(file.with_suffix(".png").stat().st_size for file in captions)
    assert len(got) == 4


def test_equal_prompts_once(automate: Callable[..., Automation]) -> None:
    """Whoever sends the prompt as its own Idempotency-Key gets the one submission that there is."""
    automation = automate("")
    answers: list[httpx.Response] = [
        automation.server.http.post(
            "/api/submissions",
            json={"kind": "imagine", "prompt": prompt},
            headers={"idempotency-key": prompt},
        )
        for prompt in ("a cat", "a dog", "a cat", "a cat")
    ]
    assert [one.status_code for one in answers] == [202, 202, 200, 200]
    automation.rests()
    prompts = Counter(body["prompt"] for body in accepted(automation.sandbox, "/imagine"))
    assert prompts == {"a cat": 1, "a dog": 1}


def test_every_automation_is_tried_here() -> None:
    """An example without a case must have a test of its own."""
    own = {
        "describe-elsewhere",
        "daily-budget",
        "unless-pressed",
        "later",
        "at-night",
        "ask-first",
        "every-monday",
    }
    assert own | CASES.keys() == AUTOMATIONS
