"""A gateway of ours at an upstream that lies, for all tests of a module: its two clients, and what the upstream's ledger says was
paid for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.conftest import HookchainServer
from tests.hostile.ledger import Submit
from tests.hostile.manners import Manners
from tests.hostile.tasks import Task
from tests.hostile.upstream import Hostile
from tests.support.customer import Customer, Mailbox

UPSTREAM = """
[upstreams.main]
url = "{url}"
key = "sk-1"
dialect = "mj-plus"
look_after_s = 0.3
quiet_s = 0.7
settle_after_s = 0.5
timeout_s = 3
"""


class Shop:
    """Tests of one module share it, so each uses prompts of its own."""

    def __init__(self, directory: Path, toml: str, environment: dict[str, str]) -> None:
        self.upstream = Hostile(Manners(), secret="sk-1")
        self.before = self.upstream.finished_grid("from before the switch")
        (directory / "hookchain.toml").write_text(UPSTREAM.format(url=self.upstream.url) + toml)
        self.server = HookchainServer(directory, {"HOOKCHAIN_SECRET": "a test's secret"} | environment)
        self._customers: dict[str, Customer] = {}
        self._mailboxes: list[Mailbox] = []

    def __getitem__(self, name: str) -> Customer:
        """A client by its name."""
        if name not in self._customers:
            self._customers[name] = Customer(self.server.url, name)
        return self._customers[name]

    @property
    def ann(self) -> Customer:
        return self["ann"]

    @property
    def bob(self) -> Customer:
        return self["bob"]

    def mailbox(self) -> Mailbox:
        """A hook of a client, until the end of the module."""
        self._mailboxes.append(Mailbox())
        return self._mailboxes[-1]

    def paid(self, prompt: str) -> list[Submit]:
        """What was paid for new pictures of this prompt."""
        return [one for one in self.upstream.ledger.paid() if one.body.get("prompt") == prompt]

    def task(self, prompt: str) -> Task:
        """The upstream's first task of this prompt."""
        return next(task for task in self.upstream.shelf.all() if task.prompt == prompt)

    def presses(self, prompt: str) -> list[str]:
        """The buttons that were pressed and paid below the upstream's first picture of this prompt: "upsample 1"."""
        job = self.task(prompt).job
        return [
            " ".join(one.custom_id.split("::")[2:4]) for one in self.upstream.ledger.paid() if one.job == job
        ]

    @contextlib.contextmanager
    def while_it(self, **manners: Any) -> Iterator[None]:
        """The upstream has other manners for a while."""
        before = self.upstream.manners
        self.upstream.change(**manners)
        try:
            yield
        finally:
            self.upstream.manners = before

    def stop(self) -> None:
        for customer in self._customers.values():
            customer.close()
        if hasattr(self.server, "http"):
            self.server.http.close()
        self.server.end()
        for box in self._mailboxes:
            box.stop()
        self.upstream.stop()


def finished(shop: Shop, eventually: Callable[..., Any], prompt: str, who: str = "ann", **body: Any) -> str:
    """A picture that a client ordered, once it is done; its ticket."""
    ticket = shop[who].imagine(prompt, **body)
    eventually(lambda: shop[who].fetch(ticket)["status"] == "SUCCESS")
    return ticket
