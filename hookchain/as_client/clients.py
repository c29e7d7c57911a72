"""The clients: nine programs, by what they ask and what they read of the answers.

Read from the sources that are named, and written down in our own words. `tests/clients/` runs five of them as they are.
"""

from __future__ import annotations

from hookchain.as_client.bots import BOT, NODE, PLUGIN
from hookchain.as_client.pages import ADMIN, LOBE, WEB_UI
from hookchain.as_client.relays import COAI, GEEKAI, RELAY

CLIENTS = (WEB_UI, LOBE, PLUGIN, BOT, COAI, GEEKAI, NODE, RELAY, ADMIN)
"""All of them, in the order of the table in docs/gateway.md."""
