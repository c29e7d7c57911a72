"""The command line as a client of our own API."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from hookchain.settings import Settings, load_settings


class CallFailed(Exception):
    """The server refused what was asked, or does not answer; the message is for people."""


class Server:
    """The running server that these settings describe."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.listening_url
        token = settings.admin_token
        self._http = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=10,
            trust_env=False,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # never used: reading authorities takes a while
        )

    def is_up(self) -> bool:
        """True when something answers there as hookchain does."""
        try:
            return bool(self._http.get("/healthz").json() == {"status": "ok"})
        except (httpx.HTTPError, ValueError):
            return False

    def get(self, path: str, **query: Any) -> Any:
        """What the API answers. Raises `CallFailed`."""
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Any = None) -> Any:
        """What the API answers. Raises `CallFailed`."""
        return self._call("POST", path, json=body)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise CallFailed(
                f"no server answers at {self.url}: {error}; start one with `hookchain serve`"
            ) from error
        try:
            body = answer.json()
        except ValueError as error:
            raise CallFailed(f"{self.url}{path} answered HTTP {answer.status_code} and no JSON") from error
        if answer.is_error:
            raise CallFailed(str(body.get("detail", body)) if isinstance(body, dict) else str(body))
        return body


def running_server() -> Server:
    """The server of the configuration at hand."""
    return Server(load_settings())
