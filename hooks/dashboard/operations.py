"""The operations page: the state of the system, what needs a person's decision, and the actions for it."""

from __future__ import annotations

from functools import partial
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dispatcher.by_hand import dead_letters, readmit
from hooks.api.dead_letters import edit_and_retry
from hooks.api.waiting import DROPPED
from hooks.dashboard.confirm import confirmation_page
from hooks.dashboard.context import PageContext
from hooks.dashboard.operations_data import SPANS, Lists, OperationsTopic, State, lists, state
from hooks.dashboard.render import HEADERS, answer, is_partial
from hooks.problems import Problem
from storage import clock
from storage.engine import Connection
from storage.events import quarantine
from storage.reading.dead_letters import DeadLetterFilter
from storage.records import BY_HAND
from storage.submissions import proof, releases, submission_queue, waiting
from storage.tickets import withdrawing
from storage.upstreams import standings as stored

_ALL_LETTERS = {"retry": "Retry all of these?", "drop": "Discard all of these for good?"}


class Operations:
    """Handlers of the operations page."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    async def show(self, request: Request) -> Response:
        """Show the page. `receiver`, `kind`, `upstream` and `text` filter dead letters, `body` filters quarantined bodies."""
        match, span = _match(dict(request.query_params)), _span(request)
        bodies = quarantine.QuarantineFilter(text=request.query_params.get("body", "").strip()[:500])
        at_ms = clock.now_ms()

        def read(connection: Connection) -> tuple[State, Lists]:
            return state(connection, self._context, span), lists(
                connection, match, bodies, self._context.prices
            )

        now, waiting = await self._context.database.read(read)
        return answer(
            request,
            "operations.html",
            **self._context.frame_values("operations"),
            **asdict(now),
            **asdict(waiting),
            match=match,
            body_text=bodies.text,
            receivers=_receivers(self._context.receiver_names(), waiting, match),
            since_ms=at_ms,
        )

    def topic(self, request: Request) -> OperationsTopic:
        """Return the topic of the upper, live part of the page."""
        return OperationsTopic(self._context, _span(request))

    async def pause(self, request: Request, _form: dict[str, str]) -> Response:
        """Submit nothing to an upstream until it is resumed."""
        name = self._upstream_name(request)
        await self._context.command(lambda connection: stored.pause(connection, name, clock.now_ms()))
        return await self._updated_page(request)

    async def resume(self, request: Request, _form: dict[str, str]) -> Response:
        """Submit to an upstream again."""
        name = self._upstream_name(request)
        await self._context.command(lambda connection: stored.resume(connection, name, clock.now_ms()))
        return await self._updated_page(request)

    async def settle(self, request: Request, form: dict[str, str]) -> Response:
        """Settle an uncertain submission: as accepted (with its task), or as not accepted, and then it is sent again."""
        submission_id, accepted = request.path_params["id"], form.get("became") == "accepted"
        if form.get("became") not in ("accepted", "nothing"):
            raise Problem(422, "Choose whether the upstream accepted it")
        question = "Send it again? If the upstream accepted it, you pay twice."
        if not accepted and (page := confirmation_page(request, form, question)):
            return page

        def settle(connection: Connection) -> bool:
            found = submission_queue.find(connection, submission_id)
            return found is not None and proof.settle_by_hand(
                connection,
                found,
                accepted=accepted,
                task_id=form.get("task_id", "").strip(),
                now_ms=clock.now_ms(),
            )

        if not await self._context.command(settle):
            raise Problem(404, "That submission is no longer uncertain")
        return await self._updated_page(request)

    async def release(self, request: Request, _form: dict[str, str]) -> Response:
        """Send a submission that a budget refused, even if the budget is used up."""
        submission_id = request.path_params["id"]
        if not await self._context.command(
            lambda connection: releases.release(
                connection, submission_id, clock.now_ms(), by=f"{BY_HAND}page"
            )
        ):
            raise Problem(404, "That submission is no longer refused")
        return await self._updated_page(request)

    async def waiting(self, request: Request, form: dict[str, str]) -> Response:
        """Drop a submission that waits, or make it due now."""
        submission_id, now_ms = request.path_params["id"], clock.now_ms()
        if form.get("do") == "drop" and (
            page := confirmation_page(request, form, "Drop this submission? It will not be sent.")
        ):
            return page
        match form.get("do"):
            case "drop":
                work = partial(withdrawing.drop, why=DROPPED, now_ms=now_ms)
            case "send-now":
                work = partial(waiting.send_now, now_ms=now_ms)
            case _:
                raise Problem(422, "Choose drop or send-now")
        if not await self._context.command(lambda connection: work(connection, submission_id)):
            raise Problem(409, "That submission does not wait any more")
        return await self._updated_page(request)

    async def letter(self, request: Request, form: dict[str, str]) -> Response:
        """Retry a dead letter, as it is or with an edited request, or drop it."""
        letter_id, now_ms = request.path_params["id"], clock.now_ms()
        if form.get("do") == "drop" and (page := confirmation_page(request, form, "Discard this for good?")):
            return page
        match form.get("do"):
            case "retry":
                done = await self._context.command(
                    lambda connection: dead_letters.retry(connection, letter_id, now_ms)
                )
            case "edit":
                edited = _edited(form.get("request", ""))
                done = await edit_and_retry(
                    self._context.database, self._context.dialects, letter_id, edited, now_ms
                )
                self._context.database.wakeups.wake("events", "submissions")
            case "drop":
                done = await self._context.command(
                    lambda connection: dead_letters.drop(connection, letter_id, now_ms)
                )
            case _:
                raise Problem(422, "Choose retry, edit or drop")
        if not done:
            raise Problem(404, "That dead letter no longer exists")
        return await self._updated_page(request)

    async def all_letters(self, request: Request, form: dict[str, str]) -> Response:
        """Retry or drop all dead letters that match the filters."""
        work = {"retry": dead_letters.retry_all, "drop": dead_letters.drop_all}.get(form.get("do", ""))
        if work is None:
            raise Problem(422, "Choose retry or drop")
        match, now_ms = _match(form), clock.now_ms()
        _check_all(form, is_empty=match.is_empty)
        if page := confirmation_page(request, form, _ALL_LETTERS[form["do"]]):
            return page
        while await self._context.command(lambda connection: work(connection, match, now_ms)):
            pass
        return await self._updated_page(request)

    async def body(self, request: Request, form: dict[str, str]) -> Response:
        """Process a quarantined body again, as it is or edited, or delete it."""
        entry_id, database = request.path_params["id"], self._context.database
        dialects = self._context.dialects
        if form.get("do") == "drop" and (page := confirmation_page(request, form, "Delete this?")):
            return page
        match form.get("do"):
            case "retry":
                done = await readmit.retry(database, entry_id, clock.now_ms(), dialects=dialects) is not None
            case "edit":
                edited = form.get("body", "").encode()
                read = readmit.retry(database, entry_id, clock.now_ms(), body=edited, dialects=dialects)
                done = await read is not None
            case "drop":
                done = await self._context.command(lambda connection: quarantine.drop(connection, entry_id))
            case _:
                raise Problem(422, "Choose retry, edit or drop")
        if not done:
            raise Problem(404, "That body no longer exists")
        return await self._updated_page(request)

    async def all_bodies(self, request: Request, form: dict[str, str]) -> Response:
        """Process all matching quarantined bodies again, or delete them."""
        match, now_ms = quarantine.QuarantineFilter(text=form.get("text", "").strip()), clock.now_ms()
        _check_all(form, is_empty=match.is_empty)
        if form.get("do") == "drop":
            if page := confirmation_page(request, form, "Delete all of these?"):
                return page
            while await self._context.command(
                lambda connection: quarantine.drop_all(connection, match, now_ms)
            ):
                pass
        else:
            await readmit.retry_all(self._context.database, match, now_ms, dialects=self._context.dialects)
        return await self._updated_page(request)

    async def _updated_page(self, request: Request) -> Response:
        """Return the page after a command. Its filters are in the address of the page that sent the command."""
        if not is_partial(request):
            return RedirectResponse("/operations", 303, headers=HEADERS)
        return await self.show(_request_of_shown_page(request))

    def _upstream_name(self, request: Request) -> str:
        name: str = request.path_params["name"]
        if name not in self._context.upstreams:
            raise Problem(404, f"There is no upstream {name!r}")
        return name


def _receivers(loaded: list[str], waiting: Lists, match: DeadLetterFilter) -> list[str]:
    """The receivers to choose from: those that run here, and the gateway's that have dead letters."""
    dead = [entry.letter.delivery.receiver for entry in waiting.letters if entry.letter.delivery is not None]
    return sorted({*loaded, *dead, match.receiver} - {""})


