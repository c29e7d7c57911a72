"""Submits the rows of a batch through the running server: a few requests at a time, each row under its own key.

A request whose answer is lost is sent again: its key makes sure that there is one submission.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import msgspec

from hookchain.cli.api import CallFailed, Server
from hookchain.cli.batch_rows import Row
from hookchain.settings.conversion import SettingsError
from hooks.api.answers import Submission

IN_FLIGHT = 4
"""Requests at a time. The server commits what arrives together at once, so that more would not be faster."""

PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""The pauses before a request without an answer is sent again; a server that restarts is back by then."""

LONGEST_PAUSE_S = 300


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What the server said to a row. Without a `problem`, it is submitted."""

    row: Row
    problem: str = ""
    is_refused_by_budget: bool = False


class Broken(Exception):
    """The server cannot be reached. What was submitted stays submitted."""


class Sending:
    """Sends rows. `stop` makes requests that wait give up."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.stop = threading.Event()

    def send(self, rows: Iterable[Row]) -> Generator[Sent]:
        """Send each row, and return what became of it. Raises `Broken`.

        If a budget refuses a row, those of the same upstream and state are not tried any more: each would be refused, and be kept.
        """
        refused: set[tuple[str, str]] = set()
        waiting = iter(rows)
        pool = ThreadPoolExecutor(IN_FLIGHT)
        running: set[Future[Sent]] = set()
        try:
            while True:
                while len(running) < IN_FLIGHT and (row := next(waiting, None)) is not None:
                    if (row.upstream, row.state) in refused:
                        yield Sent(
                            row=row,
                            problem="not tried: a budget refused a row before it",
                            is_refused_by_budget=True,
                        )
                    else:
                        running.add(pool.submit(self._send, row))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    sent = one.result()
                    if sent.is_refused_by_budget:
                        refused.add((sent.row.upstream, sent.row.state))
                    yield sent
        finally:
            self.stop.set()
            pool.shutdown(cancel_futures=True)

    def _send(self, row: Row) -> Sent:
        lost = 0
        while True:
            try:
                self._server.post("/api/submissions", Submission, _body(row), key=row.key)
            except SettingsError as error:
                return Sent(row=row, problem=str(error))
            except CallFailed as error:
                pause_s = self._pause(error, lost)
                if pause_s is None:
                    return Sent(row=row, problem=str(error), is_refused_by_budget=error.status == 429)
                lost += error.retry_after_s is None
                if self.stop.wait(pause_s):
                    raise Broken(str(error)) from error
            else:
                return Sent(row=row)

    @staticmethod
    def _pause(error: CallFailed, lost: int) -> float | None:
        """Seconds to wait before the request is sent again; None if it would be refused again. Raises `Broken`."""
        if error.status in (429, 503) and error.retry_after_s is not None:
            return min(error.retry_after_s, LONGEST_PAUSE_S)
        if error.status in (401, 403):
            raise Broken(str(error)) from error
        if 400 <= error.status < 500:
            return None
        if lost >= len(PAUSES_S):
            raise Broken(str(error)) from error
        return PAUSES_S[lost]


def _body(row: Row) -> dict[str, object]:
    """The API's request. Raises `SettingsError` for an image that cannot be read."""
    body: dict[str, object] = {"kind": "imagine", "prompt": row.prompt}
    if row.upstream:
        body["upstream"] = row.upstream
    if row.mode:
        body["mode"] = row.mode
    if row.bot_type:
        body["bot_type"] = row.bot_type
    if row.state:
        body["extra"] = {"state": row.state}
    if row.images:
        # Imported here because it loads all that reads images.
        from hookchain.cli.submit import image_of

        body["images"] = [image_of(image) for image in row.images]
    return body
