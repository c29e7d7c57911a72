"""The command line, as a person uses it: real processes, exit codes, messages."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer import Typer

from hookchain import __version__
from hookchain.cli import MODULES
from tests.conftest import MEASURING, PATIENCE_S
from tests.support import command, forked

pytestmark = pytest.mark.process

ROOT = Path(__file__).parent.parent.parent
UPSCALE_ALL = (ROOT / "hookchain.toml").read_text()


def hookchain(cwd: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as `serve` and `work` need it, and a chain that is followed."""
    return forked.run(list(arguments), cwd=cwd, environment=MEASURING | environment, timeout=PATIENCE_S)


def test_version_and_migrate(tmp_path: Path) -> None:
    """In an empty directory."""
    started = subprocess.run(
        [sys.executable, "-m", "hookchain", "version"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)} | MEASURING,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert started.stdout.startswith("hookchain 0.")
    assert "revision" in hookchain(tmp_path, "migrate").stdout
    assert (tmp_path / "hookchain.db").exists()


def test_the_version_stands_in_one_place(tmp_path: Path) -> None:
    """What the command prints is what the package is built with."""
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "metadata", "version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert built == __version__
    for asked in ("--version", "version"):
        done = command.run(tmp_path, asked)
        assert (done.returncode, done.stdout) == (0, f"hookchain {built}\n")


@pytest.mark.parametrize("name", ["", *MODULES])
def test_every_command_explains_itself(tmp_path: Path, name: str) -> None:
    """At -h as at --help, and so do the commands of a group; no line of an overview is cut off."""
    asked = [[*filter(None, [name])]]
    if isinstance(
        found := getattr(import_module(f"hookchain.cli.{MODULES[name]}"), name) if name else None, Typer
    ):
        asked += [[name, str(one.name)] for one in found.registered_commands]
    for path in asked:
        done = command.run(tmp_path, *path, "-h")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"Usage: hookchain {' '.join(path)}".strip() in done.stdout
        assert "..." not in re.sub(r".*\.\.\. <.*|^Usage.*", "", done.stdout, flags=re.MULTILINE)
        assert done.stdout == command.run(tmp_path, *path, "--help").stdout


def test_the_url_stays_the_same(tmp_path: Path) -> None:
    """The secret it derives from is made once and kept in the database."""
    first = hookchain(
        tmp_path, "url", HOOKCHAIN_UPSTREAM_URL="http://x", HOOKCHAIN_PUBLIC_URL="https://me.example"
    )
    again = hookchain(
        tmp_path,
        "url",
        "--json",
        HOOKCHAIN_UPSTREAM_URL="http://x",
        HOOKCHAIN_PUBLIC_URL="https://me.example",
    )
    address = json.loads(again.stdout)["main"]
    assert address.startswith("https://me.example/notify/")
    assert address in first.stdout


def test_rules_with_a_mistake_are_not_released(tmp_path: Path) -> None:
    """`migrate` is what platforms run before a release; nothing is made. `url` needs no rules."""
    (tmp_path / "hookchain.toml").write_text('[[rules]]\nname="x"\non="task.succeeded"\npres="U*"')
    refused = command.run(tmp_path, "migrate")
    assert (refused.returncode, 'Did you mean "press"?' in refused.stderr) == (2, True)
    assert not (tmp_path / "hookchain.db").exists()
    assert "/notify/" in command.run(tmp_path, "url").stdout


def test_all_mistakes_are_printed_one_a_line(tmp_path: Path) -> None:
    """Those of the settings first: the rules are read once the settings are right."""
    (tmp_path / "hookchain.toml").write_text("prot = 1\n[budget]\ndeep = 2\n")
    lines = command.run(tmp_path, "serve").stderr.splitlines()
    assert [line.partition("unknown key ")[2][:6] for line in lines] == ["'prot'", "'deep'"]
    (tmp_path / "hookchain.toml").write_text(
        '[[rules]]\nname="x"\non="task.sent"\npres="U*"\nif = "task.is_gird"\n'
    )
    lines = command.run(tmp_path, "serve").stderr.splitlines()
    assert [line.partition(", key ")[2].partition(":")[0] for line in lines] == ["'on'", "'pres'", "'if'"]


def test_what_machines_ask_often_loads_no_server() -> None:
    """A container's health check is a process every few seconds, on a small part of a core."""
    loaded = "import sys, hookchain.cli.health, hookchain.cli.listing; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {"hookchain.plugin_api", "sqlalchemy", "uvicorn", "starlette"} & set(done.stdout.split()) == set()


