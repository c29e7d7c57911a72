"""The address of a client's own notifyHook: which ones are accepted. Pure: names are resolved when a message is sent."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from dispatcher.tickets.clients import Client
from midjourney.addresses import host_of, is_named, is_private, port_of

LONGEST = 2000


class BadHook(Exception):
    """A notifyHook that is refused; the message says why."""


def checked_hook(written: object, client: Client, own_address: str, upstreams: Iterable[str]) -> str:
    """The hook of an order: its own, or the client's default; "" for none. Raises `BadHook`.

    `upstreams` are the addresses of all accounts: a message has a prompt, so an account would take each one for an order, and
    charge it.
    """
    if written is not None and not isinstance(written, str):
        raise BadHook("notifyHook: write an address as text")
    hook = (written or "").strip() or client.notify_hook
    if not hook:
        return ""
    if len(hook) > LONGEST or any(character <= " " for character in hook):
        raise BadHook(f"notifyHook: at most {LONGEST} characters, without blanks")
    try:
        parts = urlsplit(hook)
        readable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        readable = False
    if not readable or not host_of(hook):
        raise BadHook("notifyHook: write an address that begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise BadHook(
            "notifyHook: write it without a user name and a password. A client's hook_secret signs its messages instead"
        )
    if _is_same_place(hook, own_address):
        raise BadHook("notifyHook: this is the gateway's own address, so it would call itself for ever")
    if any(_is_same_place(hook, upstream) for upstream in upstreams):
        raise BadHook(
            "notifyHook: this is the address of an account, which would take each message for an order"
        )
    if is_private(hook) and not may_be_called(hook, client.hook_hosts):
        raise BadHook(
            f"notifyHook: {host_of(hook)} is not a public address. Ask the operator of hookchain to add it to hook_hosts in [clients.{client.name}]"
        )
    return hook


_DEFAULT_PORTS = {80, 443}
"""Routers serve a host on both."""


def _is_same_place(hook: str, address: str) -> bool:
    """True if both lead to the same host and port, over TLS or not."""
    if not address or host_of(hook) != host_of(address):
        return False
    ports = {port_of(urlsplit(hook)), port_of(urlsplit(address))}
    return len(ports) == 1 or ports == _DEFAULT_PORTS


def may_be_called(hook: str, hook_hosts: list[str]) -> bool:
    """True if an address that is not public is allowed: by its host, by host and port, or by its network."""
    networks = [host for host in hook_hosts if "/" in host]
    if is_named(hook, [host for host in hook_hosts if host not in networks]):
        return True
    try:
        address = ipaddress.ip_address(host_of(hook))
        return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
    except ValueError:
        return False
