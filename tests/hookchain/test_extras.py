"""hookchain without its extras, in an environment that lacks them: all works but what needs them, which says so early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.installed import Installed, install

RULES = """[[rules]]
name = "upscale-first"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U1"

[[rules]]
name = "keep"
on = "task.succeeded"
archive = "{to}"

[[rules]]
name = "tell"
on = "task.failed"
{tell}
"""
FORWARD = 'forward = "http://127.0.0.1:9"'
NOTIFY = 'notify = ["json://127.0.0.1"]'


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel and what it requires, without apprise and obstore."""
    made = install(tmp_path_factory.mktemp("bare"), wheel, without=("apprise", "obstore"))
    for library in ("apprise", "obstore"):
        assert made.run(made.folder, made.python, "-c", f"import {library}").returncode == 1
    return made


@pytest.mark.parametrize(
    ("to", "tell", "where", "extra"),
    [
        ("pictures", NOTIFY, "hookchain.toml:15, rule \"tell\", key 'notify'", "notify"),
        ("s3://bucket/pictures", FORWARD, "hookchain.toml:10, rule \"keep\", key 'archive'", "s3"),
    ],
)
def test_a_rule_that_needs_an_extra_is_a_mistake(
    bare: Installed, tmp_path: Path, to: str, tell: str, where: str, extra: str
) -> None:
    """Found by whatever reads rules, before a server starts, with file, line, rule, and the command that installs it."""
    (tmp_path / "hookchain.toml").write_text(RULES.format(to=to, tell=tell))
    for refused in bare.run_each(tmp_path, ("rules", "check"), ("serve", "--port", "0"), ("migrate",)):
        checks = "check" in refused.args  # which also lists the rules that are right
        assert (refused.returncode, refused.stdout == "") == (2, not checks), refused.args
        assert refused.stderr.startswith(f'hookchain: {where}: this needs the extra "{extra}"'), refused.args
        assert refused.stderr.endswith(f"Run: pip install 'hookchain[{extra}]'.\n"), refused.args
        assert not (tmp_path / "hookchain.db").exists(), refused.args


def test_chains_run_and_folders_are_filled(
    bare: Installed, start_sandbox: Any, start_server: Any, eventually: Any, tmp_path: Path
) -> None:
    """A plugin that needs an extra is loaded; what it could not do is a dead letter at once, with the same advice."""
    sandbox = start_sandbox("--speed", "30")
    server = start_server(
        toml=RULES.format(to="pictures", tell=FORWARD),
        command=[bare.command, "serve", "--port", "0"],
        PYTHONPATH="",
        HOOKCHAIN_UPSTREAM_URL=sandbox.url,
        HOOKCHAIN_PLUGINS="hookchain.plugins.notify",
        NOTIFY_TO="json://127.0.0.1",
    )
    server.submit(kind="imagine", prompt="a cat")
    assert eventually(lambda: len(list(tmp_path.glob("pictures/main/*/*.json"))) == 2)
    assert len(sandbox.accepted("/action")) == 1
    for dead in eventually(lambda: server.get("/api/dead-letters")["dead_letters"]):
        delivery = dead["delivery"]
        assert (delivery["receiver"], delivery["attempts"]) == ("hookchain.plugins.notify:tell_success", 1)
        assert "Run: pip install 'hookchain[notify]'" in delivery["error"]
