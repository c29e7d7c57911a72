"""Approvals as pages show them, and the forms that decide them for whoever has logged in."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dispatcher.approvals import deciding
from dispatcher.approvals.wants import price, wants
from dispatcher.policy.costs import Prices
from hooks.api.approvals import decided_words
from hooks.dashboard.context import PageContext
from hooks.dashboard.render import HEADERS
from hooks.dashboard.views import Picture
from hooks.images.proxy import is_video
from hooks.problems import Problem
from midjourney.decode import kept_task
from storage.reading.approval_pages import ApprovalStory
from storage.records import Approval, Submission
from storage.submissions.decisions import Verdict

VERDICTS: dict[str, Verdict] = {"release": "released", "drop": "dropped"}
"""What the buttons of a form mean."""


class ApprovalView(msgspec.Struct, frozen=True, kw_only=True):
    """An approval as it is shown. `wants` tells what is held, or what was; `picture` is that of its task."""

    approval: Approval
    rule: str
    wants: str
    price: float
    prompt: str
    picture: Picture | None
    submissions: tuple[Submission, ...]


def approval_view(story: ApprovalStory, prices: Prices) -> ApprovalView:
    """Return what pages show of an approval."""
    approval, task = story.approval, kept_task(story.payload)
    shown = story.held if approval.is_open else story.submissions
    has_picture = task is not None and task.image_url and not is_video(task.image_url)
    return ApprovalView(
        approval=approval,
        rule=approval.asked_by.removeprefix("rule:"),
        wants=wants(shown, {}),
        price=price(shown, prices),
        prompt=story.prompt,
        picture=Picture(
            upstream=approval.upstream,
            task_id=approval.task_id,
            url=task.image_url,
            alt=(story.prompt or approval.task_id)[:200],
        )
        if task is not None and has_picture
        else None,
        submissions=story.submissions,
    )


def verdict_in(form: dict[str, str]) -> Verdict:
    """Return what a form's button means. Raises `Problem` 422 for a form without one: a program sent it."""
    verdict = VERDICTS.get(form.get("do", ""))
    if verdict is None:
        raise Problem(422, "Choose release or drop")
    return verdict


class Approvals:
    """Decides approvals for people who have logged in."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    async def decide(self, request: Request, form: dict[str, str]) -> Response:
        """Release or drop what an approval holds, and return to the page that was open."""
        decided = await deciding.decide(
            self._context.database,
            request.path_params["id"],
            verdict_in(form),
            by="person:page",
            source="dashboard",
        )
        if decided is None:
            raise Problem(404, "There is no such approval")
        if not decided.counts:
            raise Problem(409, decided_words(decided.approval))
        chain_id = decided.approval.chain_id
        back = f"/chains/{chain_id}" if form.get("back") == "chain" else "/operations"
        return RedirectResponse(back, 303, headers=HEADERS)