def test_a_command_loads_no_other_command_line() -> None:
    """httpx has one, with all that draws on a terminal: a quarter of the start of each command."""
    command = [sys.executable, "-X", "importtime", "-m", "hookchain", "tasks", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "httpx" in loaded
    others = tuple(f"{name}." for name in ("click", "rich", "pygments"))
    assert [name for name in sorted(loaded) if name.startswith(others)] == []


@pytest.mark.parametrize(
    ("arguments", "toml", "environment", "code", "says"),
    [
        (["serve"], "prot = 1", {}, 2, 'Did you mean "port"?'),
        (["serve"], '[[rules]]\nname="x"\non="task.succeeded"\npres="U*"', {}, 2, 'Did you mean "press"?'),
        (["serve"], "", {"HOOKCHAIN_PLUGINS": "no_such_plugin_module"}, 2, "no_such_plugin_module"),
        (["serve"], "", {"DATABASE_URL": "mysql://x"}, 2, "sqlite:///path"),
        (["serve", "--port", "0"], "", {"DATABASE_URL": "sqlite:////no/such/dir/x.db"}, 1, "cannot be used"),
        (["imagine"], "", {}, 2, "Missing argument"),
        (["imagine", "--from", "x.csv", "--state", "a"], "", {}, 2, "--state-column"),
        (["imagine", "a cat"], "", {"PORT": "9"}, 2, "hookchain serve"),
        (["imagine", "a cat", "--follow"], "", {"PORT": "9"}, 1, "no server answers"),
        (["press", "1", "U1"], "", {"PORT": "9"}, 1, "no server answers"),
        (["modal", "1", "--mask", "missing.png"], "", {"PORT": "9"}, 2, "missing.png"),
        (["submit", "blnd"], "", {"PORT": "9"}, 2, "blend"),
        (["submit", "blend", "image=x"], "", {"PORT": "9"}, 2, "images"),
        (["submit", "describe", "image=missing.png"], "", {"PORT": "9"}, 2, "missing.png"),
        (["submit", "video", "index=x"], "", {"PORT": "9"}, 2, "index=x: write it as JSON, such as 2"),
        (["chain", ""], "", {"PORT": "9"}, 2, "give the id of a task or a chain"),
        (["costs", "--since", "9" * 400 + "d"], "", {"PORT": "9"}, 2, "such as 30m"),
        (["pause", "nope"], "", {"PORT": "9"}, 2, "there are: sandbox"),
        (["new", "plugin", "class"], "", {}, 2, "is not a valid name"),
        (["sandbox", "--dialect", "wenwn"], "", {}, 2, "wenwen"),
        (["sandbox", "--faults", "duplicat"], "", {}, 2, "duplicate"),
        (["healthcheck"], "", {"PORT": "9"}, 1, "no server answers"),
        (["nonsense"], "", {}, 2, "nonsense"),
    ],
)
def test_a_mistake_is_one_clear_message(
    tmp_path: Path, arguments: list[str], toml: str, environment: dict[str, str], code: int, says: str
) -> None:
    """2 for a wrong call or configuration, 1 for what failed; never a traceback."""
    (tmp_path / "hookchain.toml").write_text(toml)
    call = hookchain if arguments[0] in ("serve", "work", "sandbox") else command.run
    done = call(tmp_path, *arguments, **environment)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plugin_is_not_written_where_its_directory_cannot_be(tmp_path: Path) -> None:
    """A file has its name: that is told, and nothing is left half done."""
    (tmp_path / "plugins").write_text("")
    done = command.run(tmp_path, "new", "plugin", "cats")
    assert (done.returncode, done.stderr) == (
        2,
        "hookchain: cannot create the directory plugins: File exists\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["plugins"]


def test_an_imagine_waits_for_a_server(
    tmp_path: Path, start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """No server is running: it is kept, and the next one sends it."""
    sandbox = start_sandbox("--speed", "50")
    done = hookchain(tmp_path, "imagine", "a cat", HOOKCHAIN_UPSTREAM_URL=sandbox.url, PORT="9")
    assert done.returncode == 0, done.stderr
    kept = command.run(
        tmp_path,
        "imagine",
        "a dog",
        "--state",
        "acme",
        "--json",
        HOOKCHAIN_UPSTREAM_URL=sandbox.url,
        PORT="9",
    )
    assert (kept.returncode, json.loads(kept.stdout)["state"]) == (0, "waiting"), kept.stderr
    start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    eventually(lambda: len(sandbox.accepted("/imagine")) == 2)
    tasks = sandbox.http.get("/mj/task/list").json()
    own = {task["prompt"]: str(task["state"]).partition(" ")[2] for task in tasks}  # behind hookchain's mark
    assert own == {"a cat": "", "a dog": "acme"}


def test_a_chain_is_followed_to_its_end(
    tmp_path: Path, start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """imagine --follow, then chain, press and healthcheck against the same server."""
    sandbox = start_sandbox("--speed", "20")
    server = start_server(toml=UPSCALE_ALL, HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    port = server.url.rsplit(":")[-1]
    followed = hookchain(tmp_path, "imagine", "a cat", "--follow", PORT=port)
    assert followed.returncode == 0, followed.stderr
    for number in (1, 2, 3, 4):
        assert f"U{number} (rule:upscale-all) UPSCALE" in followed.stdout
    root = json.loads(
        command.run(tmp_path, "imagine", "a dog", "--state", "acme", "--json", PORT=port).stdout
    )
    assert root["state"] in ("waiting", "sending", "accepted")
    eventually(lambda: len(sandbox.accepted("/imagine")) == 2)
    task_id = sandbox.http.get("/mj/task/list").json()[-1]["id"]
    own = [str(task["state"]).partition(" ")[2] for task in sandbox.http.get("/mj/task/list").json()]
    assert "acme" in own
    shown = command.run(tmp_path, "chain", task_id, "--json", PORT=port)
    assert len(json.loads(shown.stdout)["tasks"]) == 5
    assert "chain" in command.run(tmp_path, "chain", task_id, PORT=port).stdout
    pressed = hookchain(tmp_path, "press", task_id, "V1", "--follow", PORT=port)
    assert pressed.returncode == 0, pressed.stderr
    wrong = command.run(tmp_path, "press", task_id, "U9", PORT=port)
    assert (wrong.returncode, "it offers: U1" in wrong.stderr) == (1, True)
    assert command.run(tmp_path, "healthcheck", PORT=port).stdout == "ok\n"
    assert command.run(tmp_path, "healthcheck", "--ready", PORT=port).stdout == "ready\n"
    assert command.run(tmp_path, "dead", "list", PORT=port).stdout == "no dead letters\n"


def test_any_kind_of_request_is_submitted(
    tmp_path: Path, start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """Images come from files, and arrive as data URLs; a number is a number."""
    sandbox = start_sandbox("--speed", "20", "--dialect", "trueai")
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url, HOOKCHAIN_UPSTREAM_DIALECT="trueai")
    port = server.url.rsplit(":")[-1]
    picture = tmp_path / "a picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n rest")
    video = tmp_path / "a video.mp4"
    video.write_bytes(b"\0\0\0\x18ftypmp42")
    for typed in (
        ["blend", f"images={picture}", f"images={picture}", "dimensions=SQUARE"],
        ["describe", f"image={picture}"],
        ["shorten", "prompt=a long prompt"],
        ["swap", f"source={picture}", f"target={picture}"],
        ["edit", "prompt=a hat", f"image={picture}"],
        ["retexture", "prompt=wool", f"image={picture}"],
        ["video-swap", f"source={picture}", f"target={video}"],
        ["video", "motion=high", f"image={picture}", "batch_size=2"],
    ):
        done = command.run(tmp_path, "submit", *typed, PORT=port)
        assert done.returncode == 0, done.stderr
    eventually(lambda: len(sandbox.ledger()["submissions"]) >= 8)
    sent = {entry["path"].split("/mj/")[1]: entry for entry in sandbox.ledger()["submissions"]}
    assert {entry["code"] for entry in sent.values()} <= {1, 22}
    assert sent["submit/video"]["body"]["batchSize"] == 2
    assert sent["submit/blend"]["body"]["base64Array"][0].startswith("data:image/png;base64,iVBORw0KGgo")
    refused = command.run(tmp_path, "submit", "blend", f"images={picture}", PORT=port)
    assert (refused.returncode, "a blend takes 2 to 5 images, not 1" in refused.stderr) == (1, True)


def test_without_an_upstream_the_sandbox_stands_in(start_server: Any, eventually: Any) -> None:
    """It says so in one line, and a chain runs."""
    server = start_server(toml=UPSCALE_ALL)
    said = [line for line in server.lines if "sandbox" in line and "No upstream is configured" in line]
    assert len(said) == 1
    submission = server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: server.get(f"/api/submissions/{submission['id']}")["state"] == "accepted")


def test_no_thread_runs_on_when_a_server_has_ended(start_server: Any) -> None:
    """The interpreter may crash under one while it is taken down; the built-in sandbox has one, with its pictures."""
    told = "import threading; print('threads left:', [one.name for one in threading.enumerate()])"
    serve = (
        "import sys; sys.argv = ['hookchain', 'serve', '--port', '0']; from hookchain.cli import main; main()"
    )
    server = start_server(command=["-c", f"try: exec({serve!r})\nfinally: exec({told!r})"])
    for number in range(5):
        server.submit(kind="imagine", prompt=f"cat {number}")
    assert server.stop() == 0
    assert "threads left: ['MainThread']" in server.lines


def test_a_taken_port_is_told(tmp_path: Path, start_server: Any) -> None:
    """Exit code 1 and what to do."""
    port = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9").url.rsplit(":")[-1]
    done = hookchain(tmp_path, "serve", "--port", port)
    assert (done.returncode, "--port" in done.stderr) == (1, True)


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["work"], ["migrate"]])
def test_a_database_of_a_newer_release_stops_the_start(
    tmp_path: Path, new_file: Path, command: list[str]
) -> None:
    """Before anything is received or sent with it."""
    shutil.copy(new_file, tmp_path)
    with closing(sqlite3.connect(tmp_path / "hookchain.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    done = hookchain(tmp_path, *command, HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    assert (done.returncode, "9999" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
