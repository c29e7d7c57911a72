"""Check `[clients.NAME]`, `[pools.NAME]` and `[gateway]`. An error names the place, and what to write instead."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from urllib.parse import urlsplit

import httpx
import msgspec

from dispatcher.policy.period_budgets import PeriodBudget
from dispatcher.rules.spelling import nearest
from dispatcher.tickets.clients import Client, Pool
from hookchain.settings.bounds import LocateKey
from hookchain.settings.conversion import SettingsError
from hookchain.settings.gateway import GatewaySettings
from midjourney.addresses import host_and_port

LEAST_CHARACTERS = 8
"""Characters of a client's key in the file. Shorter ones are guessed even at the few tries a minute that strangers have."""

PREFIX = "whsec_"
"""The beginning of every secret of Standard Webhooks 1.0."""

Locate = Callable[..., str]
"""Returns where a key was set, given its path."""


def check_client_name(name: str) -> None:
    """Raise `SettingsError` for a name that cannot be a client's."""
    _check_name("client", name)


def checked_clients(
    clients: Mapping[str, Client], pools: Iterable[str], upstreams: Iterable[str], place: Locate
) -> dict[str, Client]:
    """The clients, with their names set. Raises `SettingsError`."""
    pools, upstreams = [*pools], [*upstreams]
    checked = {
        name: _checked_client(name, client, pools, upstreams, partial(place, "clients", name))
        for name, client in clients.items()
    }
    _check_keys_differ(checked.values(), place)
    return checked


def checked_pools(pools: Mapping[str, Pool], upstreams: Iterable[str], place: Locate) -> dict[str, Pool]:
    """The pools, with their names set. Raises `SettingsError`."""
    upstreams = [*upstreams]
    return {
        name: _checked_pool(name, pool, upstreams, partial(place, "pools", name))
        for name, pool in pools.items()
    }


def check_gateway(gateway: GatewaySettings, place: LocateKey) -> None:
    """Raise `SettingsError` for an invalid origin, and for limits that contradict each other."""
    for origin in gateway.cors_origins:
        if origin != "*" and not _is_origin(origin):
            raise SettingsError(
                f"{place('cors_origins')}: {origin!r} is not an origin; write * for all, or one such as https://app.example.com, "
                "in lower case and without a path"
            )
    if gateway.spool_limit_bytes < gateway.submit_limit_bytes:
        raise SettingsError(
            f"{place('spool_limit_bytes')} is {gateway.spool_limit_bytes}, less than submit_limit_bytes "
            f"({gateway.submit_limit_bytes}), so that the largest submit would never fit; raise the one or lower the other"
        )


def day_budgets(clients: Iterable[Client]) -> list[PeriodBudget]:
    """The budgets that `submissions_per_day` and `spend_per_day` of clients stand for."""
    return [
        PeriodBudget(per="day", client=client.name, submissions=submissions, spend=spend)
        for client in clients
        for submissions, spend in ((client.submissions_per_day, None), (None, client.spend_per_day))
        if submissions is not None or spend is not None
    ]


def _checked_client(
    name: str, client: Client, pools: list[str], upstreams: list[str], place: LocateKey
) -> Client:
    _check_name("client", name)
    if client.key:
        _check_key(place("key"), client.key)
    _check_pool_of(place("pool"), client.pool, pools, upstreams)
    for host in client.hook_hosts:
        _check_hook_host(place("hook_hosts"), host)
    if client.notify_hook:
        _check_hook(place("notify_hook"), client.notify_hook)
    if client.hook_secret:
        _check_secret(place("hook_secret"), client.hook_secret)
    return msgspec.structs.replace(client, name=name)


