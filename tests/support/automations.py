"""The examples that are more than one built-in: docs/how-to/automations.md lists them."""

from __future__ import annotations

AUTOMATIONS = frozenset(
    {
        "a-b",
        "ask-first",
        "at-night",
        "daily-budget",
        "describe-elsewhere",
        "every-monday",
        "finals",
        "later",
        "left-half",
        "per-customer",
        "soften",
        "subtle",
        "unless-pressed",
        "wide-only",
        "zoom-three-times",
    }
)
"""By their names in `examples/`."""
