"""The first task of a chain, as receivers see it. Pure."""

from __future__ import annotations

import msgspec

from dispatcher.plugins.errors import GiveUp
from midjourney.requests import decode_request
from midjourney.types import Task
from storage.records import Submission
from storage.tasks.marks import without_mark


class RootOfChain:
    """The part of a chain that shows its first task. It is read for the receivers that ask for it only."""

    _root: Task | None = None
    has_root = False

    def show_root(self, root: Task | None) -> None:
        """Let receivers see this task; None if it is unknown."""
        self._root, self.has_root = root, True

    @property
    def root(self) -> Task | None:
        """The chain's first task; None if it is unknown. Raises `GiveUp` for a receiver that does not ask for it."""
        if not self.has_root:
            raise GiveUp("chain.root is known to receivers that ask for it: write @receiver(root=True)")
        return self._root

    @property
    def state(self) -> str | None:
        """The `state` that the submitter of the root gave to it, without hookchain's mark; None if the root is unknown. Raises as `root`."""
        return None if self.root is None else self.root.state

    @property
    def prompt(self) -> str | None:
        """The whole prompt of the root; None if the root is unknown. Raises as `root`."""
        return None if self.root is None else self.root.prompt


def with_state(root: Task, client_state: str | None, maker: Submission | None) -> Task:
    """The root with the `state` of whoever submitted it: a client of the gateway, we ourselves, or another program."""
    if client_state is not None:
        state = client_state
    elif maker is not None:  # a relay may send back another one, or none
        state = str(decode_request(maker.request).extra.get("state", ""))
    else:
        state = without_mark(root.state)
    return root if state == root.state else msgspec.structs.replace(root, state=state)
