"""`hookchain upstreams`: the state of each upstream."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from hookchain.cli.api import running_server


def upstreams(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the state of each upstream. Counts its submissions, and says how its callbacks arrive."""
    found: list[dict[str, Any]] = running_server().get("/api/upstreams")["upstreams"]
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for one in found:
        states = ", ".join(f"{count} {state}" for state, count in sorted(one["submissions"].items()))
        print(f"{one['name']}\t{one['url']} ({one['dialect']})")
        print(f"\tsubmitting: {_submitting(one)}; submissions: {states or 'none yet'}")
        print(f"\tcallbacks: {_callbacks(one['callbacks'])}")


def _submitting(one: dict[str, Any]) -> str:
    if one["paused"]:
        return "paused by hand"
    return "breaker open: only single requests, as trials" if one["breaker"] == "open" else "yes"


def _callbacks(health: dict[str, Any]) -> str:
    if not health["tasks"]:
        return "no task has ended yet"
    if health["calls_back"] is False:
        return f"none came for the last {health['tasks']} tasks; hookchain polls every 15 s"
    delay = health["delay_ms"]
    late = f", {delay['median'] / 1000:.1f} s after the end in the median" if delay else ""
    return (
        f"{health['called']} of the last {health['tasks']} tasks called back, {health['ended_by_callback']} with their end"
        f"{late}; {health['duplicates']} duplicates, {health['out_of_order']} out of order"
    )
