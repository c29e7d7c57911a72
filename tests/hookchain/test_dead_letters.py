"""`hookchain dead` and `hookchain quarantine`, with a real server and an upstream that counts what it was sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from midjourney.requests import Imagine
from storage.engine import write_engine
from tests.support import buried, command

REPOSITORY = Path(__file__).parent.parent.parent


def hookchain(cwd: Path, port: str, *arguments: str, code: int = 0) -> str:
    """What it prints; what it says is wrong, where it is to fail."""
    ran = command.run(cwd, *arguments, PORT=port, HOST="127.0.0.1")
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout if code == 0 else ran.stderr


def bury(directory: Path) -> list[str]:
    """Before the server starts: two deliveries whose receivers are gone, three submissions that were refused."""
    engine = write_engine(f"sqlite:///{directory}/hookchain.db")
    with engine.begin() as connection:
        made = [
            buried.delivery(connection, "plugin:gone", 10),
            buried.delivery(connection, "plugin:other", 11),
            *(
                buried.submission(
                    connection, f"s{number}", 20 + number, request=Imagine(prompt=prompt), reason=reason
                )
                for number, (prompt, reason) in enumerate(
                    [
                        ("a mistake", "HTTP 401"),
                        ("one", "code 23: Queue full"),
                        ("two", "code 23: queue FULL"),
                    ]
                )
            ),
        ]
    engine.dispose()
    return made


def test_dead_letters_are_handled_one_or_all_that_match(
    tmp_path: Path, start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """Edited: the upstream gets the new words, once. All with a full queue: those two. Dropped: the deliveries of one."""
    gone, other, mistake, *_ = bury(tmp_path)
    sandbox = start_sandbox("--speed", "50")
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)

    def run(*arguments: str, code: int = 0) -> str:
        return hookchain(tmp_path, server.url.rsplit(":", 1)[-1], *arguments, code=code)

    def left(*options: str) -> set[str]:
        return {letter["id"] for letter in json.loads(run("dead", "list", *options, "--json"))}

    def prompts() -> list[str]:
        return sorted(body["prompt"] for body in sandbox.accepted("/imagine"))

    assert len(left()) == 5
    assert left("--receiver", "plugin:other") == {other}
    assert "cannot become" in run(
        "dead", "retry", mistake, "--request", '{"kind":"shorten","prompt":"x"}', code=1
    )
    mended = tmp_path / "mended.json"
    mended.write_text('{"kind": "imagine", "prompt": "a cat"}')
    assert "with the edited request" in run("dead", "retry", mistake, "--edit", str(mended))
    eventually(lambda: prompts() == ["a cat"])
    assert run("dead", "retry", "--kind", "submission", "--text", "queue full") == "2 requeued\n"
    eventually(lambda: prompts() == ["a cat", "one", "two"])
    assert run("dead", "drop", "--receiver", "plugin:gone") == "1 dropped\n"
    assert left() == {other}
    assert f"{gone}: There is no dead letter" in run("dead", "drop", gone, code=1)
    assert run("dead", "drop", "--all") == "1 dropped\n"
    assert run("dead", "list") == "no dead letters\n"
    assert len(sandbox.ledger()["submissions"]) == 3


def test_quarantine_is_handled_one_or_all_that_match(tmp_path: Path, start_server: Any) -> None:
    """A body that was mended comes in; what is still none stays, and the other is dropped by its reason."""
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    for body in (b'{"id":"late","status":"SUCCESS"', b'{"id":1}'):
        server.http.post(server.hook, content=body)

    def run(*arguments: str, code: int = 0) -> str:
        return hookchain(tmp_path, server.url.rsplit(":", 1)[-1], "quarantine", *arguments, code=code)

    assert run("retry", "--all") == "0 reprocessed, 2 left unchanged\n"
    mended = tmp_path / "mended.json"
    mended.write_text('{"id":"late","status":"SUCCESS"}')
    assert "with the edited body" in run("retry", "1", "--body", str(mended))
    assert server.get("/api/tasks/main/late")["status"] == "SUCCESS"
    assert "stays in quarantine" in run("retry", "2", code=1)
    assert run("drop", "--upstream", "nobody") == "0 dropped\n"
    assert "2\t" in run("list", "--text", "PROXY family")
    assert run("drop", "--upstream", "main", "--text", "proxy family") == "1 dropped\n"
    assert run("list") == "the quarantine is empty\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["dead", "retry"], 2, "--all"),
        (["dead", "drop", "--text", ""], 2, "--all"),
        (["dead", "drop", "delivery-1", "--all"], 2, "select entries"),
        (["dead", "retry", "delivery-1", "--receiver", "x"], 2, "select entries"),
        (["dead", "retry", "--kind", "letter", "--all"], 2, "letter"),
        (["dead", "retry", "--all", "--request", "{}"], 2, "for one submission"),
        (["dead", "retry", "submission-1", "submission-2", "--request", "{}"], 2, "for one submission"),
        (["dead", "retry", "submission-1", "--request", "{}", "--edit", "x"], 2, "for one submission"),
        (["dead", "retry", "submission-1", "--request", ""], 2, "not a JSON object"),
        (["dead", "retry", "submission-1", "--request", "[]"], 2, "not a JSON object"),
        (["dead", "retry", "submission-1", "--edit", "missing.json"], 2, "missing.json"),
        (["quarantine", "retry"], 2, "--all"),
        (["quarantine", "drop", "1", "--upstream", "main"], 2, "select entries"),
        (["quarantine", "retry", "--all", "--body", "x"], 2, "to one entry"),
        (["quarantine", "retry", "1", "--body", "missing.json"], 2, "missing.json"),
        (["dead", "retry", "--all"], 1, "no server answers"),
        (["quarantine", "drop", "--all"], 1, "no server answers"),
    ],
)
def test_what_is_not_clear_is_not_done(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    """2 for a call that could mean more than one thing, before any server is asked."""
    assert says in hookchain(tmp_path, "9", *arguments, code=code)
