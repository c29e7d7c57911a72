"""`hookchain imagine --from`: each row of a file is submitted once, however often and however badly the command ends."""

from __future__ import annotations

import csv
import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from hookchain.cli.api import Server
from hookchain.cli.batch_file import Table, read_table
from hookchain.cli.batch_rows import Columns, Row, WrongRows, rows_of
from hookchain.cli.batch_sending import Sending
from hookchain.settings.conversion import SettingsError
from hookchain.settings.load import load_settings
from hooks.api.answers import Submission
from midjourney.dialects import DIALECTS
from tests.conftest import MEASURING, PATIENCE_S
from tests.support import command

ROOT = Path(__file__).parent.parent.parent
TOML = """
[upstreams.main]
url = "{url}"
prices = {{ imagine = 0.05 }}

[[budgets]]
name = "pocket money"
per = "month"
submissions = {most}
"""


class Shop:
    """A server with an upstream, and the command line beside it."""

    def __init__(self, folder: Path, server: Any, sandbox: Any) -> None:
        self.folder = folder
        self.server = server
        self.sandbox = sandbox

    @property
    def port(self) -> str:
        return str(self.server.url.rsplit(":", 1)[-1])

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = command.run(self.folder, "imagine", *arguments, PORT=self.port, HOST="127.0.0.1")
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def write(self, text: str, name: str = "prompts.csv") -> None:
        (self.folder / name).write_text(text)

    def prompts(self) -> list[str]:
        """What was submitted, in any order."""
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.server.get(f"/api/submissions?limit=500&cursor={cursor}")
            found += [one["request"]["prompt"] for one in page["submissions"]]
            cursor = page["cursor"]
        return sorted(found)


@pytest.fixture
def shop(start_sandbox: Any, start_server: Any, tmp_path: Path) -> Shop:
    sandbox = start_sandbox("--speed", "50", "--seed", "5")
    return Shop(tmp_path, start_server(toml=TOML.format(url=sandbox.url, most=1000)), sandbox)


@pytest.mark.process
def test_each_row_is_submitted_once(shop: Shop) -> None:
    """The same prompt twice is two rows; a second run, rows in between and another order submit only what is new."""
    shop.write("prompt,customer\na cat,7\na dog,8\na cat,7\n")
    first = shop.run("--from", "prompts.csv", "--state-column", "customer", "--yes")
    assert "3 rows: 0 were submitted before, 3 are to be submitted for 0.15" in first.stderr
    assert "budget pocket money: 1000 submissions left until" in first.stderr
    assert shop.prompts() == ["a cat", "a cat", "a dog"]
    assert {one["asked_by"] for one in shop.server.get("/api/submissions")["submissions"]} == {"person:api"}
    again = shop.run("--from", "prompts.csv", "--state-column", "customer")
    assert "3 rows: 3 were submitted before, 0 are to be submitted" in again.stderr
    shop.write("customer,prompt\n7,a cat\n9,a bird\n7,a cat\n8,a dog\n8,a cat\n")
    shop.run("--from", "prompts.csv", "--state-column", "customer", "--yes")
    assert shop.prompts() == ["a bird", "a cat", "a cat", "a cat", "a dog"]
    shop.run("--from", "prompts.csv", "--state-column", "customer", "--name", "next week", "--yes")
    assert len(shop.prompts()) == 10


