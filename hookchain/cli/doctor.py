"""`hookchain doctor`: check upstreams without spending money."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from hookchain.cli.api import CallFailed, Server, operating
from hookchain.cli.as_client import check_as_client
from hookchain.cli.output import say, say_json
from hookchain.diagnosis import diagnose
from hookchain.exposure import check_token
from hookchain.namesakes import shared_packages
from hookchain.pause_text import pause_text
from hookchain.printable import printable, printable_in
from hookchain.public_probe import is_loopback_url, probe
from hookchain.rules import rules_of
from hookchain.settings.bounds import check_url
from hookchain.settings.lenient import OF_LINKS
from hookchain.settings.load import Settings, SettingsError, load_settings
from hookchain.task_lists import task_list_text
from hookchain.wiring import hook_url, open_database, secret_of
from hooks import refusals
from hooks.api.reports import Plugins, Rules, TaskList
from hooks.api.shapes import extended
from hooks.api.upstreams import task_list_shape
from hooks.dashboard.finding import Finding
from hooks.refusals import RefusedCallbacks
from hooks.times import when
from midjourney.dialects import Upstream
from storage import clock
from storage.engine import Connection, parse_url
from storage.reading import health
from storage.records import Standing
from storage.upstreams import hook_salts, list_facts, standings


def doctor(
    upstream: Annotated[str, typer.Argument(help="Upstream to check; all if omitted.")] = "",
    url: Annotated[str, typer.Option(help="URL to check instead; it need not be configured.")] = "",
    key: Annotated[str, typer.Option(help="API key for --url or --as-client.")] = "",
    exposed: Annotated[
        bool,
        typer.Option(
            "--exposed", help="Instead, request the public address without a login and report what is open."
        ),
    ] = False,
    as_client: Annotated[
        str,
        typer.Option(
            "--as-client",
            help="Instead, ask this URL what known clients ask, and report what would break in them.",
        ),
    ] = "",
    submit: Annotated[
        bool,
        typer.Option("--submit", help="With --as-client: also order one picture per client, at its price."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the upstreams, at no cost.

    Reports whether each one is reachable, whether it accepts the key, which dialect fits, whether any callback
    has arrived, and which callbacks were refused.
    """
    if as_client:
        check_as_client(as_client, key, submits=submit, as_json=as_json)
        return
    if exposed:
        _check_exposure(url or operating(OF_LINKS).links().known_url, as_json=as_json)
        return
    settings = load_settings()
    known = {"--url": Upstream(name="--url", url=url, key=key)} if url else settings.upstreams
    if upstream and upstream not in known:
        raise SettingsError(f"no upstream {upstream!r}; there are: {', '.join(known) or 'none'}")
    if not known:
        raise SettingsError("no upstream is configured: set HOOKCHAIN_UPSTREAM_URL, or give --url")
    chosen = {name: configured for name, configured in known.items() if upstream in ("", name)}
    findings, pauses = asyncio.run(_examine_all(settings, chosen))
    general = [
        warning
        for warning in (
            settings.disk_warning,
            _startup_error(lambda: check_token(settings)),
            _startup_error(lambda: rules_of(settings), "the rules cannot be used: "),
            *settings.price_warnings,
            *_of_running_server(settings),
            *shared_packages(),
        )
        if warning
    ]
    warnings = [*pauses, *general]
    if as_json:
        say_json({"upstreams": findings, "warnings": warnings})
    else:
        say("\n".join(line for finding in findings for line in _lines(printable_in(finding))))
        for line in "\n".join(warnings).splitlines():
            say(f"! {printable(line)}")
    unhealthy = [finding.name for finding in findings if not finding.healthy]
    if unhealthy:
        raise CallFailed(f"not usable as configured: {', '.join(unhealthy)}")


def _check_exposure(url: str, *, as_json: bool) -> None:
    """Print how this address answers requests without a login. Raises `CallFailed` if an answer is not as it should be."""
    if not url:
        raise SettingsError("no public address is known: set HOOKCHAIN_PUBLIC_URL, or give --url")
    check_url("--url", url)
    results = list(probe(url))
    note = (
        f"{url} is a loopback address: give the address that others use with --url"
        if is_loopback_url(url)
        else ""
    )
    if as_json:
        say_json({"url": url, "note": note, "surfaces": results})
    else:
        say(f"{url}, requested without a login")
        for result in printable_in(results):
            mark = " " if result.verdict == "as it should be" else "!"
            say(f"{mark} {result.name:34}  {result.asked:32}  {result.answer:22}  {result.verdict}")
        cures = dict.fromkeys(result.cure for result in results if result.cure)
        for line in [*cures, note]:
            if line:
                say(f"! {printable(line)}")
    if bad := [result.name for result in results if result.cure]:
        raise CallFailed(f"not as it should be at {url}: {', '.join(bad)}")


