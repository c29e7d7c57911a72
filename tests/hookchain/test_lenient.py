"""Operating commands work while the file has a mistake: they need the server's address and token, or the database."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hookchain.settings.lenient import load_for_operating
from hookchain.settings.load import SettingsError
from storage.engine import Database
from storage.upstreams import standings
from tests.support import command

GOOD = """
[upstreams.main]
url = "http://127.0.0.1:9"

[upstreams.second]
url = "http://127.0.0.1:9"
"""
MISTAKES = {
    "broken TOML": GOOD + '\n[budget\ndepth = "',
    "an unknown table": GOOD + "\n[bugdet]\ndepth = 3\n",
    "a wrong rule": GOOD + '\n[[rules]]\nname = "r"\non = "task.succeeded"\npres = "U1"\n',
    "an unset variable": GOOD.replace("http://127.0.0.1:9", "${NO_SUCH_VARIABLE}"),
}
OPERATING = [
    ("pause",),
    ("pause", "second"),
    ("resume",),
    ("upstreams",),
    ("dead", "list"),
    ("quarantine", "list"),
    ("uncertain", "list"),
    ("refused", "list"),
    ("waiting", "list"),
    ("approvals", "list"),
    ("rules", "list"),
    ("plugins",),
    ("tasks",),
    ("costs",),
    ("budgets",),
    ("keys", "list"),
    ("healthcheck",),
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_operating_commands_work_whatever_the_file_looks_like(
    mistake: str, start_server: Any, tmp_path: Path
) -> None:
    """With a running server, whose file somebody is editing. What is wrong is said beside what was asked for."""
    server = start_server(toml=GOOD)
    (tmp_path / "hookchain.toml").write_text(MISTAKES[mistake])
    for arguments in OPERATING:
        done = command.run(tmp_path, *arguments, PORT=server.url.rpartition(":")[2])
        assert done.returncode == 0, (arguments, done.stderr)
        # Commands do not read rules.
        assert ("this command goes on with what it can read" in done.stderr) == (mistake != "a wrong rule")
        if arguments == ("pause", "second"):
            states = {one["name"]: one["paused"] for one in server.get("/api/upstreams")["upstreams"]}
            assert states["second"], states
    for action in ("drop", "send-now"):
        done = command.run(tmp_path, "waiting", action, "none", PORT=server.url.rpartition(":")[2])
        assert (done.returncode, "There is no submission 'none'" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_pause_without_a_server_is_written_into_the_database(mistake: str, tmp_path: Path) -> None:
    """For the worker that starts next, or that runs elsewhere."""
    (tmp_path / "hookchain.toml").write_text(
        f'database_url = "sqlite:///{tmp_path}/my.db"\n{MISTAKES[mistake]}'
    )
    done = command.run(tmp_path, "pause", PORT="9")
    assert (done.returncode, done.stdout) == (0, "main: paused\nsecond: paused\n"), done.stderr
    assert asyncio.run(_paused(f"sqlite:///{tmp_path}/my.db")) == {"main", "second"}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_waits_is_read_without_a_server(mistake: str, tmp_path: Path) -> None:
    (tmp_path / "hookchain.toml").write_text(
        f'database_url = "sqlite:///{tmp_path}/my.db"\n{MISTAKES[mistake]}'
    )
    done = command.run(tmp_path, "waiting", "list", PORT="9")
    assert (done.returncode, done.stdout) == (0, "nothing waits\n"), done.stderr
    done = command.run(tmp_path, "waiting", "drop", "none", PORT="9")
    assert (done.returncode, "none" in done.stderr) == (1, True), done.stderr


async def _paused(url: str) -> frozenset[str]:
    database = Database(url)
    await database.open()
    try:
        return await database.read(standings.paused)
    finally:
        await database.close()


def test_a_misspelt_upstream_is_refused_with_a_broken_file_too(tmp_path: Path) -> None:
    """A pause of an upstream that nobody submits to would stop nothing."""
    (tmp_path / "hookchain.toml").write_text(MISTAKES["broken TOML"])
    done = command.run(tmp_path, "pause", "secnd", PORT="9")
    assert done.returncode == 2
    assert done.stderr.endswith("no upstream 'secnd'; there are: main, second\n")


@pytest.mark.parametrize(
    ("line", "variable"),
    [
        ('database_url = "sqlite:///my.db', "DATABASE_URL"),
        ('database_url = "${NO_SUCH_VARIABLE}"', "DATABASE_URL"),
        ("database_url = 5", "DATABASE_URL"),
        ('volume = "/nowhere', "DATABASE_URL"),
        ("port = 80 80", "PORT"),
        ("port = 99999", "PORT"),
        ('admin_token = "${NO_SUCH_VARIABLE}"', "HOOKCHAIN_ADMIN_TOKEN"),
    ],
)
def test_what_cannot_be_read_is_not_replaced_by_its_default(tmp_path: Path, line: str, variable: str) -> None:
    """A pause that is written into another database stops nothing. A variable helps out."""
    (tmp_path / "hookchain.toml").write_text(f"{line}\n{GOOD}")
    done = command.run(tmp_path, "pause", **({} if variable == "PORT" else {"PORT": "9"}))
    assert done.returncode == 2
    assert f"Correct it, or set {variable} for this command" in done.stderr
    assert not list(tmp_path.glob("*.db"))
    value = {"DATABASE_URL": f"sqlite:///{tmp_path}/my.db", "PORT": "9", "HOOKCHAIN_ADMIN_TOKEN": "a" * 40}
    done = command.run(tmp_path, "pause", **{"PORT": "9", variable: value[variable]})
    assert (done.returncode, done.stdout) == (0, "main: paused\nsecond: paused\n"), done.stderr


def test_the_environment_comes_first(tmp_path: Path) -> None:
    """As with a file that has no mistake; what the file says before its tables comes next."""
    toml = 'port = 9000\nhost = "0.0.0.0"\nadmin_token = "of the file"\nbroken =\n[upstreams.main]\nurl = "http://x"\n'
    (tmp_path / "hookchain.toml").write_text(toml)
    found = load_for_operating({"PORT": "9001", "HOOKCHAIN_UPSTREAMS_OTHER_URL": "http://y"}, tmp_path)
    assert "is not valid TOML" in found.mistake
    assert found.server().listening_url == "http://127.0.0.1:9001"
    assert found.server().admin_token == "of the file"
    assert found.upstreams == ("main", "other")


def test_a_file_that_does_not_exist_leaves_what_the_environment_says(tmp_path: Path) -> None:
    """HOOKCHAIN_CONFIG names it: nobody knows which database it meant."""
    given = {"HOOKCHAIN_CONFIG": "gone.toml", "PORT": "9"}
    found = load_for_operating(given, tmp_path)
    assert found.server().port == 9
    with pytest.raises(
        SettingsError, match=r"gone\.toml, which does not exist\. Correct it, or set DATABASE_URL"
    ):
        found.database()


def test_a_variable_that_no_key_has_is_a_warning(tmp_path: Path) -> None:
    """It stops a server, but not a pause."""
    found = load_for_operating(
        {"HOOKCHAIN_BUGDET_DEPTH": "3", "HOOKCHAIN_UPSTREAM_URL": "http://x"}, tmp_path
    )
    assert found.mistake.startswith("unknown environment variable HOOKCHAIN_BUGDET_DEPTH")
    assert found.upstreams == ("main",)
    assert found.database().database_url == "sqlite:///hookchain.db"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_tokens_keys_and_hooks_are_those_of_the_right_file(mistake: str, tmp_path: Path) -> None:
    """A leaked secret is replaced while somebody edits the file: with the same database, public address and secret."""
    head = f'database_url = "sqlite:///{tmp_path}/my.db"\npublic_url = "https://hooks.example.com"\nsecret = "{"s" * 40}"\n'
    file = tmp_path / "hookchain.toml"
    file.write_text(head + GOOD)
    token, urls = command.run(tmp_path, "token"), command.run(tmp_path, "url")
    assert (token.returncode, urls.stdout.count("https://hooks.example.com/")) == (0, 2), token.stderr
    file.write_text(head + MISTAKES[mistake])
    assert command.run(tmp_path, "token").stdout == token.stdout
    assert command.run(tmp_path, "url").stdout == urls.stdout
    rotated = command.run(tmp_path, "url", "--rotate")
    assert (rotated.returncode, rotated.stdout == urls.stdout) == (0, False), rotated.stderr
    for arguments in (("keys", "add", "bot"), ("keys", "rotate", "bot"), ("token", "--rotate")):
        done = command.run(tmp_path, *arguments)
        assert (done.returncode, len(done.stdout.split())) == (0, 1), (arguments, done.stderr)
    assert command.run(tmp_path, "token").stdout != token.stdout


def test_a_link_is_never_made_of_another_secret(tmp_path: Path) -> None:
    """A key that is there and cannot be read is said, with the variable that replaces it; without a token, none is made up."""
    file = tmp_path / "hookchain.toml"
    file.write_text(f'database_url = "sqlite:///{tmp_path}/my.db"\nsecret = 5\n{GOOD}')
    done = command.run(tmp_path, "url")
    assert (done.returncode, "HOOKCHAIN_SECRET" in done.stderr, done.stdout) == (2, True, ""), done.stderr
    file.write_text(f'database_url = "sqlite:///{tmp_path}/my.db"\n{MISTAKES["an unknown table"]}')
    done = command.run(tmp_path, "token")
    assert (done.returncode, "correct the settings first" in done.stderr) == (1, True), done.stderr
