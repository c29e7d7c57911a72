"""What really came to the upstream, and what of it was taken and paid."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.hostile.shapes import Json, job_of

T = TypeVar("T")

PATIENCE_S = 300.0
"""Where only a hang takes so long."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, as it came."""

    at_s: float
    method: str
    path: str
    body: Any
    """The JSON of it, or the text, or None."""
    has_key: bool
    headers: dict[str, str]

    @property
    def kind(self) -> str:
        """Of a submit: `imagine`, `action`, `modal` …"""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Submit:
    """One submit and what became of it."""

    at_s: float
    path: str
    body: Json
    has_key: bool
    code: int
    """What was decided. The sender may not have seen it: the answer can be lost, or be a 429 (code 0)."""
    task_id: str
    """The task that it made, by its first name; "" where it made none."""
    custom_id: str
    """What it pressed, in this upstream's own grammar even where the customIds it shows are opaque; or ""."""
    is_paid: bool
    """Whether work began. A window costs nothing until it is answered."""

    @property
    def job(self) -> str:
        """The picture that it pressed a button of."""
        return job_of(self.custom_id)


@dataclass(frozen=True, kw_only=True)
class Read:
    """One question about tasks."""

    at_s: float
    how: str
    """`fetch`, `list-by-condition`, `list`, `queue` or `image-seed`."""
    ids: tuple[str, ...]
    """What was asked about; () for a list of everything."""


@dataclass
class Ledger:
    """Everything that came, in its order."""

    requests: list[Request] = field(default_factory=list)
    submits: list[Submit] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    most_open: int = 0
    """The largest number of jobs that were taken and not done at one moment."""
    now_s: Callable[[], float] = time.time
    _lock: threading.Condition = field(default_factory=threading.Condition)

    def add_request(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> Request:
        """Keep a request, whatever it is."""
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw.decode(errors="replace")
        made = Request(
            at_s=self.now_s(),
            method=method,
            path=path,
            body=body,
            has_key=bool(headers.get("mj-api-secret") or headers.get("authorization")),
            headers=headers,
        )
        with self._lock:
            self.requests.append(made)
            self._lock.notify_all()
        return made

    def add_submit(self, made: Submit) -> None:
        """Keep a submit and what became of it."""
        with self._lock:
            self.submits.append(made)
            self._lock.notify_all()

    def add_read(self, how: str, ids: tuple[str, ...] = ()) -> None:
        """Keep a question about tasks."""
        with self._lock:
            self.reads.append(Read(at_s=self.now_s(), how=how, ids=ids))
            self._lock.notify_all()

    def until(self, question: Callable[[], T]) -> T:
        """Wait until this is so; it is asked again whenever something comes."""
        while True:
            with self._lock:
                seen = self._came()
            # Without the lock: whoever adds something may hold what the question needs.
            if answer := question():
                return answer
            with self._lock:
                while self._came() == seen:
                    assert self._lock.wait(PATIENCE_S), "nothing comes any more"

    def _came(self) -> int:
        return len(self.requests) + len(self.submits) + len(self.reads)

    def see_open(self, ids: list[str]) -> None:
        """These jobs are open at this moment."""
        with self._lock:
            self.most_open = max(self.most_open, len(ids))

    def paid(self, what: str = "") -> list[Submit]:
        """Submits that work began for, whose path, customId or kind of task contains the word."""
        with self._lock:
            return [one for one in self.submits if one.is_paid and what in f"{one.path} {one.custom_id}"]

    def pressed(self) -> Counter[str]:
        """How often each button was pressed and paid, by its customId."""
        return Counter(one.custom_id for one in self.paid() if one.custom_id)

    def pressed_twice(self) -> list[str]:
        """Buttons that were paid more than once."""
        return sorted(custom_id for custom_id, count in self.pressed().items() if count > 1)

    def paid_twice(self) -> list[str]:
        """Whatever was paid more than once: a button by its customId (its window's answer too), anything else by its words."""
        with self._lock:
            counts = Counter(
                one.custom_id or f"{one.path} {one.body.get('prompt')}" for one in self.submits if one.is_paid
            )
        return sorted(what for what, count in counts.items() if count > 1)

    def came(self, kind: str) -> list[Request]:
        """Submits of one kind (`imagine`, `action` …) that came, whatever became of them."""
        with self._lock:
            return [one for one in self.requests if one.kind == kind and "/submit/" in one.path]

    def lists(self) -> int:
        """How often the list was asked for."""
        with self._lock:
            return sum(one.how == "list" for one in self.reads)

    def asked(self, task_id: str, how: str = "") -> list[Read]:
        """The questions about one task."""
        with self._lock:
            return [one for one in self.reads if task_id in one.ids and how in one.how]

    def forwarded(self) -> list[Request]:
        """What came to the sink, for effects that send something out."""
        with self._lock:
            return [one for one in self.requests if one.path.startswith("/sink")]

    def words(self) -> str:
        """All that was said to this upstream, one string a line: paths, values of headers, each string in each body."""
        with self._lock:
            requests = list(self.requests)
        return "\n".join(
            text for one in requests for text in (one.path, *one.headers.values(), *_strings(one.body))
        )


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
