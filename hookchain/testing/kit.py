"""The test kit: feeds events to the real server over a database of the test's own, and tells what came of them.

There is no second dispatcher here. Storage, deliverer, submitter and client are the server's; the kit decides only what a test must
decide: the callbacks, the upstream's answers, and the time. docs/decisions/0042-the-kit-is-the-server.md says why.
"""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dispatcher.plugins.chain_store import content_of
from dispatcher.plugins.receivers import PLUGIN_PREFIX
from dispatcher.plugins.signals import ALL_SIGNALS
from dispatcher.policy.chain_budget import Budget
from dispatcher.rules.receiver import connect
from hookchain.testing import files, loading, moves, people
from hookchain.testing.asked import Ask, Asked
from hookchain.testing.running import Running
from hookchain.testing.server import Setup
from midjourney.dialects import DIALECTS, Dialect, Upstream
from storage.budgets.billing import Plan

T = TypeVar("T")
Payload = Mapping[str, object]
"""A task as an upstream sends it."""

MAIN = "main"
"""The upstream of a test that configures none."""


class Hookchain:
    """The fixture `hookchain`. `places` are the folders to which paths are relative, the first that has the file.

    `environment` has variables for ${VAR} in rule files, and settings such as HOOKCHAIN_BUDGET_DEPTH. `raise_errors`: an error of a
    receiver is raised in the test, except `Retry`; otherwise it is only in `Asked.failed`, and the receiver is tried again as time
    moves.
    """

    def __init__(self, *places: Path) -> None:
        self.budget = Budget()
        self.environment: dict[str, str] = {}
        self.raise_errors = True
        self._places = places
        self._upstreams: dict[str, Upstream] = {}
        self._dialects: Mapping[str, Dialect] = DIALECTS
        self._plan: Plan | None = None
        self._zone = "UTC"
        self._running = Running()

    # What runs.

    def load_rules(self, source: str | Path) -> None:
        """Load the rules of a file, or of a text that contains [[rules]], with its upstreams and budgets.

        Raises `RuleError` or `SettingsError` for a mistake, with the message that the server would print.
        """
        loaded = loading.rules_in(source, self._places, self.environment, self._names())
        settings = loaded.settings
        self._upstreams |= settings.upstreams
        self._dialects = {**self._dialects, **settings.dialects}
        if settings.budget != Budget():
            self.budget = settings.budget
        self._plan = settings.plan or self._plan
        self._zone = settings.timezone
        with self._running.registry.changing():
            for rule in loaded.rules:
                connect(rule)

    def load_plugin(self, source: str | Path, **settings: object) -> None:
        """Load a plugin from a file or a module, with the settings of its table `[plugins.NAME]`. Raises `PluginError`."""
        with self._running.registry.changing():
            loading.load_plugin(source, self._places, settings)

    def upstreams(self, *names: str, dialect: str = "mj-plus") -> None:
        """Configure upstreams by name; callbacks come from the first, unless they say otherwise."""
        for name in names:
            url = f"https://{name}.example.com"
            self._upstreams[name] = Upstream(name=name, url=url, dialect=dialect)

    # What happens.

    def callback(self, payload: Payload | bytes, *, of: Ask | None = None, upstream: str = "") -> Asked:
        """Receive a callback. `of` is the submission that made its task: the upstream accepts it first, unless it has been answered.

        The signal is the one that the server sends: None for a duplicate, or for a payload older than the known one.
        """
        raw = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        upstream = upstream or (of.upstream if of is not None else self._names()[0])
        return self._do(moves.callback(self._running, raw, upstream, of))

    def succeed(self, payload: Payload, *, of: Ask | None = None, upstream: str = "") -> Asked:
        """Receive the SUCCESS of a task, such as `grid()` or `upscale()`."""
        return self.callback({**payload, "status": "SUCCESS"}, of=of, upstream=upstream)

    def fail(
        self, payload: Payload, reason: str = "failed", *, of: Ask | None = None, upstream: str = ""
    ) -> Asked:
        """Receive the FAILURE of a task."""
        failed = {**payload, "status": "FAILURE", "failReason": reason, "buttons": []}
        return self.callback(failed, of=of, upstream=upstream)

    def feed(self, *names: str | Path) -> list[Asked]:
        """Receive recorded callbacks, one per JSON file, in this order."""
        return [self.callback(files.found(name, self._places).read_bytes()) for name in names]

    def answer(self, of: Ask, body: Payload, status: int = 200) -> Asked:
        """Answer a request as the upstream would, such as {"code": 24, "description": "banned prompt"}.

        If it has not left yet, time moves until it does.
        """
        return self._do(moves.answer(self._running, of, body, status))

    def window(self, of: Ask, prompt: str = "a cat", id: str = "window", **parent: object) -> Asked:
        """Answer a press with a modal (code 21). `parent` are fields of the picture that it is about."""
        return self._do(moves.window(self._running, of, prompt, id, parent))

    def press(self, task_id: str, *buttons: str, upstream: str = "") -> Asked:
        """Press buttons of a task as a person does: labels ("U1"), globs, kinds or customIds."""
        return self._do(people.press(self._running, task_id, buttons, upstream or self._names()[0]))

    def release(self, of: Ask) -> Asked:
        """Approve what a rule with `approve` holds: this submission, and the others that its rule asked for with it."""
        return self._do(people.decided(self._running, of, "released"))

    def drop(self, of: Ask) -> Asked:
        """Refuse to approve it: none of it is ever sent."""
        return self._do(people.decided(self._running, of, "dropped"))

    def send(self, signal: str, task_id: str = "", *, of: Ask | None = None, outcome: str = "") -> Asked:
        """Send any signal about a known task, or about a submission ("submission.dead", with the reason as `outcome`)."""
        upstream = of.upstream if of is not None else self._names()[0]
        return self._do(moves.send(self._running, signal, upstream, task_id, of, outcome))

    def wait(self, time: float | str | timedelta | datetime) -> Asked:
        """Let time pass: seconds, "10 min", or until a moment. What becomes due meanwhile is done, in order.

        Requests without an answer are accepted before time moves.
        """
        until_ms = self._running.clock.after(time)
        return self._do(moves.wait(self._running, until_ms))

    def store(
        self, task: str | Ask, values: Mapping[str, object] | None = None, *, upstream: str = ""
    ) -> dict[str, Any]:
        """What `chain.store` holds in the chain of a task or ask. `values` take its place first; the task may be one that comes only later.

        Raises `GiveUp` for values that cannot be stored.
        """
        content = content_of(values) if values is not None else None
        name = upstream or self._names()[0]
        return self._do(moves.store(self._running, task, name, content)).store

    @property
    def now(self) -> datetime:
        """The time in this test, which moves only by `wait`."""
        return datetime.fromtimestamp(self._running.clock.now_ms / 1000, UTC)

    def close(self) -> None:
        """Stop everything, and disconnect all receivers."""
        self._running.close()

    def _names(self) -> list[str]:
        return list(self._upstreams) or [MAIN]

    def _do(self, work: Coroutine[object, None, Asked]) -> Asked:
        if not self._upstreams:
            self.upstreams(MAIN)
        setup = Setup(
            upstreams=dict(self._upstreams),
            dialects=self._dialects,
            budget=self.budget,
            plan=self._plan,
            zone=self._zone,
        )
        return self._running.do(setup, work, raise_errors=self.raise_errors)


@contextmanager
def fresh(*places: Path) -> Iterator[Hookchain]:
    """A kit with nothing loaded, which disconnects all receivers at the end. Paths are relative to `places`."""
    _clear()
    kit = Hookchain(*places)
    try:
        yield kit
    finally:
        kit.close()
        _clear()


def _clear() -> None:
    for signal in ALL_SIGNALS:
        signal._clear_state()
    for name in [name for name in sys.modules if name.startswith(PLUGIN_PREFIX)]:
        del sys.modules[name]  # so that two tests may have plugin files of one name
