"""What a person does in a test: presses buttons, and decides about what waits for an approval."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.approvals.deciding import decide
from dispatcher.by_hand import commands
from hookchain.testing.asked import Ask, Asked
from hookchain.testing.running import Running
from storage.engine import Connection
from storage.submissions import approvals
from storage.submissions.decisions import Verdict

PERSON = "test"
"""What the person is called, as `person:test`."""


class NotHeld(AssertionError):
    """A test decides about a submission that needs no decision."""


async def press(running: Running, task_id: str, buttons: Sequence[str], upstream: str) -> Asked:
    """Press buttons of a task. Raises `CommandError` if the task is unknown, or has no such button."""
    dialect, now_ms = running.server.dialect(upstream), running.clock.now_ms

    def pressed(connection: Connection) -> None:
        for button in buttons:
            commands.press(
                connection,
                task_id,
                button,
                upstream=upstream,
                dialect=dialect,
                asked_by=PERSON,
                now_ms=now_ms,
            )

    await running.server.write("command", pressed)
    return Asked(signal=None)


async def decided(running: Running, of: Ask, verdict: Verdict) -> Asked:
    """Release or drop what waits for the same approval as this. Raises `NotHeld`."""
    database = running.server.database
    approval = await database.read(lambda connection: approvals.of_submission(connection, of.id))
    if approval is None:
        raise NotHeld(f"{of.label} of {of.receiver} needs no approval: write approve in its rule")
    result = await decide(database, approval.id, verdict, by=PERSON, source="command line")
    if result is None or not result.counts:
        raise NotHeld(f"{of.label} of {of.receiver} was decided before: it is {approval.state}")
    return Asked(signal=None)
