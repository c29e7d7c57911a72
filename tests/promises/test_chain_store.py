"""A plugin that counts what its chain has made, end to end: a server, a plugin file, a sandbox, and its ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import client
from tests.support.tried import SERVE, Case, comes_of, run

PLUGIN = '''
"""Upscale all four, and ask for one more grid once all of them are there: by counting, whichever comes last."""

from hookchain import task_succeeded


@task_succeeded.connect_via("IMAGINE")
def begin(action, *, task, chain, **_):
    if "prompt" not in chain.store:
        chain.store["prompt"] = task.prompt
        chain.press("U*")


@task_succeeded.connect_via("UPSCALE")
async def count(action, *, task, chain, **_):
    done = chain.store.setdefault("done", [])
    done.append(task.image_number)
    if len(done) == 4:
        chain.imagine(f"again: {chain.store['prompt']}")


@task_succeeded.connect
def remember(action, *, chain, **_):
    chain.store["heard"] = chain.store.get("heard", 0) + 1
'''


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_plugin_counts_the_pictures_of_its_chain(
    request: pytest.FixtureRequest,
    start_server: Any,
    eventually: Any,
    tmp_path: Path,
    kind: str,
) -> None:
    """The upscales end at nearly the same moment, and three receivers change the store; the fourth picture asks for more, once."""
    environment: dict[str, str] = {}
    if kind == "postgres":
        environment["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "counting.py").write_text(PLUGIN)
    server = start_server(command=SERVE, **environment)
    sandbox = client(server.find(r"built-in sandbox at (http://[^,\s]+)"))
    run(["imagine", "a cat"], tmp_path, {"PORT": server.url.rpartition(":")[2]})
    case = Case(
        tasks={"IMAGINE": 2, "UPSCALE": 4}, presses={"upscale": 4}, imagines=("a cat", "again: a cat")
    )
    comes_of(case, server, sandbox, eventually, [], tmp_path)
    (made,) = server.get("/api/chains")["chains"]
    store = server.get(f"/api/chains/{made['id']}")["store"]
    assert (store["prompt"], sorted(store["done"]), store["heard"]) == ("a cat", [1, 2, 3, 4], 6)
    decisions = [one["decision"] for one in server.get("/api/deliveries?limit=100")["deliveries"]]
    assert sum("kept in chain.store: heard = " in one for one in decisions) == 6
    sandbox.close()
