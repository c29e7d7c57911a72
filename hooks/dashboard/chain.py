"""A chain: its tree, the task that is looked at with all its buttons, and what a person does about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dispatcher import commands, letters
from dispatcher.commands import CommandError
from hooks.dashboard.desk import Desk
from hooks.dashboard.panel import UNDONE, Seen, seen
from hooks.dashboard.render import HEADERS, answer, is_partial, render
from hooks.dashboard.views import Node, href_of, key_of, tree
from hooks.problems import Problem
from hooks.session import Visitor
from hooks.topics import Look, Marks, Piece
from midjourney.dialects import Dialect
from midjourney.requests import Modal, decode_request, encode_request
from storage import gallery, queries, staging, submissions, tasks
from storage.cards import Card
from storage.engine import Connection
from storage.records import Submission


class Chains:
    """Handlers over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """A chain's page; `task` names the one that is looked at, and `upstream` where it is: the chain's own, else."""
        chain_id = request.path_params["id"]
        card = await self._desk.database.read(lambda connection: gallery.card(connection, chain_id))
        if card is None:
            raise Problem(404, f"no chain {chain_id!r}; it may have been removed ([retention] chain_days)")
        upstream = request.query_params.get("upstream") or card.upstream
        return await self._page(request, visitor, card, upstream, request.query_params.get("task", ""))

    async def show_of(self, request: Request, visitor: Visitor) -> Response:
        """The chain of a task, or the task alone where it has none."""
        upstream, task_id = request.path_params["upstream"], request.path_params["task_id"]
        row = await self._desk.database.read(lambda connection: tasks.find(connection, upstream, task_id))
        if row is None:
            raise Problem(404, f"no task {task_id!r} at upstream {upstream!r}")
        if row.chain_id is not None:
            looked_at = urlencode({"upstream": upstream, "task": task_id})
            return RedirectResponse(f"/chains/{row.chain_id}?{looked_at}", 303, headers=HEADERS)
        return await self._page(request, visitor, Card(chain=None, tasks=(row,)), upstream, task_id)

    async def _page(
        self, request: Request, visitor: Visitor, card: Card, upstream: str, task_id: str
    ) -> Response:
        at_ms = time.time_ns() // 1_000_000

        def ask(connection: Connection) -> tuple[list[Node], Seen | None]:
            roots = tree(card, gallery.payloads(connection, [card]))
            return roots, seen(connection, upstream, task_id, self._desk.dialects) if task_id else None

        roots, looked_at = await self._desk.database.read(ask)
        return answer(
            request,
            "chain.html",
            **self._desk.shared(visitor, "gallery"),
            **shown(card, roots, self._desk.budget.submissions),
            seen=looked_at,
            live=f"/live/chain/{card.chain.id}?since_ms={at_ms}" if card.chain is not None else "",
        )

    async def panel(self, request: Request, visitor: Visitor) -> Response:
        """The task that was clicked."""
        upstream, task_id = request.path_params["upstream"], request.path_params["task_id"]
        if not is_partial(request):
            return await self.show_of(request, visitor)
        return await self._panel(request, visitor, upstream, task_id)

    async def _panel(
        self,
        request: Request,
        visitor: Visitor,
        upstream: str,
        task_id: str,
        *,
        told: str = "",
        before: Submission | None = None,
    ) -> Response:
        found = await self._desk.database.read(
            lambda connection: seen(connection, upstream, task_id, self._desk.dialects)
        )
        if found is None:
            raise Problem(404, f"no task {task_id!r} at upstream {upstream!r}")
        return answer(request, "_panel.html", seen=found, csrf=visitor.csrf or "", told=told, before=before)

    async def press(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Press a button by hand; one that was pressed already is not pressed, or paid for, again. `again` names a
        submission that came to nothing: it is tried again."""
        upstream, task_id = self._task_of(request)
        now_ms = time.time_ns() // 1_000_000

        def retry(connection: Connection) -> tuple[str, Submission | None]:
            before = submissions.find(connection, form["again"])
            if before is None or (before.upstream, before.parent_id) != (upstream, task_id):
                raise CommandError("that submission is no longer there", status=404)
            again = letters.retry(connection, f"submission-{before.id}", now_ms)
            return ("retried" if again else "pressed before"), before

        def press(connection: Connection) -> tuple[str, Submission | None]:
            staged = commands.press(
                connection,
                task_id,
                form.get("button", ""),
                upstream=upstream,
                dialect=self._desk.dialects[upstream],
                asked_by="page",
                now_ms=now_ms,
            )
            if any(one.created for one in staged):
                return "pressed", None
            before = submissions.find(connection, staged[0].submission_id)
            if before is not None and staging.release(connection, before.id, now_ms):
                return "released", before  # the budget holds rules, not people
            return "pressed before", before

        told, before = await self._desk.command(retry if form.get("again") else press)
        return await self._after(request, visitor, upstream, task_id, told, before)

    async def modal(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Answer a window that waits; the mask is a data URL of a PNG."""
        upstream, task_id = self._task_of(request)
        if form.get("needs_mask") and not form.get("mask"):
            raise Problem(422, "paint what may change first")
        wanted = Modal(task_id=task_id, prompt=form.get("prompt", "").strip(), mask=form.get("mask", ""))

        dialect, now_ms = self._desk.dialects[upstream], time.time_ns() // 1_000_000

        def reply(connection: Connection) -> str:
            return _reply(connection, wanted, upstream, dialect, now_ms)

        return await self._after(request, visitor, upstream, task_id, await self._desk.command(reply))

    async def _after(
        self,
        request: Request,
        visitor: Visitor,
        upstream: str,
        task_id: str,
        told: str,
        before: Submission | None = None,
    ) -> Response:
        if is_partial(request):
            return await self._panel(request, visitor, upstream, task_id, told=told, before=before)
        return await self.show_of(request, visitor)

    def _task_of(self, request: Request) -> tuple[str, str]:
        upstream: str = request.path_params["upstream"]
        if upstream not in self._desk.dialects:
            raise Problem(404, f"there is no upstream {upstream!r} any more")
        return upstream, request.path_params["task_id"]

    def topic(self, request: Request) -> ChainTopic:
        """What the page of a chain shows."""
        return ChainTopic(request.path_params["id"], self._desk.budget.submissions)


def _reply(connection: Connection, wanted: Modal, upstream: str, dialect: Dialect, now_ms: int) -> str:
    """Answer a window, once. An answer that came to nothing is given again with the new words: it is the same intent.

    Raises `CommandError` where nothing is asked, and where it is not certain that the first answer came to nothing.
    """
    equal = {"upstream": upstream, "parent_id": wanted.task_id, "kind": "modal"}
    before = next(iter(queries.submission_page(connection, most=1, equal=equal)), None)
    if before is not None and before.state not in UNDONE:
        return "answered" if decode_request(before.request) == wanted else "answered before"
    row = tasks.find(connection, upstream, wanted.task_id)
    if row is not None and row.status != "MODAL":
        raise CommandError("this task asks nothing, or has been answered", status=409)
    if before is None:
        commands.submit(
            connection, wanted, upstream=upstream, dialect=dialect, asked_by="page", now_ms=now_ms
        )
        return "answered"
    if before.state == "refused":  # the budget holds rules, not people
        commands.check(wanted, dialect)
        is_sent = staging.release(connection, before.id, now_ms, request=encode_request(wanted))
    else:
        is_sent = letters.edit_and_retry(connection, before.id, wanted, dialect=dialect, now_ms=now_ms)
    return "answered" if is_sent else "answered before"


class ChainTopic:
    """The tree of one chain, and what it has used."""

    def __init__(self, chain_id: str, budget: int) -> None:
        self.key = f"chain {chain_id}"
        self._id = chain_id
        self._budget = budget

    def look(self, connection: Connection, known: Marks) -> Look:
        """One piece: the tree, whole."""
        card = None
        marks = gallery.marks_of(connection, self._id)
        if known.get(self._id) != marks:
            card = gallery.card(connection, self._id)
        if card is None:
            return Look(marks={self._id: marks}, changed=[])
        roots = tree(card, gallery.payloads(connection, [card]))
        return Look(
            marks={self._id: marks},
            changed=[Piece(render=self._renderer(card, roots), changed_at_ms=card.changed_at_ms)],
        )

    def _renderer(self, card: Card, roots: list[Node]) -> Callable[[str], str]:
        values = shown(card, roots, self._budget)
        return lambda language: render("_changed_chain.html", language, **values)


def shown(card: Card, roots: list[Node], budget: int) -> dict[str, Any]:
    """What the tree's part of the page shows."""
    chain = card.chain
    prompt = chain.prompt if chain is not None else card.tasks[0].prompt
    return {
        "key": key_of(card),
        "href": href_of(card),
        "prompt": prompt,
        "status": card.status,
        "roots": roots,
        "used": chain.submissions if chain is not None else 0,
        "budget": budget,
        "upstream": card.upstream,
        "created_at_ms": card.created_at_ms,
    }
