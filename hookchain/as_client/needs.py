"""What clients need of an answer: each need is a function that returns what would break, or "". Performs no I/O.

The table of clients in docs/gateway.md tells which client depends on what.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

from hookchain.as_client.answer import Answer, Need, fields_of, items_of

ENDED = ("SUCCESS", "FAILURE")
WAITS = ("NOT_START", "SUBMITTED", "IN_PROGRESS")
"""The statuses at which every client goes on polling."""

ORIGIN = "https://page.invalid"
"""The origin of pages here."""

WINDOW = 21

LARGEST_EXACT = 2**53
"""JavaScript reads larger numbers as other ones."""

_TIMES = ("submitTime", "startTime", "finishTime")
_PERCENTAGE = re.compile(r"(\d{1,2}|100)%")


def ok(answer: Answer) -> str:
    """HTTP 2xx: for everything else the client shows an error of its own, or raises."""
    return "" if 200 <= answer.status < 300 else f"HTTP {answer.status}, where it accepts 2xx alone"


def readable(answer: Answer) -> str:
    """JSON, and not an empty value: the client decodes every body, whatever the status."""
    if not answer.raw.strip():
        return "an empty body, which it cannot decode"
    try:
        found = answer.json
    except ValueError:
        return f"{answer.headers.get('content-type', 'a body')} that is not JSON"
    return "" if isinstance(found, dict | list) else f"{found!r} instead of an object or a list"


def known_key(answer: Answer) -> str:
    """The client is let in with its key, in the header or the path that it has for it."""
    return f"HTTP {answer.status}: its key is not accepted there" if answer.status in (401, 403) else ""


def a_list(answer: Answer) -> str:
    """A list of objects, possibly empty."""
    return "" if items_of(answer) is not None else "no list of objects"


def an_object(answer: Answer) -> str:
    """An object with something in it."""
    return "" if fields_of(answer) else "no object with keys"


def cross_origin(answer: Answer) -> str:
    """A page of another origin may read it."""
    allowed = answer.headers.get("access-control-allow-origin", "")
    return (
        ""
        if allowed in ("*", ORIGIN)
        else "no Access-Control-Allow-Origin: a page of another origin cannot read it"
    )


def preflight(*headers: str) -> Need:
    """A browser may send these headers, and asks for it without a key."""

    def check(answer: Answer) -> str:
        if not 200 <= answer.status < 300:
            return f"HTTP {answer.status} to a preflight, which carries no key"
        allowed = {
            name.strip().lower() for name in answer.headers.get("access-control-allow-headers", "").split(",")
        }
        missing = [
            name
            for name in headers
            if name not in allowed and not ("*" in allowed and name != "authorization")
        ]
        return f"a page of another origin may not send {', '.join(missing)}" if missing else ""

    return check


def order(*codes: int, needs: Collection[str] = ("code", "result"), strings: bool = True) -> Need:
    """The answer to a submit: one of these codes, these keys, and an id in `result`."""

    def check(answer: Answer) -> str:
        fields = fields_of(answer)
        if missing := [key for key in needs if key not in fields]:
            return f"no {', '.join(missing)}"
        if fields.get("code") not in codes:
            return f"code {fields.get('code')!r} ({fields.get('description')!r}), where it accepts {_either(codes)}"
        result = fields["result"]
        if not result:
            return "no id in `result`"
        if strings and not isinstance(result, str):
            return f"`result` is {type(result).__name__}, not a string"
        return ""

    return check


def exact_id(answer: Answer) -> str:
    """An id that stays the same as a JavaScript number: the page sends ids as numbers."""
    result = fields_of(answer).get("result")
    if not str(result).isdigit():
        return f"`result` {result!r} is no number, which it makes of it"
    return "" if int(str(result)) < LARGEST_EXACT else f"`result` {result} is larger than 2^53"


def unconfirmed(answer: Answer) -> str:
    """The word "confirm" stands for a window only: the client answers it with `modal`, and `properties.finalPrompt`."""
    fields = fields_of(answer)
    properties = fields.get("properties")
    if "confirm" not in str(fields.get("description")):
        return ""
    if fields.get("code") != WINDOW:
        return f"{fields.get('description')!r} at code {fields.get('code')}: it answers a window that there is not"
    return "" if isinstance(properties, Mapping) else "a window without `properties`, which it reads"


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a client needs of a task: these keys, one of these statuses; `percentage`: `progress` as "N%"; `properties`: an object."""

    keys: tuple[str, ...] = ("status",)
    statuses: tuple[str, ...] = (*WAITS, *ENDED)
    percentage: bool = False
    properties: bool = False


def task(shape: Shape) -> Need:
    """A task of this shape."""
    return lambda answer: problem_of(fields_of(answer), shape)


def tasks(shape: Shape) -> Need:
    """A list of such tasks."""

    def check(answer: Answer) -> str:
        found = items_of(answer)
        if found is None:
            return "no list of objects"
        return next((problem for item in found if (problem := problem_of(item, shape))), "")

    return check


def problem_of(fields: Mapping[str, object], shape: Shape) -> str:
    """What is wrong with a task, or "". What has failed has a reason, and what has succeeded a picture; times are whole numbers."""
    if missing := [key for key in shape.keys if key not in fields]:
        return f"a task without {', '.join(missing)}"
    status = fields.get("status")
    if status not in shape.statuses:
        return f"status {status!r}, where it knows {', '.join(shape.statuses)}"
    for key in _TIMES:
        if isinstance(fields.get(key), float | str):
            return f"{key} is {fields[key]!r}, not a whole number of milliseconds"
    if status == "FAILURE" and not fields.get("failReason"):
        return "FAILURE without `failReason`: it shows no reason, or does not refund"
    if status == "SUCCESS" and not _is_link(fields.get("imageUrl")):
        return f"SUCCESS with `imageUrl` {fields.get('imageUrl')!r}"
    if shape.percentage and not _PERCENTAGE.fullmatch(str(fields.get("progress"))):
        return f"`progress` is {fields.get('progress')!r}, not a percentage"
    if shape.properties and not isinstance(fields.get("properties"), Mapping):
        return f"`properties` is {fields.get('properties')!r}, not an object"
    return ""


def with_state(state: str) -> Need:
    """The state that it sent, byte for byte."""

    def check(answer: Answer) -> str:
        found = fields_of(answer).get("state")
        return "" if found == state else f"`state` came back as {found!r}"

    return check


def with_button(part: str) -> Need:
    """A button of this kind, once the task has succeeded."""

    def check(answer: Answer) -> str:
        fields = fields_of(answer)
        buttons = fields.get("buttons")
        if fields.get("status") != "SUCCESS":
            return ""
        if not isinstance(buttons, list):
            return f"`buttons` is {buttons!r}, not a list"
        ids = [str(button.get("customId")) for button in buttons if isinstance(button, Mapping)]
        return "" if any(part in custom_id for custom_id in ids) else f"no button with {part} in its customId"

    return check


def a_seed(answer: Answer) -> str:
    """Code 1, and a number in `result`."""
    fields = fields_of(answer)
    is_one = fields.get("code") == 1 and str(fields.get("result")).isdigit()
    return "" if is_one else f"code {fields.get('code')!r} and `result` {fields.get('result')!r}, not a seed"


def _is_link(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _either(codes: Collection[int]) -> str:
    return " or ".join(map(str, codes))
