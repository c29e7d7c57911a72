"""Posts callbacks, each once: unsigned, never repeated, from a pool of ten, as section d of the protocol notes says."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from tests.hostile.spelling import encoded

PATIENCE_S = 60.0
"""Where only a hang takes so long."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One callback that went out: `status` is what the receiver answered, 0 where it did not."""

    hook: str
    body: Any
    status: int
    told: str
    """The receiver's words, or those of the error."""


class Sender(Protocol):
    """The sending side of one upstream."""

    def due(self, job: Callable[[], None]) -> Callable[[], None]:
        """This is due from now on; what is given back starts it."""

    def post(self, hook: str, body: Any, *, encoding: str = "") -> Call:
        """Send one callback."""


class Caller:
    """Sends over HTTP."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._http = httpx.Client(timeout=PATIENCE_S, trust_env=False, verify=False)
        self._pool = ThreadPoolExecutor(10, thread_name_prefix="hostile-callbacks")
        self._due = 0
        self._none_due = threading.Condition()

    def due(self, job: Callable[[], None]) -> Callable[[], None]:
        """This is due from now on; what is given back starts it in the pool."""
        with self._none_due:
            self._due += 1

        def start() -> None:
            # Once the pool is closed, the upstream has stopped, and nobody waits any more.
            with contextlib.suppress(RuntimeError):
                self._pool.submit(self._do, job)

        return start

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        finally:
            self._done()

    def _done(self) -> None:
        with self._none_due:
            self._due -= 1
            self._none_due.notify_all()

    def wait_until_none_is_due(self) -> None:
        """Until every callback that was due has gone out."""
        with self._none_due:
            assert self._none_due.wait_for(lambda: self._due == 0, PATIENCE_S), "callbacks are still due"

    def post(self, hook: str, body: Any, *, encoding: str = "") -> Call:
        """Send one callback now: JSON, or the bytes as they are."""
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        headers = {"content-type": "application/json"}
        if encoding:
            headers["content-encoding"] = encoding.removesuffix("-raw")
        try:
            answer = self._http.post(hook, content=encoded(raw, encoding), headers=headers)
            call = Call(hook=hook, body=body, status=answer.status_code, told=answer.text)
        except httpx.HTTPError as error:
            call = Call(hook=hook, body=body, status=0, told=repr(error))
        self.calls.append(call)
        return call

    def close(self) -> None:
        """Send nothing any more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._http.close()
