"""Answers questions about tasks, as honestly as the manners allow."""

from __future__ import annotations

from typing import Any

from tests.hostile.ledger import Ledger
from tests.hostile.manners import Manners
from tests.hostile.shapes import Json
from tests.hostile.tasks import Shelf, Task


def spelt(task: Json, manners: Manners) -> Json:
    """The fields as this upstream writes them."""
    return manners.spelling(task) if manners.spelling else task


class Reads:
    """One for an upstream; each question goes into its ledger."""

    def __init__(self, shelf: Shelf, ledger: Ledger) -> None:
        self._shelf, self._ledger = shelf, ledger

    def fetch(self, task_id: str, manners: Manners) -> Any:
        """One task, or None: Plus answers 200 with an empty body."""
        self._ledger.add_read("fetch", (task_id,))
        with self._shelf.lock:
            task = self._shelf.find(task_id, manners)
            if task is None:
                return None
            shown = spelt(task.shown(manners, name=self._name(task, task_id, manners)), manners)
        return manners.wrapping(shown) if manners.wrapping and manners.wraps_reads else shown

    def _name(self, task: Task, asked: str, manners: Manners) -> str:
        return task.id if manners.finds_loosely else asked

    def by_ids(self, ids: list[str], manners: Manners) -> list[Json]:
        """Those that are known, in no order of the question's."""
        self._ledger.add_read("list-by-condition", tuple(ids))
        if manners.batch_misses:
            return []
        with self._shelf.lock:
            found = [
                (name, task) for name in ids if (task := self._shelf.find(name, manners)) and task.is_listed
            ]
            answered = found[: manners.batch_at_most]
            named = [(self._name(task, name, manners), task) for name, task in reversed(answered)]
            return [spelt(task.shown(manners, name=name), manners) for name, task in named]

    def everything(self, manners: Manners) -> list[Json]:
        """The list, newest first: whole, or only what it shows."""
        self._ledger.add_read("list")
        with self._shelf.lock:
            tasks = self._shelf.listed(manners)
            if manners.list_lags:
                tasks = tasks[: -manners.list_lags]
            if manners.list_oldest is not None:
                tasks = tasks[: manners.list_oldest]
            newest_first = tasks[::-1][: manners.list_newest]
            return [self._by_its_name(task, manners) for task in newest_first]

    def queue(self, manners: Manners) -> list[Json]:
        """What waits or runs, oldest first."""
        self._ledger.add_read("queue")
        with self._shelf.lock:
            return [self._by_its_name(task, manners) for task in self._shelf.all() if not task.has_ended]

    def seed(self, task_id: str, manners: Manners) -> Json:
        """The seed of a picture."""
        self._ledger.add_read("image-seed", (task_id,))
        if self._shelf.find(task_id, manners) is None:
            return {"code": 3, "description": "任务不存在或已失效", "result": None}
        return {"code": 1, "description": "成功", "result": "636646138"}

    def _by_its_name(self, task: Task, manners: Manners) -> Json:
        """A relay lists what it can be asked about: its own ids, unless only those behind it are readable."""
        name = task.front_id if manners.relay in ("both", "front") else task.id
        return spelt(task.shown(manners, name=name), manners)
