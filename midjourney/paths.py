"""Quotes a task's id as one segment of an upstream's path."""

from __future__ import annotations

import re
from urllib.parse import quote

from midjourney.errors import InvalidRequest

LONGEST_ID = 255

_LEADS_ELSEWHERE = re.compile(r"[/\\?#%;]")
"""Forbidden even if quoted: proxies decode a path before they resolve its dots (nginx), and Java servers cut at a semicolon."""


def segment(task_id: str) -> str:
    """The id, quoted. Raises `InvalidRequest` for one that some server would interpret as another path.

    No upstream can have such a task, because nobody could fetch it.
    """
    leads_elsewhere = task_id in ("", ".", "..") or _LEADS_ELSEWHERE.search(task_id)
    if leads_elsewhere or len(task_id) > LONGEST_ID or not task_id.isprintable():
        raise InvalidRequest(
            "task_id", f"{task_id[:80]!a} cannot be part of a path, so no upstream has such a task"
        )
    return quote(task_id, safe="")
