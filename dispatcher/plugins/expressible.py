"""Checks that an upstream can be asked for a request at all, before it is staged. Pure."""

from __future__ import annotations

from dispatcher.plugins.errors import GiveUp
from dispatcher.plugins.upstream_handle import UpstreamHandle
from midjourney.errors import InvalidRequest
from midjourney.links import Near, check_images
from midjourney.modes import check_mode
from midjourney.requests import Request
from midjourney.wire import check


def check_expressible(request: Request, mode: str, handle: UpstreamHandle, near: Near) -> None:
    """Raises `GiveUp` for what the upstream's dialect cannot express, for a speed mode that it lacks, and for a private link that is not
    `near`."""
    try:
        check(request, handle.dialect)
        check_images(request, near)
        check_mode(mode, handle.dialect)
    except InvalidRequest as error:
        raise GiveUp(str(error)) from error
