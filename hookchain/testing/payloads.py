"""Payloads for tests, as an upstream sends them. Any field may be added or replaced."""

from __future__ import annotations

from uuid import NAMESPACE_URL, uuid5

UUID = "0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
_SINGLE = {
    "Upscale (Subtle)": "MJ::JOB::upsample_v6_2x_subtle::1::{}::SOLO",
    "Vary (Subtle)": "MJ::JOB::low_variation::1::{}::SOLO",
    "Vary (Strong)": "MJ::JOB::high_variation::1::{}::SOLO",
    "Vary (Region)": "MJ::Inpaint::1::{}::SOLO",
    "Zoom Out 2x": "MJ::Outpaint::50::1::{}::SOLO",
    "Custom Zoom": "MJ::CustomZoom::{}",
    "⬅️": "MJ::JOB::pan_left::1::{}::SOLO",
    "➡️": "MJ::JOB::pan_right::1::{}::SOLO",
    "Animate (Low motion)": "MJ::JOB::animate_low::1::{}::SOLO",
}


def _job_of(id: str) -> str:
    """The job in the customIds of a task: another one for each task, because a job's buttons are pressed once in a chain."""
    return UUID if id in ("grid", "upscale") else str(uuid5(NAMESPACE_URL, id))


def grid(id: str = "grid", prompt: str = "a cat", **fields: object) -> dict[str, object]:
    """A finished imagine with U1 to U4, reroll and V1 to V4. Any field of the payload may be added or replaced."""
    job = _job_of(id)
    buttons = [
        *({"customId": f"MJ::JOB::upsample::{n}::{job}", "label": f"U{n}"} for n in (1, 2, 3, 4)),
        {"customId": f"MJ::JOB::reroll::0::{job}::SOLO", "emoji": "🔄"},
        *({"customId": f"MJ::JOB::variation::{n}::{job}", "label": f"V{n}"} for n in (1, 2, 3, 4)),
    ]
    image = "https://cdn.example.com/grid.png"
    base = {"id": id, "action": "IMAGINE", "status": "SUCCESS", "prompt": prompt, "imageUrl": image}
    return base | {"buttons": buttons} | fields


def upscale(
    id: str = "upscale", number: int = 1, prompt: str = "a cat", **fields: object
) -> dict[str, object]:
    """A finished upscale of one image of a grid, with the buttons of a single picture."""
    job = _job_of(id)
    buttons = [{"customId": custom_id.format(job), "label": label} for label, custom_id in _SINGLE.items()]
    shown = {"messageContent": f"**{prompt}** - Image #{number} <@1>"}
    image = "https://cdn.example.com/upscale.png"
    base = {"id": id, "action": "UPSCALE", "status": "SUCCESS", "prompt": prompt, "imageUrl": image}
    return base | {"buttons": buttons, "properties": shown} | fields
