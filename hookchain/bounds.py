"""What the values of the configuration may be. A mistake is reported with its place, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import httpx
import msgspec

from dispatcher.spelling import nearest
from hookchain.conversion import SettingsError
from midjourney.dialects import Dialect, Upstream
from midjourney.prices import PRICED

Bounds = Mapping[str, tuple[float, float]]
"""The least and the most of each number; a number without bounds may be any."""

Place = Callable[[str], str]
"""Where a key was set: its variable, or its file and table."""

_DAY_S = 24 * 3600
_MOST = 1_000_000_000

SERVER: Bounds = {
    "port": (0, 65535),
    "keep_alive_s": (1, _DAY_S),
    "body_limit_bytes": (1000, 1024**3),
}
BUDGET: Bounds = dict.fromkeys(("depth", "submissions", "per_rule", "per_hour"), (0, _MOST))
RETENTION: Bounds = dict.fromkeys(("progress_days", "chain_days"), (0, 36_500))
UPSTREAM: Bounds = {
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


def check_numbers(place: Place, table: msgspec.Struct, bounds: Bounds) -> None:
    """Raise `SettingsError` for a number of the table that is out of its bounds, or not a number (`nan`)."""
    for key, (least, most) in bounds.items():
        value = getattr(table, key)
        if not least <= value <= most:
            raise SettingsError(f"{place(key)} is {value}; it must be between {least:g} and {most:.10g}")


def check_url(where: str, url: str) -> None:
    """Raise `SettingsError` for an invalid URL, and for one to which no path can be appended."""
    try:
        parsed = httpx.URL(url)
        is_address = parsed.scheme in ("http", "https") and bool(parsed.host)
    except httpx.InvalidURL as error:
        raise SettingsError(f"{where} is {url!r}, an invalid URL: {error}") from error
    if not is_address:
        raise SettingsError(f"{where} is {url!r}; it must begin with http:// or https:// and name a server")
    if parsed.query or parsed.fragment:
        raise SettingsError(f"{where} is {url!r}; remove what follows ? or #, since paths are appended to it")


def check_header(where: str, value: str) -> None:
    """Raise `SettingsError` for a secret that no header can carry. It is not shown."""
    if not value.isascii() or not value.isprintable():
        raise SettingsError(f"{where} has characters that an HTTP header cannot carry; copy it again")


def check_upstream(name: str, upstream: Upstream, place: Place, dialects: Mapping[str, Dialect]) -> Upstream:
    """The upstream with its name. Raises `SettingsError`."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise SettingsError(f"upstream {name!r}: a name is made of up to 64 letters, digits, - and _")
    check_url(place("url"), upstream.url)
    if upstream.dialect not in dialects:
        raise SettingsError(
            f"{place('dialect')} is {upstream.dialect!r}, an unknown dialect.{nearest(upstream.dialect, dialects)}"
        )
    check_header(place("key"), upstream.key)
    check_numbers(place, upstream, UPSTREAM)
    if upstream.rate != 0 and not _SLOWEST <= upstream.rate <= MOST_A_SECOND:
        raise SettingsError(
            f"{place('rate')} is {upstream.rate}; it must be 0 for no limit, or requests a second up to {MOST_A_SECOND}"
        )
    _check_prices(place("prices"), upstream.prices)
    return msgspec.structs.replace(upstream, name=name)


def _check_prices(where: str, prices: Mapping[str, float]) -> None:
    for kind, price in prices.items():
        if kind not in PRICED:
            raise SettingsError(f"{where} has an unknown kind {kind!r}.{nearest(kind, PRICED)}")
        if not 0 <= price <= _MOST:
            raise SettingsError(f"{where}: the price of {kind} is {price}; it must be between 0 and {_MOST}")
