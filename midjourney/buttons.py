"""Buttons of a task: what each one does, and which ones "U*", "V2" or "upscale" select.

The customId decides; it is read from the task's own buttons and never constructed. If a gateway has opaque ids (302.ai style:
"upsample1"), the label decides (labels.py). Grammar: section e of the protocol notes, from trueai's CustomComponentModel.cs,
Plus 3.7.5 ConvertUtils.java and a Midjourney v7 capture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

from midjourney.labels import meaning_of_label

PRESSED = 3
"""Discord's style "success", which Midjourney gives to pressed buttons."""


class Button(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One button as the upstream sent it."""

    custom_id: str = ""
    label: str = ""
    emoji: str = ""
    type: int | None = None
    style: int | None = None

    @property
    def pressed(self) -> bool:
        """True if it was pressed already; Discord shows it in green."""
        return self.style == PRESSED

    @property
    def kind(self) -> str:
        """What the button does, such as "upscale", "variation", "custom_zoom"; "other" if unknown."""
        return _meaning(self)[0]

    @property
    def index(self) -> int | None:
        """The image that it is about, 1 to 4 (1 to 5 for shortened prompts); None if it is not about one."""
        return _meaning(self)[1]

    @property
    def name(self) -> str:
        """The short name that people use: "U1" to "U4", "V1" to "V4", otherwise the label, the emoji or the kind."""
        kind, index = _meaning(self)
        if kind in _SHORT and index is not None:
            return f"{_SHORT[kind]}{index}"
        return self.label or self.emoji or kind


LONGEST_REMEMBERED = 256
"""Characters of a button whose meaning is remembered. Known ones have some 70; a stranger's button may have megabytes."""

_SHORT = {"upscale": "U", "variation": "V"}

# In order: the first pattern that matches the whole customId wins.
_GRAMMAR: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"MJ::JOB::upsample::([1-4])::.+", "upscale"),
        (r"MJ::JOB::variation::([1-4])::.+", "variation"),
        (r"MJ::JOB::reroll::.+", "reroll"),
        (r"MJ::JOB::upsample_\w*subtle::.+", "upscale_subtle"),
        (r"MJ::JOB::upsample_\w*creative::.+", "upscale_creative"),
        (r"MJ::JOB::upsample_\w*2x::.+", "upscale_2x"),
        (r"MJ::JOB::upsample_\w*4x::.+", "upscale_4x"),
        (r"MJ::JOB::upsample_\w+::.+", "upscale_other"),
        (r"MJ::JOB::low_variation::.+", "vary_subtle"),
        (r"MJ::JOB::high_variation::.+", "vary_strong"),
        (r"MJ::Inpaint::.+", "vary_region"),
        (r"MJ::Outpaint::50::.+", "zoom_out_2x"),
        (r"MJ::Outpaint::75::.+", "zoom_out_1.5x"),
        (r"MJ::Outpaint::100::.+", "make_square"),
        (r"MJ::Outpaint::.+", "zoom_out"),
        (r"MJ::CustomZoom::.+", "custom_zoom"),
        (r"MJ::JOB::pan_left::.+", "pan_left"),
        (r"MJ::JOB::pan_right::.+", "pan_right"),
        (r"MJ::JOB::pan_up::.+", "pan_up"),
        (r"MJ::JOB::pan_down::.+", "pan_down"),
        (r"MJ::BOOKMARK::.+", "bookmark"),
        (r"MJ::CancelJob::.+", "cancel"),
        (r"MJ::Job::PicReader::([1-4])", "pic_reader"),
        (r"MJ::Job::PicReader::all", "pic_reader_all"),
        (r"MJ::Picread::Retry", "pic_reader_retry"),
        (r"MJ::JobB?::PromptAnalyzer::([1-5])", "prompt_analyzer"),
        (r"MJ::JobB?::PromptAnalyzerExtended.*", "prompt_analyzer_details"),
        (r"MJ::JOB::video_virtual_upscale::([1-4])::.+", "video_upscale"),
        (r"MJ::JOB::animate_high_extend::.+", "extend_high"),
        (r"MJ::JOB::animate_low_extend::.+", "extend_low"),
        (r"MJ::JOB::animate_high::.+", "animate_high"),
        (r"MJ::JOB::animate_low::.+", "animate_low"),
        (r"MJ::JOB::video::.+", "video"),
    )
)

KINDS = frozenset(kind for _, kind in _GRAMMAR) | {"other"}
"""Every value of `Button.kind`."""

ALWAYS_MODAL = frozenset({"vary_region", "custom_zoom", "pic_reader", "prompt_analyzer"})
"""Kinds that always open a modal, whatever the account's settings (Plus 3.7.5 `needModal`, trueai v11)."""

_ACTIONS = {
    "upscale": "UPSCALE",
    "variation": "VARIATION",
    "vary": "VARIATION",
    "reroll": "REROLL",
    "zoom": "ZOOM",
    "custom": "ZOOM",
    "make": "ZOOM",
    "pan": "PAN",
    "pic": "IMAGINE",
    "prompt": "IMAGINE",
    "animate": "VIDEO",
    "extend": "VIDEO",
    "video": "VIDEO",
}


def action_of(kind: str) -> str:
    """The action of the task that a press of this kind makes, as Plus names it; "" if unknown."""
    return _ACTIONS.get(kind.split("_")[0], "")


def _meaning(button: Button) -> tuple[str, int | None]:
    """What the button does. It is asked for a dozen times while a rule presses one, so the latest answers are remembered."""
    custom_id, label, emoji = button.custom_id, button.label, button.emoji
    if len(custom_id) + len(label) + len(emoji) > LONGEST_REMEMBERED:
        return _meaning_of(custom_id, label, emoji)
    return _remembered(custom_id, label, emoji)


def _meaning_of(custom_id: str, label: str, emoji: str) -> tuple[str, int | None]:
    for pattern, kind in _GRAMMAR:
        if found := pattern.fullmatch(custom_id):
            return kind, int(found[1]) if pattern.groups else None
    # A Midjourney customId with an unknown verb must not be taken for U1 because of its label.
    if custom_id.upper().startswith("MJ::"):
        return "other", None
    return meaning_of_label(custom_id, label, emoji)


_remembered = lru_cache(1024)(_meaning_of)


def is_grid(buttons: Iterable[Button]) -> bool:
    """True if all four U-buttons are present."""
    return {button.index for button in buttons if button.kind == "upscale"} == {1, 2, 3, 4}


_GRID_GLOB = re.compile(r"[UVuv](\*|\?|[1-4]|\[[^\]]*\])")


def choose(buttons: Sequence[Button], wanted: str) -> list[Button]:
    """The buttons that `wanted` selects, in the task's order: by a customId, a kind, a label, or a glob of labels.

    "U*", "U?" and "U[12]" select only among the grid's four U-buttons: neither "Upscale (Subtle)" nor a video's U1. Any other glob,
    such as "Upscale*", is compared with labels, ignoring case. A blank selects nothing, although some buttons have empty labels, and
    in some dialects empty customIds.
    """
    if not wanted.strip():
        return []
    if exact := [button for button in buttons if button.custom_id == wanted]:
        return exact[:1]
    if wanted in KINDS:
        return [button for button in buttons if button.kind == wanted]
    if _GRID_GLOB.fullmatch(wanted):
        pattern = wanted.upper()
        return [button for button in buttons if button.kind in _SHORT and fnmatchcase(button.name, pattern)]
    pattern = wanted.strip().lower()
    return [
        button
        for button in buttons
        if fnmatchcase(button.label.lower(), pattern) or (button.emoji and button.emoji == wanted.strip())
    ]
