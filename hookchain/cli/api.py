"""The client with which commands call the API of the running server."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TypeVar

import httpx
import msgspec

from hookchain.cli.output import say
from hookchain.printable import printable
from hookchain.settings.lenient import Operating, load_for_operating
from hookchain.settings.load import Settings
from midjourney.bounded import BadAnswer, Bounds, Intake

T = TypeVar("T")

_BOUNDS = Bounds(sent_bytes=64 * 1024 * 1024, unpacked_bytes=64 * 1024 * 1024, within_s=None)
"""Bounds of an answer, since another program may listen at the address. Each read times out after ten seconds; Ctrl+C ends
a long one."""


class CallFailed(Exception):
    """The server refused the request or did not answer. The message is printed to the user.

    `status` is the HTTP status, or 0 if there was no answer of ours; `retry_after_s` is what the server asked for, if it did.
    """

    def __init__(self, message: str, *, status: int = 0, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    content: bytes
    retry_after: str = ""


class Server:
    """The running server at the address that these settings give."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.listening_url
        self._settings = settings
        token = settings.admin_token
        self._http = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=10,
            trust_env=False,
            # Never used, because the URL is http: an empty context saves the time to read the certificate authorities.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        )

    def is_up(self) -> bool:
        """True if a hookchain server answers at the address."""
        try:
            return _decoded(self._request("GET", "/healthz"), object) == {"status": "ok"}
        except (httpx.HTTPError, BadAnswer, ValueError):
            return False

    def get(self, path: str, kind: type[T], **query: str | int) -> T:
        """The API's answer, decoded as this type. Raises `CallFailed`."""
        return self._call("GET", path, kind, params=query)

    def post(self, path: str, kind: type[T], body: object = None, *, key: str = "") -> T:
        """The API's answer, decoded as this type. With a `key`, a repeated request has no further effect. Raises `CallFailed`."""
        return self._call("POST", path, kind, body=body, key=key)

    def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        params: Mapping[str, str | int] | None = None,
        body: object = None,
        key: str = "",
    ) -> T:
        # The HTTP client would resolve the dots and request another path.
        if {".", ".."} & set(path.split("/")):
            raise CallFailed(
                f"{path}: an id that consists of dots cannot be part of a path; look the entry up in a list instead"
            )
        try:
            answer = self._request(method, path, params=params, body=body, key=key)
            if answer.status == 401 and not self._settings.admin_token and (token := self._stored_token()):
                self._http.headers["authorization"] = f"Bearer {token}"
                answer = self._request(method, path, params=params, body=body, key=key)
            if answer.status >= 400:
                wait = answer.retry_after
                raise CallFailed(
                    _reason(_decoded(answer, object)),
                    status=answer.status,
                    retry_after_s=int(wait) if wait.isascii() and wait.isdecimal() else None,
                )
            return _decoded(answer, kind)
        except httpx.HTTPError as error:
            raise CallFailed(
                f"no server answers at {self.url}: {error}; start one with `hookchain serve`, or set HOST and PORT to where yours listens"
            ) from error
        except (BadAnswer, ValueError) as error:
            raise CallFailed(f"{self.url}{path} did not answer like a hookchain server: {error}") from error

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: object = None,
        key: str = "",
    ) -> _Answer:
        """Raises `httpx.HTTPError` and `BadAnswer`."""
        headers = {"idempotency-key": key} if key else {}
        with self._http.stream(method, path, params=params, json=body, headers=headers) as answer:
            intake = Intake(answer.headers, _BOUNDS)
            for piece in answer.iter_raw():
                intake.add(piece)
            return _Answer(
                status=answer.status_code,
                content=intake.end(),
                retry_after=answer.headers.get("retry-after", "")[:9],
            )

    def _stored_token(self) -> str:
        """The token that the server made and stored in its database; "" if this database has none."""
        # Imported here because it loads all of storage, which `healthcheck` does not need.
        from storage import logins

        return logins.token_at(self._settings.database_url) or ""


def _decoded(answer: _Answer, kind: type[T]) -> T:
    """The JSON of an answer. Raises `ValueError` if it is not JSON of this type."""
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"HTTP {answer.status} without valid JSON") from error


def _reason(problem: object) -> str:
    return str(problem.get("detail", problem)) if isinstance(problem, dict) else str(problem)


def running_server() -> Server:
    """The server of the current configuration, even if that has a mistake elsewhere."""
    return Server(operating().server())


def operating(also: tuple[str, ...] = ()) -> Operating:
    """The settings of operating commands, `also` with these keys. A mistake in the configuration is a warning as long as they do not need what is wrong."""
    found = load_for_operating(also=also)
    if found.mistake:
        say(f"! {printable(found.mistake)}\n! this command goes on with what it can read", to_errors=True)
    return found
