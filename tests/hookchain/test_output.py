"""What strangers wrote reaches the owner's terminal as text, and as nothing else."""

from __future__ import annotations

import io
import json
import logging
import re
import sqlite3
import sys
import time
import unicodedata
from contextlib import closing
from importlib import import_module
from typing import Any

import pytest
import structlog
from typer import Typer

from hookchain.cli import MODULES
from hookchain.cli.output import json_text
from hookchain.logs import set_up_logs
from hookchain.printable import printable
from tests.hookchain.test_dead_letters import bury
from tests.support import command

HOSTILE = "\x1b[31mred \x1b]52;c;aGk=\x07 \x9b2J \u202eright \u2066left\u2069 \u2028 \r\nforged line\t\x00\x7f \u200b cat 猫"
TICKET = "1764000000000001"
ALLOWED = {"\n", "\t", "\u200c", "\u200d"}


def is_obeyed(character: str) -> bool:
    """Whether it is a control or format character of Unicode."""
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")


def check(text: str) -> None:
    """Nothing in it is obeyed, and no line of it is a stranger's."""
    assert not set(filter(is_obeyed, text)) - ALLOWED, ascii(text)
    assert not re.search(r"^\s*forged", text, re.MULTILINE), text


def test_whatever_a_terminal_obeys_is_written_out() -> None:
    """All control and format characters of Unicode; words and emoji of any language stay."""
    check(printable("".join(filter(is_obeyed, map(chr, range(sys.maxunicode + 1))))).replace("\n", ""))
    assert printable("a\x1b[2J\n\x9b\u202e\ud800") == r"a\x1b[2J\n\x9b\u202e\ud800"
    assert printable("猫　é ok 👩\u200d👧") == "猫　é ok 👩\u200d👧"


def test_json_stays_the_same_value() -> None:
    """Escaped as JSON does it."""
    value = {HOSTILE: [HOSTILE, "\ud800", "\U000e0041", "猫"]}
    text = json_text(value)
    check(text)
    assert json.loads(text) == value
    assert "猫" in text


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_log_line_stays_one_line(monkeypatch: pytest.MonkeyPatch, style: str) -> None:
    """Ours, those of libraries, and the text of an error."""
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    before, logs = logging.root.handlers[:], structlog.get_config()
    try:
        set_up_logs("info", style)
        structlog.get_logger().warning("refused " + HOSTILE, task=HOSTILE, many=[HOSTILE])
        logging.getLogger("library").warning("said %s", HOSTILE)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            structlog.get_logger().exception("failed")
    finally:
        logging.root.handlers[:] = before
        structlog.configure(**logs)
    check(err.getvalue())
    assert "2J" in err.getvalue()


COMMANDS: dict[str, list[list[str]]] = {
    "tasks": [[], ["--json"]],
    "tickets": [[], ["--json"], ["TICKET"], ["TICKET", "--json"], [HOSTILE], ["--state", HOSTILE]],
    "clients": [[], ["--json"], ["shop"], [HOSTILE]],
    "events": [["TASK"], ["TASK", "--json"]],
    "explain": [["TASK"], ["TASK", "--json"], ["TICKET"]],
    "chain": [["TASK"], ["CHAIN"], ["CHAIN", "--json"]],
    "imagine": [[HOSTILE], [HOSTILE, "--json"], ["--from", "FILE", "--yes"]],
    "submit": [["imagine", f"prompt={HOSTILE}"], ["imagine", f"prompt={HOSTILE}", "--json"]],
    "press": [["TASK", "U1"], ["TASK", HOSTILE]],
    "modal": [["TASK", "--prompt", "x"], [HOSTILE]],
    "doctor": [[], ["--json"], [HOSTILE], ["--as-client", HOSTILE]],
    "url": [[], ["--json"], [HOSTILE]],
    "replay": [["1"]],
    "costs": [[], ["--by", "chain"], ["--json"]],
    "budgets": [[], ["--json"]],
    "plugins": [[], ["--json"]],
    "plugins check": [[], ["--json"], [HOSTILE], ["--strict"]],
    "upstreams": [[], ["--json"]],
    "pause": [[], [HOSTILE]],
    "resume": [[], [HOSTILE]],
    "migrate": [[], ["--unpack"]],
    "backup": [["copy.db"]],
    "healthcheck": [[], ["--ready"]],
    "token": [[]],
    "keys add": [["shop"], ["shop", "--json"], [HOSTILE]],
    "keys list": [[], ["--json"]],
    "keys revoke": [["nope"], [HOSTILE]],
    "keys rotate": [["shop", "--json"], [HOSTILE]],
    "version": [[]],
    "rules check": [["FILE"], ["FILE", "FILE", "--json", "--strict"]],
    "schema": [[]],
    "rules list": [[], ["--json"]],
    "rules try": [["FILE"], ["FILE", "--json"]],
    "new plugin": [[HOSTILE]],
    "new rules": [[HOSTILE]],
    "waiting list": [[], ["--json"], ["--upstream", HOSTILE]],
    "waiting drop": [["nope"], [HOSTILE]],
    "waiting send-now": [["nope"], [HOSTILE]],
    "approvals list": [[], ["--json"], ["--state", "all"]],
    "approvals show": [["nope"], [HOSTILE]],
    "approvals release": [["nope"], [HOSTILE]],
    "approvals drop": [["nope"], [HOSTILE]],
    "dead list": [[], ["--json"]],
    "dead retry": [["nope"], [HOSTILE]],
    "dead drop": [["nope"], [HOSTILE]],
    "quarantine list": [[], ["--json"]],
    "quarantine show": [["1"]],
    "quarantine retry": [["1"]],
    "quarantine drop": [["999"]],
    "uncertain list": [[], ["--json"]],
    "uncertain settle": [["nope", "--accepted"], [HOSTILE, "--accepted"]],
    "refused list": [[], ["--json"]],
    "refused release": [["nope"], [HOSTILE]],
}
"""Each command with what it is called with; `serve`, `work` and `sandbox` do not end: their lines are logs."""


