"""The page of a chain: its tree, the selected task with all its buttons, and what a person does with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlencode

import msgspec
from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dispatcher.by_hand import commands, dead_letters
from dispatcher.by_hand.commands import CommandError
from dispatcher.policy.costs import Prices
from hooks.dashboard.approvals import ApprovalView, approval_view
from hooks.dashboard.context import PageContext
from hooks.dashboard.panel import UNSUCCESSFUL, TaskPanel, task_panel
from hooks.dashboard.render import HEADERS, answer, is_partial, render
from hooks.dashboard.views import Node, href_of, key_of, tree
from hooks.problems import Problem
from hooks.topics import Changes, Marks, Piece
from midjourney.dialects import Dialect
from midjourney.requests import Modal, decode_request, encode_request
from storage import clock
from storage.engine import Connection
from storage.reading import gallery, pages
from storage.reading.approval_pages import open_approvals
from storage.reading.cards import Card
from storage.reading.ticket_pages import tickets_of_chain
from storage.records import BY_HAND, Submission, Ticket
from storage.submissions import releases, submission_queue
from storage.tasks import rows as tasks


class ChainView(msgspec.Struct, frozen=True, kw_only=True):
    """What the tree part of the page shows. `used` counts the submissions of rules and plugins, which `budget` limits. `client`: the one
    whose order began the chain, or ""; `tickets`: what clients ordered in it, the oldest first."""

    key: str
    href: str
    prompt: str
    status: str
    roots: list[Node]
    used: int
    budget: int
    upstream: str
    created_at_ms: int
    client: str
    tickets: Sequence[Ticket]


class Chains:
    """Handlers of the chain page and its panel."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    async def show(self, request: Request) -> Response:
        """Show a chain's page. The query's `task` selects a task, at the query's `upstream` or else at the chain's own."""
        chain_id = request.path_params["id"]
        card = await self._context.database.read(lambda connection: gallery.card(connection, chain_id))
        if card is None:
            raise Problem(
                404, f"There is no chain {chain_id!r}; it may have been removed ([retention] chain_days)"
            )
        upstream = request.query_params.get("upstream") or card.upstream
        return await self._page(request, card, upstream, request.query_params.get("task", ""))

    async def show_for_task(self, request: Request) -> Response:
        """Show the chain of a task, or the task alone if it has none."""
        upstream, task_id = request.path_params["upstream"], request.path_params["task_id"]
        row = await self._context.database.read(lambda connection: tasks.find(connection, upstream, task_id))
        if row is None:
            raise Problem(404, f"There is no task {task_id!r} at upstream {upstream!r}")
        if row.chain_id is not None:
            selected = urlencode({"upstream": upstream, "task": task_id})
            return RedirectResponse(f"/chains/{row.chain_id}?{selected}", 303, headers=HEADERS)
        return await self._page(request, Card(chain=None, tasks=(row,)), upstream, task_id)

    async def _page(self, request: Request, card: Card, upstream: str, task_id: str) -> Response:
        at_ms = clock.now_ms()

        def read(connection: Connection) -> tuple[ChainView, TaskPanel | None, list[ApprovalView]]:
            view = chain_view(connection, card, self._context.budget.submissions)
            asked = _open_approvals(connection, card, self._context.prices)
            if not task_id:
                return view, None, asked
            return view, task_panel(connection, upstream, task_id, self._context.dialects), asked

        view, panel, asked = await self._context.database.read(read)
        return answer(
            request,
            "chain.html",
            **self._context.frame_values("gallery"),
            **asdict(view),
            panel=panel,
            asked=asked,
            live=f"/live/chain/{card.chain.id}?since_ms={at_ms}" if card.chain is not None else "",
        )

    async def panel(self, request: Request) -> Response:
        """Show the panel of the task that was clicked."""
        upstream, task_id = request.path_params["upstream"], request.path_params["task_id"]
        if not is_partial(request):
            return await self.show_for_task(request)
        return await self._panel(request, upstream, task_id)

    async def _panel(
        self,
        request: Request,
        upstream: str,
        task_id: str,
        *,
        result: str = "",
        before: Submission | None = None,
    ) -> Response:
        found = await self._context.database.read(
            lambda connection: task_panel(connection, upstream, task_id, self._context.dialects)
        )
        if found is None:
            raise Problem(404, f"There is no task {task_id!r} at upstream {upstream!r}")
        return answer(request, "_panel.html", panel=found, result=result, before=before)

    async def press(self, request: Request, form: dict[str, str]) -> Response:
        """Press a button for a person. A button that was pressed already is neither pressed nor paid for again. The form's `again`
        names an unsuccessful submission, which is retried."""
        upstream, task_id = self._task_of(request)
        now_ms = clock.now_ms()

        def retry(connection: Connection) -> tuple[str, Submission | None]:
            before = submission_queue.find(connection, form["again"])
            if before is None or (before.upstream, before.parent_id) != (upstream, task_id):
                raise CommandError("That submission no longer exists", status=404)
            is_retried = dead_letters.retry(connection, f"submission-{before.id}", now_ms)
            return ("retried" if is_retried else "pressed before"), before

        def press(connection: Connection) -> tuple[str, Submission | None]:
            staged = commands.press(
                connection,
                task_id,
                form.get("button", ""),
                upstream=upstream,
                dialect=self._context.dialects[upstream],
                asked_by="page",
                now_ms=now_ms,
            )
            if any(result.created for result in staged):
                return "pressed", None
            before = submission_queue.find(connection, staged[0].submission_id)
            if any(result.released for result in staged):
                return "released", before
            return ("over budget" if staged[0].refused else "pressed before"), before

        result, before = await self._context.command(retry if form.get("again") else press, upstream=upstream)
        return await self._updated_panel(request, upstream, task_id, result, before)

    async def modal(self, request: Request, form: dict[str, str]) -> Response:
        """Answer a modal; the mask is a data URL of a PNG."""
        upstream, task_id = self._task_of(request)
        if form.get("needs_mask") and not form.get("mask"):
            raise Problem(422, "Paint what may change first")
        reply = Modal(task_id=task_id, prompt=form.get("prompt", "").strip(), mask=form.get("mask", ""))

        dialect, now_ms = self._context.dialects[upstream], clock.now_ms()

        def stage(connection: Connection) -> str:
            return _stage_reply(connection, reply, upstream, dialect, now_ms)

        return await self._updated_panel(request, upstream, task_id, await self._context.command(stage))

    async def _updated_panel(
        self,
        request: Request,
        upstream: str,
        task_id: str,
        result: str,
        before: Submission | None = None,
    ) -> Response:
        if is_partial(request):
            return await self._panel(request, upstream, task_id, result=result, before=before)
        return await self.show_for_task(request)

    def _task_of(self, request: Request) -> tuple[str, str]:
        upstream: str = request.path_params["upstream"]
        if upstream not in self._context.dialects:
            raise Problem(404, f"There is no upstream {upstream!r} any more")
        return upstream, request.path_params["task_id"]

    def topic(self, request: Request) -> ChainTopic:
        """Return the topic of a chain's page."""
        return ChainTopic(request.path_params["id"], self._context.budget.submissions)


