"""What can be found out about an upstream without spending money, for `hookchain doctor` and the set-up page."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from hookchain.environment import variable_of
from hookchain.settings import Settings
from hooks.api.shapes import when
from midjourney.dialects import Upstream
from midjourney.examine import Examination, examine

_HEADER = {
    "mj-api-secret": "mj-api-secret",
    "bearer": "Authorization: Bearer",
    "raw": "Authorization, bare",
}
_HERE = ("127.0.0.1", "localhost", "::1")


async def finding(
    settings: Settings, upstream: Upstream, hook: tuple[str, int | None] | None
) -> dict[str, Any]:
    """What asking an upstream has shown. `hook` is its notifyHook, and when the last callback came by it (epoch ms)."""
    found = await examine(upstream.url, upstream.key, settings.dialects, prefer=upstream.dialect)
    address, last_ms = hook or ("", None)
    configured = upstream.dialect if upstream.name in settings.upstreams else None
    fits = next((fit for fit in found.fits if fit.dialect == (configured or found.dialect)), None)
    best = found.fits[0] if found.fits else None
    right = configured is None or configured == found.dialect or (fits is not None and fits == best)
    return {
        "name": upstream.name,
        "url": upstream.url,
        "healthy": found.reachable
        and found.key in ("accepted", "not asked for")
        and bool(found.dialect)
        and right,
        "reachable": found.reachable,
        "took_ms": found.took_ms,
        "why": found.why,
        "key": found.key,
        "key_accepted_in": [_HEADER[way] for way in found.ways],
        "prefix": found.prefix,
        "dialect": found.dialect,
        "configured_dialect": configured,
        "fits": [{"dialect": fit.dialect, "agree": fit.agree, "seen": fit.seen} for fit in found.fits],
        "notify_hook": address,
        "notify_hook_reached": "yes" if last_ms is not None else "unknown",
        "last_callback_at": when(last_ms),
        "advice": _advice(settings, upstream, found, configured, address),
    }


def _advice(
    settings: Settings, upstream: Upstream, found: Examination, configured: str | None, address: str
) -> list[str]:
    advice = []
    if configured is not None and found.dialect and configured != found.dialect:
        advice.append(
            f'set dialect = "{found.dialect}" ({variable_of(("upstreams", upstream.name, "dialect"))}); '
            f"configured is {configured}"
        )
    if found.dialect and not settings.dialects[found.dialect].calls_back:
        advice.append(
            "this kind of server drops notifyHook unless its operator allows it: tasks are asked about instead"
        )
    ours, theirs = urlsplit(address).hostname, urlsplit(upstream.url).hostname
    if address and ours in _HERE and theirs not in _HERE:
        advice.append(f"an upstream elsewhere cannot reach {ours}: set HOOKCHAIN_PUBLIC_URL")
    return advice
