"""`hookchain new rules NAME --from X`: what is copied, what is said about it first, and what is refused."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import msgspec
import pytest

from hookchain.cli.new_rules import check_variables
from hookchain.cli.rule_copy import tables_of
from hookchain.cli.rule_sources import LARGEST_BYTES, RuleText, description_of, examples, fetched, found
from hookchain.settings.conversion import SettingsError
from hookchain.testing import Hookchain, grid
from tests.conftest import REPOSITORY
from tests.midjourney.transport import conftest as transport
from tests.support import command
from tests.support.answering import Talk, serving

certificate, tls = transport.certificate, transport.tls
"""Fixtures: a certificate for localhost, and what a server needs to be localhost."""

BLUEPRINT = """# A comment that is kept.
[blueprint]
description = "Tell a chat about pictures."

[blueprint.inputs.chat]
description = "where to tell it"
type = "url"

[blueprint.inputs.most]
type = "number"
default = 2

[[rules]]
name = "tell" # another
on = ["task.succeeded", "task.failed"]
if = "submission.asked_by != 'rule:tell' and chain.depth < vars.most"
limit = "<<most>>"
notify = { to = "<<chat>>", text = "<<most>> {{ task.prompt }}" }
"""


def new(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, without a terminal."""
    return command.run(folder, "new", "rules", *arguments, **environment)


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.toml"))


def test_the_examples_are_listed_with_what_they_do(tmp_path: Path) -> None:
    """One line for each."""
    lines = dict(line.split("\t") for line in new(tmp_path, "--list").stdout.splitlines())
    assert lines.keys() == {path.stem for path in (REPOSITORY / "examples").glob("*.toml")}
    assert lines["upscale-all"] == "Press U1 to U4 of every new grid."
    assert all(about.endswith(".") for about in lines.values())


@pytest.mark.parametrize("name", examples())
def test_an_example_is_copied_under_names_of_its_own(tmp_path: Path, name: str) -> None:
    """With its comments, valid, and beside a second copy. It needs no confirmation: it is part of hookchain."""
    environment = {
        "FORWARD_URL": "https://other.example.com/in",
        "FORWARD_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
        "NOTIFY_TO": "json://127.0.0.1",
        "MAIN_URL": "https://main.example.com",
        "OTHER_URL": "https://other.example.com",
        "ALICE_KEY": "alice-key-1",
        "BOB_KEY": "bob-key-1",
    }
    for copy in ("one", "two"):
        made = new(tmp_path, copy, "--from", name)
        assert (made.returncode, made.stdout.splitlines()[0]) == (0, f"wrote {copy}.toml"), made.stderr
    text = (tmp_path / "one.toml").read_text()
    assert text.startswith(f"#:schema ./hookchain.schema.json\n# Made from the built-in example {name}.\n")
    original = examples()[name].read_text()
    assert [line for line in original.splitlines() if line.startswith("#") and line not in text] == []
    if tomllib.loads(original).keys() > {"rules"}:  # with settings of its own, it is used by itself
        alone = command.run(tmp_path, "rules", "check", "one.toml", "two.toml", "--strict", **environment)
        assert alone.returncode == 0, alone.stderr
        return
    (tmp_path / "hookchain.toml").write_text('include = ["one.toml", "two.toml"]\n')
    checked = command.run(tmp_path, "rules", "check", "--strict", **environment)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.splitlines()[-1] == f"{2 * len(tomllib.loads(original)['rules'])} rules, all valid"


