"""`[gateway]`: the settings that all clients of the gateway share."""

from __future__ import annotations

from typing import Annotated

import msgspec

_MB = 1024 * 1024

Answer = Annotated[float, msgspec.Meta(ge=0.1, le=600)]


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the gateway answers its clients.

    `enabled`: None means on if there is a client, a pool or a stored key. `answer_within_s`: how long a submit waits for the
    upstream's first word before it is answered anyway; `answer_action_within_s`: the same for a press, whose modal Plus 3.7.5 takes
    up to 30 s to open. Both are below the 60 s after which wechat-midjourney and new-api give up. `uncertain_max_s`: after so long
    without evidence, a submission with an unknown outcome ends as FAILURE for its client; `run_max_s`: after so long, a task that the
    upstream does not end does. `submit_limit_bytes`: the largest body of
    a submit; `spool_limit_bytes`: of all bodies together that are being received or sent. `cors_origins`: the origins whose pages
    may read the answers; "*" for all. `keep_pictures`: a folder or s3://bucket/prefix in which the pictures of clients' tasks are kept,
    for the addresses of ours that do not expire; "" keeps none.
    """

    enabled: bool | None = None
    answer_within_s: Answer = 20.0
    answer_action_within_s: Answer = 45.0
    uncertain_max_s: Annotated[float, msgspec.Meta(ge=60, le=30 * 24 * 3600)] = 3600.0
    run_max_s: Annotated[float, msgspec.Meta(ge=60, le=30 * 24 * 3600)] = 24 * 3600.0
    submit_limit_bytes: Annotated[int, msgspec.Meta(ge=10_000, le=1024 * _MB)] = 64 * _MB
    spool_limit_bytes: Annotated[int, msgspec.Meta(ge=10_000, le=1024 * 1024 * _MB)] = 1024 * _MB
    cors_origins: list[str] = msgspec.field(default_factory=lambda: ["*"])
    keep_pictures: str = ""
