"""Approvals as people see them: lists, and each with its submissions and the picture that it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection

from storage import schema
from storage.reading import keyset, pages
from storage.reading.keyset import Listing, Page, equals
from storage.records import Approval, Submission, TaskRow
from storage.submissions import approvals
from storage.tasks import rows as tasks

_APPROVALS = Listing(
    table=schema.approvals,
    record=Approval,
    order=[schema.approvals.c.asked_at_ms, schema.approvals.c.id],
    indexed={
        "chain_id": equals(schema.approvals.c.chain_id),
        "state": equals(schema.approvals.c.state),
    },
)


class ApprovalStory(msgspec.Struct, frozen=True, kw_only=True):
    """An approval, its submissions, and the newest payload of its task, b"" if it is unknown. `prompt` is the task's."""

    approval: Approval
    submissions: tuple[Submission, ...]
    prompt: str
    payload: bytes

    @property
    def held(self) -> tuple[Submission, ...]:
        """The submissions that wait for the decision."""
        return tuple(one for one in self.submissions if one.state == "held")


def approval_page(
    connection: Connection,
    *,
    most: int,
    before: tuple[int, str] | None = None,
    equal: Mapping[str, object] = pages.NO_FILTER,
) -> Page[Approval]:
    """Approvals by age, newest first."""
    return keyset.read(connection, _APPROVALS, most, before, equal)


def stories(connection: Connection, found: Sequence[Approval]) -> list[ApprovalStory]:
    """Everything that people need to decide about these approvals."""
    return [_story(connection, one) for one in found]


def open_approvals(
    connection: Connection, *, most: int, equal: Mapping[str, object] = pages.NO_FILTER
) -> list[ApprovalStory]:
    """The newest open approvals, with everything that people need to decide."""
    return stories(connection, approval_page(connection, most=most, equal={**equal, "state": "open"}))


def of_task(connection: Connection, row: TaskRow) -> list[ApprovalStory]:
    """The approvals that rules needed because of a task, oldest first."""
    return stories(connection, approvals.of_task(connection, row)) if row.chain_id is not None else []


def story(connection: Connection, approval_id: str) -> ApprovalStory | None:
    """Everything about one approval, or None."""
    found = approvals.find(connection, approval_id)
    return None if found is None else _story(connection, found)


def _story(connection: Connection, approval: Approval) -> ApprovalStory:
    row = tasks.find(connection, approval.upstream, approval.task_id) if approval.task_id else None
    payloads = pages.latest_payloads(connection, [row] if row is not None else [])
    return ApprovalStory(
        approval=approval,
        submissions=tuple(approvals.submissions_of(connection, approval.id)),
        prompt=row.prompt if row is not None else "",
        payload=next(iter(payloads.values()), b""),
    )
