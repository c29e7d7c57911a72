"""The tutorial is what happens: with the installed wheel, its commands run in its order, and print what it says they print."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PATIENCE_S, free_port
from tests.support.installed import install

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
                found[-1][1].append(line.removeprefix("    "))
    return found


def comparable(text: str) -> str:
    """Without what differs at every run: ids."""
    return re.sub(r"\d{10,}", "N", text)


def missing(expected: list[str], output: str) -> list[str]:
    """The lines that it does not print in this order; a line may go on after what the page shows."""
    printed = iter(comparable(output).splitlines())
    return [line for line in expected if not any(one.startswith(comparable(line)) for one in printed)]


def test_a_line_that_is_printed_otherwise_or_elsewhere_is_missing() -> None:
    """Or this file would find nothing."""
    assert missing(["one", "two 1795240235351982"], "zero\none in 0.1 s\ntwo 1795240235351983\n") == []
    assert missing(["two", "one"], "one\ntwo\n") == ["one"]
    assert missing(["  one"], "one\n") == ["  one"]


def test_every_command_of_the_tutorial_does_what_it_says(tmp_path: Path, wheel: Path) -> None:
    """In one shell, from an empty folder, with the commands of an installation: the source is on no path."""
    installed = install(tmp_path / "environment", wheel)
    pytest_command = Path(installed.python).with_name("pytest")
    pytest_command.write_text(
        f"#!{installed.python}\nimport sys\nimport pytest\nsys.exit(pytest.console_main())\n"
    )
    pytest_command.chmod(0o755)
    (tmp_path / "home").mkdir()
    commands = [command for command, _ in steps()]
    script = "set -e; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + "".join(
        f"{command}\necho '{END}'\n" for command in commands
    )
    environment = {
        "PATH": f"{pytest_command.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "PORT": str(free_port()),
        "HOST": "127.0.0.1",
    }
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path / "home",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3 * PATIENCE_S,
    )
    printed = ran.stdout.split(END + "\n")
    assert ran.returncode == 0, ran.stdout
    assert len(printed) == len(commands) + 1
    for (command, expected), output in zip(steps(), printed, strict=False):
        assert missing(expected, output) == [], f"{command} printed:\n{output}"
