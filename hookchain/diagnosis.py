"""Examine an upstream without spending money, for `hookchain doctor` and the set-up page."""

from __future__ import annotations

from urllib.parse import urlsplit

from hookchain.settings.environment import variable_of
from hookchain.settings.load import Settings
from hooks.dashboard.finding import Finding, Fit
from hooks.times import when
from midjourney.dialects import Upstream
from midjourney.examine import Examination, examine

_HEADER = {
    "mj-api-secret": "mj-api-secret",
    "bearer": "Authorization: Bearer",
    "raw": "Authorization, bare",
}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def diagnose(settings: Settings, upstream: Upstream, hook: tuple[str, int | None] | None) -> Finding:
    """Examine an upstream. `hook` is its notifyHook URL and the time of the last callback to it (epoch ms)."""
    examination = await examine(upstream.url, upstream.key, settings.dialects, prefer=upstream.dialect)
    address, last_ms = hook or ("", None)
    configured = upstream.dialect if upstream.name in settings.upstreams else None
    wanted = configured or examination.dialect
    fits = next((fit for fit in examination.fits if fit.dialect == wanted), None)
    best = examination.fits[0] if examination.fits else None
    is_right = configured is None or configured == examination.dialect or (fits is not None and fits == best)
    return Finding(
        name=upstream.name,
        url=upstream.url,
        healthy=examination.reachable
        and examination.key in ("accepted", "not asked for")
        and bool(examination.dialect)
        and is_right,
        reachable=examination.reachable,
        took_ms=examination.took_ms,
        why=examination.why,
        key=examination.key,
        key_accepted_in=[_HEADER[way] for way in examination.ways],
        prefix=examination.prefix,
        dialect=examination.dialect,
        configured_dialect=configured,
        fits=[Fit(dialect=fit.dialect, agree=fit.agree, seen=fit.seen) for fit in examination.fits],
        notify_hook=address,
        notify_hook_reached="yes" if last_ms is not None else "unknown",
        last_callback_at=when(last_ms),
        advice=_advice(settings, upstream, examination, configured, address),
    )


def _advice(
    settings: Settings, upstream: Upstream, examination: Examination, configured: str | None, address: str
) -> list[str]:
    advice = []
    if configured is not None and examination.dialect and configured != examination.dialect:
        advice.append(
            f'set dialect = "{examination.dialect}" ({variable_of(("upstreams", upstream.name, "dialect"))}); '
            f"the configured dialect is {configured}"
        )
    if examination.dialect and not settings.dialects[examination.dialect].calls_back:
        advice.append(
            "this kind of server drops notifyHook unless its operator allows it: hookchain polls its tasks instead"
        )
    ours, theirs = urlsplit(address).hostname, urlsplit(upstream.url).hostname
    if address and ours in _LOOPBACK and theirs not in _LOOPBACK:
        advice.append(f"an upstream on another machine cannot reach {ours}: set HOOKCHAIN_PUBLIC_URL")
    return advice