@pytest.mark.process
def test_what_the_rules_may_do_is_said_in_plain_words(tmp_path: Path) -> None:
    """What they hear, spend, send, read and write; in the words of the file, which cannot control the terminal."""
    (tmp_path / "x.toml").write_text(
        """# Does everything.\\u001b
[[rules]]
name = "all"
on = ["task.succeeded", "children.done"]
if = "chain.depth == 0"
once_per = "chain"
press = ["U1", "V*"]
imagine = { prompt = "a cat", images = ["own.png", "https://x/y.png"] }
upstream = "relay"
archive = "s3://bucket/x"
approve = { notify = "json://127.0.0.1/approve" }
forward = { url = "https://stranger.example.com/${SECRET}" }
notify = "json://127.0.0.1"
""".replace("\\u001b", " \u202e")
    )
    (tmp_path / "own.png").write_bytes(b"")
    done = new(tmp_path, "mine", "--from", "x.toml", SECRET="do not tell")
    assert (
        done.stderr.splitlines()[1:-1]
        == [
            "mine: hears task.succeeded, children.done, if chain.depth == 0, at most once per chain",
            "  spends: presses U1, V* at relay",
            "  spends: submits the prompt a cat at relay",
            "  keeps pictures in s3://bucket/x",
            "  sends: the task, with its prompt, to https://stranger.example.com/${SECRET}",
            "  sends: its prompt to json://127.0.0.1",
            "  holds what it submits until somebody approves it",
            "  sends: its question for approval to json://127.0.0.1/approve",
            "  reads the files own.png",
            "! reads variables of your environment: ${SECRET}",
            "! Their values may be secrets, and go wherever the rules above send something.",
        ]
        or "extra" in done.stderr
    )
    assert (done.returncode, written(tmp_path)) == (2, ["x.toml"])
    assert "do not tell" not in done.stdout + done.stderr
    assert done.stderr.endswith("nothing was written: add --yes to write it without being asked\n")


@pytest.mark.process
def test_a_blueprint_is_filled_and_runs(tmp_path: Path, hookchain: Hookchain) -> None:
    """Values with quotes are values. References to its own name are renamed with it."""
    (tmp_path / "bp.toml").write_text(BLUEPRINT)
    chat = 'json://127.0.0.1/"]\\x'
    done = new(tmp_path, "mine", "--from", "bp.toml", "--set", f"chat={chat}", "--set", "most=3", "--yes")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "mine.toml").read_text()
    assert "# A comment that is kept.\n" in text
    assert 'name = "mine" # another\n' in text
    assert "'rule:mine'" in text
    assert tomllib.loads(text)["blueprint"]["values"] == {"chat": chat, "most": 3}
    again = new(tmp_path, "again", "--from", "mine.toml", "--set", "chat=json://127.0.0.1", "--yes")
    assert again.returncode == 0, again.stderr
    assert tomllib.loads((tmp_path / "again.toml").read_text())["blueprint"]["values"] == {
        "chat": "json://127.0.0.1",
        "most": 3,
    }
    hookchain.load_rules(tmp_path / "again.toml")
    assert [told.text for told in hookchain.succeed(grid()).told] == ["3 a cat"]


@pytest.mark.process
def test_two_copies_of_a_blueprint_share_its_macros(tmp_path: Path, hookchain: Hookchain) -> None:
    """Each with its own values: `vars` in a macro are those of the rule."""
    macros = '[macros]\nis_early = "chain.depth < vars.most"\nnote = "{{ vars.most }} {{ task.prompt }}"\n\n'
    text = """[blueprint.inputs.most]
type = "number"

[[rules]]
name = "tell"
on = "task.succeeded"
if = "is_early"
notify = { to = "json://127.0.0.1", text = "{{ note }}" }
"""
    (tmp_path / "bp.toml").write_text(macros + text)
    for name, most in (("one", "1"), ("two", "2")):
        done = new(tmp_path, name, "--from", "bp.toml", "--set", f"most={most}", "--yes")
        assert done.returncode == 0, done.stderr
    (tmp_path / "hookchain.toml").write_text('include = ["one.toml", "two.toml"]\n')
    hookchain.load_rules(tmp_path / "hookchain.toml")
    assert sorted(told.text for told in hookchain.succeed(grid()).told) == ["1 a cat", "2 a cat"]


