"""What the values of the configuration may be. What is wrong is told with its place, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx
import msgspec

from dispatcher.spelling import nearest
from hookchain.environment import SettingsError
from midjourney.dialects import Dialect, Upstream
from midjourney.prices import PRICED

Bounds = Mapping[str, tuple[float, float]]
"""The least and the most of each number; a number without bounds may be any."""

_DAY_S = 24 * 3600
_MOST = 1_000_000_000

SERVER: Bounds = {"port": (0, 65535), "body_limit_bytes": (1000, 1024**3)}
BUDGET: Bounds = dict.fromkeys(("depth", "submissions", "per_rule", "per_hour"), (0, _MOST))
RETENTION: Bounds = dict.fromkeys(("progress_days", "chain_days"), (0, 36_500))
_UPSTREAM: Bounds = {
    "concurrency": (1, 10_000),
    "jobs": (0, 10_000),
    "timeout_s": (0.01, _DAY_S),
    "settle_after_s": (0, 30 * _DAY_S),
    "look_after_s": (0, 30 * _DAY_S),
    "quiet_s": (0, 30 * _DAY_S),
}
_SLOWEST = 1 / _DAY_S
"""One request a day: a rate below it is a mistake."""

MOST_A_SECOND = 10_000
"""Requests to one upstream; more is a mistake."""


def check_numbers(where: str, table: msgspec.Struct, bounds: Bounds) -> None:
    """Raise `SettingsError` for a number of the table that is out of its bounds, or none (`nan`)."""
    for key, (least, most) in bounds.items():
        value = getattr(table, key)
        if not least <= value <= most:
            raise SettingsError(f"{where}: {key} is {value}; it may be {least:g} to {most:.10g}")


def check_url(where: str, url: str) -> None:
    """Raise `SettingsError` for what is no address of a server."""
    try:
        parsed = httpx.URL(url)
        is_address = parsed.scheme in ("http", "https") and bool(parsed.host)
    except httpx.InvalidURL as error:
        raise SettingsError(f"{where} {url!r} is no address: {error}") from error
    if not is_address:
        raise SettingsError(f"{where} {url!r} must begin with http:// or https:// and name a server")
    if parsed.query or parsed.fragment:
        raise SettingsError(f"{where} {url!r} has a ? or # in it; paths are appended to it")


def check_header(where: str, value: str) -> None:
    """Raise `SettingsError` for a secret that no header can carry. It is not shown."""
    if not value.isascii() or not value.isprintable():
        raise SettingsError(f"{where} has characters that no header can carry; copy it again")


def check_upstream(name: str, upstream: Upstream, file: str, dialects: Mapping[str, Dialect]) -> Upstream:
    """The upstream with its name. Raises `SettingsError`."""
    where = f"{file}, [upstreams.{name}]" if name != "main" else "upstream main"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise SettingsError(f"{where}: a name has letters, digits, - and _ only")
    check_url(f"{where}: url", upstream.url)
    if upstream.dialect not in dialects:
        raise SettingsError(
            f"{where}: unknown dialect {upstream.dialect!r}.{nearest(upstream.dialect, dialects)}"
        )
    check_header(f"{where}: the key", upstream.key)
    check_numbers(where, upstream, _UPSTREAM)
    if upstream.rate != 0 and not _SLOWEST <= upstream.rate <= MOST_A_SECOND:
        raise SettingsError(
            f"{where}: rate is {upstream.rate}; it is 0 for no limit, or requests a second up to {MOST_A_SECOND}"
        )
    for kind, price in upstream.prices.items():
        if kind not in PRICED:
            raise SettingsError(f"{where}: prices has an unknown kind {kind!r}.{nearest(kind, PRICED)}")
        if not 0 <= price <= _MOST:
            raise SettingsError(f"{where}: the price of {kind} is {price}; it may be 0 or more")
    return msgspec.structs.replace(upstream, name=name)
