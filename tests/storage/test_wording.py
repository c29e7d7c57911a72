"""Texts that people look for."""

from __future__ import annotations

import pytest

from storage.engine import Database
from storage.events import quarantine
from storage.events.quarantine import UnreadableBody
from storage.reading import dead_letters, gallery
from storage.reading.cards import CardFilter
from tests.support import buried


@pytest.mark.parametrize("text", ["\0", "a\0", "\0a", "%\0"])
async def test_a_nul_is_in_nothing(database: Database, text: str) -> None:
    """It took all there is, and dropping all that match dropped all."""
    stranger = UnreadableBody(
        upstream="main", submission_id="", content_type="", reason="a", body=b"x", received_at_ms=1
    )
    await database.write("keep", lambda connection: quarantine.keep(connection, stranger))
    await database.write("bury", lambda connection: buried.submission(connection, "s", 10))
    assert await database.read(lambda c: dead_letters.count(c, dead_letters.DeadLetterFilter(text=text))) == 0
    assert (
        await database.write(
            "drop", lambda c: quarantine.drop_all(c, quarantine.QuarantineFilter(text=text), 99)
        )
        == 0
    )
    assert (
        await database.write(
            "drop", lambda c: quarantine.drop_all(c, quarantine.QuarantineFilter(text="A"), 99)
        )
        == 1
    )
    assert (await database.read(lambda c: gallery.page(c, CardFilter(text=text), most=9))).cards == []
    assert len((await database.read(lambda c: gallery.page(c, CardFilter(), most=9))).cards) == 1
