"""How callbacks are stored: a step of the writer (storage/driver/writes.py), and what its transactions carry."""

from __future__ import annotations

from collections.abc import Container, Iterator

from sqlalchemy import Connection

from midjourney.types import Status
from storage.budgets.billing import PLAN, Plan
from storage.driver.wakeups import Topic
from storage.driver.writes import Step
from storage.ingest import ingest
from storage.records import ALL_SIGNALS, Incoming, Recorded

_SIGNALS_OF_STATUS: dict[str, tuple[str, ...]] = {
    Status.MODAL: ("submission.needs_modal",),
    Status.SUBMITTED: ("task.submitted",),
    Status.IN_PROGRESS: ("task.started", "task.progressed"),
    Status.SUCCESS: ("task.succeeded",),
    Status.FAILURE: ("task.failed",),
    Status.CANCEL: ("task.cancelled",),
}


class Callbacks:
    """Shared by all writers of a database.

    `wanted_signals`: the signals that have receivers. `trusted`: the upstreams whose callbacks are believed without a
    readback. `plan`: the budgets that submissions are charged to, whoever stages them.
    """

    def __init__(self) -> None:
        self.wanted_signals: Container[str] = ALL_SIGNALS
        self.trusted: Container[str] = ()
        self.plan: Plan | None = None
        self.step = Step("ingest", self._keep)

    def begin(self, connection: Connection) -> None:
        """Make the plan available to the functions of this transaction."""
        connection.info[PLAN] = self.plan

    def _keep(self, connection: Connection, batch: list[Incoming]) -> list[Recorded]:
        """Write a batch of callbacks with the same statements."""
        return ingest(connection, batch, self.wanted_signals, self.trusted)

    def topics(self, incoming: Incoming) -> Iterator[Topic]:
        """The loops that may have work once this callback is stored."""
        if any(signal in self.wanted_signals for signal in _SIGNALS_OF_STATUS.get(incoming.task.status, ())):
            yield "events"
        if incoming.task.is_finished:
            # Its place is free, and the next submission of its lane may go.
            yield "submissions"
