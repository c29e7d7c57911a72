"""The tokens in the paths of hooks: how each is derived, and which hook it opens.

There are two kinds. The *registered* hook, `/notify/TOKEN`, is for all tasks of an upstream; its token is derived from the
secret, the upstream and a salt that a rotation changes (storage/upstreams/hook_salts.py). A *submission's* hook,
`/notify/TOKEN/SUBMISSION`, is sent along with one request and opens itself only. Its token is derived from the secret, the
upstream and the submission, so neither a payload's `state`, which is the submission's id, nor another hook reveals it.

hookchain 0.1.0 used one token for both kinds: the registered token with the salt "". It opens both until it is retired.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache

import msgspec

from storage.records.refusals import Why
from storage.upstreams.hook_salts import HookSalts

SaltsOf = Callable[[], Awaitable[Mapping[str, HookSalts]]]
"""Reads the salts of all upstreams from the database. Raises `NotDurable`."""

READ_EVERY_S = 1.0
"""How long a hook that another process retired may still be valid here."""

READ_AGAIN_S = 0.1
"""Least time between two reads that unknown tokens cause: strangers must not keep the database busy."""

MOST_WAITING = 64
"""Requests with an unknown token that wait for such a read. Further ones are matched against the tokens read last."""


def registered_token(secret: str, upstream: str, salt: str = "") -> str:
    """Return the token of an upstream's registered hook."""
    return _token(
        _keyed_hash(secret, "\0".join(("registered", upstream, salt)) if salt else f"notify:{upstream}")
    )


def submission_token(secret: str, upstream: str, submission_id: str) -> str:
    """Return the token of one submission's hook."""
    return _token(_submission_hash(secret, upstream), submission_id)


def is_own_hook(secret: str, upstream: str, token: str, submission_id: str) -> bool:
    """True if our secret made this token: it is the submission's own, or the one that 0.1.0 used for all of an upstream."""
    own = submission_token(secret, upstream, submission_id), registered_token(secret, upstream)
    return _is_one_of(token.encode(), [candidate.encode() for candidate in own])


def is_made_for(secret: str, upstream: str, token: str, submission_id: str) -> bool:
    """True if this token was made for this submission alone: who knows the registered hook cannot make it."""
    return hmac.compare_digest(submission_token(secret, upstream, submission_id).encode(), token.encode())


def _keyed_hash(secret: str, name: str) -> hmac.HMAC:
    return hmac.new(secret.encode(), name.encode(), "sha256")


@lru_cache
def _submission_hash(secret: str, upstream: str) -> hmac.HMAC:
    """Hash the part that all submissions of an upstream share, which is most of the work."""
    return _keyed_hash(secret, f"submission\0{upstream}\0")


def _token(partial_hash: hmac.HMAC, rest: str = "") -> str:
    """Return 24 characters (144 bits) that nobody can guess without the secret."""
    whole = partial_hash.copy()
    whole.update(rest.encode())
    return base64.urlsafe_b64encode(whole.digest()[:18]).decode()


class HookMatch(msgspec.Struct, frozen=True):
    """The hook that a token opens: that of `upstream`, unless `why` gives a reason for a refusal. A retired hook has both."""

    upstream: str = ""
    why: Why | None = None


UNKNOWN = HookMatch(why="unknown_hook")


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of one upstream that do not depend on a submission. Those named `…_for_submissions` open submissions' paths as well."""

    partial_hash: hmac.HMAC
    registered: tuple[bytes, ...]
    retired: tuple[bytes, ...]
    registered_for_submissions: tuple[bytes, ...]
    retired_for_submissions: tuple[bytes, ...]


class NotifyTokens:
    """Matches tokens with the hooks of these upstreams. `salts_of` reads rotations; without it there are none."""

    def __init__(self, secret: str, upstreams: Iterable[str], salts_of: SaltsOf | None = None) -> None:
        self._secret = secret
        self._salts_of = salts_of
        self._read_at_s = 0.0
        self._next_read: asyncio.Task[None] | None = None
        self._waiting = 0
        self._learn({name: HookSalts() for name in upstreams})

    def registered(self, upstream: str) -> str:
        """Return the token of the hook to register."""
        return registered_token(self._secret, upstream, self.salts[upstream].present)

    def is_own(self, upstream: str, token: str, submission_id: str) -> bool:
        """True if this token was made for this submission alone; only our secret can have made it."""
        own = _token(self._known[upstream].partial_hash, submission_id) if submission_id else ""
        return hmac.compare_digest(own.encode(), token.encode())

    def match(self, token: str, submission_id: str) -> HookMatch:
        """Match a token against the salts read last. Takes equally long for every token."""
        given, found = token.encode(), UNKNOWN
        for name, known in self._known.items():
            if submission_id:
                own = _token(known.partial_hash, submission_id).encode()
                opening, retired = (own, *known.registered_for_submissions), known.retired_for_submissions
            else:
                opening, retired = known.registered, known.retired
            if _is_one_of(given, retired):
                found = HookMatch(name, "retired_hook")
            if _is_one_of(given, opening):
                found = HookMatch(name)
        return found

    async def match_fresh(self, token: str, submission_id: str) -> HookMatch:
        """Match a token; read the database first if it is unknown, since a rotation a moment ago may have made it.

        Raises `NotDurable`.
        """
        hook = self.match(token, submission_id)
        if hook.why != "unknown_hook" or self._waiting >= MOST_WAITING:
            return hook
        self._waiting += 1
        try:
            if self._next_read is None:
                self._next_read = asyncio.create_task(self._read_soon())
            await asyncio.shield(self._next_read)
        finally:
            self._waiting -= 1
        return self.match(token, submission_id)

    async def read(self) -> None:
        """Read from the database which hooks are valid. Raises `NotDurable`; the salts read before stay in use then."""
        if self._salts_of is None:
            return
        self._read_at_s = asyncio.get_running_loop().time()
        salts = dict(await self._salts_of())
        if salts != self.salts:
            self._learn(salts)

    async def _read_soon(self) -> None:
        """Read once for all waiting requests; those that arrive after the read has begun wait for the next one."""
        await asyncio.sleep(self._read_at_s + READ_AGAIN_S - asyncio.get_running_loop().time())
        self._next_read = None
        await self.read()

    def _learn(self, salts: dict[str, HookSalts]) -> None:
        self.salts = salts
        self._known = {name: self._tokens_of(name, upstream_salts) for name, upstream_salts in salts.items()}

    def _tokens_of(self, upstream: str, salts: HookSalts) -> _Known:
        def tokens(of: Iterable[str]) -> tuple[bytes, ...]:
            return tuple(registered_token(self._secret, upstream, salt).encode() for salt in of)

        return _Known(
            partial_hash=_submission_hash(self._secret, upstream),
            registered=tokens(salts.valid),
            retired=tokens(salts.retired),
            registered_for_submissions=tokens(salt for salt in salts.valid if not salt),
            retired_for_submissions=tokens(salt for salt in salts.retired if not salt),
        )


def _is_one_of(given: bytes, known: Iterable[bytes]) -> bool:
    found = False
    # Compares with all of them, so that the time taken does not show which one matches.
    for token in known:
        found |= hmac.compare_digest(token, given)
    return found
