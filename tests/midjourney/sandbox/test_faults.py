"""Each fault does what it says, and follows from the seed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest

from midjourney.failures import failure_kind
from midjourney.sandbox.faults import SWITCHES, Faults, parse
from tests.support.hook import Hook

SPEED = ("--speed", "50", "--seed", "2")
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="


def imagine(client: httpx.Client, hook: Hook) -> httpx.Response:
    return client.post("/mj/submit/imagine", json={"prompt": "a cat", "notifyHook": hook.url})


def listed(client: httpx.Client) -> Any:
    return client.get("/mj/task/list").json()


def ended(client: httpx.Client) -> Any:
    """All tasks, once all have ended."""
    tasks = listed(client)
    return tasks if tasks and all(task["status"] in ("SUCCESS", "FAILURE") for task in tasks) else None


def told(sandbox: Any, hook: Hook, eventually: Any) -> None:
    """Wait until every callback that was begun has arrived, and the task has ended."""
    eventually(lambda: ended(sandbox.http))
    eventually(lambda: len(hook.bodies) == sandbox.ledger()["callbacks"])


def test_without_faults_each_state_is_told(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """SUBMITTED, nine steps, SUCCESS; two of them may be merged, since a body is written when its turn comes."""
    sandbox = start_sandbox(*SPEED)
    imagine(sandbox.http, hook)
    eventually(lambda: ("SUCCESS", "100%") in hook.statuses())
    told(sandbox, hook, eventually)
    assert len(hook.bodies) == 11


def test_duplicate(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """Three of each."""
    sandbox = start_sandbox(*SPEED, "--faults", "duplicate")
    imagine(sandbox.http, hook)
    eventually(lambda: len(hook.bodies) == 33)


def test_reorder(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """Nothing before the end, then everything, SUCCESS not last."""
    sandbox = start_sandbox(*SPEED, "--faults", "reorder")
    imagine(sandbox.http, hook)
    eventually(lambda: len(hook.bodies) == 11)
    steps = [body["progress"] for body in hook.bodies]
    assert steps != sorted(steps, key=lambda step: int(step[:-1]))


def test_drop_and_delay(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """All lost with drop=1; all late, and so out of order, with delay=1."""
    sandbox = start_sandbox(*SPEED, "--faults", "drop=1")
    imagine(sandbox.http, hook)
    eventually(lambda: ended(sandbox.http))
    assert sandbox.ledger()["callbacks"] == 0
    late = start_sandbox(*SPEED, "--faults", "delay=1")
    imagine(late.http, hook)
    eventually(lambda: len(hook.bodies) == 11)


def test_late_progress_and_twice(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """After SUCCESS an older state; and SUCCESS again with another image address."""
    sandbox = start_sandbox(*SPEED, "--faults", "late-progress,twice")
    imagine(sandbox.http, hook)
    eventually(lambda: len(hook.bodies) == 13)
    states = [body["status"] for body in hook.bodies]
    assert states.count("SUCCESS") == 2
    images = {body["imageUrl"] for body in hook.bodies if body["status"] == "SUCCESS"}
    assert len(images) == 2
    assert all(sandbox.http.get(image).status_code == 200 for image in images)


def test_forget_and_restart(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """What was queued is gone; the task ends all the same."""
    sandbox = start_sandbox(*SPEED, "--faults", "delay=1,forget=1")
    imagine(sandbox.http, hook)
    eventually(lambda: ended(sandbox.http))
    assert len(hook.bodies) < 11
    assert sandbox.http.post("/sandbox/restart").json() == {"status": "restarted"}


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [("timeout", 504, b""), ("error", 500, b"Internal"), ("html", 200, b"<html>"), ("empty", 200, b"")],
)
def test_a_submit_that_is_accepted_without_saying_so(
    start_sandbox: Any, hook: Hook, eventually: Any, fault: str, status: int, start: bytes
) -> None:
    """The task is there, billed, and calls."""
    sandbox = start_sandbox(*SPEED, "--faults", f"{fault}=1")
    answer = imagine(sandbox.http, hook)
    assert (answer.status_code, answer.content[: len(start)]) == (status, start)
    assert b"code" not in answer.content
    eventually(lambda: hook.bodies)
    assert sandbox.ledger()["billed"]["imagine"] == 1


@pytest.mark.parametrize(
    ("dialect", "fault", "status", "code"),
    [
        ("mj-plus", "429=1", 429, 30),
        ("mj-plus", "queue-full=1", 200, 23),
        ("trueai", "queue-full=1", 200, 9),
        ("new-api", "queue-full=1", 400, 23),
        ("mj-plus", "banned=1", 200, 24),
    ],
)
def test_a_submit_that_is_refused(
    start_sandbox: Any, hook: Hook, dialect: str, fault: str, status: int, code: int
) -> None:
    """No task, nothing billed."""
    sandbox = start_sandbox(*SPEED, "--dialect", dialect, "--faults", fault)
    answer = imagine(sandbox.http, hook)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert sandbox.ledger()["billed"]["imagine"] == 0


def test_failure(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """With a reason, and no buttons."""
    sandbox = start_sandbox(*SPEED, "--faults", "failure=1")
    imagine(sandbox.http, hook)
    (task,) = eventually(lambda: ended(sandbox.http))
    assert (task["status"], task["progress"], task["buttons"]) == ("FAILURE", "", [])
    assert task["failReason"]


@pytest.mark.parametrize("dialect", ["mj-plus", "trueai", "wenwen"])
def test_what_is_moderated_later(start_sandbox: Any, hook: Hook, eventually: Any, dialect: str) -> None:
    """Accepted and billed, then refused because of its content, in words that differ; nothing but imagines is."""
    sandbox = start_sandbox(*SPEED, "--dialect", dialect, "--faults", "moderated=1")
    for _ in range(9):
        assert imagine(sandbox.http, hook).json()["code"] in (1, 22)
    sandbox.http.post("/mj/submit/describe", json={"base64": PIXEL, "notifyHook": hook.url})

    def ends() -> dict[str, str]:
        final = [body for body in hook.bodies if body["status"] in ("SUCCESS", "FAILURE")]
        return {body["id"]: f"{body['action']} {body['failReason']}" for body in final}

    eventually(lambda: len(ends()) == 10)
    words = Counter(ends().values())
    assert words.pop("DESCRIBE None") == 1
    assert len(words) == 3
    assert all(failure_kind(text.removeprefix("IMAGINE ")) == "moderation" for text in words)
    assert sandbox.ledger()["billed"]["imagine"] == 9


def test_big_ids(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """Numbers above 2^53 in the answer, the callbacks and the fetch, and all the same number."""
    sandbox = start_sandbox(*SPEED, "--faults", "big-ids")
    made = imagine(sandbox.http, hook).json()["result"]
    assert isinstance(made, int)
    assert made > 2**53
    eventually(lambda: hook.bodies)
    assert {body["id"] for body in hook.bodies} == {made}
    assert sandbox.http.get(f"/mj/task/{made}/fetch").json()["id"] == made


def test_expired(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """The callback's address is gone, that of a fetch is good; both are signed, with the & at the end."""
    sandbox = start_sandbox(*SPEED, "--faults", "expired")
    imagine(sandbox.http, hook)
    eventually(lambda: ("SUCCESS", "100%") in hook.statuses())
    gone = next(body["imageUrl"] for body in hook.bodies if body["status"] == "SUCCESS")
    assert gone.endswith("&")
    answer = sandbox.http.get(gone)
    assert (answer.status_code, answer.text) == (404, "This content is no longer available.")
    (task,) = eventually(lambda: ended(sandbox.http))
    assert sandbox.http.get(task["imageUrl"]).content.startswith(b"\x89PNG")


