"""Examines an upstream without spending money: by reads only, never by a submit.

It fetches a task that cannot exist, under each known prefix, with the key in each known header separately; and it requests each
endpoint by GET, which an existing POST endpoint refuses with 405, and a missing one with 404. The answers are compared with the
facts of every dialect.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Literal

import httpx
import msgspec

from midjourney.bounded import Answer, BadAnswer, Bounds, exchange
from midjourney.decode import decode_answer
from midjourney.dialects import Auth, Dialect
from midjourney.errors import Undecodable
from midjourney.redact import without_secrets
from midjourney.slices import in_slices
from midjourney.tls import trusted

Key = Literal["accepted", "refused", "not asked for", "not set", "unknown"]
Unknown = Literal["empty", "204", "code 4"]

WITHIN_S = 15.0
"""Seconds for one request."""

_BOUNDS = Bounds(sent_bytes=256 * 1024, unpacked_bytes=1024 * 1024, within_s=WITHIN_S)
"""The answer about a task that cannot exist is short, or the page of a website."""

_WAYS: tuple[Auth, ...] = ("mj-api-secret", "bearer", "raw")
_PROBED = ("action", "modal", "change", "shorten", "edit", "video", "swap", "upload", "list", "accounts")
"""Endpoints that distinguish dialects. `cancel` is not among them, because no request may change anything."""


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How well a dialect fits: the number of facts that agree, and of facts that could be checked."""

    dialect: str
    agree: int
    seen: int


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an examination. `took_ms` is the time of the fastest answer; `ways` are the headers in which the key was accepted.

    `dialect` is the one that fits best, "" if none fits; `fits` are all possible ones, the best first. `why` is the reason of a
    failure.
    """

    reachable: bool
    why: str = ""
    took_ms: int | None = None
    key: Key = "unknown"
    ways: tuple[Auth, ...] = ()
    prefix: str = ""
    dialect: str = ""
    fits: tuple[Fit, ...] = ()


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The facts about one prefix: the answer about an unknown task, the accepted headers, the existing and the missing endpoints."""

    prefix: str
    unknown: Unknown
    ways: frozenset[Auth]
    asks_for_key: bool
    there: frozenset[str]
    absent: frozenset[str]


async def examine(url: str, key: str, dialects: Mapping[str, Dialect], *, prefer: str = "") -> Examination:
    """Examine an upstream. `prefer` names the dialect that wins among equals. The upstream's behaviour never raises an error."""
    base = url.rstrip("/")
    prefixes = sorted({dialect.prefix for dialect in dialects.values()}, key=len, reverse=True)
    for prefix in prefixes:
        base = base.removesuffix(prefix) if prefix else base
    async with in_slices(httpx.AsyncClient(timeout=WITHIN_S, trust_env=False, verify=trusted())) as http:
        probe = _Probe(http, base, key)
        try:
            looks = [await probe.prefix(prefix, dialects) for prefix in prefixes]
            seen = [look for look in looks if look is not None]
        except (httpx.HTTPError, httpx.InvalidURL, BadAnswer) as error:
            why = without_secrets(str(error) or type(error).__name__, key)
            return Examination(reachable=False, why=f"{base}: {why}")
    if not seen:
        return Examination(
            reachable=True,
            took_ms=probe.took_ms,
            key="refused" if probe.refused else "unknown",
            why=_why_nothing(base, prefixes, key, refused=probe.refused),
        )
    fits = sorted(
        (fit for look in seen for fit in _fits(look, dialects)),
        key=lambda fit: (-(2 * fit.agree - fit.seen), fit.dialect != prefer),
    )
    best = next((look for look in seen if fits and dialects[fits[0].dialect].prefix == look.prefix), seen[0])
    return Examination(
        reachable=True,
        took_ms=probe.took_ms,
        key=_key(best, key),
        ways=tuple(way for way in _WAYS if way in best.ways) if best.asks_for_key else (),
        prefix=best.prefix,
        dialect=fits[0].dialect if fits and 2 * fits[0].agree > fits[0].seen else "",
        fits=tuple(fits),
    )


