"""The tutorial is what happens: its commands are run, in its order, and print what it says they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PATIENCE_S, free_port

pytestmark = pytest.mark.process

ROOT = Path(__file__).parent.parent
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
END = "-- end of a step --"


def steps() -> list[tuple[str, list[str]]]:
    """Each command of the page, with the lines that it is said to print. Blocks without a command show a file."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"(?:^    .*\n)+", TUTORIAL, re.MULTILINE):
        if "    $ " not in block:
            continue
        for line in block.splitlines():
            if line.startswith("    $ "):
                found.append((line.removeprefix("    $ "), []))
            else:
                found[-1][1].append(line.strip())
    return found


def comparable(text: str) -> str:
    """Without what differs at every run: ids and times."""
    return re.sub(r"\d{10,}|in \d+\.\d+s", "N", text)


def test_every_command_of_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """In one shell, from an empty folder, with the commands that an installation has."""
    commands = [command for command, _ in steps()]
    script = "set -e; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + "".join(
        f"{command}\necho '{END}'\n" for command in commands
    )
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "PORT": str(free_port()),
        "HOST": "127.0.0.1",
    }
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3 * PATIENCE_S,
    )
    printed = ran.stdout.split(END)
    assert ran.returncode == 0, ran.stdout
    assert len(printed) == len(commands) + 1
    for (command, expected), output in zip(steps(), printed, strict=False):
        for line in expected:
            assert comparable(line) in comparable(output), f"{command} printed:\n{output}"
