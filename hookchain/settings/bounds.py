"""Check the values of the configuration. An error names the place, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import httpx
import msgspec

from dispatcher.rules.spelling import nearest
from hookchain.settings.conversion import SettingsError
from midjourney.addresses import host_and_port
from midjourney.dialects import Dialect, Price, Upstream
from midjourney.number_ranges import range_of, ranges_of, wrong_number
from midjourney.prices import PRICED

LocateKey = Callable[[str], str]
"""Returns where a key was set: its variable, or its file and table."""

_LOWEST_RATE = 1 / (24 * 3600)
"""One request a day, in requests a second. A lower rate is a mistake."""


def check_numbers(place: LocateKey, table: Mapping[str, object], kind: type[msgspec.Struct]) -> None:
    """Raise `SettingsError` for a number outside the bounds that `kind` declares for its field, and for `nan`."""
    if wrong := wrong_number(table, kind):
        key, allowed = wrong
        raise SettingsError(f"{place(key)} is {table[key]}; it must be {allowed}")


def check_upstream_numbers(place: LocateKey, table: Mapping[str, object]) -> None:
    """Raise `SettingsError` for an invalid number in an upstream's table."""
    rate, most = table.get("rate", 0), ranges_of(Upstream)["rate"].most
    if isinstance(rate, int | float) and rate != 0 and not _LOWEST_RATE <= rate <= most:
        raise SettingsError(
            f"{place('rate')} is {rate}; it must be 0 for no limit, or requests per second up to {most:g}"
        )
    check_numbers(place, table, Upstream)
    prices = table.get("prices")
    _check_prices(place("prices"), prices if isinstance(prices, dict) else {})


def check_url(where: str, url: str) -> None:
    """Raise `SettingsError` for an invalid URL, and for a URL with a query or fragment, to which no path can be appended."""
    try:
        parsed = httpx.URL(url)
        is_address = parsed.scheme in ("http", "https") and bool(parsed.host)
    except httpx.InvalidURL as error:
        raise SettingsError(f"{where} is {url!r}, an invalid URL: {error}") from error
    if not is_address:
        raise SettingsError(f"{where} is {url!r}; it must begin with http:// or https:// and name a server")
    if parsed.query or parsed.fragment:
        raise SettingsError(
            f"{where} is {url!r}; remove the part from ? or # on, because hookchain appends paths to the URL"
        )


def check_header(where: str, value: str) -> None:
    """Raise `SettingsError` for a secret that an HTTP header cannot carry. The message does not show the secret."""
    if not value.isascii() or not value.isprintable():
        raise SettingsError(f"{where} contains characters that an HTTP header cannot carry; copy it again")


def check_upstream(
    name: str, upstream: Upstream, place: LocateKey, dialects: Mapping[str, Dialect]
) -> Upstream:
    """The checked upstream, with its name set. Raises `SettingsError`."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise SettingsError(
            f"upstream {name!r}: the name may have up to 64 characters: letters, digits, - and _"
        )
    check_url(place("url"), upstream.url)
    if upstream.dialect not in dialects:
        raise SettingsError(
            f"{place('dialect')} is {upstream.dialect!r}, an unknown dialect.{nearest(upstream.dialect, dialects)}"
        )
    if upstream.sweep_every_s and not dialects[upstream.dialect].has("list"):
        raise SettingsError(
            f"{place('sweep_every_s')} needs a list of all tasks, and dialect {upstream.dialect} has none; remove it"
        )
    check_header(place("key"), upstream.key)
    _check_hosts(place("private_hosts"), upstream.private_hosts)
    return msgspec.structs.replace(upstream, name=name)


def _check_prices(where: str, prices: Mapping[str, object]) -> None:
    for kind, price in prices.items():
        if kind not in PRICED:
            raise SettingsError(f"{where} has an unknown kind {kind!r}.{nearest(kind, PRICED)}")
        if isinstance(price, int | float) and not (allowed := range_of(Price)).has(price):
            raise SettingsError(f"{where}: the price of {kind} is {price}; it must be {allowed}")


def _check_hosts(where: str, hosts: Iterable[str]) -> None:
    for host in hosts:
        try:
            host_and_port(host)
        except ValueError as error:
            raise SettingsError(f"{where}: {error}; write only a host, optionally with a port") from error
