"""Feed events to your rules and plugins, and check what they submit, without a server, a network or a database.

    def test_every_u_is_pressed(hookchain):
        hookchain.load_rules("hookchain.toml")
        assert hookchain.succeed(grid()).pressed == ["U1", "U2", "U3", "U4"]

The package provides the fixture `hookchain`; you only import the builders below.
"""

# ruff: noqa: E402  (the packages that the kit needs are checked before it is imported)

from __future__ import annotations

from hookchain.namesakes import check

check(
    "run `pytest --import-mode=importlib`, not `python -m pytest`; if your tests import both, keep those of rules and "
    "plugins in a folder of their own"
)

from hookchain.testing.asked import Archived, Ask, Asked, Forwarded, Sent, Told
from hookchain.testing.kit import Hookchain, fresh
from hookchain.testing.payloads import grid, upscale

__all__ = [
    "Archived",
    "Ask",
    "Asked",
    "Forwarded",
    "Hookchain",
    "Sent",
    "Told",
    "fresh",
    "grid",
    "upscale",
]
