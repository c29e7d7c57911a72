"""`hookchain quarantine`: callbacks that hookchain could not understand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hookchain.cli.api import running_server
from hookchain.cli.letters import All, AsJson, Ids, OfUpstream, each_or_all, is_one, listed, text_of
from hookchain.settings import SettingsError

WithText = Annotated[
    str, typer.Option(help="Only entries with this text in the reason; case does not matter.")
]

quarantine = typer.Typer(help="Handle callbacks that hookchain could not understand.", no_args_is_help=True)


@quarantine.command("list")
def list_quarantine(upstream: OfUpstream = "", text: WithText = "", as_json: AsJson = False) -> None:
    """List quarantined callbacks, newest first, with the reason."""
    found = listed("quarantine", "quarantine", _match(upstream, text))
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for one in found:
        print(
            f"{one['id']}\t{one['received_at']}\t{one['upstream']}\t{one['size_bytes']} bytes\t{one['reason']}"
        )
    if not found:
        print("nothing is in quarantine")


@quarantine.command("show")
def show_quarantined(id: Annotated[int, typer.Argument(help="Id as printed by `list`.")]) -> None:
    """Print one callback in full, without secrets."""
    print(json.dumps(running_server().get(f"/api/quarantine/{id}"), ensure_ascii=False, indent=2))


@quarantine.command("retry")
def retry_quarantined(
    ids: Ids = None,
    all_: All = False,
    upstream: OfUpstream = "",
    text: WithText = "",
    body: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with a corrected body; for one callback.")
    ] = None,
) -> None:
    """Reprocess quarantined callbacks. Useful after an upgrade, or with a corrected body."""
    match = _match(upstream, text)
    if body is None:
        each_or_all("quarantine", "retry", "came in", ids, match, all_=all_)
        return
    if not is_one(ids, match, all_=all_):
        raise SettingsError("a body is for one entry only: `hookchain quarantine retry ID --body FILE`")
    for one in ids or []:
        running_server().post(f"/api/quarantine/{one}/retry", {"body": text_of(body)})
        print(f"{one}: came in, as edited")


@quarantine.command("drop")
def drop_quarantined(
    ids: Ids = None, all_: All = False, upstream: OfUpstream = "", text: WithText = ""
) -> None:
    """Discard quarantined callbacks."""
    each_or_all("quarantine", "drop", "dropped", ids, _match(upstream, text), all_=all_)


def _match(upstream: str, text: str) -> dict[str, str]:
    return {name: value for name, value in (("upstream", upstream), ("text", text)) if value}
