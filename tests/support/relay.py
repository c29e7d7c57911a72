"""A relay that sells pictures to users of its own, with the gateway as its channel (Calcium-Ion/new-api, controller/midjourney.go
and dto/midjourney.go; one-hub does the same).

It charges a user when it submits, asks for all that runs in one question, reads the answer into Go's types, and gives the charge
back for a failure. An answer that does not fit its types is an error, and a task that it did not ask for makes it panic.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tests.support.customer import Customer

PRICE = 10


class Told(msgspec.Struct):
    """The envelope, as its Go struct has it: null is the zero value, and anything else must have the type."""

    code: int
    result: str | list[str] | None = None
    description: str | None = None
    properties: Any = None


class Properties(msgspec.Struct):
    finalPrompt: str | None = None
    finalZhPrompt: str | None = None


class Listed(msgspec.Struct):
    """A task, as its Go struct has it."""

    id: str
    status: str | None = None
    progress: str | None = None
    failReason: str | None = None
    action: str | None = None
    prompt: str | None = None
    promptEn: str | None = None
    description: str | None = None
    state: str | None = None
    imageUrl: str | None = None
    submitTime: int | None = None
    startTime: int | None = None
    finishTime: int | None = None
    properties: Properties | None = None


class Relay:
    """One user of the relay, and the channel."""

    def __init__(self, channel: Customer) -> None:
        self._channel = channel
        self.spent = 0
        self.running: set[str] = set()
        self.succeeded: set[str] = set()
        self.given_back: dict[str, str] = {}
        """Why the charge of each failed task was given back."""

    def submit(self, kind: str, **body: Any) -> str:
        """Submit for the user; the id of the task, or "" if it was refused and not charged."""
        answer = self._channel.http.post(f"/submit/{kind}", json=body)
        assert answer.status_code == 200, answer.text
        told = msgspec.json.decode(answer.content, type=Told)
        if told.code not in (1, 22):
            return ""
        assert isinstance(told.result, str)
        self.spent += PRICE
        self.running.add(told.result)
        return told.result

    def ask(self) -> None:
        """Ask for all tasks that run, as it does every 15 s."""
        answer = self._channel.http.post("/task/list-by-condition", json={"ids": sorted(self.running)})
        assert answer.status_code == 200, answer.text
        listed = msgspec.json.decode(answer.content, type=list[Listed])
        assert {task.id for task in listed} <= self.running, "it panics at a task that it does not have"
        for task in listed:
            is_failure = bool(task.progress != "100%" and task.failReason) or (
                task.progress == "100%" and task.status == "FAILURE"
            )
            if is_failure:
                self.spent -= PRICE
                self.given_back[task.id] = task.failReason or ""
            elif task.status == "SUCCESS" and task.progress == "100%":
                self.succeeded.add(task.id)
        self.running -= self.succeeded | self.given_back.keys()

    def has_settled(self) -> bool:
        """Ask once more; True if nothing runs any more."""
        return self.runs(0)

    def runs(self, number: int) -> bool:
        """Ask once more; True if this many tasks run."""
        self.ask()
        return len(self.running) == number