@pytest.mark.process
def test_what_became_of_each_row_is_written(shop: Shop) -> None:
    """With --follow at once, and later as JSON lines; a prompt with a line end and a quote comes back as it was."""
    shop.write('prompt,customer\n"a ""big"" cat,\non a mat",7\nfail: now,8\n')
    arguments = ["--from", "prompts.csv", "--state-column", "customer"]
    shop.run(*arguments, "--yes", "--follow", "--output", "results.csv")
    with (shop.folder / "results.csv").open(newline="") as file:
        cat, _ = csv.DictReader(file)
    assert (cat["row"], cat["prompt"], cat["state"]) == ("2", 'a "big" cat,\non a mat', "7")
    assert (cat["status"], cat["cost"], cat["failure"]) == ("SUCCESS", "0.05", "")
    task = shop.server.get(f"/api/tasks/main/{cat['task']}")
    assert (task["submission_id"], task["image_url"]) == (cat["submission"], cat["image_url"])
    later = shop.run(*arguments, "--output", "later.jsonl", "--json")
    assert json.loads(later.stdout)["rows"] == 2
    lines = [json.loads(line) for line in (shop.folder / "later.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == [2, 4]
    assert lines[0]["image_url"] == cat["image_url"]
    assert sorted(path.name for path in shop.folder.iterdir() if path.name.startswith(".")) == []


@pytest.mark.process
def test_nothing_is_submitted_from_a_file_with_mistakes(shop: Shop) -> None:
    """All of them at once, with their lines."""
    shop.write(
        "prompt,upstream,bot_type,images\na cat,,,\n,main,,\na dog,mian,,\na cow,,NIJI,\na fox,,,none.png\n"
    )
    said = shop.run("--from", "prompts.csv", "--yes", code=2).stderr
    assert said.splitlines() == [
        "prompts.csv: line 3: prompt is empty",
        "prompts.csv: line 4: unknown upstream 'mian'. Did you mean \"main\"?",
        "prompts.csv: line 5: bot_type is 'NIJI'; write MID_JOURNEY, NIJI_JOURNEY, or nothing",
        "prompts.csv: line 6: the image 'none.png' is no URL, and there is no such file",
        "hookchain: nothing was submitted; mistakes in prompts.csv: 4",
    ]
    assert shop.prompts() == []


@pytest.mark.process
def test_nothing_is_submitted_if_an_image_is_wrong(shop: Shop) -> None:
    """A file that is no picture, a link that no upstream could load; whatever the lines before cost."""
    shop.write("this,is\nno,picture\n", "b.csv")
    shop.write("prompt,images\na cat,\na dog,b.csv\na fox,http://localhost/a.png\n")
    said = shop.run("--from", "prompts.csv", "--yes", code=2).stderr.splitlines()
    assert said[0].startswith("prompts.csv: line 3: the image 'b.csv' cannot be used: ")
    assert said[1] == (
        "prompts.csv: line 4: the image 'http://localhost/a.png' is at an address in a private network, "
        "which Midjourney cannot reach"
    )
    assert said[2:] == ["hookchain: nothing was submitted; mistakes in prompts.csv: 2"]
    assert shop.prompts() == []


@pytest.mark.process
def test_a_row_that_was_dropped_is_submitted_again(shop: Shop, eventually: Any) -> None:
    """A person who runs the batch again asks for it again; it counts as not submitted until then, and is paid for once."""
    shop.server.http.post("/api/upstreams/main/pause").raise_for_status()
    shop.write("prompt\na cat\na dog\n")
    shop.run("--from", "prompts.csv", "--yes")
    cat = next(
        one["id"]
        for one in shop.server.get("/api/submissions")["submissions"]
        if one["request"]["prompt"] == "a cat"
    )
    shop.server.http.post(f"/api/waiting/{cat}/drop").raise_for_status()
    shop.server.http.post("/api/upstreams/main/resume").raise_for_status()
    for before, now in ((1, 1), (2, 0)):
        said = shop.run("--from", "prompts.csv", "--at-most", "2", "--yes").stderr
        assert f"2 rows: {before} were submitted before, {now} are to be submitted" in said
    shop.run("--from", "prompts.csv", "--follow")
    eventually(lambda: shop.sandbox.ledger()["billed"].get("imagine") == 2)
    assert shop.prompts() == ["a cat", "a dog"]


@pytest.mark.process
def test_a_limit_that_was_kept_is_done_as_asked(shop: Shop) -> None:
    """0, as the document says: the rows beyond it are for another run."""
    shop.write("prompt\na cat\na dog\n")
    for limit in (("--at-most", "1"), ("--budget", "0.05")):
        done = shop.run("--from", "prompts.csv", *limit, "--yes", code=0)
        assert "1 are beyond the limit of this command" in done.stderr
    assert shop.prompts() == ["a cat"]


@pytest.mark.process
def test_limits_hold_for_all_runs_together(shop: Shop) -> None:
    """0.05 each: 0.12 are two, and two again when it is run again."""
    shop.write("prompt\n" + "".join(f"cat {number}\n" for number in range(5)))
    for _ in range(2):
        done = shop.run("--from", "prompts.csv", "--budget", "0.12", "--yes")
        assert "3 are beyond the limit of this command" in done.stderr
        assert shop.prompts() == ["cat 0", "cat 1"]
    shop.run("--from", "prompts.csv", "--at-most", "3", "--yes")
    assert shop.prompts() == ["cat 0", "cat 1", "cat 2"]


@pytest.mark.process
def test_a_budget_of_the_server_stops_it(
    start_sandbox: Any, start_server: Any, tmp_path: Path, eventually: Any
) -> None:
    """What it refuses is submitted by a later run; rows of the same kind are not tried meanwhile."""
    sandbox = start_sandbox("--speed", "50")
    shop = Shop(tmp_path, start_server(toml=TOML.format(url=sandbox.url, most=2)), sandbox)
    shop.write("prompt\n" + "".join(f"cat {number}\n" for number in range(20)))
    said = shop.run("--from", "prompts.csv", "--yes", code=1)
    assert "budget 'pocket money'" in said.stderr
    assert "not tried: a budget refused a row before it" in said.stderr
    eventually(lambda: shop.sandbox.ledger()["billed"].get("imagine") == 2)
    refused = shop.server.get("/api/refused")["refused"]
    assert 1 <= len(refused) < 6
    assert shop.server.stop() == 0
    shop.server = start_server(toml=TOML.format(url=sandbox.url, most=1000))
    shop.run("--from", "prompts.csv", "--yes")
    eventually(lambda: shop.sandbox.ledger()["billed"]["imagine"] == 20)
    assert shop.server.get("/api/refused")["refused"] == []


@pytest.mark.process
def test_without_a_terminal_nobody_is_asked(shop: Shop) -> None:
    """That is a wrong call; nothing is submitted."""
    shop.write("prompt\na cat\n")
    with open(os.devnull) as nothing, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", nothing)
        assert "add --yes" in shop.run("--from", "prompts.csv", code=2).stderr
    assert shop.prompts() == []


def at_a_terminal(shop: Shop, *arguments: str, answer: bytes) -> tuple[int, str]:
    """The exit code and what is shown, after the question was answered."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "hookchain", "imagine", *arguments],
        cwd=shop.folder,
        env={"PYTHONPATH": str(ROOT), "PORT": shop.port, "TERM": "xterm", "COLUMNS": "120"} | MEASURING,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], PATIENCE_S)[0]:
            try:
                shown += (more := os.read(ours, 65536))
            except OSError:  # Linux says so when the last writer has closed it
                break
            if b"[y/N]" in more:
                os.write(ours, answer)
        os.close(ours)
        return process.wait(PATIENCE_S), shown.decode()


@pytest.mark.process
def test_at_a_terminal_it_asks_first_and_draws_one_bar(shop: Shop) -> None:
    """No is no."""
    shop.write("prompt\na cat\na dog\n")
    code, shown = at_a_terminal(shop, "--from", "prompts.csv", answer=b"n\n")
    assert (code, "2 are to be submitted for 0.1" in shown, shop.prompts()) == (1, True, [])
    code, shown = at_a_terminal(shop, "--from", "prompts.csv", answer=b"y\n")
    assert (code, "submitting: 2 of 2" in shown, "━" in shown) == (0, True, True)
    assert shop.prompts() == ["a cat", "a dog"]


@pytest.mark.process
def test_an_interrupted_run_goes_on_where_it_stopped(shop: Shop, eventually: Any, tmp_path: Path) -> None:
    """Ctrl+C in the middle of 1000 rows: the next run submits the others, and each is paid for once."""
    shop.write("prompt\n" + "".join(f"cat {number}\n" for number in range(1000)))
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hookchain",
            "imagine",
            "--from",
            "prompts.csv",
            "--yes",
            "--output",
            "r.jsonl",
        ],
        cwd=shop.folder,
        env={"PYTHONPATH": str(ROOT), "PORT": shop.port} | MEASURING,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background of a shell, it ignores Ctrl+C, and so would what they start.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        # One short answer: while all rows are read, the command may come to its end.
        eventually(lambda: len(shop.server.get("/api/submissions?limit=6")["submissions"]) > 5)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE_S)[1]
    before = len(shop.prompts())
    assert process.returncode == 130, said
    assert f"stopped: {before} of 1000 rows are submitted; run the same command again" in said
    assert 5 < before < 1000
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert sum(line["status"] == "not submitted" for line in lines) == 1000 - before
    shop.run("--from", "prompts.csv", "--yes")
    assert shop.prompts() == sorted(f"cat {number}" for number in range(1000))


@pytest.mark.process
def test_a_server_that_restarts_is_waited_for(shop: Shop, start_server: Any, eventually: Any) -> None:
    """kill -9 in between, and a new one at the same port: the same run ends well, and nothing is submitted twice."""
    shop.write("prompt\n" + "".join(f"cat {number}\n" for number in range(200)))
    port = shop.port
    with subprocess.Popen(
        [sys.executable, "-m", "hookchain", "imagine", "--from", "prompts.csv", "--yes"],
        cwd=shop.folder,
        env={"PYTHONPATH": str(ROOT), "PORT": port} | MEASURING,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        eventually(lambda: len(shop.prompts()) > 5)
        shop.server.kill()
        shop.server = start_server(command=["-m", "hookchain", "serve", "--port", port])
        said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 0, said
    assert shop.prompts() == sorted(f"cat {number}" for number in range(200))


@pytest.mark.process
def test_without_a_server_it_says_so(tmp_path: Path) -> None:
    """Unlike one prompt, rows are not queued."""
    (tmp_path / "prompts.csv").write_text("prompt\na cat\n")
    done = command.run(tmp_path, "imagine", "--from", "prompts.csv", "--yes", PORT="9")
    assert (done.returncode, "no server answers" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from", "none.csv"], "none.csv: No such file"),
        (["--from", "-", "--yes"], "--name NAME"),
        (["a cat", "--from", "prompts.csv"], "not both"),
        (["a cat", "--budget", "1"], "--budget belongs to --from FILE"),
        (["--from", "prompts.csv", "--output", "results.txt"], ".csv, .jsonl"),
        (["--from", "prompts.csv", "--output", "prompts.csv"], "is the file with the prompts"),
        (["--from", "prompts.csv", "--output", "none/results.csv"], "no file can be written there"),
    ],
)
def test_a_wrong_call_is_refused_first(tmp_path: Path, arguments: list[str], says: str) -> None:
    """Before a server is asked."""
    (tmp_path / "prompts.csv").write_text("prompt\na cat\n")
    done = command.run(tmp_path, "imagine", *arguments, PORT="9")
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def read(tmp_path: Path, content: str | bytes, name: str = "prompts.csv") -> Table:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(str(path))


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"\xef\xbb\xbfprompt\r\na cat\r\n\r\na dog\r\n", [(2, "a cat"), (4, "a dog")]),
        (b'prompt\n"a cat\non a mat"\na dog', [(2, "a cat\non a mat"), (4, "a dog")]),
        ('\n prompt ,x\n"a ""b"", c",\n 猫 ,1\n', [(3, 'a "b", c'), (4, " 猫 ")]),
        (b"prompt\n", []),
    ],
)
def test_a_csv_file_is_read_as_spreadsheets_write_it(
    tmp_path: Path, content: str | bytes, rows: list[tuple[int, str]]
) -> None:
    """BOM, CRLF, quotes, line ends in values, empty lines."""
    table = read(tmp_path, content)
    assert table.mistakes == []
    assert [(line.number, line.values["prompt"]) for line in table.lines] == rows


def test_json_lines_are_read(tmp_path: Path) -> None:
    """Lists of images, numbers as texts, null as nothing."""
    table = read(
        tmp_path,
        '{"prompt":"a cat","n":7,"images":["http://x/a"]}\n\n{"prompt":"a dog","n":null}\n',
        "p.jsonl",
    )
    assert table.columns == ["prompt", "n", "images"]
    assert [line.values for line in table.lines] == [
        {"prompt": "a cat", "n": "7", "images": ["http://x/a"]},
        {"prompt": "a dog", "n": ""},
    ]


@pytest.mark.parametrize(
    ("content", "name", "mistake"),
    [
        ("prompt,a\nx,y,z\n", "p.csv", "line 2: 3 values for 2 columns"),
        ("prompt,prompt\nx,y\n", "p.csv", "line 1: the header has the column 'prompt' more than once"),
        (
            "prompt;a\nx;y\n",
            "p.csv",
            "line 1: the header has one column, 'prompt;a'; separate columns with commas",
        ),
        ("prompt,\nx,y\n", "p.csv", "line 1: column 2 of the header has no name"),
        ('prompt\n"x', "p.csv", "line 2: unexpected end of data"),
        ('prompt\n"x"y\n', "p.csv", "line 2: ',' expected after '\"'"),
        ('{"prompt": "x"}\n[1]\n', "p.jsonl", "line 2: Expected `object`, got `array`"),
        ('{"prompt": "x", "prompt": "y"}\n', "p.jsonl", "line 1: a key is there more than once"),
        ('{"prompt": true}\n', "p.jsonl", "line 1: Expected"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, content: str, name: str, mistake: str) -> None:
    """With its number and what to write."""
    assert read(tmp_path, content, name).mistakes[0].startswith(mistake)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"prompt\na c\xe4t\n", ":2: the text is not UTF-8"),
        ("prompt\nx\n".encode("utf-16"), "is UTF-16"),
    ],
)
def test_another_encoding_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    """Old spreadsheets write Latin-1 and UTF-16."""
    with pytest.raises(SettingsError, match=says):
        read(tmp_path, content)


def made(table: Table, columns: Columns | None = None, **options: str) -> list[Row]:
    asked = {"name": "batch", "file": "prompts.csv", "upstream": ""} | options
    return rows_of(table, columns or Columns(), {"main": DIALECTS["trueai"]}, **{"mode": ""} | asked)


def test_a_key_depends_on_what_a_row_says_and_on_nothing_else(tmp_path: Path) -> None:
    """Not on its line, its file's other columns, or where it is sent; but on the batch's name, and on how often it was there before."""
    first = made(read(tmp_path, "prompt\na\nb\na\n"))
    moved = made(read(tmp_path, "prompt,upstream,notes\nb,main,x\na,,y\na,,\n"), Columns(ignored=["notes"]))
    assert sorted(row.key for row in first) == sorted(row.key for row in moved)
    assert len({row.key for row in first}) == 3
    other = made(read(tmp_path, "prompt\na\nb\na\n"), name="other")
    assert not {row.key for row in first} & {row.key for row in other}
    assert all(
        len(row.key) < 120 and row.key.isascii() for row in made(read(tmp_path, "prompt\n猫\n"), name="猫")
    )


@pytest.mark.parametrize(
    ("content", "columns", "says"),
    [
        ("promt\nx\n", Columns(), "it has no column 'prompt'. Did you mean \"promt\"?"),
        (
            "prompt,mode\nx,slow\n",
            Columns(),
            "line 2: mode: dialect trueai has no mode 'slow'; it has: fast, turbo, relax",
        ),
        ("prompt,bottype\nx,y\n", Columns(), "unknown column 'bottype'. Did you mean \"bot_type\"?"),
        ("prompt\nx\n", Columns(state="customer"), "it has no column 'customer'"),
        ("prompt\n", Columns(), "it has no rows"),
        ("", Columns(), "it is empty"),
        ("prompt,s\nx," + "y" * 300 + "\n", Columns(state="s"), "line 2: s has 300 characters"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, columns: Columns, says: str) -> None:
    """An unknown column may be a slip, and each row would be paid for without it."""
    with pytest.raises(WrongRows) as refused:
        made(read(tmp_path, content), columns)
    assert refused.value.lines[0].startswith(f"prompts.csv: {says}")


_EMPTY: dict[object, object] = {str: "", int: 0, list[str]: []}
ANSWER = {field.name: _EMPTY.get(field.type) for field in msgspec.structs.fields(Submission)}
"""A submission as the API gives it, whichever fields it has."""


class Busy(BaseHTTPRequestHandler):
    """A proxy before a server, or a server that is stopping: its first answer to each key is 503, and no submission."""

    keys: list[str]

    def do_POST(self) -> None:
        key = self.headers["idempotency-key"]
        is_first = key not in self.keys
        self.keys.append(key)
        body = json.dumps({"detail": "too busy"} if is_first else ANSWER).encode()
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(503 if is_first else 202)
        self.send_header("retry-after", "0")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not among the test's output."""


@pytest.fixture
def busy() -> Iterator[ThreadingHTTPServer]:
    Busy.keys = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_retry_after_is_respected_under_the_same_key(busy: ThreadingHTTPServer, tmp_path: Path) -> None:
    """503 with Retry-After: each row is asked for twice, and submitted."""
    settings = load_settings({"HOST": "127.0.0.1", "PORT": str(busy.server_port)}, tmp_path)
    rows = made(read(tmp_path, "prompt\n" + "".join(f"cat {number}\n" for number in range(9))))
    sent = list(Sending(Server(settings)).send(rows))
    assert {one.problem for one in sent} == {""}
    assert sorted(one.row.line for one in sent) == [row.line for row in rows]
    assert sorted(Busy.keys) == sorted([row.key for row in rows] * 2)
