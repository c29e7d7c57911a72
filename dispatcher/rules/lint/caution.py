"""What a kind of warning looks at, and what it gives."""

from __future__ import annotations

from typing import Literal

import msgspec
from jinja2 import nodes

from dispatcher.rules.model import Rule

Kind = Literal[
    "never", "always", "word", "type", "no value", "button", "again", "modal", "text", "unused", "upstream"
]
"""What is doubtful: a condition that is never or always true, a word that a field never has, a comparison of different types, one that
needs a value that may be missing, a button that is never there, a rule that triggers itself, an answer to a modal that never opens, a
text that is sent as it stands, a key without effect, an upstream that lacks what is asked of it."""


class Caution(msgspec.Struct, frozen=True, kw_only=True):
    """A warning: about which key, the problem, and what to write instead."""

    kind: Kind
    key: str
    problem: str
    remedy: str


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A rule to look at on one of its signals, and the tree of its condition; None without one."""

    rule: Rule
    signal: str
    condition: nodes.Expr | None
