"""/api/upstreams: the status of each upstream, and pausing and resuming it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.requests import Request

from dispatcher.loops.watch import stalls
from dispatcher.policy import upstream_limits
from dispatcher.policy.stalls import Stall
from hooks import refusals
from hooks.api import reports
from hooks.api.reports import Callbacks, Stalled, Switched, TaskList, UpstreamStatus
from hooks.api.shapes import extended
from hooks.problems import Problem
from hooks.quotas import Quotas
from hooks.times import when
from midjourney.dialects import Upstream
from storage import clock
from storage.engine import Connection, Database
from storage.reading import gauges, health
from storage.records import Standing
from storage.upstreams import hook_salts, list_facts
from storage.upstreams import standings as stored
from storage.upstreams.list_facts import ListFacts


class Upstreams:
    """Handlers for the configured upstreams."""

    def __init__(self, database: Database, upstreams: Mapping[str, Upstream], quotas: Quotas) -> None:
        self._database = database
        self._upstreams = upstreams
        self._quotas = quotas

    async def list(self, _request: Request) -> tuple[int, reports.Upstreams]:
        """List all upstreams with their backlog and how their callbacks arrive; without keys."""
        statuses = await self._database.read(
            lambda connection: upstream_statuses(connection, self._upstreams)
        )
        return 200, reports.Upstreams(
            upstreams=[
                extended(reports.Upstream, status, quota=self._quotas.usage(status.name))
                for status in statuses
            ]
        )

    async def pause(self, request: Request) -> tuple[int, Switched]:
        """Submit nothing to an upstream until it is resumed; waiting submissions are kept."""
        name = self._named(request)
        await self._database.write(
            "command", lambda connection: stored.pause(connection, name, clock.now_ms())
        )
        return 200, Switched(upstream=name, paused=True)

    async def resume(self, request: Request) -> tuple[int, Switched]:
        """Submit to an upstream again."""
        name = self._named(request)
        await self._database.write(
            "command", lambda connection: stored.resume(connection, name, clock.now_ms())
        )
        self._database.wakeups.wake("submissions")
        return 200, Switched(upstream=name, paused=False)

    def _named(self, request: Request) -> str:
        name: str = request.path_params["name"]
        if name not in self._upstreams:
            raise Problem(
                404, f"There is no upstream {name!r}; known upstreams: {', '.join(sorted(self._upstreams))}"
            )
        return name


def upstream_statuses(connection: Connection, upstreams: Mapping[str, Upstream]) -> list[UpstreamStatus]:
    """Return the status of each upstream, ordered by name; without keys."""
    known, counted = stored.every(connection), gauges.submissions_by_state(connection)
    refused = refusals.recent(connection, clock.now_ms())
    salts = hook_salts.find(connection, upstreams)
    stalled = stalls(connection, upstreams)
    now = {name: known.get(name, Standing(name=name)) for name in upstreams}
    return [
        UpstreamStatus(
            name=name,
            url=upstream.url,
            dialect=upstream.dialect,
            paused=now[name].paused,
            paused_at=when(now[name].switched_at_ms or None) if now[name].paused else None,
            pause_reason=now[name].pause_reason or None,
            breaker=upstream_limits.breaker(now[name]),
            stalled=_stalled(stalled.get(name)),
            submissions={state: count for (at, state), count in counted.items() if at == name},
            callbacks=msgspec.convert(health.callbacks(connection, name), Callbacks, from_attributes=True),
            refused=refusals.shapes_of(refused, name),
            old_hooks=len(salts[name].valid) - 1,
            task_list=task_list_shape(list_facts.find(connection, name)),
        )
        for name, upstream in sorted(upstreams.items())
    ]


def _stalled(stall: Stall | None) -> Stalled | None:
    if stall is None:
        return None
    return Stalled(
        told=stall.sentence, for_s=stall.for_s, due=stall.due, why=stall.why, is_fault=stall.is_fault
    )


def task_list_shape(learned: ListFacts) -> TaskList:
    """Return what is known about an upstream's list of tasks; times are in seconds, None until enough has been observed."""
    return TaskList(
        missing=learned.is_missing,
        order=learned.order or None,
        lag_s=None if learned.lag_ms is None else learned.lag_ms / 1000,
        most_entries=learned.most_entries,
        cut=learned.is_cut,
        marks=learned.marks,
        slowest_s=learned.slowest_ms / 1000,
    )
