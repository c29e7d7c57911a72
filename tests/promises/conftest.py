"""Servers of ours at upstreams that lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.hostile.manners import Manners
from tests.hostile.upstream import Hostile
from tests.support.witness import UPSCALE_ALL

UPSTREAM = """
[upstreams.main]
url = "{url}"
key = "sk-1"
dialect = "{dialect}"
look_after_s = 0.3
quiet_s = {quiet_s}
private_hosts = {private_hosts}
"""


@pytest.fixture
def start_hostile() -> Iterator[Callable[..., Hostile]]:
    """Start a hostile upstream with manners."""
    started: list[Hostile] = []

    def start(**manners: Any) -> Hostile:
        started.append(Hostile(Manners(**manners), secret="sk-1"))
        return started[-1]

    yield start
    for upstream in started:
        upstream.stop()


@pytest.fixture
def serve(start_server: Any) -> Callable[..., Any]:
    """Start a server of ours at a hostile upstream."""

    def serve(
        upstream: Hostile,
        rules: str = UPSCALE_ALL,
        *,
        dialect: str = "mj-plus",
        quiet_s: float = 0.7,
        private_hosts: tuple[str, ...] = (),
        **environment: str,
    ) -> Any:
        main = UPSTREAM.format(
            url=upstream.url, dialect=dialect, quiet_s=quiet_s, private_hosts=list(private_hosts)
        )
        return start_server(toml=main + rules, **environment)

    return serve
