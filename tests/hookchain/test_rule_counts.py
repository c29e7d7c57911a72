"""How often rules and their effects fired, or would have: in `rules list` and in `rules try`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hookchain.cli.rules_counts import counts_text, never_fired, never_fired_in, parts_of
from hooks.api.reports import Receiver, Rule, Rules
from tests.support import command

TOML = """
[[rules]]
name = "keep"
on = "task.succeeded"
archive = "kept"

[[rules]]
name = "up"
on = "task.succeeded"
if = "task.is_grid"
press = "U1"
archive = "grids"

[[rules]]
name = "tell"
on = "task.failed"
forward = "http://127.0.0.1:9/"

[upstreams.main]
url = "{url}"
private_hosts = ["127.0.0.1"]
"""


@pytest.mark.process
def test_effects_are_counted_and_idle_rules_are_named(
    tmp_path: Path, start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """One grid and one upscale: both are kept, the grid is also kept apart, nothing fails. What rules try would say of it is the
    same, and it keeps and submits nothing."""
    sandbox = start_sandbox("--speed", "40", "--seed", "5")
    server = start_server(toml=TOML.format(url=sandbox.url))
    server.submit(kind="imagine", prompt="a cat")
    # The grid and its upscale each have a delivery to keep, to up and to up's effect.
    eventually(lambda: len(server.get("/api/deliveries?state=done")["deliveries"]) == 6)
    port = server.url.rsplit(":", 1)[-1]
    listed = command.run(tmp_path, "rules", "list", PORT=port).stdout.splitlines()
    assert listed[0].endswith("\tarchive fired 2 of 2 times, 0 dead")
    assert listed[1].endswith("\tfired 1 of 2 times, 0 dead; archive fired 1 of 2 times, 0 dead")
    assert listed[3:] == ["never fired in the deliveries that are still stored: tell"]
    kept = sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".db")
    tried = command.run(tmp_path, "rules", "try", "hookchain.toml", "--since", "1h")
    assert tried.returncode == 0, tried.stderr
    effects = [line.split() for line in tried.stdout.splitlines() if "/archive" in line]
    assert effects == [["rule:keep/archive", "2"], ["rule:up/archive", "1"]]
    assert tried.stdout.splitlines()[-1] == "would never have fired: tell"
    found = json.loads(command.run(tmp_path, "rules", "try", "hookchain.toml", "--json").stdout)
    assert found["fired"] == {"rule:keep/archive": 2, "rule:up": 1, "rule:up/archive": 1}
    assert found["never_fired"] == ["tell"]
    assert (
        sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".db") == kept
    )


def receiver(name: str, **counts: int) -> Receiver:
    return Receiver(name=name, loaded=True, signals=[], **counts)


def test_a_rule_has_the_receivers_of_its_own_name_only() -> None:
    """A rule whose name begins with another's has nothing to do with it."""
    receivers = {
        one.name: one
        for one in (
            receiver("rule:up", done=3, fired=1),
            receiver("rule:up/notify", done=3, dead=1),
            receiver("rule:upper", done=9, fired=9),
        )
    }
    parts = parts_of("up", receivers)
    assert sorted(parts) == ["", "notify"]
    assert counts_text(parts) == "fired 1 of 3 times, 0 dead; notify fired 0 of 3 times, 1 dead"
    assert counts_text({}) == "fired 0 of 0 times, 0 dead"


def test_a_rule_that_only_has_effects_fires_by_them() -> None:
    """In both reports."""
    rules = [Rule(name=name, where="", on="", condition="", does=[]) for name in ("a", "b", "c")]
    receivers = [receiver("rule:a/notify", done=1, fired=1), receiver("rule:b", done=1)]
    report = Rules(file="", error="", loaded_at=None, rules=rules, receivers=receivers)
    assert never_fired(report) == ["b", "c"]
    assert never_fired_in(["a", "b", "c"], {"rule:a/notify": 1, "rule:b": 0}) == ["b", "c"]
