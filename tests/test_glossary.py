"""docs/reference/glossary.md has one word for each thing, and the code keeps to it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pkgutil import resolve_name
from typing import NamedTuple

import pytest

from tests.architecture import PACKAGES, ROOT

PAGE = (ROOT / "docs/reference/glossary.md").read_text("utf-8")

ROW = re.compile(
    r"^\| (?P<word>[^|]+) \| (?P<meaning>[^|]+) \| `(?P<code>[^`]+)` \| (?P<replaced>[^|]*)\|$", re.MULTILINE
)


class Term(NamedTuple):
    """A row of the page."""

    word: str
    meaning: str
    code: str
    replaced: tuple[str, ...]


TERMS = [
    Term(
        row["word"],
        row["meaning"],
        row["code"],
        tuple(filter(None, re.split(r",\s*", row["replaced"].strip()))),
    )
    for row in ROW.finditer(PAGE)
]


def test_every_row_is_read() -> None:
    """A row that this file cannot read would be checked by nobody; each word has one row."""
    rows = [
        line
        for line in PAGE.splitlines()
        if line.startswith("| ") and not line.startswith(("| ---", "| word"))
    ]
    assert [line for line in rows if not ROW.match(line)] == []
    words = [term.word for term in TERMS]
    assert len(words) == len(set(words)) > 40


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.word)
def test_a_word_has_one_sentence_and_stands_for_something(term: Term) -> None:
    """What the third column names is in the code."""
    assert term.meaning.endswith("."), "a sentence ends with a full stop"
    resolve_name(term.code)


def test_no_public_name_uses_a_replaced_word() -> None:
    """As a part of a module's, a class's, a function's or a field's name, or in the plural."""
    replaced = {word: term.word for term in TERMS for word in term.replaced}
    assert not set(replaced) & {term.word for term in TERMS}
    found = [
        f"{where} has the word {word!r}: {replaced[singular]!r} is the word for it"
        for package in PACKAGES
        if package != "midjourney"
        for where, name in _public_names(package)
        for word in _parts(name)
        if (singular := word if word in replaced else word.removesuffix("s")) in replaced
    ]
    assert found == []


def test_parts_of_names() -> None:
    """However they are written."""
    assert list(_parts("DLQReader")) == ["dlq", "reader"]
    assert list(_parts("MOST_JOBS_ms")) == ["most", "jobs", "ms"]


def _parts(name: str) -> Iterator[str]:
    return (part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name))


def _public_names(package: str) -> Iterator[tuple[str, str]]:
    """(where, name): modules, and what they define at their top and in their classes."""
    for file in sorted((ROOT / package).rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        if "/migrations/versions/" in path:
            continue
        yield path, file.stem
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            for name in _named(node):
                if not name.startswith("_"):
                    yield f"{path}: {name}", name


def _named(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Assign(targets=targets):
            yield from (one.id for one in targets if isinstance(one, ast.Name) and one.id.isupper())
