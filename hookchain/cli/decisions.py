"""`hookchain explain`, `replay`, `costs` and `budgets`: why things happened, and what they cost."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
import typer

from hookchain.cli.api import running_server
from hookchain.cli.approval_lines import approval_state
from hookchain.cli.output import last_line, say, say_json
from hookchain.cli.table import cells, padded, say_rows
from hookchain.cli.ticket_lines import story_lines
from hookchain.printable import printable_in
from hookchain.settings.load import SettingsError
from hooks.api.answers import Delivery, Replayed, Submission, SubmissionDetail, Task
from hooks.api.gateway_answers import Explained
from hooks.api.reports import Budgets, Cost, Costs
from storage import clock

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_AGE = re.compile(r"(\d{1,6})\s*([mhdw])")
_UNIT_S = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def since_ms(age: str) -> int:
    """The time that long ago, in epoch milliseconds. `age` is "30m", "12h", "7d" or "2w". Raises `SettingsError`."""
    match = _AGE.fullmatch(age.strip())
    if not match:
        raise SettingsError(f"--since is {age!r}; write a number and a unit, such as 30m, 12h, 7d or 2w")
    return clock.now_ms() - 1000 * int(match[1]) * _UNIT_S[match[2]]


def explain(
    task: Annotated[str, typer.Argument(help="Id of a task, or of a client's ticket.")],
    upstream: Annotated[str, typer.Option(help="Upstream of the task, if several have this id.")] = "",
    as_json: AsJson = False,
) -> None:
    """Explain what happened to a task or a ticket, and why.

    Lists its events, which rules and plugins fired for them, and which did not. For a ticket also which account got it and why, each
    try, and what the client's hook was told and answered.
    """
    query = {"upstream": upstream} if upstream else {}
    explanation = running_server().get(f"/api/explain/{quote(task, safe='')}", Explained, **query)
    if as_json:
        say_json(explanation)
    else:
        say("\n".join(explanation_lines(printable_in(explanation))))


def explanation_lines(explanation: Explained) -> list[str]:
    """An explanation as readable lines."""
    lines = story_lines(explanation.ticket) if explanation.ticket is not msgspec.UNSET else []
    if explanation.task is not None:
        lines += _task(explanation.task)
    if made_by := explanation.made_by:
        lines.append(f"  requested by {made_by.asked_by}: {_submission(made_by)}")
    if explanation.is_cut:
        lines.append(f"  only its newest {len(explanation.events)} events are shown")
    remaining = list(explanation.asked_for)
    for event in explanation.events:
        progress = f" {event.progress} %" if event.progress is not None else ""
        what = event.signal or ("stale: kept, no signal sent" if event.stale else "no signal")
        lines.append(
            f"{event.received_at}  {event.source:9}  {event.provenance:9}  {event.status}{progress}  {what}"
        )
        if event.detail:
            lines.append(f"    {event.detail}")
        for delivery in event.deliveries:
            lines += _delivery(delivery, remaining)
    lines += [f"  requested by {submission.asked_by}: {_submission(submission)}" for submission in remaining]
    if explanation.approvals is not msgspec.UNSET:
        lines += [
            f"  approval {one.id} for {one.asked_by}: {approval_state(one)}" for one in explanation.approvals
        ]
    return lines


def _task(task: Task) -> list[str]:
    lines = [
        f"task {task.id} at {task.upstream}: {task.action} {task.status}, "
        f"chain {task.chain_id or 'none'}, depth {task.depth}"
    ]
    if task.prompt:
        lines.append(f"  prompt: {task.prompt}")
    if task.fail_reason:
        kind = f" ({task.failure_kind})" if task.failure_kind else ""
        lines.append(f"  it failed{kind}: {task.fail_reason}")
    return lines


def _delivery(delivery: Delivery, remaining: list[SubmissionDetail]) -> list[str]:
    """The lines of a delivery. Takes the submissions that it shows out of `remaining`."""
    state = "" if delivery.state == "done" else f" [{delivery.state}, tried {delivery.attempts} times]"
    lines = [f"    {delivery.receiver}{state}: {delivery.decision or 'asked for nothing'}"]
    if delivery.error:
        lines.append(f"      {last_line(delivery.error)}")
    if delivery.fired:
        own = [submission for submission in remaining if submission.asked_by == delivery.receiver]
        for submission in own:
            remaining.remove(submission)
        lines += [f"      {_submission(submission)}" for submission in own]
    return lines


def _submission(submission: Submission) -> str:
    made = f" → {', '.join(submission.task_ids)}" if submission.task_ids else ""
    attempts = f", {submission.attempts} attempts" if submission.attempts > 1 else ""
    repeats = f"; repeat requests: {submission.repeats}, sent once" if submission.repeats else ""
    reason = f" ({submission.reason})" if submission.reason else ""
    kind = f", {submission.failure_kind}" if submission.failure_kind else ""
    due = f", due {submission.run_at}" if submission.state == "waiting" else ""
    return f"{submission.label}: {submission.state}{due}{kind}{made}{reason}{attempts}{repeats}"


def replay(
    events: Annotated[list[int], typer.Argument(help="Event ids.")],
    force: Annotated[
        bool, typer.Option("--force", help="Submit again, and pay again for, what was already submitted.")
    ] = False,
    only: Annotated[
        str,
        typer.Option(
            help="The one receiver that runs, such as rule:NAME/forward, which sends its message again."
        ),
    ] = "",
) -> None:
    """Run rules and plugins again for recorded events."""
    server = running_server()
    for event in events:
        replayed = server.post(f"/api/events/{event}/replay", Replayed, {"force": force, "only": only})
        say(f"event {event}: replayed as {replayed.replayed_as}")


def costs(
    since: Annotated[str, typer.Option(help="How far back to look, such as 12h, 7d or 4w.")] = "30d",
    by: Annotated[
        Literal["rule", "chain", "day", "upstream"], typer.Option(help="What to group by.")
    ] = "rule",
    as_json: AsJson = False,
) -> None:
    """Show costs, refunds, and what was saved by not paying twice."""
    report = running_server().get("/api/costs", Costs, by=by, since_ms=since_ms(since))
    if as_json:
        say_json(report)
        return
    rows = printable_in(report).costs
    width = max([cells(row.key) for row in rows] + [len(by), 5])
    say(
        f"{by:{width}}  {'sent':>7}  {'spent':>10}  {'refunded':>10}  {'net':>10}  {'not sent':>8}  {'saved':>10}"
    )
    for row in [*rows, _total(rows)]:
        say(
            f"{padded(row.key, width)}  {row.submissions:7}  {row.spent:10.4g}  {row.refunded:10.4g}  "
            f"{row.net:10.4g}  {row.saved_submissions:8}  {row.saved:10.4g}"
        )


def _total(rows: list[Cost]) -> Cost:
    return Cost(
        key="total",
        net=sum(row.net for row in rows),
        submissions=sum(row.submissions for row in rows),
        spent=sum(row.spent for row in rows),
        refunded=sum(row.refunded for row in rows),
        saved=sum(row.saved for row in rows),
        saved_submissions=sum(row.saved_submissions for row in rows),
    )


def budgets(as_json: AsJson = False) -> None:
    """Show what is used and left of each budget.

    The figures are for the current hour, day or month.
    """
    uses = running_server().get("/api/budgets", Budgets).budgets
    if as_json:
        say_json(uses)
        return
    say_rows(
        [
            [
                use.budget,
                use.scope or "all together",
                use.period,
                f"{use.used:g} of {use.limit:g} {'spent' if use.measure == 'spend' else 'submissions'}, "
                f"{use.left:g} left until {use.ends_at}",
            ]
            for use in uses
        ]
    )
    if not uses:
        say("no [[budgets]] are configured, or nothing has counted towards them in this period")
