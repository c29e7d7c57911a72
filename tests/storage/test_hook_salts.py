"""Registered hooks are rotated and retired, for all processes on one database."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from storage.engine import Database
from storage.errors import TooManyHooks
from storage.upstreams import hook_salts
from storage.upstreams.hook_salts import MOST_RETIRED, MOST_VALID, HookSalts


async def find(database: Database) -> HookSalts:
    return (await database.read(partial(hook_salts.find, upstreams=["main", "other"])))["main"]


async def rotate(database: Database) -> HookSalts:
    return await database.write("command", partial(hook_salts.rotate, upstream="main"))


async def retire(database: Database) -> HookSalts:
    return await database.write("command", partial(hook_salts.retire, upstream="main"))


async def test_old_and_new_are_valid_together_until_the_old_ones_are_retired(database: Database) -> None:
    """A new database has the hook that 0.1.0 had; retiring without a rotation ends nothing."""
    assert await find(database) == HookSalts(valid=("",)) == await retire(database)
    first = await rotate(database)
    assert (first.valid[0], first.present, first.retired) == ("", first.valid[1], ())
    second = await rotate(database)
    assert second.valid == (*first.valid, second.present)
    ended = await retire(database)
    assert ended == HookSalts(valid=(second.present,), retired=first.valid) == await find(database)


async def test_those_that_rotate_at_once_each_make_a_hook(database: Database) -> None:
    """The first time and later; none is overwritten."""
    for _ in range(3):
        before = (await find(database)).valid
        made = await asyncio.gather(*(rotate(database) for _ in range(6)))
        found = (await find(database)).valid
        assert found[: len(before)] == before
        assert sorted(one.present for one in made) == sorted(found[len(before) :])
        await retire(database)


async def test_hooks_are_bounded(database: Database) -> None:
    """As many as each callback may be compared with; the oldest retired ones are forgotten."""
    for _ in range(MOST_VALID - 1):
        await rotate(database)
    with pytest.raises(TooManyHooks, match="--retire"):
        await rotate(database)
    await retire(database)
    for _ in range(3):
        await rotate(database)
        await retire(database)
    assert len((await find(database)).retired) == MOST_RETIRED
