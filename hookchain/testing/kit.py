"""The test kit's core: a server's rules and plugins, without server, network and database."""

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

from dispatcher.budget import Budget, refusal
from dispatcher.chain import Place
from dispatcher.context import Context, context_of
from dispatcher.discovery import load_plugins
from dispatcher.receivers import Receiver, Registry
from dispatcher.rules.load import load_rules
from dispatcher.rules.receiver import connect
from dispatcher.rules.whatif import DryChain
from dispatcher.signals import SIGNALS
from hookchain.testing import records
from midjourney.decode import decode_task
from midjourney.dialects import DIALECTS
from midjourney.lifecycle import Position, advance, position_of
from midjourney.requests import Request, decode_request
from midjourney.types import Task
from storage import tasks
from storage.records import (
    SIGNAL_OF_CHANGE,
    ChainRow,
    ChainUse,
    ClaimedDelivery,
    Staged,
    Submission,
    TaskRow,
)

T = TypeVar("T")
Payload = Mapping[str, Any]
"""A task as an upstream shows it."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One submission that a receiver asked for. `after_s` is the delay it wants; `refused` the limit in its way."""

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
    """What one event made receivers ask for. `signal` None: the callback was stale, and nobody was told.

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
    """What the fixture `hookchain` gives."""

    def __init__(self, directory: Path) -> None:
        self.budget = Budget()
        self._directory = directory
        place = Place(name="main", dialect=DIALECTS["mj-plus"], url="https://upstream.example.com")
        self._places = {"main": place}
        self._registry = Registry(SIGNALS)
        self._rows: dict[str, TaskRow] = {}
        self._payloads: dict[str, bytes] = {}
        self._made: dict[str, tuple[Staged, str]] = {}
        self._submissions: dict[str, Submission] = {}
        self._count = 0

    def load_rules(self, source: str | Path) -> None:
        """Take the rules of a file, or of a text that has [[rules]] in it. Raises `RuleError` with the mistake."""
        file = Path(source) if isinstance(source, Path) or "[[" not in source else None
        text = self._path(file).read_text(encoding="utf-8") if file is not None else str(source)
        directory = self._path(file).parent if file is not None else self._directory
        tables = tomllib.loads(text).get("rules", [])
        with self._registry.changing():
            for rule in load_rules(tables, file=str(file or "rules"), text=text, directory=directory):
                connect(rule)

    def load_plugin(self, source: str | Path) -> None:
        """Load a plugin: a file, or a module's name. Raises `PluginError` with the cause."""
        name = str(self._path(Path(source))) if str(source).endswith(".py") else str(source)
        with self._registry.changing():
            if not name.endswith(".py") and name in sys.modules:
                importlib.reload(sys.modules[name])  # imported by an earlier test: its receivers are gone
            else:
                load_plugins([name], self._directory / "no plugins beside it")

    def callback(self, payload: Payload | bytes, *, of: Ask | None = None) -> Asked:
        """Have a callback come, as from an upstream. `of` is the submission that made its task.

        The signal is the one that the server would give: none for a duplicate, or for what is older than known.
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
        """The SUCCESS of a task, such as `grid()` or `upscale()`."""
        return self.callback({**payload, "status": "SUCCESS"}, of=of)

    def fail(self, payload: Payload, reason: str = "failed", *, of: Ask | None = None) -> Asked:
        """The FAILURE of a task."""
        failed = {**payload, "status": "FAILURE", "failReason": reason, "buttons": []}
        return self.callback(failed, of=of)

    def feed(self, *files: str | Path) -> list[Asked]:
        """Have recorded callbacks come, one in each JSON file, in this order."""
        return [self.callback(self._path(Path(file)).read_bytes()) for file in files]

    def window(self, of: Ask, prompt: str = "a cat", id: str = "window", **parent: Any) -> Asked:
        """Have the upstream answer a press with a window (code 21). `parent` are fields of the picture behind it."""
        submission = self._submission(of, id)
        behind = msgspec.json.encode(
            {"id": submission.parent_id, "status": "SUCCESS", "prompt": prompt} | parent
        )
        self._rows[id] = self._blank(id, of)
        answer = msgspec.json.encode({"code": 21, "result": id, "properties": {"finalPrompt": prompt}})
        return self._tell("submission.needs_modal", id, submission, answer, source="answer", parent=behind)

    def send(self, signal: str, task_id: str = "", *, of: Ask | None = None, outcome: str = "") -> Asked:
        """Send any signal about a task that is known, or about a submission ("submission.dead", `outcome` why)."""
        submission = self._submission(of, task_id, outcome=outcome) if of is not None else None
        if submission is None and task_id in self._submissions:
            submission = self._submissions[task_id]
        return self._tell(signal, task_id, submission, self._payloads.get(task_id, b""), source="callback")

    def _tell(
        self,
        signal: str,
        task_id: str,
        submission: Submission | None,
        payload: bytes,
        *,
        source: Any,
        parent: bytes = b"",
    ) -> Asked:
        row = self._rows.get(task_id)
        asked = Asked(signal=signal)
        for name in self._registry.listening(signal, row.action if row is not None else ""):
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
            context = context_of(claimed, self._places, chain_type=DryChain)
            _run(_call(receiver, context))
            asked.decisions[name] = context.chain.notes
            for staged in context.chain.staged:
                self._stage(asked, name, staged)
        return asked

    def _chain(self, row: TaskRow | None, submission: Submission | None) -> ChainRow | None:
        chain_id = (
            row.chain_id if row is not None else submission.chain_id if submission is not None else None
        )
        made = sum(one.chain_id == chain_id for one, _ in self._made.values())
        return None if chain_id is None else records.chain(chain_id, made)

    def _stage(self, asked: Asked, receiver: str, staged: Staged) -> None:
        use = ChainUse(
            submissions=sum(one.chain_id == staged.chain_id for one, _ in self._made.values()),
            by_same_receiver=sum(
                (one.chain_id, by) == (staged.chain_id, receiver) for one, by in self._made.values()
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
            asked.repeats.append(ask)
            return
        asked.asks.append(ask)
        if not ask.refused:
            self._made[staged.idempotency_key] = (staged, receiver)

    def _row(self, task: Task, of: Ask | None) -> TaskRow:
        if of is not None:
            self._submissions[task.id] = self._submission(of, task.id)
        return self._rows.get(task.id) or self._blank(task.id, of)

    def _blank(self, task_id: str, of: Ask | None) -> TaskRow:
        return msgspec.structs.replace(
            tasks.blank("main", task_id, records.now_ms()),
            chain_id=of.chain_id if of is not None else f"chain of {task_id}",
            submission_id=None if of is None else records.SUBMISSION_ID,
            parent_id=_parent_of(of),
            depth=of.depth if of is not None else 0,
        )

    def _submission(self, of: Ask, task_id: str, outcome: str = "accepted") -> Submission:
        staged = next(one for one, _ in self._made.values() if decode_request(one.request) == of.request)
        return records.submission(staged, task_id, outcome)

    def _path(self, path: Path) -> Path:
        return path if path.is_absolute() else self._directory / path


@contextmanager
def fresh(directory: Path) -> Iterator[Hookchain]:
    """A kit with nothing loaded; nothing of it is left afterwards. Its paths are relative to `directory`."""
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


def _run(work: Coroutine[Any, Any, T]) -> T:
    """In a loop of its own, whatever loop the test is in."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _parent_of(of: Ask | None) -> str:
    return str(getattr(of.request, "task_id", "")) if of is not None else ""
