"""The idempotency key: what makes two requests the same intent, whoever asks. Pure."""

from __future__ import annotations

import hashlib

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


def has_own_key(request: Request) -> bool:
    """Whether what it presses, answers or ends is its key: the same for ever, wherever it is asked for."""
    return isinstance(request, Action | Change | SimpleChange | Modal | Cancel)


def key_of(upstream: str, request: Request, *, within: str = "", generation: int = 0) -> str:
    """The key of an intent, unique for ever.

    A press is (upstream, task, button), a modal's answer (upstream, window): a second answer to a window would run,
    and be billed, twice in Plus 3.7.5, so its words do not count. What makes a new picture is itself and where it was asked for
    (`within`: a task, or an API call). `generation` is 0 unless somebody asks for "again" in so many words.
    """
    match request:
        case Action():
            what = f"press|{request.task_id}|{request.custom_id}"
        case Change():
            what = f"change|{request.task_id}|{request.action}{request.index or ''}"
        case SimpleChange():  # the same press in other words
            return key_of(upstream, as_change(request), within=within, generation=generation)
        case Cancel():
            what = f"cancel|{request.task_id}"
        case Modal():
            what = f"modal|{request.task_id}"
        case _:
            what = f"{kind_of(request)}|{within}|{hashlib.sha256(encode_request(request)).hexdigest()}"
    return f"{upstream}|{what}|{generation}"
