"""A receiver ends the process, again and again: whatever else ran in it is done, and only that receiver's delivery is charged."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import PATIENCE_S
from tests.promises.test_crashes import finished_grid

RULES = (Path(__file__).parent.parent.parent / "hookchain.toml").read_text()
PLUGIN = """
import asyncio
import os

from hookchain import receiver, task_succeeded

begun = asyncio.Event()


@task_succeeded.connect_via("IMAGINE")
@receiver(timeout_s=0.5)
async def deadly(action, **_):
    if not os.path.exists("has-died"):
        await begun.wait()
        open("has-died", "x").close()
    os._exit(3)


@task_succeeded.connect_via("IMAGINE")
async def innocent(action, **_):
    begun.set()
    if os.path.exists("has-died"):
        return
    await asyncio.Event().wait()


@task_succeeded.connect_via("IMAGINE")
@receiver(attempts=1)
async def interrupts(action, **_):
    raise KeyboardInterrupt
"""


@pytest.fixture
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of the servers on one database."""
    if request.param == "sqlite":
        return {}
    return {"DATABASE_URL": request.getfixturevalue("postgres_url")}


def deliveries(server: Any) -> dict[str, Any]:
    """Those of the grid, by receiver; none while the server is ending."""
    try:
        found = server.get("/api/deliveries?limit=100")["deliveries"]
    except httpx.HTTPError:
        return {}
    return {one["receiver"]: one for one in reversed(found)}  # the grid's are the oldest


def ended_or(server: Any, question: Callable[[], bool]) -> bool:
    return not server.is_running or question()


def settled(found: dict[str, Any], deaths: int) -> bool:
    """Whether the deadly receiver was charged at least so often, alone, and the others came to their ends meanwhile."""
    deadly = found.get("mixed:deadly", {})
    times = re.search(r"alone \((\d+) of 5 times\)", deadly.get("decision", ""))
    charged = deadly.get("state") == "dead" or (times is not None and int(times[1]) >= deaths)
    ends = {"mixed:innocent": "done", "mixed:interrupts": "dead", "rule:upscale-all": "done"}
    return charged and all(found.get(name, {}).get("state") == end for name, end in ends.items())


# On PostgreSQL it takes ten seconds each time until a worker is given up, and the pauses grow with that.
@pytest.mark.parametrize(
    ("environment", "deaths"),
    [
        ("sqlite", 2),
        pytest.param("sqlite", 5, marks=pytest.mark.soak),
        pytest.param("postgres", 2, marks=pytest.mark.soak),
    ],
    indirect=["environment"],
)
def test_only_the_receiver_that_ends_the_process_is_charged(
    start_sandbox: Any,
    start_server: Any,
    eventually: Any,
    tmp_path: Path,
    environment: dict[str, str],
    deaths: int,
) -> None:
    """The process is started again whenever it has ended; the others are done, and follow-ups are paid for once."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mixed.py").write_text(PLUGIN)
    sandbox = start_sandbox("--speed", "50", "--seed", "3")
    toml = f'{RULES}\n[upstreams.main]\nurl = "{sandbox.url}"\nsettle_after_s = 1.0\n'
    server = start_server(toml=toml, **environment)
    payload = finished_grid(sandbox, eventually)
    assert httpx.post(server.hook, content=payload, timeout=PATIENCE_S, verify=False).status_code == 200
    assert server.wait() == 3  # the first time, with others

    starts, found = 0, dict[str, Any]()

    def shows_the_end() -> bool:
        found.update(deliveries(server))
        return settled(found, deaths)

    while not settled(found, deaths):
        starts += 1
        server = start_server(**environment)
        eventually(lambda server=server: ended_or(server, shows_the_end), within_s=120)
    # More than the deaths where its deliveries came one by one, and each ended the process first among others.
    assert starts > deaths
    assert "alone_at_the_time" in server.output
    assert "KeyboardInterrupt" in found["mixed:interrupts"]["error"]
    eventually(
        lambda: len(sandbox.accepted("/action")) >= 4
    )  # one after the other: upscales of a grid have a lane
    assert sorted(body["customId"].split("::")[3] for body in sandbox.accepted("/action")) == list("1234")
    if deaths == 5:
        eventually(lambda: deliveries(server)["mixed:deadly"]["state"] == "dead", within_s=180)
        assert "os._exit" in deliveries(server)["mixed:deadly"]["error"]
