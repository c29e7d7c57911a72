"""The rules that clients of the gateway name: a name that no rule has makes a client go without one that it should have."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dispatcher.rules.lines import line_in_table
from dispatcher.rules.mistakes import Mistake
from dispatcher.rules.sources import Source
from midjourney.nearest import nearest


def unknown_rules(main: Source, names: Collection[str]) -> Iterator[Mistake]:
    """A warning for each name in a list `[clients.NAME] rules` that is not the name of a rule, and cannot be a plugin's receiver."""
    clients = main.tables.get("clients")
    for client, table in clients.items() if isinstance(clients, dict) else ():
        wanted = table.get("rules") if isinstance(table, dict) else None
        for name in wanted if isinstance(wanted, list) else ():
            if not isinstance(name, str) or ":" in name.removeprefix("rule:"):
                continue  # the settings report what is no text; only plugins have a colon in the names of their receivers
            if name.removeprefix("rule:").partition("/")[0] not in names:
                yield Mistake(
                    file=main.file,
                    line=line_in_table(main.text, f"clients.{client}", "rules"),
                    rule=None,
                    key=f"clients.{client}.rules",
                    problem=f"there is no rule {name!r}, so the client goes without it",
                    remedy=nearest(name, names).strip() or "Correct it, or leave it out.",
                    kind="client",
                )
