"""What can be found out about an upstream without spending money: questions only, never a submit.

It is asked about a task that cannot exist, under each known prefix, with the key in each known header alone; and each
endpoint by GET, which those that take POST refuse with 405, and which is 404 where there is none. What comes back is
held against every dialect's facts.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Literal

import httpx
import msgspec

from midjourney.decode import decode_answer
from midjourney.dialects import Auth, Dialect
from midjourney.errors import Undecodable
from midjourney.redact import without_secrets
from midjourney.tls import trusted

Key = Literal["accepted", "refused", "not asked for", "not set", "unknown"]
Unknown = Literal["empty", "204", "code 4"]

WITHIN_S = 15.0
"""Seconds for one question."""

_WAYS: tuple[Auth, ...] = ("mj-api-secret", "bearer", "raw")
_PROBED = ("action", "modal", "change", "shorten", "edit", "video", "swap", "upload", "list", "accounts")
"""Endpoints that tell dialects apart. `cancel` is not among them: nothing is asked that could change anything."""


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How well a dialect fits: facts that agree, of those that could be seen."""

    dialect: str
    agree: int
    seen: int


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `took_ms` is the quickest answer; `ways` the headers that the key was accepted in.

    `dialect` is the one that fits best, "" where none does; `fits` all that are possible, the best first. `why` says
    what went wrong.
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
    """One prefix: how an unknown task is answered, which headers let in, which endpoints are there and which not."""

    prefix: str
    unknown: Unknown
    ways: frozenset[Auth]
    asks_for_key: bool
    there: frozenset[str]
    absent: frozenset[str]


async def examine(url: str, key: str, dialects: Mapping[str, Dialect], *, prefer: str = "") -> Examination:
    """Look at an upstream. `prefer` names the dialect that wins among equals. Never raises for what the upstream does."""
    base = url.rstrip("/")
    prefixes = sorted({dialect.prefix for dialect in dialects.values()}, key=len, reverse=True)
    for prefix in prefixes:
        base = base.removesuffix(prefix) if prefix else base
    async with httpx.AsyncClient(timeout=WITHIN_S, trust_env=False, verify=trusted()) as http:
        probe = _Probe(http, base, key)
        try:
            seen = [one for prefix in prefixes if (one := await probe.prefix(prefix, dialects)) is not None]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
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
        (fit for one in seen for fit in _fits(one, dialects)),
        key=lambda fit: (-(2 * fit.agree - fit.seen), fit.dialect != prefer),
    )
    best = next((one for one in seen if fits and dialects[fits[0].dialect].prefix == one.prefix), seen[0])
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
    """Asks the questions."""

    def __init__(self, http: httpx.AsyncClient, base: str, key: str) -> None:
        self._http = http
        self._base = base
        self._key = key
        self._nobody = f"{secrets.randbelow(10**15) + 10**15}"
        self.took_ms: int | None = None
        self.refused = False

    async def prefix(self, prefix: str, dialects: Mapping[str, Dialect]) -> _Seen | None:
        """What is under a prefix; None when nothing is, or nothing can be seen."""
        path = f"{prefix}/task/{self._nobody}/fetch"
        plain = await self._get(path, {})
        ways: dict[Auth, httpx.Response] = {}
        if self._key:
            ways = {way: await self._get(path, _header(way, self._key)) for way in _WAYS}
        let_in = {way: answer for way, answer in ways.items() if answer.status_code not in (401, 403)}
        asks = plain.status_code in (401, 403)
        self.refused = self.refused or (asks and not let_in)
        answer = next(iter(let_in.values()), None) if asks else plain
        unknown = None if answer is None else _unknown(answer)
        if unknown is None or answer is None:
            return None
        headers = _header(next(iter(let_in)), self._key) if asks else {}
        nonsense = await self._get(f"{prefix}/{self._nobody}/{self._nobody}", headers)
        if (nonsense.status_code, nonsense.content) == (answer.status_code, answer.content):
            return None  # it says the same to everything
        paths = {kind: path for dialect in dialects.values() for kind, path in dialect.paths.items()}
        found = {
            kind: await self._is_there(f"{prefix}/{paths[kind]}", headers)
            for kind in _PROBED
            if kind in paths
        }
        return _Seen(
            prefix=prefix,
            unknown=unknown,
            ways=frozenset(let_in),
            asks_for_key=asks,
            there=frozenset(kind for kind, there in found.items() if there is True),
            absent=frozenset(kind for kind, there in found.items() if there is False),
        )

    async def _is_there(self, path: str, headers: Mapping[str, str]) -> bool | None:
        answer = await self._get(path, headers)
        if answer.status_code == 404:
            return False
        is_json = answer.content.lstrip()[:1] in (b"[", b"{")
        return True if answer.status_code == 405 or (answer.status_code == 200 and is_json) else None

    async def _get(self, path: str, headers: Mapping[str, str]) -> httpx.Response:
        began = time.perf_counter()
        answer = await self._http.get(
            self._base + path, headers={"accept": "application/json, */*", **headers}
        )
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


def _unknown(answer: httpx.Response) -> Unknown | None:
    """How an unknown task is answered; None for what is no server of the family at this path."""
    body = answer.content.strip()
    if answer.status_code == 204:
        return "204"
    if answer.status_code == 200 and not body:
        return "empty"
    try:
        says_4 = decode_answer(body).code == 4
    except Undecodable:
        return None
    return "code 4" if says_4 and answer.status_code in (200, 400, 404) else None


def _fits(seen: _Seen, dialects: Mapping[str, Dialect]) -> Iterable[Fit]:
    for dialect in dialects.values():
        if dialect.prefix != seen.prefix or (seen.asks_for_key and not seen.ways & frozenset(dialect.auth)):
            continue
        facts = [dialect.unknown_task == seen.unknown]
        if seen.asks_for_key:
            # Twice: which headers are taken is what vendors differ in most.
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
        return "the key is refused in every header" if key else "a key is asked for, and none is set"
    tried = " nor ".join(f"{base}{prefix}/task/…/fetch" for prefix in prefixes)
    return f"neither {tried} answers as a midjourney-proxy does: is the address right?"
