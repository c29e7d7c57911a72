"""Presses of buttons that are never there: on a signal whose tasks have none, or under a label that no known upstream offers."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator

from dispatcher.rules.lint.caution import Caution, Subject
from dispatcher.rules.model import PRESSES, Rule
from midjourney.buttons import KINDS
from midjourney.labels import meaning_of_label

_NO_BUTTONS = frozenset(
    {
        "task.submitted",
        "task.started",
        "task.progressed",
        "task.overdue",
        "task.failed",
        "task.cancelled",
        "task.lost",
        "submission.accepted",
        "submission.queued",
        "submission.rejected",
        "submission.dead",
        "submission.uncertain",
        "budget.exceeded",
    }
)
"""Signals on which a task has no buttons, or none but the one that cancels it."""
_NOT_DONE = frozenset({"task.submitted", "task.started", "task.progressed", "task.overdue"})

LABELS = (
    *(f"{letter}{number}" for letter, number in itertools.product("UV", range(1, 5))),
    "Upscale (Subtle)", "Upscale (Creative)", "Upscale (2x)", "Upscale (4x)",
    "Redo Upscale (Subtle)", "Redo Upscale (Creative)", "Redo Upscale (2x)", "Redo Upscale (4x)",
    "Light Upscale Redo", "Beta Upscale Redo", "Subtle Upscale Redo", "Creative Upscale Redo",
    "Vary (Subtle)", "Vary (Strong)", "Vary (Region)", "Remaster", "Make Variations",
    "Zoom Out 2x", "Zoom Out 1.5x", "Custom Zoom", "Make Square",
    "Animate (High motion)", "Animate (Low motion)", "Extend (High motion)", "Extend (Low motion)",
    "Imagine all", "Show Details", "Cancel Job", "Web", "Favorite",
    "🔄", "❤️", "⬅️", "➡️", "⬆️", "⬇️", "🔍", "🖌️", "🪄", "🎉", "🎞️", "⏩", "⏫", "1️⃣", "2️⃣", "3️⃣", "4️⃣", "5️⃣",
)  # fmt: skip
"""Labels and emoji that Midjourney's own buttons have, as upstreams send them."""

_KNOWN = frozenset(label.lower() for label in LABELS)
_GRID_LIKE = re.compile(r"[UVuv]\s?(\d+|\[[^\]]*\])")
_NEAR = 0.8


def absent_buttons(subject: Subject) -> Iterator[Caution]:
    """A press that finds no button, whatever happens."""
    rule = subject.rule
    for key in PRESSES:
        for written in written_at(rule, key):
            if subject.signal in _NO_BUTTONS and not (subject.signal in _NOT_DONE and _may_cancel(written)):
                yield Caution(
                    kind="button",
                    key=key,
                    problem=f"a task has no buttons on {subject.signal}, so nothing is pressed",
                    remedy='Write on = "task.succeeded"; to submit the same request again, write repeat = true.',
                )
                break
            if key == "press" and (remedy := _unknown(written)):
                yield Caution(
                    kind="button",
                    key=key,
                    problem=f"no known upstream offers a button {written!r}",
                    remedy=remedy,
                )


def written_at(rule: Rule, key: str) -> list[str]:
    """The buttons of a key, as they are written."""
    value = getattr(rule, key)
    if isinstance(value, list):
        return list(value)
    return [str(value)] if value else []


def _may_cancel(written: str) -> bool:
    return written in ("cancel", "other", "Cancel Job") or "::" in written


def _unknown(written: str) -> str:
    """What to write instead of a label that is unknown; "" if it is known, or may be anything."""
    label = written.strip()
    if "::" in label or label in KINDS or label.lower() in _KNOWN or not _is_other(label):
        return ""
    if match := _GRID_LIKE.fullmatch(label):
        is_possible = match[1].startswith("[") and any(number in match[1] for number in "1234-!")
        letter = label[0].upper()
        return (
            ""
            if is_possible
            else f'A grid has four pictures: write "{letter}1" to "{letter}4", or "{letter}*".'
        )
    if any(mark in label for mark in "*?["):
        return ""
    close = difflib.get_close_matches(label.lower(), _KNOWN, n=1, cutoff=_NEAR)
    if close:
        meant = next(known for known in LABELS if known.lower() == close[0])
        return f'Did you mean "{meant}"?'
    return f'If an upstream of yours does, write "{label}*", which matches it too; otherwise a label, or a kind such as "upscale".'


def _is_other(label: str) -> bool:
    """True if neither the label nor the emoji has a meaning for hookchain."""
    return meaning_of_label("", label, label)[0] == "other"
