"""`hookchain schema`: what editors say about hookchain.toml is what hookchain says."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from hookchain.schema import MEANINGS, file_schema
from hookchain.settings.environment import keys
from hookchain.settings.tables import File
from tests.support import command

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TABLE = re.compile(
    r"^\[+(rules|upstreams|budgets?|retention|quotas|gateway|clients|pools|dialects)\b", re.MULTILINE
)

WRONG_BY_SHAPE = re.compile(
    r"unknown key|unknown signal|is missing(?!; write url)|(?<!un)expected (?:a|true) |is not an allowed value|"
    r"is not between(?! 0 and 30 days)|it does nothing"
)
"""What a message of tests/dispatcher/wrong_rules.txt says about a mistake that a schema can see. It does not see that a variable might set a
url, and not how long a text such as "800 h" lasts."""


@pytest.fixture(scope="module")
def validator() -> Any:
    Draft202012Validator.check_schema(file_schema())
    return Draft202012Validator(file_schema())


def blocks(page: Path) -> list[str]:
    """The TOML of a page: blocks that are indented, or between fences."""
    text = page.read_text()
    indented = [
        re.sub(r"^    ", "", block, flags=re.MULTILINE)
        for block in re.findall(r"(?:^    .*\n|^\n)+", text, re.MULTILINE)
    ]
    return [
        block
        for block in [*indented, *re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]
        if TABLE.search(block)
    ]


def parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # a part of a file, or a shell's words beside it
        return None


FILES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [ROOT / "hookchain.toml", *(ROOT / "examples").glob("*.toml")]
}
FILES |= {
    f"{page.relative_to(ROOT)} {number}": text for page in PAGES for number, text in enumerate(blocks(page))
}


@pytest.mark.parametrize("name", FILES)
def test_what_we_show_is_right(validator: Any, name: str) -> None:
    """Each example, and each table in the documentation."""
    tables = parsed(FILES[name])
    if tables is None:
        assert name.startswith(("docs/", "README")), name
        pytest.skip("a part of a file")
    assert [error.message for error in validator.iter_errors(tables)] == []


def test_much_is_shown() -> None:
    """The search for tables finds them."""
    assert len([name for name, text in FILES.items() if name.startswith("docs/") and parsed(text)]) >= 7


WRONG = [
    one.split("\n\n-> ")
    for one in (ROOT / "tests/dispatcher/wrong_rules.txt").read_text().split("-" * 20 + "\n")
    if one.strip()
]
SEEN = [(text, message.strip()) for text, message in WRONG if WRONG_BY_SHAPE.search(message)]


@pytest.mark.parametrize(("text", "message"), SEEN, ids=[message[:60] for _, message in SEEN])
def test_a_rule_of_a_wrong_shape_is_marked(validator: Any, text: str, message: str) -> None:
    """What the server refuses because of a key, a type, a bound or a fixed word, editors mark."""
    assert not validator.is_valid(tomllib.loads(text)), message


@pytest.mark.parametrize(
    "text",
    [
        "prot = 8000",
        "port = 70000",
        "port = '8000'",
        "log_level = 'loud'",
        "[budget]\nchian = 1",
        "[upstreams.main]\nurl = 'http://x'\nname = 'main'",
        "[upstreams.main]\nurl = 'http://x'\nprices = { imagin = 1 }",
        "[upstreams.main]\nurl = 'http://x'\nprices = { imagine = -1 }",
        "[[budgets]]\nper = 'week'\nspend = 1",
        "[[budgets]]\nper = 'day'",
        "[[budgets]]\nper = 'day'\nspend = 1\nsubmissions = 1",
        "[dialects.mine]\nlike = 'mj-pluss'",
        "[clients.shop]\nchildren = 'show'",
    ],
)
def test_a_wrong_setting_is_marked(validator: Any, text: str) -> None:
    """In each table."""
    assert not validator.is_valid(tomllib.loads(text))


def test_a_variable_may_stand_for_a_fixed_word(validator: Any) -> None:
    """hookchain expands it before it reads the table."""
    assert validator.is_valid(tomllib.loads("log_level = '${LEVEL}'\n[[budgets]]\nper = '${PER}'\nspend = 1"))


def test_every_key_says_what_it_is_for() -> None:
    """At the top of the file by a text of its own; those of tables by their types' docstrings."""
    assert MEANINGS.keys() == keys(File).keys() | {"rules", "vars", "macros", "blueprint"}
    upstream = file_schema()["$defs"]["Upstream"]["properties"]  # type: ignore[index]
    assert upstream["uncertain"]["description"].startswith(
        "`uncertain`: what happens to a submission that no"
    )
    on = file_schema()["$defs"]["Rule"]["properties"]["on"]  # type: ignore[index]
    assert "task.succeeded: The task succeeded" in on["description"]


def test_it_is_printed_or_written(tmp_path: Path) -> None:
    """The same either way."""
    printed = command.run(tmp_path, "schema")
    assert json.loads(printed.stdout) == json.loads(json.dumps(file_schema()))
    assert command.run(tmp_path, "schema", "--output", "s.json").stdout == "wrote s.json\n"
    assert (tmp_path / "s.json").read_text() == printed.stdout
    refused = command.run(tmp_path, "schema", "--output", "none/s.json")
    assert (refused.returncode, "none/s.json: No such file" in refused.stderr) == (2, True)


def test_new_rules_name_a_schema_that_is_there(tmp_path: Path, validator: Any) -> None:
    """In their first line, beside them. A file of this name that is not ours stays as it is."""
    assert "wrote hookchain.schema.json" in command.run(tmp_path, "new", "rules", "cats").stdout
    rules = (tmp_path / "cats.toml").read_text()
    first = rules.splitlines()[0]
    assert first == "#:schema ./hookchain.schema.json"
    assert json.loads((tmp_path / first.split()[1]).read_text())["title"] == "hookchain.toml"
    assert validator.is_valid(tomllib.loads(rules))
    (tmp_path / "hookchain.schema.json").write_text("mine")
    assert "is another file" in command.run(tmp_path, "new", "rules", "dogs").stderr
    assert (tmp_path / "hookchain.schema.json").read_text() == "mine"
