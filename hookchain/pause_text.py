"""A sentence about the pause of an upstream: since when, why, and what to do."""

from __future__ import annotations

from storage.upstreams.restores import PREFIX


def pause_text(name: str, *, since: str | None, reason: str | None) -> str:
    """The pause in a sentence. `reason`: the upstream's answer, or that the database was restored; None if a person paused it."""
    when = f" since {since}" if since else ""
    if not reason:
        return f"paused by hand{when}; to continue, run: hookchain resume {name}"
    if reason.startswith(PREFIX):
        return f"paused{when}; {reason}: hookchain resume {name}"
    return f"paused{when}, because the upstream answered: {reason}. Resolve that there, then run: hookchain resume {name}"
