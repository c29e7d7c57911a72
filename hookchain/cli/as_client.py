"""`hookchain doctor --as-client`: what would break in known clients at an address."""

from __future__ import annotations

import asyncio

from hookchain.as_client.clients import CLIENTS
from hookchain.as_client.replay import Replayed, replay
from hookchain.cli.api import CallFailed
from hookchain.cli.output import say, say_json
from hookchain.printable import printable_in
from hookchain.settings.bounds import check_url


def check_as_client(url: str, key: str, *, submits: bool, as_json: bool) -> None:
    """Send what known clients send, and print what would break in them. Raises `CallFailed` if anything would."""
    check_url("--as-client", url)
    if submits:
        say(
            f"this submits {len(CLIENTS)} imagines at {url}, one for each client, and each is paid for",
            to_errors=as_json,
        )
    results = asyncio.run(replay(url, key, CLIENTS, submits=submits))
    if as_json:
        say_json({"url": url, "clients": results})
    else:
        say("\n".join(line for result in printable_in(results) for line in _lines(result)))
    if broken := [result.client for result in results if result.breaks]:
        raise CallFailed(f"would break at {url}: {', '.join(broken)}")


def _lines(result: Replayed) -> list[str]:
    if not result.breaks:
        return [f"  {result.client:32}  nothing would break (requests: {result.requests})"]
    return [f"! {result.client:32}  {one.request}: {one.problem}" for one in result.breaks]
