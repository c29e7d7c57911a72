"""A server of 0.1.0 is killed while it works for rules and a plugin; this release goes on with its database, rule file and plugin."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support import command, released
from tests.support.hook import Hook
from tests.support.postgres import fresh_database
from tests.support.small_upstream import SmallUpstream

pytestmark = pytest.mark.process

KILLED_AGO_S = 50.0
"""By then its lease has lapsed; what it was to send a minute after its task will be due in some seconds."""


class Upgraded:
    """This release over what the killed server left, with the upstream that remembers what that one sent."""

    def __init__(self, folder: Path, url: str, start_server: Any) -> None:
        kind = "sqlite" if url.startswith("sqlite") else "postgresql"
        killed = released.Killed(kind, ago_s=KILLED_AGO_S)
        killed.load(url)
        self.folder = folder
        self.upstream = SmallUpstream(killed.known)
        self.sent_before = [one.words for one in killed.known.submits]
        self.told = Hook()
        self.toml = killed.write(folder, upstream=self.upstream.url, told=self.told.url)
        self._start, self._url = start_server, url
        (folder / "mended").touch()
        self.server = self.start()

    def start(self) -> Any:
        """`hookchain serve`; the first time it migrates the database."""
        return self._start(toml=self.toml, DATABASE_URL=self._url)

    def hookchain(self, *arguments: str) -> str:
        """What a command prints."""
        port = self.server.url.rsplit(":", 1)[-1]
        ran = command.run(self.folder, *arguments, PORT=port, HOST="127.0.0.1", DATABASE_URL=self._url)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def sent(self) -> Counter[tuple[str, str]]:
        """What this release sent: kind, and the prompt or the button."""
        tasks = self.upstream.known.tasks
        new = self.upstream.known.submits[len(self.sent_before) :]
        return Counter((one.kind, _button(one, tasks) or one.asked) for one in new)

    def one(self, **filters: str) -> Any:
        """The submission that this is true of."""
        query = "&".join(f"{key}={value}" for key, value in filters.items() if key != "label")
        found = self.server.get(f"/api/submissions?limit=500&{query}")["submissions"]
        (only,) = [one for one in found if one["label"] == filters.get("label", one["label"])]
        return only

    def by_prompt(self, prompt: str) -> Any:
        """The submission that asked for this prompt."""
        found = self.server.get("/api/submissions?limit=500&kind=imagine")["submissions"]
        (only,) = [one for one in found if one["request"]["prompt"] == prompt]
        return only

    def uncertain(self) -> dict[str, str]:
        """The ids of the submissions with an unknown outcome, by prompt."""
        found = self.server.get("/api/uncertain")["uncertain"]
        return {one["request"]["prompt"]: one["id"] for one in found}

    def close(self) -> None:
        self.upstream.stop()
        self.told.close()


def _button(submit: Any, tasks: dict[str, Any]) -> str:
    """Such as "V1 of a dog"."""
    task = tasks.get(submit.task_id, {})
    labels = [button["label"] for button in task.get("buttons", []) if button["customId"] == submit.asked]
    return f"{labels[0]} of {task['prompt']}" if labels else ""


@pytest.fixture(params=["sqlite", "postgresql"])
def upgraded(request: pytest.FixtureRequest, tmp_path: Path, start_server: Any) -> Iterator[Upgraded]:
    """On either database."""
    if request.param == "sqlite":
        it = Upgraded(tmp_path, f"sqlite:///{tmp_path}/old.db", start_server)
        yield it
        it.close()
        return
    with fresh_database(request.getfixturevalue("postgres_server")) as url:
        it = Upgraded(tmp_path, url, start_server)
        yield it
        it.server.kill()  # it holds connections to the database that is dropped
        it.close()


def test_each_submission_of_a_killed_0_1_0_is_sent_once_and_people_go_on_with_the_rest(
    upgraded: Upgraded, eventually: Any
) -> None:
    """What waited leaves when it is due, what the upstream's list shows is not paid again, and nothing leaves twice after a crash."""
    server, upstream = upgraded.server, upgraded.upstream
    soon = [upgraded.one(asked_by="rule:soon"), upgraded.one(asked_by="house:presses_later", label="U3")]
    later = [
        upgraded.one(asked_by="rule:much-later"),
        upgraded.one(asked_by="house:presses_later", label="U4"),
    ]
    listed = {one["id"]: one for one in json.loads(upgraded.hookchain("waiting", "list", "--json"))}
    assert {listed[one["id"]]["why"] for one in later} == {"scheduled"}

    # By itself
    eventually(lambda: sum(upgraded.sent().values()) >= 4)
    lost = {"a dog, lost, hung up", "held and lost when it died"}  # the upstream's list does not show them
    eventually(lambda: upgraded.uncertain().keys() == lost)
    by_itself = Counter(
        {
            ("action", "V1 of a dog"): 1,
            ("action", "U3 of a horse"): 1,
            ("action", "V1 of a horse"): 1,  # the plugin had raised `Retry`
            ("imagine", "queue is full"): 1,
        }
    )
    assert upgraded.sent() == by_itself
    sent_ms = {one.asked: one.at_ms for one in upstream.known.submits[len(upgraded.sent_before) :]}
    for one in soon:
        due_ms = datetime.fromisoformat(one["run_at"]).timestamp() * 1000
        assert sent_ms[one["request"]["custom_id"]] >= due_ms
    for prompt in ("a dog in the dark, hung up", "held when it died"):
        assert upgraded.by_prompt(prompt)["state"] == "accepted"
    eventually(lambda: len(upgraded.told.bodies) == 1)

    # A callback to the hook of a submission that 0.1.0 sent
    turtle = next(task for task in upstream.known.tasks.values() if task["prompt"] == "slow turtle")
    turtle |= {"status": "SUCCESS", "progress": "100%"}
    hook = turtle["properties"]["notifyHook"].split("/notify/")[1]
    upstream.call_back(turtle, f"{server.url}/notify/{hook}")
    eventually(lambda: server.get(f"/api/tasks/main/{turtle['id']}")["status"] == "SUCCESS")

    # By hand
    for letter in server.get("/api/dead-letters")["dead_letters"]:
        assert server.http.post(f"/api/dead-letters/{letter['id']}/retry").status_code == 202
    for id_ in upgraded.uncertain().values():
        answer = server.http.post(f"/api/uncertain/{id_}/settle", json={"accepted": False})
        assert answer.status_code == 202, answer.text
    (refused,) = server.get("/api/refused")["refused"]
    assert server.http.post(f"/api/refused/{refused['id']}/release").status_code in (200, 202)
    window = upgraded.one(asked_by="rule:window")
    server.submit(kind="modal", task_id=window["task_ids"][0], prompt="a cat from afar")
    upgraded.hookchain("waiting", "send-now", later[0]["id"])
    upgraded.hookchain("waiting", "drop", later[1]["id"])
    by_hand = Counter(
        {
            ("imagine", "a dog, lost, hung up"): 1,
            ("imagine", "held and lost when it died"): 1,
            ("imagine", "a horse without a key"): 1,
            ("action", "U4 of a bird"): 1,
            ("modal", "a cat from afar"): 1,
            ("action", "V2 of a dog"): 1,
        }
    )
    eventually(lambda: upgraded.sent() == by_itself + by_hand)
    eventually(lambda: not server.get("/api/deliveries?state=dead")["deliveries"])
    assert server.get("/api/dead-letters")["dead_letters"] == []
    assert server.get("/api/waiting")["waiting"] == []

    # Again after a crash
    server.kill()
    upgraded.server = server = upgraded.start()
    server.submit(kind="imagine", prompt="the last", upstream="main")
    eventually(lambda: upgraded.by_prompt("the last")["state"] == "accepted")
    assert upgraded.sent() == by_itself + by_hand + Counter({("imagine", "the last"): 1})


