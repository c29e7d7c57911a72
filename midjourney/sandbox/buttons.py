"""Which buttons a finished task has, and what pressing one of them means.

The customIds are those of Midjourney 6.1. The actions are those that Plus 3.7.5 gives (`ConvertUtils`): every
`upsample*` is an UPSCALE, Inpaint is a VARIATION, a reroll takes the action of its parent, and the choices under
a describe or a shorten become an IMAGINE.
"""

import msgspec

from midjourney.sandbox.wire import Button

GRIDS = frozenset({"imagine", "variation", "inpaint", "zoom", "pan"})
"""Works whose result is four images in one picture."""

SINGLES = frozenset({"upscale", "enhance"})


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """What a button does. `work` and `action` are None where they are the parent's; `window`: code 21 comes first."""

    prefix: str
    work: str | None
    action: str | None
    note: str = ""
    window: bool = False
    needs_mask: bool = False


_PRESSES = (
    Press(prefix="MJ::JOB::upsample::", work="upscale", action="UPSCALE", note="Image #{number}"),
    Press(
        prefix="MJ::JOB::upsample_v6r1_2x_subtle::",
        work="enhance",
        action="UPSCALE",
        note="Upscaled (Subtle) by",
    ),
    Press(
        prefix="MJ::JOB::upsample_v6r1_2x_creative::",
        work="enhance",
        action="UPSCALE",
        note="Upscaled (Creative) by",
    ),
    Press(prefix="MJ::JOB::variation::", work="variation", action="VARIATION", note="Variations (Strong) by"),
    Press(
        prefix="MJ::JOB::low_variation::", work="variation", action="VARIATION", note="Variations (Subtle) by"
    ),
    Press(
        prefix="MJ::JOB::high_variation::",
        work="variation",
        action="VARIATION",
        note="Variations (Strong) by",
    ),
    Press(prefix="MJ::JOB::reroll::", work=None, action=None),
    Press(prefix="MJ::JOB::pan_left::", work="pan", action="PAN", note="Pan Left by"),
    Press(prefix="MJ::JOB::pan_right::", work="pan", action="PAN", note="Pan Right by"),
    Press(prefix="MJ::JOB::pan_up::", work="pan", action="PAN", note="Pan Up by"),
    Press(prefix="MJ::JOB::pan_down::", work="pan", action="PAN", note="Pan Down by"),
    Press(prefix="MJ::Outpaint::", work="zoom", action="ZOOM", note="Zoom Out by"),
    Press(prefix="MJ::CustomZoom::", work="zoom", action="ZOOM", note="Zoom Out by", window=True),
    Press(
        prefix="MJ::Inpaint::",
        work="inpaint",
        action="VARIATION",
        note="Variations (Region) by",
        window=True,
        needs_mask=True,
    ),
    Press(prefix="MJ::Job::PicReader::", work="imagine", action="IMAGINE", window=True),
    Press(prefix="MJ::Job::PromptAnalyzer::", work="imagine", action="IMAGINE", window=True),
    Press(prefix="MJ::Job::PromptAnalyzerExtended", work="shorten", action="SHORTEN"),
    Press(prefix="MJ::Picread::Retry", work="describe", action="DESCRIBE"),
)
_UNSUPPORTED = ("MJ::BOOKMARK::", "MJ::Job::PicReader::all")


def meaning(custom_id: str) -> Press | None:
    """What pressing does; None for the buttons that Plus 3.7.5 refuses with code 4 (a bookmark, "Imagine all")."""
    if custom_id.startswith(_UNSUPPORTED):
        return None
    return next((press for press in _PRESSES if custom_id.startswith(press.prefix)), None)


def index(custom_id: str) -> int:
    """The image or choice a customId names (`MJ::JOB::upsample::3::…` is 3); 0 where it names none."""
    for prefix in (
        "MJ::JOB::upsample::",
        "MJ::JOB::variation::",
        "MJ::Job::PicReader::",
        "MJ::Job::PromptAnalyzer::",
    ):
        if custom_id.startswith(prefix):
            return int(custom_id.removeprefix(prefix).split("::")[0])
    return 0


def buttons_after(work: str, job: str) -> tuple[Button, ...]:
    """The buttons of a finished `work` whose result has the job id `job`.

    The link "Web" (style 5) that Discord shows under a single image is missing: it has no customId, and Plus 3.7.5
    drops such buttons.
    """
    if work in GRIDS:
        return _grid(job)
    if work in SINGLES:
        return _single(job, redo=work == "enhance")
    if work == "describe":
        return (
            *_choices("MJ::Job::PicReader", 4),
            Button(custom_id="MJ::Picread::Retry", emoji="🔄"),
            Button(custom_id="MJ::Job::PicReader::all", emoji="🎉", label="Imagine all"),
        )
    return (
        *_choices("MJ::Job::PromptAnalyzer", 5),
        Button(custom_id="MJ::Job::PromptAnalyzerExtended", label="Show Details"),
    )


def _grid(job: str) -> tuple[Button, ...]:
    return (
        *(Button(custom_id=f"MJ::JOB::upsample::{n}::{job}", label=f"U{n}") for n in range(1, 5)),
        Button(custom_id=f"MJ::JOB::reroll::0::{job}::SOLO", emoji="🔄"),
        *(Button(custom_id=f"MJ::JOB::variation::{n}::{job}", label=f"V{n}") for n in range(1, 5)),
    )


def _single(job: str, *, redo: bool) -> tuple[Button, ...]:
    upscale = "Redo Upscale" if redo else "Upscale"
    rows = (
        (f"MJ::JOB::upsample_v6r1_2x_subtle::1::{job}::SOLO", "", f"{upscale} (Subtle)"),
        (f"MJ::JOB::upsample_v6r1_2x_creative::1::{job}::SOLO", "", f"{upscale} (Creative)"),
        (f"MJ::JOB::low_variation::1::{job}::SOLO", "🪄", "Vary (Subtle)"),
        (f"MJ::JOB::high_variation::1::{job}::SOLO", "🪄", "Vary (Strong)"),
        (f"MJ::Inpaint::1::{job}::SOLO", "🖌️", "Vary (Region)"),
        (f"MJ::Outpaint::50::1::{job}::SOLO", "🔍", "Zoom Out 2x"),
        (f"MJ::Outpaint::75::1::{job}::SOLO", "🔍", "Zoom Out 1.5x"),
        (f"MJ::CustomZoom::{job}", "🔍", "Custom Zoom"),
        (f"MJ::JOB::pan_left::1::{job}::SOLO", "⬅️", ""),
        (f"MJ::JOB::pan_right::1::{job}::SOLO", "➡️", ""),
        (f"MJ::JOB::pan_up::1::{job}::SOLO", "⬆️", ""),
        (f"MJ::JOB::pan_down::1::{job}::SOLO", "⬇️", ""),
        (f"MJ::BOOKMARK::{job}", "❤️", ""),
    )
    return tuple(Button(custom_id=custom_id, emoji=emoji, label=label) for custom_id, emoji, label in rows)


def _choices(root: str, count: int) -> tuple[Button, ...]:
    return tuple(Button(custom_id=f"{root}::{n}", emoji=f"{n}\ufe0f\u20e3") for n in range(1, count + 1))
