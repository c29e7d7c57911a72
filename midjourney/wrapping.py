"""Reads the fields of the task in a body, which some relays wrap: in an envelope, an array of one, or JSON text.

It removes exactly one level, and only if exactly one task is inside: a wrong guess would spend money on the wrong task. Other
products of a relay (Kling, Luma, Suno) use the same envelopes, and `task_id` for `id`. So a wrapped or renamed object counts as a
task only if it has a field in the spelling of this family; an unwrapped one needs less.
"""

from __future__ import annotations

from midjourney.bodies import container_of, understood
from midjourney.errors import Undecodable
from midjourney.statuses import Status, canonical_status

ENVELOPES = ("data", "task", "result")
"""Fields that may contain a wrapped task."""

OTHER_IDS = ("task_id", "taskId")
"""Fields used instead of `id` (webman-php, nano-gpt, gateways)."""

KNOWN_FIELDS = frozenset(
    [
        "id",
        "status",
        "action",
        "prompt",
        "promptEn",
        "description",
        "state",
        "progress",
        "imageUrl",
        "failReason",
        "submitTime",
        "startTime",
        "finishTime",
        "parentId",
        "properties",
        "buttons",
    ]
)
"""Fields that have an attribute in `Task`."""

# Other products of the same relay post {"id", "status"} too (crazyrouter: Kling, Luma, Suno). One more field of this family, or
# a status in its own spelling, makes it a task.
_FIELDS = KNOWN_FIELDS - {"id", "status", "state", "parentId"} | {"botType"}
_STATUSES = frozenset(Status)

# new-api's own record of any job, such as Suno's, has "action", "progress" and "properties" too, and comes in an envelope.
_OWN_PROPERTIES = frozenset(
    {
        "finalPrompt",
        "finalZhPrompt",
        "discordInstanceId",
        "discordChannelId",
        "messageId",
        "messageHash",
        "notifyHook",
    }
)
"""Fields within `properties` in the spelling of this family."""

_FEW = 100
"""Entries that are examined at most to find the reason of a refusal."""

_OWN_SPELLING = frozenset(
    {"promptEn", "imageUrl", "failReason", "submitTime", "startTime", "finishTime", "botType", "buttons"}
)


def fields_of(body: bytes) -> dict[str, object]:
    """The fields of the task in a callback or a `fetch` answer, with its id as `id`.

    Raises `Undecodable`, with the reason, unless there is exactly one task.
    """
    payload = understood(body)
    if isinstance(payload, dict) and _is_own(payload):
        return _named(payload)
    inner = _inside(payload)
    tasks = [value for value in inner if isinstance(value, dict) and _is_own(value)]
    if not tasks:
        if any(isinstance(deep, dict) and _is_own(deep) for value in inner[:_FEW] for deep in _inside(value)):
            raise Undecodable("a task that is wrapped more than once", is_json=True)
        return bare(payload)
    if (isinstance(payload, list) and len(payload) > 1) or _has_others(inner, tasks[0]):
        raise Undecodable("more than one task inside; a callback must have one", is_json=True)
    if isinstance(payload, dict) and _may_be_another(payload, _named(tasks[0])):
        raise Undecodable("two tasks: the body may be a task, and another is wrapped in it", is_json=True)
    return _named(tasks[0])


def unwrapped(body: bytes) -> object:
    """The content of a body, for people and other systems: a wrapped task without its wrapper, anything else unchanged.

    Raises `Undecodable` if it is invalid JSON.
    """
    try:
        return fields_of(body)
    except Undecodable:
        return understood(body)


def bare(payload: object) -> dict[str, object]:
    """The fields of an unwrapped task, with its id as `id`. Raises `Undecodable` if it is not a task."""
    if not isinstance(payload, dict):
        raise Undecodable(f"a task must be a JSON object, but this is {article(payload)}", is_json=True)
    if payload.get("id") is None:
        other = next((key for key in OTHER_IDS if payload.get(key) is not None), None)
        if other is None:
            raise Undecodable("not a task: the field `id` is missing", is_json=True)
        if not _is_spelt_as_own(payload):
            raise Undecodable(
                f"not a task: `{other}`, but no field of the midjourney-proxy family", is_json=True
            )
    elif not _FIELDS & payload.keys() and not _says_family_status(payload):
        raise Undecodable("not a task: an id, but no field of the midjourney-proxy family", is_json=True)
    return _named(payload)


def article(value: object) -> str:
    """The JSON type of a value, with its article."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number"}
    return names.get(type(value), "a number" if isinstance(value, float) else "null")


def _is_own(payload: dict[str, object]) -> bool:
    """True if this is certainly a task of this family."""
    has_id = any(payload.get(key) is not None for key in ("id", *OTHER_IDS))
    return has_id and "status" in payload and _is_spelt_as_own(payload)


def _is_spelt_as_own(payload: dict[str, object]) -> bool:
    if _OWN_SPELLING & payload.keys():
        return True
    properties = container_of(payload.get("properties"))
    return isinstance(properties, dict) and bool(_OWN_PROPERTIES & properties.keys())


def _inside(payload: object) -> list[object]:
    """The values that are wrapped once in this."""
    if isinstance(payload, dict):
        return [payload[key] for key in ENVELOPES if key in payload]
    if isinstance(payload, str):
        try:
            return [understood(payload.encode("utf-8", "replace"))]
        except Undecodable:
            return []
    return payload if isinstance(payload, list) else []


def _has_others(inner: list[object], task: dict[str, object]) -> bool:
    """True if another value that may be a task is wrapped beside this task."""
    others = (value for value in inner if isinstance(value, dict) and value is not task)
    return any(
        "status" in other and any(other.get(key) is not None for key in ("id", *OTHER_IDS))
        for other in others
    )


def _may_be_another(outer: dict[str, object], inner: dict[str, object]) -> bool:
    """True if an envelope may itself be a task, different from the one in it."""
    status = outer.get("status")
    says_status = isinstance(status, str) and status != "" and canonical_status(status) in _STATUSES
    return says_status and outer.get("id") is not None and str(outer["id"]) != str(inner["id"])


def _says_family_status(payload: dict[str, object]) -> bool:
    status = payload.get("status")
    return isinstance(status, str) and status in _STATUSES


def _named(payload: dict[str, object]) -> dict[str, object]:
    """The fields, with the id as `id`."""
    if payload.get("id") is not None:
        return payload
    ids = {key: payload[key] for key in OTHER_IDS if payload.get(key) is not None}
    if len({str(value) for value in ids.values()}) > 1:
        raise Undecodable("not a task: `task_id` and `taskId` differ", is_json=True)
    rest = {key: value for key, value in payload.items() if key not in OTHER_IDS and key != "id"}
    return {"id": next(iter(ids.values()))} | rest
