"""Sends the requests of clients to a server, and collects what would break in them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
import msgspec

from hookchain.as_client.answer import Answer
from hookchain.as_client.steps import KnownClient, Memory, Step
from midjourney.tls import trusted

TIMEOUT_S = 60.0
"""As long as the most patient of the clients waits."""

GAP_S = 2.0
"""As often as the most eager of the clients asks for a task."""

ENDS_WITHIN_S = 900.0
"""Half as long as the most patient of the clients waits for an end."""

MOST_BYTES = 16 * 1024 * 1024


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """Something that would break in a client: the request, and why."""

    request: str
    problem: str


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the requests of a client."""

    client: str
    source: str
    requests: int
    breaks: list[Break]


class Replay:
    """The requests of one client at one server. `hook`: the address that its orders name, "" for none."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        url: str,
        client: KnownClient,
        key: str,
        *,
        hook: str = "",
        gap_s: float = GAP_S,
    ) -> None:
        self._http = http
        self._client = client
        self._gap_s = gap_s
        self._base = url.rstrip("/")
        self._key: dict[str, str] = {}
        if key and client.key_in == "bearer":
            self._key = {"authorization": f"Bearer {key}"}
        elif key and client.key_in:
            self._key = {client.key_in: key}
        elif key:
            self._base += f"/k/{key}"
        self._memory = Memory(hook)
        self.breaks: list[Break] = []
        self.answers: list[tuple[Step, Answer]] = []

    async def run(self, steps: Sequence[Step]) -> None:
        """Send the requests one after the other. What needs an answer that was wrong is not sent."""
        for step in steps:
            try:
                path, body = str(self._memory.filled(step.path)), self._memory.filled(step.body)
            except LookupError as error:
                self.breaks.append(Break(request=step.name, problem=f"not sent: {error}"))
                continue
            await self._repeat(step, path, body)

    async def _repeat(self, step: Step, path: str, body: object) -> None:
        method = step.method or ("GET" if step.body is None else "POST")
        request = f"{method} {path}"
        try:
            async with asyncio.timeout(ENDS_WITHIN_S):
                while True:
                    answer = await self._send(method, path, body, step)
                    self.answers.append((step, answer))
                    problem = next((problem for need in step.needs if (problem := need(answer))), "")
                    if problem:
                        self.breaks.append(Break(request=request, problem=problem))
                        return
                    self._memory.note(step, answer)
                    if not step.until_end or self._memory.has_ended(step):
                        return
                    await asyncio.sleep(self._gap_s)
        except TimeoutError:
            self.breaks.append(Break(request=request, problem=f"no end within {ENDS_WITHIN_S:.0f} s"))
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            self.breaks.append(Break(request=request, problem=f"no answer: {why}"))

    async def _send(self, method: str, path: str, body: object, step: Step) -> Answer:
        async with self._http.stream(
            method,
            self._base + path,
            headers={**self._client.headers, **({} if step.is_anonymous else self._key), **step.headers},
            json=body if step.body is not None else None,
        ) as response:
            raw = b""
            async for piece in response.aiter_bytes():
                raw += piece
                if len(raw) > MOST_BYTES:
                    break
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status_code, headers=headers, raw=raw)

    def result(self) -> Replayed:
        """What came of it."""
        return Replayed(
            client=self._client.name,
            source=self._client.source,
            requests=len(self.answers),
            breaks=self.breaks,
        )


async def replay(
    url: str, key: str, clients: Sequence[KnownClient], *, submits: bool = False, hook: str = ""
) -> list[Replayed]:
    """Send what is free of each client's requests, and its imagine too if `submits`, until the task has ended."""
    async with httpx.AsyncClient(
        timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, verify=trusted()
    ) as http:
        replays = [Replay(http, url, client, key, hook=hook) for client in clients]
        await asyncio.gather(
            *(
                one.run([*client.free, *(_first_picture(client) if submits else ())])
                for one, client in zip(replays, clients, strict=True)
            )
        )
    return [one.result() for one in replays]


def _first_picture(client: KnownClient) -> list[Step]:
    """The imagine, and the questions for it until it has ended."""
    first = client.orders[0]
    until = next(index for index, step in enumerate(client.orders) if step.until_end)
    return [first, *client.orders[1 : until + 1]]
