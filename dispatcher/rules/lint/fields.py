"""What is known of the fields that conditions use: their types, the words that they may have, and whether they may be none."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from functools import cache

import msgspec
from jinja2 import nodes

from dispatcher.plugins.open_modal import OpenModal
from dispatcher.plugins.signals import SIGNALS
from midjourney.buttons import KINDS as BUTTON_KINDS
from midjourney.failures import KINDS as FAILURE_KINDS
from midjourney.statuses import Status
from midjourney.types import Action, Properties, Task
from storage.records import Event, Submission
from storage.records.events import Source
from storage.records.submissions import SubmissionState


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A field: its type (bool, int, float or str), whether it may be none, and all words that it may have; empty: any."""

    type: type
    may_be_none: bool = False
    words: frozenset[str] = frozenset()


ACTIONS = frozenset(Action) | {
    "SHOW",
    "SWAP_FACE",
    "EDITS",
    "ACTION",
    "CUSTOM_ZOOM",
    "INPAINT",
    "OUTPAINT",
    "UPLOAD",
}
"""Actions of tasks that vendors send. There are others: the vocabulary is open."""

STATUSES = frozenset(Status)
"""Statuses as hookchain writes them. The vocabulary is open too."""

_WORDS: Mapping[str, frozenset[str]] = {
    "task.failure_kind": frozenset({"", *FAILURE_KINDS}),
    "root.failure_kind": frozenset({"", *FAILURE_KINDS}),
    "submission.failure_kind": frozenset({"", *FAILURE_KINDS}),
    "submission.state": frozenset(typing.get_args(SubmissionState)) | {"refused"},
    "modal.kind": BUTTON_KINDS | {""},
    "event.source": frozenset(typing.get_args(Source)),
    "event.signal": frozenset(SIGNALS),
}
"""Closed vocabularies."""

OWNERS: Mapping[str, type] = {
    "task": Task,
    "task.properties": Properties,
    "root": Task,
    "root.properties": Properties,
    "event": Event,
    "submission": Submission,
    "modal": OpenModal,
}

_CHAIN = {
    "chain.id": Field(type=str),
    "chain.upstream": Field(type=str),
    "chain.client": Field(type=str),
    "chain.depth": Field(type=int),
    "chain.submissions": Field(type=int),
    "chain.prompt": Field(type=str),
    "chain.state": Field(type=str),
}


def field_of(path: str) -> Field | None:
    """What is known about a field; None if nothing is."""
    return _all_fields().get(path)


def path_of(node: nodes.Node) -> str:
    """The path of a lookup, as "task.properties.custom_id"; "" for anything else."""
    if isinstance(node, nodes.Name):
        return str(node.name)
    if isinstance(node, nodes.Getattr):
        owner = path_of(node.node)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _hint_of(owner: type, name: str) -> object:
    found = getattr(owner, name, None)
    getter = getattr(found, "fget", None)
    hints = typing.get_type_hints(getter if getter is not None else owner)
    return hints.get("return" if getter is not None else name)


def _field(path: str, hint: object) -> Field | None:
    """The field of a type hint such as `int | None` or `Literal["a", "b"]`."""
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    plain = {_plain(part) for part in parts if part is not type(None)}
    kind = plain.pop() if len(plain) == 1 else None
    if kind is None:
        return None
    return Field(type=kind, may_be_none=type(None) in parts, words=_WORDS.get(path, frozenset()))


def _plain(hint: object) -> type | None:
    if typing.get_origin(hint) is typing.Literal:
        return str
    return hint if hint in (bool, int, float, str) else None


@cache
def _all_fields() -> dict[str, Field]:
    found = dict(_CHAIN)
    for owner, kind in OWNERS.items():
        names = {name for name in dir(kind) if not name.startswith("_")} | set(
            getattr(kind, "__struct_fields__", ())
        )
        for name in names:
            path = f"{owner}.{name}"
            if (field := _field(path, _hint_of(kind, name))) is not None:
                found[path] = field
    return found
