"""The examples of the installed wheel, with the repository out of reach: listed, copied, and run as their first lines say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import client
from tests.support.installed import Installed, install
from tests.support.tried import EXAMPLES, accepted, busy, command_of


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(tmp_path_factory.mktemp("installed"), wheel)


def test_an_example_of_the_wheel_runs_as_its_page_says(
    installed: Installed, start_server: Any, eventually: Any, tmp_path: Path
) -> None:
    """`new rules --list` names each of them; a copy of one is served, and its command starts a chain with four upscales."""
    listed = installed.run(tmp_path, installed.command, "new", "rules", "--list")
    names = [line.partition("\t")[0] for line in listed.stdout.splitlines()]
    assert sorted(names) == sorted(path.stem for path in EXAMPLES.glob("*.toml"))
    copied = installed.run(tmp_path, installed.command, "new", "rules", "mine", "--from", "wide-only")
    assert copied.returncode == 0, copied.stderr
    server = start_server(
        command=[installed.command, "serve", "--port", "0", "--sandbox-speed", "30"],
        PYTHONPATH="",
        HOOKCHAIN_CONFIG="mine.toml",
    )
    environment = {"PORT": server.url.rpartition(":")[2], "HOOKCHAIN_SECRET": "a test's secret"}
    tried = installed.run(tmp_path, installed.command, *command_of("wide-only"), **environment)
    assert tried.returncode == 0, tried.stderr
    with client(server.find(r"built-in sandbox at (http://[^,\s]+)")) as sandbox:
        eventually(lambda: len(accepted(sandbox, "/action")) == 4 and not busy(server))
        assert len(accepted(sandbox, "/imagine")) == 1