def _open_approvals(connection: Connection, card: Card, prices: Prices) -> list[ApprovalView]:
    if card.chain is None:
        return []
    of_chain = {"chain_id": card.chain.id}
    return [approval_view(one, prices) for one in open_approvals(connection, most=20, equal=of_chain)]


def _stage_reply(connection: Connection, reply: Modal, upstream: str, dialect: Dialect, now_ms: int) -> str:
    """Answer a modal once. An unsuccessful answer is sent again with the new prompt, since it is the same intent.

    Raises `CommandError` if the task needs no answer, and if the first answer may have succeeded.
    """
    equal = {"upstream": upstream, "parent_id": reply.task_id, "kind": "modal"}
    before = next(iter(pages.submission_page(connection, most=1, equal=equal)), None)
    if before is not None and before.state not in UNSUCCESSFUL:
        return "answered" if decode_request(before.request) == reply else "answered before"
    row = tasks.find(connection, upstream, reply.task_id)
    if row is not None and row.status != "MODAL":
        raise CommandError("This task needs no answer, or has been answered already", status=409)
    if before is None:
        made = commands.submit(
            connection, reply, upstream=upstream, dialect=dialect, asked_by="page", now_ms=now_ms
        )
        if made.refused:
            raise CommandError(made.refused, status=429)
        return "answered"
    if before.state in ("refused", "held"):
        commands.check(reply, dialect)
        release = releases.press_again if before.state == "refused" else releases.take_over
        why = release(connection, before.id, now_ms, by=f"{BY_HAND}page", request=encode_request(reply))
        if why:
            raise CommandError(why, status=429)
        is_sent = why is not None
    else:
        is_sent = dead_letters.edit_and_retry(connection, before.id, reply, dialect=dialect, now_ms=now_ms)
    return "answered" if is_sent else "answered before"


class ChainTopic:
    """The live part of a chain's page: its tree, and how much of the budget is used."""

    def __init__(self, chain_id: str, budget: int) -> None:
        self.key = f"chain {chain_id}"
        self._id = chain_id
        self._budget = budget

    def changes(self, connection: Connection, known: Marks) -> Changes:
        """Return the whole tree as one piece, if it has changed."""
        card = None
        marks = gallery.version_of(connection, self._id)
        if known.get(self._id) != marks:
            card = gallery.card(connection, self._id)
        if card is None:
            return Changes(marks={self._id: marks}, changed=[])
        view = chain_view(connection, card, self._budget)
        return Changes(
            marks={self._id: marks},
            changed=[Piece(render=_renderer(view), changed_at_ms=card.changed_at_ms)],
        )


def _renderer(view: ChainView) -> Callable[[str], str]:
    values = asdict(view)
    return lambda language: render("_changed_chain.html", language, **values)


def chain_view(connection: Connection, card: Card, budget: int) -> ChainView:
    """Return what the tree part of the page shows."""
    chain = card.chain
    prompt = chain.prompt if chain is not None else card.tasks[0].prompt
    return ChainView(
        key=key_of(card),
        href=href_of(card),
        prompt=prompt,
        status=card.status,
        roots=tree(card, gallery.payloads(connection, [card])),
        used=chain.automatic if chain is not None else 0,
        budget=budget,
        upstream=card.upstream,
        created_at_ms=card.created_at_ms,
        client=chain.client if chain is not None else "",
        tickets=tickets_of_chain(connection, chain.id) if chain is not None else (),
    )