def test_all_that_is_missing_or_wrong_is_said_at_once(tmp_path: Path) -> None:
    """And nothing is written."""
    text = BLUEPRINT + '[blueprint.inputs.wait]\ntype = "duration"\n[blueprint.inputs.on]\ntype = "bool"\n'
    (tmp_path / "bp.toml").write_text(text)
    done = new(tmp_path, "mine", "--from", "bp.toml", "--set", "wait=soon", "--set", "mst=3", "--set", "most")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        """hookchain: --set 'wait': 'soon' is not a time. Write seconds, or "10 min", "2 h", "3 days".""",
        """hookchain: --set mst: no input is named 'mst'. Did you mean "most"?""",
        "hookchain: --set most: write --set NAME=VALUE",
        "hookchain: --set chat=… is missing: where to tell it",
        "hookchain: --set wait=… is missing: duration",
        "hookchain: --set on=… is missing: bool",
    ]
    assert written(tmp_path) == ["bp.toml"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[rules]\n", "is not valid TOML"),
        ("", "has no [[rules]]"),
        ('admin_token = "x"\n' + BLUEPRINT, "has the key 'admin_token'"),
        ('include = ["/etc/*"]\n' + BLUEPRINT, "has the key 'include'"),
        (BLUEPRINT.replace("notify =", "notfy ="), 'unknown key. Did you mean "notify"?'),
        (BLUEPRINT.replace("if =", 'name = "x"\n[[rules]]\non = "task.lost"\nif =')[:-1], "not valid TOML"),
        ('rules = [{ name = "x", on = "task.succeeded", press = "U1" }]\n', "cannot be copied"),
        (BLUEPRINT.replace("<<most>> {{", "{{ <<most>> ~"), "cannot be used inside an expression"),
        ("[[rules]]\n" * 101, "has more than 100 rules"),
        ("# " + "x" * LARGEST_BYTES, f"has more than {LARGEST_BYTES} bytes"),
        (BLUEPRINT.replace("vars.most", "(" * 1000 + "1" + ")" * 1000), "nested too deeply"),
    ],
    ids=range(11),
)
def test_a_wrong_file_is_refused_before_anything_is_written(tmp_path: Path, text: str, says: str) -> None:
    """With what is wrong."""
    (tmp_path / "x.toml").write_text(text)
    values = ["--set", "chat=json://127.0.0.1"] if "blueprint" in text else []
    done = new(tmp_path, "mine", "--from", "x.toml", *values, "--yes")
    assert (done.returncode, written(tmp_path)) == (2, ["x.toml"]), done.stderr
    assert says in done.stderr


