"""The core of the test kit: runs rules and plugins without a server, a network or a database."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
import tomllib
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dispatcher.plugins import own_windows
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.context import Context, context_of
from dispatcher.plugins.discovery import load_plugins
from dispatcher.plugins.receivers import Receiver, Registry
from dispatcher.plugins.signals import SIGNALS
from dispatcher.policy.chain_budget import Budget, refusal
from dispatcher.rules.load import load_rules
from dispatcher.rules.receiver import connect
from dispatcher.rules.whatif import DryChain
from hookchain.testing import records
from midjourney.decode import decode_task
from midjourney.dialects import DIALECTS
from midjourney.lifecycle import Position, advance, position_of
from midjourney.links import Near
from midjourney.requests import Request, decode_request
from midjourney.types import Task
from storage.clock import now_ms
from storage.records import (
    SIGNAL_OF_CHANGE,
    ChainRow,
    ChainUse,
    ClaimedDelivery,
    Source,
    Staged,
    Submission,
    TaskRow,
)
from storage.tasks import rows as tasks

T = TypeVar("T")
Payload = Mapping[str, Any]
"""A task as an upstream sends it."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One submission that a receiver asked for. `after_s` is its delay; `refused` names the limit that prevents it, or is ""."""

    receiver: str
    kind: str
    label: str
    request: Request
    after_s: float = 0.0
    priority: int = 0
    upstream: str = ""
    chain_id: str = ""
    depth: int = 0
    refused: str = ""


class Asked(msgspec.Struct, kw_only=True):
    """What receivers asked for because of one event. `signal` is None if the callback was stale: then no receiver ran.

    `decisions` are what `hookchain explain` would print, by receiver. `repeats` were asked for before, and would not be
    submitted again.
    """

    signal: str | None
    asks: list[Ask] = []
    repeats: list[Ask] = []
    decisions: dict[str, str] = {}

    @property
    def pressed(self) -> list[str]:
        """Labels of the buttons that would be pressed."""
        return [ask.label for ask in self.asks if ask.kind in ("action", "change") and not ask.refused]

    @property
    def prompts(self) -> list[str]:
        """Prompts that would be submitted, by imagine and by modal."""
        return [
            str(getattr(ask.request, "prompt", ""))
            for ask in self.asks
            if ask.kind in ("imagine", "modal") and not ask.refused
        ]


