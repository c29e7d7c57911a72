"""Callbacks as midjourney-proxy-plus sends them: 1.3 to 2.4 kB, five per task, the fifth with nine buttons."""

from __future__ import annotations

import json
import time
from typing import Any

STEPS = (("SUBMITTED", 0), ("IN_PROGRESS", 0), ("IN_PROGRESS", 46), ("IN_PROGRESS", 93), ("SUCCESS", 100))
_UUID = "0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
PROMPT = "a cat on a wall in the rain, watercolour, soft light, muted colours, high detail --ar 3:2 --v 7.0 --s 250"


def callback(
    task_id: str,
    status: str,
    percent: int,
    *,
    action: str = "IMAGINE",
    prompt: str = PROMPT,
    submitted_at_ms: int = 0,
) -> bytes:
    """The JSON body of a callback.

    `submitted_at_ms`: now if it is 0. hookchain treats tasks that ended before it started as history and does not continue them.
    """
    submitted_at_ms = submitted_at_ms or time.time_ns() // 1_000_000
    link = f"https://cdn.discordapp.com/attachments/1050703772185268251/1376858603847417937/{_UUID}_{percent}.png"
    payload: dict[str, Any] = {
        "id": task_id,
        "properties": {
            "notifyHook": "http://127.0.0.1/notify/a-token-of-24-characters/0123456789abcdef01234567",
            "discordInstanceId": "1648406635623804928",
            "discordChannelId": "1050703772185268251",
            "botType": "MID_JOURNEY",
            "nonce": "1648407736855097344",
            "flags": 0,
            "messageId": "1376858604266586205",
            "messageHash": _UUID,
            "finalPrompt": prompt,
            "progressMessageId": "1376858432602243142",
            "messageContent": f"**{prompt}** - <@1050702627576483930> ({percent}%) (fast)",
        },
        "action": action,
        "status": status,
        "prompt": prompt,
        "promptEn": prompt,
        "description": f"/imagine {prompt}",
        "submitTime": submitted_at_ms,
        "startTime": submitted_at_ms + 1_264,
        "finishTime": submitted_at_ms + 43_374 if status == "SUCCESS" else None,
        "progress": f"{percent}%",
        "imageUrl": f"{link}?ex=6836daff&is=6835897f&hm=2afb972387f4fecc7c900fc3f3580f1259458ad019d6f8c535e4faef&",
        "failReason": None,
        "state": None,
        "buttons": _buttons() if status == "SUCCESS" else [],
    }
    return json.dumps(payload, ensure_ascii=False).encode()


def request(path: str, body: bytes) -> bytes:
    """The HTTP request of a callback."""
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _buttons() -> list[dict[str, Any]]:
    ids = [(f"MJ::JOB::upsample::{n}::{_UUID}", f"U{n}") for n in (1, 2, 3, 4)]
    ids += [(f"MJ::JOB::reroll::0::{_UUID}::SOLO", "")]
    ids += [(f"MJ::JOB::variation::{n}::{_UUID}", f"V{n}") for n in (1, 2, 3, 4)]
    return [
        {"customId": custom_id, "emoji": "", "label": label, "type": 2, "style": 2}
        for custom_id, label in ids
    ]
