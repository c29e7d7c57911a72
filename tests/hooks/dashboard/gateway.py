"""A site with the gateway on, and rows as a client's orders leave them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from storage import schema
from storage.engine import Connection
from storage.events import event_log
from storage.records import Ticket
from storage.tickets import tickets
from tests.hooks.conftest import Site
from tests.hooks.dashboard.parts import delivery

HOOK = "https://hookuser:hookpass@bot.example.com:8443/notify?token=hooktoken"
"""A client's hook with everything that must not be shown."""

TOML = """
[upstreams.main]
url = "http://127.0.0.1:9"

[upstreams.spare]
url = "http://127.0.0.1:9"

[clients.ann]
key = "ann-secret-key"
pool = ["main", "spare"]
submissions_per_day = 500
hook_secret = "whsec_c2VjcmV0LW9mLWFubg=="

[clients.bob]
key = "bob-secret-key"
"""

SECRETS = ("ann-secret-key", "whsec_", "hookuser", "hookpass", "hooktoken", "annstate")
"""What no page shows: keys, secrets, the private parts of hooks, a client's `state`."""


async def ordered(site: Site, **fields: Any) -> Ticket:
    """A ticket of ann's, or with fields of one's own."""
    values: dict[str, Any] = {
        "id": "", "client": "ann", "kind": "imagine", "upstream": "main", "prompt": "a boat", "state": "annstate",
        "hook": HOOK, "created_at_ms": 1_700_000_000_000,
    }  # fmt: skip
    made = Ticket(**values | fields)
    return await site.database.write("test", lambda connection: tickets.add(connection, made, ["main"]))


async def given_up(site: Site, ticket: Ticket, receiver: str = "hook:bot.example.com:8443") -> str:
    """A message about the end of a ticket's task that was given up; the id of the dead letter."""

    def add(connection: Connection) -> str:
        fact = event_log.fact(
            upstream=ticket.upstream,
            task_id=ticket.task_id,
            submission_id=ticket.submission_id,
            source="internal",
            signal="task.succeeded",
            detail="",
            now_ms=1_700_000_000_500,
        )
        event_log.append(connection, fact)
        event_id = connection.execute(select(func.max(schema.events.c.id))).scalar_one()
        number = 100 + int(event_id)
        error = "bot.example.com:8443 answered HTTP 410 (gone): it wants no more messages"
        row = delivery(event_id, error=error) | {
            "id": number,
            "state": "dead",
            "receiver": receiver,
            "attempts": 1,
        }
        connection.execute(schema.deliveries.insert(), row)
        return f"delivery-{number}"

    return await site.database.write("test", add)
