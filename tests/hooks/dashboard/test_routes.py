"""What the screens' paths answer, whatever method they are asked by."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import PATIENCE_S
from tests.hooks.conftest import Site


@pytest.mark.parametrize("path", ["gallery", "chain/1", "task/main/1", "operations", "setup"])
async def test_who_asks_for_the_head_of_a_stream_holds_no_place_in_it(site: Site, path: str) -> None:
    """A link checker, say: the answer has its end."""
    async with asyncio.timeout(PATIENCE_S):
        answer = await site.http.head(f"/live/{path}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content == b""