def _checked_pool(name: str, pool: Pool, upstreams: list[str], place: LocateKey) -> Pool:
    _check_name("pool", name)
    if name in upstreams:
        raise SettingsError(
            f"[pools.{name}] has the name of an upstream, so that a client's pool = {name!r} could mean either; rename one of them"
        )
    if not pool.upstreams:
        raise SettingsError(f'{place("upstreams")} is empty; write upstreams = ["main", …]')
    _check_upstreams(place("upstreams"), pool.upstreams, upstreams)
    for key, named in (("weights", pool.weights), ("modes", pool.modes)):
        for upstream in named:
            if upstream not in pool.upstreams:
                raise SettingsError(
                    f"{place(key)}: {upstream!r} is not one of the pool's upstreams.{nearest(upstream, pool.upstreams)}"
                )
    if pool.order == "weight" and not any(pool.weights.get(upstream, 1) for upstream in pool.upstreams):
        raise SettingsError(f"{place('weights')}: every weight is 0, so no upstream would get work")
    for upstream, modes in pool.modes.items():
        if not modes or not all(map(_is_mode, modes)):
            raise SettingsError(
                f'{place("modes")}: {upstream} has {modes!r}; write words such as ["fast"], or leave {upstream} out to allow all'
            )
    if pool.mode_fallback and not _is_mode(pool.mode_fallback):
        raise SettingsError(
            f"{place('mode_fallback')} is {pool.mode_fallback!r}; write one word, such as relax"
        )
    return msgspec.structs.replace(pool, name=name)


def _check_name(kind: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise SettingsError(
            f"{kind} {name!r}: the name may have up to 64 characters: letters, digits, - and _"
        )


def _check_key(where: str, key: str) -> None:
    """The message does not show the key."""
    if len(key) < LEAST_CHARACTERS:
        raise SettingsError(
            f"{where} has {len(key)} characters; a key needs at least {LEAST_CHARACTERS}: make one with `openssl rand -hex 24`"
        )
    if not re.fullmatch(r"[!-~]+", key):
        raise SettingsError(
            f"{where} contains a blank or a character that an HTTP header cannot carry; copy it again"
        )


def _check_keys_differ(clients: Iterable[Client], place: Locate) -> None:
    owners: dict[str, str] = {}
    for client in clients:
        if client.key and (other := owners.setdefault(client.key, client.name)) != client.name:
            raise SettingsError(
                f"{place('clients', client.name, 'key')} is also the key of {other}; give each client a key of its own"
            )


def _check_pool_of(where: str, pool: str | list[str], pools: list[str], upstreams: list[str]) -> None:
    if isinstance(pool, list):
        _check_upstreams(where, pool, upstreams)
    elif pool and pool not in {*pools, *upstreams}:
        raise SettingsError(
            f"{where} is {pool!r}, which is neither a pool nor an upstream.{nearest(pool, [*pools, *upstreams])}"
        )


def _check_upstreams(where: str, named: list[str], known: list[str]) -> None:
    for name in named:
        if name not in known:
            raise SettingsError(f"{where}: there is no upstream {name!r}.{nearest(name, known)}")
    if len({*named}) < len(named):
        raise SettingsError(f"{where} names an upstream twice; name each once")


def _check_hook_host(where: str, host: str) -> None:
    try:
        if "/" in host:
            ipaddress.ip_network(host)
        else:
            host_and_port(host)
    except ValueError as error:
        raise SettingsError(
            f"{where}: {error}; write a host, a host with a port, or a network such as 10.0.0.0/8"
        ) from error


def _check_hook(where: str, url: str) -> None:
    try:
        parsed = httpx.URL(url)
        is_address = parsed.scheme in ("http", "https") and bool(parsed.host)
        has_user = bool(parsed.userinfo)
    except httpx.InvalidURL:
        is_address = has_user = False
    if has_user:
        raise SettingsError(f"{where} has a user name or a password; write it without, and set hook_secret")
    if not is_address or re.search(r"\s", url):
        raise SettingsError(
            f"{where} is not a URL that can be called; it must begin with http:// or https:// and name a server"
        )


def _check_secret(where: str, secret: str) -> None:
    """The message does not show the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not key:
        raise SettingsError(
            f"{where} must be {PREFIX} followed by base64, as Standard Webhooks requires: write {PREFIX} and the output of "
            "`openssl rand -base64 24`"
        )


def _is_mode(word: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,31}", word))


def _is_origin(text: str) -> bool:
    """True for what browsers send as `Origin`: a scheme, a host and perhaps a port, in lower case."""
    try:
        parts = urlsplit(text)
        return (
            bool(parts.scheme and parts.hostname)
            and parts.port != 0
            and text == f"{parts.scheme}://{parts.netloc}".lower()
            and "@" not in parts.netloc
        )
    except ValueError:
        return False
