"""What a step of the timetable makes of a job: status, progress, picture, message and buttons. Time is always an argument."""

from __future__ import annotations

from msgspec.structs import replace

from midjourney.sandbox import buttons, chance, drawing
from midjourney.sandbox.drawing import Picture
from midjourney.sandbox.faults import Faults
from midjourney.sandbox.jobs import Job, Order
from midjourney.sandbox.profiles import ServerProfile
from midjourney.sandbox.timetable import Step

_REASONS = (
    "[Internal Server Error] Something went wrong while processing your request",
    "任务超时",
    "[Invalid parameter] Invalid value",
    "Invalid Form Body",
)
_MODERATED = (
    "[Banned prompt detected] The word is banned.",
    "[Request cancelled due to output filters] Please try another prompt.",
    "Request blocked by content policy",
)
_MODERATED_AT_TRUEAI = (
    "可能包含敏感词",
    "Banned prompt detected, The word is banned.",
    "Request cancelled due to output filters, Please try another prompt.",
)
"""Titles of Midjourney's messages as novicezk and Plus write them, and a relay's text; trueai joins title and text otherwise, and tells
of a banned word only here, since its submit accepts it."""
_ALWAYS = {
    "task-timeout": "任务超时",
    "blocked": "[Blocked] You have been blocked from accessing Midjourney.",
}


def failure_of(job: Job, profile: ServerProfile, faults: Faults) -> str:
    """The failReason with which a job will end, or "" if it succeeds."""
    if job.order.is_unanswered:
        return profile.timed_out
    if "--fail" in job.order.prompt:
        return "[Invalid parameter] Unrecognized parameter: --fail"
    for fault, reason in _ALWAYS.items():
        if faults.strikes(fault, job.uuid):
            return reason
    if faults.strikes("failure", job.uuid):
        return _one_of(_REASONS, "failure", job, faults)
    if job.order.action == "IMAGINE" and faults.strikes("moderated", job.uuid):
        reasons = _MODERATED_AT_TRUEAI if profile.shape == "tru" else _MODERATED
        return _one_of(reasons, "moderated", job, faults)
    return ""


def _one_of(reasons: tuple[str, ...], fault: str, job: Job, faults: Faults) -> str:
    return reasons[int(faults.amount(fault, job.uuid) * len(reasons))]


def fail(job: Job, reason: str, now_ms: int) -> None:
    """End a job with FAILURE, which has no progress (novicezk, Plus)."""
    job.task = replace(job.task, status="FAILURE", progress="", fail_reason=reason, finish_time=now_ms)


def take_step(job: Job, step: Step, now_ms: int, *, user: str) -> None:
    """Move a job to a step that is no failure. `user`: the Discord id in its message."""
    order, ended = job.order, step.status == "SUCCESS"
    picture = _picture(order, step.percent)
    job.picture_name = drawing.name_of(picture, job.uuid, len(job.remaining_steps))
    properties = job.task.properties | {
        "finalPrompt": order.text or order.prompt,
        "messageId": chance.snowflake(job.uuid, len(job.remaining_steps)),
        "messageContent": _message(order, step, user),
    }
    if ended:
        properties["messageHash"] = job.uuid
    width, height = drawing.size_of(picture)
    prompt = order.text if ended and order.work == "describe" else job.task.prompt
    job.task = replace(
        job.task,
        status=step.status,
        progress=f"{step.percent}%",
        prompt=prompt,
        image_width=width if ended else None,
        image_height=height if ended else None,
        finish_time=now_ms if ended else None,
        properties=properties,
        buttons=buttons.buttons_after(order.work, job.uuid, buttons.version_of(order.prompt))
        if ended
        else (),
    )


def _message(order: Order, step: Step, user: str) -> str:
    mode = order.mode.lower()
    if step.status != "SUCCESS":
        return f"**{order.prompt}** - <@{user}> ({step.percent}%) ({mode})"
    if order.note:
        return f"**{order.prompt}** - {order.note} <@{user}>"
    return f"**{order.prompt}** - <@{user}> ({mode})"


def _picture(order: Order, percent: int) -> Picture:
    width, height = drawing.ratio_of(order.prompt)
    return Picture(
        path=order.path, seed=order.scene, percent=percent, width=width, height=height, prompt=order.prompt
    )
