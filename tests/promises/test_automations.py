"""The automations of docs/how-to/automations.md, end to end: a server, the built-in sandbox, and its ledger."""

from __future__ import annotations

import contextlib
import csv
import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from midjourney.image_data import image_of_text
from tests.support.automations import AUTOMATIONS, Automation
from tests.support.tried import EXAMPLES, Case, accepted, busy, comes_of, command_of, run

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="

CASES = {
    "wide-only": Case(tasks={"IMAGINE": 4, "UPSCALE": 12}, presses={"upscale": 12}),
    "zoom-three-times": Case(
        tasks={"IMAGINE": 1, "UPSCALE": 4, "ZOOM": 4},
        presses={"upscale": 4, "zoom_out_2x": 3, "custom_zoom": 1},
        modals=("a cat in a castle, seen from far away --zoom 1.8",),
    ),
    "soften": Case(tasks={"IMAGINE": 1}, imagines=("a marble statue, modest",)),
    "per-customer": Case(tasks={"IMAGINE": 3, "UPSCALE": 5}, presses={"upscale": 5}),
}
ALSO = {"wide-only": ["a cat —ar 16:9", "a cat --AR=32:18", "a cat --ar 9:16"]}
"""More prompts for an example: other spellings, and one for which it must do nothing."""


@pytest.mark.parametrize("name", CASES)
def test_an_automation_does_what_it_says(
    automate: Callable[..., Automation], listener: tuple[str, list[Any]], name: str
) -> None:
    """By the command on its page: nothing more, nothing less; and it is at rest afterwards."""
    automation = automate(name)
    automation.run(*command_of(name), ready="accepted|waiting|rejected|submitted")
    for prompt in ALSO.get(name, []):
        automation.run("imagine", prompt)
    comes_of(
        CASES[name],
        automation.server,
        automation.sandbox,
        automation.eventually,
        listener[1],
        automation.folder,
    )


SOFTENED = ["a marble statue, modest", "a marble statue, modest, modest"]


@pytest.mark.parametrize(
    ("faults", "prompt"),
    [("banned=1", "a nude statue"), ("moderated=1", "a marble statue"), ("moderated=1", "a nude statue")],
    ids=["at submit", "later", "at submit, then later"],
)
def test_softened_at_most_twice(
    automate: Callable[..., Automation], start_sandbox: Any, faults: str, prompt: str
) -> None:
    """An upstream that minds whatever is said, at once or once it has accepted it, is asked three times in all."""
    sandbox = start_sandbox("--speed", "30", "--seed", "7", "--faults", faults)
    automation = automate("soften", at=sandbox.url)
    automation.run("imagine", prompt, ready="accepted|rejected|submitted")
    at_once = [faults == "banned=1" or "nude" in prompt, *([faults == "banned=1"] * 2)]

    def ended() -> bool:
        tasks = automation.server.get("/api/tasks")["tasks"]
        failed = [task["status"] == "FAILURE" for task in tasks]
        is_over = len(automation.submissions()) >= 3 and not busy(automation.server)
        return is_over and failed == [True] * at_once.count(False)

    automation.eventually(ended)
    automation.rests()
    submits = sandbox.ledger()["submissions"]
    assert [entry["body"]["prompt"] for entry in submits] == [prompt, *SOFTENED]
    assert [entry["code"] == 24 for entry in submits] == at_once


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


def test_u2_leaves_at_night(automate: Callable[..., Automation]) -> None:
    """It waits for 23:00 in Berlin, is listed with its time, and leaves once: then, or as soon as somebody sends it."""
    automation = automate("at-night")
    automation.run(*command_of("at-night"))
    automation.eventually(lambda: automation.states().get("U2") == "waiting")
    assert "U2" in automation.run("waiting", "list", ready="U2")
    (waiting,) = [one for one in automation.submissions() if one["label"] == "U2"]
    due = datetime.fromisoformat(waiting["run_at"])
    assert due.astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M:%S") == "23:00:00"
    assert timedelta() < due - datetime.now(UTC) < timedelta(hours=25)
    assert automation.presses() == []
    automation.run("waiting", "send-now", waiting["id"], ready=".")
    automation.eventually(lambda: automation.states()["U2"] == "accepted")
    automation.run(*command_of("at-night"))
    automation.eventually(lambda: automation.states()["U2"] == "waiting")
    time_passes(automation.folder)
    automation.eventually(lambda: len(automation.presses()) == 2)
    automation.rests()
    assert automation.presses() == ["upsample:2"] * 2


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


def test_equal_prompts_once_whoever_submits_them(automate: Callable[..., Automation]) -> None:
    """By the plugin: from the command line, the API and a batch, and in other capitals. A press has no prompt."""
    automation = automate("upscale-all", HOOKCHAIN_PLUGINS="examples/plugins/once.py")
    automation.run("imagine", "a cat")
    automation.eventually(lambda: accepted(automation.sandbox, "/imagine"))
    automation.server.submit(kind="imagine", prompt="A  cat")
    batch = ("imagine", "--from", "examples/prompts.csv", "--state-column", "customer", "--yes", "--follow")
    automation.run(*batch, ready=".", code=1)
    automation.eventually(lambda: len(automation.presses()) == 12)
    automation.rests()
    prompts = Counter(body["prompt"] for body in accepted(automation.sandbox, "/imagine"))
    assert prompts == {"a cat": 1, "a dog": 1, "a bird": 1}
    refused = [one for one in automation.submissions() if one["state"] == "rejected"]
    assert [one["outcome"] for one in refused] == ["vetoed"] * 2
    assert all("was already submitted" in one["reason"] for one in refused)


def test_every_automation_is_tried_here() -> None:
    """An example without a case must have a test of its own, here or in test_automations_arrive.py."""
    own = {
        "describe-elsewhere",
        "daily-budget",
        "unless-pressed",
        "later",
        "at-night",
        "ask-first",
        "every-monday",
    }
    arrives = {"a-b", "animate-and-keep", "clients", "finals", "left-half", "quarters", "subtle"}
    assert own | arrives | CASES.keys() == AUTOMATIONS
