"""hookchain among other commands of a shell: in a pipe whose reader has enough, and completed with Tab."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hookchain.cli import MODULES
from tests.conftest import MEASURING, PATIENCE_S
from tests.support import forked

pytestmark = pytest.mark.process

ROOT = Path(__file__).parent.parent.parent
HOOKCHAIN = [sys.executable, "-m", "hookchain"]
LISTS = [
    ["tasks"],
    ["tasks", "--json"],
    ["tickets"],
    ["clients", "--json"],
    ["upstreams"],
    ["costs"],
    ["budgets"],
    ["plugins", "--json"],
    ["rules", "list", "--json"],
    ["dead", "list"],
    ["quarantine", "list"],
    ["uncertain", "list"],
    ["refused", "list"],
    ["keys", "list"],
    ["chain", "TASK"],
    ["explain", "TASK"],
    ["--help"],
    ["tasks", "--help"],
]


def environment(**more: str) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]} | MEASURING | more


def with_a_closed_reader(cwd: Path, *arguments: str, **more: str) -> tuple[int, str]:
    """The exit code, and what was written to standard error, of a command whose output nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*HOOKCHAIN, *arguments],
            cwd=cwd,
            env=environment(**more),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


def test_a_command_ends_quietly_with_its_reader(tmp_path: Path, start_server: Any, eventually: Any) -> None:
    """As in `hookchain tasks | head -1`: 141, as for `ls` and `git`, and nothing is said about it.

    The interpreter of a forked process flushes at its end as any does, and would say that it cannot; two show it with a start of
    their own: what lists, and what typer writes.
    """
    server = start_server()
    server.submit(kind="imagine", prompt="a cat")
    tasks = eventually(lambda: server.get("/api/tasks")["tasks"])
    port = server.url.rsplit(":")[-1]
    for arguments in LISTS:
        typed = [tasks[0]["id"] if one == "TASK" else one for one in arguments]
        done = forked.run(
            typed, cwd=tmp_path, environment=environment(PORT=port), timeout=PATIENCE_S, unread=True
        )
        assert (typed, done.returncode, done.stderr) == (typed, 141, "")
    for arguments in (["tasks"], ["--help"]):
        code, said = with_a_closed_reader(tmp_path, *arguments, PORT=port)
        assert (arguments, code, said) == (arguments, 141, "")


def test_a_reader_that_has_enough_gets_what_it_reads(tmp_path: Path) -> None:
    """In a real shell; and a failure is a failure with any reader."""
    script = f"{sys.executable} -m hookchain --help | head -n 1; echo ${{PIPESTATUS[0]}}"
    shell = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    said, code = shell.stdout.splitlines()
    assert (said, code in ("0", "141"), shell.stderr) == (
        "Usage: hookchain [OPTIONS] COMMAND [ARGS]...",
        True,
        "",
    )
    failed, reason = with_a_closed_reader(tmp_path, "tasks", PORT="9")
    assert (failed, "no server answers" in reason) == (1, True)


@pytest.mark.parametrize(
    ("shell", "typed"),
    [
        ("bash", {"COMP_WORDS": "hookchain ", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "hookchain "}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "hookchain ", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
        ("powershell", {"_TYPER_COMPLETE_ARGS": "hookchain ", "_TYPER_COMPLETE_WORD_TO_COMPLETE": ""}),
    ],
)
def test_a_shell_completes_commands(tmp_path: Path, shell: str, typed: dict[str, str]) -> None:
    """Each command, after its name."""
    done = subprocess.run(
        HOOKCHAIN,
        cwd=tmp_path,
        env=environment(_HOOKCHAIN_COMPLETE=f"complete_{shell}", **typed),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in MODULES if name not in done.stdout] == []


def test_bash_completes_with_the_script_that_is_shown(tmp_path: Path) -> None:
    """What `--show-completion` prints is sourced, and asks the command that is found in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "hookchain").write_text(f'#!/bin/sh\nexec {sys.executable} -m hookchain "$@"\n')
    (folder / "hookchain").chmod(0o755)
    script = (
        "source <(hookchain --show-completion) && COMP_WORDS=(hookchain rules t) COMP_CWORD=2 && "
        '_hookchain_completion hookchain && echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment(PATH=f"{folder}:{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("try\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize(
    ("redirection", "code", "says"),
    [
        (">/dev/full", 1, "hookchain: standard output cannot be written: No space left on device\n"),
        (">&-", 0, "hookchain: standard output is closed, so that nothing can be shown\n"),
    ],
)
@pytest.mark.parametrize("arguments", ["--version", "rules check x.toml", "waiting list"])
def test_output_that_cannot_be_written_is_one_line(
    tmp_path: Path, redirection: str, code: int, says: str, arguments: str
) -> None:
    (tmp_path / "x.toml").write_text('[[rules]]\nname = "r"\non = "task.succeeded"\npress = "U1"\n')
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m hookchain {arguments} {redirection}', sys.executable],
        cwd=tmp_path,
        env=environment(PORT="9"),
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (code, says)