class _Probe:
    """Sends the requests."""

    def __init__(self, http: httpx.AsyncClient, base: str, key: str) -> None:
        self._http = http
        self._base = base
        self._key = key
        self._nobody = f"{secrets.randbelow(10**15) + 10**15}"
        self.took_ms: int | None = None
        self.refused = False

    async def prefix(self, prefix: str, dialects: Mapping[str, Dialect]) -> _Seen | None:
        """The facts about a prefix; None if nothing is there, or nothing can be seen."""
        path = f"{prefix}/task/{self._nobody}/fetch"
        plain = await self._get(path, {})
        ways: dict[Auth, Answer] = {}
        if self._key:
            ways = {way: await self._get(path, _header(way, self._key)) for way in _WAYS}
        let_in = {way: answer for way, answer in ways.items() if answer.status not in (401, 403)}
        asks = plain.status in (401, 403)
        self.refused = self.refused or (asks and not let_in)
        answer = next(iter(let_in.values()), None) if asks else plain
        unknown = None if answer is None else _unknown(answer)
        if unknown is None or answer is None:
            return None
        headers = _header(next(iter(let_in)), self._key) if asks else {}
        nonsense = await self._get(f"{prefix}/{self._nobody}/{self._nobody}", headers)
        if (nonsense.status, nonsense.content) == (answer.status, answer.content):
            return None  # it answers every request alike
        paths = {kind: path for dialect in dialects.values() for kind, path in dialect.paths.items()}
        endpoints = {
            kind: await self._is_there(f"{prefix}/{paths[kind]}", headers)
            for kind in _PROBED
            if kind in paths
        }
        return _Seen(
            prefix=prefix,
            unknown=unknown,
            ways=frozenset(let_in),
            asks_for_key=asks,
            there=frozenset(kind for kind, there in endpoints.items() if there is True),
            absent=frozenset(kind for kind, there in endpoints.items() if there is False),
        )

    async def _is_there(self, path: str, headers: Mapping[str, str]) -> bool | None:
        answer = await self._get(path, headers)
        if answer.status == 404:
            return False
        is_json = answer.content.lstrip()[:1] in (b"[", b"{")
        return True if answer.status == 405 or (answer.status == 200 and is_json) else None

    async def _get(self, path: str, headers: Mapping[str, str]) -> Answer:
        began = time.perf_counter()
        request = self._http.build_request(
            "GET", self._base + path, headers={"accept": "application/json, */*", **headers}
        )
        answer = await exchange(partial(self._http.send, stream=True), request, _BOUNDS)
        took_ms = round(1000 * (time.perf_counter() - began))
        self.took_ms = took_ms if self.took_ms is None else min(self.took_ms, took_ms)
        return answer


def _header(way: Auth, key: str) -> dict[str, str]:
    match way:
        case "mj-api-secret":
            return {"mj-api-secret": key}
        case "bearer":
            return {"authorization": f"Bearer {key}"}
        case "raw":
            return {"authorization": key}


def _unknown(answer: Answer) -> Unknown | None:
    """The kind of answer about an unknown task; None if it is not that of a server of this family."""
    body = answer.content.strip()
    if answer.status == 204:
        return "204"
    if answer.status == 200 and not body:
        return "empty"
    try:
        says_4 = decode_answer(body).code == 4
    except Undecodable:
        return None
    return "code 4" if says_4 and answer.status in (200, 400, 404) else None


def _fits(seen: _Seen, dialects: Mapping[str, Dialect]) -> Iterable[Fit]:
    for dialect in dialects.values():
        if dialect.prefix != seen.prefix or (seen.asks_for_key and not seen.ways & frozenset(dialect.auth)):
            continue
        facts = [dialect.unknown_task == seen.unknown]
        if seen.asks_for_key:
            # Counted twice, because vendors differ most in the headers that they accept.
            facts += [frozenset(dialect.accepts or dialect.auth) == seen.ways] * 2
        facts += [dialect.has(kind) for kind in sorted(seen.there)]
        facts += [not dialect.has(kind) for kind in sorted(seen.absent)]
        yield Fit(dialect=dialect.name, agree=sum(facts), seen=len(facts))


def _key(seen: _Seen, key: str) -> Key:
    if not seen.asks_for_key:
        return "not asked for"
    return "accepted" if seen.ways else "refused" if key else "not set"


def _why_nothing(base: str, prefixes: Iterable[str], key: str, *, refused: bool) -> str:
    if refused:
        return "the key is refused in every header" if key else "a key is required, and none is set"
    tried = " nor ".join(f"{base}{prefix}/task/…/fetch" for prefix in prefixes)
    return f"neither {tried} answers like a midjourney-proxy: check the URL"
