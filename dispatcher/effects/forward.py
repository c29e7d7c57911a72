"""Forwards an event to another system by a webhook, signed as Standard Webhooks (standardwebhooks.com, specification 1.0)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import httpx
import msgspec
from standardwebhooks import Webhook

from dispatcher.effects.headers import encoded
from dispatcher.effects.rehearsal import present
from dispatcher.plugins.chain import Chain
from dispatcher.plugins.errors import GiveUp, Retry
from dispatcher.plugins.submit_options import LONGEST_DELAY_S
from midjourney.bounded import BadAnswer, Bounds, exchange
from midjourney.redact import redacted
from midjourney.slices import in_slices
from midjourney.tls import trusted
from midjourney.types import Task
from midjourney.wrapping import unwrapped
from storage import clock
from storage.records import JOINS, STRUCK, Event, origin_of

TIMEOUT_S = 20.0
PREFIX = "whsec_"
_JSON = {"content-type": "application/json", "user-agent": "hookchain"}
RETRY_STATUSES = (429, 502, 503, 504)


async def forward(
    task: Task,
    *,
    event: Event,
    chain: Chain,
    url: str,
    secret: str = "",
    timeout_s: float = TIMEOUT_S,
    body: Literal["event", "task"] | bytes = "event",
    label: str = "",
    headers: Mapping[str, str] | None = None,
    method: Literal["POST", "PUT"] = "POST",
    content_type: str = "application/json",
    by: str = "",
) -> None:
    """POST the event to `url`: {"type", "timestamp", "data": {"task", "chain", "event"}}; our hooks are redacted. The chain of a join has
    its `tasks` and `children`; the event of a rule that runs by the clock has the rule's name as `action`, and its time as `status`.

    With `body` "task", POST the task as a client of the upstream would get it: see `task_body`; `label` is the pressed button's. Bytes
    are sent as they are, as `content_type`; `by` distinguishes several messages about one event to one URL.

    The `webhook-id` is the same for every try and for replays, so that the other side can recognise repetitions. Redirects are not
    followed. Raises `GiveUp` if the other side answers 410, or if the secret or a header is invalid. Raises `Retry` if it cannot be
    reached or does not answer 2xx, with the delay of its Retry-After header if there is one.
    """
    if isinstance(body, bytes):
        content = body
    else:
        content = msgspec.json.encode(
            task_body(task, chain, label) if body == "task" else message(task, event, chain)
        )
    given = encoded(headers or {})
    sent = {"content-type": content_type, "user-agent": "hookchain"} | given
    await post_signed(
        url,
        content,
        message_id=f"{origin_of(event)}-{_short(url + by)}",
        headers=sent,
        secret=secret,
        timeout_s=timeout_s,
        method=method,
    )


def check_url(url: str) -> None:
    """Raise `GiveUp` if nothing can be sent to this address."""
    if not url.startswith(("http://", "https://")):
        raise GiveUp(f"{url[:200]!r} is not an http:// or https:// URL")
    try:
        read = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise GiveUp(f"{url[:200]!r} is not a URL: {error}") from error
    if not read.host or (read.port or 0) > 65_535:
        raise GiveUp(f"{url[:200]!r} names no {'port that exists' if read.host else 'server'}")


async def post_signed(
    url: str,
    content: bytes,
    *,
    message_id: str,
    headers: Mapping[str, str] = _JSON,
    secret: str = "",
    timeout_s: float = TIMEOUT_S,
    method: str = "POST",
) -> None:
    """Send a message; `message_id` is the same for every try. Raises `GiveUp` and `Retry` as `forward` does."""
    marks = signed(content, event_id=message_id, secret=secret, now_s=clock.now_ms() // 1000)
    sent = {**headers, **marks}
    if (rehearsal := present()) is not None:
        rehearsal.forwarded(method, url, content, sent)
        return
    raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in sent.items()]
    try:
        async with in_slices(
            httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, verify=trusted())
        ) as http:
            request = http.build_request(method, url, content=content, headers=raw)
            answer = await exchange(
                partial(http.send, stream=True), request, _bounds(timeout_s), reads=lambda _status: False
            )
    except (httpx.HTTPError, BadAnswer) as error:
        raise Retry(f"{_host(url)} cannot be reached: {str(error) or type(error).__name__}") from error
    if 200 <= answer.status < 300:
        return
    if answer.status == 410:
        raise GiveUp(f"{_host(url)} answered HTTP 410 (gone): it accepts no more events")
    after = answer.headers.get("retry-after", "")
    has_delay = after.isascii() and after.isdigit() and answer.status in RETRY_STATUSES
    wait_s = min(float(after), LONGEST_DELAY_S) if has_delay else None
    raise Retry(f"{_host(url)} answered HTTP {answer.status}", after_s=wait_s)


def _bounds(timeout_s: float) -> Bounds:
    """Only the status of the answer matters: its body is not read."""
    return Bounds(sent_bytes=0, unpacked_bytes=0, within_s=timeout_s)


def message(task: Task, event: Event, chain: Chain) -> dict[str, object]:
    """The body of the webhook."""
    at = datetime.fromtimestamp(event.received_at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    shown = {
        "id": task.id,
        "status": task.status,
        "action": task.action,
        "prompt": task.prompt,
        "image_url": task.image_url,
        "fail_reason": task.fail_reason,
        "payload": redacted(unwrapped(task.raw)) if task.raw else None,
        "failure_kind": task.failure_kind or None,
    }
    return {
        "type": event.signal,
        "timestamp": at.replace("+00:00", "Z"),
        "data": {
            "task": shown,
            "chain": {"id": chain.id, "upstream": chain.upstream, "depth": chain.depth}
            | _tasks(event, chain),
            "event": {
                "id": event.id,
                "source": event.source,
                "provenance": event.provenance,
                "detail": event.detail,
            }
            | _occurrence(event),
        },
    }


def _occurrence(event: Event) -> dict[str, object]:
    """The rule that runs by the clock, and its time: without a task, nothing else tells them."""
    return {"action": event.action, "status": event.status} if event.signal == STRUCK else {}


def _tasks(event: Event, chain: Chain) -> dict[str, object]:
    """What became of the chain, if the event is a join."""
    return {"tasks": chain.tasks, "children": chain.children} if event.signal in JOINS else {}


def task_body(task: Task, chain: Chain, label: str) -> dict[str, object]:
    """The task in the upstream's own words, with the `state` that its submitter set (our mark is not in it), and with `parent_id`
    (the task that was pressed), `root_id` (the first task of the chain) and `label` (the button, "" for a root)."""
    payload = redacted(unwrapped(task.raw)) if task.raw else {}
    known: dict[str, object] = {
        "id": task.id,
        "action": task.action,
        "status": task.status,
        "prompt": task.prompt,
        "imageUrl": task.image_url or None,
        "failReason": task.fail_reason or None,
    }
    fields: dict[str, object] = payload if isinstance(payload, dict) else {}
    relations: dict[str, object] = {
        "id": task.id,
        "state": task.state,
        "parent_id": task.pressed_on,
        "root_id": chain.root_id or task.id,
        "label": label,
    }
    return known | fields | relations


def signed(body: bytes, *, event_id: str, secret: str, now_s: int) -> dict[str, str]:
    """The headers of a message, which is signed only with a secret. Raises `GiveUp` for an invalid secret."""
    headers = {"webhook-id": f"msg_{event_id}", "webhook-timestamp": str(now_s)}
    if secret:
        at = datetime.fromtimestamp(now_s, UTC)
        headers["webhook-signature"] = webhook_of(secret).sign(headers["webhook-id"], at, body.decode())
    return headers


def webhook_of(secret: str) -> Webhook:
    """The signer for a secret "whsec_…". Raises `GiveUp` for any other: the library would skip characters that are not base64,
    and sign with a different key."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not key:
        raise GiveUp(
            "the secret of a webhook must be whsec_ followed by base64, as Standard Webhooks requires"
        )
    return Webhook(key)


def _short(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def _host(url: str) -> str:
    """The host alone: path and query may contain a token."""
    return httpx.URL(url).host