def test_every_row_of_0_1_0_can_be_looked_at(upgraded: Upgraded) -> None:
    """By the API, by `explain`, and on the pages."""
    server = upgraded.server

    def rows(what: str, key: str = "") -> list[Any]:
        found: list[Any] = server.get(f"/api/{what}?limit=500")[key or what.replace("-", "_")]
        assert found, what
        return found

    tasks, chains = rows("tasks"), rows("chains")
    looked_at = [
        *(f"/api/tasks/main/{one['id']}" for one in tasks),
        *(f"/api/explain/{one['id']}" for one in tasks),
        *(f"/tasks/main/{one['id']}" for one in tasks),
        *(f"/chains/of/main/{one['id']}" for one in tasks),
        *(f"/api/chains/{one['id']}" for one in chains),
        *(f"/chains/{one['id']}" for one in chains),
        *(f"/api/events/{one['id']}" for one in rows("events")),
        *(f"/api/submissions/{one['id']}" for one in rows("submissions")),
        *(f"/api/deliveries/{one['id']}" for one in rows("deliveries")),
        *(f"/api/dead-letters/{one['id']}" for one in rows("dead-letters")),
        *(f"/api/quarantine/{one['id']}" for one in rows("quarantine")),
        *(
            "/",
            "/operations",
            "/rules",
            "/setup",
            "/metrics",
            "/api/waiting",
            "/api/refused",
            "/api/uncertain",
        ),
        *("/api/costs", "/api/rules", "/api/plugins", "/api/traffic", "/api/upstreams"),
    ]
    lists = ("tasks", "chains", "events", "submissions", "deliveries", "dead-letters", "quarantine")
    looked_at += [*(f"/api/{one}?limit=500" for one in lists), "/readyz"]
    wrong, answered = [], set()
    for path in looked_at:
        answer = server.http.get(path, follow_redirects=True)
        if answer.status_code != 200:
            wrong.append((path, answer.status_code, answer.text[:300]))
        elif answer.headers["content-type"].startswith("application/json"):
            answered |= {f"{_route(path)} {field}" for field in _fields(answer.json())}
    assert wrong == []
    assert "rule:soon" in upgraded.hookchain("explain", tasks[-1]["id"])
    before = set((released.KILLED / "api.txt").read_text().splitlines())
    assert before - answered == set()


def _route(path: str) -> str:
    """Without the id and the query."""
    parts = path.partition("?")[0].split("/")
    return "/".join([*parts[:3], *([""] if len(parts) > 3 else [])])


def _fields(value: Any, at: str = "") -> Iterator[str]:
    """The fields of an answer, such as "tasks[].id"."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _fields(inner, f"{at}.{key}" if at else key)
    if isinstance(value, list):
        yield f"{at}[]"
        for inner in value:
            yield from _fields(inner, f"{at}[]")
    elif at:
        yield at
