"""`hookchain dead`: deliveries and submissions that ran out of attempts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from hookchain.cli.api import CallFailed, running_server
from hookchain.settings import SettingsError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Ids as printed by `list`.")]
All = Annotated[bool, typer.Option("--all", help="Apply to all entries.")]
OfUpstream = Annotated[str, typer.Option(help="Only entries of this upstream.")]
OfKind = Annotated[Literal["delivery", "submission"] | None, typer.Option(help="Only entries of this kind.")]
OfReceiver = Annotated[str, typer.Option(help="Only deliveries to this receiver.")]
WithText = Annotated[
    str,
    typer.Option(
        help="Only entries with this text in their error, reason or decision; case does not matter."
    ),
]

dead = typer.Typer(help="List, retry or drop what ran out of attempts.", no_args_is_help=True)


@dead.command("list")
def list_dead(
    kind: OfKind = None,
    receiver: OfReceiver = "",
    upstream: OfUpstream = "",
    text: WithText = "",
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first."""
    letters = listed("dead-letters", "dead_letters", _match(kind, receiver, upstream, text))
    if as_json:
        print(json.dumps(letters, ensure_ascii=False, indent=2))
        return
    for letter in letters:
        inner = letter[letter["kind"]]
        what = inner.get("receiver") or f"{inner['kind']} {inner['label']}"
        why = (inner.get("error") or inner.get("reason") or inner.get("decision") or "").strip().splitlines()
        print(f"{letter['id']}\t{letter['died_at']}\t{what}\t{why[-1] if why else ''}")
    if not letters:
        print("no dead letters")


@dead.command("retry")
def retry_dead(
    ids: Ids = None,
    all_: All = False,
    kind: OfKind = None,
    receiver: OfReceiver = "",
    upstream: OfUpstream = "",
    text: WithText = "",
    request: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Request to send instead of the original one; for one submission."),
    ] = None,
    edit: Annotated[Path | None, typer.Option(metavar="FILE", help="File with that request.")] = None,
) -> None:
    """Requeue dead letters, with all their attempts. A submission can be given a corrected request."""
    match = _match(kind, receiver, upstream, text)
    if request is None and edit is None:
        each_or_all("dead-letters", "retry", "tried again", ids, match, all_=all_)
        return
    if (request is not None and edit is not None) or not is_one(ids, match, all_=all_):
        raise SettingsError(
            "a request is for one submission only: `hookchain dead retry ID --request JSON`, or `--edit FILE`"
        )
    body = {"request": _request(text_of(edit) if edit is not None else request or "")}
    for one in ids or []:
        running_server().post(f"/api/dead-letters/{one}/retry", body)
        print(f"{one}: tried again, as edited")


@dead.command("drop")
def drop_dead(
    ids: Ids = None,
    all_: All = False,
    kind: OfKind = None,
    receiver: OfReceiver = "",
    upstream: OfUpstream = "",
    text: WithText = "",
) -> None:
    """Discard dead letters."""
    match = _match(kind, receiver, upstream, text)
    each_or_all("dead-letters", "drop", "dropped", ids, match, all_=all_)


def listed(where: str, name: str, match: dict[str, str]) -> list[dict[str, Any]]:
    """All entries of a list that match, page after page. Raises `CallFailed`."""
    server, found = running_server(), []
    query: dict[str, Any] = {"limit": 500, **match}
    while True:
        page = server.get(f"/api/{where}", **query)
        found += page[name]
        if page["cursor"] is None:
            return found
        query["cursor"] = page["cursor"]


def each_or_all(
    where: str, what: str, done: str, ids: list[str] | None, match: dict[str, str], *, all_: bool
) -> None:
    """Those that are named, one after the other, or all that match; how it went is printed.

    Named ones that cannot be are told at the end (`CallFailed`). Raises `SettingsError` when it is not clear which.
    """
    if bool(ids) == bool(match or all_):
        raise SettingsError(
            "name the entries: ids as printed by `list`, or --all, or options that select some"
        )
    if ids:
        _each(ids, where, what, done)
        return
    told = running_server().post(f"/api/{where}/{what}", {**match, "all": all_})
    left = f", {told['left']} left as they are" if told.get("left") else ""
    print(f"{told['count']} {done}{left}")


def is_one(ids: list[str] | None, match: dict[str, str], *, all_: bool) -> bool:
    """Whether exactly one is named."""
    return len(ids or []) == 1 and not match and not all_


def text_of(file: Path) -> str:
    """What a file says. Raises `SettingsError`."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error


def _match(kind: str | None, receiver: str, upstream: str, text: str) -> dict[str, str]:
    given = {"kind": kind, "receiver": receiver, "upstream": upstream, "text": text}
    return {name: value for name, value in given.items() if value}


def _request(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise SettingsError(
            f'the request is not a JSON object: {error}; write {{"kind": "imagine", "prompt": "…"}}'
        ) from error


def _each(ids: list[str], where: str, what: str, done: str) -> None:
    """One after the other; those that cannot be are told at the end, and the exit code is 1."""
    server, failed = running_server(), []
    for one in ids:
        try:
            server.post(f"/api/{where}/{one}/{what}")
            print(f"{one}: {done}")
        except CallFailed as error:
            failed.append(f"{one}: {error}")
    if failed:
        raise CallFailed("; ".join(failed))