@pytest.mark.process
def test_brackets_without_an_end_take_no_time(tmp_path: Path) -> None:
    """A stranger's text is read once."""
    (tmp_path / "x.toml").write_text(BLUEPRINT.replace("<<most>> {{", "{{" * 60_000 + "rule:tell " * 9_000))
    begun = time.process_time()
    done = new(tmp_path, "mine", "--from", "x.toml", "--set", "chat=json://127.0.0.1", "--yes")
    assert done.returncode == 2
    assert time.process_time() - begun < 10


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Nor is a name outside of the folder."""
    (tmp_path / "mine.toml").write_text("mine")
    assert "mine.toml already exists" in new(tmp_path, "mine", "--from", "zoom-out").stderr
    assert (tmp_path / "mine.toml").read_text() == "mine"
    for name in ("../x", "a/b", "A", ""):
        assert "is not a valid name" in new(tmp_path, name, "--from", "zoom-out").stderr
    assert "--set, --yes and --allow-variables are for copies" in new(tmp_path, "x", "--yes").stderr
    assert "the name of the new rules is missing" in new(tmp_path, "--from", "pan").stderr


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("zoom-ot", 'is no built-in example, no file and no https:// address. Did you mean "zoom-out"?'),
        ("http://example.com/x.toml", "is not an https:// address"),
        ("file:///etc/passwd", "is not an https:// address"),
        ("https://127.0.0.1/x.toml", "is in a private network, and is not fetched"),
        ("https://[::1]/x.toml", "is in a private network, and is not fetched"),
        ("https://169.254.169.254/x", "a cloud's metadata service, which is never fetched"),
        ("https://user:pass@127.0.0.1/x", "a URL with a user name is not fetched"),
        ("https://x:999999/", "cannot be reached"),
    ],
)
def test_only_public_https_addresses_are_asked(source: str, says: str) -> None:
    """Nothing leaves for any other."""
    with pytest.raises(SettingsError, match=re.escape(says)):
        found(source)


def _local(url: str) -> str:
    return url.replace("127.0.0.1", "localhost")


def answer(body: str, head: str = "200 OK\r\ncontent-type: text/plain") -> bytes:
    content = body.encode()
    return f"HTTP/1.1 {head}\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content


async def _fetch(
    path: str, answers: dict[str, bytes], certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> str:
    async def script(talk: Talk) -> None:
        while request := await talk.request():
            await talk.say(answers[request.split()[1].decode()])

    authorities = ssl.create_default_context(cafile=str(certificate[0]))
    async with serving(script, tls=tls) as server:
        url = f"{_local(server.url)}{path}"
        answers["/loop"] = answer("", f"302 Found\r\nlocation: {url}")
        return await fetched(url, allow_private=True, authorities=authorities)


async def test_a_file_is_fetched_with_its_redirects(
    certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    """Each is checked as the first was."""
    answers = {"/a?q=1": answer("", "302 Found\r\nlocation: /b"), "/b": answer("\ufeff# x\r\n")}
    assert await _fetch("/a?q=1", answers, certificate, tls) == "# x\n"


@pytest.mark.parametrize(
    ("path", "given", "says"),
    [
        ("/a", answer("", "302 Found\r\nlocation: http://localhost/x"), "is not an https:// address"),
        ("/loop", b"", "redirects more than 3 times"),
        ("/a", answer("no", "404 Not Found"), "answered HTTP 404"),
        ("/a", answer("x" * (LARGEST_BYTES + 1)), f"has more than {LARGEST_BYTES} bytes"),
        ("/a", answer("<html>", "200 OK\r\ncontent-type: text/html"), "it is text/html"),
        ("/a", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\xff", "is not a text in UTF-8"),
    ],
    ids=range(6),
)
async def test_an_answer_that_is_no_file_is_refused(
    certificate: tuple[Path, Path],
    tls: ssl.SSLContext,
    path: str,
    given: bytes,
    says: str,
) -> None:
    """Within its bounds."""
    with pytest.raises(SettingsError, match=re.escape(says)):
        await _fetch(path, {"/a": given}, certificate, tls)


async def test_a_certificate_that_nobody_vouches_for_is_refused(tls: ssl.SSLContext) -> None:
    """As for every address."""

    async def script(talk: Talk) -> None:
        await talk.request()

    async with serving(script, tls=tls) as server:
        with pytest.raises(SettingsError, match="cannot be loaded"):
            await fetched(_local(server.url), allow_private=True)


def test_a_file_from_the_web_reads_no_variables_unless_allowed() -> None:
    """What it reads could be sent to a stranger."""
    text = BLUEPRINT.replace("<<chat>>", "json://x/${HOOKCHAIN_ADMIN_TOKEN}")
    of_web = RuleText(kind="https", text=text, where="https://x/y", name="y")
    tables = tables_of(text, "https://x/y")
    with pytest.raises(SettingsError, match=r"reads \$\{HOOKCHAIN_ADMIN_TOKEN\} of your environment"):
        check_variables(of_web, tables, allowed=False)
    check_variables(of_web, tables, allowed=True)
    check_variables(of_web, tables_of(BLUEPRINT, "x"), allowed=False)
    check_variables(msgspec.structs.replace(of_web, kind="file"), tables, allowed=False)


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
@pytest.mark.parametrize(("last", "code"), [("y", 0), ("n", 1)])
def test_a_person_is_asked_for_what_is_missing_and_for_consent(tmp_path: Path, last: str, code: int) -> None:
    """A wrong answer is asked for again. With a no, nothing is written."""
    import pty

    (tmp_path / "bp.toml").write_text(BLUEPRINT)
    ours, theirs = pty.openpty()
    os.write(ours, f"nowhere\njson://127.0.0.1\n{last}\n".encode())
    arguments = ["-m", "hookchain", "new", "rules", "mine", "--from", "bp.toml"]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert "chat (where to tell it), url" in done.stderr
    assert "'chat' is 'nowhere', which is not an address" in done.stderr
    assert "Write mine.toml?" in done.stderr
    assert (done.returncode, (tmp_path / "mine.toml").exists()) == (code, last == "y"), done.stderr


def test_a_description_is_one_sentence() -> None:
    """Of the comment, or as the blueprint says it."""
    assert description_of("#:schema x\n# One. Two.\n\n# Three.\n") == "One."
    assert description_of(BLUEPRINT) == "Tell a chat about pictures."
