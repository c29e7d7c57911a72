"""Operations: how all is doing, what waits for a person, and what the person does about it."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dispatcher import letters, readmit
from hooks.api.letters import edit_and_retry
from hooks.dashboard.desk import Desk
from hooks.dashboard.overview import SPANS, OperationsTopic, lists, state
from hooks.dashboard.render import HEADERS, answer, is_partial
from hooks.dashboard.sure import question_first
from hooks.problems import Problem
from hooks.session import Visitor
from storage import quarantine, settlements, staging, submissions
from storage import upstreams as stored
from storage.engine import Connection
from storage.letters import Match

_ALL_LETTERS = {"retry": "Try all of these again?", "drop": "Give all of these up for good?"}


class Operations:
    """Handlers over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The page. `receiver`, `kind`, `upstream` and `text` choose dead letters, `body` quarantined bodies."""
        match, span = _match(dict(request.query_params)), _span(request)
        bodies = quarantine.Match(text=request.query_params.get("body", "").strip()[:500])
        at_ms = _now_ms()

        def ask(connection: Connection) -> dict[str, Any]:
            return {
                **state(connection, self._desk, span),
                **lists(connection, match, bodies),
            }

        found = await self._desk.database.read(ask)
        return answer(
            request,
            "operations.html",
            **self._desk.shared(visitor, "operations"),
            **found,
            match=match,
            body_text=bodies.text,
            receivers=self._desk.rule_names(),
            since_ms=at_ms,
        )

    def topic(self, request: Request) -> OperationsTopic:
        """What the upper part of the page shows."""
        return OperationsTopic(self._desk, _span(request))

    async def pause(self, request: Request, visitor: Visitor, _form: dict[str, str]) -> Response:
        """Submit nothing to an upstream until it is resumed."""
        name = self._named(request)
        await self._desk.command(lambda connection: stored.pause(connection, name))
        return await self._after(request, visitor)

    async def resume(self, request: Request, visitor: Visitor, _form: dict[str, str]) -> Response:
        """Go on."""
        name = self._named(request)
        await self._desk.command(lambda connection: stored.resume(connection, name))
        return await self._after(request, visitor)

    async def settle(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Say what became of an uncertain submission: accepted (with its task), or not, and it is sent again."""
        submission_id, accepted = request.path_params["id"], form.get("became") == "accepted"
        if form.get("became") not in ("accepted", "nothing"):
            raise Problem(422, "say whether the upstream accepted it")
        question = "Send it again? If the upstream took it, it is paid twice."
        if not accepted and (asked := question_first(request, form, question)):
            return asked

        def settle(connection: Connection) -> bool:
            found = submissions.find(connection, submission_id)
            return found is not None and settlements.settle_by_hand(
                connection,
                found,
                accepted=accepted,
                task_id=form.get("task_id", "").strip(),
                now_ms=_now_ms(),
            )

        if not await self._desk.command(settle):
            raise Problem(404, "that submission is no longer uncertain")
        return await self._after(request, visitor)

    async def release(self, request: Request, visitor: Visitor, _form: dict[str, str]) -> Response:
        """Send what the budget had refused."""
        submission_id = request.path_params["id"]
        if not await self._desk.command(lambda one: staging.release(one, submission_id, _now_ms())):
            raise Problem(404, "that submission is no longer refused")
        return await self._after(request, visitor)

    async def letter(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Retry a dead letter, as it is or with an edited request, or drop it."""
        letter_id, now_ms = request.path_params["id"], _now_ms()
        if form.get("do") == "drop" and (asked := question_first(request, form, "Give this up for good?")):
            return asked
        match form.get("do"):
            case "retry":
                done = await self._desk.command(lambda one: letters.retry(one, letter_id, now_ms))
            case "edit":
                edited = _edited(form.get("request", ""))
                done = await edit_and_retry(
                    self._desk.database, self._desk.dialects, letter_id, edited, now_ms
                )
                self._desk.database.wakeups.wake("events", "submissions")
            case "drop":
                done = await self._desk.command(lambda one: letters.drop(one, letter_id, now_ms))
            case _:
                raise Problem(422, "retry it, edit it or drop it")
        if not done:
            raise Problem(404, "that letter is no longer there")
        return await self._after(request, visitor)

    async def all_letters(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Retry or drop all dead letters that match what was looked for."""
        work = {"retry": letters.retry_all, "drop": letters.drop_all}.get(form.get("do", ""))
        if work is None:
            raise Problem(422, "retry them or drop them")
        match, now_ms = _match(form), _now_ms()
        _check_all(form, is_empty=match.is_empty)
        if asked := question_first(request, form, _ALL_LETTERS[form["do"]]):
            return asked
        while await self._desk.command(lambda one: work(one, match, now_ms)):
            pass
        return await self._after(request, visitor)

    async def body(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Read a quarantined body again, as it is or edited, or forget it."""
        entry_id, database = request.path_params["id"], self._desk.database
        if form.get("do") == "drop" and (asked := question_first(request, form, "Forget this?")):
            return asked
        match form.get("do"):
            case "retry":
                done = await readmit.retry(database, entry_id, _now_ms()) is not None
            case "edit":
                edited = form.get("body", "").encode()
                done = await readmit.retry(database, entry_id, _now_ms(), body=edited) is not None
            case "drop":
                done = await self._desk.command(lambda one: quarantine.drop(one, entry_id))
            case _:
                raise Problem(422, "retry it, edit it or drop it")
        if not done:
            raise Problem(404, "that body is no longer there")
        return await self._after(request, visitor)

    async def all_bodies(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Read all quarantined bodies again, or forget them."""
        match, now_ms = quarantine.Match(text=form.get("text", "").strip()), _now_ms()
        _check_all(form, is_empty=match.is_empty)
        if form.get("do") == "drop":
            if asked := question_first(request, form, "Forget all of these?"):
                return asked
            while await self._desk.command(lambda one: quarantine.drop_all(one, match, now_ms)):
                pass
        else:
            await readmit.retry_all(self._desk.database, match, now_ms)
        return await self._after(request, visitor)

    async def _after(self, request: Request, visitor: Visitor) -> Response:
        """The page as it is then; its filters are in the address that it was asked from."""
        if not is_partial(request):
            return RedirectResponse("/operations", 303, headers=HEADERS)
        return await self.show(_as_asked(request), visitor)

    def _named(self, request: Request) -> str:
        name: str = request.path_params["name"]
        if name not in self._desk.upstreams:
            raise Problem(404, f"there is no upstream {name!r}")
        return name


def _edited(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text.encode(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Problem(422, f"the request is not JSON: {error}") from error


def _match(given: dict[str, str]) -> Match:
    kind = given.get("kind", "")
    if kind not in ("", "delivery", "submission"):
        raise Problem(422, "kind is delivery or submission")
    return Match(
        kind=kind,  # type: ignore[arg-type]  # one of three, see above
        receiver=given.get("receiver", ""),
        upstream=given.get("upstream", ""),
        text=given.get("text", "").strip(),
    )


def _check_all(form: dict[str, str], *, is_empty: bool) -> None:
    """That nothing is named means all of them, and must be said."""
    if is_empty and form.get("all") != "1":
        raise Problem(422, "say which, or all of them")


def _span(request: Request) -> str:
    span = request.query_params.get("span", "1h")
    return span if span in SPANS else "1h"


def _as_asked(request: Request) -> Request:
    """The request for the page that the person looks at; without its filters where they are none."""
    try:
        query = urlsplit(request.headers.get("hx-current-url", "")).query
        _match(dict(parse_qsl(query)))
    except (ValueError, Problem):
        query = ""
    return Request({**request.scope, "query_string": query.encode()})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
