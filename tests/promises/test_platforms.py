"""What platforms do to a process: two at once on one file, SIGINT, no time to stop, a disk that is emptied."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import PATIENCE_S
from tests.support import command

RULES = (Path(__file__).parent.parent.parent / "hookchain.toml").read_text()
UPSTREAM = """
[upstreams.main]
url = "{url}"
timeout_s = 3
settle_after_s = 1.0
look_after_s = 0.5
quiet_s = 1.0
list_lag_s = 3  # a press may have been noted just before the kill, and never have left
"""


def imagine(server: Any, number: int) -> None:
    server.http.post(
        "/api/submissions",
        json={"kind": "imagine", "prompt": f"cat {number}"},
        headers={"idempotency-key": f"cat-{number}"},
    ).raise_for_status()


def complete(server: Any, chains: int) -> bool:
    tasks = server.get("/api/tasks?status=SUCCESS&limit=200")["tasks"]
    return len([task for task in tasks if task["chain_id"]]) == 5 * chains


def assert_each_once(sandbox: Any, chains: int) -> None:
    imagined = Counter(body["prompt"] for body in sandbox.accepted("/imagine"))
    pressed = Counter((body["taskId"], body["customId"]) for body in sandbox.accepted("/action"))
    assert imagined == {f"cat {number}": 1 for number in range(chains)}
    assert len(pressed) == 4 * chains
    assert set(pressed.values()) == {1}


def test_the_old_and_the_new_process_on_one_file_run_nothing_twice(
    start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """Dokku leaves the old container beside the new one for 60 s: both receive, one works, then the other."""
    sandbox = start_sandbox("--speed", "20")
    old = start_server(toml=RULES + UPSTREAM.format(url=sandbox.url))
    imagine(old, 0)
    eventually(lambda: sandbox.accepted("/imagine"))
    new = start_server()
    assert any("takes over when that process ends" in line for line in new.lines)
    assert new.http.get("/readyz").status_code == 200  # else the platform would not let the old one go
    imagine(new, 1)
    imagine(old, 2)
    eventually(lambda: len(sandbox.accepted("/imagine")) == 3)
    old.stop()
    imagine(new, 3)
    eventually(lambda: complete(new, 4))
    assert_each_once(sandbox, 4)


def test_the_new_process_takes_over_from_one_that_is_killed(
    start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """At once: the system gives the lock back."""
    sandbox = start_sandbox("--speed", "20")
    old = start_server(toml=RULES + UPSTREAM.format(url=sandbox.url))
    new = start_server()
    imagine(old, 0)
    eventually(lambda: old.get("/api/tasks")["tasks"])  # a list can disprove what is younger than this one
    for number in (1, 2, 3):
        imagine(old, number)
    old.kill()
    eventually(lambda: complete(new, 4))
    assert_each_once(sandbox, 4)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_by_either_signal(start_server: Any, number: signal.Signals) -> None:
    """Fly.io sends SIGINT."""
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    os.kill(server.pid, number)
    assert server.wait() == 0
    assert "Traceback" not in server.output


def test_an_open_stream_does_not_hold_up_the_stop(start_server: Any) -> None:
    """Somebody sends a callback a byte a second, and others keep their connections open."""
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    idle = httpx.Client(base_url=server.url, timeout=PATIENCE_S, verify=False, trust_env=False)
    idle.get("/healthz")

    def slowly() -> Any:
        yield b"{"
        began = time.monotonic()
        server._process.send_signal(signal.SIGTERM)
        server.wait()
        took.append(time.monotonic() - began)
        yield b"}"

    took: list[float] = []
    with pytest.raises(httpx.HTTPError):
        httpx.post(
            server.hook, content=slowly(), trust_env=False, timeout=PATIENCE_S, verify=False
        ).raise_for_status()
    idle.close()
    assert took


def test_health_is_answered_with_200_while_nothing_else_works(start_server: Any, tmp_path: Path) -> None:
    """Railway wants exactly 200. Readiness reports the database, well within Render's 5 s, and restarts no container."""
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    assert server.http.get("/healthz").status_code == 200
    (tmp_path / "hookchain.db").rename(tmp_path / "away.db")
    began = time.monotonic()
    assert server.http.get("/readyz").status_code == 503
    assert time.monotonic() - began < 5
    assert server.http.get("/healthz").status_code == 200
    port = server.url.rsplit(":")[-1]
    alive = command.run(tmp_path, "healthcheck", PORT=port)
    assert (alive.returncode, alive.stdout) == (0, "ok\n")
    assert command.run(tmp_path, "healthcheck", "--ready", PORT=port).returncode == 1


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"DYNO": "web.1"}, "Heroku"),
        ({"RENDER": "true"}, "Render"),
        ({"RAILWAY_ENVIRONMENT_ID": "x"}, "Railway"),
        ({"FLY_APP_NAME": "x"}, "Fly.io"),
        ({"ZEABUR_SERVICE_ID": "x"}, "Zeabur"),
    ],
)
def test_sqlite_on_a_disk_that_is_emptied_is_warned_about_loudly(
    start_server: Any, tmp_path: Path, variables: dict[str, str], name: str
) -> None:
    """At every start, until a volume is declared or the database is elsewhere."""
    nowhere = {"HOOKCHAIN_UPSTREAM_URL": "http://127.0.0.1:9"}
    told = f"is on the disk of {name}, which every restart empties"
    assert any(told in line for line in start_server(**variables, **nowhere).lines)
    declared = start_server(**variables, **nowhere, HOOKCHAIN_VOLUME=str(tmp_path))
    assert not any(told in line for line in declared.lines)


def test_behind_a_router_a_forged_header_makes_nobody_local(start_server: Any) -> None:
    """Headers of the router are believed on a platform; without the token nobody is let in all the same."""
    server = start_server(DYNO="web.1", HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    forged = {"x-forwarded-for": "127.0.0.1", "host": "localhost"}
    assert server.http.get("/api/tasks", headers=forged).status_code == 401


def test_the_address_that_the_platform_gives_is_the_one_to_register(start_server: Any) -> None:
    """Nobody has to tell it again; what is configured goes before it."""
    server = start_server(
        RAILWAY_ENVIRONMENT_ID="x",
        RAILWAY_PUBLIC_DOMAIN="mine.up.railway.app",
        HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9",
    )
    assert server.hook.startswith("https://mine.up.railway.app/notify/")
