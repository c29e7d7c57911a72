"""Two clients of a gateway for the pictures of docs/: what they ordered, and a hook that does not take the end of one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import PATIENCE_S, HookchainServer
from tests.support.customer import Customer, Mailbox

TOML = """
[upstreams.main]
url = "{sandbox}"
prices = {{ default = 0.05 }}

[upstreams.spare]
url = "{sandbox}"
prices = {{ default = 0.05 }}

[clients.chat-bot]
key = "chat-bot-key-1"
pool = ["main", "spare"]
hook_hosts = ["127.0.0.1"]
submissions_per_day = 20
spend_per_day = 2

[clients.web-page]
key = "web-page-key-1"
rules = false
"""


@contextmanager
def shop(at: Path, sandbox: str) -> Iterator[tuple[HookchainServer, str]]:
    """The server, and the ticket whose end was not told."""
    at.mkdir()
    (at / "hookchain.toml").write_text(TOML.format(sandbox=sandbox))
    server = HookchainServer(at, {"DATABASE_URL": f"sqlite:///{at}/hookchain.db"})
    bot, page = Customer(server.url, "chat-bot"), Customer(server.url, "web-page")
    taken, gone = Mailbox(), Mailbox()
    gone.answers = lambda message: 410 if message.task["status"] == "SUCCESS" else 200
    try:
        ordered = [bot.imagine(f"a harbour, study {number}", notifyHook=taken.url) for number in range(1, 6)]
        lost = bot.imagine("sailing boats at dusk, soft light --ar 3:2", notifyHook=gone.url)
        lake = page.imagine("mountain lake at sunrise, mist")
        _wait_for(bot, *ordered, lost)
        _wait_for(page, lake)
        upscaled = page.ticket("action", taskId=lake, customId=page.button(lake, "U2"))
        _wait_for(page, upscaled)
        page.window(upscaled, "Custom Zoom")
        taken.until(lambda: all(taken.about(ticket)[-1].task["status"] == "SUCCESS" for ticket in ordered))
        yield server, lost
    finally:
        for one in (bot, page):
            one.close()
        for box in (taken, gone):
            box.stop()
        server.end()


def _wait_for(customer: Customer, *tickets: str) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not all(customer.has_ended(ticket) for ticket in tickets):
        if time.monotonic() > ends_s:
            raise TimeoutError("the pictures of the clients were not made")
        time.sleep(0.1)
