"""Refusals: how many callbacks were refused, and why."""

from __future__ import annotations

from typing import Literal

import msgspec

Why = Literal[
    "unknown_hook",  # 404: a token of another database or secret, or a guess
    "retired_hook",  # 404: a token that `hookchain url --retire` ended
    "method",  # 405: not a POST
    "too_large",  # 413
    "incomplete",  # 408, and connections that ended within the body
    "over_quota",  # 200, its body dropped and the upstream polled; 429 if there are too many ids to remember
    "no_space",  # 507: not understood, and the disk is nearly full
    "not_understood",  # 400 and 422: quarantined
    "encoding",  # 415 and 400: an unsupported compression, or damaged
    "busy",  # 503: too many callbacks in progress
    "not_kept",  # 503: the database was unavailable
    "unknown_submission",  # 200, stored: on the hook of a submission that the database lacks
]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Callbacks refused for one reason. `upstream` is "" if the URL does not name one; `detail` is about the last one."""

    upstream: str
    why: Why
    count: int
    last_at_ms: int
    detail: str
