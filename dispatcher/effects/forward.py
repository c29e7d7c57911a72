"""An event told to another system: a webhook, signed as Standard Webhooks (standardwebhooks.com, specification 1.0)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from dispatcher.chain import Chain
from dispatcher.errors import GiveUp, Retry
from dispatcher.how import LONGEST_DELAY_S
from midjourney.bodies import parsed
from midjourney.redact import redacted
from midjourney.tls import trusted
from midjourney.types import Task
from storage.records import Event

TIMEOUT_S = 20.0
PREFIX = "whsec_"
NOT_NOW = (429, 502, 503, 504)


async def forward(
    task: Task, *, event: Event, chain: Chain, url: str, secret: str = "", timeout_s: float = TIMEOUT_S
) -> None:
    """POST the event to `url`: {"type", "timestamp", "data": {"task", "chain", "event"}}; hooks of ours are redacted.

    Its `webhook-id` is the same at every try, so that the other side can tell a repetition. Redirects are not followed.
    Raises `GiveUp` when it is gone (410) or the secret is none, `Retry` when it says when (Retry-After) or cannot be
    reached, and for any other answer than 2xx.
    """
    body = msgspec.json.encode(message(task, event, chain))
    headers = {"content-type": "application/json", "user-agent": "hookchain"}
    headers |= signed(body, event_id=f"{event.id}-{_short(url)}", secret=secret, now_s=int(time.time()))
    try:
        async with httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, verify=trusted()) as http:
            answer = await http.post(url, content=body, headers=headers)
    except httpx.HTTPError as error:
        raise Retry(f"{_host(url)} cannot be reached: {str(error) or type(error).__name__}") from error
    if answer.is_success:
        return
    if answer.status_code == 410:
        raise GiveUp(f"{_host(url)} answered 410: it wants no more of this")
    after = answer.headers.get("retry-after", "")
    is_told = after.isascii() and after.isdigit() and answer.status_code in NOT_NOW
    wait_s = min(float(after), LONGEST_DELAY_S) if is_told else None
    raise Retry(f"{_host(url)} answered HTTP {answer.status_code}", after_s=wait_s)


def message(task: Task, event: Event, chain: Chain) -> dict[str, Any]:
    """What is told."""
    at = datetime.fromtimestamp(event.received_at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    shown = {
        "id": task.id,
        "status": task.status,
        "action": task.action,
        "prompt": task.prompt,
        "image_url": task.image_url,
        "fail_reason": task.fail_reason,
        "payload": redacted(parsed(task.raw)) if task.raw else None,
    }
    return {
        "type": event.signal,
        "timestamp": at.replace("+00:00", "Z"),
        "data": {
            "task": shown,
            "chain": {"id": chain.id, "upstream": chain.upstream, "depth": chain.depth},
            "event": {"id": event.id, "source": event.source, "detail": event.detail},
        },
    }


def signed(body: bytes, *, event_id: str, secret: str, now_s: int) -> dict[str, str]:
    """The headers of a message; without a secret it is not signed. Raises `GiveUp` for a secret that is none."""
    headers = {"webhook-id": f"msg_{event_id}", "webhook-timestamp": str(now_s)}
    if secret:
        text = f"{headers['webhook-id']}.{now_s}.".encode() + body
        digest = hmac.new(key_of_secret(secret), text, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def key_of_secret(secret: str) -> bytes:
    """The bytes of "whsec_…". Raises `GiveUp` for anything else."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not key:
        raise GiveUp("the secret of a webhook is written whsec_ and then base64, as Standard Webhooks says")
    return key


def _short(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def _host(url: str) -> str:
    """Where, without path and query, which may hold a token."""
    return httpx.URL(url).host
