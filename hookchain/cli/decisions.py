"""`hookchain explain`, `replay`, `costs`, `plugins`: why things happened, and what they cost."""

from __future__ import annotations

import json
import re
import time
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from hookchain.cli.api import running_server
from hookchain.settings import SettingsError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_AGE = re.compile(r"(\d{1,6})\s*([mhdw])")
_UNIT_S = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def since_ms(age: str) -> int:
    """Epoch milliseconds so long ago: "30m", "12h", "7d", "2w". Raises `SettingsError`."""
    found = _AGE.fullmatch(age.strip())
    if not found:
        raise SettingsError(f"--since {age!r}: write 30m, 12h, 7d or 2w")
    return int(1000 * (time.time() - int(found[1]) * _UNIT_S[found[2]]))


def explain(
    task: Annotated[str, typer.Argument(help="Task id.")],
    upstream: Annotated[str, typer.Option(help="Upstream of the task, if several have this id.")] = "",
    as_json: AsJson = False,
) -> None:
    """Explain what happened to a task, and why.

    Lists its events, the rules and plugins that fired, and those that did not.
    """
    query = {"upstream": upstream} if upstream else {}
    found: dict[str, Any] = running_server().get(f"/api/explain/{quote(task, safe='')}", **query)
    print(json.dumps(found, ensure_ascii=False, indent=2) if as_json else "\n".join(told(found)))


def told(found: dict[str, Any]) -> list[str]:
    """An explanation as lines for people."""
    task = found["task"]
    lines = [
        f"task {task['id']} at {task['upstream']}: {task['action']} {task['status']}, "
        f"chain {task['chain_id'] or 'none'}, depth {task['depth']}"
    ]
    if task["prompt"]:
        lines.append(f"  prompt: {task['prompt']}")
    if task["fail_reason"]:
        lines.append(f"  it failed: {task['fail_reason']}")
    if made_by := found["made_by"]:
        lines.append(f"  asked for by {made_by['asked_by']}: {_submission(made_by)}")
    if found["is_cut"]:
        lines.append(f"  only its newest {len(found['events'])} events are told")
    waiting = list(found["asked_for"])
    for event in found["events"]:
        progress = f" {event['progress']} %" if event["progress"] is not None else ""
        what = event["signal"] or ("stale: kept, no signal sent" if event["stale"] else "no signal")
        lines.append(f"{event['received_at']}  {event['source']:9}  {event['status']}{progress}  {what}")
        for delivery in event["deliveries"]:
            lines += _delivery(delivery, waiting)
    lines += [f"  asked for by {one['asked_by']}: {_submission(one)}" for one in waiting]
    return lines


def _delivery(delivery: dict[str, Any], waiting: list[dict[str, Any]]) -> list[str]:
    state = (
        "" if delivery["state"] == "done" else f" [{delivery['state']}, tried {delivery['attempts']} times]"
    )
    lines = [f"    {delivery['receiver']}{state}: {delivery['decision'] or 'asked for nothing'}"]
    if delivery["error"]:
        lines.append(f"      {delivery['error'].strip().splitlines()[-1]}")
    if delivery["fired"]:
        mine = [one for one in waiting if one["asked_by"] == delivery["receiver"]]
        for one in mine:
            waiting.remove(one)
        lines += [f"      {_submission(one)}" for one in mine]
    return lines


def _submission(one: dict[str, Any]) -> str:
    what = one["label"] if one["label"] != one["kind"] else one["kind"]
    made = f" → {', '.join(one['task_ids'])}" if one["task_ids"] else ""
    tries = f", {one['attempts']} attempts" if one["attempts"] > 1 else ""
    again = f"; asked for again {one['repeats']} times, sent once" if one["repeats"] else ""
    reason = f" ({one['reason']})" if one["reason"] else ""
    return f"{what}: {one['state']}{made}{reason}{tries}{again}"


def replay(
    events: Annotated[list[int], typer.Argument(help="Event ids.")],
    force: Annotated[
        bool, typer.Option("--force", help="Submit what was already submitted again, and pay again.")
    ] = False,
) -> None:
    """Run recorded events through rules and plugins again."""
    server = running_server()
    for event in events:
        made = server.post(f"/api/events/{event}/replay", {"force": force})
        print(f"event {event}: replayed as {made['replayed_as']}")


def costs(
    since: Annotated[str, typer.Option(help="How far back to look, such as 12h, 7d or 4w.")] = "30d",
    by: Annotated[
        Literal["rule", "chain", "day", "upstream"], typer.Option(help="What to group by.")
    ] = "rule",
    as_json: AsJson = False,
) -> None:
    """Show costs, refunds, and what was saved by not paying twice."""
    told = running_server().get("/api/costs", by=by, since_ms=since_ms(since))
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return
    rows = told["costs"]
    width = max([len(one["key"]) for one in rows] + [len(by), 5])
    print(
        f"{by:{width}}  {'sent':>7}  {'spent':>10}  {'refunded':>10}  {'net':>10}  {'not sent':>8}  {'saved':>10}"
    )
    for one in [*rows, _total(rows)]:
        print(
            f"{one['key']:{width}}  {one['submissions']:7}  {one['spent']:10.4g}  {one['refunded']:10.4g}  "
            f"{one['net']:10.4g}  {one['saved_submissions']:8}  {one['saved']:10.4g}"
        )


def _total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("submissions", "spent", "refunded", "net", "saved_submissions", "saved")
    return {"key": "total"} | {name: sum(one[name] for one in rows) for name in names}


def plugins(as_json: AsJson = False) -> None:
    """List plugins and receivers. Shows the signals and deliveries of each receiver."""
    told = running_server().get("/api/plugins")
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return
    for one in told["plugins"]:
        print(f"{one['name']}\t{one['origin']}")
    for one in told["receivers"]:
        heard = ", ".join(one["signals"]) if one["loaded"] else "no longer loaded"
        print(
            f"{one['name']}\t{heard}\t{one['done']} done, {one['fired']} fired, {one['waiting']} waiting, "
            f"{one['failing']} failing, {one['dead']} dead"
        )
