"""Keeps the pictures of clients that are shown addresses of ours, so that these work when the upstream's have expired."""

from __future__ import annotations

from dispatcher.effects.archive import picture_of
from dispatcher.effects.store import Store, file_name, store_at
from dispatcher.plugins.chain import Chain
from dispatcher.plugins.receivers import Options, Receiver
from midjourney.types import Task

_OPTIONS = Options(attempts=8, concurrency=2, timeout_s=120.0, harmless=True, requests=False)


class PictureStore:
    """The pictures in a folder, or in S3-compatible storage (`to`). Raises `GiveUp` for an invalid one."""

    def __init__(self, to: str) -> None:
        self._to = to
        self._opened: Store | None = None

    @property
    def _store(self) -> Store:
        if self._opened is None:
            self._opened = store_at(self._to)
        return self._opened

    def receiver(self, name: str) -> Receiver:
        """The receiver that keeps the picture of a task that has succeeded."""
        return Receiver(name=name, function=self._keep, options=_OPTIONS)

    async def get(self, upstream: str, task_id: str) -> bytes | None:
        """The original picture of a task, or None. Raises `StoreError`."""
        return await self._store.get(_name(upstream, task_id))

    async def _keep(self, _action: str, *, task: Task, chain: Chain, **_: object) -> None:
        if not task.image_url:
            chain.note("it has no picture")
            return
        image, _address = await picture_of(task, chain)
        await self._store.put(_name(chain.upstream, task.id), image.data)


def _name(upstream: str, task_id: str) -> str:
    return file_name("gateway", upstream, task_id)
