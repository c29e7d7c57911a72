"""The buttons of a finished task, by Midjourney version, and the effect of each button.

The customIds are from section e of the protocol notes. The actions are those of Plus 3.7.5 (`ConvertUtils`): every
`upsample*` is an UPSCALE, Inpaint is a VARIATION, a reroll has the action of its parent, and the choices under a describe or
a shorten become an IMAGINE.
"""

from __future__ import annotations

import re

import msgspec

from midjourney.sandbox.wire import Button

GRIDS = frozenset({"imagine", "blend", "variation", "inpaint", "zoom", "pan", "edit"})
"""Kinds of work whose result is four images in one picture."""

SINGLES = frozenset({"upscale", "enhance"})
DEFAULT_VERSION = "6.1"


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of a button.

    `work` and `action` are None if they are those of the parent. `opens_modal`: the answer is code 21.
    `opens_modal_with_remix`: it is code 21 only when Remix is on.
    """

    pattern: str
    work: str | None
    action: str | None
    note: str = ""
    opens_modal: bool = False
    needs_mask: bool = False
    opens_modal_with_remix: bool = False


_PRESSES = (
    Press(pattern=r"MJ::JOB::upsample::", work="upscale", action="UPSCALE", note="Image #{number}"),
    Press(
        pattern=r"MJ::JOB::upsample_\w*subtle::",
        work="enhance",
        action="UPSCALE",
        note="Upscaled (Subtle) by",
    ),
    Press(
        pattern=r"MJ::JOB::upsample_\w*creative::",
        work="enhance",
        action="UPSCALE",
        note="Upscaled (Creative) by",
    ),
    Press(pattern=r"MJ::JOB::upsample_\w+::", work="enhance", action="UPSCALE", note="Upscaled by"),
    Press(
        pattern=r"MJ::JOB::variation::",
        work="variation",
        action="VARIATION",
        note="Variations (Strong) by",
        opens_modal_with_remix=True,
    ),
    Press(
        pattern=r"MJ::JOB::low_variation::",
        work="variation",
        action="VARIATION",
        note="Variations (Subtle) by",
        opens_modal_with_remix=True,
    ),
    Press(
        pattern=r"MJ::JOB::high_variation::",
        work="variation",
        action="VARIATION",
        note="Variations (Strong) by",
        opens_modal_with_remix=True,
    ),
    Press(pattern=r"MJ::JOB::reroll::", work=None, action=None, opens_modal_with_remix=True),
    Press(
        pattern=r"MJ::JOB::pan_left::",
        work="pan",
        action="PAN",
        note="Pan Left by",
        opens_modal_with_remix=True,
    ),
    Press(
        pattern=r"MJ::JOB::pan_right::",
        work="pan",
        action="PAN",
        note="Pan Right by",
        opens_modal_with_remix=True,
    ),
    Press(
        pattern=r"MJ::JOB::pan_up::", work="pan", action="PAN", note="Pan Up by", opens_modal_with_remix=True
    ),
    Press(
        pattern=r"MJ::JOB::pan_down::",
        work="pan",
        action="PAN",
        note="Pan Down by",
        opens_modal_with_remix=True,
    ),
    Press(pattern=r"MJ::Outpaint::", work="zoom", action="ZOOM", note="Zoom Out by"),
    Press(pattern=r"MJ::CustomZoom::", work="zoom", action="ZOOM", note="Zoom Out by", opens_modal=True),
    Press(
        pattern=r"MJ::Inpaint::",
        work="inpaint",
        action="VARIATION",
        note="Variations (Region) by",
        opens_modal=True,
        needs_mask=True,
    ),
    Press(pattern=r"MJ::JOB::animate_", work="video", action="VIDEO"),
    Press(pattern=r"MJ::JOB::video_virtual_upscale::", work="clip", action="VIDEO"),
    Press(pattern=r"MJ::Job::PicReader::[1-4]", work="imagine", action="IMAGINE", opens_modal=True),
    Press(pattern=r"MJ::Job::PicReader::all", work="imagine", action="IMAGINE"),
    Press(pattern=r"MJ::JobB?::PromptAnalyzer::[1-5]", work="imagine", action="IMAGINE", opens_modal=True),
    Press(pattern=r"MJ::JobB?::PromptAnalyzerExtended", work="shorten", action="SHORTEN"),
    Press(pattern=r"MJ::Picread::Retry", work="describe", action="DESCRIBE"),
)
BOOKMARK, IMAGINE_ALL = "MJ::BOOKMARK::", "MJ::Job::PicReader::all"


def press_of(custom_id: str) -> Press | None:
    """The effect of a button; None for buttons that no server supports, such as a bookmark."""
    return next((press for press in _PRESSES if re.match(press.pattern, custom_id)), None)


def image_number(custom_id: str) -> int:
    """The number of the image or choice in a customId (3 in `MJ::JOB::upsample::3::…`); 0 if it has none."""
    match = re.match(
        r"(?:MJ::JOB::(?:upsample|variation|video_virtual_upscale)|MJ::JobB?::(?:PicReader|PromptAnalyzer))::([1-5])",
        custom_id,
    )
    return int(match[1]) if match else 0


def version_of(prompt: str) -> str:
    """The Midjourney version that a prompt selects: "7", "6.1", "niji 7"."""
    if match := re.search(r"--niji(?:\s+(\d))?", prompt):
        return f"niji {match[1] or '6'}"
    match = re.search(r"--v(?:ersion)?\s+(\d(?:\.\d)?)", prompt)
    return match[1] if match else DEFAULT_VERSION


def buttons_after(work: str, job: str, version: str = DEFAULT_VERSION) -> tuple[Button, ...]:
    """The buttons of a finished `work` whose result has the job id `job`.

    The link "Web" (style 5) that Discord shows under a single image is left out: it has no customId, and Plus 3.7.5 drops
    such buttons.
    """
    if work in GRIDS:
        return _grid(job)
    if work in SINGLES:
        return _single(job, version, redo=work == "enhance")
    if work == "video":
        return (
            *(_button(f"MJ::JOB::video_virtual_upscale::{n}::{job}", label=f"U{n}") for n in range(1, 5)),
        )
    if work == "clip":
        return (
            _button(f"MJ::JOB::animate_high_extend::1::{job}", "🎞️", "Extend (High motion)"),
            _button(f"MJ::JOB::animate_low_extend::1::{job}", "🎞️", "Extend (Low motion)"),
        )
    if work == "describe":
        return (
            *_choices("MJ::Job::PicReader", 4),
            _button("MJ::Picread::Retry", "🔄"),
            _button(IMAGINE_ALL, "🎉", "Imagine all"),
        )
    if work == "shorten":
        return (
            *_choices("MJ::Job::PromptAnalyzer", 5),
            _button("MJ::Job::PromptAnalyzerExtended", label="Show Details"),
        )
    return ()


def _grid(job: str) -> tuple[Button, ...]:
    return (
        *(_button(f"MJ::JOB::upsample::{n}::{job}", label=f"U{n}") for n in range(1, 5)),
        _button(f"MJ::JOB::reroll::0::{job}::SOLO", "🔄"),
        *(_button(f"MJ::JOB::variation::{n}::{job}", label=f"V{n}") for n in range(1, 5)),
    )


def _single(job: str, version: str, *, redo: bool) -> tuple[Button, ...]:
    return (
        *_upscalers(job, version, "Redo Upscale" if redo else "Upscale"),
        *_changes(job, version),
        *_animations(job, version),
        _button(f"MJ::BOOKMARK::{job}", "❤️"),
    )


def _upscalers(job: str, version: str, verb: str) -> tuple[Button, ...]:
    """The upscale buttons of a version: none in 8, Subtle and Creative in 6 and 7, 2x and 4x in 5, Light and Beta before."""
    major = _major(version)
    if major >= 8:
        return ()
    if major >= 6:
        infix = {"6": "v6", "6.1": "v6r1"}.get(version, "v7" if major == 7 else "v6r1")
        return tuple(
            _button(f"MJ::JOB::upsample_{infix}_2x_{name.lower()}::1::{job}::SOLO", label=f"{verb} ({name})")
            for name in ("Subtle", "Creative")
        )
    if major == 5:
        return tuple(
            _button(f"MJ::JOB::upsample_v5_{times}::1::{job}::SOLO", "⏫", f"{verb} ({times})")
            for times in ("2x", "4x")
        )
    return tuple(
        _button(f"MJ::JOB::upsample_{name}::1::{job}::SOLO", label=f"{name.title()} Upscale Redo")
        for name in ("light", "beta")
    )


def _changes(job: str, version: str) -> tuple[Button, ...]:
    """Vary, zoom and pan buttons, which exist since version 5.2. Version 8 has only the vary buttons."""
    if _major(version) < 5 or version in ("5", "5.0", "5.1"):
        return ()
    vary = (
        _button(f"MJ::JOB::low_variation::1::{job}::SOLO", "🪄", "Vary (Subtle)"),
        _button(f"MJ::JOB::high_variation::1::{job}::SOLO", "🪄", "Vary (Strong)"),
        _button(f"MJ::Inpaint::1::{job}::SOLO", "🖌️", "Vary (Region)"),
    )
    if _major(version) >= 8:
        return vary
    return (
        *vary,
        _button(f"MJ::Outpaint::50::1::{job}::SOLO", "🔍", "Zoom Out 2x"),
        _button(f"MJ::Outpaint::75::1::{job}::SOLO", "🔍", "Zoom Out 1.5x"),
        _button(f"MJ::CustomZoom::{job}", "🔍", "Custom Zoom"),
        *(
            _button(f"MJ::JOB::pan_{way}::1::{job}::SOLO", arrow)
            for way, arrow in (("left", "⬅️"), ("right", "➡️"), ("up", "⬆️"), ("down", "⬇️"))
        ),
    )


def _animations(job: str, version: str) -> tuple[Button, ...]:
    if _major(version) < 7:
        return ()
    return (
        _button(f"MJ::JOB::animate_high::1::{job}::SOLO", "🎞️", "Animate (High motion)"),
        _button(f"MJ::JOB::animate_low::1::{job}::SOLO", "🎞️", "Animate (Low motion)"),
    )


def _major(version: str) -> int:
    return int(version.removeprefix("niji ").split(".")[0])


def _choices(root: str, count: int) -> tuple[Button, ...]:
    return tuple(_button(f"{root}::{n}", f"{n}\ufe0f\u20e3") for n in range(1, count + 1))


def _button(custom_id: str, emoji: str = "", label: str = "") -> Button:
    return Button(custom_id=custom_id, emoji=emoji, label=label)
