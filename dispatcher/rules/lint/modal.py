"""Answers to modals that never open."""

from __future__ import annotations

from collections.abc import Iterator

from dispatcher.rules.checks import NEEDS_MODAL
from dispatcher.rules.lint.button import written_at
from dispatcher.rules.lint.caution import Caution, Subject
from dispatcher.rules.model import PRESSES
from midjourney.buttons import KINDS
from midjourney.labels import meaning_of_label

_OPENS_NONE = frozenset(
    {
        "upscale",
        "upscale_subtle",
        "upscale_creative",
        "upscale_2x",
        "upscale_4x",
        "upscale_other",
        "video_upscale",
        "bookmark",
        "cancel",
    }
)
"""Kinds of buttons that open no modal, whatever the account's settings: others may, in remix mode."""


def unopened_modals(subject: Subject) -> Iterator[Caution]:
    """`modal` beside presses of which none opens a modal."""
    rule = subject.rule
    if rule.modal is None or subject.signal == NEEDS_MODAL:
        return
    others = [key for key in PRESSES if key != "press" and getattr(rule, key)]
    pressed = written_at(rule, "press")
    if not others and all(_kind(written) in _OPENS_NONE for written in pressed):
        yield Caution(
            kind="modal",
            key="modal",
            problem=f"{', '.join(pressed)} opens no modal, so there is nothing to answer",
            remedy='Press what opens one, such as "custom_zoom", or leave modal out.',
        )


def _kind(written: str) -> str:
    if written in KINDS:
        return written
    return meaning_of_label("", written.replace("*", "1").replace("?", "1"), written)[0]
