"""The idempotency key: decides which requests are the same intent, no matter who asks. Pure."""

from __future__ import annotations

import hashlib
import re

from midjourney.requests import (
    Action,
    Cancel,
    Change,
    Modal,
    Request,
    SimpleChange,
    as_change,
    encode_request,
    kind_of,
)

_BY_CALLER = "api"


def has_own_key(request: Request) -> bool:
    """True if the button that a request presses, or the task that it answers or cancels, is its key, always and everywhere."""
    return isinstance(request, Action | Change | SimpleChange | Modal | Cancel)


_OF_A_JOB = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def thing_of(request: Request, *, generation: int = 0) -> str:
    """A name of the pressed button that does not depend on the task's id: a customId that contains a job's uuid. "" for other
    requests."""
    if not isinstance(request, Action) or not _OF_A_JOB.search(request.custom_id):
        return ""
    return f"{request.custom_id}|{generation}"


def key_of(upstream: str, request: Request, *, within: str = "", generation: int = 0) -> str:
    """The key of an intent, unique for ever.

    A press is (upstream, task, button). The answer to a modal is (upstream, modal) without its prompt: Plus 3.7.5 would run, and
    bill, a second answer. Other requests are identified by their content and where they were asked for (`within`: a task, or an
    API call). `generation` is 0 unless "again" is requested explicitly.
    """
    match request:
        case Action():
            intent = f"press|{request.task_id}|{request.custom_id}"
        case Change():
            intent = f"change|{request.task_id}|{request.action}{request.index or ''}"
        case SimpleChange():  # another form of the same press
            return key_of(upstream, as_change(request), within=within, generation=generation)
        case Cancel():
            intent = f"cancel|{request.task_id}"
        case Modal():
            intent = f"modal|{request.task_id}"
        case _:
            intent = f"{kind_of(request)}|{within}|{hashlib.sha256(encode_request(request)).hexdigest()}"
    return f"{upstream}|{intent}|{generation}"


def key_by_caller(upstream: str, name: str) -> str:
    """The key of an intent that the caller named with the header Idempotency-Key."""
    return f"{upstream}|{_BY_CALLER}|{name}"


def generation_of(key: str) -> int:
    """How often an intent was deliberately repeated before; 0 for a key that the caller named."""
    intent, last = key.split("|")[1:2], key.rpartition("|")[2]
    return int(last) if intent != [_BY_CALLER] and last.isdecimal() else 0
