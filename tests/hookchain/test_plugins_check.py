"""`hookchain plugins check` says before a start what `serve` would say at it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.plugins.signals import SIGNALS
from tests.support import command

MINE = """
from hookchain import receiver, task_failed, task_succeeded

@task_failed.connect
@task_succeeded.connect_via("IMAGINE")
@receiver(attempts=3, limit=1, per="root")
async def press(action, *, chain, **_):
    await chain.press("U1")
"""
WRONG = """
from hookchain import task_succeeded

@task_succeeded.connect
def hear(task, **_): ...
"""


@pytest.fixture(autouse=True)
def forget_plugins() -> Iterator[None]:
    """Each test loads its plugins anew: commands run in this process."""
    yield
    for signal in SIGNALS.values():
        signal._clear_state()
    for name in [name for name in sys.modules if name.startswith("hookchain_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with one plugin."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(MINE)
    return tmp_path


def test_receivers_are_listed_with_signals_senders_and_options(folder: Path) -> None:
    """Nothing is wrong: exit code 0."""
    done = command.run(folder, "plugins", "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "plugins/mine.py:4: mine:press\ttask.succeeded IMAGINE, task.failed\tattempts=3, limit=1 per root",
        "plugins: 1, receivers: 1, problems: 0, warnings: 0",
    ]


def test_a_problem_is_exit_code_2_and_a_warning_1_if_strict(folder: Path) -> None:
    """As with rules."""
    (folder / "plugins" / "empty.py").write_text("")
    done = command.run(folder, "plugins", "check")
    assert (done.returncode, done.stderr.startswith("! plugin plugins/empty.py registers no receiver")) == (
        0,
        True,
    )
    assert command.run(folder, "plugins", "check", "--strict").returncode == 1
    (folder / "plugins" / "wrong.py").write_text(WRONG)
    done = command.run(folder, "plugins", "check")
    assert done.returncode == 2
    assert "plugins/wrong.py:4, wrong:hear: its first parameter is `task`" in done.stderr
    started = command.run(folder, "serve", "--port", "0")
    assert started.returncode == 2
    assert "plugins/wrong.py:4, wrong:hear: its first parameter is `task`" in started.stderr


def test_named_plugins_only(folder: Path) -> None:
    """A file that is not in plugins/, as JSON; and one that does not exist."""
    (folder / "other.py").write_text(WRONG)
    found = json.loads(command.run(folder, "plugins", "check", "other.py", "--json").stdout)
    assert found["plugins"] == ["other"]
    assert [one["hears"] for one in found["receivers"]] == [["task.succeeded"]]
    assert len(found["problems"]) == 1
    done = command.run(folder, "plugins", "check", "gone.py")
    assert (done.returncode, "the file does not exist" in done.stderr) == (2, True)