class Hookchain:
    """The fixture `hookchain`."""

    def __init__(self, directory: Path) -> None:
        self.budget = Budget()
        self._directory = directory
        handle = UpstreamHandle(
            name="main", dialect=DIALECTS["mj-plus"], near=Near(("https://upstream.example.com",))
        )
        self._handles = {"main": handle}
        self._registry = Registry(SIGNALS)
        self._rows: dict[str, TaskRow] = {}
        self._payloads: dict[str, bytes] = {}
        self._made: dict[str, tuple[Staged, str]] = {}
        self._submissions: dict[str, Submission] = {}
        self._count = 0

    def load_rules(self, source: str | Path) -> None:
        """Load the rules of a file, or of a text that contains [[rules]]. Raises `RuleError` for a mistake."""
        file = Path(source) if isinstance(source, Path) or "[[" not in source else None
        text = self._path(file).read_text(encoding="utf-8-sig") if file is not None else str(source)
        directory = self._path(file).parent if file is not None else self._directory
        tables = tomllib.loads(text).get("rules", [])
        with self._registry.changing():
            for rule in load_rules(tables, file=str(file or "rules"), text=text, directory=directory):
                connect(rule)

    def load_plugin(self, source: str | Path) -> None:
        """Load a plugin from a file or a module. Raises `PluginError`."""
        name = str(self._path(Path(source))) if str(source).endswith(".py") else str(source)
        with self._registry.changing():
            own_windows.connect()
            if not name.endswith(".py") and name in sys.modules:
                importlib.reload(
                    sys.modules[name]
                )  # imported by an earlier test, after which its receivers were disconnected
            else:
                load_plugins([name], self._directory / "no plugins beside it")

    def callback(self, payload: Payload | bytes, *, of: Ask | None = None) -> Asked:
        """Receive a callback. `of` is the submission that made its task.

        The signal is the one that the server would send: None for a duplicate, or for a payload older than the known one.
        """
        raw = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        task = decode_task(raw)
        row = self._row(task, of)
        moved = advance(Position(row.status, row.progress) if row.status else None, position_of(task))
        if moved is None:
            return Asked(signal=None)
        position, change = moved
        self._rows[task.id] = msgspec.structs.replace(
            row, status=position.status, progress=position.progress, action=task.action
        )
        self._payloads[task.id] = raw
        signal = SIGNAL_OF_CHANGE[change]
        return Asked(signal=None) if signal is None else self.send(signal, task.id, of=of)

    def succeed(self, payload: Payload, *, of: Ask | None = None) -> Asked:
        """Receive the SUCCESS of a task, such as `grid()` or `upscale()`."""
        return self.callback({**payload, "status": "SUCCESS"}, of=of)

    def fail(self, payload: Payload, reason: str = "failed", *, of: Ask | None = None) -> Asked:
        """Receive the FAILURE of a task."""
        failed = {**payload, "status": "FAILURE", "failReason": reason, "buttons": []}
        return self.callback(failed, of=of)

    def feed(self, *files: str | Path) -> list[Asked]:
        """Receive recorded callbacks, one per JSON file, in this order."""
        return [self.callback(self._path(Path(file)).read_bytes()) for file in files]

    def window(self, of: Ask, prompt: str = "a cat", id: str = "window", **parent: object) -> Asked:
        """Answer a press with a modal (code 21). `parent` are fields of the picture that it is about."""
        submission = self._submission(of, id)
        picture = msgspec.json.encode(
            {"id": submission.parent_id, "status": "SUCCESS", "prompt": prompt} | parent
        )
        self._rows[id] = self._blank(id, of)
        answer = msgspec.json.encode({"code": 21, "result": id, "properties": {"finalPrompt": prompt}})
        return self._deliver(
            "submission.needs_modal", id, submission, answer, source="answer", parent=picture
        )

    def send(self, signal: str, task_id: str = "", *, of: Ask | None = None, outcome: str = "") -> Asked:
        """Send any signal about a known task, or about a submission ("submission.dead", with the reason as `outcome`)."""
        submission = self._submission(of, task_id, outcome=outcome) if of is not None else None
        if submission is None and task_id in self._submissions:
            submission = self._submissions[task_id]
        return self._deliver(signal, task_id, submission, self._payloads.get(task_id, b""), source="callback")

    def _deliver(
        self,
        signal: str,
        task_id: str,
        submission: Submission | None,
        payload: bytes,
        *,
        source: Source,
        parent: bytes = b"",
    ) -> Asked:
        row = self._rows.get(task_id)
        result = Asked(signal=signal)
        for name in self._registry.receiver_names(signal, row.action if row is not None else ""):
            receiver = self._registry.get(name)
            assert receiver is not None
            self._count += 1
            claimed = ClaimedDelivery(
                delivery=records.delivery(self._count, name),
                event=records.event(self._count, signal, row, submission, payload, source),
                task=row,
                chain=self._chain(row, submission),
                submission=submission,
                latest=payload if source != "answer" else b"",
                parent=parent,
            )
            context = context_of(claimed, self._handles, chain_type=DryChain)
            _run(_call(receiver, context))
            result.decisions[name] = context.chain.notes
            for staged in context.chain.staged:
                self._stage(result, name, staged)
        return result

    def _chain(self, row: TaskRow | None, submission: Submission | None) -> ChainRow | None:
        chain_id = (
            row.chain_id if row is not None else submission.chain_id if submission is not None else None
        )
        made = sum(staged.chain_id == chain_id for staged, _ in self._made.values())
        return None if chain_id is None else records.chain(chain_id, made)

    def _stage(self, result: Asked, receiver: str, staged: Staged) -> None:
        use = ChainUse(
            submissions=sum(made.chain_id == staged.chain_id for made, _ in self._made.values()),
            by_same_receiver=sum(
                (made.chain_id, by) == (staged.chain_id, receiver) for made, by in self._made.values()
            ),
        )
        ask = Ask(
            receiver=receiver,
            kind=staged.kind,
            label=staged.label,
            request=decode_request(staged.request),
            after_s=staged.delay_ms / 1000,
            priority=staged.priority,
            upstream=staged.upstream,
            chain_id=staged.chain_id,
            depth=staged.depth,
            refused=refusal(use, staged, self.budget),
        )
        if staged.idempotency_key in self._made:
            result.repeats.append(ask)
            return
        result.asks.append(ask)
        if not ask.refused:
            self._made[staged.idempotency_key] = (staged, receiver)

    def _row(self, task: Task, of: Ask | None) -> TaskRow:
        if of is not None:
            self._submissions[task.id] = self._submission(of, task.id)
        return self._rows.get(task.id) or self._blank(task.id, of)

    def _blank(self, task_id: str, of: Ask | None) -> TaskRow:
        return msgspec.structs.replace(
            tasks.blank("main", task_id, now_ms()),
            chain_id=of.chain_id if of is not None else f"chain of {task_id}",
            submission_id=None if of is None else records.SUBMISSION_ID,
            parent_id=_parent_of(of),
            depth=of.depth if of is not None else 0,
        )

    def _submission(self, of: Ask, task_id: str, outcome: str = "accepted") -> Submission:
        staged = next(made for made, _ in self._made.values() if decode_request(made.request) == of.request)
        return records.submission(staged, task_id, outcome)

    def _path(self, path: Path) -> Path:
        return path if path.is_absolute() else self._directory / path


@contextmanager
def fresh(directory: Path) -> Iterator[Hookchain]:
    """A kit with nothing loaded, which disconnects all receivers at the end. Paths are relative to `directory`."""
    _clear()
    yield Hookchain(directory)
    _clear()


def _clear() -> None:
    for signal in SIGNALS.values():
        signal._clear_state()


async def _call(receiver: Receiver, context: Context) -> None:
    result = receiver.function(context.action, **context.arguments())
    if inspect.isawaitable(result):
        await result


def _run(work: Coroutine[object, None, T]) -> T:
    """Run a coroutine in a new loop, whether or not the test runs in one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _parent_of(of: Ask | None) -> str:
    return str(getattr(of.request, "task_id", "")) if of is not None else ""
