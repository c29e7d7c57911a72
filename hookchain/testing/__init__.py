"""Feed events to your rules and plugins, and look at what they ask for: no server, no network, no database.

    def test_every_u_is_pressed(hookchain):
        hookchain.load_rules("hookchain.toml")
        assert hookchain.succeed(grid()).pressed == ["U1", "U2", "U3", "U4"]

The fixture `hookchain` comes with the package; nothing has to be imported for it but the builders below.
"""

# ruff: noqa: E402  (the packages that the kit needs are checked before it is imported)

from __future__ import annotations

from hookchain.namesakes import check

check(
    "run `pytest --import-mode=importlib`, not `python -m pytest`; if your tests import both, keep those of rules and "
    "plugins in a folder of their own"
)

from hookchain.testing.kit import Ask, Asked, Hookchain, fresh
from hookchain.testing.payloads import grid, upscale

__all__ = ["Ask", "Asked", "Hookchain", "fresh", "grid", "upscale"]
