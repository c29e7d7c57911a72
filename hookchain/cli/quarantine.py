"""`hookchain quarantine`: callbacks that hookchain could not understand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from hookchain.cli.api import running_server
from hookchain.cli.dead_letters import (
    All,
    AsJson,
    Ids,
    UpstreamFilter,
    apply_to_entries,
    fetch_all,
    is_single_id,
    read_text,
)
from hookchain.cli.output import say, say_json
from hookchain.cli.table import say_rows
from hookchain.printable import printable_in
from hookchain.settings.load import SettingsError
from hooks.api.answers import Quarantined, QuarantinePage, Readmitted

TextFilter = Annotated[
    str, typer.Option(help="Only entries with this text in the reason; case does not matter.")
]

quarantine = typer.Typer(help="Handle callbacks that hookchain could not understand.", no_args_is_help=True)


@quarantine.command("list")
def list_quarantine(upstream: UpstreamFilter = "", text: TextFilter = "", as_json: AsJson = False) -> None:
    """List quarantined callbacks, newest first, with the reason."""
    entries = fetch_all("quarantine", QuarantinePage, lambda page: page.quarantine, _match(upstream, text))
    if as_json:
        say_json(entries)
        return
    entries = printable_in(entries)
    say_rows(
        [
            [str(entry.id), entry.received_at, entry.upstream, f"{entry.size_bytes} bytes", entry.reason]
            for entry in entries
        ]
    )
    if not entries:
        say("the quarantine is empty")


@quarantine.command("show")
def show_quarantined(id: Annotated[int, typer.Argument(help="Id as printed by `list`.")]) -> None:
    """Print one callback in full, without secrets."""
    say_json(running_server().get(f"/api/quarantine/{id}", Quarantined))


@quarantine.command("retry")
def retry_quarantined(
    ids: Ids = None,
    all_: All = False,
    upstream: UpstreamFilter = "",
    text: TextFilter = "",
    body: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with a corrected body; for one callback.")
    ] = None,
) -> None:
    """Reprocess quarantined callbacks. Useful after an upgrade, or with a corrected body."""
    match = _match(upstream, text)
    if body is None:
        apply_to_entries("quarantine", "retry", "reprocessed", ids, match, all_=all_)
        return
    if not is_single_id(ids, match, all_=all_):
        raise SettingsError("--body applies to one entry only: `hookchain quarantine retry ID --body FILE`")
    for entry_id in ids or []:
        running_server().post(
            f"/api/quarantine/{quote(entry_id, safe='')}/retry", Readmitted, {"body": read_text(body)}
        )
        say(f"{entry_id}: reprocessed with the edited body")


@quarantine.command("drop")
def drop_quarantined(
    ids: Ids = None, all_: All = False, upstream: UpstreamFilter = "", text: TextFilter = ""
) -> None:
    """Discard quarantined callbacks."""
    apply_to_entries("quarantine", "drop", "dropped", ids, _match(upstream, text), all_=all_)


def _match(upstream: str, text: str) -> dict[str, str]:
    return {name: value for name, value in (("upstream", upstream), ("text", text)) if value}
