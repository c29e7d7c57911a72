"""/api/approvals: lists what rules may not send before somebody decides, and decides it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec
from starlette.requests import Request

from dispatcher.approvals import deciding
from dispatcher.approvals.wants import price, wants
from dispatcher.policy.costs import Prices
from hooks.api import shapes
from hooks.api.approval_answers import Approval, ApprovalDecided, ApprovalDetail, ApprovalPage
from hooks.api.decode import decode_body
from hooks.api.paging import age_cursor, cursor_of, filters, page_of
from hooks.problems import Problem
from hooks.times import when
from storage.engine import Connection, Database
from storage.reading import approval_pages
from storage.reading.approval_pages import ApprovalStory
from storage.reading.keyset import Page
from storage.records import Approval as Stored
from storage.records import ApprovalState
from storage.submissions.decisions import Verdict

STATES: tuple[str, ...] = get_args(ApprovalState)
_EXAMPLE = '{"by": "Ann"}, or nothing'


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who decides, as a name to be kept, and whether it is the command line that asks."""

    by: str = ""
    source: Literal["api", "command line"] = "api"


class Approvals:
    """Handlers for approvals; `prices` are those of the upstreams."""

    def __init__(self, database: Database, prices: Prices) -> None:
        self._database = database
        self._prices = prices

    async def list(self, request: Request) -> tuple[int, ApprovalPage]:
        """List approvals, newest first; filter by `state` and `chain_id`."""
        most, cursor = page_of(request)
        equal, before = _filters(request), age_cursor(cursor)

        def read(connection: Connection) -> tuple[Page[Stored], list[ApprovalStory]]:
            page = approval_pages.approval_page(connection, most=most, before=before, equal=equal)
            return page, approval_pages.stories(connection, page)

        page, stories = await self._database.read(read)
        return 200, ApprovalPage(
            approvals=[approval_shape(one, self._prices) for one in stories], cursor=cursor_of(page.next)
        )

    async def get(self, request: Request) -> tuple[int, ApprovalDetail]:
        """Return an approval with its submissions."""
        return 200, detail_shape(await self._story(request.path_params["id"]), self._prices)

    async def release(self, request: Request) -> tuple[int, ApprovalDecided]:
        """Release everything that an approval holds: 202, or 409 if it was decided before."""
        return await self._decide(request, "released")

    async def drop(self, request: Request) -> tuple[int, ApprovalDecided]:
        """Drop everything that an approval holds: 202, or 409 if it was decided before."""
        return await self._decide(request, "dropped")

    async def _decide(self, request: Request, verdict: Verdict) -> tuple[int, ApprovalDecided]:
        decision = await decode_body(request, Decision, example=_EXAMPLE)
        approval_id = request.path_params["id"]
        decided = await deciding.decide(
            self._database, approval_id, verdict, by=decision.by or "person:api", source=decision.source
        )
        story = await self._story(approval_id)
        shape = detail_shape(story, self._prices)
        if decided is None or not decided.counts:
            raise Problem(409, decided_words(story.approval), approval=shape)
        return 202, shapes.extended(
            ApprovalDecided, shape, moved=decided.moved, over_budget=list(decided.over_budget)
        )

    async def _story(self, approval_id: str) -> ApprovalStory:
        found = await self._database.read(lambda connection: approval_pages.story(connection, approval_id))
        if found is None:
            raise Problem(404, f"There is no approval {approval_id!r}")
        return found


def decided_words(approval: Stored) -> str:
    """What was decided about an approval, by whom and when."""
    if approval.decided_from == "expiry":
        return (
            f"The approval expired at {when(approval.expires_at_ms)}: its submissions were {_done(approval)}"
        )
    by = f" by {approval.decided_by}" if approval.decided_by else ""
    return f"The approval was {approval.state} before{by} ({approval.decided_from}) at {when(approval.decided_at_ms)}"


def _done(approval: Stored) -> str:
    return "sent" if approval.state == "released" else "dropped"


def _filters(request: Request) -> Mapping[str, str]:
    equal = filters(request, "state", "chain_id")
    if equal.get("state", STATES[0]) not in STATES:
        raise Problem(422, f"state must be one of {', '.join(STATES)}")
    return equal


def approval_shape(story: ApprovalStory, prices: Prices) -> Approval:
    """Return an approval without its submissions."""
    approval = story.approval
    shown = story.held if approval.is_open else story.submissions
    return Approval(
        id=approval.id,
        state=approval.state,
        asked_by=approval.asked_by,
        chain_id=approval.chain_id,
        upstream=approval.upstream,
        task_id=approval.task_id or None,
        prompt=story.prompt,
        wants=wants(shown, prices),
        price=price(shown, prices),
        asked_at=when(approval.asked_at_ms),
        expires_at=when(approval.expires_at_ms),
        else_=approval.otherwise,
        decided_at=when(approval.decided_at_ms),
        decided_by=approval.decided_by or None,
        decided_from=approval.decided_from or None,
    )


def detail_shape(story: ApprovalStory, prices: Prices) -> ApprovalDetail:
    """Return an approval with its submissions."""
    return shapes.extended(
        ApprovalDetail,
        approval_shape(story, prices),
        submissions=[shapes.submission_shape(one) for one in story.submissions],
    )
