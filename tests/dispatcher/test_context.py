"""What a receiver is called with."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.context import context_of
from midjourney.dialects import DIALECTS
from storage.records import ClaimedDelivery
from tests.support import delivered

COMPLETED = (Path(__file__).parent.parent / "cases" / "09_status_completed.json").read_bytes()


def test_a_receiver_sees_the_status_in_the_words_of_the_family() -> None:
    """What was kept says "completed", and so do the bytes; the dialect says what that means, and U1 can be pressed."""
    dialect = msgspec.structs.replace(DIALECTS["mj-plus"], statuses={"completed": "SUCCESS"})
    event = delivered.event(1, "task.succeeded", None, None, COMPLETED, "callback")
    claimed = ClaimedDelivery(
        delivery=delivered.delivery(1, "rule:x"),
        event=event,
        task=None,
        chain=None,
        submission=None,
        latest=COMPLETED,
        parent=b"",
    )
    for spoken, status, pressed in ((dialect, "SUCCESS", ["U1"]), (DIALECTS["mj-plus"], "completed", [])):
        handles = {event.upstream: UpstreamHandle(name=event.upstream, dialect=spoken)}
        context = context_of(claimed, handles)
        assert context.task.status == status
        assert list(context.chain.press("U1")) == pressed
