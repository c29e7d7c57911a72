"""`hookchain dead`: deliveries and submissions that ran out of attempts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeVar
from urllib.parse import quote

import msgspec
import typer

from hookchain.cli.api import CallFailed, running_server
from hookchain.cli.output import last_line, say, say_json
from hookchain.cli.table import say_rows
from hookchain.printable import printable_in
from hookchain.settings.load import SettingsError
from hooks.api.answers import Counted, DeadLetter, DeadLetterChanged, DeadLetterPage

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Ids as printed by `list`.")]
All = Annotated[bool, typer.Option("--all", help="Apply to all entries.")]
UpstreamFilter = Annotated[str, typer.Option(help="Only entries of this upstream.")]
KindFilter = Annotated[
    Literal["delivery", "submission"] | None, typer.Option(help="Only entries of this kind.")
]
ReceiverFilter = Annotated[str, typer.Option(help="Only deliveries to this receiver.")]
TextFilter = Annotated[
    str,
    typer.Option(
        help="Only entries with this text in their error, reason or decision; case does not matter."
    ),
]

dead = typer.Typer(help="List, retry or drop dead letters.", no_args_is_help=True)


@dead.command("list")
def list_dead(
    kind: KindFilter = None,
    receiver: ReceiverFilter = "",
    upstream: UpstreamFilter = "",
    text: TextFilter = "",
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first."""
    match = _match(kind, receiver, upstream, text)
    letters = fetch_all("dead-letters", DeadLetterPage, lambda page: page.dead_letters, match)
    if as_json:
        say_json(letters)
        return
    letters = printable_in(letters)
    described = [(letter, *_description(letter)) for letter in letters]
    say_rows([[letter.id, letter.died_at, what, last_line(why)] for letter, what, why in described])
    if not letters:
        say("no dead letters")


@dead.command("retry")
def retry_dead(
    ids: Ids = None,
    all_: All = False,
    kind: KindFilter = None,
    receiver: ReceiverFilter = "",
    upstream: UpstreamFilter = "",
    text: TextFilter = "",
    request: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Request to send instead of the original one; for one submission."),
    ] = None,
    edit: Annotated[Path | None, typer.Option(metavar="FILE", help="File with that request.")] = None,
) -> None:
    """Requeue dead letters, with all their attempts. A submission can be given a corrected request."""
    match = _match(kind, receiver, upstream, text)
    if request is None and edit is None:
        apply_to_entries("dead-letters", "retry", "requeued", ids, match, all_=all_)
        return
    if (request is not None and edit is not None) or not is_single_id(ids, match, all_=all_):
        raise SettingsError(
            "a request is for one submission only: `hookchain dead retry ID --request JSON`, or `--edit FILE`"
        )
    body = {"request": _request(read_text(edit) if edit is not None else request or "")}
    for letter_id in ids or []:
        running_server().post(f"/api/dead-letters/{quote(letter_id, safe='')}/retry", DeadLetterChanged, body)
        say(f"{letter_id}: requeued with the edited request")


@dead.command("drop")
def drop_dead(
    ids: Ids = None,
    all_: All = False,
    kind: KindFilter = None,
    receiver: ReceiverFilter = "",
    upstream: UpstreamFilter = "",
    text: TextFilter = "",
) -> None:
    """Discard dead letters."""
    match = _match(kind, receiver, upstream, text)
    apply_to_entries("dead-letters", "drop", "dropped", ids, match, all_=all_)


def _description(letter: DeadLetter) -> tuple[str, str]:
    """What failed, and why."""
    if letter.submission:
        return f"{letter.submission.kind} {letter.submission.label}", letter.submission.reason
    if letter.delivery:
        return letter.delivery.receiver, letter.delivery.error or letter.delivery.decision
    return letter.kind, ""


class _Page(Protocol):
    @property
    def cursor(self) -> str | None: ...


Page = TypeVar("Page", bound=_Page)
Entry = TypeVar("Entry")


def fetch_all(
    resource: str, page_type: type[Page], entries_of: Callable[[Page], list[Entry]], match: dict[str, str]
) -> list[Entry]:
    """All entries of a list that match, fetched page by page. Raises `CallFailed`."""
    server, entries = running_server(), list[Entry]()
    query: dict[str, str | int] = {"limit": 500, **match}
    while True:
        page = server.get(f"/api/{resource}", page_type, **query)
        entries += entries_of(page)
        if page.cursor is None:
            return entries
        query["cursor"] = page.cursor


def apply_to_entries(
    resource: str, action: str, done: str, ids: list[str] | None, match: dict[str, str], *, all_: bool
) -> None:
    """Apply an action to the entries with these ids, one by one, or to all that match, and print the result.

    Raises `CallFailed` at the end for ids on which the action failed, and `SettingsError` if the arguments give neither
    ids nor filters, or both.
    """
    if bool(ids) == bool(match or all_):
        raise SettingsError(
            "select entries by their ids as printed by `list`, by filter options, or with --all"
        )
    if ids:
        _apply_to_each(ids, resource, action, done)
        return
    counted = running_server().post(f"/api/{resource}/{action}", Counted, {**match, "all": all_})
    unchanged = f", {counted.left} left unchanged" if counted.left else ""
    say(f"{counted.count} {done}{unchanged}")


def is_single_id(ids: list[str] | None, match: dict[str, str], *, all_: bool) -> bool:
    """True if the arguments select exactly one entry by its id."""
    return len(ids or []) == 1 and not match and not all_


def read_text(file: Path) -> str:
    """The text of a file. Raises `SettingsError`."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error


def _match(kind: str | None, receiver: str, upstream: str, text: str) -> dict[str, str]:
    given = {"kind": kind, "receiver": receiver, "upstream": upstream, "text": text}
    return {name: value for name, value in given.items() if value}


def _request(text: str) -> dict[str, object]:
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError) as error:
        raise SettingsError(
            f'the request is not a JSON object: {error}; write {{"kind": "imagine", "prompt": "…"}}'
        ) from error


def _apply_to_each(ids: list[str], resource: str, action: str, done: str) -> None:
    """Apply an action to each entry. Raises `CallFailed` at the end with all failures, so that the exit code is 1."""
    server, failed = running_server(), []
    for entry_id in ids:
        try:
            server.post(f"/api/{resource}/{quote(entry_id, safe='')}/{action}", object)
            say(f"{entry_id}: {done}")
        except CallFailed as error:
            failed.append(f"{entry_id}: {error}")
    if failed:
        raise CallFailed("; ".join(failed))
