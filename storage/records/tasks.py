"""Tasks, and the chains that they belong to."""

from __future__ import annotations

import msgspec

LONGEST_BEGINNING = 500
"""Characters of a prompt that are stored for searches. The payload has the whole prompt."""


def beginning(prompt: str) -> str:
    """The searchable beginning of a prompt, without NUL, which PostgreSQL text cannot hold."""
    return prompt[:LONGEST_BEGINNING].replace("\0", "")


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a task. `progress` is a percentage, -1 if none was ever reported; `prompt` is its `beginning`.

    `confirmed`: the upstream confirmed the status. `ask_at_ms`: when to poll about the task although it has ended.
    `made_by`: the button on its parent that made it, as the upstream reports. `shown`: see `midjourney.types.digest_of`.
    """

    upstream: str
    id: str
    status: str
    progress: int
    action: str
    chain_id: str | None
    submission_id: str | None
    parent_id: str
    depth: int
    created_at_ms: int
    updated_at_ms: int
    finished_at_ms: int | None
    looked_at_ms: int | None
    misses: int
    prompt: str = ""
    confirmed: bool = True
    ask_at_ms: int | None = None
    made_by: str = ""
    shown: str = ""


class ChainRow(msgspec.Struct, frozen=True, kw_only=True):
    """A chain. `submissions` counts all that were ever staged in it, and `automatic` those requested by rules and plugins, which
    its budget limits. `prompt`, `state` and `client` are its root's; `state` is None until it is first looked up."""

    id: str
    upstream: str
    root_task_id: str
    submissions: int
    created_at_ms: int
    prompt: str = ""
    automatic: int = 0
    state: str | None = None
    client: str = ""


class ChainUse(msgspec.Struct, frozen=True, kw_only=True):
    """How much rules and plugins have used in a chain: submissions in all, and those by the same rule or plugin.

    `last_hour` is their number of submissions to the chain's upstream in the last hour, over all chains. Submissions that
    people requested are not counted.
    """

    submissions: int
    by_same_receiver: int
    last_hour: int = 0
