"""`hookchain upstreams`: the state of each upstream."""

from __future__ import annotations

from typing import Annotated

import typer

from hookchain.cli.api import running_server
from hookchain.cli.output import say, say_json
from hookchain.pause_text import pause_text
from hookchain.printable import printable_in
from hookchain.task_lists import task_list_text
from hooks.api.reports import Callbacks, Upstream, Upstreams
from hooks.quotas import QuotaUse
from hooks.refusals import RefusedCallbacks


def upstreams(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the state of each upstream.

    Shows the number of its submissions, why due submissions are not sent, how its callbacks arrive, which callbacks were refused
    in the last 7 days and what to do about it, and what hookchain knows about its task list.
    """
    states = running_server().get("/api/upstreams", Upstreams).upstreams
    if as_json:
        say_json(states)
        return
    states = printable_in(states)
    for upstream in states:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(upstream.submissions.items()))
        say(f"{upstream.name}\t{upstream.url} ({upstream.dialect})")
        say(f"\tsubmitting: {_submitting(upstream)}; submissions: {counts or 'none yet'}")
        if upstream.stalled:
            say(f"\tstalled: {upstream.stalled.told}")
        say(f"\tcallbacks: {_callbacks(upstream.callbacks)}")
        say(f"\tlist: {task_list_text(upstream.task_list)}")
        say(f"\tquota: {_quota(upstream.quota)}")
        if upstream.old_hooks:
            say(
                f"\thooks: {upstream.old_hooks} older ones are still valid; `hookchain url --retire` ends them"
            )
        for refused in upstream.refused:
            if refused.upstream:
                say(_refused(refused))
    unassigned = [refused for refused in states[0].refused if not refused.upstream] if states else []
    if unassigned:
        say("\n".join(["callbacks to unknown hooks", *map(_refused, unassigned)]))


def _refused(refused: RefusedCallbacks) -> str:
    detail = f" ({refused.detail})" if refused.detail else ""
    return (
        f"\trefused: {refused.count} {refused.why}, the last at {refused.last_at}{detail}\n"
        f"\t\t{refused.what_to_do}"
    )


def _submitting(upstream: Upstream) -> str:
    if upstream.paused:
        return pause_text(upstream.name, since=upstream.paused_at, reason=upstream.pause_reason)
    return "breaker open: only single requests, as trials" if upstream.breaker == "open" else "yes"


def _quota(quota: QuotaUse) -> str:
    kept, most = quota.kept_bytes / 1e6, quota.bytes_per_hour / 1e6
    used = f"{kept:.1f} MB of {most:.1f} and {quota.tasks} new tasks of {quota.tasks_per_hour} in this hour (0: no limit)"
    return used + (f"; {quota.asked_instead} over it" if quota.asked_instead else "")


def _callbacks(health: Callbacks) -> str:
    if not health.tasks:
        return "no task has ended yet"
    if health.calls_back is False:
        return f"none arrived for the last {health.tasks} tasks; hookchain polls every 15 s"
    delay = health.delay_ms
    late = f" (median delay {delay.median / 1000:.1f} s)" if delay else ""
    return (
        f"arrived for {health.called} of the last {health.tasks} tasks, with the end of {health.ended_by_callback}"
        f"{late}; {health.duplicates} duplicates, {health.out_of_order} out of order"
    )