def _startup_error(check: Callable[[], object], introduction: str = "") -> str:
    """The error that would keep a server from starting; "" if the check passes."""
    try:
        check()
    except SettingsError as error:
        return f"{introduction}{error}"
    return ""


def _of_running_server(settings: Settings) -> list[str]:
    """What the server that runs here, if any, uses otherwise than the file says, and what is probably wrong with its plugins."""
    server = Server(settings)
    if not server.is_up():
        return []
    try:
        rules, plugins = server.get("/api/rules", Rules), server.get("/api/plugins", Plugins)
    except CallFailed as error:
        return [f"the running server does not say what it uses: {error}"]
    warnings = [*plugins.warnings]
    if rules.error:
        warnings.append(f"the file has changed but is not in use: {rules.error}")
    if rules.after_restart:
        warnings.append(f"changed, in use after a restart: {'; '.join(rules.after_restart)}")
    return warnings


async def _examine_all(
    settings: Settings, chosen: dict[str, Upstream]
) -> tuple[list[UpstreamFinding], list[str]]:
    stored = await _stored_facts(settings, [name for name in chosen if name in settings.upstreams])
    findings = [
        extended(
            UpstreamFinding,
            await diagnose(settings, upstream, stored[name].hook if name in stored else None),
            refused=stored[name].refused if name in stored else [],
            task_list=stored[name].task_list if name in stored else None,
        )
        for name, upstream in chosen.items()
    ]
    return findings, [facts.pause for facts in stored.values() if facts.pause]


class UpstreamFinding(Finding, frozen=True, kw_only=True):
    """A finding, with what our database knows about the upstream. `task_list` is None if it knows nothing."""

    refused: list[RefusedCallbacks]
    task_list: TaskList | None = msgspec.field(name="list")


class _StoredFacts(msgspec.Struct, frozen=True):
    """What our database knows about an upstream.

    `hook`: its URL and the time of its last callback in epoch ms. `pause`: a sentence about its pause, or "".
    """

    hook: tuple[str, int | None] | None
    refused: list[RefusedCallbacks] = []
    pause: str = ""
    task_list: TaskList | None = None


async def _stored_facts(settings: Settings, names: list[str]) -> dict[str, _StoredFacts]:
    """What our database knows about these upstreams. Does not create a database file that does not exist."""
    if not names or not _has_database(settings):
        secret = settings.secret
        return {name: _StoredFacts((hook_url(settings, secret, name), None)) for name in names if secret}
    database = await open_database(settings)
    try:
        secret = await secret_of(settings, database)

        def read_facts(connection: Connection, name: str) -> _StoredFacts:
            salt = hook_salts.find(connection, [name])[name].present
            refused = refusals.recent(connection, clock.now_ms())
            hook = hook_url(settings, secret, name, salt), health.last_call_ms(connection, name)
            standing = standings.every(connection).get(name)
            pause = _pause_line(standing) if standing is not None and standing.paused else ""
            task_list = task_list_shape(list_facts.find(connection, name))
            return _StoredFacts(hook, refusals.shapes_of(refused, name), pause, task_list)

        return await database.read(lambda connection: {name: read_facts(connection, name) for name in names})
    finally:
        await database.close()


def _pause_line(standing: Standing) -> str:
    since = when(standing.switched_at_ms) if standing.switched_at_ms else None
    text = pause_text(standing.name, since=since, reason=standing.pause_reason)
    return f"nothing is submitted to {standing.name}: {text}"


def _has_database(settings: Settings) -> bool:
    address = parse_url(settings.database_url)
    return not isinstance(address, Path) or address.exists()


def _lines(finding: UpstreamFinding) -> list[str]:
    reached = f"yes, in {finding.took_ms} ms" if finding.reachable else f"no: {finding.why}"
    lines = [f"{finding.name}  {finding.url}", f"  reachable   {reached}"]
    refused = [
        f"  ! {refused.count} callbacks refused ({refused.why}), the last at {refused.last_at}. {refused.what_to_do}"
        for refused in finding.refused
    ]
    if not finding.reachable:
        return [*lines, *refused]
    headers = ", ".join(finding.key_accepted_in)
    lines.append(f"  key         {finding.key}" + (f", in {headers}" if headers else ""))
    if finding.dialect:
        best = finding.fits[0]
        lines.append(f"  dialect     {finding.dialect} ({best.agree} of {best.seen} facts agree)")
    else:
        lines.append(f"  dialect     unknown{': ' + finding.why if finding.why else ''}")
    if finding.notify_hook:
        lines.append(f"  notifyHook  {finding.notify_hook}")
    reach = (
        f"yes: the last callback arrived at {finding.last_callback_at}"
        if finding.last_callback_at
        else "unknown: no callback has arrived yet"
    )
    lines.append(f"  reached from outside  {reach}")
    if finding.task_list:
        lines.append(f"  list        {task_list_text(finding.task_list)}")
    return [*lines, *(f"  ! {advice}" for advice in finding.advice), *refused]
