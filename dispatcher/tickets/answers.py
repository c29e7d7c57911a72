"""The answers to orders, in the envelope of the family. Pure.

Clients read `code`, `description`, `result` and `properties`, and some break on a missing one (the chat plugin), on a number as
`result` (coai), on code 22 (the chat plugin, uniai) or on the word "confirm" beside a picture (the web UI).
"""

from __future__ import annotations

import re

import msgspec

from dispatcher.tickets.shown import reason_of
from midjourney.buttons import ALWAYS_MODAL, Button
from midjourney.codes import Refusal
from midjourney.decode import decode_answer
from midjourney.errors import Undecodable
from midjourney.prompts import parse
from midjourney.types import SubmitAnswer, Task
from storage.records import Submission, Ticket
from storage.tickets.known import Known

ACCEPTED, NOT_FOUND, REFUSED, FAILED, WINDOW, QUEUED, LIMIT, BANNED = 1, 3, 4, 9, 21, 22, 23, 24


_NAMES = {
    ACCEPTED: "taken",
    QUEUED: "taken",
    WINDOW: "window",
    NOT_FOUND: "not_found",
    FAILED: "failed",
    LIMIT: "limit",
    BANNED: "banned",
}


def name_of(code: int) -> str:
    """What an answer means, in a word for /metrics. Upstreams have codes of their own, all of which refuse."""
    return _NAMES.get(code, "refused")


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. `result` is a ticket's id, or several joined by commas, or None; `properties` is always an object."""

    code: int
    description: str
    result: str | None = None
    properties: dict[str, object] = {}


class Opens(msgspec.Struct, frozen=True):
    """The upstream opened a window, which the client is to answer: the ticket must become one before it is said."""

    envelope: Envelope


def accepted(ticket_id: str, *, queued: int = 0, code: int = ACCEPTED) -> Envelope:
    """The order is stored, and will be done. `queued`: how many are before it."""
    return Envelope(
        code=code, description="Submit success", result=ticket_id, properties={"numberOfQueues": queued}
    )


def window(ticket_id: str, prompt: str, *, remix: bool = True) -> Envelope:
    """A window waits for the client's answer; `prompt` is the text in it."""
    return Envelope(
        code=WINDOW,
        description="Waiting for window confirm",
        result=ticket_id,
        properties={"finalPrompt": prompt, "remix": remix},
    )


def refused(code: int, description: str, properties: dict[str, object] | None = None) -> Envelope:
    """Nothing was ordered. The word "confirm" is kept for windows, because the web UI takes it for one."""
    text = re.sub("confirm", "check", description, flags=re.IGNORECASE)
    return Envelope(code=code, description=text, properties=properties or {})


def verdict(known: Known, *, code_if_queued: int = ACCEPTED) -> Envelope | Opens | None:
    """What the client is told about its order now; None while the upstream's first word is to be waited for."""
    ticket, submission = known.ticket, known.submission
    if ticket.fail_reason:
        return refused(REFUSED, ticket.fail_reason)
    if submission is None:
        return accepted(ticket.id)
    match submission.state:
        case "rejected" | "dead":
            return _refusal(submission, known.answer)
        case "refused":
            return refused(LIMIT, submission.reason)
        case "needs_modal":
            told = _decoded(known.answer)
            properties = told.properties if told is not None else {}
            prompt = str(properties.get("finalPrompt") or "")
            return Opens(window(ticket.id, prompt, remix=properties.get("remix") is not False))
        case "accepted" | "existed":
            return _accepted(ticket, known, code_if_queued)
        case "uncertain":
            return accepted(ticket.id)
        case "waiting" if submission.attempts and not _is_stale(submission):
            return accepted(ticket.id, queued=1, code=code_if_queued)
        case _:
            return None


def _is_stale(submission: Submission) -> bool:
    """True if a press came a moment after its parent's SUCCESS, and is repeated within seconds."""
    return submission.outcome.endswith(f":{Refusal.STALE_PARENT}")


def _accepted(ticket: Ticket, known: Known, code_if_queued: int) -> Envelope:
    told = _decoded(known.answer)
    queued = told.properties.get("numberOfQueues") if told is not None else 0
    is_queued = told is not None and told.code == QUEUED
    number = queued if isinstance(queued, int) and not isinstance(queued, bool) else 0
    return accepted(ticket.id, queued=number, code=code_if_queued if is_queued else ACCEPTED)


def _refusal(submission: Submission, answer: bytes) -> Envelope:
    told = _decoded(answer)
    if told is None or not isinstance(told.code, int) or told.code == ACCEPTED:
        return refused(REFUSED, reason_of(submission, answer))
    description = told.description.strip() or reason_of(submission, answer)
    if told.code == BANNED:
        return refused(BANNED, description, {"bannedWord": str(told.properties.get("bannedWord") or "")})
    return refused(told.code if told.code > 0 else REFUSED, description)


def _decoded(answer: bytes) -> SubmitAnswer | None:
    try:
        return decode_answer(answer) if answer else None
    except Undecodable:
        return None


# Windows that are opened here.


def opens_window(button: Button) -> bool:
    """True for a button that opens a window at every account."""
    return button.kind in ALWAYS_MODAL


_NUMBERED = re.compile(r"(?:^|\n)\s*(?:([1-5])\ufe0f?\u20e3|([1-5])[.)、])\s*(.+)")


def prompt_in_window(button: Button, parent: Task) -> str:
    """The text that Midjourney shows in the window of a button: one of the described or shortened prompts, or the parent's own.

    A Custom Zoom ends with its factor (Midjourney's window proposes 2).
    """
    if button.kind in ("pic_reader", "prompt_analyzer"):
        text = parent.properties.final_prompt or parent.prompt_en or parent.prompt
        found = {int(match[1] or match[2]): match[3].strip() for match in _NUMBERED.finditer(text)}
        return found.get(button.index or 0, text.strip())
    prompt = parent.final_prompt.strip()
    if button.kind == "custom_zoom" and all(one.name != "zoom" for one in parse(prompt).parameters):
        return f"{prompt} --zoom 2".strip()
    return prompt