def test_an_expired_video(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """Four videos: their addresses in the callback are gone, those of a fetch are good, and each is another."""
    sandbox = start_sandbox(*SPEED, "--dialect", "trueai", "--faults", "expired")
    sandbox.http.post("/mj/submit/video", json={"image": PIXEL, "notifyHook": hook.url})
    eventually(lambda: ("SUCCESS", "100%") in hook.statuses())
    told = next(body for body in hook.bodies if body["status"] == "SUCCESS")["videoUrls"]
    assert [sandbox.http.get(video["url"]).status_code for video in told] == [404] * 4
    (task,) = eventually(lambda: ended(sandbox.http))
    videos = [sandbox.http.get(video["url"]) for video in task["videoUrls"]]
    assert {video.headers["content-type"] for video in videos} == {"image/gif"}
    assert all(video.content.startswith(b"GIF89a") for video in videos)
    assert len({video.content for video in videos}) == 4
    beyond = task["videoUrls"][0]["url"].replace("/video/1/", "/video/5/")
    assert sandbox.http.get(beyond).status_code == 404


def test_rough_is_a_profile_of_known_faults_that_can_be_lived_through() -> None:
    """It fails no task and bans no prompt; what follows it changes single faults."""
    faults = parse("rough,drop=0,twice=1", 1)
    assert faults.on["drop"] == 0
    assert not faults.has("drop")
    assert faults.on["twice"] == 1
    assert not {"failure", "banned", "silent", "swap"} & faults.on.keys()
    assert set(faults.on) <= set(SWITCHES)


def test_the_seed_decides() -> None:
    """The same for the same seed, other for another; as often as the probability says."""
    one, same, other = (Faults(on={"drop": 0.3}, seed=seed) for seed in (1, 1, 2))
    strikes = [one.strikes("drop", number) for number in range(2000)]
    assert strikes == [same.strikes("drop", number) for number in range(2000)]
    assert strikes != [other.strikes("drop", number) for number in range(2000)]
    assert 500 < sum(strikes) < 700


def test_a_hook_that_cannot_be_called_silences_no_other(
    start_sandbox: Any, hook: Hook, eventually: Any
) -> None:
    """This host's name fails otherwise than HTTP does, as does a connection that is gone as soon as it is made."""
    sandbox = start_sandbox(*SPEED, "--queue", "30")
    for _ in range(3):
        sandbox.http.post("/mj/submit/imagine", json={"prompt": "a cat", "notifyHook": "http://xn--/"})
    eventually(lambda: ended(sandbox.http))
    imagine(sandbox.http, hook)
    eventually(lambda: ("SUCCESS", "100%") in hook.statuses())
    eventually(lambda: sandbox.ledger()["callbacks_taken"] == len(hook.bodies))
    assert sandbox.ledger()["callbacks_taken"] < sandbox.ledger()["callbacks"]