def _edited(text: str) -> dict[str, object]:
    try:
        return msgspec.json.decode(text.encode(), type=dict[str, object])
    except msgspec.DecodeError as error:
        raise Problem(422, f"The request is not JSON: {error}") from error


def _match(given: dict[str, str]) -> DeadLetterFilter:
    kind = given.get("kind", "")
    if kind not in ("", "delivery", "submission"):
        raise Problem(422, "kind must be delivery or submission")
    return DeadLetterFilter(
        kind=kind,  # type: ignore[arg-type]  # one of three, see above
        receiver=given.get("receiver", ""),
        upstream=given.get("upstream", ""),
        text=given.get("text", "").strip(),
    )


def _check_all(form: dict[str, str], *, is_empty: bool) -> None:
    """Require `all` for an empty filter. Raises `Problem` 422."""
    if is_empty and form.get("all") != "1":
        raise Problem(422, "Select some, or all of them")


def _span(request: Request) -> str:
    span = request.query_params.get("span", "1h")
    return span if span in SPANS else "1h"


def _request_of_shown_page(request: Request) -> Request:
    """Return a request for the page that is open in the browser, without its filters if they are invalid."""
    try:
        query = urlsplit(request.headers.get("hx-current-url", "")).query
        _match(dict(parse_qsl(query)))
    except (ValueError, Problem):
        query = ""
    return Request({**request.scope, "query_string": query.encode()})
