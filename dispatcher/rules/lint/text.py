"""Texts that are sent as they stand although a value was meant: `{ task.prompt }`, `${prompt}`, `task.prompt` without brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jinja2 import nodes

from dispatcher.rules.expression_names import FIELDS, NAMES
from dispatcher.rules.lint.caution import Caution, Subject
from dispatcher.rules.model import ArchiveTo, BlendWith, ForwardTo, ImagineWith, ModalAnswer, NotifyTo, Rule
from dispatcher.rules.parts_of import parts_of
from dispatcher.rules.sandbox import environment

_FIELD = re.compile(rf"(?<![\w./@-])({'|'.join(NAMES)})\.(\w+)\b(?!\.\w)")
_VARIABLE = re.compile(r"(?<![\w./@-])vars\.(\w+)\b(?!\.\w)")
_DOLLAR = re.compile(r"\$\{[^}]*\}|\$(prompt|task)\b|%\((\w+)\)s|(?<!\{)\{(prompt|task|image_url|id)\}(?!\})")


def dead_texts(subject: Subject) -> Iterator[Caution]:
    """A text with what looks like a placeholder and is none."""
    for key, text in texts_of(subject.rule):
        outside = "\n".join(
            part.data for part in parts_of(environment.parse(text), nodes.TemplateData) if part.data.strip()
        )
        for match in _FIELD.finditer(outside):
            if match[2] in FIELDS[match[1]]:
                yield _caution(key, match[0], f'Write "{{{{ {match[0]} }}}}" for its value.')
        for match in _VARIABLE.finditer(outside):
            if match[1] in subject.rule.vars:
                yield _caution(key, match[0], f'Write "{{{{ {match[0]} }}}}" for its value.')
        for match in _DOLLAR.finditer(outside):
            if not _FIELD.search(match[0]):
                yield _caution(
                    key, match[0], 'Write "{{ task.prompt }}" for the prompt of the task, with two braces.'
                )


def texts_of(rule: Rule) -> Iterator[tuple[str, str]]:
    """The templates of a rule, each with its key."""
    for key in (
        "imagine",
        "modal",
        "describe",
        "shorten",
        "state",
        "forward",
        "notify",
        "blend",
        "archive",
        "split_grid",
    ):
        value = getattr(rule, key)
        for text in _texts(key, value):
            if text:
                yield key, text


def _texts(key: str, value: object) -> list[str]:
    match value:
        case ImagineWith():
            return [value.prompt, *value.images]
        case ModalAnswer():
            return [value.prompt]
        case NotifyTo():
            return [value.text, value.title, *(value.attach if isinstance(value.attach, list) else [])]
        case ArchiveTo():
            return [value.to]
        case ForwardTo():
            return [value.url, *_inner(value.json)]
        case BlendWith():
            return value.images
        case list():
            return [] if key == "notify" else [str(item) for item in value]
        case str():
            return [] if key == "notify" else [value]
    return []


def _inner(value: object) -> list[str]:
    """The texts of a table or list."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in items for text in _inner(item)]


def _caution(key: str, written: str, remedy: str) -> Caution:
    return Caution(
        kind="text",
        key=key,
        problem=f"{written!r} is sent as it stands, since it is not inside {{{{ }}}}",
        remedy=remedy,
    )
