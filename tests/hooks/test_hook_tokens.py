"""What a token in a hook's path opens."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from hooks.hook_tokens import HookMatch, NotifyTokens, registered_token, submission_token
from storage.upstreams.hook_salts import HookSalts

NAMES = ("main", "relay")
OLD = "MSn8YLILDEfS-P7B4-0W0HKX"
"""What 0.1.0 derives from the secret "s" and the upstream "main"."""


def tokens_with(**salts: HookSalts) -> NotifyTokens:
    return asyncio.run(_learnt(salts))


async def _learnt(salts: dict[str, HookSalts]) -> NotifyTokens:
    async def salts_of() -> Mapping[str, HookSalts]:
        return dict.fromkeys(NAMES, HookSalts()) | salts

    tokens = NotifyTokens("s", NAMES, salts_of)
    await tokens.read()
    return tokens


@pytest.mark.parametrize(
    ("token", "path"),
    [
        (submission_token("s", "main", "a1"), "a2"),
        (submission_token("s", "main", "a1"), ""),
        (submission_token("s", "main", "a1"), "a1/"),
        (submission_token("another", "main", "a1"), "a1"),
        (registered_token("s", "main", "1"), "a1"),
        (registered_token("another", "main"), ""),
        ("", ""),
        ("a1", "a1"),
        ("é", "a1"),
    ],
)
def test_a_token_opens_nothing_but_its_own_path(token: str, path: str) -> None:
    """Another submission's, the registered path, another secret's, and a later registered one on a submission's path."""
    tokens = tokens_with(main=HookSalts(valid=("1",)))
    assert tokens.match(token, path) == HookMatch(why="unknown_hook")
    assert tokens.match(submission_token("s", "main", "a1"), "a1") == HookMatch("main")
    assert tokens.match(submission_token("s", "relay", "a1"), "a1") == HookMatch("relay")


def test_hooks_of_0_1_0_open_both_paths_until_they_are_retired() -> None:
    """Also beside later ones; the tokens are those that 0.1.0 made."""
    assert registered_token("s", "main") == OLD
    for salts in (HookSalts(), HookSalts(valid=("", "1", "2"))):
        tokens = tokens_with(main=salts)
        assert tokens.match(OLD, "") == tokens.match(OLD, "a1") == HookMatch("main")
    tokens = tokens_with(main=HookSalts(valid=("1",), retired=("",)))
    assert tokens.match(OLD, "") == tokens.match(OLD, "a1") == HookMatch("main", "retired_hook")
    assert tokens.match(tokens.registered("main"), "") == HookMatch("main")
    assert tokens.match(registered_token("s", "relay"), "") == HookMatch("relay")


def test_tokens_are_long_and_all_different() -> None:
    """144 bits each."""
    made = [registered_token("s", name, salt) for name in NAMES for salt in ("", "1", "2")]
    made += [submission_token("s", name, one) for name in NAMES for one in ("a1", "a2", "1")]
    assert {len(token) for token in made} == {24}
    assert len(set(made)) == len(made)


async def test_a_token_of_a_rotation_a_moment_ago_is_known_at_once() -> None:
    """Unknown tokens that come together cause one question, which begins after they came."""
    salts, asked = HookSalts(), 0

    async def salts_of() -> Mapping[str, HookSalts]:
        nonlocal asked
        asked += 1
        return {"main": salts}

    tokens = NotifyTokens("s", ["main"], salts_of)
    await tokens.read()
    strangers = [asyncio.create_task(tokens.match_fresh(f"stranger{n}", "")) for n in range(40)]
    salts = HookSalts(valid=("", "1"))
    assert await tokens.match_fresh(registered_token("s", "main", "1"), "") == HookMatch("main")
    assert {await one for one in strangers} == {HookMatch(why="unknown_hook")}
    assert asked == 2
