"""Decide from the settings whether others can reach this server. If so, it always has an administrator's token, never a weak one.

A request does not show whether it comes from this machine: a reverse proxy may speak HTTP/1.1, use our own address as the host
and add no header. So hookchain does not guess from requests; only the configuration decides.
"""

from __future__ import annotations

from hookchain.settings.conversion import SettingsError
from hookchain.settings.load import Settings
from hooks.auth import is_loopback, names_this_machine
from hooks.cross_origin import netloc_of
from hooks.session import login_code
from hooks.strength import LEAST_CHARACTERS, is_weak


def needs_token(settings: Settings) -> str:
    """Why this server requires the administrator's token; "" if it can be used without one."""
    return exposed_by(settings) or _spends_by(settings)


def exposed_by(settings: Settings) -> str:
    """Why others may reach this server; "" if no setting says that they can."""
    if settings.platform is not None:
        return f"it runs on {settings.platform.name}"
    if settings.public_url and not names_this_machine(netloc_of(settings.public_url)):
        return f"its public address is {settings.public_url}"
    if settings.host != "localhost" and not is_loopback(settings.host):
        return f"it listens on {settings.host or 'all addresses'}"
    return ""


def check_token(settings: Settings) -> None:
    """Raise `SettingsError` if others can reach this server and the configured token is easy to guess."""
    why = exposed_by(settings)
    if why and settings.admin_token and is_weak(settings.admin_token):
        raise SettingsError(
            f"HOOKCHAIN_ADMIN_TOKEN is easy to guess, and others can reach this server: {why}. A token needs"
            f" {LEAST_CHARACTERS} characters without a pattern: make one with `openssl rand -hex 24`. Or unset it: then"
            " hookchain makes one, and `hookchain token` prints it"
        )


def login_link(settings: Settings, secret: str, token: str) -> str:
    """A link that logs a browser in, once."""
    return f"{settings.hook_base}/login?once={login_code(secret, token)}"


def _spends_by(settings: Settings) -> str:
    """The upstream that a stranger could spend money at; "" if there is none.

    An upstream on another machine calls us through some proxy, configured or not, and requests of a proxy look local.
    """
    for name, upstream in settings.upstreams.items():
        if not names_this_machine(netloc_of(upstream.url)):
            return f"its upstream {name} is on another machine"
    return ""