def all_commands() -> set[str]:
    """As the command line has them."""
    found = set()
    for name, module in MODULES.items():
        one = getattr(import_module(f"hookchain.cli.{module}"), name)
        if isinstance(one, Typer):
            found |= {
                f"{name} {sub.name or sub.callback.__name__}"
                for sub in one.registered_commands
                if sub.callback
            }
            found |= {name} if one.registered_callback else set()
        else:
            found.add(name)
    return found


def test_every_command_is_fed() -> None:
    """A new one is put into the table."""
    assert all_commands() - {"serve", "work", "sandbox"} == set(COMMANDS)


@pytest.mark.process
def test_no_command_obeys_a_stranger(start_server: Any, tmp_path: Any, eventually: Any) -> None:
    """Callbacks with such a text in each field, one that is not understood, and dead letters whose reasons hold it."""
    bury(tmp_path)
    with closing(sqlite3.connect(tmp_path / "hookchain.db")) as database, database:
        database.execute("UPDATE submissions SET reason = ?", [HOSTILE])
        database.execute("UPDATE deliveries SET error = ?", ["Traceback\n" + HOSTILE])
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rules]]\nname = "x"\non = "task.succeeded"\npress = "U1"\n')
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    payload = {"id": "17", "status": "FAILURE", "action": HOSTILE, "prompt": HOSTILE, "failReason": HOSTILE,
               "description": HOSTILE, "state": HOSTILE, "progress": HOSTILE,
               "buttons": [{"customId": HOSTILE, "label": HOSTILE}]}  # fmt: skip
    assert server.http.post(server.hook, json=payload).status_code == 200
    assert server.http.post(server.hook, json=payload | {"id": "18", "status": HOSTILE}).status_code == 200
    server.http.post(server.hook, content=HOSTILE.encode())
    eventually(lambda: server.get("/api/quarantine")["quarantine"])
    environment = {
        "PORT": str(server.http.base_url.port),
        "HOST": "127.0.0.1",
        "HOOKCHAIN_UPSTREAM_URL": "http://127.0.0.1:9",
    }
    chain = server.submit(kind="imagine", prompt="x")["chain_id"]
    with closing(sqlite3.connect(tmp_path / "hookchain.db")) as database, database:
        database.execute("UPDATE tasks SET chain_id = ?", [chain])
        database.execute(
            """
            INSERT INTO tickets (id, client, kind, upstream, submission_id, task_id, parent_id, custom_id, action, prompt, digest,
              idempotency_key, state, hook, answer, fail_reason, told_status, told_progress, created_at_ms, ended_at_ms, chosen)
            SELECT :id, 'shop', :text, 'main', submissions.id, '17', :text, :text, :text, :text, '', '', :text,
              'http://a.example/', x'', :text, :text, 0, :at_ms, :at_ms, :text
            FROM submissions WHERE chain_id = :chain
            """,
            {"id": TICKET, "text": HOSTILE, "chain": chain, "at_ms": time.time_ns() // 1_000_000},
        )
    seen = ""
    for name, calls in COMMANDS.items():
        for arguments in calls:
            given = [
                {"TASK": "17", "TICKET": TICKET, "CHAIN": chain, "FILE": str(rules)}.get(one, one)
                for one in arguments
            ]
            done = command.run(tmp_path, *name.split(), *given, **environment)
            assert "Traceback (most" not in done.stderr, (name, done.stderr)
            for text in (done.stdout, done.stderr):
                check(text)
            if "--json" in given and done.returncode == 0:
                json.loads(done.stdout)
            seen += f"{name}: {any(one in done.stdout for one in ('x00', 'u0000'))}\n"
    for name in ("tasks", "tickets", "explain", "chain", "dead list"):  # the text was there
        assert f"{name}: True" in seen, seen
