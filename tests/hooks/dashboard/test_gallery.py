"""A search goes on until there is nothing older, and says that it found nothing only then."""

from __future__ import annotations

import html
import re

import pytest

from storage.reading import gallery
from tests.hooks.conftest import Site
from tests.hooks.dashboard.parts import IN_PART, called

NOTHING = "Nothing matches these filters."


async def pages(site: Site, text: str) -> list[str]:
    """The page of a search, and what comes after it, to the end."""
    found = [(await site.http.get(f"/?text={text}")).text]
    while more := re.search(r'id="more"><a href="([^"]*)"', found[-1]):
        found.append((await site.http.get(html.unescape(more[1]), headers=IN_PART)).text)
    return found


async def test_a_search_that_goes_on_does_not_say_that_there_is_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is looked for is older than all that the first page looks at; or is nowhere, which the last one says."""
    monkeypatch.setattr(gallery, "LOOKED_AT", 2)
    for n in range(5):
        await called(site, str(n), prompt="hay" if n else "a needle")
    found = await pages(site, "needle")
    assert "a needle" not in found[0]
    assert [NOTHING in one for one in found] == [False] * len(found)
    assert sum("a needle" in one for one in found) == 1
    in_vain = await pages(site, "thread")
    assert [NOTHING in one for one in in_vain] == [False] * (len(in_vain) - 1) + [True]
    monkeypatch.setattr(gallery, "LOOKED_AT", 100)
    assert [NOTHING in one for one in await pages(site, "thread")] == [True]
