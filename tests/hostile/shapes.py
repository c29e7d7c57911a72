"""What a task, its buttons and its words look like in the Plus dialect: sections c and e of the protocol notes."""

from __future__ import annotations

import itertools
import random
import time
import uuid
from typing import Any

Json = dict[str, Any]
Buttons = list[Json]

PRESSED = 3
"""The style of a button that was pressed: green. Plus sets it on the parent's stored button when an action is submitted."""

_numbers = itertools.count(random.randrange(1000))


def new_id(now_ms: int | None = None) -> str:
    """Milliseconds since the epoch, of this moment or another, and three more digits: 16 in all."""
    return f"{int(time.time() * 1000) if now_ms is None else now_ms}{next(_numbers) % 1000:03d}"


def new_front_id() -> str:
    """What a relay calls a task that another server does for it."""
    return f"task_{uuid.uuid4().hex[:16]}"


def new_job() -> str:
    """The id of the picture that the buttons belong to."""
    return str(uuid.uuid4())


def button(custom_id: str, label: str, emoji: str = "", *, style: int = 2) -> Json:
    """One button, with the keys in the order in which Plus writes them."""
    return {"customId": custom_id, "emoji": emoji, "label": label, "type": 2, "style": style}


def grid_buttons(job: str) -> Buttons:
    """Below a picture of four: U1 to U4, the reroll, V1 to V4."""
    ups = [button(f"MJ::JOB::upsample::{n}::{job}", f"U{n}") for n in (1, 2, 3, 4)]
    variations = [button(f"MJ::JOB::variation::{n}::{job}", f"V{n}") for n in (1, 2, 3, 4)]
    return [*ups, button(f"MJ::JOB::reroll::0::{job}::SOLO", "", "🔄"), *variations]


def single_buttons(job: str) -> Buttons:
    """Below a single picture of version 6.1."""
    rows = [
        ("MJ::JOB::upsample_v6r1_2x_subtle::1::{}::SOLO", "Upscale (Subtle)", "upscale_1"),
        ("MJ::JOB::upsample_v6r1_2x_creative::1::{}::SOLO", "Upscale (Creative)", "upscale_1"),
        ("MJ::JOB::low_variation::1::{}::SOLO", "Vary (Subtle)", "🪄"),
        ("MJ::JOB::high_variation::1::{}::SOLO", "Vary (Strong)", "🪄"),
        ("MJ::Inpaint::1::{}::SOLO", "Vary (Region)", "🖌️"),
        ("MJ::Outpaint::50::1::{}::SOLO", "Zoom Out 2x", "🔍"),
        ("MJ::Outpaint::75::1::{}::SOLO", "Zoom Out 1.5x", "🔍"),
        ("MJ::CustomZoom::{}", "Custom Zoom", "🔍"),
        ("MJ::JOB::pan_left::1::{}::SOLO", "", "⬅️"),
        ("MJ::JOB::pan_right::1::{}::SOLO", "", "➡️"),
        ("MJ::JOB::pan_up::1::{}::SOLO", "", "⬆️"),
        ("MJ::JOB::pan_down::1::{}::SOLO", "", "⬇️"),
        ("MJ::BOOKMARK::{}", "", "❤️"),
    ]
    return [button(custom_id.format(job), label, emoji) for custom_id, label, emoji in rows]


def describe_buttons() -> Buttons:
    """Below the four texts of a describe."""
    keys = [button(f"MJ::Job::PicReader::{n}", "", f"{n}️⃣") for n in (1, 2, 3, 4)]
    return [
        *keys,
        button("MJ::Picread::Retry", "", "🔄"),
        button("MJ::Job::PicReader::all", "Imagine all", "🎉"),
    ]


def shorten_buttons() -> Buttons:
    """Below the five texts of a shorten."""
    keys = [button(f"MJ::Job::PromptAnalyzer::{n}", "", f"{n}️⃣") for n in (1, 2, 3, 4, 5)]
    return [*keys, button("MJ::Job::PromptAnalyzerExtended", "Show Details")]


def buttons_for(action: str, job: str) -> Buttons:
    """What hangs below the result of an action."""
    if action == "DESCRIBE":
        return describe_buttons()
    if action == "SHORTEN":
        return shorten_buttons()
    return single_buttons(job) if action == "UPSCALE" else grid_buttons(job)


def texts_of(action: str, prompt: str) -> str:
    """`properties.finalPrompt`: the prompt as Midjourney took it, or the texts of a describe or a shorten."""
    if action == "DESCRIBE":
        return "\n\n".join(f"{n}️⃣ a picture of a cat, seen in way {n} --ar 1:1" for n in (1, 2, 3, 4))
    if action == "SHORTEN":
        words = prompt.split() or ["cat"]
        return "\n\n".join(f"{n}️⃣ {' '.join(words[: max(1, len(words) - n)])}" for n in (1, 2, 3, 4, 5))
    return f"{prompt} --v 6.1"


def action_of(custom_id: str, parent_action: str) -> str:
    """What Plus calls the task that a press makes. A reroll takes the action of its parent."""
    for part, action in (
        ("reroll", parent_action),
        ("Picread::Retry", "DESCRIBE"),
        ("PicReader", "IMAGINE"),
        ("PromptAnalyzer", "IMAGINE"),
        ("variation", "VARIATION"),
        ("Inpaint", "VARIATION"),
        ("Outpaint", "ZOOM"),
        ("CustomZoom", "ZOOM"),
        ("pan_", "PAN"),
        ("upsample", "UPSCALE"),
    ):
        if part in custom_id:
            return action
    return "IMAGINE"


def opens_a_window(custom_id: str) -> bool:
    """Whether the answer to this press is 21 and a window that wants words."""
    parts = ("MJ::Inpaint", "MJ::CustomZoom", "::PicReader::", "::PromptAnalyzer::")
    return any(part in custom_id for part in parts) and not custom_id.endswith("::all")


def job_of(custom_id: str) -> str:
    """The picture's id in a customId, or ""."""
    for part in custom_id.split("::"):
        if len(part) == 36 and part.count("-") == 4:
            return part
    return ""


def number_of(custom_id: str) -> str:
    """The number of the picture that a press is about, or ""."""
    return next((part for part in custom_id.split("::") if part.isdigit() and part != "0"), "")
