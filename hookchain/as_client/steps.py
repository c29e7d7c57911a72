"""The requests of a client as data, and how what earlier answers gave is filled in. Performs no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from hookchain.as_client.answer import Answer, Need, fields_of
from hookchain.as_client.needs import ENDED


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One request. A body makes it a POST, unless `method` says otherwise.

    In the path and the body, "$grid" is the id of what a step with `makes="grid"` gave, "$grid#" that id as a number, "$grid:PART"
    the customId of its button with PART in it, "$grid~START" START and the last part of its first customId; "$hook" is the
    address of a hook. `until_end`: repeat it until the task has ended, and keep the task under the name `of`. `is_anonymous`: a
    browser sends it, without the page's key.
    """

    name: str
    path: str
    needs: tuple[Need, ...]
    method: str = ""
    body: Mapping[str, object] | None = None
    headers: Mapping[str, str] = {}
    makes: str = ""
    of: str = ""
    until_end: bool = False
    is_anonymous: bool = False


class KnownClient(msgspec.Struct, frozen=True, kw_only=True):
    """A program, where its requests were read, and what it asks.

    `key_in`: the header of its key, "bearer", or "" for a client without a field for a key: it goes into the path. `free` costs
    nothing; `orders` begins with an imagine, and costs what it submits. `hook`: what it needs of a message to its notifyHook.
    """

    name: str
    source: str
    key_in: str = "mj-api-secret"
    headers: Mapping[str, str] = {}
    free: tuple[Step, ...]
    orders: tuple[Step, ...]
    hook: Need | None = None


class Memory:
    """What the answers to a client's requests gave so far."""

    def __init__(self, hook: str = "") -> None:
        self._hook = hook
        self._ids: dict[str, str] = {}
        self._tasks: dict[str, Mapping[str, object]] = {}

    def note(self, step: Step, answer: Answer) -> None:
        """Keep what later requests are about."""
        fields = fields_of(answer)
        if step.makes:
            self._ids[step.makes] = str(fields.get("result") or "")
        if step.of:
            self._tasks[step.of] = fields

    def has_ended(self, step: Step) -> bool:
        """True if the task of a step has ended."""
        return self._tasks.get(step.of, {}).get("status") in ENDED

    def filled(self, value: object) -> object:
        """The value with everything filled in. Raises `LookupError` if an earlier answer did not give it."""
        if isinstance(value, Mapping):
            return {
                key: self.filled(one) for key, one in value.items() if self._hook or one != "$hook"
            }  # no hook: it sends none
        if isinstance(value, list | tuple):
            return [self.filled(one) for one in value]
        if not isinstance(value, str) or "$" not in value:
            return value
        if value.startswith("$") and value.endswith("#"):
            return int(self._id(value[1:-1]))
        if found := re.fullmatch(r"\$(\w+)([:~])(.+)", value):
            return self._custom_id(found[1], found[2], found[3])
        return re.sub(r"\$(\w+)", lambda match: self._id(match[1]), value)

    def _id(self, name: str) -> str:
        if name == "hook":
            return self._hook
        if not (found := self._ids.get(name)):
            raise LookupError(f"there is no {name}")
        return found

    def _custom_id(self, name: str, how: str, part: str) -> str:
        buttons = self._tasks.get(name, {}).get("buttons")
        ids = [
            str(button.get("customId"))
            for button in (buttons if isinstance(buttons, list) else [])
            if isinstance(button, Mapping)
        ]
        if how == "~" and ids:
            return part + ids[0].rpartition("::")[2]
        found = next((one for one in ids if how == ":" and part in one), None)
        if found is None:
            raise LookupError(f"{name} has no button with {part}")
        return found
