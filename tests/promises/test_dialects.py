"""A whole chain in every dialect: imagine, four upscales, a variation, and a modal where there are buttons.

Once against a server without faults, and once against a rough one; the sandbox's ledger is the judge of both.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

DIALECTS = ["mj-plus", "novicezk", "mj-proxy-2", "trueai", "new-api", "147ai", "v1-relay", "wenwen"]
WITHOUT_BUTTONS = ("novicezk", "mj-proxy-2")

# One set of rules for all of them: it does not know which dialects have buttons.
RULES = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"

[[rules]]
name = "vary"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "V2"

[[rules]]
name = "zoom"
on = "task.succeeded"
if = "task.action == 'UPSCALE' and task.image_number == 1"
press = "custom_zoom"

[[rules]]
name = "answer"
on = "submission.needs_modal"
modal = { prompt = "{{ modal.prompt }} --zoom 1.8" }
"""
UPSTREAM = """
[upstreams.main]
url = "{url}"
key = "sk-1"
dialect = "{dialect}"
timeout_s = 3
settle_after_s = 0.5
look_after_s = 0.3
quiet_s = 0.7
"""
# new-api drops the hook, and has no list: what is lost on the way to it cannot be proven.
NO_EVIDENCE = "duplicate,delay,drop,late-progress,twice,429=0.05,queue-full=0.05"


def faults_of(dialect: str) -> str:
    return NO_EVIDENCE if dialect == "new-api" else "rough"


@pytest.mark.parametrize(
    ("dialect", "rough"),
    [
        pytest.param(
            dialect,
            rough,
            id=f"{dialect}-{'rough' if rough else 'quiet'}",
            marks=[pytest.mark.soak] if rough else [],
        )
        for dialect in DIALECTS
        for rough in (False, True)
    ],
)
def test_a_chain_grows_whole(
    start_sandbox: Any, start_server: Any, eventually: Any, dialect: str, rough: bool
) -> None:
    """Each button once, by its own customId or index; the modal once; nothing lost, nothing twice."""
    options = ["--faults", faults_of(dialect)] if rough else []
    sandbox = start_sandbox(
        "--dialect", dialect, "--secret", "sk-1", "--speed", "20", "--seed", "11", *options
    )
    server = start_server(toml=RULES + UPSTREAM.format(url=sandbox.url, dialect=dialect))
    submission = server.submit(kind="imagine", prompt="a cat")
    tasks = 6 if dialect in WITHOUT_BUTTONS else 7  # no buttons: nothing to zoom with

    def grown() -> bool:
        chain = server.get(f"/api/chains/{submission['chain_id']}")
        done = [task for task in chain["tasks"] if task["status"] == "SUCCESS"]
        return len(done) == tasks and len(chain["tasks"]) == tasks

    eventually(grown)
    billed = sandbox.ledger()["billed"]
    if dialect in WITHOUT_BUTTONS:
        pressed = Counter((body["action"], body["index"]) for body in sandbox.accepted("/change"))
        assert pressed == Counter([*(("UPSCALE", n) for n in (1, 2, 3, 4)), ("VARIATION", 2)])
        assert (billed["imagine"], billed["change"], billed["modal"]) == (1, 5, 0)
    else:
        verbs = Counter("::".join(body["customId"].split("::")[1:4]) for body in sandbox.accepted("/action"))
        ups = {verb: count for verb, count in verbs.items() if verb.startswith("JOB::upsample")}
        assert ups == {f"JOB::upsample::{n}": 1 for n in (1, 2, 3, 4)}
        assert verbs["JOB::variation::2"] == 1
        assert (billed["imagine"], billed["action"], billed["modal"]) == (1, 5, 1)
    assert all(
        entry["path"].startswith(PREFIX.get(dialect, "/mj")) for entry in sandbox.ledger()["submissions"]
    )


PREFIX = {"v1-relay": "/v1/mj"}
