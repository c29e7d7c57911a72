"""`hookchain doctor`: checks an upstream without spending money."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hookchain.cli.api import CallFailed
from hookchain.findings import finding
from hookchain.namesakes import shared_packages
from hookchain.rules import rules_of
from hookchain.settings import Settings, SettingsError, load_settings
from hookchain.wiring import hook_url, open_database, secret_of
from midjourney.dialects import Upstream
from storage import queries
from storage.engine import parse_url


def doctor(
    upstream: Annotated[str, typer.Argument(help="Upstream to check; all if omitted.")] = "",
    url: Annotated[str, typer.Option(help="URL to check instead; it need not be configured.")] = "",
    key: Annotated[str, typer.Option(help="API key for --url.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the upstreams, at no cost.

    Reports whether each one is reachable, whether it accepts the key, which dialect fits, and whether any
    callback has arrived.
    """
    settings = load_settings()
    upstreams = {"--url": Upstream(name="--url", url=url, key=key)} if url else settings.upstreams
    if upstream and upstream not in upstreams:
        raise SettingsError(f"no upstream {upstream!r}; there are: {', '.join(upstreams) or 'none'}")
    if not upstreams:
        raise SettingsError("no upstream is configured: set HOOKCHAIN_UPSTREAM_URL, or give --url")
    chosen = {name: one for name, one in upstreams.items() if upstream in ("", name)}
    findings = asyncio.run(_examine_all(settings, chosen))
    warnings = [told for told in (settings.disk_warning, _wrong_rules(settings), *shared_packages()) if told]
    if as_json:
        print(json.dumps({"upstreams": findings, "warnings": warnings}, ensure_ascii=False, indent=2))
    else:
        print("\n".join(line for finding in findings for line in _lines(finding)))
        print("".join(f"! {warning}\n" for warning in warnings), end="")
    ill = [finding["name"] for finding in findings if not finding["healthy"]]
    if ill:
        raise CallFailed(f"not usable as configured: {', '.join(ill)}")


def _wrong_rules(settings: Settings) -> str:
    """Why a server would not start with these rules, or ""."""
    try:
        rules_of(settings)
    except SettingsError as error:
        return f"the rules cannot be used: {error}"
    return ""


async def _examine_all(settings: Settings, chosen: dict[str, Upstream]) -> list[dict[str, Any]]:
    hooks = await _hooks(settings, chosen)
    return [await finding(settings, one, hooks.get(name)) for name, one in chosen.items()]


async def _hooks(settings: Settings, chosen: dict[str, Upstream]) -> dict[str, tuple[str, int | None]]:
    """The hook of each configured upstream, and when the last callback came; without a database, nothing is made."""
    configured = [name for name in chosen if name in settings.upstreams]
    if not configured or not _has_database(settings):
        return {
            name: (hook_url(settings, settings.secret, name), None) for name in configured if settings.secret
        }
    database = await open_database(settings)
    try:
        secret = await secret_of(settings, database)
        last = await database.read(
            lambda connection: {
                name: queries.event_page(connection, most=1, equal={"upstream": name, "source": "callback"})
                for name in configured
            }
        )
    finally:
        await database.close()
    return {
        name: (hook_url(settings, secret, name), events[0].received_at_ms if events else None)
        for name, events in last.items()
    }


def _has_database(settings: Settings) -> bool:
    address = parse_url(settings.database_url)
    return not isinstance(address, Path) or address.exists()


def _lines(finding: dict[str, Any]) -> list[str]:
    reached = f"yes, in {finding['took_ms']} ms" if finding["reachable"] else f"no: {finding['why']}"
    lines = [f"{finding['name']}  {finding['url']}", f"  reachable   {reached}"]
    if not finding["reachable"]:
        return lines
    headers = ", ".join(finding["key_accepted_in"])
    lines.append(f"  key         {finding['key']}" + (f", in {headers}" if headers else ""))
    if finding["dialect"]:
        best = finding["fits"][0]
        lines.append(f"  dialect     {finding['dialect']} ({best['agree']} of {best['seen']} facts agree)")
    else:
        lines.append(f"  dialect     unknown{': ' + finding['why'] if finding['why'] else ''}")
    if finding["notify_hook"]:
        lines.append(f"  notifyHook  {finding['notify_hook']}")
    reach = (
        f"yes: the last callback came at {finding['last_callback_at']}"
        if finding["last_callback_at"]
        else "unknown: no callback has come yet"
    )
    lines.append(f"  reached from outside  {reach}")
    return [*lines, *(f"  ! {advice}" for advice in finding["advice"])]
