"""Create the dashboard's context from the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import urlsplit

from dispatcher.plugins.chain import UpstreamHandle
from hookchain.diagnosis import diagnose
from hookchain.settings.load import SANDBOX, Settings
from hookchain.upstreams import dialects_of
from hooks.api.loaded import GetLoaded
from hooks.dashboard.context import Hook, PageContext
from hooks.dashboard.finding import Finding
from hooks.gateway_view import GatewayView
from hooks.hook_tokens import NotifyTokens
from storage.engine import Database
from storage.reading import health

_HERE = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::")


def page_context(
    settings: Settings,
    database: Database,
    tokens: NotifyTokens,
    places: Mapping[str, UpstreamHandle],
    get_loaded: GetLoaded,
    *,
    has_token: Callable[[], bool],
    gateway: GatewayView,
) -> PageContext:
    """The context that all pages share."""
    return PageContext(
        database=database,
        upstreams=settings.upstreams,
        dialects=dialects_of(settings),
        places=places,
        prices=settings.prices,
        budget=settings.budget,
        budgets=settings.all_budgets,
        zone=settings.timezone,
        hooks=lambda: [_hook(settings, tokens, name) for name in settings.upstreams],
        get_loaded=get_loaded,
        examine=partial(_examine, settings, database, tokens),
        has_token=has_token,
        disk_warning=settings.disk_warning,
        price_warnings=settings.price_warnings,
        gateway=gateway,
    )


def _hook(settings: Settings, tokens: NotifyTokens, name: str) -> Hook:
    return Hook(
        name=name,
        url=settings.upstreams[name].url,
        address=f"{settings.hook_base}/notify/{tokens.registered(name)}",
        is_public=urlsplit(settings.hook_base).hostname not in _HERE,
        is_sandbox=name == SANDBOX,
    )


async def _examine(settings: Settings, database: Database, tokens: NotifyTokens, name: str) -> Finding:
    last_call_ms = await database.read(lambda connection: health.last_call_ms(connection, name))
    address = _hook(settings, tokens, name).address
    return await diagnose(settings, settings.upstreams[name], (address, last_call_ms))
