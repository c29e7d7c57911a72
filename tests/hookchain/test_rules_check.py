"""`hookchain rules check`: whole files, as `serve` would read them."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import command

RIGHT = (
    '[[rules]]\nname = "up"\non = "task.succeeded"\nif = "task.is_grid and chain.depth == 0"\npress = "U*"\n'
)
WRONG = RIGHT.replace("press", "pres")


def test_a_right_file_is_0_and_a_wrong_one_2_as_for_every_command(tmp_path: Path) -> None:
    """The configuration is wrong; so is a call that names no file that exists."""
    (tmp_path / "hookchain.toml").write_text(RIGHT)
    (tmp_path / "wrong.toml").write_text(WRONG)
    right = command.run(tmp_path, "rules", "check")
    assert (right.returncode, right.stdout.splitlines()[-1]) == (0, "1 rule, valid")
    wrong = command.run(tmp_path, "rules", "check", "wrong.toml")
    assert (wrong.returncode, wrong.stdout) == (2, "wrong.toml: 1 mistake\n")
    assert (
        wrong.stderr
        == 'hookchain: wrong.toml:5, rule "up", key \'pres\': unknown key. Did you mean "press"?\n'
    )
    missing = command.run(tmp_path, "rules", "check", "hookchain.toml", "missing.toml")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "missing.toml does not exist" in missing.stderr


def test_all_mistakes_of_several_files_are_reported_with_their_lines(tmp_path: Path) -> None:
    """Of settings too, in the words of `serve`; a file that cannot be parsed hides nothing of the others."""
    (tmp_path / "a.toml").write_text(f"prot = 1\n[budget]\ndeep = 2\nper_hour = -1\n{WRONG}")
    (tmp_path / "b.toml").write_text(
        f"{RIGHT}# ${{A_VARIABLE}}\nstate = '${{NOT_SET}} ${{NOT_SET_EITHER}}'\n"
    )
    (tmp_path / "c.toml").write_text(f"port = eighty\n{RIGHT}")
    (tmp_path / "d.toml").write_text(RIGHT.replace("[[rules]]", "[rules]"))
    (tmp_path / "e.toml").write_text(RIGHT)
    done = command.run(tmp_path, "rules", "check", *(f"{name}.toml" for name in "abcde"))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        """hookchain: a.toml:1: unknown key 'prot'. Did you mean "port"?""",
        """hookchain: a.toml:3, [budget]: unknown key 'deep'. Did you mean "depth"?""",
        """hookchain: a.toml:4, [budget]: per_hour is -1; it must be between 0 and 1000000000""",
        """hookchain: a.toml:9, rule "up", key 'pres': unknown key. Did you mean "press"?""",
        """hookchain: b.toml:7 uses ${NOT_SET}, but this variable is not set""",
        """hookchain: b.toml:7 uses ${NOT_SET_EITHER}, but this variable is not set""",
        """hookchain: c.toml:1 is not valid TOML: Invalid value (at line 1, column 8); write texts in straight quotes, key = "text", and true and false in small letters""",
        """hookchain: d.toml:1: `rules` must be an array of tables. Write [[rules]] above each rule.""",
    ]
    assert done.stdout.splitlines()[-2:] == [
        "e.toml:1: up: on task.succeeded, press",
        "1 rule, valid",
    ]


def test_the_upstreams_and_dialects_are_those_of_the_checked_file(tmp_path: Path) -> None:
    """Not those of the hookchain.toml beside it, nor of HOOKCHAIN_CONFIG; variables count as they do for `serve`."""
    (tmp_path / "hookchain.toml").write_text("[upstreams.main]\nurl = 'http://x'\n")
    rule = '[[rules]]\nname = "r"\non = "task.failed"\nif = "chain.depth == 0"\nimagine = "a cat"\nupstream = "second"\n'
    (tmp_path / "two.toml").write_text(
        "[dialects.mine]\nlike = 'new-api'\n[upstreams.main]\nurl = 'http://x'\ndialect = 'mine'\n"
        f"[upstreams.second]\nurl = 'http://y'\n{rule}"
    )
    (tmp_path / "none.toml").write_text(rule)
    run = command.run(tmp_path, "rules", "check", "two.toml", HOOKCHAIN_CONFIG="hookchain.toml")
    assert (run.returncode, run.stderr) == (0, "")
    none = command.run(tmp_path, "rules", "check", "none.toml")
    assert "none.toml:6, rule \"r\", key 'upstream': unknown upstream 'second'." in none.stderr
    with_variable = command.run(
        tmp_path, "rules", "check", "none.toml", HOOKCHAIN_UPSTREAMS_SECOND_URL="http://y"
    )
    assert (with_variable.returncode, with_variable.stderr) == (0, "")


def test_rules_are_checked_although_the_settings_are_wrong(tmp_path: Path) -> None:
    """Against the names of the upstreams that the file has."""
    text = (
        "[upstreams.second]\nurl = 'ftp://y'\n[[rules]]\nname = 'r'\non = 'task.failed'\nimagine = 'a cat'\n"
    )
    (tmp_path / "right.toml").write_text(f"{text}upstream = 'second'\n")
    (tmp_path / "wrong.toml").write_text(f"{text}upstream = 'secnd'\n")
    assert len(command.run(tmp_path, "rules", "check", "right.toml").stderr.splitlines()) == 1
    assert len(command.run(tmp_path, "rules", "check", "wrong.toml").stderr.splitlines()) == 2


def test_machines_read_it_as_json(tmp_path: Path) -> None:
    """Each mistake with its parts."""
    (tmp_path / "wrong.toml").write_text(f"prot = 1\n{WRONG}")
    done = command.run(tmp_path, "rules", "check", "wrong.toml", "--json")
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout) == {
        "files": [{"file": "wrong.toml", "rules": 0}],
        "mistakes": [
            {
                "file": "wrong.toml",
                "line": 1,
                "rule": None,
                "key": "",
                "problem": "wrong.toml: unknown key 'prot'. Did you mean \"port\"?",
                "remedy": "",
                "kind": "settings",
            },
            {
                "file": "wrong.toml",
                "line": 6,
                "rule": "up",
                "key": "pres",
                "problem": "unknown key",
                "remedy": 'Did you mean "press"?',
                "kind": "mistake",
            },
        ],
        "warnings": [],
    }


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_is_no_mistake_and_moves_no_line(tmp_path: Path, mark: str) -> None:
    """Windows editors write one."""
    (tmp_path / "r.toml").write_text(mark + WRONG, encoding="utf-8")
    assert command.run(tmp_path, "rules", "check", "r.toml").stderr.startswith("hookchain: r.toml:5, rule")


DOUBTFUL = RIGHT.replace("task.is_grid and chain.depth == 0", "task.action == 'upscale'")
WARNING = "task.action == 'upscale': task.action is never 'upscale'. Write 'UPSCALE', in capitals."


def test_warnings_leave_the_exit_code_unless_strict_is_asked_for(tmp_path: Path) -> None:
    """A rule that never fires is valid; whoever checks a file before a release may want to know."""
    (tmp_path / "hookchain.toml").write_text(DOUBTFUL)
    (tmp_path / "wrong.toml").write_text(WRONG)
    done = command.run(tmp_path, "rules", "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"! hookchain.toml:4, rule \"up\", key 'if': {WARNING}" in done.stdout.splitlines()
    assert command.run(tmp_path, "rules", "check", "--strict").returncode == 1
    assert command.run(tmp_path, "rules", "check", "--strict", "hookchain.toml", "wrong.toml").returncode == 2
    report = json.loads(command.run(tmp_path, "rules", "check", "--json").stdout)
    assert report["warnings"] == [
        {
            "file": "hookchain.toml",
            "line": 4,
            "rule": "up",
            "key": "if",
            "problem": "task.action == 'upscale': task.action is never 'upscale'",
            "remedy": "Write 'UPSCALE', in capitals.",
            "kind": "word",
        }
    ]


def test_a_budget_without_prices_is_a_warning_too(tmp_path: Path) -> None:
    """As at the start of the server."""
    (tmp_path / "hookchain.toml").write_text(
        f"[upstreams.main]\nurl = 'http://x'\n[[budgets]]\nper = 'day'\nspend = 5.0\n{RIGHT}"
    )
    report = json.loads(command.run(tmp_path, "rules", "check", "--json").stdout)
    assert [warning["kind"] for warning in report["warnings"]] == ["prices"]


@pytest.mark.process
def test_a_rule_that_is_switched_off_is_shown_as_such(start_server: Any, tmp_path: Path) -> None:
    """With its description, in the API, on the page, in `rules list` and in `rules check`."""
    (tmp_path / "hookchain.toml").write_text(
        f'{RIGHT}enabled = false\ndescription = "All four, for the shop"\n'
        + RIGHT.replace('"up"', '"on"')
        + 'description = "On since May"\n'
    )
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    loaded = server.get("/api/rules")
    assert [(one["name"], one["enabled"]) for one in loaded["rules"]] == [("up", False), ("on", True)]
    assert [one["name"] for one in loaded["receivers"]] == ["rule:on"]
    page = server.http.get("/rules").text
    assert "Switched off:" in page
    assert "All four, for the shop" in page
    assert "On since May" in page
    listed = command.run(tmp_path, "rules", "list", PORT=str(server.http.base_url.port), HOST="127.0.0.1")
    assert [line.endswith(", switched off") for line in listed.stdout.splitlines()] == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert "up: All four, for the shop" in listed.stdout.splitlines()
    checked = command.run(tmp_path, "rules", "check").stdout.splitlines()
    assert [line.endswith(" (switched off)") for line in checked] == [True, False, False]


@pytest.mark.process
def test_a_running_server_shows_the_warnings_everywhere(start_server: Any, tmp_path: Path) -> None:
    """In the API, on the page, and in `rules list`."""
    (tmp_path / "hookchain.toml").write_text(DOUBTFUL)
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    [rule] = server.get("/api/rules")["rules"]
    assert [(one["kind"], one["key"], f"{one['problem']}. {one['remedy']}") for one in rule["warnings"]] == [
        ("word", "if", WARNING)
    ]
    assert WARNING in html.unescape(server.http.get("/rules").text)
    listed = command.run(tmp_path, "rules", "list", PORT=str(server.http.base_url.port), HOST="127.0.0.1")
    assert f"! up, key 'if': {WARNING}" in listed.stdout.splitlines()


RULE = '[[rules]]\nname = "deep"\non = "task.succeeded"\n'
PRESS = RULE + 'press = "U1"\n'
EXTREMES = {
    "brackets": (f'{PRESS}if = "{"(" * 100}task.is_grid{")" * 100}"', "more than 30 brackets in each other"),
    "nots": (f'{PRESS}if = "{"not " * 400}task.is_grid"', "nested too deeply"),
    "ands": (f'{PRESS}if = "{"task.id and " * 300}task.id"', "nested too deeply"),
    "blocks": (
        f'{RULE}imagine = "{"{% if task.id %}" * 300}x{"{% endif %}" * 300}"',
        "nested too deeply",
    ),
    "brackets of a text": (f'{RULE}imagine = "{{{{ {"[" * 100}{"]" * 100} }}}}"', "more than 30 brackets"),
    "a list": (f"x = {'[' * 20_000}", "too many brackets in each other"),
    "a picture": (f'{RULE}describe = "{"a" * 20_000}"', "cannot be read: File name too long"),
    "pictures": (f'{RULE}imagine = {{ prompt = "x", images = ["{"a" * 20_000}"] }}', "File name too long"),
    "a mask": (
        f'[[rules]]\nname = "deep"\non = "submission.needs_modal"\nmodal = {{ mask = "{"a" * 20_000}" }}',
        "cannot be used: File name too long",
    ),
    "a folder": (f'{RULE}archive = "{"a" * 3000}"', "the name is too long"),
    "folders": (f'{RULE}split_grid = "{"a/" * 3000}"', "the name is too long"),
    "a NUL": (f'{RULE}archive = "\\u0000"', "it has a NUL character"),
    "an address": (f'{RULE}forward = "http://a\\u0000b/"', "is not a URL"),
    "a port": (f'{RULE}forward = "http://x:99999/"', "names no port that exists"),
    "half an address": (f'{RULE}forward = "http://[::1"', "is not a URL"),
    "no server": (f'{RULE}forward = "http:///x"', "names no server"),
}


@pytest.mark.parametrize("kind", EXTREMES)
def test_extremes_are_mistakes_too_and_hide_no_other_file(kind: str, tmp_path: Path) -> None:
    text, says = EXTREMES[kind]
    (tmp_path / "deep.toml").write_text(text)
    (tmp_path / "other.toml").write_text('[[rules]]\nname = "wrong"\non = "task.succeeded"\n')
    done = command.run(tmp_path, "rules", "check", "deep.toml", "other.toml")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr[-2000:]
    wrong, other = done.stderr.splitlines()
    assert says in wrong
    assert len(wrong) < 1000 or kind in ("blocks", "nots", "ands")
    assert "it does nothing" in other


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    done = command.run(tmp_path, "rules", "check", str(tmp_path))
    assert done.returncode == 2
    assert "is a folder; name a file in it" in "".join(done.stderr.split("\n"))


def test_what_upstreams_lack_is_checked_only_where_it_is_known(tmp_path: Path) -> None:
    """Not for the sandbox, which stands in for an upstream to come; not while the settings are wrong; not if the rule tells them apart."""
    mode = RIGHT + 'mode = "turbo"\n'
    (tmp_path / "sandbox.toml").write_text(mode)
    (tmp_path / "wrong.toml").write_text(
        f'[upstreams.main]\nurl = "https://a.example"\ndialect = "x"\n{mode}'
    )
    both = "".join(
        f'[upstreams.{name}]\nurl = "https://a.example"\ndialect = "{name}"\n'
        for name in ("trueai", "novicezk")
    )
    (tmp_path / "apart.toml").write_text(both + mode.replace("task.is_grid", "chain.upstream == 'trueai'"))
    assert command.run(tmp_path, "rules", "check", "sandbox.toml", "apart.toml", "--strict").returncode == 0
    wrong = command.run(tmp_path, "rules", "check", "wrong.toml")
    assert "unknown dialect" in wrong.stderr
    assert "turbo" not in wrong.stderr
