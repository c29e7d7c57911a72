"""Switches that make the sandbox misbehave in ways that real servers do. All chances follow from its one seed.

A switch is a name, alone or with a probability ("drop", "drop=0.05"). A correct client survives the profile `rough` without
losing or repeating anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from random import Random
from typing import TypeVar

import msgspec

from midjourney.sandbox import chance

Item = TypeVar("Item")

HELD_S = 20.0
"""How long a submit is held before it is answered 504, for the fault `timeout`, at speed 1."""

LATEST_S = 8.0
"""The longest delay of a callback, at speed 1."""

NEWS_MS = 15_000.0
"""The time between two questions of a relay to its upstream, at speed 1: new-api's (`controller/midjourney.go`)."""

LATE_MS = 3000.0
"""The delay of the buttons of a finished task, at speed 1."""

SHORT_BATCH = 5
"""The most tasks in a list-by-condition answer that the fault `short-batch` cuts short."""


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. `meaning`: a description. `alone`: its probability if only its name is given. `rough`: that in `rough`."""

    meaning: str
    alone: float = 1.0
    rough: float = 0.0


SWITCHES = {
    # Callbacks
    "duplicate": Switch(meaning="a callback is sent three times", rough=0.2),
    "reorder": Switch(meaning="a task's callbacks are held until it has ended, then sent out of order"),
    "delay": Switch(meaning="a callback comes up to 8 s late", alone=0.5, rough=0.2),
    "drop": Switch(meaning="a callback is lost", alone=0.3, rough=0.1),
    "late-progress": Switch(meaning="a callback with progress follows that of SUCCESS", rough=0.2),
    "twice": Switch(meaning="SUCCESS is sent twice, with different image addresses", rough=0.2),
    "forget": Switch(meaning="the server restarts and forgets its queued callbacks", alone=0.05, rough=0.02),
    "silent": Switch(meaning="an upscale finishes within its submit, and no callback is sent"),
    "forge": Switch(
        meaning="each callback is followed by two forged ones, for its task and for an invented one",
        rough=0.05,
    ),
    "false-failure": Switch(
        meaning='a callback says FAILURE "task timed out", but the task runs on and succeeds', rough=0.05
    ),
    "renotify": Switch(meaning="after a restart, callbacks for all finished tasks are sent again", rough=0.5),
    # Submits that are accepted but answered wrongly
    "timeout": Switch(meaning="accepted, and no answer comes", alone=0.2, rough=0.02),
    "error": Switch(meaning="accepted, and answered with HTTP 500", alone=0.2, rough=0.03),
    "html": Switch(meaning="accepted, and answered with a page of HTML, HTTP 200", alone=0.2, rough=0.02),
    "empty": Switch(meaning="accepted, and answered with an empty body, HTTP 200", alone=0.2, rough=0.02),
    # Submits that are refused
    "429": Switch(meaning="HTTP 429 with code 30 and Retry-After", alone=0.3, rough=0.05),
    "queue-full": Switch(meaning="refused as if the queue were full (23; trueai: 9)", alone=0.3, rough=0.05),
    "banned": Switch(meaning="refused with code 24, banned prompt", alone=0.3),
    # Tasks
    "failure": Switch(meaning="a task ends with FAILURE and a reason", alone=0.3),
    "moderated": Switch(
        meaning="an imagine is accepted, and its task ends with FAILURE because of its content", alone=0.3
    ),
    "task-timeout": Switch(meaning="a task ends with FAILURE: 任务超时", alone=0.3),
    "blocked": Switch(meaning="a task ends with FAILURE: the account is blocked"),
    "swap": Switch(meaning="two upscales of one grid that run at the same time show each other's image"),
    "two-ids": Switch(
        meaning="a submit answers with a relay's id; callbacks carry the server's id, and both are valid",
        rough=0.1,
    ),
    "late-buttons": Switch(
        meaning="SUCCESS comes without buttons and finalPrompt, which follow 3 s later", rough=0.1
    ),
    "short-batch": Switch(meaning="list-by-condition answers with at most 5 of the requested ids", rough=0.5),
    "stale": Switch(
        meaning="fetch and lists show a task as it was when a relay last asked, which it does every 15 s"
    ),
    "big-ids": Switch(meaning="task ids are JSON numbers above 2^53"),
    "expired": Switch(meaning="image addresses in callbacks have expired; those of a fetch have not"),
}
"""All faults by name."""

ALIASES = {"shuffle": "reorder"}
ROUGH = "rough"


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """The active faults with their probabilities, and the seed that decides each case."""

    on: dict[str, float] = {}
    seed: int = 0

    def has(self, name: str) -> bool:
        """True if this fault can happen."""
        return self.on.get(name, 0.0) > 0.0

    def strikes(self, name: str, *key: object) -> bool:
        """True if the fault happens to the thing that `key` identifies. Depends only on the seed and the key."""
        probability = self.on.get(name, 0.0)
        return probability > 0.0 and chance.fraction(self.seed, name, *key) < probability

    def amount(self, name: str, *key: object) -> float:
        """The extent of the fault, from 0 to 1."""
        return chance.fraction(self.seed, name, "amount", *key)


def parse(text: str, seed: int) -> Faults:
    """Parse a list such as `"rough"` or `"drop,duplicate=0.5"`. Raises ValueError that names the nearest known switch."""
    on: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        name = ALIASES.get(name, name)
        if name == ROUGH and not equals:
            on |= {name: switch.rough for name, switch in SWITCHES.items() if switch.rough}
        elif name in SWITCHES:
            on[name] = _probability(name, value) if equals else SWITCHES[name].alone
        else:
            raise ValueError(_unknown(name))
    return Faults(on=on, seed=seed)


def shuffled(items: Sequence[Item], *key: object) -> list[Item]:
    """The items in an order that depends only on `key`."""
    order = list(items)
    Random(chance.number("shuffle", *key)).shuffle(order)
    return order


def _probability(name: str, value: str) -> float:
    try:
        probability = float(value)
    except ValueError:
        probability = -1.0
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f'fault {name}: "{value}" is not a probability from 0 to 1')
    return probability


def _unknown(name: str) -> str:
    known = [ROUGH, *SWITCHES]
    nearest = get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f'unknown fault "{name}". Did you mean "{nearest}"? Known: {", ".join(sorted(known))}.'
