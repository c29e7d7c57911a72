"""The rooms are as docs/explanation/architecture.md draws them, and what CONTRIBUTING points at is there."""

from __future__ import annotations

import ast
import re

import pytest

from benchmarks import figures
from tests.architecture import PACKAGES, PAGE, ROOT, defined_in, drawing, drawn

POINTED_AT = re.compile(r"\b([a-z_]+(?:/\w+)+\.py):(\w+(?:\.\w+)?)")
"""`hooks/hook_tokens.py:NotifyTokens`, `hookchain/worker.py:Worker.stop`."""

POINTERS = [
    pytest.param(page, file, name, id=f"{file}:{name}")
    for page in ("CONTRIBUTING.md", "docs/explanation/architecture.md")
    for file, name in POINTED_AT.findall((ROOT / page).read_text("utf-8"))
]


def test_the_drawing_is_the_code() -> None:
    """Each package, each room and each import of a room, in both directions: nothing is missing, and nothing is drawn too many."""
    assert drawn() == drawing(), "the imports have changed: `make drawing` redraws them"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_has_a_row(package: str) -> None:
    """That says what it holds."""
    folders = {file.parent.name for file in (ROOT / package).glob("*/__init__.py")}
    page = PAGE.read_text("utf-8")
    assert [
        name
        for name in sorted(folders)
        if not re.search(rf"^\|[^|]*`{package}\.{name}`[^|]*\|", page, re.MULTILINE)
    ] == []


@pytest.mark.parametrize(("page", "file", "name"), POINTERS)
def test_a_newcomer_finds_what_is_pointed_at(page: str, file: str, name: str) -> None:
    """The file is there, and has a function, class or constant of that name."""
    assert (ROOT / file).is_file(), f"{page} points at {file}"
    assert name in defined_in(file), f"{page} points at {name} in {file}"


def test_a_newcomers_questions_are_answered() -> None:
    """Those that the rooms were cut by."""
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    asked = ["a lane is held", "queue-full answer", "gallery's search", "hook's token", "SIGTERM"]
    answers = {line for line in page.splitlines() if line.startswith("| ") and POINTED_AT.search(line)}
    assert [one for one in asked if not any(one in line for line in answers)] == []


def test_no_file_grows_too_long() -> None:
    """A file of more than 300 lines has two ideas: each gets its own."""
    long = {source.path for source in figures.read(ROOT) if source.lines > figures.LONG_FILE}
    assert sorted(long) == []


def test_policy_waits_for_nothing_and_looks_at_no_clock() -> None:
    """Values and the time come in, a value goes out: there is no coroutine, and no call of what is not a function of its arguments."""
    assert _found_in("dispatcher/policy", _impure) == []


def test_reading_writes_nothing() -> None:
    """No statement of the room changes a row, whether it is built or written out."""
    assert _found_in("storage/reading", _writing) == []


def _found_in(room: str, wrong: object) -> list[str]:
    assert callable(wrong)
    files = sorted((ROOT / room).rglob("*.py"))
    assert files, f"{room} is gone"
    return [
        f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {found}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if (found := wrong(node))
    ]


_CLOCKS = {
    "now",
    "utcnow",
    "today",
    "now_ms",
    "wall_ms",
    "uptime_s",
    "monotonic",
    "time",
    "random",
    "uniform",
    "open",
}


def _impure(node: ast.AST) -> str:
    if isinstance(node, ast.AsyncFunctionDef | ast.Await):
        return "a coroutine"
    called = _called(node)
    return called if called in _CLOCKS else ""


_CHANGES = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|CREATE|DROP|ALTER)\s", re.IGNORECASE)


def _writing(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and _CHANGES.match(node.value):
        return node.value
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
        return next((one.name for one in node.names if one.name in {"insert", "update", "delete"}), "")
    return called if (called := _called(node)) in {"insert", "delete"} else ""


def _called(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        match node.func:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return name
    return ""
