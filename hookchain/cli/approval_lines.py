"""An approval as a line of text."""

from __future__ import annotations

from hooks.api.approval_answers import Approval


def approval_state(one: Approval) -> str:
    """Whether it is open, or what was decided, by whom, from where and when."""
    if one.decided_at is None:
        return f"open until {one.expires_at}, then {one.else_}"
    by = f" by {one.decided_by}" if one.decided_by else ""
    return f"{one.state}{by} ({one.decided_from}) at {one.decided_at}"
